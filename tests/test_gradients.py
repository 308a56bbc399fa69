"""Gradients against central differences in float64, and against backpropagation written out in NumPy."""

import numpy as np
import pytest

import fusednet as fn

from helpers import (
    HIDDEN,
    LOSSES,
    OUTPUTS,
    PAIRS,
    assert_gradient,
    central_differences,
    preactivations,
    random_biases,
    reference_predict,
    smooth_problem,
)


def check_loss_gradient(net, X, y, sample_weight=None):
    gradient = net.loss_and_gradient(X, y, sample_weight)[1]
    np.testing.assert_array_equal(gradient, net.gradient)
    numeric = central_differences(lambda: net.loss_and_gradient(X, y, sample_weight)[0], net.parameters)
    assert_gradient(gradient, numeric)


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_every_loss_and_activation(loss, output, hidden):
    check_loss_gradient(*smooth_problem(loss, output, hidden))


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("weights", [None, (0.5, 2.0, 0.0, 1.0, 3.0)], ids=["plain", "weighted"])
@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize(("loss", "output"), LOSSES.items())
def test_outputs_weights_and_l2(loss, output, l2, weights, outputs):
    check_loss_gradient(*smooth_problem(loss, output, widths=(3, 4, outputs), n=5, l2=l2), weights)


@pytest.mark.parametrize("loss", [fn.losses.Huber(0.4), fn.losses.Quantile(0.9)], ids=repr)
def test_losses_with_a_parameter(loss):
    check_loss_gradient(*smooth_problem(loss))


@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_weights_count_as_repetitions(loss, output):
    net, X, y = smooth_problem(loss, output, "silu")
    counts = np.array([1, 2, 0, 3])
    value, gradient = net.loss_and_gradient(X, y, counts)
    repeated, expected = net.loss_and_gradient(np.repeat(X, counts, axis=0), np.repeat(y, counts, axis=0))
    assert value == pytest.approx(repeated, rel=1e-13)
    np.testing.assert_allclose(gradient, expected, rtol=1e-11, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize("size", [1e-320, 1e-42, 1e30, 1e300])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_only_the_ratios_of_weights_count(loss, output, dtype, size):
    smooth, X, y = smooth_problem(loss, output)
    net = fn.Network([3, 5, 4, 2], "tanh", output, loss, dtype=dtype)
    net.parameters = smooth.parameters
    ratios = np.array([1.0, 2.0, 0.0, 4.0])
    value, gradient = net.loss_and_gradient(X, y, ratios * size)
    expected, expected_gradient = net.loss_and_gradient(X, y, ratios)
    rounding = 1e-3 if size < 1e-310 else 1e-6  # of subnormal weights
    assert value == pytest.approx(expected, rel=rounding)
    np.testing.assert_allclose(
        gradient, expected_gradient, rtol=rounding, atol=rounding * np.abs(gradient).max()
    )


def test_l2_is_on_the_weights_alone():
    net, X, y = smooth_problem("mse")
    value, gradient = net.loss_and_gradient(X, y)
    net.l2 = 0.3
    weights = np.concatenate([np.append(layer.weights, 0 * layer.bias) for layer in net.layers])
    penalized, penalized_gradient = net.loss_and_gradient(X, y)
    assert penalized == pytest.approx(value + 0.3 / 2 * np.sum(weights**2), rel=1e-14)
    np.testing.assert_allclose(penalized_gradient, gradient + 0.3 * weights, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("classes", [2, 3, 10, 17])
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool])
def test_labels_are_one_hot_rows(classes, dtype):
    net, X, _ = smooth_problem("cross_entropy", "softmax", "gelu", widths=(3, 4, classes), n=6)
    labels = (np.arange(6) % classes).astype(dtype)
    check_loss_gradient(net, X, labels)
    value, gradient = net.loss_and_gradient(X, labels)
    one_hot, expected = net.loss_and_gradient(X, np.eye(classes)[labels.astype(int)])
    assert value == pytest.approx(one_hot, rel=1e-14)
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-15)


def test_cross_entropy_of_rows_that_do_not_sum_to_one():
    net, X, y = smooth_problem("cross_entropy", "softmax")
    check_loss_gradient(net, X, 0.7 * y)


def quartic(prediction, target):
    r = prediction - target
    return np.sum(r**4) / len(r), 4 * r**3 / len(r)


def half_mse(prediction, target):
    r = prediction - target
    return np.sum(r**2) / (2 * len(r)), r / len(r)


@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("output", OUTPUTS)
def test_callable_loss(output, l2):
    check_loss_gradient(*smooth_problem(quartic, output, l2=l2))


@pytest.mark.parametrize("output", OUTPUTS)
def test_callable_loss_as_the_built_in_one(output):
    net, X, y = smooth_problem("half_mse", output)
    own = fn.Network([3, 5, 4, 2], "tanh", output=output, dtype="float64", loss=half_mse)
    own.parameters = net.parameters
    value, gradient = net.loss_and_gradient(X, y)
    own_value, own_gradient = own.loss_and_gradient(X, y)
    assert own_value == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(own_gradient, gradient, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_float32_against_float64(loss, output, hidden):
    net, X, y = smooth_problem(loss, output, hidden)
    single = fn.Network([3, 5, 4, 2], hidden, output=output, loss=loss)
    single.parameters = net.parameters
    value, gradient = net.loss_and_gradient(X, y)
    single_value, single_gradient = single.loss_and_gradient(X, y)
    assert single_gradient.dtype == np.float32
    assert single_value == pytest.approx(value, rel=5e-6)
    np.testing.assert_allclose(single_gradient, gradient, rtol=1e-4, atol=5e-6 * np.abs(gradient).max())


@pytest.mark.parametrize("hidden", ["tanh", "gelu", "relu"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_backward_from_any_loss(output, hidden):
    """With L = Σ c ∘ ŷ, dL/dŷ is c: parameters and input alike, by central differences of L."""
    net, X, _ = smooth_problem("mse", output, hidden)
    c = np.random.default_rng(1).normal(size=(4, 2))
    y = net.forward(X)
    np.testing.assert_array_equal(y, net.predict(X))
    dX = net.backward(c)
    assert_gradient(dX, central_differences(lambda: np.sum(c * net.predict(X)), X))
    gradient = net.gradient.copy()
    assert_gradient(gradient, central_differences(lambda: np.sum(c * net.predict(X)), net.parameters))
    net.l2 = 0.5  # backward leaves it out
    np.testing.assert_array_equal(net.backward(c), dX)
    np.testing.assert_array_equal(net.gradient, gradient)


def test_backward_through_softmax():
    net, X, _ = smooth_problem("mse", "softmax", widths=(4, 5), n=3)
    g = np.random.default_rng(2).normal(size=(3, 5))
    p = net.forward(X)
    dz = p * (g - np.sum(g * p, axis=1, keepdims=True))
    np.testing.assert_allclose(net.backward(g), dz @ net.layers[0].weights.T, rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(net.layers[0].weights_gradient, X.T @ dz, rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(net.layers[0].bias_gradient, dz.sum(axis=0), rtol=1e-13, atol=1e-16)


def test_backward_of_one_sample_and_of_one_output():
    net, X, _ = smooth_problem("mse", "sigmoid", widths=(3, 4, 1))
    net.forward(X)
    dX = net.backward(np.arange(1.0, 5.0))
    assert dX.shape == (4, 3)
    np.testing.assert_array_equal(net.backward(np.arange(1.0, 5.0)[:, None]), dX)
    assert net.forward(X[2]).shape == (1,)
    row = net.backward([3.0])
    assert row.shape == (3,)
    np.testing.assert_allclose(row, dX[2], rtol=1e-13)


def test_backward_through_dropout():
    net, X, _ = smooth_problem("mse", widths=(3, 6, 5, 2), dropout=[0.3, 0.5])
    c = np.random.default_rng(3).normal(size=(4, 2))

    def loss(X, parameters):
        """Run a copy, which draws the same masks."""
        net = untouched.copy()
        net.parameters = parameters
        return np.sum(c * net.forward(X))

    untouched, parameters = net.copy(), net.parameters.copy()
    assert np.abs(net.forward(X) - net.predict(X)).min() > 1e-3
    dX = net.backward(c)
    assert_gradient(dX, central_differences(lambda: loss(X, parameters), X))
    assert_gradient(net.gradient, central_differences(lambda: loss(X, parameters), parameters))


def numpy_backpropagation(net, X, y):
    """Return the flat gradient of half the squared error of a tanh network, by textbook NumPy."""
    zs, gradients = preactivations(net, X), []
    activations = [X, *(np.tanh(z) for z in zs[:-1])]
    dz = (zs[-1] - y) / len(X)
    for layer, a in zip(reversed(net.layers), reversed(activations), strict=True):
        bias = [] if layer.bias is None else dz.sum(axis=0)
        gradients.append(np.append(a.T @ dz, bias))
        dz = (dz @ layer.weights.T) * (1 - a**2)
    return np.concatenate(gradients[::-1])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 13, 14, 29])
@pytest.mark.parametrize(
    "widths",
    [
        (1, 1),
        (1, 1, 1, 1),
        (3, 1, 3, 1),
        *((w, w, v) for w in (15, 16, 17, 31, 32, 33, 65) for v in (1, w)),
        (7, 600, 5),
    ],
    ids=str,
)
def test_awkward_widths_against_numpy(widths, rows, bias, dtype):
    rng = np.random.default_rng(rows)
    activations = ["tanh"] * (len(widths) - 2) + ["identity"]
    shapes = zip(widths[:-1], widths[1:], activations, strict=True)
    net = fn.Network(
        [fn.Dense(*shape, bias=bias, dtype=dtype, seed=rng) for shape in shapes], loss="half_mse"
    )
    random_biases(net, rng)
    X, y = rng.normal(size=(rows, widths[0])), rng.normal(size=(rows, widths[-1]))
    gradient, expected = net.loss_and_gradient(X, y)[1], numpy_backpropagation(net, X, y)
    tolerance = 1e-13 if dtype == "float64" else 3e-6
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("frozen", [None, 1])
@pytest.mark.parametrize("threads_count", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("widths", "rows"), [((129, 40, 33, 3), 1999), ((3, 17, 16, 1), 9001)], ids=str)
def test_a_large_batch_against_numpy(threads, widths, rows, dtype, threads_count, frozen):
    threads(threads_count)
    rng = np.random.default_rng(rows)
    net = random_biases(fn.Network(widths, "tanh", loss="half_mse", dtype=dtype, seed=1, l2=0.1), rng)
    X, y = rng.normal(size=(rows, widths[0])), rng.normal(size=(rows, widths[-1]))
    expected = numpy_backpropagation(net, X, y)
    loss, begin = 0.5 * ((reference_predict(net, X) - y) ** 2).sum() / rows, 0
    for index, layer in enumerate(net.layers):
        weights = layer.weights.astype(np.float64).ravel()
        loss += 0.05 * (weights**2).sum()
        expected[begin : begin + weights.size] += 0.1 * weights
        if index == frozen:
            layer.trainable = False
            expected[begin : begin + layer.parameter_count] = 0
        begin += layer.parameter_count
    start = net.parameters.astype(np.float64)
    tolerance = {"rtol": 0, "atol": (1e-13 if dtype == "float64" else 3e-6) * np.abs(expected).max()}
    value, gradient = net.loss_and_gradient(X, y)
    assert value == pytest.approx(loss, rel=1e-12 if dtype == "float64" else 1e-6)
    np.testing.assert_allclose(gradient, expected, **tolerance)
    assert net.train_step(X, y, fn.SGD(1.0)) == value
    np.testing.assert_allclose(start - net.parameters, expected, **tolerance)


@pytest.mark.parametrize("frozen", [(0,), (1,), (2,), (0, 2), (0, 1), (0, 1, 2)])
def test_frozen_layers(frozen):
    net, X, y = smooth_problem("mse", l2=0.1)
    expected = net.loss_and_gradient(X, y)[1]
    for index, layer in enumerate(net.layers):
        layer.trainable = index not in frozen
    net.gradient[:] = np.nan
    mask = np.concatenate([np.full(layer.parameter_count, layer.trainable) for layer in net.layers])
    np.testing.assert_array_equal(net.loss_and_gradient(X, y)[1], np.where(mask, expected, 0))
    for optimizer in (fn.SGD(0.1, weight_decay=0.1), fn.SGD(0.1, momentum=0.9), fn.AdamW(0.1)):
        before = net.parameters.copy()
        net.train_step(X, y, optimizer)
        np.testing.assert_array_equal(net.parameters != before, mask)


@pytest.mark.parametrize("frozen", [None, 0, 1])
@pytest.mark.parametrize("weight_decay", [0.0, 0.2])
@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("widths", [(3, 4, 1), (3, 1, 2), (33, 17, 65)], ids=str)
def test_a_fused_step_follows_the_stored_gradient(widths, l2, weight_decay, frozen):
    """Plain SGD never stores the gradient; clipped, if at a bound out of reach, it does."""
    net, X, y = smooth_problem("mse", widths=widths, l2=l2)
    if frozen is not None:
        net.layers[frozen].trainable = False
    gradient = net.loss_and_gradient(X, y)[1]
    gradient += (
        weight_decay
        * np.concatenate([np.full(layer.parameter_count, layer.trainable) for layer in net.layers])
        * net.parameters
    )
    for clip_norm in (None, 1e6):
        stepped = net.copy()
        stepped.train_step(X, y, fn.SGD(0.1, weight_decay=weight_decay, clip_norm=clip_norm))
        np.testing.assert_allclose(
            stepped.parameters, net.parameters - 0.1 * gradient, rtol=1e-13, atol=1e-15
        )


def test_frozen_layers_pass_the_gradient_of_the_input():
    net, X, _ = smooth_problem("mse")
    net.forward(X)
    expected = net.backward(np.ones((4, 2)))
    for layer in net.layers:
        layer.trainable = False
    net.forward(X)
    np.testing.assert_array_equal(net.backward(np.ones((4, 2))), expected)
    assert not net.gradient.any()


def test_clipping_counts_trainable_parameters_alone():
    net, X, y = smooth_problem("mse")
    net.layers[0].trainable = False
    gradient = net.loss_and_gradient(X, y)[1]
    before = net.parameters.copy()
    net.train_step(X, y, fn.SGD(1.0, clip_norm=0.01))
    step = before - net.parameters
    np.testing.assert_allclose(step, gradient * 0.01 / np.linalg.norm(gradient), rtol=1e-10, atol=1e-15)
