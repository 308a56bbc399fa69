"""Searches over `fusednet.sklearn` by joblib: the scores of a serial one, no more threads than cores."""

import subprocess
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV

import fusednet as fn
from fusednet.sklearn import MLPClassifier, MLPEnsembleRegressor, MLPRegressor

from helpers import WAIT

pytestmark = pytest.mark.filterwarnings("ignore")  # of convergence, in the workers too

X, Y = load_diabetes(return_X_y=True)
FLOWERS, LABELS = load_iris(return_X_y=True)


def scores(search, X, y):
    results = search.fit(X, y).cv_results_
    return {key: np.asarray(results[key]).tolist() for key in results if key.endswith("_score")}


def searches():
    """Return searches with their data; each anew."""
    widths = {"hidden_layer_sizes": [(4,), (8, 8)], "alpha": [1e-4, 1e-1]}
    options = {"max_iter": 8, "random_state": 0, "standardize": True}
    return [
        (GridSearchCV(MLPClassifier(**options), widths, cv=3), FLOWERS, LABELS),
        (RandomizedSearchCV(MLPRegressor(**options), widths, n_iter=3, cv=3, random_state=0), X, Y),
        (GridSearchCV(MLPEnsembleRegressor(3, **options), {"alpha": [1e-4, 1.0]}, cv=3), X, Y),
    ]


@pytest.fixture(scope="module")
def serial():
    return [scores(*each) for each in searches()]


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_scores_are_those_of_a_serial_search(backend, serial):
    with joblib.parallel_config(backend, n_jobs=2):
        assert [scores(*each) for each in searches()] == serial


CLUSTER = """
import joblib, sys
sys.path.insert(0, {folder!r})
from test_sklearn_search import scores, searches

if __name__ == "__main__":
    from dask.distributed import Client, LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        import fusednet as fn

        with joblib.parallel_config("dask"):
            print([scores(*each) for each in searches()])
            counts = joblib.Parallel()(joblib.delayed(fn.get_num_threads)() for _ in range(4))
            print(set(counts))
"""


def test_dask(serial, tmp_path):
    """A cluster of two processes, in a script of its own; each worker has one thread."""
    pytest.importorskip("distributed")
    script = tmp_path / "cluster.py"
    script.write_text(CLUSTER.format(folder=str(Path(__file__).parent)))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script],
        capture_output=True,
        text=True,
        timeout=WAIT,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(serial), "{1}"]


def threads_there():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        MLPEnsembleRegressor(2, (4,), max_iter=1).fit(X, Y)
    return fn.get_num_threads()


def test_loky_leaves_a_core_for_each_worker(monkeypatch):
    for variable in ("OMP_NUM_THREADS", "FUSEDNET_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)
    workers = joblib.cpu_count()
    with joblib.parallel_config("loky", n_jobs=workers):
        counts = joblib.Parallel()(joblib.delayed(threads_there)() for _ in range(2 * workers))
    assert set(counts) == {1}
