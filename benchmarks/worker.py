"""One contender in a process of its own: reads a request a line from standard input, answers in JSON.

A process each keeps the libraries' thread pools and allocators apart. While one measures, the others wait.
"""

import json
import sys
import time
from dataclasses import replace
from itertools import repeat

import numpy as np

from .cases import Case
from .contenders import CONTENDERS

# How far a contender may be from NumPy in float64: weights after an epoch, relative to how far each array has
# moved (a wrong factor in the learning rate or the loss is some 0.5 here); predictions, to the largest.
TOLERANCE = {"float32": {"train": 1e-2, "predict": 1e-4}, "float64": {"train": 1e-6, "predict": 1e-10}}
CHECKED_ROWS = 1000


class Worker:
    def __init__(self, name, threads):
        self.make, self.reference = CONTENDERS[name].load(), CONTENDERS["NumPy"].load()
        self.threads = 1 if CONTENDERS[name].one_thread else threads
        self.prepared = {}  # by number: what to call, how often, and the steps or predictions of all that

    def forget(self):
        """Let go of the arrays of all cases."""
        self.prepared.clear()

    def prepare(self, number, kind, **fields):
        """Build the network of a case, check its results, and keep it, to be measured by that number."""
        case = Case(**{**fields, "widths": tuple(fields["widths"])})
        wide = replace(case, dtype="float64")
        contender = self.make(case, case.weights(), self.threads)
        prepare = {"train": self._prepare_training, "predict": self._prepare_prediction}[kind]
        reference = self.reference(
            wide, [(W.astype("float64"), b.astype("float64")) for W, b in case.weights()], None
        )
        error, *timed = prepare(case, contender, reference)
        if not error < TOLERANCE[case.dtype][kind]:
            raise ArithmeticError(f"{error:.1e} away from the reference")
        self.prepared[number] = timed
        return error

    def _prepare_training(self, case, contender, reference):
        rows = case.steps * case.batch
        X, y = case.inputs(rows), case.targets(rows)
        contender.hold(X, y)
        contender.train_epoch()
        reference.hold(X.astype("float64"), y if y.dtype.kind == "i" else y.astype("float64"))
        reference.train_epoch()
        error = max(
            float(np.linalg.norm(own - ref) / np.linalg.norm(ref - start))
            for triple in zip(contender.weights(), reference.weights(), case.weights(), strict=True)
            for own, ref, start in zip(*triple, strict=True)
        )
        return error, contender.train_epoch, 1, case.steps

    def _prepare_prediction(self, case, contender, reference):
        X = case.inputs(case.batch)
        body = contender.predictor(X)
        prediction = np.asarray(body()).reshape(case.batch, -1)
        calls = self._calls(case, body)
        sample = slice(None, None, 1 + case.batch // CHECKED_ROWS)
        expected = reference.predictor(X[sample].astype("float64"))()
        error = float(np.abs(prediction[sample] - expected).max() / np.abs(expected).max())
        return error, body, calls, calls

    def _calls(self, case, body):
        """Return how many calls to time at once: a millisecond's worth, as looking at the clock costs too."""
        if case.prediction_flops > 1e9:
            return 1
        start = time.perf_counter()
        body()
        return 1 + int(1e-3 / (time.perf_counter() - start))

    def measure(self, number, seconds):
        """Return microseconds a step or a prediction: the best of some seconds, of one run at least."""
        body, calls, units = self.prepared[number]
        best, end = float("inf"), time.perf_counter() + seconds
        while True:
            start = time.perf_counter()
            for _ in repeat(None, calls):
                body()
            now = time.perf_counter()
            best = min(best, now - start)
            if now > end:
                return 1e6 * best / units


def main():
    answers, sys.stdout = sys.stdout, sys.stderr  # libraries may print
    worker = Worker(sys.argv[1], json.loads(sys.argv[2]))
    for line in sys.stdin:
        method, arguments = json.loads(line)
        try:
            answer = {"value": getattr(worker, method)(**arguments)}
        except Exception as error:  # a case that a library cannot do is reported, and ends nothing else
            answer = {"failure": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
