"""Batches that somebody else makes, the next one prepared while the present one trains."""

import signal
import threading
import time

import numpy as np
import pytest

import fusednet as fn

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
BATCHES = [(rows, rows[:, :1]) for rows in np.split(X, 10)]


def network(**options):
    return fn.Network([3, 4, 1], seed=0, **options)


def test_one_batch_is_prepared_ahead():
    made, seen = [], []

    def batches():
        for index, batch in enumerate(BATCHES):
            made.append((index, threading.current_thread()))
            yield batch

    def loss(prediction, y):
        deadline = time.monotonic() + 10
        while len(made) < min(len(seen) + 2, 10) and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.005)  # in which a second one would be made
        seen.append(len(made))
        return 0.0, np.zeros_like(prediction)

    network(loss=loss).fit(batches, epochs=1)
    assert seen == [2, 3, 4, 5, 6, 7, 8, 9, 10, 10]
    assert all(thread is not threading.main_thread() for _, thread in made)


def test_the_result_is_that_of_a_list_even_where_one_array_is_filled_again_and_again():
    def batches():
        array = np.empty((4, 3), dtype=np.float32)
        for rows, _ in BATCHES:
            array[:] = rows
            yield array, array[:, :1], np.ones(4)

    one, other = network(), network()
    one.fit(batches, epochs=3)
    other.fit(BATCHES, epochs=3)
    np.testing.assert_array_equal(one.parameters, other.parameters)


@pytest.mark.parametrize("bad", [0, 3])
def test_what_the_producer_raises_reaches_the_caller(bad):
    def batches():
        yield from BATCHES[:bad]
        raise LookupError("the file ends early")

    threads = threading.active_count()
    with pytest.raises(LookupError, match="the file ends early") as caught:
        network().fit(batches)
    assert caught.traceback[-1].name == "batches"  # where it happened
    assert threading.active_count() == threads


@pytest.mark.parametrize("kind", [list, iter])
def test_a_stop_iteration_inside_a_batch_is_not_the_end(kind):
    class Bad:
        def __array__(self, dtype=None, copy=None):
            raise StopIteration("the file ends early")

    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        network().fit(kind([BATCHES[0], (Bad(), BATCHES[1][1]), BATCHES[2]]), epochs=1)
    assert repr(caught.value.__cause__) == "StopIteration('the file ends early')"


class Closed:
    """Counts its batches, and notes when it is closed."""

    def __init__(self, *first):
        self.first, self.closed, self.made = first, threading.Event(), 0

    def __call__(self):
        try:
            for batch in (*self.first, *(100 * BATCHES)):
                self.made += 1
                yield batch
        finally:
            self.closed.set()


def test_the_generator_is_closed_when_a_batch_is_bad():
    batches, net = Closed(*BATCHES[:2], (X[:4, :2], X[:4, :1])), network()
    start = net.parameters.copy()
    with pytest.raises(ValueError, match=r"X: expected shape \(n, 3\)"):
        net.fit(batches)
    assert batches.closed.is_set()
    assert batches.made <= 4
    np.testing.assert_array_equal(net.parameters, start)


def test_the_generator_is_closed_when_one_batch_is_no_batch():
    batches = Closed(BATCHES[0], "batch")
    with pytest.raises(TypeError, match=r"a batch must be \(X, y\)"):
        network().fit(batches)
    assert batches.closed.is_set()


def test_ctrl_c_ends_the_wait_for_a_batch(ctrl_c):
    closed = threading.Event()

    def batches():
        try:
            yield BATCHES[0]
            threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]).start()
            time.sleep(0.5)
            yield BATCHES[1]
            time.sleep(60)
        finally:
            closed.set()

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        network().fit(batches)
    assert closed.is_set()
    assert time.monotonic() - start < 5
