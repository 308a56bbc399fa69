"""Inputs scaled inside the network, against scikit-learn's StandardScaler and against scaling by hand."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler

import fusednet as fn

from helpers import assert_gradient, central_differences, random_biases

X = np.random.default_rng(0).normal(loc=[5.0, -300.0, 0.2], scale=[2.0, 40.0, 0.01], size=(50, 3))
Y = np.random.default_rng(1).normal(size=(50, 2))


def pair(dtype="float64", **options):
    """Return a network that standardizes, its double that does not, and what the double is to be given."""
    plain = random_biases(
        fn.Network([3, 8, 2], "tanh", dtype=dtype, seed=0, **options), np.random.default_rng(2)
    )
    net = plain.copy()
    net.standardize(X)
    return net, plain, StandardScaler().fit_transform(X)


def test_statistics_are_those_of_scikit_learn():
    net, _, _ = pair()
    scaler = StandardScaler().fit(X)
    np.testing.assert_allclose(net.input_mean, scaler.mean_, rtol=1e-14)
    np.testing.assert_allclose(net.input_deviation, scaler.scale_, rtol=1e-13)


def test_many_rows_of_any_dtype_and_strides():
    rng = np.random.default_rng(3)
    for data in (
        rng.normal(loc=1e3, size=(9001, 3)).astype(np.float32),
        rng.integers(0, 256, size=(9001, 3)).astype(np.uint8),
        np.asfortranarray(rng.normal(size=(9001, 3)))[::-2],
    ):
        net = fn.Network([3, 1], seed=0)
        net.standardize(data)
        scaler = StandardScaler().fit(data.astype(np.float64))
        np.testing.assert_allclose(net.input_mean, scaler.mean_, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(net.input_deviation, scaler.scale_, rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e9 / 3, 1e-200])
@pytest.mark.parametrize("rows", [1, 7, 5000])
def test_constant_features(value, rows):
    data = np.column_stack([np.full(rows, value), np.arange(rows, dtype=float)])
    net = fn.Network([2, 1], dtype="float64", seed=0)
    net.standardize(data)
    np.testing.assert_array_equal(net.input_deviation, StandardScaler().fit(data).scale_)
    assert net.input_deviation[0] == 1.0


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_whatever_takes_inputs_scales_them(dtype):
    net, plain, scaled = pair(dtype, l2=0.01, dropout=0.2)
    tolerance = {"rtol": 1e-11, "atol": 1e-13} if dtype == "float64" else {"rtol": 1e-5, "atol": 1e-6}

    def same(a, b):
        np.testing.assert_allclose(a, b, **tolerance)

    same(net.predict(X), plain.predict(scaled))
    same(net.predict(X[0]), plain.predict(scaled[0]))
    same(net.predict(X, logits=True), plain.predict(scaled, logits=True))
    same(net.forward(X), plain.forward(scaled))
    same(net.backward(Y) * net.input_deviation, plain.backward(Y))
    same(net.gradient, plain.gradient)
    for key, value in net.evaluate(X, Y).items():
        same(value, plain.evaluate(scaled, Y)[key])
    ours, theirs = net.loss_and_gradient(X, Y), plain.loss_and_gradient(scaled, Y)
    same(ours[0], theirs[0])
    same(ours[1], theirs[1])
    optimizers = fn.SGD(0.01), fn.SGD(0.01)
    same(net.train_step(X, Y, optimizers[0]), plain.train_step(scaled, Y, optimizers[1]))
    for each, data in ((net, X), (plain, scaled)):
        each.fit(data, Y, epochs=3, batch_size=8, optimizer=fn.Adam(0.01), validation_data=(data[:9], Y[:9]))
    same(net.history.val_loss, plain.history.val_loss)
    same(net.parameters, plain.parameters)


def test_gradient_of_the_input_by_differences():
    net, _, _ = pair()
    net.standardize(X * [1.0, 0.1, 200.0])
    x, dL_dy = X[:4] * [1.0, 0.1, 200.0], Y[:4]
    net.forward(x)
    gradient = net.backward(dL_dy)
    numeric = central_differences(lambda: float((net.predict(x) * dL_dy).sum()), x)
    assert_gradient(gradient, numeric)


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a,
        lambda a: np.asfortranarray(a),
        lambda a: a[:, ::-1],
        lambda a: np.round(a).astype(np.int16),
        lambda a: a.astype(np.float32),
    ],
)
def test_inputs_of_any_layout(view):
    net, plain, _ = pair()
    data = view(X)
    by_hand = (data.astype(np.float64) - net.input_mean) / net.input_deviation
    np.testing.assert_allclose(net.predict(data), plain.predict(by_hand), rtol=1e-11, atol=1e-13)


def test_float32_loses_no_digits_to_a_large_mean():
    """As in times in seconds since 1970: float32 alone would round them to two minutes."""
    t = 1.7e9 + np.linspace(0, 60, 31)[:, None]
    net = fn.Network([1, 1], seed=0)
    net.standardize(t)
    z = (t - t.mean()) / t.std()
    np.testing.assert_allclose(net.predict(t), z.astype(np.float32) * net.layers[0].weights, rtol=1e-6)


@pytest.mark.parametrize("clone", [fn.Network.copy, copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))])
def test_copies_scale_too(clone):
    net, _, _ = pair()
    again = clone(net)
    np.testing.assert_array_equal(again.input_mean, net.input_mean)
    np.testing.assert_array_equal(again.predict(X), net.predict(X))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_files(tmp_path, dtype):
    net, plain, _ = pair(dtype)
    net.save(tmp_path / "net.safetensors")
    again = fn.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(again.input_deviation, net.input_deviation)
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    plain.save(tmp_path / "plain.safetensors")
    assert fn.load(tmp_path / "plain.safetensors").input_mean is None


def test_a_target_network_takes_the_scaling_over():
    net, plain, _ = pair()
    plain.copy_from(net, tau=0.1)
    np.testing.assert_array_equal(plain.input_mean, net.input_mean)
    np.testing.assert_allclose(plain.predict(X), net.predict(X), rtol=1e-12)
    plain.copy_from(fn.Network([3, 8, 2], "tanh", dtype="float64", seed=0))
    assert plain.input_mean is None


def test_what_it_learnt_cannot_be_changed_from_outside():
    net, _, _ = pair()
    before = net.predict(X)
    net.input_mean[:] = 0
    net.input_deviation[:] = 1
    np.testing.assert_array_equal(net.predict(X), before)


def test_another_call_replaces_it():
    net, plain, _ = pair()
    net.standardize(2 * X)
    np.testing.assert_allclose(net.input_mean, 2 * X.mean(axis=0), rtol=1e-13)
    assert "inputs standardized" in net.summary()
    assert "standardized" not in plain.summary()


def test_backward_needs_a_forward_of_the_same_scaling():
    net, _, _ = pair()
    net.forward(X)
    net.standardize(2 * X)
    with pytest.raises(ValueError, match="forward"):
        net.backward(Y)


def test_raw_data_become_learnable():
    data, y = load_diabetes(return_X_y=True, scaled=False)
    y = (y - y.mean()) / y.std()
    net = fn.Network([10, 32, 1], "tanh", seed=0)
    net.standardize(data)
    net.fit(data, y, epochs=60, optimizer=fn.Adam(0.003))
    assert net.evaluate(data, y)["r2"] > 0.5


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (X[:, :2], ValueError, r"\(n, 3\).*not \(50, 2\)"),
        (X[0], ValueError, r"\(n, 3\).*not \(3,\)"),
        (X[:0], ValueError, r"\(n, 3\) with n at least 1, not \(0, 3\)"),
        (np.where(X < -350, np.nan, X), ValueError, "finite.*column 1 has the mean nan"),
        (np.where(X < -350, np.inf, X), ValueError, "finite.*column 1 has the mean inf"),
        (X * [1, 1e180, 1], ValueError, "squares.*column 1.*variance inf"),
        ([["a", "b", "c"]], TypeError, "X must hold real numbers"),
    ],
)
def test_refusals(data, error, message):
    net, _, _ = pair()
    mean = net.input_mean
    with pytest.raises(error, match=message):
        net.standardize(data)
    np.testing.assert_array_equal(net.input_mean, mean)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_inputs_must_be_finite_after_scaling(value):
    net, _, _ = pair("float32")
    data = X.copy()
    data[7, 1] = value
    for call in (net.predict, net.forward, lambda x: net.evaluate(x, Y)):
        with pytest.raises(ValueError, match=r"X: expected finite values.*row 7, column 1"):
            call(data)
