"""The contenders' processes, and taking turns."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "FUSEDNET_NUM_THREADS")
# These choose another OpenBLAS kernel than the processor's own.
BLAS_VARIABLES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
ONE_THREAD_XLA = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def environment(threads, kernel_set=None):
    """Return the environment of a contender with one thread, or with the library's own choice (None).

    `kernel_set` is fusednet's; without it, that of the environment or the widest.
    """
    chosen = {
        name: value for name, value in os.environ.items() if name not in THREAD_VARIABLES + BLAS_VARIABLES
    }
    if threads:
        chosen |= dict.fromkeys(THREAD_VARIABLES, str(threads)) | {"XLA_FLAGS": ONE_THREAD_XLA}
    return chosen | ({"FUSEDNET_KERNELS": kernel_set} if kernel_set else {})


def available_cores():
    return (
        sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count()))
    )


@contextlib.contextmanager
def affinity(cores):
    """Start processes on these cores; where an operating system has no such thing, its scheduler decides."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Process:
    """A worker, to ask one thing at a time."""

    def __init__(self, name, process, log, pause):
        self.name, self.process, self.log, self.pause = name, process, log, pause

    def ask(self, method, **arguments):
        """Return {"value": …} or {"failure": …}."""
        time.sleep(self.pause)
        try:
            self.process.stdin.write(json.dumps([method, arguments]) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            self.log.seek(0)
            return {"failure": f"the process died: {self.log.read()[-300:]}"}


def module(name, *arguments):
    """Return the command that runs a module of this package, from `ROOT`."""
    return [sys.executable, "-m", f"benchmarks.{name}", *arguments]


@contextlib.contextmanager
def started(name, threads, cores, kernel_set=None):
    """Run a worker for one contender on some cores."""
    pause = 0 if threads else 0.01  # for the threads of the one before to go to sleep
    with tempfile.TemporaryFile("w+") as log:  # what the library has to say is wanted only if it dies
        with affinity(cores):
            process = subprocess.Popen(
                module("worker", name, json.dumps(threads)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment(threads, kernel_set),
                cwd=ROOT,
            )
        try:
            yield Process(name, process, log, pause)
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.communicate()


class Comparison:
    """One case: the contenders checked, and their times, in µs."""

    def __init__(self, number, kind, case):
        self.number, self.kind, self.case = number, kind, case
        self.errors, self.times, self.failures, self.peaks = {}, {}, {}, []

    def prepare(self, process):
        self._ask(process, self.errors, "prepare", kind=self.kind, **asdict(self.case))

    def measure(self, process, seconds):
        if process.name not in self.failures:
            self._ask(process, self.times, "measure", seconds=seconds)

    def _ask(self, process, results, method, **arguments):
        answer = process.ask(method, number=self.number, **arguments)
        if "failure" in answer:
            self.failures[process.name] = answer["failure"]
        else:
            results.setdefault(process.name, []).append(answer["value"])

    def record(self):
        case = self.case
        return {
            **asdict(case),
            "label": case.label,
            "peak": max(self.peaks),
            "flops": case.training_flops if self.kind == "train" else case.prediction_flops,
            "times": {
                name: {"min": min(t), "median": statistics.median(t)}
                for name, t in self.times.items()
                if name not in self.failures
            },
            "errors": {name: error for name, (error,) in self.errors.items()},
            "failures": self.failures,
        }


def compare(processes, kind, cases, rounds, seconds, peak):
    """Return a record of each case. The contenders take turns, and so do the cases.

    So what slows the machine down for a while leaves each case other rounds. peak() of the case's type has a
    turn too: processors change their frequency, and a share of the peak is of the one beside it.
    """
    for process in processes:
        process.ask("forget")
    comparisons = [Comparison(number, kind, case) for number, case in enumerate(cases)]
    for comparison in comparisons:
        for process in processes:
            comparison.prepare(process)
    for _ in range(rounds):
        for comparison in comparisons:
            comparison.peaks.append(peak(comparison.case.dtype))
            for process in processes:
                comparison.measure(process, seconds)
    return [comparison.record() for comparison in comparisons]
