"""Copies of networks: by copy, pickle and `copy_from`; what they keep, and that they are apart."""

import copy
import pickle

import numpy as np
import pytest

import fusednet as fn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3))
Y = np.stack([X.sum(axis=1), X[:, 0] ** 2], axis=1)
LABELS = RNG.integers(0, 4, size=30)


@pytest.mark.parametrize(
    "duplicate", [lambda n: n.copy(), copy.deepcopy, copy.copy, lambda n: pickle.loads(pickle.dumps(n))]
)
def test_copies_are_equal_and_independent(duplicate):
    net = fn.Network([3, 8, 4], output="softmax", loss="cross_entropy", dropout=0.3, l2=0.01, seed=0)
    net.layers[0].trainable = False
    net.fit(X, LABELS, epochs=2, batch_size=8)
    other = duplicate(net)
    assert repr(other) == repr(net)
    assert other.history == net.history
    assert not other.layers[0].trainable
    np.testing.assert_array_equal(other.predict(X), net.predict(X))
    before = net.parameters.copy()
    # Shuffles and dropout go on alike, so the same bits come out.
    losses = other.fit(X, LABELS, epochs=3, batch_size=8).loss
    np.testing.assert_array_equal(net.parameters, before)
    assert net.fit(X, LABELS, epochs=3, batch_size=8).loss == losses
    np.testing.assert_array_equal(other.parameters, net.parameters)


def test_copy_keeps_loss_objects():
    net = fn.Network([3, 2], loss=fn.losses.Huber(0.25), seed=0)
    assert net.copy().loss == fn.losses.Huber(0.25)
    assert net.copy().evaluate(X, Y) == net.evaluate(X, Y)


class Discounted(fn.Network):
    gamma = 0.9

    def __init__(self, gamma):
        super().__init__([3, 2], seed=0)
        self.gamma, self.seen = gamma, [1]


@pytest.mark.parametrize(
    "duplicate", [fn.Network.copy, copy.copy, lambda net: pickle.loads(pickle.dumps(net))]
)
def test_subclasses_stay_and_keep_their_attributes(duplicate):
    net = Discounted(0.5)
    net.layers[0].name = "first"
    again = duplicate(net)
    assert type(again) is Discounted
    assert (again.gamma, again.seen, again.layers[0].name) == (0.5, [1], "first")
    assert again.seen is not net.seen


@pytest.mark.parametrize(
    "duplicate", [fn.Network.copy, copy.copy, lambda net: pickle.loads(pickle.dumps(net))]
)
def test_copies_refer_to_themselves_as_their_originals_do(duplicate):
    net = fn.Network([3, 4, 2], seed=0)
    net.first = net.layers[0]
    net.layers[1].network = net
    again = duplicate(net)
    assert again.first is again.layers[0] is not net.first
    assert again.layers[1].network is again
    layer = duplicate(net.layers[1])
    assert layer.network.layers[1] is layer is not net.layers[1]
    np.testing.assert_array_equal(layer.weights, net.layers[1].weights)
    again.fit(X, Y, epochs=1)
    np.testing.assert_array_equal(again.first.weights, again.parameters[:12].reshape(3, 4))


def test_copy_from():
    a, b = fn.Network([3, 4, 2], dtype="float64", seed=0), fn.Network([3, 4, 2], dtype="float64", seed=1)
    expected = 0.1 * b.parameters + 0.9 * a.parameters
    view = a.parameters
    a.copy_from(b, tau=0.1)
    np.testing.assert_allclose(view, expected, rtol=1e-13)
    a.copy_from(b)
    np.testing.assert_array_equal(view, b.parameters)
    before = a.parameters.copy()
    a.copy_from(fn.Network([3, 4, 2], seed=2), tau=0.0)
    np.testing.assert_array_equal(a.parameters, before)


@pytest.mark.parametrize(
    ("other", "tau", "error", "words"),
    [
        (lambda: fn.Network([3, 5, 2]), 1.0, ValueError, "architectures differ"),
        (lambda: fn.Network([3, 4, 2], activation="tanh"), 1.0, ValueError, "architectures differ"),
        (
            lambda: fn.Network([fn.Dense(3, 4, "relu", bias=False), fn.Dense(4, 2)]),
            1.0,
            ValueError,
            r"differ: Dense\(3, 4, 'relu'\), .* and Dense\(3, 4, 'relu', bias=False\)",
        ),
        (lambda: fn.Network([3, 4, 2]), 1.5, ValueError, "tau must lie in \\[0, 1\\], not 1.5"),
        (lambda: np.zeros(26), 1.0, TypeError, "must be a Network"),
    ],
)
def test_copy_from_checks(other, tau, error, words):
    with pytest.raises(error, match=words):
        fn.Network([3, 4, 2]).copy_from(other(), tau)


def test_copy_from_is_refused_as_a_whole():
    other = fn.Network([3, 1], seed=1)
    other.standardize(np.arange(12.0).reshape(4, 3))

    def loss(y_pred, y_true):
        with pytest.raises(RuntimeError, match="trained"):
            net.copy_from(other)
        return 0.0, np.zeros_like(y_pred)

    net = fn.Network([3, 1], loss=loss, seed=0)
    before = net.parameters.copy()
    net.train_step(np.ones((2, 3)), np.ones((2, 1)), fn.SGD(0.1))
    np.testing.assert_array_equal(net.parameters, before)
    assert net.input_mean is None


def test_copy_from_between_neurons():
    a, b = (fn.Network([fn.Neuron([weight, 1.0])]) for weight in (0.5, 2.0))
    a.copy_from(b)
    np.testing.assert_array_equal(a.parameters, [2.0, 1.0, 0.0])
