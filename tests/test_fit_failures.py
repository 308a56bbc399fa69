"""What is left of a training that bad data, divergence or Ctrl-C ends."""

import signal
import sys
import threading
import time

import numpy as np
import pytest

import fusednet as fn

from fit_helpers import X, Y, batches, network, snapshot

# Bad data in the middle


@pytest.mark.parametrize("optimizer", [fn.SGD(0.1), fn.SGD(0.1, momentum=0.9), fn.Adam()], ids=repr)
@pytest.mark.parametrize("where", ["X", "y"])
def test_bad_data_leaves_no_trace(optimizer, where):
    net = network(dropout=0.3)
    net.fit(X, Y, epochs=2, optimizer=optimizer)
    history, before = net.history, snapshot(net, optimizer)
    bad_X, bad_Y = X.copy(), Y.copy()
    (bad_X if where == "X" else bad_Y)[40] = np.nan
    with pytest.raises(ValueError, match=f"{where}.*finite.*row 40"):
        net.fit(bad_X, bad_Y, batch_size=4, optimizer=optimizer)
    assert snapshot(net, optimizer) == before
    assert net.history is history


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"validation_data": (X[:, :1], Y)}, ValueError, "X: expected"),
        ({"validation_data": (X, Y, None, None)}, TypeError, r"\(X, y, sample_weight\), not tuple of 4"),
        ({"validation_data": 5}, TypeError, "validation_data must be .*, not int"),
        ({"metrics": []}, TypeError, "metrics must be a dict"),
    ],
)
def test_wrong_arguments_are_found_before_any_epoch(options, error, message):
    class Count(fn.Callback):
        epochs = 0

        def on_epoch_begin(self, net, epoch):
            self.epochs += 1

    count, net = Count(), network()
    with pytest.raises(error, match=message):
        net.fit(X, Y, callbacks=[count], **options)
    assert count.epochs == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: None, "must return an iterable of them, not None"),
        (lambda: [(X, Y, None, None)], "a batch must be .*, not tuple of 4"),
        (lambda: [X], "a batch must be .*, not ndarray"),
    ],
)
def test_what_is_no_batch(make, message):
    with pytest.raises(TypeError, match=message):
        network().fit(make)


def test_batches_may_be_read_by_their_numbers():
    class Pair:
        def __getitem__(self, index):
            return [(X[:20], Y[:20]), (X[20:], Y[20:])][index]

    net, reference = network(), network()
    net.fit(Pair, epochs=2)
    reference.fit(lambda: [(X[:20], Y[:20]), (X[20:], Y[20:])], epochs=2)
    np.testing.assert_array_equal(net.parameters, reference.parameters)


def bad_in_epoch(number):
    calls = []

    def source():
        calls.append(0)
        yield from batches()
        if len(calls) == number:
            yield X, Y[:-1]

    return source


def test_bad_batches_leave_no_trace():
    net, optimizer = network(), fn.Adam()
    before = snapshot(net, optimizer)
    with pytest.raises(ValueError, match="50 rows"):
        net.fit(bad_in_epoch(1), epochs=5, optimizer=optimizer)
    assert snapshot(net, optimizer) == before


def test_bad_batches_cost_no_epochs_that_are_done():
    net, reference = network(), network()
    with pytest.raises(ValueError, match="50 rows"):
        net.fit(bad_in_epoch(3), epochs=5, optimizer=fn.Adam())
    assert net.history == reference.fit(batches, epochs=2, optimizer=fn.Adam())


@pytest.mark.parametrize("error", [RuntimeError, ValueError, TypeError, KeyError, OSError])
def test_errors_of_a_metric_cost_no_epochs(error):
    scores = iter([1.0, 2.0])

    def metric(y_true, y_pred):
        try:
            return next(scores)
        except StopIteration:
            raise error("mine") from None

    net, reference = network(), network()
    with pytest.raises(error, match="mine"):
        net.fit(X, Y, epochs=9, metrics={"mine": metric})
    assert net.history.loss == reference.fit(X, Y, epochs=2).loss
    assert net.history.metrics == {"mine": [1.0, 2.0]}


# Divergence


def test_divergence_restores_the_last_finite_epoch():
    reference = network(activation="relu")
    reference.fit(X, Y, epochs=3, optimizer=fn.SGD(0.05))
    net = network(activation="relu")
    optimizer = fn.SGD(lambda epoch: 0.05 if epoch < 3 else 1e200)
    message = r"epoch 3 at the learning rate 1e\+200.*end of epoch 2"
    with pytest.raises(fn.DivergenceError, match=message) as caught:
        net.fit(X, Y, epochs=9, optimizer=optimizer)
    assert isinstance(caught.value, ArithmeticError)
    assert "lower learning rate" in str(caught.value)
    np.testing.assert_array_equal(net.parameters, reference.parameters)
    assert net.history.loss == reference.history.loss


@pytest.mark.parametrize("batch_size", [8, 50])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_divergence_in_the_first_epochs_restores_the_start(batch_size, dtype):
    net, optimizer = network(activation="relu", dtype=dtype), fn.SGD(1e150 if dtype == "float64" else 1e18)
    before = net.parameters.copy()
    with pytest.raises(fn.DivergenceError, match="before the training"):
        net.fit(X, Y, epochs=9, batch_size=batch_size, optimizer=optimizer)
    np.testing.assert_array_equal(net.parameters, before)
    assert np.isfinite(net.evaluate(X, Y)["loss"])


def test_a_loss_may_raise_divergence_itself():
    def loss(prediction, y):
        if np.abs(prediction).max() > 0:
            raise fn.DivergenceError("too far")
        return 0.0, np.ones_like(prediction)

    net, optimizer = network(loss=loss), fn.SGD(0.1, momentum=0.5)
    net.parameters[:] = 0
    with pytest.raises(fn.DivergenceError, match=r"in epoch 0 .*too far.*from before the training"):
        net.fit(X, Y, epochs=3, optimizer=optimizer)
    assert not net.parameters.any()
    calls = []

    def later(prediction, y):
        calls.append(0)
        if len(calls) > 5:
            raise fn.DivergenceError("enough")
        return 0.0, np.ones_like(prediction)

    net = network(loss=later)
    before = net.parameters.copy()
    with pytest.raises(fn.DivergenceError, match=r"in epoch 1 .*enough.*from before the training"):
        net.fit(X, Y, epochs=9, batch_size=-(-len(X) // 4), optimizer=optimizer)
    np.testing.assert_array_equal(net.parameters, before)


def test_divergence_drops_the_state_of_the_optimizer():
    net, optimizer = network(activation="relu"), fn.SGD(0.01, momentum=0.9)
    net.fit(X, Y, epochs=1, optimizer=optimizer)
    optimizer.learning_rate = 1e300
    with pytest.raises(fn.DivergenceError):
        net.fit(X, Y, optimizer=optimizer)
    assert net._core.get_optimizer_state(optimizer._core) is None
    optimizer.learning_rate = 0.01
    net.fit(X, Y, epochs=1, optimizer=optimizer)
    assert np.isfinite(net.parameters).all()


def test_divergence_in_batches():
    net = network(activation="relu")
    before = net.parameters.copy()
    with pytest.raises(fn.DivergenceError, match="epoch 0"):
        net.fit(batches, epochs=3, optimizer=fn.SGD(1e200))
    np.testing.assert_array_equal(net.parameters, before)


def test_a_single_step_may_diverge_only_before_its_update():
    net = network(activation="relu")
    net.parameters *= 1e200
    before = net.parameters.copy()
    with pytest.raises(fn.DivergenceError):
        net.train_step(X, Y, fn.SGD(0.1))
    np.testing.assert_array_equal(net.parameters, before)


# Ctrl-C


class Interrupt(fn.Callback):
    def on_epoch_begin(self, net, epoch):
        if epoch == 2:
            raise KeyboardInterrupt


def test_an_interruption_loses_nothing():
    net, reference = network(), network()
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, Y, epochs=9, callbacks=[Interrupt()])
    reference.fit(X, Y, epochs=2)
    assert net.history == reference.history
    np.testing.assert_array_equal(net.parameters, reference.parameters)


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal to itself")
def test_ctrl_c_reaches_a_running_epoch(ctrl_c):
    big_X, big_Y = np.ones((400_000, 3)), np.ones(400_000)
    net = fn.Network([3, 256, 256, 1], seed=0)
    before = net.parameters.copy()
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    start = time.perf_counter()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        net.fit(big_X, big_Y, epochs=1000, optimizer=fn.SGD(1e-4))
    assert time.perf_counter() - start < 3
    assert not np.array_equal(net.parameters, before)
    assert np.isfinite(net.parameters).all()
    assert net.fit(X, Y, epochs=1).epochs == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_parameters_are_copied_and_looked_at(dtype, bad):
    net = network(dtype=dtype)
    out = np.empty_like(net.parameters)
    assert net._core.copy_parameters(out)
    np.testing.assert_array_equal(out, net.parameters)
    for index in range(out.size):
        value, net.parameters[index] = net.parameters[index], bad
        assert not net._core.copy_parameters(out)
        net.parameters[index] = value
    net.parameters[:] = np.finfo(dtype).max
    assert net._core.copy_parameters(out)


@pytest.mark.parametrize(
    "change",
    [
        lambda out: out[:-1],
        lambda out: out.astype(np.int64),
        lambda out: np.repeat(out, 2)[::2],
        lambda out: np.frombuffer(out.tobytes(), out.dtype),
    ],
    ids=["size", "dtype", "strides", "read-only"],
)
def test_where_parameters_cannot_be_copied_to(change):
    net = network()
    with pytest.raises(ValueError, match="writable, contiguous array like parameters"):
        net._core.copy_parameters(change(net.parameters.copy()))
