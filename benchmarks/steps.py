"""Microseconds a training step and a single prediction, fusednet beside its peers, on one pinned core.

    pip install ".[bench]" && python benchmarks/steps.py

Every contender runs in a process of its own; they take turns in rounds, and the smallest time of each counts.
Before a case is timed, each contender's first steps are compared with NumPy in float64.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

import fusednet as fn

HERE = Path(__file__).parent
TRAINING = [
    ([2, 16, 1], 4),
    ([8, 16, 16, 1], 32),
    ([32, 64, 64, 64, 64, 4], 32),
    ([64, 128, 128, 1], 32),
    ([64, 128, 128, 1], 256),
    ([784, 256, 128, 10], 64),
    ([784, 512, 512, 10], 128),
]
PREDICTION = [([2, 16, 1], 1), ([64, 64, 64, 1], 1), ([64, 128, 128, 1], 1)]
LIBRARIES = {"scikit-learn": "sklearn", "PyTorch eager": "torch"}


class Contender:
    """A worker process and the times that it gave."""

    def __init__(self, name, core):
        single = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "FUSEDNET")}
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, HERE / "worker.py", name, str(core)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **single},
        )

    def ask(self, method, argument):
        self.process.stdin.write(json.dumps([method, argument]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name}: the worker died")
        return json.loads(answer)


def compare(contenders, widths, batch, method, rounds, seconds):
    """Return {name: {"min": µs, "median": µs}} of one case."""
    case = {"widths": widths, "batch": batch, "activation": "tanh", "rate": 0.01, "dtype": "float32"}
    for contender in contenders:
        error = contender.ask("prepare", case)["error"]
        if not error < 1e-4:
            raise RuntimeError(f"{contender.name}: {error:.1e} from the reference after four steps of {case}")
    times = {contender.name: [] for contender in contenders}
    for _ in range(rounds):
        for contender in contenders:
            times[contender.name].append(contender.ask(method, seconds))
    return {name: {"min": min(t), "median": statistics.median(t)} for name, t in times.items()}


def table(title, results):
    names = list(next(iter(results.values())))
    lines = [f"| {title} | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for case, times in results.items():
        ours = times["fusednet"]["min"]
        others = [f"{times[name]['min']:.1f} ({times[name]['min'] / ours:.1f}×)" for name in names[1:]]
        lines.append(f"| {case} | {ours:.2f} | " + " | ".join(others) + " |")
    return "\n".join(lines)


def machine():
    """Return what the figures depend on."""
    info = fn.build_info()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())
    return (
        f"{model}, {os.cpu_count()} cores; Python {platform.python_version()}; "
        f"fusednet {info['version']}, {info['compiler']}, kernels {info['active_kernel_set']}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contender in a case")
    parser.add_argument("--seconds", type=float, default=0.2, help="of measuring in one turn")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="the core to pin to")
    options = parser.parse_args()

    missing = [name for name, module in LIBRARIES.items() if importlib.util.find_spec(module) is None]
    names = [name for name in ("fusednet", "NumPy", *LIBRARIES) if name not in missing]
    contenders = [Contender(name, options.core) for name in names]
    print(machine() + (f"; not installed: {', '.join(missing)}" if missing else ""), "\n")

    for title, cases, method in (
        ("training step, µs (widths / batch)", TRAINING, "train"),
        ("one prediction, µs", PREDICTION, "predict"),
    ):
        results = {}
        for widths, batch in cases:
            label = "-".join(map(str, widths)) + (f" / {batch}" if method == "train" else "")
            results[label] = compare(contenders, widths, batch, method, options.rounds, options.seconds)
        print(table(title, results), "\n", flush=True)


if __name__ == "__main__":
    main()
