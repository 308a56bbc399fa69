"""The system that tutorials build from scratch, part by part, against numbers worked by hand.

Neuron, layer, activations, losses, backpropagation, gradient descent; and usual wrong formulas shown wrong.
"""

import math

import numpy as np
import pytest

import fusednet as fn

F = fn.functional


# A neuron: z = w·x + b, a = f(z).


def test_neuron_forward():
    neuron = fn.Neuron([0.5, -1.0, 2.0], bias=0.25)
    # 0.5·2 − 1·3 + 2·1 + 0.25
    np.testing.assert_array_equal(neuron.forward([2.0, 3.0, 1.0]), [0.25])
    np.testing.assert_array_equal(neuron.forward([[2.0, 3.0, 1.0], [0.0, 0.0, 0.0]]), [[0.25], [0.25]])


@pytest.mark.parametrize(
    ("activation", "value", "slope"),
    [
        ("identity", 0.25, 1.0),
        ("relu", 0.25, 1.0),
        ("sigmoid", 0.5621765008857981, 0.24613408273759835),  # 1 / (1 + e^−0.25), s (1 − s)
        ("tanh", 0.24491866240370913, 0.940014848806378),  # 1 − tanh²
    ],
)
def test_neuron_backward(activation, value, slope):
    """With dL/da = 3: dL/dw = 3 f'(z) x, dL/db = 3 f'(z), dL/dx = 3 f'(z) w."""
    neuron = fn.Neuron([0.5, -1.0, 2.0], bias=0.25, activation=activation)
    np.testing.assert_allclose(neuron.forward([2.0, 3.0, 1.0]), [value], rtol=1e-15)
    dx = neuron.backward([3.0])
    np.testing.assert_allclose(dx, np.multiply(3 * slope, [0.5, -1.0, 2.0]), rtol=1e-14)
    np.testing.assert_allclose(
        neuron.weights_gradient[:, 0], np.multiply(3 * slope, [2.0, 3.0, 1.0]), rtol=1e-14
    )
    np.testing.assert_allclose(neuron.bias_gradient, [3 * slope], rtol=1e-14)


def test_dead_relu():
    neuron = fn.Neuron([1.0], bias=-2.0, activation="relu")
    assert neuron.forward([1.0]) == [0.0]
    assert neuron.backward([5.0]) == [0.0]
    assert neuron.weights_gradient == [[0.0]]


# A layer, and layers one after the other.


def two_layers():
    """Return 2 → 2 ReLU → 1, small whole numbers everywhere."""
    hidden, output = fn.Dense(2, 2, "relu", dtype="float64"), fn.Dense(2, 1, dtype="float64")
    hidden.weights, hidden.bias = [[1, -1], [2, 3]], [0, 1]
    output.weights, output.bias = [[2], [-3]], [5]
    return hidden, output


def test_layer_forward_and_backward():
    hidden, _ = two_layers()
    # z = [[1 + 2, −1 + 3 + 1], [−4 + 2, 4 + 3 + 1]]
    X = [[1.0, 1.0], [-4.0, 1.0]]
    np.testing.assert_array_equal(hidden.forward(X), [[3, 3], [0, 8]])
    # dz = dL/da where z > 0; dX = dz·Wᵀ, dW = Xᵀ·dz, db = Σ dz.
    dX = hidden.backward([[1.0, 10.0], [100.0, -1.0]])
    np.testing.assert_array_equal(dX, [[1 - 10, 2 + 30], [1, -3]])
    np.testing.assert_array_equal(hidden.weights_gradient, [[1, 10 + 4], [1, 10 - 1]])
    np.testing.assert_array_equal(hidden.bias_gradient, [1, 10 - 1])


def test_network_forward_and_backward():
    hidden, output = two_layers()
    net = fn.Network([hidden, output])
    x = [1.0, 1.0]
    assert net.forward(x) == [2 * 3 - 3 * 3 + 5]
    np.testing.assert_array_equal(net.backward([2.0]), [4 * 1 + -6 * -1, 4 * 2 + -6 * 3])
    np.testing.assert_array_equal(output.weights_gradient, [[6], [6]])
    np.testing.assert_array_equal(output.bias_gradient, [2])
    np.testing.assert_array_equal(hidden.weights_gradient, [[4, -6], [4, -6]])
    np.testing.assert_array_equal(net.gradient, [4, -6, 4, -6, 4, -6, 6, 6, 2])


def test_layers_by_hand_are_a_network():
    net = fn.Network([3, 4, 2], "tanh", dtype="float64", seed=0)
    first, second = (layer.copy() for layer in net.layers)
    X, g = np.random.default_rng(0).normal(size=(5, 3)), np.ones((5, 2))
    np.testing.assert_array_equal(second.forward(first.forward(X)), net.forward(X))
    np.testing.assert_allclose(first.backward(second.backward(g)), net.backward(g), rtol=1e-14)
    for alone, part in zip((first, second), net.layers, strict=True):
        np.testing.assert_allclose(alone.weights_gradient, part.weights_gradient, rtol=1e-14)


# Activations at the ends of the range: (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ) overflows from 710 on, 1 / (1 + e⁻ˣ) at −710.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_inputs(dtype):
    x = np.array([-np.inf, -1e30, -1000, -710, 0, 710, 1000, 1e30, np.inf], dtype=dtype)
    zeros, ones = np.zeros(4), np.ones(4)
    np.testing.assert_array_equal(F.sigmoid(x), [*zeros[:2], *F.sigmoid(x)[2:4], 0.5, *ones])
    assert (F.sigmoid(x)[2:4] <= 1e-300).all()
    np.testing.assert_array_equal(F.tanh(x), [*-ones, 0, *ones])
    np.testing.assert_array_equal(F.relu(x), np.maximum(x, 0))
    np.testing.assert_array_equal(F.softplus(x)[5:], x[5:])
    assert np.isnan([f(dtype(np.nan)) for f in (F.sigmoid, F.tanh, F.relu)]).all()


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_extreme_inputs_in_a_layer(activation):
    layer = fn.Neuron([1.0], activation=activation)
    y = layer.forward([[-1000.0], [1000.0]])
    limits = {"sigmoid": [0, 1], "tanh": [-1, 1], "relu": [0, 1000]}
    np.testing.assert_array_equal(y[:, 0], limits[activation])
    np.testing.assert_array_equal(layer.backward(np.ones((2, 1)))[:, 0], [0, activation == "relu"])


def test_softmax_of_large_numbers():
    np.testing.assert_allclose(F.softmax([1000.0, 1000.0 + math.log(3)]), [0.25, 0.75], rtol=1e-12)
    np.testing.assert_array_equal(F.softmax([-1e30, 0.0, 1e30]), [0, 0, 1])


# Losses. Two samples, two outputs, residuals 1, −2 and 0, 3: squares 1, 4, 0, 9.

Y_PRED, Y_TRUE = np.array([[2.0, 0.0], [1.0, 4.0]]), np.array([[1.0, 2.0], [1.0, 1.0]])


@pytest.mark.parametrize(
    ("loss", "value", "factor"), [("mse", 14 / 4, 2 / 4), ("half_mse", 14 / (2 * 2), 1 / 2)]
)
def test_both_forms_of_the_squared_error(loss, value, factor):
    """The mean of squares, over samples and outputs; or Σ / 2n, whose gradient is (ŷ − y) / n."""
    assert getattr(F, f"{loss}_loss")(Y_PRED, Y_TRUE) == value
    net = fn.Network([2, 2], loss=loss, dtype="float64")
    net.layers[0].weights = np.eye(2)
    assert net.loss_and_gradient(Y_PRED, Y_TRUE)[0] == value
    expected = factor * (Y_PRED - Y_TRUE)
    np.testing.assert_array_equal(net.layers[0].bias_gradient, expected.sum(axis=0))
    np.testing.assert_array_equal(net.layers[0].weights_gradient, Y_PRED.T @ expected)


def test_cross_entropy():
    """Logits log 1, log 2, log 5 are the probabilities 1/8, 2/8, 5/8."""
    logits, labels = np.log([[1.0, 2.0, 5.0], [5.0, 1.0, 2.0]]), [2, 1]
    value = (math.log(8 / 5) + math.log(8)) / 2
    assert F.cross_entropy_loss([[1 / 8, 2 / 8, 5 / 8], [5 / 8, 1 / 8, 2 / 8]], labels) == pytest.approx(
        value
    )
    assert F.cross_entropy_loss(logits, labels, from_logits=True) == pytest.approx(value, rel=1e-14)
    net = fn.Network([3, 3], output="softmax", loss="cross_entropy", dtype="float64")
    net.layers[0].weights = np.eye(3)
    assert net.loss_and_gradient(logits, labels)[0] == pytest.approx(value, rel=1e-14)
    # (p − y) / n, summed over the two rows.
    expected = [(1 / 8 + 5 / 8) / 2, (2 / 8 + 1 / 8 - 1) / 2, (5 / 8 - 1 + 2 / 8) / 2]
    np.testing.assert_allclose(net.layers[0].bias_gradient, expected, rtol=1e-14)


def test_cross_entropy_does_not_overflow():
    net = fn.Network([2, 2], output="softmax", loss="cross_entropy", dtype="float64")
    net.layers[0].weights = [[1000.0, 0.0], [0.0, 1000.0]]
    assert net.loss_and_gradient([[1.0, -1.0]], [1])[0] == 2000
    np.testing.assert_array_equal(net.layers[0].bias_gradient, [1, -1])
    assert net.loss_and_gradient([[1.0, -1.0]], [0])[0] == 0


# One backpropagation and one step through 2-2-1 with sigmoids, in straight-line arithmetic.

W1, B1 = [[0.15, 0.25], [0.20, 0.30]], [0.35, -0.1]
W2, B2 = [[0.40], [-0.50]], [0.60]
X, Y, RATE = [0.05, 0.9], 0.01, 0.5


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def test_backpropagation_worked_by_hand():
    h1 = sigmoid(0.15 * 0.05 + 0.20 * 0.9 + 0.35)
    h2 = sigmoid(0.25 * 0.05 + 0.30 * 0.9 - 0.1)
    o = sigmoid(0.40 * h1 - 0.50 * h2 + 0.60)
    loss = (o - 0.01) ** 2 / 2

    do = (o - 0.01) * o * (1 - o)  # dL/dz of the output
    dh1 = do * 0.40 * h1 * (1 - h1)
    dh2 = do * -0.50 * h2 * (1 - h2)
    weights1 = [[dh1 * 0.05, dh2 * 0.05], [dh1 * 0.9, dh2 * 0.9]]
    weights2 = [[do * h1], [do * h2]]

    net = fn.Network([2, 2, 1], "sigmoid", output="sigmoid", loss="half_mse", dtype="float64")
    first, second = net.layers
    first.weights, first.bias, second.weights, second.bias = W1, B1, W2, B2
    assert net.predict(X)[0] == pytest.approx(o, rel=1e-12)
    value, gradient = net.loss_and_gradient([X], [Y])
    assert value == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(first.weights_gradient, weights1, rtol=1e-12)
    np.testing.assert_allclose(first.bias_gradient, [dh1, dh2], rtol=1e-12)
    np.testing.assert_allclose(second.weights_gradient, weights2, rtol=1e-12)
    np.testing.assert_allclose(second.bias_gradient, [do], rtol=1e-12)
    expected = [*weights1[0], *weights1[1], dh1, dh2, do * h1, do * h2, do]
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)

    # The same from dL/dŷ = ŷ − y, and dL/dx on the way.
    dx = (net.forward(X), net.backward([o - 0.01]))[1]
    np.testing.assert_allclose(dx, [dh1 * 0.15 + dh2 * 0.25, dh1 * 0.20 + dh2 * 0.30], rtol=1e-12)
    np.testing.assert_allclose(net.gradient, expected, rtol=1e-12)

    assert net.train_step([X], [Y], fn.SGD(RATE)) == pytest.approx(loss, rel=1e-12)
    before = [0.15, 0.25, 0.20, 0.30, 0.35, -0.1, 0.40, -0.50, 0.60]
    stepped = [w - 0.5 * g for w, g in zip(before, expected, strict=True)]
    np.testing.assert_allclose(net.parameters, stepped, rtol=1e-12)
    assert net.loss_and_gradient([X], [Y])[0] < loss


# Gradient descent.

XOR_X, XOR_Y = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([0, 1, 1, 0])


@pytest.mark.parametrize(
    ("loss", "output", "optimizer"),
    [
        ("mse", "sigmoid", fn.SGD(1.0, momentum=0.9)),
        ("half_mse", "tanh", fn.SGD(0.1, momentum=0.9)),
        ("binary_cross_entropy", "sigmoid", fn.SGD(0.5, momentum=0.9)),
    ],
)
def test_xor(loss, output, optimizer):
    net = fn.Network([2, 4, 1], "tanh", output=output, loss=loss, dtype="float64", seed=0)
    history = net.fit(XOR_X, XOR_Y, epochs=2000, batch_size=4, optimizer=optimizer)
    assert history.loss[-1] < 1e-3
    np.testing.assert_array_equal(net.predict(XOR_X)[:, 0].round(), XOR_Y)


def noisy_sine(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-math.pi, math.pi, size=(n, 1))
    return x, np.sin(x) + rng.normal(scale=0.1, size=(n, 1))


def test_noisy_sine():
    """The noise has the variance 0.01: no honest model gets below it, and a good one gets near."""
    train, validation = noisy_sine(200, 0), noisy_sine(1000, 1)
    net = fn.Network([1, 32, 1], "tanh", dtype="float64", seed=0)
    optimizer = fn.SGD(fn.schedules.cosine(0.05, epochs=500), momentum=0.9)
    history = net.fit(*train, epochs=500, batch_size=20, optimizer=optimizer, validation_data=validation)
    assert 0.009 < net.evaluate(*train)["loss"] < 0.0115
    assert 0.009 < history.val_loss[-1] < 0.0125
    assert net.evaluate(*validation)["r2"] > 0.97
    x = np.linspace(-3, 3, 61)[:, None]
    np.testing.assert_allclose(net.predict(x), np.sin(x), atol=0.07)


# What tutorials get wrong.


def test_the_sign_of_the_residual():
    """`w -= rate * grad` with the gradient's ŷ − y turned round to y − ŷ climbs the loss."""
    x, y = noisy_sine(50, 0)
    losses = {}
    for sign in (1, -1):
        net = fn.Network([1, 8, 1], "tanh", dtype="float64", seed=0)
        losses[sign] = [F.mse_loss(net.predict(x), y)]
        for _ in range(20):
            y_hat = net.forward(x)
            net.backward(sign * 2 * (y_hat - y) / len(x))
            net.parameters -= 0.01 * net.gradient
            losses[sign].append(F.mse_loss(net.predict(x), y))
    assert (np.diff(losses[1]) < 0).all()
    assert (np.diff(losses[-1]) > 0).all()


def test_the_loss_is_not_its_gradient():
    """Sent backward, the loss's value gives another direction than the loss's gradient."""
    x, y = noisy_sine(50, 0)
    net = fn.Network([1, 8, 1], "tanh", dtype="float64", seed=0)
    numeric = np.empty_like(net.gradient)
    for i in range(numeric.size):
        values = []
        for h in (1e-5, -1e-5):
            net.parameters[i] += h
            values.append(F.mse_loss(net.predict(x), y))
            net.parameters[i] -= h
        numeric[i] = (values[0] - values[1]) / 2e-5

    y_hat = net.forward(x)
    net.backward(2 * (y_hat - y) / y.size)
    np.testing.assert_allclose(net.gradient, numeric, rtol=1e-6, atol=1e-8)
    for wrong in (np.full_like(y, F.mse_loss(y_hat, y)), (y_hat - y) ** 2 / y.size):
        net.forward(x)
        net.backward(wrong)
        cosine = net.gradient @ numeric / np.linalg.norm(net.gradient) / np.linalg.norm(numeric)
        assert cosine < 0.9


def test_the_overflowing_tanh():
    x = np.array([1000.0])
    with np.errstate(over="ignore", invalid="ignore"):
        textbook = (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x))
    assert np.isnan(textbook[0])
    assert F.tanh(x)[0] == 1.0
