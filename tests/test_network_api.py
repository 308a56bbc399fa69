"""What a Network is told and what it answers."""

import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import scipy.optimize

import fusednet as fn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3))
Y = np.stack([X.sum(axis=1), X[:, 0] ** 2], axis=1)


def classifier(**options):
    return fn.Network([3, 8, 4], output="softmax", loss="cross_entropy", seed=0, **options)


# Construction


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: fn.Network([]), ValueError, "at least one layer"),
        (lambda: fn.Network([3]), ValueError, "at least one layer"),
        (lambda: fn.Network([3, 0]), ValueError, "a width must be at least 1, not 0"),
        (lambda: fn.Network([3, 2.5]), TypeError, "a width must be an integer, not 2.5"),
        (lambda: fn.Network([3, 2], output="relu6"), ValueError, "'relu6'"),
        (lambda: fn.Network([3, 4, 2], activation="softmax"), ValueError, "softmax"),
        (
            lambda: fn.Network([3, 4, 2], activation=["relu", "tanh"]),
            ValueError,
            "the 1 hidden layers, not 2",
        ),
        (lambda: fn.Network(None), TypeError, "widths must be a list, as in \\[4, 16, 1\\], not None"),
        (lambda: fn.Network(3), TypeError, "widths must be a list.*not 3"),
        (lambda: fn.Network([3, 2**63]), ValueError, "a width must be at most 9223372036854775807, not 922"),
        (lambda: fn.Network([3, 4, 2], activation=None), TypeError, "activation"),
        (lambda: fn.Network([3, 2], activation="bogus"), ValueError, "activation must be one of .*'bogus'"),
        (lambda: fn.Network([3, 2], activation="softmax"), ValueError, "activation must be one of"),
        (lambda: fn.Network([3, 2], activation=["relu"]), ValueError, "the 0 hidden layers, not 1"),
        (lambda: fn.Network([fn.Dense(3, 2)], activation="bogus"), ValueError, "'bogus'"),
        (lambda: fn.Network([3, 4, 2], loss="l1"), ValueError, "loss must be one of mse, .*'l1'"),
        (lambda: fn.Network([3, 4, 2], loss=3), ValueError, "loss must be one of"),
        (lambda: fn.Network([3, 4, 2], loss=fn.losses.Huber), TypeError, r"Huber\(\), not the class Huber"),
        (
            lambda: fn.Network([3, 2], loss="cross_entropy"),
            ValueError,
            'needs output="softmax", not output="identity"',
        ),
        (lambda: fn.Network([3, 2], loss="binary_cross_entropy"), ValueError, 'needs output="sigmoid"'),
        (lambda: fn.Network([3, 2], l2=-1.0), ValueError, "l2 must lie in"),
        (lambda: fn.Network([3, 2], l2=10**400), ValueError, "l2 must lie in .* the range of float64"),
        (lambda: fn.Network([3, 2], dropout=2.0), ValueError, "dropout must lie in \\[0, 1\\), not 2.0"),
        (lambda: fn.Network([3, 4, 2], dropout=1.0), ValueError, "dropout must lie in \\[0, 1\\), not 1.0"),
        (lambda: fn.Network([3, 4, 2], dropout=[0.1, 0.2]), ValueError, "the 1 hidden layers, not 2"),
        (lambda: fn.Network([3, 2], dtype="int32"), ValueError, "dtype must be one of float32, float64"),
        (lambda: fn.Network([3, 2], seed=-1), ValueError, "seed must be a non-negative integer, .* not -1"),
        (lambda: fn.Network([3, 2], output="tan"), ValueError, "output must be one of .*'tan'"),
        (
            lambda: fn.Network([3, 2]).predict(np.ones(3), logits="yes"),
            TypeError,
            "logits must be True or False",
        ),
        (lambda: fn.Network([3, 2]).forward(np.ones(3), "yes"), TypeError, "training must be True or False"),
        (lambda: fn.losses.Huber(0.0), ValueError, "delta"),
        (lambda: fn.losses.Quantile(1.0), ValueError, "q must lie in"),
    ],
)
def test_arguments_are_checked(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_activations_one_each():
    net = fn.Network([3, 4, 5, 2], activation=["tanh", "gelu"], output="sigmoid")
    assert [layer.activation for layer in net.layers] == ["tanh", "gelu", "sigmoid"]


def test_activations_may_be_an_array():
    names = np.array(["tanh", "gelu"])
    net = fn.Network([3, 4, 5, 2], activation=names)
    fn.Network([layer.copy() for layer in net.layers], activation=names)
    with pytest.raises(ValueError, match=r"the hidden layers have the activations \['tanh', 'gelu'\]"):
        fn.Network([layer.copy() for layer in net.layers], activation=names[::-1])


def test_widths_may_be_numpy_integers():
    assert fn.Network(np.array([3, 4, 2])).parameters.size == 3 * 4 + 4 + 4 * 2 + 2


def test_loss_objects():
    r = fn.Network([3, 2], seed=0).predict(X) - Y
    huber = fn.Network([3, 2], loss=fn.losses.Huber(0.5), seed=0).evaluate(X, Y)["loss"]
    assert huber == pytest.approx(np.where(abs(r) <= 0.5, r**2 / 2, 0.5 * (abs(r) - 0.25)).mean(), rel=1e-5)
    quantile = fn.Network([3, 2], loss=fn.losses.Quantile(0.9), seed=0).evaluate(X, Y)["loss"]
    assert quantile == pytest.approx(np.where(r < 0, -0.9 * r, 0.1 * r).mean(), rel=1e-5)
    half = fn.Network([3, 2], loss="quantile", seed=0).evaluate(X, Y)["loss"]
    assert half == pytest.approx(abs(r).mean() / 2, rel=1e-5)


def test_same_seed_same_network():
    a, b, c = classifier(), classifier(), fn.Network([3, 8, 4], seed=1)
    np.testing.assert_array_equal(a.parameters, b.parameters)
    assert not np.array_equal(a.parameters, c.parameters)


def test_what_cannot_change_is_read_only():
    net = classifier(dropout=0.25)
    assert (net.loss, net.dropout, net.dtype, len(net.layers)) == ("cross_entropy", (0.25,), np.float32, 2)
    for name in ("loss", "dropout", "dtype", "layers"):
        with pytest.raises(AttributeError):
            setattr(net, name, None)


# Prediction


def test_one_dimension_in_one_dimension_out():
    net = fn.Network([3, 4, 2], seed=0)
    assert net.predict(X[0]).shape == (2,)
    np.testing.assert_allclose(net.predict(X[0]), net.predict(X[:1])[0], rtol=1e-6)
    assert net.predict([0.1, 0.2, 0.3]).shape == (2,)


def test_out():
    net = fn.Network([3, 4, 2], seed=0)
    out = np.empty((30, 2), dtype=np.float32)
    assert net.predict(X, out) is out
    np.testing.assert_array_equal(out, net.predict(X))
    row = np.empty(2, dtype=np.float32)
    assert net.predict(X[0], out=row) is row
    for bad in (np.empty((29, 2), np.float32), np.empty((30, 3), np.float32), np.empty(60, np.float32)):
        with pytest.raises(ValueError, match=r"\(30, 2\)"):
            net.predict(X, bad)
    with pytest.raises(TypeError, match="float32"):
        net.predict(X, np.empty((30, 2)))
    frozen = np.empty((30, 2), dtype=np.float32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        net.predict(X, frozen)
    odd = np.frombuffer(bytearray(30 * 2 * 4 + 1), np.float32, offset=1).reshape(30, 2)
    with pytest.raises(ValueError, match="aligned"):
        net.predict(X, odd)


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_out_may_overlap_the_inputs(shift):
    net = fn.Network([4, 4], seed=0)
    numbers = np.random.default_rng(0).normal(size=(1002, 4)).astype(np.float32)
    inputs = numbers[1:-1]
    expected = net.predict(inputs.copy())
    out = numbers[1 + shift : 1001 + shift]
    np.testing.assert_array_equal(net.predict(inputs, out=out), expected)


def test_logits():
    net = classifier()
    z = net.predict(X, logits=True).astype(np.float64)
    np.testing.assert_allclose(net.predict(X), np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_array_equal(
        fn.Network([3, 2], seed=1).predict(X, logits=True), fn.Network([3, 2], seed=1).predict(X)
    )


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_predictions_does_not_grow_with_the_rows():
    code = r"""
import pathlib, re
import numpy as np
import fusednet as fn
# Not getrusage, whose peak is that of the process before exec, too, which is pytest's.
peak = lambda: int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path("/proc/self/status").read_text())[1])
net = fn.Network([4, 512, 512, 1])
X, out = np.ones((200_000, 4), "float32"), np.ones((200_000, 1), "float32")
net.predict(X[:2_000], out[:2_000])
before = peak()
net.predict(X, out)
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    one_hidden_layer = 200_000 * 512 * 4 / 1024
    assert int(done.stdout) < one_hidden_layer / 50


@pytest.mark.parametrize("call", ["predict", "forward"])
@pytest.mark.parametrize("shape", [(30, 4), (30, 2), (4,), (0, 3), (3, 30)])
def test_wrong_shapes_name_both(call, shape):
    with pytest.raises(ValueError, match=rf"\(n, 3\).*received \({shape[0]},"):
        getattr(fn.Network([3, 2]), call)(np.zeros(shape))


# The level below


def test_loss_and_gradient_serves_scipy():
    net = fn.Network([3, 6, 2], activation="tanh", dtype="float64", seed=0)

    def objective(theta):
        net.parameters = theta
        return net.loss_and_gradient(X, Y)

    start = net.parameters.copy()
    assert scipy.optimize.check_grad(lambda t: objective(t)[0], lambda t: objective(t)[1], start) < 1e-6
    result = scipy.optimize.minimize(objective, start, jac=True, method="L-BFGS-B")
    net.parameters = result.x
    assert net.evaluate(X, Y)["loss"] < 0.01


def test_the_gradient_can_be_assigned():
    net = fn.Network([2, 1], seed=0)
    net.forward([[1.0, 2.0]])
    net.backward([[1.0]])
    net.gradient *= 0.5
    np.testing.assert_array_equal(net.gradient, [0.5, 1.0, 0.5])
    with pytest.raises(ValueError, match=r"gradient must have the shape \(3,\)"):
        net.gradient = [1.0]


def test_loss_and_gradient_returns_a_copy_and_leaves_dropout_out():
    net = fn.Network([3, 6, 2], dropout=0.5, seed=0)
    loss, gradient = net.loss_and_gradient(X, Y)
    assert not np.shares_memory(gradient, net.gradient)
    np.testing.assert_array_equal(gradient, net.gradient)
    again = net.loss_and_gradient(X, Y)
    assert again[0] == loss == pytest.approx(net.evaluate(X, Y)["loss"], rel=1e-6)
    np.testing.assert_array_equal(again[1], gradient)


def test_own_loop_equals_train_step():
    a = fn.Network([3, 6, 2], activation="tanh", dtype="float64", seed=0)
    b = a.copy()
    for _ in range(5):
        y_hat = a.forward(X)
        a.backward(2 * (y_hat - Y) / Y.size)
        a.parameters -= 0.1 * a.gradient
        b.train_step(X, Y, fn.SGD(0.1))
    np.testing.assert_allclose(a.parameters, b.parameters, rtol=1e-11)


def test_train_step_returns_the_loss_before_the_step():
    net = fn.Network([3, 6, 2], dtype="float64", seed=0)
    before = net.evaluate(X, Y)["loss"]
    assert net.train_step(X, Y, fn.SGD(0.1)) == pytest.approx(before, rel=1e-12)
    assert net.evaluate(X, Y)["loss"] < before


def test_parameters_are_a_view():
    net = fn.Network([3, 2], seed=0)
    view = net.parameters
    net.parameters = np.arange(8)
    np.testing.assert_array_equal(view, np.arange(8))
    view[:] = 0
    assert not net.predict(X).any()
    for bad in (np.zeros(7), np.zeros((8, 1)), 0.0):
        with pytest.raises(ValueError, match=r"parameters must have the shape \(8,\)"):
            net.parameters = bad
    for strange in ([None] * 8, ["1"] * 8, np.ones(8) * 1j):
        with pytest.raises(TypeError, match=r"parameters.*real numbers"):
            net.parameters = strange


def test_forward_in_training_drops_out():
    net = fn.Network([3, 50, 2], dropout=0.5, seed=0)
    assert not np.array_equal(net.forward(X), net.forward(X))
    np.testing.assert_array_equal(net.forward(X, training=False), net.predict(X))


# Text and module


def test_repr():
    assert repr(classifier()) == (
        "Network([3, 8, 4], activation='relu', output='softmax', loss='cross_entropy', dtype='float32')"
    )
    assert repr(fn.Network([3, 2])) == "Network([3, 2], output='identity', loss='mse', dtype='float32')"
    mixed = fn.Network([3, 2, 2, 1], activation=["tanh", "relu"])
    assert "activation=['tanh', 'relu']" in repr(mixed)
    options = fn.Network([3, 2, 2, 1], l2=0.01, dropout=0.5, loss=fn.losses.Huber(2.0))
    assert "loss=Huber(delta=2.0), l2=0.01, dropout=0.5, dtype" in repr(options)
    assert "dropout=[0.0, 0.1]," in repr(fn.Network([3, 2, 2, 1], dropout=[0.0, 0.1]))


def test_html():
    net = fn.Network([784, 256, 10], dropout=0.2, l2=0.01)
    root = ElementTree.fromstring(net._repr_html_())
    assert [[cell.text for cell in row] for row in root.iter("tr")] == [
        ["layer", "shape", "activation", "dropout", "parameters", "trainable"],
        ["0", "784 → 256", "relu", "0.2", "200,960", "yes"],
        ["1", "256 → 10", "identity", "-", "2,570", "yes"],
    ]
    assert root.find("small").text == "203,530 parameters, 795.0 KiB of float32; loss: mse; l2: 0.01"


def test_summary():
    net = fn.Network([784, 256, 10], dropout=0.2, output="softmax", loss="cross_entropy")
    net.layers[0].trainable = False
    text = net.summary()
    assert repr(text) == str(text)
    lines = text.splitlines()
    assert lines[2].split() == ["0", "784", "→", "256", "relu", "0.2", "200,960", "no"]
    assert lines[3].split() == ["1", "256", "→", "10", "softmax", "-", "2,570", "yes"]
    assert (
        lines[-1] == "203,530 parameters, 200,960 of them frozen, 795.0 KiB of float32; loss: cross_entropy"
    )
    assert len({len(lines[1]), len(lines[4]), max(map(len, lines[:4]))}) == 1


def test_public_names():
    for name in fn.__all__:
        assert getattr(fn, name) is not None
    assert fn.__version__ == fn.build_info()["version"]
    assert issubclass(fn.DivergenceError, ArithmeticError)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        fn.nonsense  # noqa: B018


def test_import_is_light():
    heavy = [
        "tqdm",
        "safetensors",
        "matplotlib",
        "pandas",
        "polars",
        "scipy",
        "sklearn",
        "torch",
        "onnx",
        "json",
        "hashlib",
    ]
    code = (
        "import sys, numpy; before = set(sys.modules); import fusednet; "
        f"print([name for name in {heavy} if name in set(sys.modules) - before])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )
