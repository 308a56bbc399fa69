"""A whole `fit` of `fusednet.sklearn` beside scikit-learn's own, with default parameters, on one core.

``python -m benchmarks.sklearn_fit [rounds] [core]`` times both in turns and prints the least and the median
time of each, and how they compare. Both train from the same `random_state`, and their losses must agree. Some
minutes.
"""

import json
import statistics
import subprocess
import sys
import time
import warnings

import numpy as np
from sklearn import neural_network as theirs
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from fusednet import sklearn as ours

from .processes import ROOT, affinity, available_cores, environment, module

ROUNDS = 5
# For how many epochs the losses agree, and how closely. Once a rounding has decided whether a unit's ReLU
# lets a sample through, two trainings part: in float32 scikit-learn's own part from those in float64 by
# 1e-3 before the 30th.
AGREEMENT = {"float64": {100: 1e-7}, "float32": {10: 1e-6, 100: 1e-2}}


def cases():
    """Return by name: estimator, inputs, targets."""
    rng = np.random.RandomState(0)
    digits, labels = load_digits(return_X_y=True)
    narrow = rng.randn(45_000, 9)
    target = narrow[:, 0] * narrow[:, 1] + 0.1 * rng.randn(45_000)
    wide, classes = rng.rand(5_000, 784), rng.randint(0, 10, 5_000)
    return {
        "digits (1,797×64), float64": ("MLPClassifier", digits, labels),
        "45,000×9, float64": ("MLPRegressor", narrow, target),
        "5,000×784, float64": ("MLPClassifier", wide, classes),
        "5,000×784, float32": ("MLPClassifier", wide.astype(np.float32), classes),
    }


def child(rounds):
    """Time both in turns; return milliseconds of each, by case."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    results = {}
    for case, (name, X, y) in cases().items():
        times, curves = {"scikit-learn": [], "fusednet": []}, {}
        for _ in range(1 + rounds):
            for library, contender in (("scikit-learn", theirs), ("fusednet", ours)):
                model = getattr(contender, name)(random_state=0)
                start = time.perf_counter()
                model.fit(X, y)
                times[library].append(1e3 * (time.perf_counter() - start))
                curves[library] = model.loss_curve_
        if len({len(curve) for curve in curves.values()}) > 1:
            raise RuntimeError(f"{case}: the contenders train for different numbers of epochs")
        for epochs, precision in AGREEMENT[X.dtype.name].items():
            np.testing.assert_allclose(*(curve[:epochs] for curve in curves.values()), rtol=precision)
        results[case] = {
            library: {"min": min(t[1:]), "median": statistics.median(t[1:])} for library, t in times.items()
        }
    return results


def measure(core, rounds):
    """Run `child` on one core, with one thread."""
    with affinity({core}):
        done = subprocess.run(
            module("sklearn_fit", "--child", str(rounds)),
            capture_output=True,
            text=True,
            env=environment(1),
            cwd=ROOT,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def table(results):
    """Return the figures as Markdown."""
    lines = [
        "| `fit`, ms | fusednet | median | scikit-learn | median | **faster** |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for case, times in results.items():
        own, other = times["fusednet"], times["scikit-learn"]
        figures = f"{own['min']:.1f} | {own['median']:.1f} | {other['min']:.1f} | {other['median']:.1f}"
        lines.append(f"| {case} | {figures} | **{other['min'] / own['min']:.2f}×** |")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(int(sys.argv[2]))))
    else:
        rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
        core = int(sys.argv[2]) if len(sys.argv) > 2 else available_cores()[0]
        print(table(measure(core, rounds)))
