"""Concurrent calls of `fit_many`: no more networks compute at a time than may be; none waits forever."""

import multiprocessing
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

import fusednet as fn
from fusednet._sources import Rows
from fusednet.sklearn import MLPEnsembleRegressor

from helpers import WAIT

X = np.random.default_rng(0).normal(size=(64, 4))
Y = X[:, 0]


class Count:
    """How many threads are in this context, and the most there have been."""

    def __init__(self):
        self.now = self.peak = 0
        self.lock = threading.Lock()

    def __enter__(self):
        with self.lock:
            self.now += 1
            self.peak = max(self.peak, self.now)
        time.sleep(0.001)  # for others to come

    def __exit__(self, *error):
        with self.lock:
            self.now -= 1


def networks(count, loss="mse"):
    return [fn.Network([4, 3, 1], loss=loss, seed=seed) for seed in range(count)]


@pytest.mark.parametrize("workers", [1, 2])
def test_calls_from_several_threads(threads, workers):
    count = Count()

    def loss(prediction, y):
        with count:
            return float(np.mean((prediction - y) ** 2)), 2 * (prediction - y) / y.size

    threads(workers)
    groups = [networks(4, loss) for _ in range(3)]
    with ThreadPoolExecutor(3) as executor:
        results = list(executor.map(lambda nets: fn.fit_many(nets, X, Y, epochs=3), groups))
    assert count.peak == workers
    alone = networks(4, loss)
    assert results == [[net.fit(X, Y, epochs=3) for net in alone]] * 3


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_an_ensemble_in_a_search_by_threads(threads, monkeypatch):
    count = Count()
    train_epoch = Rows.train_epoch

    def counted(*arguments):
        with count:
            return train_epoch(*arguments)

    monkeypatch.setattr(Rows, "train_epoch", counted)
    threads(2)
    model = MLPEnsembleRegressor(4, (3,), max_iter=3, random_state=0)
    with joblib.parallel_config("threading", n_jobs=3):
        GridSearchCV(model, {"alpha": [1e-4, 1e-1]}, cv=3, error_score="raise").fit(X, Y)
    assert count.peak == 2


class TrainOthers(fn.Callback):
    """Trains networks after each epoch, in this thread or another."""

    def __init__(self, elsewhere):
        self.elsewhere = elsewhere

    def on_epoch_end(self, net, epoch, logs):
        if self.elsewhere:
            with ThreadPoolExecutor(1) as executor:
                executor.submit(fn.fit_many, networks(3), X, Y, epochs=2).result(WAIT)
        else:
            fn.fit_many(networks(3), X, Y, epochs=2)


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_callback_may_train_networks(threads, workers, elsewhere):
    threads(workers)
    callbacks = [[TrainOthers(elsewhere)] for _ in range(3)]
    histories = fn.fit_many(networks(3), X, Y, epochs=2, callbacks=callbacks)
    assert [history.epochs for history in histories] == [2, 2, 2]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_loss_may_train_networks(threads, workers):
    def loss(prediction, y):
        fn.fit_many(networks(3), X, Y, epochs=1)
        return 0.0, np.zeros_like(prediction)

    threads(workers)
    histories = fn.fit_many(networks(3, loss), X, Y, epochs=2)
    assert [history.epochs for history in histories] == [2, 2, 2]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_within_an_epoch(threads):
    """The child has none of the threads that compute in the parent, and may itself."""
    begun, end = threading.Event(), threading.Event()

    def loss(prediction, y):
        begun.set()
        end.wait(WAIT)
        return 0.0, np.zeros_like(prediction)

    threads(1)
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(fn.fit_many, networks(1, loss), X, Y, epochs=1)
        assert begun.wait(WAIT)
        options = {"target": fn.fit_many, "args": (networks(2), X, Y), "kwargs": {"epochs": 1}}
        child = multiprocessing.get_context("fork").Process(**options)
        child.start()
        child.join(WAIT)
        code = child.exitcode
        child.kill()
        end.set()
        future.result(WAIT)
    assert code == 0
