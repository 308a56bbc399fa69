"""Measure fusednet beside its peers; README.md in this folder says how.

Every contender runs in a process of its own; they take turns in rounds. Before a case is timed, each
contender's results are compared with NumPy's in float64.
"""

import argparse
import json
import re
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import fusednet as fn

from . import cases, footprint, machine, overhead, report
from .contenders import CONTENDERS
from .processes import available_cores, compare, started

PARTS = ["machine", "kernels", "training", "prediction", "kernel_sets", "sweep", "fit", "footprint"]
CORES = ["one", "all"]
FLOAT64 = ("fusednet", "NumPy", "PyTorch")
VARIANTS = ("fusednet (out=)", "fusednet (1 thread)", "ONNX Runtime (1 thread)")  # no different in size
LIGHT = ("fusednet", "NumPy", "scikit-learn", "ONNX Runtime", "KANN")  # those that start within a second
LONG = 1e10  # operations from which a prediction is its own average, and fewer rounds do


class Benchmark:
    """The parts, each of which returns what goes into the results under its name."""

    def __init__(self, options):
        self.options, self.all_cores = options, available_cores()
        self.names = [name for name in options.contenders if CONTENDERS[name].installed]
        self.weighed = [name for name in self.names if name not in VARIANTS]
        self.training_cases = cases.TRAINING
        self.prediction_cases = cases.PREDICTION
        if options.quick:
            self.weighed = [name for name in self.weighed if name in LIGHT]
            self.training_cases = [case for case in cases.SGD if case.training_flops < 1e9]
            self.prediction_cases = [case for case in cases.PREDICTION if case.prediction_flops < LONG]

    def machine(self):
        return machine.limits(len(self.all_cores))

    def kernels(self):
        only = fn.build_info()["active_kernel_set"] if self.options.quick else None
        return machine.kernels(self.options.core, only)

    def training(self):
        trainers = [name for name in self.names if CONTENDERS[name].trains]
        records = self._compare_on_cores("train", trainers, self.training_cases)
        wide = [replace(case, dtype="float64") for case in self.training_cases]
        return records + self._compare("train", [name for name in FLOAT64 if name in trainers], "one", wide)

    def prediction(self):
        return self._compare_on_cores("predict", self.names, self.prediction_cases)

    def kernel_sets(self):
        """Return the training cases, in both types, with the sets narrower than the active one."""
        build = fn.build_info()
        sets = build["available_kernel_sets"]
        records = []
        for kernel_set in sets[: sets.index(build["active_kernel_set"])]:
            wide = [replace(case, dtype="float64") for case in self.training_cases]
            records += self._compare("train", ["fusednet"], "one", self.training_cases + wide, kernel_set)
        return records

    def sweep(self):
        stride = 4 if self.options.quick else 1
        return {
            axis: self._compare("train", ["fusednet"], "one", points[::stride])
            for axis, points in cases.SWEEP.items()
        }

    def fit(self):
        return overhead.measure(self.options.core, self.options.rounds)

    def footprint(self):
        return footprint.measure(self.weighed)

    def _compare_on_cores(self, kind, names, measured):
        records = []
        for cores in self.options.cores:
            chosen = [name for name in names if cores == "all" or not CONTENDERS[name].one_thread]
            records += self._compare(kind, chosen, cores, measured)
        return records

    def _compare(self, kind, names, cores, measured, kernel_set=None):
        """Return the records of some cases on one core or on all."""
        threads, numbers = (1, {self.options.core}) if cores == "one" else (None, set(self.all_cores))
        kernel_set = kernel_set or fn.build_info()["active_kernel_set"]
        seconds, records = self.options.seconds, []

        def peak(dtype):
            return machine.peak(kernel_set, dtype, numbers, seconds)

        with ExitStack() as stack:
            processes = [stack.enter_context(started(name, threads, numbers, kernel_set)) for name in names]
            # Predictions one by one: their inputs and outputs may be large.
            for group in [measured] if kind == "train" else [[case] for case in measured]:
                print(f"  {kind}, {cores}: {'; '.join(case.label for case in group)}", file=sys.stderr)
                able = [p for p in processes if group[0].batch == 1 or not CONTENDERS[p.name].single_rows]
                long = kind == "predict" and group[0].prediction_flops > LONG
                rounds = min(2, self.options.rounds) if long else self.options.rounds
                for record in compare(able, kind, group, rounds, seconds, peak):
                    for name, failure in record["failures"].items():
                        print(f"    {record['label']}: {name}: {failure}", file=sys.stderr)
                    records.append({"cores": cores, "kernel_set": kernel_set, **record})
        return records


def parse():
    def words(text):
        return [word.strip() for word in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--parts", type=words, default=PARTS, help=f"some of {', '.join(PARTS)}")
    add("--cores", type=words, default=CORES, help="one, all, or both")
    add("--contenders", type=words, default=list(CONTENDERS), help="some of them, by name")
    add("--rounds", type=int, default=5, help="turns of each contender in a case")
    add("--seconds", type=float, default=0.06, help="of measuring in one turn")
    add("--core", type=int, default=available_cores()[-1], help="the core to pin to")
    add("--quick", action="store_true", help="fewer cases and rounds, one core: for a first look")
    add("--output", type=Path, help="the JSON file (default: in results/, if all was measured)")
    docs = "write docs/benchmarks.md (default: if all was measured)"
    add("--docs", action=argparse.BooleanOptionalAction, help=docs)
    if parser.parse_known_args()[0].quick:
        parser.set_defaults(cores=["one"], rounds=2, seconds=0.03)
    options = parser.parse_args()
    asked = {"parts": PARTS, "cores": CORES, "contenders": list(CONTENDERS)}
    for option, known in asked.items():
        if unknown := [name for name in getattr(options, option) if name not in known]:
            parser.error(f"{', '.join(unknown)}: expected some of {', '.join(known)}")
    complete = not options.quick and all(getattr(options, option) == known for option, known in asked.items())
    if options.docs is None:
        options.docs = complete
    if options.output is None:
        slug = re.sub(r"[^a-z0-9]+", "-", machine.processor().lower()).strip("-")
        options.output = report.KEPT / f"{slug}.json" if complete else machine.BUILD / "results.json"
    return options


def main():
    options = parse()
    benchmark = Benchmark(options)
    about = machine.describe(len(benchmark.all_cores))
    if about["load"] > 0.5:
        print(f"The machine is busy (load {about['load']:.1f}): the figures will be off.", file=sys.stderr)
    results = {"date": time.strftime("%Y-%m-%d"), "quick": options.quick, "about": about}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    for part in options.parts:
        start = time.perf_counter()
        results[part] = getattr(benchmark, part)()
        print(f"{part}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
        options.output.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(report.text(results, options.output))
    if options.docs:
        report.write(results, options.output)


if __name__ == "__main__":
    main()
