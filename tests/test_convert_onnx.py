"""Networks to ONNX, against ONNX Runtime."""

import os

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits

import fusednet as fn

from helpers import HIDDEN, OUTPUTS, random_biases

onnx = pytest.importorskip("onnx", reason="writes ONNX, which is not installed")
runtime = pytest.importorskip("onnxruntime", reason="compares with ONNX Runtime, which is not installed")


def serve(path, X):
    """Return what ONNX Runtime computes with a file that passes the checker."""
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": X})[0]


def assert_served(net, path, X):
    net.to_onnx(path)
    served, expected = serve(path, X), net.predict(X)
    assert served.dtype == net.dtype
    np.testing.assert_allclose(served, expected, rtol=1e-5, atol=1e-5)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_activations(path, output, dtype):
    hidden = "tanh" if output in ("softmax", "exp") else output
    net = random_biases(
        fn.Network([5, 16, 3], hidden, output=output, dtype=dtype, seed=0), np.random.default_rng(1)
    )
    X = (3 * np.random.default_rng(0).normal(size=(300, 5))).astype(dtype)
    assert_served(net, path, X)
    assert_served(net, path, X[:1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", HIDDEN[:-1])  # all but exp
def test_inputs_that_overflow_exp(path, activation, dtype):
    net = fn.Network([1, 1], output=activation, dtype=dtype, initializer=lambda *_: np.ones((1, 1)), seed=0)
    assert_served(net, path, np.array([[-1e4], [-200], [-20], [0], [20], [200], [1e4]], dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("mean", [0.0, 1e4 / 3])
def test_standardized_inputs(path, mean, bias, dtype):
    """A mean of thousands of deviations would cost five digits if it were folded into float32 weights."""
    net = fn.Network(
        [fn.Dense(5, 16, "tanh", bias, dtype=dtype, seed=0), fn.Dense(16, 2, dtype=dtype, seed=1)]
    )
    X = (np.random.default_rng(0).normal(size=(300, 5)) + mean).astype(dtype)
    net.standardize(X)
    assert_served(net, path, X)


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1e-46), (0.0, 1e-42), (1e40, 1e40)])
def test_scaling_that_float32_cannot_hold(path, mean, deviation):
    X = np.column_stack([[-1.0, 1.0], [mean - deviation, mean + deviation]])
    net = fn.Network([2, 3])
    net.standardize(X)
    with pytest.raises(ValueError, match=r"float32 cannot hold the scaling of feature 1, by the mean"):
        net.to_onnx(path)
    assert not path.exists()
    wide = fn.Network([2, 3], dtype="float64", seed=0)
    wide.standardize(X)
    assert_served(wide, path, X)


def test_digits(path):
    X, y = load_digits(return_X_y=True)
    X = X.astype("float32")
    net = fn.Network(
        [64, 32, 32, 10], ["gelu", "silu"], output="softmax", loss="cross_entropy", dropout=0.1, seed=0
    )
    net.standardize(X)
    net.fit(X, y, epochs=5, optimizer=fn.Adam(0.003))
    assert_served(net, path, X)
    assert (serve(path, X).argmax(axis=1) == y).mean() > 0.95


def test_diabetes(path):
    X, y = load_diabetes(return_X_y=True, scaled=False)
    net = fn.Network([10, 16, 1], "elu", dtype="float64", seed=0)
    net.standardize(X)
    net.fit(X, y / 100, epochs=5)
    assert_served(net, path, X)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("standardized", [False, True])
@pytest.mark.parametrize("activation", HIDDEN)
def test_the_way_back(path, activation, standardized, dtype):
    X = np.random.default_rng(0).normal(loc=7, size=(40, 5)).astype(dtype)
    net = fn.Network([5, 16, 4], activation, output="softmax", loss="cross_entropy", dtype=dtype, seed=0)
    if standardized:
        net.standardize(X)
    net.to_onnx(path)
    again = fn.from_onnx(path)
    assert repr(again) == repr(net)
    if not standardized:
        np.testing.assert_array_equal(again.parameters, net.parameters)
    else:
        np.testing.assert_allclose(again.input_mean, net.input_mean, rtol=1e-7)
        np.testing.assert_allclose(again.input_deviation, net.input_deviation, rtol=1e-7)
    np.testing.assert_allclose(again.predict(X), net.predict(X), rtol=1e-5, atol=1e-6)


def test_the_file(path):
    net = fn.Network([3, 4, 2], seed=0)
    path.write_bytes(b"what was there before")
    net.to_onnx(os.fspath(path))
    model = onnx.load(path)
    assert [opset.version for opset in model.opset_import] == [17]
    assert model.ir_version == 8
    assert model.producer_name == "fusednet"
    assert [node.op_type for node in model.graph.node] == ["Gemm", "Relu", "Gemm"]
    assert {t.name for t in model.graph.initializer} == {
        "layers.0.weights",
        "layers.0.bias",
        "layers.1.weights",
        "layers.1.bias",
    }
    assert [path.name] == os.listdir(path.parent)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        fn.Network([3, 2]).to_onnx(tmp_path / "missing" / "net.onnx")
