"""Values, whatever the shapes; large and missing ones; and what the views of the buffers look at."""

import copy
import gc
import pickle

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import fusednet as fn

from helpers import HIDDEN, OUTPUTS, REFERENCE, preactivations, random_biases, reference_predict

examples = settings(deadline=None, derandomize=True, database=None, max_examples=150)

DTYPES = ["float32", "float64"]
widths = st.lists(st.integers(1, 70), min_size=2, max_size=5)
counts = st.integers(1, 300)
seeds = st.integers(0, 2**32 - 1)
calls = st.lists(
    st.tuples(st.sampled_from(["predict", "forward", "gradient", "step", "evaluate"]), st.integers(1, 60)),
    min_size=2,
    max_size=6,
)


def error_bound(net, X, epsilon):
    """Return how far rounding can move each output, from layer to layer; None where that is too much."""
    a, error = np.abs(X), 0.0
    for layer, z in zip(net.layers, preactivations(net, X), strict=True):
        size = np.abs(layer.weights.astype(np.float64))
        error = error @ size if np.ndim(error) else 0.0
        error = error + (layer.in_features + 4) * epsilon * (a @ size + np.abs(layer.bias))
        if z.max() > 50 or error.max() > 0.01:
            return None
        value = REFERENCE[layer.activation](z)
        slope = 1.05 * value if layer.activation == "exp" else 1.2  # the others' are below
        error, a = slope * error + 4 * epsilon * np.abs(value), np.abs(value)
    return error + np.finfo(X.dtype).tiny


@examples
@given(widths, counts, st.data(), st.sampled_from(OUTPUTS), st.sampled_from(DTYPES), seeds)
def test_predictions(widths, rows, data, output, dtype, seed):
    rng = np.random.default_rng(seed)
    hidden = [data.draw(st.sampled_from(HIDDEN)) for _ in widths[2:]]
    net = random_biases(fn.Network(widths, hidden, output=output, dtype=dtype, seed=seed), rng)
    X = rng.normal(size=(rows, widths[0])).astype(dtype)
    bound = error_bound(net, X, np.finfo(dtype).eps)
    assume(bound is not None)  # as for exp of exp of exp
    y, expected = net.predict(X), reference_predict(net, X)
    assert y.dtype == dtype
    assert (np.abs(y - expected) <= bound).all()
    assert (np.abs(net.predict(X[-1]) - expected[-1]) <= bound[-1]).all()
    np.testing.assert_array_equal(net.forward(X), y)
    out = np.full_like(y, np.nan)
    assert net.predict(X, out) is out
    np.testing.assert_array_equal(out, y)


@examples
@given(widths, counts, st.sampled_from(OUTPUTS), st.sampled_from(DTYPES))
def test_logits(widths, rows, output, dtype):
    net = fn.Network(widths, "tanh", output=output, dtype=dtype, seed=0)
    plain = fn.Network(widths, "tanh", dtype=dtype)
    plain.parameters = net.parameters
    X = np.random.default_rng(0).normal(size=(rows, widths[0]))
    np.testing.assert_array_equal(net.predict(X, logits=True), plain.predict(X))


@examples
@given(widths, calls, st.sampled_from(DTYPES))
def test_calls_leave_nothing_behind(widths, calls, dtype):
    """Batches of all sizes through one network, and each through a fresh copy of its parameters."""
    rng = np.random.default_rng(0)
    net = fn.Network(widths, "silu", dtype=dtype, seed=0)
    optimizer = fn.SGD(0.001)
    for call, rows in calls:
        X, y = rng.normal(size=(rows, widths[0])), rng.normal(size=(rows, widths[-1]))
        fresh = net.copy()
        results = []
        for each in (net, fresh):
            if call == "predict":
                results.append(each.predict(X))
            elif call == "forward":
                results.append([*each.forward(X).ravel(), *each.backward(y).ravel(), *each.gradient])
            elif call == "gradient":
                value, gradient = each.loss_and_gradient(X, y)
                results.append([value, *gradient])
            elif call == "step":
                results.append([each.train_step(X, y, optimizer), *each.parameters])
            else:
                results.append(each.evaluate(X, y)["loss"])
        np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", OUTPUTS)
def test_missing_parameters_show(activation, dtype):
    """A NaN among the parameters is in every output that depends on it: no clamp swallows it."""
    net = fn.Network([2, 3, 20], "tanh", output=activation, dtype=dtype, seed=0)
    net.layers[1].weights[0, 7] = np.nan
    for y in (net.predict([1.0, 2.0]), net.predict(np.ones((5, 2))), net.forward(np.ones((5, 2)))):
        expected = np.ones(20, dtype=bool) if activation == "softmax" else np.arange(20) == 7
        np.testing.assert_array_equal(np.isnan(y), np.broadcast_to(expected, y.shape))
    before = net.parameters.copy()
    for optimizer in (fn.SGD(0.1), fn.Adam(), fn.SGD(0.1, clip_norm=1.0)):
        with pytest.raises(fn.DivergenceError, match="nan"):
            net.train_step(np.ones((5, 2)), np.ones((5, 20)), optimizer)
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize("optimizer", [fn.SGD(0.1), fn.SGD(0.1, momentum=0.9), fn.SGD(0.1, clip_norm=1e-3)])
@pytest.mark.parametrize("loss", ["mse", "half_mse"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_large_inputs_diverge(dtype, loss, optimizer):
    net = fn.Network([2, 3, 1], "relu", loss=loss, dtype=dtype, seed=0)
    net.layers[1].weights = [[1.0], [1.0], [1.0]]
    before = net.parameters.copy()
    X, y = np.full((8, 2), 1e30 if dtype == "float32" else 1e200), np.ones((8, 1))
    with pytest.raises(fn.DivergenceError, match="diverged in epoch 0") as caught:
        net.fit(X, y, optimizer=optimizer, epochs=3)
    assert isinstance(caught.value, ArithmeticError)
    np.testing.assert_array_equal(net.parameters, before)
    with pytest.raises(fn.DivergenceError, match="the loss became inf"):
        net.train_step(X, y, optimizer)
    np.testing.assert_array_equal(net.parameters, before)
    net.fit(X * 0, y, epochs=1, optimizer=optimizer)  # it goes on


def test_a_high_learning_rate_diverges_to_the_last_finite_epoch():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(64, 4)), rng.normal(size=(64, 1))
    net = fn.Network([4, 8, 1], "relu", dtype="float64", seed=0)
    with pytest.raises(fn.DivergenceError, match=r"learning rate 3.*lower learning rate"):
        net.fit(X, y, epochs=100, optimizer=fn.SGD(3.0))
    assert np.isfinite(net.parameters).all()
    assert np.isfinite(net.evaluate(X, y)["loss"])
    assert np.isfinite(net.history.loss).all()


def test_large_values_that_fit():
    """No overflow on the way where the result is finite."""
    net = fn.Network([1, 1], output="softplus", dtype="float32")
    net.layers[0].weights = [[1.0]]
    np.testing.assert_array_equal(net.predict([[1e30], [-1e30]]), np.float32([[1e30], [0.0]]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("where", ["X", "y", "sample_weight"])
def test_data_that_are_not_finite(where, bad, dtype):
    """Found wherever they are; what was learnt before them is undone."""
    rng = np.random.default_rng(0)
    data = {
        "X": rng.normal(size=(70, 9)),
        "y": rng.normal(size=(70, 3)),
        "sample_weight": rng.uniform(size=70),
    }
    data[where][(68, 2)[: data[where].ndim]] = bad
    net = fn.Network([9, 5, 3], dropout=0.1, dtype=dtype, seed=0)
    before, optimizer = net.copy(), fn.Adam()
    for method in (net.fit, net.train_step, net.loss_and_gradient, net.evaluate):
        options = {"optimizer": optimizer} if method in (net.fit, net.train_step) else {}
        with pytest.raises(ValueError, match=where):
            method(**data, **options)
    np.testing.assert_array_equal(net.parameters, before.parameters)
    if where == "X":
        for method in (net.predict, net.forward, net.predict_classes):
            with pytest.raises(ValueError, match=r"X: expected finite values.* row 68, column 2"):
                method(data["X"])
    good = {name: np.nan_to_num(values, posinf=1, neginf=1) for name, values in data.items()}
    for each in (net, before):
        each.fit(**good, optimizer=fn.Adam(), epochs=2)
    np.testing.assert_array_equal(net.parameters, before.parameters)


# One thread reads such inputs where they lie, and looks at the first layer's sums.
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("widths", "options"),
    [([260, 9, 1], {"activation": f}) for f in HIDDEN]
    + [
        ([260, 1], {}),
        ([260, 3], {"loss": "cross_entropy", "output": "softmax"}),
        ([260, 3], {"output": "softmax"}),
        ([260, 40, 1], {}),
    ],
)
def test_inputs_that_are_not_finite_where_they_lie(widths, options, dtype, bad, threads):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((150, 260)).astype(dtype)
    labels, values = rng.integers(3, size=150), rng.uniform(0, 1, (150, widths[-1])).astype(dtype)
    for count in (1, 2):
        threads(count)
        net = fn.Network(widths, dtype=dtype, seed=0, **options)
        net.layers[0].weights[13] = 0
        y = labels.copy() if net.loss == "cross_entropy" else values.copy()
        before = net.parameters.copy()
        X[77, 13] = bad
        for target in (0, 3 if net.loss == "cross_entropy" else np.nan):
            y[77] = target
            for step in (net.train_step, net.loss_and_gradient):
                arguments = [fn.SGD(0.01)] if step == net.train_step else []
                with pytest.raises(ValueError, match=f"X: .*received {bad} in row 77, column 13"):
                    step(X, y, *arguments)
            with pytest.raises(ValueError, match=f"received {bad} in row 77, column 13"):
                net.fit(X, y, optimizer=fn.SGD(0.01), batch_size=100, shuffle=False)
        np.testing.assert_array_equal(net.parameters, before)


def test_sums_that_overflow_where_inputs_lie(threads):
    threads(1)
    X = np.full((150, 260), 1e20, dtype=np.float32)
    y = np.zeros((150, 1), dtype=np.float32)
    trained = []
    for inputs in (X, X.astype(np.float64)):  # which are copied
        net = fn.Network([260, 9, 1], activation="tanh", seed=0)
        net.layers[0].weights[:] = 1e25
        loss = net.train_step(inputs, y, fn.SGD(0.01))
        assert np.isfinite(loss)
        trained.append((loss, net.parameters))
    assert trained[0][0] == trained[1][0]
    np.testing.assert_array_equal(trained[0][1], trained[1][1])


def test_numbers_too_large_for_float32():
    net = fn.Network([2, 1], seed=0)
    for call in (net.predict, net.forward, lambda X: net.train_step(X, [1.0, 2.0], fn.SGD(0.1))):
        with pytest.raises(ValueError, match="that fit float32, received inf in row 1, column 0"):
            call(np.array([[1.0, 2.0], [1e39, 0.0]]))


def test_a_gradient_that_is_not_finite():
    net = fn.Network([2, 1], seed=0)
    net.forward([[1.0, 2.0]])
    with pytest.raises(ValueError, match="finite"):
        net.backward([[np.nan]])


def test_a_batch_beyond_memory():
    net = fn.Network([16, 64, 1], seed=0)
    good = np.ones((4, 16)), np.ones((4, 1))
    huge = np.broadcast_to(1.0, (10**12, 16)), np.broadcast_to(1.0, (10**12, 1))
    net.train_step(*good, fn.SGD(0.1))
    for method in (net.train_step, net.loss_and_gradient):
        options = [fn.SGD(0.1)] if method == net.train_step else []
        with pytest.raises(MemoryError):
            method(*huge, *options)
        for data in (good, (np.ones((9, 16)), np.ones((9, 1)))):
            assert np.isfinite(method(*data, *options)[0] if not options else method(*data, *options))


def test_views_outlive_the_network():
    net = fn.Network([3, 4, 2], seed=0)
    parameters, gradient, layer = net.parameters, net.gradient, net.layers[1]
    weights, expected = layer.weights, parameters.copy()
    del net
    gc.collect()
    scribble = [np.full(26, 7.0, dtype=np.float32) for _ in range(100)]
    np.testing.assert_array_equal(parameters, expected)
    np.testing.assert_array_equal(gradient, np.zeros(26))
    np.testing.assert_array_equal(layer.forward(np.eye(4)), weights)
    weights[...] = 3.0
    np.testing.assert_array_equal(parameters[16:24], np.full(8, 3.0))
    del layer, parameters, scribble
    gc.collect()
    np.testing.assert_array_equal(weights, np.full((4, 2), 3.0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_layers_are_views_of_the_flat_buffers(dtype):
    first, second = fn.Dense(3, 4, "tanh", dtype=dtype), fn.Dense(4, 2, bias=False, dtype=dtype)
    own = first.weights.copy()
    net = fn.Network([first, second])
    assert net.layers == (first, second)
    np.testing.assert_array_equal(first.weights, own)
    for flat, names in (
        (net.parameters, ("weights", "bias")),
        (net.gradient, ("weights_gradient", "bias_gradient")),
    ):
        assert flat.flags.c_contiguous
        assert flat.flags.writeable
        assert flat.dtype == dtype
        assert flat.ctypes.data % 64 == 0
        flat[:] = np.arange(24)
        weights, bias = (getattr(first, name) for name in names)
        np.testing.assert_array_equal(weights, np.arange(12).reshape(3, 4))
        np.testing.assert_array_equal(bias, np.arange(12, 16))
        np.testing.assert_array_equal(getattr(second, names[0]), np.arange(16, 24).reshape(4, 2))
        assert getattr(second, names[1]) is None
        weights[1, 2] = -1
        assert flat[6] == -1
    assert np.shares_memory(net.parameters, net.layers[0].weights)
    assert not np.shares_memory(net.parameters, net.gradient)


def test_setting_copies_values_in():
    net = fn.Network([2, 2], dtype="float64", seed=0)
    view, source = net.parameters, np.arange(6.0)
    net.parameters = source
    source[:] = -1
    np.testing.assert_array_equal(view, np.arange(6))
    net.layers[0].weights = [[9, 8], [7, 6]]
    np.testing.assert_array_equal(view, [9, 8, 7, 6, 4, 5])
    net.train_step(np.ones((1, 2)), np.ones((1, 2)), fn.SGD(0.1))
    assert view is not net.parameters
    np.testing.assert_array_equal(view, net.parameters)  # the buffer stays where it is


@pytest.mark.parametrize(
    "duplicate", [fn.Network.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))]
)
def test_copies_share_nothing(duplicate):
    net = fn.Network([3, 4, 2], "gelu", seed=0)
    other = duplicate(net)
    assert not np.shares_memory(net.parameters, other.parameters)
    expected = net.predict(np.ones(3))
    other.parameters[:] = 0
    np.testing.assert_array_equal(net.predict(np.ones(3)), expected)
    net.copy_from(other)
    np.testing.assert_array_equal(net.parameters, np.zeros(26))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout(rate):
    """Zeros in the share asked for, the rest scaled to keep the mean, anew at each call, never in predict."""
    net = fn.Network([1, 1000, 1000], dropout=rate, dtype="float64", seed=0)
    net.layers[0].weights, net.layers[0].bias = np.zeros((1, 1000)), np.ones(1000)
    net.layers[1].weights = np.eye(1000)
    X = np.zeros((100, 1))
    np.testing.assert_array_equal(net.predict(X), np.ones((100, 1000)))
    np.testing.assert_array_equal(net.forward(X, training=False), np.ones((100, 1000)))
    first, second = net.forward(X), net.forward(X)
    for y in (first, second):
        np.testing.assert_allclose(np.unique(y), [0, 1 / (1 - rate)])
        assert np.mean(y == 0) == pytest.approx(rate, abs=5 * np.sqrt(rate * (1 - rate) / y.size))
        for axis in (0, 1):  # no row or column is favoured
            share = np.mean(y == 0, axis=axis)
            assert np.abs(share - rate).max() < 6 * np.sqrt(rate * (1 - rate) / y.shape[axis])
    agreement = np.mean((first == 0) == (second == 0))
    assert agreement == pytest.approx(rate**2 + (1 - rate) ** 2, abs=0.01)
