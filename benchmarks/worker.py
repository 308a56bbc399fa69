"""One contender in a process of its own: reads a request a line from standard input, answers in JSON.

A process each keeps the libraries' thread pools and allocators apart. While one measures, the others wait.
"""

import importlib
import json
import os
import sys
import time
from itertools import pairwise

import numpy as np

from contenders import NAMES


def network(case, seed=0):
    """Return the initial weights of a case, the same in every process."""
    rng, dtype = np.random.default_rng(seed), case["dtype"]
    return [
        ((rng.uniform(-1, 1, (i, o)) / np.sqrt(i)).astype(dtype), rng.uniform(-0.1, 0.1, o).astype(dtype))
        for i, o in pairwise(case["widths"])
    ]


def data(case, samples, seed=1):
    """Return inputs and targets of a case."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((samples, case["widths"][0])).astype(case["dtype"])
    return X, rng.standard_normal((samples, case["widths"][-1])).astype(case["dtype"])


class Worker:
    def __init__(self, module):
        self.module = module

    def prepare(self, case):
        """Build the network of a case; return how far a few steps of it are from `numpy_net` in float64."""
        self.case = case
        self.contender = self._contender(self.module, case)
        X, y = data(case, 4 * case["batch"])
        self.contender.train_epoch(X, y)
        wide = {**case, "dtype": "float64"}
        reference = self._contender("numpy_net", wide)
        reference.train_epoch(X.astype("float64"), y.astype("float64"))
        scale = max(np.abs(W).max() for W, _ in reference.weights())
        pairs = zip(self.contender.weights(), reference.weights(), strict=True)
        error = max(float(np.abs(a - b).max()) for own, ref in pairs for a, b in zip(own, ref, strict=True))
        # Enough steps that an epoch takes a few milliseconds, in a bounded amount of memory.
        flops = 6 * case["batch"] * sum(a * b for a, b in pairwise(case["widths"]))
        self.steps = int(np.clip(2e8 / flops, 8, 2000))
        self.X, self.y = data(case, self.steps * case["batch"])
        self.single = self.contender.single(np.ascontiguousarray(self.X[0]))
        return {"error": error / scale}

    def train(self, seconds):
        """Return microseconds a training step, over at least that many seconds."""
        return self._time(lambda: self.contender.train_epoch(self.X, self.y), self.steps, seconds)

    def predict(self, seconds):
        """Return microseconds a prediction of one row."""
        repeat = range(100)
        return self._time(lambda: [self.single() for _ in repeat], 100, seconds)

    @staticmethod
    def _contender(module, case):
        contender = importlib.import_module(f"contenders.{module}").Contender
        return contender(network(case), case["activation"], case["rate"], case["batch"], case["dtype"])

    @staticmethod
    def _time(body, units, seconds):
        body()
        best, end = float("inf"), time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            body()
            best = min(best, time.perf_counter() - start)
        return 1e6 * best / units


def main():
    name, cores = sys.argv[1], [int(core) for core in sys.argv[2].split(",")]
    os.sched_setaffinity(0, cores)
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries may print
    worker = Worker(NAMES[name])
    for line in sys.stdin:
        method, argument = json.loads(line)
        print(json.dumps(getattr(worker, method)(argument)), file=answers, flush=True)


if __name__ == "__main__":
    main()
