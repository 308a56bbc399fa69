"""A loss that is a Python function: what it may return, what it may raise, and who keeps it alive."""

import gc
import time
import weakref

import numpy as np
import pytest

import fusednet as fn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3))
Y = np.stack([X.sum(axis=1), X[:, 0] ** 2], axis=1)


def test_a_loss_of_ones_own():
    def mse(y_pred, y_true):
        assert y_pred.ndim == y_true.ndim == 2
        r = y_pred - y_true
        return float((r**2).mean()), 2 * r / r.size

    nets = [fn.Network([3, 6, 2], loss=loss, dtype="float64", seed=0) for loss in ("mse", mse)]
    histories = [net.fit(X, Y, epochs=3, batch_size=7, validation_data=(X, Y)) for net in nets]
    np.testing.assert_allclose(histories[0].loss, histories[1].loss, rtol=1e-12)
    np.testing.assert_allclose(histories[0].val_loss, histories[1].val_loss, rtol=1e-12)
    assert nets[1].evaluate(X, Y) == pytest.approx(nets[0].evaluate(X, Y))
    with pytest.raises(ValueError, match="sample_weight"):
        nets[1].fit(X, Y, sample_weight=np.ones(30))


def test_a_slow_loss_is_watched_as_closely_as_a_quick_one():
    def slow(y_pred, y_true):
        time.sleep(0.002)
        return 0.0, 0 * y_pred

    beats = []
    core = fn.Network([3, 2], loss=slow)._core
    core.train_epoch(X, Y, fn.SGD(0.1)._core, 1, np.resize(np.arange(30), 150), None, beats.append)
    assert len(beats) >= 3


def test_a_loss_of_ones_own_with_targets_of_its_own():
    def outside(y_pred, interval):
        below, above = np.minimum(y_pred - interval[:, :1], 0), np.maximum(y_pred - interval[:, 1:], 0)
        return float((below**2 + above**2).mean()), 2 * (below + above) / len(y_pred)

    net = fn.Network([3, 1], loss=outside, seed=0)
    intervals = np.column_stack([Y[:, 0] - 0.1, Y[:, 0] + 0.1])
    net.fit(X, intervals, epochs=200, optimizer=fn.SGD(0.1))
    result = net.evaluate(X, intervals)
    assert list(result) == ["loss"]
    assert result["loss"] < 1e-3


@pytest.mark.parametrize("rows", [30, 3000])
@pytest.mark.parametrize("widths", [(1,), (5, 2, 5), (2, 7, 1)])
def test_a_loss_of_ones_own_gets_the_targets_as_they_are(rows, widths):
    seen = []

    def loss(y_pred, y_true):
        seen.append(y_true)
        return 0.0, np.zeros_like(y_pred)

    rng = np.random.default_rng(0)
    net = fn.Network([3, 2], loss=loss)
    inputs = rng.normal(size=(rows, 3)).astype(np.float32)
    for width in widths:
        targets = rng.normal(size=(rows, width)).astype(np.float32)
        net.train_step(inputs, targets, fn.SGD(0.1))
        np.testing.assert_array_equal(seen[-1], targets)


def test_a_loss_of_ones_own_may_fill_the_inputs_anew():
    inputs, targets = np.ones((64, 100), np.float32), np.ones((64, 2), np.float32)

    def trained(refill):
        buffer = inputs.copy()

        def loss(y_pred, y_true):
            if refill:
                buffer[:] = 5
            return float(((y_pred - y_true) ** 2).mean()), 2 * (y_pred - y_true) / y_pred.size

        net = fn.Network([100, 2], loss=loss, seed=0)
        net.train_step(buffer, targets, fn.SGD(0.1))
        return net.parameters.copy()

    np.testing.assert_array_equal(trained(True), trained(False))


def test_errors_in_a_loss_of_ones_own_reach_the_caller():
    def broken(y_pred, y_true):
        raise ZeroDivisionError("mine")

    net = fn.Network([3, 2], loss=broken)
    with pytest.raises(ZeroDivisionError, match="mine"):
        net.fit(X, Y)
    with pytest.raises(AttributeError, match="nonsense"):
        fn.Network([3, 2], loss=lambda p, y: p.nonsense).train_step(X, Y, fn.SGD(0.1))


@pytest.mark.parametrize(
    ("result", "error", "words"),
    [
        (lambda p: 1.0, TypeError, r"tuple \(value, gradient\).*float"),
        (lambda p: (1.0, p, p), TypeError, r"tuple \(value, gradient\).*tuple"),
        (lambda p: (None, p), TypeError, "number as value.*NoneType"),
        (lambda p: ("1", p), TypeError, "number as value.*str"),
        (lambda p: (1j, p), TypeError, "number as value.*complex"),
        (lambda p: (10**400, p), OverflowError, "too large"),
        (lambda p: (np.ones(2), p), TypeError, "number as value.*ndarray"),
        (lambda p: (1.0, "abc"), TypeError, "gradient.*dtype <U3"),
        (lambda p: (1.0, p + 1j), TypeError, "gradient.*dtype complex"),
        (lambda p: (1.0, [[1.0], [1.0, 2.0]]), ValueError, "inhomogeneous"),
        (lambda p: (1.0, p[:-1]), ValueError, r"gradient of shape \(30, 2\).*\(29, 2\)"),
        (lambda p: (1.0, p[:, 0]), ValueError, r"gradient of shape \(30, 2\).*\(30,\)"),
        (lambda p: (1.0, p * np.inf), fn.DivergenceError, "gradient is not finite"),
        (lambda p: (np.nan, p), fn.DivergenceError, "loss became nan"),
    ],
)
def test_what_it_returns_is_checked(result, error, words):
    net = fn.Network([3, 2], loss=lambda p, y: result(p), seed=0)
    before = net.parameters.copy()
    with pytest.raises(error, match=words):
        net.train_step(X, Y, fn.SGD(0.1))
    np.testing.assert_array_equal(net.parameters, before)


def test_a_gradient_that_nobody_asks_for_may_be_infinite():
    def rmse(y_pred, y_true):
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.sqrt(((y_pred - y_true) ** 2).mean())
            return value, (y_pred - y_true) / (y_pred.size * value)

    net = fn.Network([3, 2], loss=rmse, dtype="float64", seed=0)
    exact = X, net.predict(X)
    assert net.evaluate(*exact)["loss"] == 0.0
    history = net.fit(X, Y, epochs=1, optimizer=fn.SGD(1e-300), validation_data=exact)
    assert history.val_loss == [0.0]


def test_errors_of_what_it_returns_reach_the_caller():
    class Lost:
        def __float__(self):
            raise RuntimeError("device lost")

    net = fn.Network([3, 2], loss=lambda p, y: (Lost(), p), seed=0)
    with pytest.raises(RuntimeError, match="device lost"):
        net.train_step(X, Y, fn.SGD(0.1))


@pytest.mark.parametrize("value", [2, True, np.float32(2), np.array(2.0)], ids=repr)
def test_values_may_be_any_number(value):
    net = fn.Network([3, 2], loss=lambda p, y: (value, p.tolist()), seed=0)
    assert net.train_step(X, Y, fn.SGD(0.1)) == value


@pytest.mark.parametrize("error", [RuntimeError, ValueError, KeyError])
def test_what_it_raises_costs_no_epochs(error):
    calls = []

    def loss(prediction, target):
        calls.append(0)
        if len(calls) == 3:
            raise error("mine")
        return 0.5, prediction - target

    net = fn.Network([3, 2], loss=loss, seed=0)
    with pytest.raises(error, match="mine"):
        net.fit(X, Y, epochs=9, batch_size=30)
    assert net.history.loss == [0.5, 0.5]


def test_a_network_and_its_loss_that_refer_to_each_other_are_collected():
    class Agent:
        def __init__(self):
            self.net = fn.Network([3, 2], loss=self.loss, seed=0)

        def loss(self, prediction, target):
            return 0.0, prediction - target

    agent = Agent()
    agent.net.train_step(X, Y, fn.SGD(0.1))
    remains = weakref.ref(agent), weakref.ref(agent.net)
    del agent
    gc.collect()
    assert [reference() for reference in remains] == [None, None]


def test_it_outlives_the_function_s_name():
    net = fn.Network([3, 2], loss=lambda p, y: (0.25, p - y), seed=0)
    gc.collect()
    assert net.copy().train_step(X, Y, fn.SGD(0.1)) == 0.25
