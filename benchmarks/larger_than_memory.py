"""Training on a memory-mapped file beside training on the same data in memory.

``python -m benchmarks.larger_than_memory`` compares speeds on 512 MB, in processes of their own, then trains
one epoch on a file of 4 GB and prints the resident memory that this took. The files lie in a temporary folder
and are removed again.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import fusednet as fn

from .processes import ROOT

CASES = {  # widths; samples a step
    "784-256-128-10": ([784, 256, 128, 10], 64),
    "64-128-128-1": ([64, 128, 128, 1], 32),
}


def write(path, columns, size):
    """Fill a file of float32 rows, with targets beside it."""
    rng, rows = np.random.default_rng(0), size // (4 * columns)
    X = np.lib.format.open_memmap(path / "X.npy", "w+", np.float32, (rows, columns))
    for first in range(0, rows, 2**16):
        X[first : first + 2**16] = rng.random((len(X[first : first + 2**16]), columns), dtype=np.float32)
    del X
    np.save(path / "y.npy", rng.integers(0, 2, rows).astype(np.float32))


def resident():
    """Return the resident memory of this process and its peak, in MB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return [int(lines[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM")]


def train(path, case, mapped, rounds):
    """Print seconds of the fastest epoch and resident memory, of one process."""
    widths, batch = CASES[case]
    X, y = np.load(path / "X.npy", mmap_mode="r" if mapped else None), np.load(path / "y.npy")
    if widths[-1] > 1:
        y = y.astype(np.int64)
    output = {"output": "softmax", "loss": "cross_entropy"} if widths[-1] > 1 else {}
    net, optimizer, times = fn.Network(widths, seed=0, **output), fn.SGD(0.01, momentum=0.9), []
    for _ in range(rounds):
        start = time.perf_counter()
        net.fit(X, y, epochs=1, batch_size=batch, optimizer=optimizer, progress=False)
        times.append(time.perf_counter() - start)
    print(json.dumps([min(times), *resident()]))


def measure(path, case, mapped, rounds):
    command = [
        sys.executable,
        "-m",
        "benchmarks.larger_than_memory",
        "--train",
        str(path),
        case,
        str(int(mapped)),
    ]
    command += ["--rounds", str(rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=2**29, help="bytes of the file for the comparison")
    parser.add_argument("--large", type=int, default=4 * 10**9, help="bytes of the large file; 0: none")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--train", nargs=3, metavar=("PATH", "CASE", "MAPPED"), help="what the processes do")
    arguments = parser.parse_args()
    if arguments.train:
        path, case, mapped = arguments.train
        return train(Path(path), case, int(mapped), arguments.rounds)

    for case, (widths, _) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), widths[0], arguments.size)
            runs = {mapped: [] for mapped in (False, True)}
            for _ in range(arguments.rounds):  # in turns
                for mapped, results in runs.items():
                    results.append(measure(folder, case, mapped, 1))
        (memory, *_), (file, _, peak) = (np.min(runs[mapped], axis=0) for mapped in (False, True))
        print(
            f"{case}, {arguments.size / 1e6:.0f} MB: in memory {memory:.2f} s an epoch, mapped {file:.2f} s, "
            f"{100 * memory / file:.0f} % of the speed; peak of resident memory {peak:.0f} MB"
        )
    if arguments.large:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), 784, arguments.large)
            seconds, now, peak = measure(folder, "784-256-128-10", True, 1)
        print(
            f"784-256-128-10, {arguments.large / 1e6:.0f} MB: {seconds:.1f} s an epoch, resident memory "
            f"{now:.0f} MB, peak {peak:.0f} MB"
        )


if __name__ == "__main__":
    main()
