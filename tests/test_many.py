"""`fit_many` against `fit` of each network alone; what goes wrong in one; Ctrl-C."""

import copy
import gc
import io
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import weakref

import numpy as np
import pytest

import fusednet as fn

from helpers import WAIT

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads in /proc")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
Y = (X @ [1.0, -1.0, 0.5, 0.0] > 0).astype(np.int64)  # serves classes, probabilities, counts and numbers
VALIDATION = (RNG.normal(size=(30, 4)), RNG.integers(0, 2, size=30))


def variety():
    """Return networks that differ in all that they may."""
    networks = [
        fn.Network([4, 8, 1], "tanh", seed=1),
        fn.Network([4, 16, 8, 2], ["gelu", "relu"], output="softmax", loss="cross_entropy", l2=0.01, seed=2),
        fn.Network([4, 5, 1], output="sigmoid", loss="binary_cross_entropy", dtype="float64", seed=3),
        fn.Network([4, 12, 12, 1], "silu", output="exp", loss="poisson", dropout=0.2, seed=4),
        fn.Network([4, 7, 1], loss=lambda p, t: (float(np.mean((p - t) ** 2)), 2 * (p - t) / p.size), seed=5),
        fn.Network([4, 3, 1], loss=fn.losses.Huber(0.5), seed=6),
    ]
    networks[0].standardize(X)
    return networks


def small(count=4):
    return [fn.Network([4, 6, 1], "tanh", seed=seed) for seed in range(count)]


def assert_same(networks, alone):
    for net, other in zip(networks, alone, strict=True):
        np.testing.assert_array_equal(net.parameters, other.parameters)
        assert net.history == other.history
        assert net._rng.bit_generator.state == other._rng.bit_generator.state
        assert net._core.dropout_step == other._core.dropout_step


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_to_the_bit_as_each_alone(threads, workers):
    networks, alone = variety(), variety()
    threads(1)
    options = {"validation_data": VALIDATION, "epochs": 6, "batch_size": 16, "progress": False}
    histories = [net.fit(X, Y, optimizer=fn.Adam(0.01), **options) for net in alone]
    threads(workers)
    assert fn.fit_many(networks, X, Y, optimizer=fn.Adam(0.01), **options) == histories
    assert_same(networks, alone)


def test_defaults_are_those_of_fit(threads):
    networks, alone = small(), small()
    threads(2)
    fn.fit_many(networks, X, Y)
    for net in alone:
        net.fit(X, Y)
    assert_same(networks, alone)


def test_options_of_each_network(threads):
    epochs, sizes = [3, 5, 1, 4], np.array([7, 90, 32, 1000])
    rates = [0.1, 0.01, 0.05, 0.2]
    networks, alone = small(), small()
    optimizers = [fn.SGD(rate, momentum=0.5) for rate in rates]
    validations = [VALIDATION, None, (X[:10], Y[:10]), (X[:2], Y[:2], [1.0, 2.0])]
    threads(3)
    fn.fit_many(
        networks, X, Y, epochs=epochs, batch_size=sizes, optimizer=optimizers, validation_data=validations
    )
    for net, count, size, rate, data in zip(alone, epochs, sizes, rates, validations, strict=True):
        net.fit(
            X, Y, epochs=count, batch_size=size, optimizer=fn.SGD(rate, momentum=0.5), validation_data=data
        )
    assert_same(networks, alone)
    assert [net.history.epochs for net in networks] == epochs
    assert all(net.optimizer is one for net, one in zip(networks, optimizers, strict=True))


def test_one_value_for_all_and_ranges(threads):
    networks, alone = small(), small()
    threads(2)
    fn.fit_many(networks, X, Y, epochs=range(1, 5), batch_size=np.array(20))
    for count, net in enumerate(alone, 1):
        net.fit(X, Y, epochs=count, batch_size=20)
    assert_same(networks, alone)
    with pytest.raises(TypeError, match="epochs must be an integer, not b'1234'"):
        fn.fit_many(networks, X, Y, epochs=b"1234")


def test_rows(threads):
    mask = np.arange(90) % 3 != 0
    rows = [RNG.integers(0, 90, size=90), mask, None, [-1, 3, 3, -90, 89]]
    networks, alone = small(), small()
    threads(2)
    fn.fit_many(networks, X, Y, epochs=4, batch_size=8, rows=rows)
    for net, each in zip(alone, rows, strict=True):
        net.fit(X if each is None else X[each], Y if each is None else Y[each], epochs=4, batch_size=8)
    assert_same(networks, alone)


def test_the_data_are_not_copied(threads):
    """10¹⁰ rows that take no memory; a copy, or a number for each, would take all there is."""
    rows = 10**10
    data, target = np.broadcast_to(np.ones((1, 4)), (rows, 4)), np.broadcast_to(0.5, (rows,))
    networks, alone = small(2), small(2)
    threads(2)
    fn.fit_many(networks, data, target, epochs=2, rows=[[5, rows - 1, 7], [0] * 40])
    for net, count in zip(alone, (3, 40), strict=True):
        net.fit(np.ones((count, 4)), np.full(count, 0.5), epochs=2)
    assert_same(networks, alone)


def test_a_shared_schedule_and_early_stopping(threads):
    """Networks at different epochs do not disturb each other's learning rate and patience."""
    networks, alone = small(6), small(6)
    optimizer = fn.SGD(lambda epoch: 0.3 * 0.8**epoch, momentum=0.9)
    stopping = fn.EarlyStopping(patience=2)
    each_epochs = [30, 1, 20, 30, 5, 30]
    options = {"validation_data": VALIDATION, "batch_size": 8}
    threads(3)
    fn.fit_many(networks, X, Y, epochs=each_epochs, optimizer=optimizer, callbacks=[stopping], **options)
    assert optimizer.learning_rate == 0.3
    assert stopping.best_epoch is None
    for net, epochs in zip(alone, each_epochs, strict=True):
        net.fit(X, Y, epochs=epochs, optimizer=optimizer, callbacks=[stopping], **options)
    assert_same(networks, alone)
    assert 1 < networks[0].history.epochs < 30  # it did stop by itself


def test_a_plateau_of_one_network_is_not_that_of_another(threads):
    networks, alone = small(3), small(3)
    threads(3)
    fn.fit_many(
        networks,
        X,
        Y,
        epochs=[3, 12, 12],
        optimizer=fn.SGD(0.5),
        validation_data=VALIDATION,
        callbacks=[fn.ReduceLROnPlateau(patience=1)],
    )
    for net, epochs in zip(alone, (3, 12, 12), strict=True):
        net.fit(
            X,
            Y,
            epochs=epochs,
            optimizer=fn.SGD(0.5),
            validation_data=VALIDATION,
            callbacks=[fn.ReduceLROnPlateau(patience=1)],
        )
    assert_same(networks, alone)
    assert networks[1].optimizer.learning_rate < 0.5


def test_callbacks_of_each_network(threads):
    threads(2)
    stopping = [fn.EarlyStopping(patience=patience) for patience in (1, 5)]
    fn.fit_many(
        small(2), X, Y, epochs=40, validation_data=VALIDATION, callbacks=[[stopping[0]], [stopping[1]]]
    )
    assert all(each.best_epoch is not None for each in stopping)


class Meet(fn.Callback):
    def __init__(self, barrier):
        self.barrier = barrier

    def on_epoch_end(self, net, epoch, logs):
        self.barrier.wait(WAIT)


@pytest.mark.parametrize(
    ("callbacks", "words"),
    [
        (5, "must be a list of callbacks, or a list for each network, not 5"),
        ([[], fn.EarlyStopping()], "or a list for each network: .*EarlyStopping.* is none"),
        ([Meet(threading.Lock())], "cannot be copied for each network .*give each network a list of its own"),
    ],
)
def test_callbacks_are_checked(callbacks, words):
    with pytest.raises(TypeError, match=words):
        fn.fit_many(small(2), X, Y, callbacks=callbacks)


def test_momentum_goes_on(threads):
    """An optimizer that is shared is the one that the networks know from before."""
    networks, alone = small(3), small(3)
    threads(2)
    shared = fn.Adam(0.01)
    for _ in range(2):
        fn.fit_many(networks, X, Y, epochs=2, optimizer=shared)
    networks[0].fit(X, Y, epochs=1, optimizer=shared)
    for net in alone:
        own = fn.Adam(0.01)
        for _ in range(2):
            net.fit(X, Y, epochs=2, optimizer=own)
    alone[0].fit(X, Y, epochs=1, optimizer=alone[0].optimizer)
    assert_same(networks, alone)


def test_networks_train_at_the_same_time(threads):
    threads(3)
    barrier = threading.Barrier(3)
    fn.fit_many(small(3), X, Y, epochs=2, callbacks=[[Meet(barrier)] for _ in range(3)])
    assert not barrier.broken


@linux
def test_one_thread_for_a_network():
    """The core's pool, which one large network alone would start, stays asleep."""
    code = """
import os, time, numpy as np, fusednet as fn
from fusednet import _core
_core.set_parallel_threshold(0.0)
fn.set_num_threads(3)
def count():
    time.sleep(0.3)  # a joined thread leaves the list a moment later
    return len(os.listdir("/proc/self/task"))
X, y = np.ones((200, 50)), np.ones(200)
make = lambda: fn.Network([50, 300, 1])
before = count()
fn.fit_many([make(), make()], X, y, epochs=2)
between = count()
fn.fit_many([make()], X, y, epochs=2)
print(between - before, count() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=WAIT, check=False
    )
    assert done.stdout.split() == ["0", "2"], done.stderr


def test_one_that_diverges(threads):
    networks, alone = small(), small()
    threads(2)
    rates = [0.01, 1e30, 0.02, 0.03]
    with pytest.warns(RuntimeWarning, match=r"^1 of 4 networks diverged: network 1: training diverged in"):
        results = fn.fit_many(networks, X, Y, epochs=5, optimizer=[fn.SGD(rate) for rate in rates])
    for net, rate in zip(alone, rates, strict=True):
        try:
            net.fit(X, Y, epochs=5, optimizer=fn.SGD(rate))
        except fn.DivergenceError as error:
            message = str(error)
    assert_same(networks, alone)
    assert isinstance(results[1], fn.DivergenceError)
    assert str(results[1]) == f"network 1: {message}"
    assert [result for result in results if result is not results[1]] == [
        net.history for i, net in enumerate(alone) if i != 1
    ]


def test_one_that_diverges_on_rows_of_its_own(threads, monkeypatch):
    """What is restored goes by the loss on those rows, which is computed in pieces."""
    from fusednet import many

    monkeypatch.setattr(many, "_CHUNK", 16)
    rate = lambda epoch: 0.01 if epoch < 2 else 1e30  # noqa: E731
    rows = np.r_[0:50, 0:5]
    networks, alone = small(2), small(1)
    threads(2)
    with pytest.warns(RuntimeWarning, match="2 of 2 networks diverged"):
        results = fn.fit_many(networks, X, Y, epochs=5, optimizer=fn.SGD(rate), rows=[rows, rows])
    with pytest.raises(fn.DivergenceError, match="from the end of epoch 1"):
        alone[0].fit(X[rows], Y[rows], epochs=5, optimizer=fn.SGD(rate))
    assert_same(networks[:1], alone)
    assert "from the end of epoch 1" in str(results[0])


def test_one_that_diverges_keeps_what_its_callbacks_raised(threads):
    class Full(fn.Callback):
        def on_exception(self, net, error):
            raise OSError("disk full")

    threads(2)
    with pytest.warns(RuntimeWarning, match="2 of 2 networks diverged"):
        results = fn.fit_many(small(2), X, Y, optimizer=fn.SGD(1e30), callbacks=[Full()])
    for result in results:
        assert "disk full" in "".join(result.__notes__)


def test_results_keep_nothing_else_alive(threads):
    threads(2)
    networks = small(2)
    remains = [weakref.ref(net) for net in networks]
    gc.disable()
    try:
        with pytest.warns(RuntimeWarning, match="2 of 2 networks diverged"):
            results = fn.fit_many(networks, X, Y, optimizer=fn.SGD(1e30))
        del networks
        assert [reference() for reference in remains] == [None, None]
    finally:
        gc.enable()
    assert all(isinstance(result, fn.DivergenceError) for result in results)


class Fail(fn.Callback):
    def on_epoch_end(self, net, epoch, logs):
        if epoch == 2:
            raise LookupError("mine")


def test_a_callback_that_raises_stops_all(threads):
    networks = small(8)
    threads(2)
    start = time.monotonic()
    with pytest.raises(LookupError, match="mine") as caught:
        fn.fit_many(networks, X, Y, epochs=10**9, callbacks=[[], [Fail()]] + [[]] * 6)
    assert caught.value.__notes__ == ["This is about network 1."]
    assert time.monotonic() - start < WAIT
    for net in networks:
        net.fit(X, Y, epochs=1)


def test_nan_in_the_rows_of_one(threads):
    data = X.copy()
    data[80] = np.nan
    networks, before = small(), [net.copy() for net in small()]
    threads(2)
    rows = [np.arange(80), np.arange(80), np.arange(90), np.arange(80)]
    with pytest.raises(ValueError, match="finite") as caught:
        fn.fit_many(networks, data, Y, epochs=10**9, rows=rows)
    assert "This is about network 2." in caught.value.__notes__
    assert_same(networks[2:3], before[2:3])


def test_what_a_thread_ends_with_is_what_is_raised(threads):
    """Never that the thread has ended, however soon it does."""
    data = X.copy()
    data[80] = np.nan
    threads(1)
    for _ in range(30):
        with pytest.raises(ValueError, match="finite"):
            fn.fit_many(small(), data, Y, epochs=1)


def test_columns_are_copied_to_rows_once_for_all(threads):
    data = np.ones((20_000, 20), order="F")
    threads(2)
    tracemalloc.start()
    try:
        fn.fit_many([fn.Network([20, 1], seed=seed) for seed in range(6)], data, data[:, 0], epochs=1)
        assert tracemalloc.get_traced_memory()[1] < 2 * data.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"networks": []}, ValueError, "at least one network"),
        ({"networks": fn.Network([4, 1])}, TypeError, "a list of networks"),
        ({"rows": iter([None])}, TypeError, "rows must be a list of row numbers"),
        ({"networks": [fn.Network([4, 1]), "net"]}, TypeError, r"networks\[1\] is 'net'"),
        ({"y": None}, TypeError, "needs y"),
        ({"y": Y[:-1]}, ValueError, "expected 90 rows"),
        ({"X": np.empty((0, 4))}, ValueError, "n at least 1"),
        ({"X": [["a"]]}, TypeError, "real numbers"),
        (
            {"epochs": [1, 2, 3]},
            ValueError,
            "epochs must be one for all or one for each of 4 networks, not 3",
        ),
        ({"epochs": 0}, ValueError, "epochs must be at least 1"),
        ({"batch_size": [1, 2, 0, 1]}, ValueError, "batch_size must be at least 1, not 0"),
        ({"optimizer": "sgd"}, TypeError, "optimizer must be an optimizer"),
        ({"optimizer": [fn.SGD(0.1)]}, ValueError, "one for each of 4 networks, not 1"),
        ({"callbacks": [[], []]}, ValueError, "callbacks must be one for all or one for each of 4"),
        ({"callbacks": [3]}, TypeError, "a callback must be"),
        ({"callbacks": [fn.CSVLogger("log.csv")]}, ValueError, "CSVLogger writes to a path of its own"),
        ({"callbacks": [[fn.ModelCheckpoint("x")]] * 4}, ValueError, "ModelCheckpoint writes to a path"),
        ({"rows": [[0]]}, ValueError, "for each of 4 networks, not 1 entries"),
        ({"rows": [0, 1, 2, 3]}, TypeError, r"rows\[0\] must be a one-dimensional array of row numbers"),
        ({"rows": [[0], [0.5], [0], [0]]}, TypeError, r"rows\[1\].*float64"),
        ({"rows": [[0], [90], [0], [0]]}, ValueError, r"rows\[1\] must hold row numbers below 90, not 90"),
        ({"rows": [[0], [-91], [0], [0]]}, ValueError, r"rows\[1\] must hold row numbers below 90"),
        ({"rows": [[0], [0], [], [0]]}, ValueError, r"rows\[2\] must select at least one row"),
        ({"rows": [[True], [0], [0], [0]]}, ValueError, r"rows\[0\] must have one entry for each of 90 rows"),
        ({"rows": [np.zeros(90, bool)] * 4}, ValueError, r"rows\[0\] must select at least one row"),
        ({"validation_data": (X[:, :3], Y)}, ValueError, r"expected shape \(n, 4\)"),
        ({"validation_data": X}, TypeError, r"validation_data must be \(X, y\)"),
        ({"validation_data": [(X, Y)]}, ValueError, "validation_data must be one for all or one for each"),
    ],
)
def test_wrong_arguments(options, error, message):
    networks, before = small(), small()
    with pytest.raises(error, match=message):
        fn.fit_many(**({"networks": networks, "X": X, "y": Y} | options))
    assert_same(networks, before)


def test_a_network_twice():
    net = fn.Network([4, 1])
    with pytest.raises(ValueError, match=r"networks\[0\] and networks\[2\] are the same one"):
        fn.fit_many([net, net.copy(), net], X, Y)


def test_a_network_that_does_not_fit_the_data():
    networks = [*small(2), fn.Network([5, 1])]
    before = copy.deepcopy(networks)
    with pytest.raises(ValueError, match=r"expected shape \(n, 5\)") as caught:
        fn.fit_many(networks, X, Y)
    assert caught.value.__notes__ == ["This is about network 2."]
    assert_same(networks, before)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_one_progress_bar(monkeypatch, threads):
    threads(2)
    monkeypatch.setattr(sys, "stderr", Terminal())
    fn.fit_many(small(), X, Y, epochs=3, callbacks=[fn.EarlyStopping("loss", patience=1)], progress=True)
    lines = sys.stderr.getvalue().split("\r")
    assert lines[-1].startswith("4/4 networks |####") or lines[-1].startswith("4/4 networks |████")
    assert lines[-1].endswith("\n")
    assert sys.stderr.getvalue().count("\n") == 1
    fn.fit_many(small(), X, Y, epochs=1)
    assert sys.stderr.getvalue().count("\n") == 1


INTERRUPTED = """
import signal
import sys
import time
import numpy as np
import fusednet as fn

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

class Ready(fn.Callback):
    def on_epoch_begin(self, net, epoch):
        if epoch == int(sys.argv[3]):
            print("ready", flush=True)

fn.set_num_threads(2)
rows, width = int(sys.argv[1]), int(sys.argv[2])
X = np.broadcast_to(np.random.default_rng(0).normal(size=(1, 16)), (rows, 16))
y = np.broadcast_to(np.ones((1, 1)), (rows, 1))
networks = [fn.Network([16, width, width, 1], "tanh", seed=seed) for seed in range(6)]
before = [net.copy() for net in networks]
try:
    fn.fit_many(networks, X, y, epochs=10**9, optimizer=fn.Adam(), callbacks=[[Ready()], *[[]] * 5])
except KeyboardInterrupt:
    left = time.monotonic()
    changed = [bool((net.parameters != old.parameters).any()) for net, old in zip(networks, before)]
    finite = all(np.isfinite(net.parameters).all() for net in networks)
    print(left, sum(changed), finite, networks[0].history.epochs)
    fn.fit_many(networks, X, y, epochs=1, rows=[[0, 1]] * 6)
    raise
"""


@posix
@pytest.mark.parametrize(
    ("rows", "width", "epoch"), [(100, 8, 5), (10**6, 512, 0)], ids=["many epochs", "a long epoch"]
)
def test_ctrl_c(rows, width, epoch):
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(rows), str(width), str(epoch)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=WAIT)
    finally:
        process.kill()
        process.communicate()
    assert errors.splitlines()[-1] == "KeyboardInterrupt", errors
    left, changed, finite, epochs = out.split()
    assert float(left) - sent < 2.0  # by the clock that all processes have in common
    assert (changed, finite) == ("2", "True")  # two at a time
    assert int(epochs) >= epoch
