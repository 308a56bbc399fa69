"""Dense and Neuron on their own, and as parts of a network."""

import copy
import gc
import pickle

import numpy as np
import pytest

import fusednet as fn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 3))


def test_forward_is_the_formula():
    layer = fn.Dense(3, 4, "tanh", dtype="float64", seed=0)
    layer.bias = [0.1, -0.2, 0.3, 0.4]
    np.testing.assert_allclose(layer.forward(X), np.tanh(X @ layer.weights + layer.bias), rtol=1e-13)
    np.testing.assert_allclose(layer.forward(X[0]), np.tanh(X[0] @ layer.weights + layer.bias), rtol=1e-13)


def test_backward_is_the_chain_rule():
    layer = fn.Dense(3, 4, "tanh", dtype="float64", seed=0)
    A = layer.forward(X)
    dL_dA = RNG.normal(size=(5, 4))
    dZ = dL_dA * (1 - A**2)
    np.testing.assert_allclose(layer.backward(dL_dA), dZ @ layer.weights.T, rtol=1e-12)
    np.testing.assert_allclose(layer.weights_gradient, X.T @ dZ, rtol=1e-12)
    np.testing.assert_allclose(layer.bias_gradient, dZ.sum(axis=0), rtol=1e-12)


def test_backward_of_one_sample():
    layer = fn.Dense(3, 2, dtype="float64", seed=0)
    layer.forward(X[0])
    assert layer.backward([1.0, 0.5]).shape == (3,)
    np.testing.assert_allclose(layer.weights_gradient, np.outer(X[0], [1.0, 0.5]))


def test_softmax_layer():
    layer = fn.Dense(3, 4, "softmax", dtype="float64", seed=0)
    P = layer.forward(X)
    np.testing.assert_allclose(P.sum(axis=1), 1.0)
    g = RNG.normal(size=(5, 4))
    dZ = P * (g - (g * P).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(layer.backward(g), dZ @ layer.weights.T, rtol=1e-11)


def test_backward_needs_forward_and_its_shape():
    layer = fn.Dense(3, 2)
    with pytest.raises(ValueError, match="forward first"):
        layer.backward(np.zeros((5, 2)))
    layer.forward(X)
    with pytest.raises(ValueError, match=r"\(5, 2\)|\(n, 2\)"):
        layer.backward(np.zeros((5, 3)))
    with pytest.raises(ValueError, match=r"\(5, 2\)"):
        layer.backward(np.zeros((4, 2)))


def test_properties():
    layer = fn.Dense(3, 2, "relu")
    assert (layer.in_features, layer.out_features, layer.activation, layer.parameter_count) == (
        3,
        2,
        "relu",
        8,
    )
    assert layer.dtype == np.float32
    assert layer.weights.shape == layer.weights_gradient.shape == (3, 2)
    assert layer.bias.shape == layer.bias_gradient.shape == (2,)
    assert not layer.bias.any()
    assert layer.trainable
    assert repr(layer) == "Dense(3, 2, 'relu')"


def test_without_bias():
    layer = fn.Dense(3, 2, bias=False, dtype="float64", seed=0)
    assert layer.bias is None
    assert layer.bias_gradient is None
    assert layer.parameter_count == 6
    np.testing.assert_allclose(layer.forward(X), X @ layer.weights)
    with pytest.raises(ValueError, match="no bias"):
        layer.bias = [1.0, 2.0]
    assert repr(layer) == "Dense(3, 2, 'identity', bias=False)"


def test_views_write_through_and_setters_copy():
    layer = fn.Dense(2, 2, dtype="float64")
    view = layer.weights
    mine = np.array([[1.0, 2.0], [3.0, 4.0]])
    layer.weights = mine
    np.testing.assert_array_equal(view, mine)
    mine[:] = 0
    assert view.any()
    view[:] = 5.0
    np.testing.assert_array_equal(layer.forward([1.0, 1.0]), [10.0, 10.0])
    layer.weights += 1.0
    assert (view == 6.0).all()


def test_views_outlive_their_layer():
    layer = fn.Dense(50, 50, dtype="float64")
    layer.weights = np.full((50, 50), 7.0)
    view = layer.weights
    del layer
    gc.collect()
    assert (view == 7.0).all()
    view[:] = 8.0


@pytest.mark.parametrize("shape", [(2, 3), (6,), (3, 1), ()])
def test_setters_check_the_shape(shape):
    layer = fn.Dense(3, 2)
    with pytest.raises(ValueError, match=r"weights must have the shape \(3, 2\)"):
        layer.weights = np.zeros(shape)
    with pytest.raises(ValueError, match=r"bias must have the shape \(2,\)"):
        layer.bias = np.zeros(shape)


def test_setters_take_what_fits():
    layer = fn.Dense(3, 2, seed=0)
    before = layer.weights.copy()
    with pytest.raises(ValueError, match=r"weights must fit float32, but holds -1e\+39"):
        layer.weights = np.array([[1.0, 2.0], [-1e39, 3.0], [4.0, 5.0]])
    np.testing.assert_array_equal(layer.weights, before)
    layer.bias = np.array([np.inf, np.nan])  # float32 has these
    np.testing.assert_array_equal(layer.bias, [np.inf, np.nan])


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: fn.Dense(0, 2), ValueError, "in_features must be at least 1, not 0"),
        (lambda: fn.Dense(2, -1), ValueError, "out_features.*-1"),
        (lambda: fn.Dense(2.0, 1), TypeError, "in_features must be an integer, not 2.0"),
        (lambda: fn.Dense(2, 1, "swish"), ValueError, "activation must be one of identity, .*'swish'"),
        (lambda: fn.Dense(2, 1, initializer="ones"), ValueError, "initializer must be one of auto"),
        (
            lambda: fn.Dense(2, 1, initializer=lambda rng, i, o: np.ones((o, i))),
            ValueError,
            "\\(2, 1\\).*\\(1, 2\\)",
        ),
        (
            lambda: fn.Dense(2, 1, initializer=lambda rng, i, o: np.ones((i, o)) * 1j),
            TypeError,
            "initializer",
        ),
        (
            lambda: fn.Dense(2, 1, initializer=lambda rng, i, o: np.full((i, o), "1")),
            TypeError,
            "initializer",
        ),
        (lambda: fn.Dense(2, 1, initializer=lambda rng, i, o: np.full((i, o), np.nan)), ValueError, "finite"),
        (
            lambda: fn.Dense(2, 1, initializer=lambda rng, i, o: np.full((i, o), 1e99)),
            ValueError,
            "finite in f",
        ),
        (lambda: fn.Dense(2, 1, seed=-1), ValueError, "seed must be a non-negative integer, .* not -1"),
        (lambda: fn.Dense(2, 1, bias="no"), TypeError, "bias must be True or False, not 'no'"),
        (lambda: fn.Dense(2, 1, seed=1.5), TypeError, "seed must be .* not 1.5"),
        (
            lambda: fn.Dense(2, 1, dtype="float16"),
            ValueError,
            "dtype must be one of float32, float64, not 'float16'",
        ),
        (lambda: fn.Dense(2, 1, dtype="real"), ValueError, "dtype"),
        (lambda: fn.Neuron([[1.0], [2.0]]), ValueError, "\\(in_features,\\)"),
        (lambda: fn.Neuron([]), ValueError, "weights"),
        (lambda: fn.Neuron(["a"]), TypeError, "weights"),
        (lambda: fn.Neuron([1.0], bias="a"), TypeError, "bias must hold real numbers"),
        (lambda: fn.Neuron([1e300], dtype="float32"), ValueError, "weights must fit float32, .* 1e\\+300"),
        (lambda: fn.Neuron([1.0], 1e300, dtype="float32"), ValueError, "bias must fit float32"),
    ],
)
def test_arguments_are_checked(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_dtype_may_be_a_numpy_type():
    assert fn.Dense(2, 1, dtype=np.float64).dtype == np.float64
    assert fn.Dense(2, 1, dtype=np.dtype("f4")).forward([1, 2]).dtype == np.float32


# Initial weights


def test_a_seed_means_the_same_weights_in_both_dtypes():
    a, b = fn.Dense(8, 4, seed=7), fn.Dense(8, 4, dtype="float64", seed=7)
    np.testing.assert_array_equal(a.weights, b.weights.astype(np.float32))
    assert not np.array_equal(fn.Dense(8, 4, seed=8).weights, a.weights)
    assert not np.array_equal(fn.Dense(8, 4).weights, fn.Dense(8, 4).weights)


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("glorot_uniform", 2 / 500),
        ("glorot_normal", 2 / 500),
        ("he_uniform", 2 / 300),
        ("he_normal", 2 / 300),
        ("lecun_uniform", 1 / 300),
        ("lecun_normal", 1 / 300),
    ],
)
def test_initializers_have_their_variance(name, variance):
    weights = fn.Dense(300, 200, initializer=name, dtype="float64", seed=0).weights
    assert weights.var() == pytest.approx(variance, rel=0.03)
    assert abs(weights.mean()) < 4 * np.sqrt(variance / weights.size)
    kurtosis = (weights**4).mean() / weights.var() ** 2  # 9/5 where uniform, 3 where normal
    assert kurtosis == pytest.approx(1.8 if name.endswith("uniform") else 3.0, rel=0.05)
    if name.endswith("uniform"):
        assert abs(weights).max() <= np.sqrt(3 * variance)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "gelu", "silu"])
def test_auto_is_he_normal_for_the_relu_family(activation):
    expected = fn.Dense(9, 4, activation, initializer="he_normal", seed=3).weights
    np.testing.assert_array_equal(fn.Dense(9, 4, activation, seed=3).weights, expected)


@pytest.mark.parametrize("activation", ["identity", "sigmoid", "tanh", "softplus", "exp", "softmax"])
def test_auto_is_glorot_uniform_elsewhere(activation):
    expected = fn.Dense(9, 4, activation, initializer="glorot_uniform", seed=3).weights
    np.testing.assert_array_equal(fn.Dense(9, 4, activation, seed=3).weights, expected)


def test_initializer_may_be_callable():
    layer = fn.Dense(3, 2, initializer=lambda rng, i, o: rng.uniform(5, 6, (i, o)), seed=0)
    assert ((layer.weights >= 5) & (layer.weights <= 6)).all()
    assert (fn.Network([3, 2, 1], initializer=lambda rng, i, o: np.ones((i, o))).layers[0].weights == 1).all()


# Neuron


def test_neuron():
    neuron = fn.Neuron([0.5, -1.0], bias=0.25, activation="sigmoid")
    assert neuron.dtype == np.float64
    expected = 1 / (1 + np.exp(-(0.5 * 2.0 - 1.0 * 3.0 + 0.25)))
    answer = neuron.forward([2.0, 3.0])
    assert answer.shape == (1,)
    assert answer[0] == pytest.approx(expected, rel=1e-14)
    assert neuron.forward([[2.0, 3.0], [0.0, 0.0]]).shape == (2, 1)

    dL_dx = neuron.backward(np.ones((2, 1)))
    assert dL_dx.shape == (2, 2)
    neuron.forward([2.0, 3.0])
    slope = expected * (1 - expected)
    np.testing.assert_allclose(neuron.backward([1.0]), [0.5 * slope, -1.0 * slope], rtol=1e-13)
    np.testing.assert_allclose(neuron.weights_gradient[:, 0], [2.0 * slope, 3.0 * slope], rtol=1e-13)
    np.testing.assert_allclose(neuron.bias_gradient, [slope], rtol=1e-13)


def test_neuron_takes_the_dtype_of_its_weights():
    assert fn.Neuron(np.float32([1, 2])).dtype == np.float32
    assert fn.Neuron(np.array([1, 2])).dtype == np.float64
    assert fn.Neuron([1, 2], dtype="float32").dtype == np.float32
    assert fn.Neuron([1.0, 2.0]).bias[0] == 0.0
    assert repr(fn.Neuron([1, 2], 0.5, "relu")) == "Neuron([1.0, 2.0], 0.5, 'relu')"


# Copies


@pytest.mark.parametrize(
    "duplicate", [lambda a: a.copy(), copy.deepcopy, copy.copy, lambda a: pickle.loads(pickle.dumps(a))]
)
@pytest.mark.parametrize(
    "layer",
    [
        fn.Dense(3, 2, "gelu", seed=0),
        fn.Dense(3, 2, bias=False, dtype="float64", seed=0),
        fn.Neuron([1, 2, 3], 0.5, "tanh"),
    ],
    ids=repr,
)
def test_copies(layer, duplicate):
    layer.trainable = False
    other = duplicate(layer)
    assert type(other) is type(layer)
    assert repr(other) == repr(layer)
    assert not other.trainable
    assert other.dtype == layer.dtype
    np.testing.assert_array_equal(other.forward(X), layer.forward(X))
    other.weights += 1
    assert not np.array_equal(other.weights, layer.weights)


# In a network


def test_a_layer_given_to_a_network_becomes_its_part():
    layers = [fn.Dense(3, 4, "tanh", seed=1), fn.Dense(4, 2, seed=2)]
    values = [layer.weights.copy() for layer in layers]
    alone = layers[1].forward(layers[0].forward(X))
    net = fn.Network(layers)
    assert net.layers == tuple(layers)
    np.testing.assert_array_equal(net.predict(X), alone)
    for layer, before in zip(layers, values, strict=True):
        np.testing.assert_array_equal(layer.weights, before)
        assert np.shares_memory(layer.weights, net.parameters)
        assert np.shares_memory(layer.bias, net.parameters)
        assert np.shares_memory(layer.weights_gradient, net.gradient)
    net.fit(X, np.zeros((5, 2)), epochs=1)
    assert not np.array_equal(layers[0].weights, values[0])
    np.testing.assert_array_equal(layers[1].forward(layers[0].forward(X)), net.predict(X))
    net.parameters = np.zeros(net.parameters.size)
    assert not layers[0].weights.any()


def test_the_flat_order_is_weights_then_bias():
    net = fn.Network([3, 4, 2], seed=0)
    net.parameters = np.arange(net.parameters.size)
    flat = np.concatenate([np.concatenate([layer.weights.ravel(), layer.bias]) for layer in net.layers])
    np.testing.assert_array_equal(flat, np.arange(26))


def test_layers_of_a_network_go_forward_and_back_by_hand():
    net = fn.Network([3, 4, 2], activation="tanh", dtype="float64", seed=0)
    g = RNG.normal(size=(5, 2))
    net.forward(X)
    dX = net.backward(g)
    whole = net.gradient.copy()
    net.gradient[:] = 0
    net.layers[1].forward(net.layers[0].forward(X))
    np.testing.assert_allclose(net.layers[0].backward(net.layers[1].backward(g)), dX, rtol=1e-12)
    np.testing.assert_allclose(net.gradient, whole, rtol=1e-12)


def test_trainable():
    layers = [fn.Dense(3, 4, "tanh", seed=1), fn.Dense(4, 2, seed=2)]
    layers[0].trainable = False
    net = fn.Network(layers)
    assert [layer.trainable for layer in net.layers] == [False, True]
    for optimizer in (fn.SGD(0.1), fn.SGD(0.1, momentum=0.9, weight_decay=0.1), fn.Adam(), fn.AdamW()):
        before = [np.append(layer.weights, layer.bias) for layer in layers]
        net.fit(X, np.ones((5, 2)), epochs=2, optimizer=optimizer)
        after = [np.append(layer.weights, layer.bias) for layer in layers]
        np.testing.assert_array_equal(before[0], after[0])
        assert not np.array_equal(before[1], after[1])
    layers[0].forward(X)
    layers[0].backward(np.ones((5, 4)))
    assert not layers[0].weights_gradient.any()
    layers[0].trainable = True
    layers[0].backward(np.ones((5, 4)))
    assert layers[0].weights_gradient.all()
    net.fit(X, np.ones((5, 2)), epochs=1)
    assert not np.array_equal(np.append(layers[0].weights, layers[0].bias), before[0])


def test_a_layer_belongs_to_one_network():
    layer = fn.Dense(3, 3)
    with pytest.raises(ValueError, match=r"layer 1, .* already belongs.*layer\.copy\(\)"):
        fn.Network([layer, layer])
    net = fn.Network([layer])  # the failure above has not taken it
    with pytest.raises(ValueError, match=r"layer\.copy\(\)"):
        fn.Network([layer])
    with pytest.raises(ValueError, match=r"layer\.copy\(\)"):
        fn.Network([net.layers[0]])
    other = fn.Network([layer.copy()])
    np.testing.assert_array_equal(other.parameters, net.parameters)


class Own(fn.Dense):
    def forward(self, X):
        return 2 * super().forward(X)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: fn.Network([fn.Dense(3, 4), fn.Dense(5, 2)]),
            ValueError,
            "layer 1 takes 5 inputs.* has 4 outputs",
        ),
        (
            lambda: fn.Network([fn.Dense(3, 4), fn.Dense(4, 2, dtype="float64")]),
            ValueError,
            "float32.*float64",
        ),
        (lambda: fn.Network([fn.Dense(3, 4, "softmax"), fn.Dense(4, 2)]), ValueError, "softmax"),
        (lambda: fn.Network([fn.Dense(3, 4)], output="softmax"), ValueError, "'identity'.*'softmax'"),
        (
            lambda: fn.Network([fn.Dense(3, 4), fn.Dense(4, 1)], activation="tanh"),
            ValueError,
            "'identity'.*'tanh'",
        ),
        (lambda: fn.Network([fn.Dense(3, 4)], dtype="float64"), ValueError, "float32.*float64"),
        (lambda: fn.Network([fn.Dense(3, 4)], initializer="he_normal"), ValueError, "initializer"),
        (lambda: fn.Network([fn.Dense(3, 4), 2]), TypeError, "a width must be an integer, not Dense"),
        (
            lambda: fn.Network([fn.Dense(3, 4), Own(4, 2)]),
            TypeError,
            "Own has its own forward or backward",
        ),
    ],
)
def test_layers_must_fit(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_a_network_takes_the_dtype_of_its_layers():
    net = fn.Network([fn.Dense(3, 2, dtype="float64"), fn.Neuron([1.0, 2.0])])
    assert net.dtype == np.float64
    assert net.predict(X).dtype == np.float64
