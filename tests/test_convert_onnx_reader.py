"""Networks from ONNX: graphs written down here in ONNX's text form, against ONNX Runtime."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits

import fusednet as fn

onnx = pytest.importorskip("onnx", reason="reads ONNX, which is not installed")
runtime = pytest.importorskip("onnxruntime", reason="compares with ONNX Runtime, which is not installed")

RNG = np.random.default_rng(0)
CONSTANTS = {
    "W": RNG.normal(size=(3, 4)),
    "WT": RNG.normal(size=(4, 3)),
    "V": RNG.normal(size=(4, 2)),
    "V4": RNG.normal(size=(4, 4)),
    "b": RNG.normal(size=4),
    "row": RNG.normal(size=(1, 4)),
    "c": RNG.normal(size=2),
    "deep": np.ones((1, 1, 4)),
    "deep3": np.ones((1, 1, 3)),
    "one_each": np.ones(4),
    "slope_each": np.full(4, 0.01),
    "mean": np.array([1.0, -2.0, 30.0]),
    "deviation": np.array([0.5, 2.0, 10.0]),
    "zero": 0.0,
    "half": 0.5,
    "one": 1.0,
    "two": 2.0,
    "sqrt2": np.sqrt(2),
    "slope": 0.01,
    "quick": 1.702,
    "hundred": 100.0,
    "ten_million": 1e7,
    "huge": 1e30,
    "subnormal": 1e-42,
    "nan": np.full((3, 2), np.nan),
    "half111": np.array([[[0.5]]]),
    "half11": np.array([[0.5]]),
    "w1": np.array([[1.0], [-2.0], [0.5]]),
    "v1": RNG.normal(size=(4, 1)),
    "mask": np.array([1.0, 0.0, 1.0, 0.0]),
    "mask3": np.array([1.0, 0.0, 1.0]),
    "pixel": RNG.uniform(1, 2, (1, 1, 2, 2)),
    "each": np.ones((3, 1, 1)),
    "line": RNG.uniform(1, 2, (2, 1)),
}
INTEGERS = {
    "axes": [1],
    "keep": [0, -1],
    "any": [-1, 4],
    "any3": [-1, 3],
    "turn": [4, -1],
    "flat": [-1],
    "first": [0],
    "last": [-1],
    "back": [1, 0],
    "second": [1],
    "zeroth": 0,
    "sevens": 7,
    "deep_shape": [1, -1, 2],
    "yes": np.True_,
}


def write(
    path, nodes, inputs="float[N, 3] x", outputs="float[N, K] y", dtype="float32", opset=17, imports=""
):
    """Write a model of these nodes, with those of the constants that they use."""
    text = f'<ir_version: 8, opset_import: ["" : {opset}{imports}]> g ({inputs}) => ({outputs}) {{ {nodes} }}'
    model = onnx.parser.parse_model(text.replace("float[", "double[") if dtype == "float64" else text)
    used = {name for node in model.graph.node for name in node.input}
    for name in sorted(used):
        if name in CONSTANTS:
            array = np.asarray(CONSTANTS[name], dtype)
        elif name in INTEGERS:
            array = np.array(INTEGERS[name])
        else:
            continue
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.save(model, path)
    return path


def serve(path, X):
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: X})[0]


def assert_read(path, X=None):
    """Compare what is read from a file with what ONNX Runtime does; return it."""
    net = fn.from_onnx(path)
    if X is None:
        X = 3 * np.random.default_rng(1).normal(size=(100, 3)).astype(net.dtype)
    served = serve(path, X)
    np.testing.assert_allclose(net.predict(X.reshape(len(X), -1)), served, rtol=1e-5, atol=2e-6)
    return net


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.onnx"


LAYERS = {
    "gemm": "z = Gemm (x, W, b)",
    "without bias": "z = Gemm (x, W)",
    "alpha and beta": "z = Gemm <alpha = 0.5, beta = 2.0> (x, W, b)",
    "transB": "z = Gemm <transB = 1, alpha = -1.5> (x, WT, b)",
    "transA of a transpose": "t = Transpose <perm = [1, 0]> (x)  z = Gemm <transA = 1> (t, W, b)",
    "bias for all": "z = Gemm (x, W, half)",
    "bias of one row": "z = Gemm (x, W, row)",
    "matmul": "z = MatMul (x, W)",
    "matmul and add": "m = MatMul (x, W)  z = Add (m, b)",
    "add and matmul": "m = MatMul (x, W)  z = Add (row, m)",
    "sub": "m = MatMul (x, W)  z = Sub (m, b)",
    "scaled": "m = MatMul (x, W)  s = Mul (m, two)  t = Div (s, b)  z = Sub (b, t)",
    "gemm and add": "m = Gemm (x, W, b)  z = Add (m, row)",
    "constant nodes": "w = Constant <value = float[3, 1] {1.0, -2.0, 3.0}> ()  z = MatMul (x, w)",
    "computed weights": "t = Transpose (WT)  i = Identity (t)  w = Mul (i, two)  z = MatMul (x, w)",
    "skipped": "i = Identity (x)  m = Gemm (i, W)  d = Dropout (m)  f = Flatten (d)  z = Add (f, b)",
    "cast to the same type": "i = Cast <to = 1> (x) m = MatMul (i, W) d = Cast <to = 1> (m) z = Add (d, b)",
    "reshaped": "p = Reshape (x, keep)  m = Gemm (p, W)  q = Reshape (m, any)  z = Add (q, b)",
    "divided by a dimension": (
        "m = Gemm (x, W) d = Shape (x) i = Gather (d, second) f = Cast <to = 1> (i) "
        "q = Div (m, f) z = Add (q, b)"
    ),
    "reshaped to its own shape": "m = Gemm (x, W)  d = Shape (m)  q = Reshape (m, d)  z = Add (q, b)",
    "unused": "z = Gemm (x, W)  rest = Cos (z)",
    "negated": "m = Gemm (x, W, b)  z = Neg (m)",
    "sum": "m = MatMul (x, W)  z = Sum (m, b)",
    "masked": "m = Gemm (x, W, b)  z = Mul (m, mask)",
    "from double and back": "i = Cast <to = 11> (x)  j = Cast <to = 1> (i)  z = MatMul (j, W)",
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(path, name):
    net = assert_read(write(path, LAYERS[name], outputs="float[N, K] z"))
    assert {layer.activation for layer in net.layers} == {"identity"}


SPELLINGS = {
    "sigmoid": ["a = Sigmoid (z)", "n = Neg (z) e = Exp (n) p = Add (one, e) a = Reciprocal (p)",
                "n = Neg (z) e = Exp (n) p = Add (e, one) a = Div (one, p)",
                "h = Mul (z, half) t = Tanh (h) s = Add (t, one) a = Mul (s, half)"],
    "tanh": ["a = Tanh (z)", "d = Mul (z, two) s = Sigmoid (d) m = Mul (s, two) a = Sub (m, one)",
             "n = Neg (z) e = Exp (z) f = Exp (n) d = Sub (e, f) s = Add (e, f) a = Div (d, s)"],
    "relu": ["a = Relu (z)", "a = Max (z, zero)", "a = Clip (z, zero)",
             "g = Greater (z, zero) a = Where (g, z, zero)", "n = Neg (z) r = Relu (n) a = Add (z, r)"],
    "leaky_relu": ["a = LeakyRelu (z)", "a = PRelu (z, slope)", "a = PRelu (z, slope_each)",
                   "s = Mul (slope, z) a = Max (s, z)",
                   "g = Less (z, zero) s = Mul (z, slope) a = Where (g, s, z)"],
    "elu": ["a = Elu (z)", "a = Celu (z)",
            "e = Exp (z) m = Sub (e, one) g = Greater (z, zero) a = Where (g, z, m)"],
    "gelu": ["d = Div (z, sqrt2) e = Erf (d) p = Add (e, one) m = Mul (z, p) a = Mul (m, half)",
             "d = Div (z, sqrt2) e = Erf (d) p = Add (one, e) h = Mul (half, p) a = Mul (h, z)"],
    "silu": ["s = Sigmoid (z) a = Mul (z, s)", "n = Neg (z) e = Exp (n) p = Add (e, one) a = Div (z, p)"],
    "softplus": ["a = Softplus (z)", "e = Exp (z) p = Add (e, one) a = Log (p)",
                 "r = Relu (z) v = Abs (z) n = Neg (v) e = Exp (n) p = Add (e, one) l = Log (p) "
                 "a = Add (r, l)"],
    "exp": ["a = Exp (z)"],
    "identity": ["a = Identity (z)", "n = Neg (z) a = Neg (n)"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "nodes"), [(name, nodes) for name, all_ in SPELLINGS.items() for nodes in all_]
)
def test_hidden_activations(path, name, nodes):
    net = assert_read(write(path, f"p0 = MatMul (x, W) z = Add (p0, b) {nodes} y = Gemm (a, V, c)"))
    assert [layer.activation for layer in net.layers] == [name, "identity"]


@pytest.mark.parametrize(
    ("name", "nodes", "opset"),
    [(name, nodes[0].replace("a =", "y ="), 17) for name, nodes in SPELLINGS.items()]
    + [
        ("softmax", "y = Softmax (z)", 17),
        ("softmax", "y = Softmax <axis = 1> (z)", 17),
        ("softmax", "y = Softmax (z)", 11),
        ("softmax", "e = Exp (z) s = ReduceSum (e, axes) y = Div (e, s)", 17),
        ("softmax", "m = ReduceMax <axes = [1]> (z) d = Sub (z, m) e = Exp (d) s = ReduceSum (e, axes) "
         "y = Div (e, s)", 17),
        ("gelu", "y = Gelu (z)", 20),
    ],
)  # fmt: skip
def test_output_activations(path, name, nodes, opset):
    net = assert_read(write(path, f"z = Gemm (x, W, b) {nodes}", opset=opset))
    assert [layer.activation for layer in net.layers] == [name]


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu", "silu"])
def test_float64(path, name):
    nodes = SPELLINGS[name][0]
    net = assert_read(write(path, f"z = Gemm (x, W, b) {nodes} y = MatMul (a, V)", dtype="float64"))
    assert net.dtype == np.float64


@pytest.mark.parametrize(
    ("nodes", "mean", "deviation"),
    [
        ("d = Sub (x, mean) s = Div (d, deviation)", CONSTANTS["mean"], CONSTANTS["deviation"]),
        ("d = Add (x, mean) s = Mul (d, two)", -CONSTANTS["mean"], 0.5),
        ("d = Mul (x, deviation) s = Sub (d, one)", 1 / CONSTANTS["deviation"], 1 / CONSTANTS["deviation"]),
        ("s = Div (x, hundred)", 0.0, 100.0),
        ("s = Sub (one, x)", 1.0, -1.0),
    ],
)
def test_scaled_inputs(path, nodes, mean, deviation):
    net = assert_read(write(path, f"{nodes} z = Gemm (s, W, b) y = Relu (z)"))
    np.testing.assert_allclose(net.input_mean, np.broadcast_to(mean, 3), rtol=1e-6)
    np.testing.assert_allclose(net.input_deviation, np.broadcast_to(deviation, 3), rtol=1e-6)


# As PyTorch writes x.view(x.size(0), -1).
VIEW = "d = Shape (s) i = Gather (d, first) l = Concat <axis = 0> (i, last) f = Reshape (s, l)"


@pytest.mark.parametrize(
    "flatten", ["f = Flatten (s)", "f = Reshape (s, any)", "f = Reshape (s, keep)", VIEW]
)
def test_flattened_inputs(path, flatten):
    X = np.random.default_rng(1).normal(size=(7, 1, 2, 2)).astype("float32")
    assert_read(
        write(path, f"s = Div (x, two) {flatten} y = Gemm (f, V, c)", "float[N, 1, 2, 2] x"),
        X,
    )


@pytest.mark.parametrize(
    ("scale", "different"),
    [("s = Mul (x, pixel)", 4), ("a = Sub (x, line) s = Div (a, pixel)", 4), ("s = Mul (x, half111)", 1)],
)
def test_scaled_before_it_is_flattened(path, scale, different):
    X = np.random.default_rng(1).normal(size=(7, 1, 2, 2)).astype("float32")
    net = assert_read(write(path, f"{scale} f = Flatten (s) y = Gemm (f, V, c)", "float[N, 1, 2, 2] x"), X)
    assert len(set(net.input_deviation)) == different


def test_constants_that_would_multiply_the_axes_of_a_sample(path):
    with pytest.raises(ValueError, match=r"operator Sub .*with \(3,\) constants on \(3, 1\) samples"):
        fn.from_onnx(write(path, "s = Sub (x, mean) f = Flatten (s) y = MatMul (f, W)", "float[N, 3, 1] x"))
    with pytest.raises(ValueError, match=r"operator Sub .*samples of unknown shape"):
        fn.from_onnx(write(path, "s = Sub (x, mean) f = Flatten (s) y = MatMul (f, W)", "float[N, 1, K] x"))
    with pytest.raises(ValueError, match=r"operator Sub .*with \(3, 1, 1\) constants on \(1, 3\) samples"):
        fn.from_onnx(write(path, "s = Sub (x, each) f = Flatten (s) y = MatMul (f, W)", "float[3, 1, 3] x"))


@pytest.mark.parametrize(
    "end",
    [
        "y = Squeeze (z)",
        "y = Squeeze (z, second)",
        "y = Squeeze (z, last)",
        "y = Reshape (z, flat)",
        "y = Gather <axis = 1> (z, zeroth)",
        "s = Squeeze (z, last) t = Mul (s, two) y = Sigmoid (t)",
        "s = Sigmoid (z) y = Squeeze (s, second)",
    ],
)
def test_one_output_may_lose_its_axis(path, end):
    write(path, f"h = Gemm (x, W, b) r = Relu (h) z = MatMul (r, v1) {end}", outputs="float[N] y")
    X = 3 * np.random.default_rng(1).normal(size=(100, 3)).astype("float32")
    served = serve(path, X)
    assert served.shape == (100,)
    np.testing.assert_allclose(fn.from_onnx(path).predict(X)[:, 0], served, rtol=1e-5, atol=2e-6)


def test_the_scaler_of_scikit_learn(path):
    scaler = "ai.onnx.ml.Scaler <offset = [1.0, -2.0, 30.0], scale = [2.0, 0.5, 0.1]> (x)"
    net = assert_read(write(path, f"s = {scaler} y = Gemm (s, W, b)", imports=', "ai.onnx.ml" : 1'))
    np.testing.assert_allclose(net.input_mean, CONSTANTS["mean"])
    np.testing.assert_allclose(net.input_deviation, CONSTANTS["deviation"], rtol=1e-6)


def test_a_model_is_no_path(path):
    for model in (onnx.load(write(path, "y = Gemm (x, W)")), path.read_bytes()):
        with pytest.raises(TypeError, match=r"a str or path-like, not (ModelProto|bytes); onnx\.save"):
            fn.from_onnx(model)


def test_functions_are_inlined(path):
    text = """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        g (float[N, 3] x) => (float[N, 4] y) <float[3, 4] W> { z = MatMul (x, W) y = own.Swish (z) }
        <domain: "own", opset_import: ["" : 17]> Swish (z) => (a) { s = Sigmoid (z) a = Mul (z, s) }"""
    model = onnx.parser.parse_model(text)
    del model.graph.initializer[:]
    model.graph.initializer.append(onnx.numpy_helper.from_array(CONSTANTS["W"].astype("float32"), "W"))
    onnx.save(model, path)
    assert assert_read(path).layers[0].activation == "silu"


def test_initializers_that_are_inputs_too(path):
    """As files of IR version 3 have them."""
    write(path, "y = Gemm (x, W, b)", "float[N, 3] x, float[3, 4] W, float[4] b")
    assert_read(path)


def test_pytorch(path):
    torch = pytest.importorskip("torch", reason="exports from PyTorch, which is not installed")
    nn = torch.nn
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.SiLU(), nn.Dropout(0.2), nn.Linear(32, 16, bias=False), nn.GELU(),
        nn.Linear(16, 10), nn.Softmax(-1),
    ).eval()  # fmt: skip
    X, y = load_digits(return_X_y=True)
    images = (X / 16).astype("float32").reshape(-1, 1, 8, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter is deprecated, but the newer one takes eight seconds
        options = {"dynamo": False, "input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}}
        torch.onnx.export(module, (torch.tensor(images[:2]),), path, **options)
    net = fn.from_onnx(path)
    assert [layer.activation for layer in net.layers] == ["silu", "gelu", "softmax"]
    expected = module(torch.tensor(images)).detach().numpy()
    np.testing.assert_allclose(net.predict(X / 16), expected, rtol=1e-5, atol=1e-6)
    net.fit(X / 16, y, epochs=20, optimizer=fn.Adam(0.003))
    assert net.evaluate(X / 16, y)["accuracy"] > 0.95


REFUSED = {
    "i = Cast <to = 6> (x) f = Cast <to = 1> (i) y = MatMul (f, W)": "Cast .* before the first dense layer",
    "w = Bernoulli (W) y = MatMul (x, w)": "operator Bernoulli.*not supported",
    "w = Dropout (W, half, yes) y = MatMul (x, w)": "operator Dropout.*changes what it is given",
    "m = Mul (x, mask3) y = MatMul (m, W)": "operator Mul.*before the first dense layer",
    "z = Gemm (x, W) y = Squeeze (z)": "operator Squeeze.*changes what it is given",
    "z = Gemm (x, W) y = Gather <axis = 1> (z, zeroth)": "operator Gather.*changes what it is given",
    "z = MatMul (x, w1) s = Squeeze (z, second) y = Softmax (s)": "operator Softmax.*without its axis",
    "z = MatMul (x, w1) s = Reshape (z, flat) y = Add (s, b)": "operator Add.*without its axis",
    "z = MatMul (x, w1) s = Squeeze (z, second) y = Mul (s, z)": "operator Mul.*lost its axis meets one",
    "z = MatMul (x, w1) s = Squeeze (z, last) g = Sigmoid (z) y = Mul (g, s)": "Sigmoid.*lost its axis",
    "z = MatMul (x, w1) g = Sigmoid (z) s = Reshape (g, flat) y = Mul (s, z)": "operator Mul.*lost its axis",
    "z = MatMul (x, w1) s = Squeeze (z, last) y = Mul (s, half11)": "operator Mul.*without its axis",
    "z = Gemm (x, W) y = Reshape (z, deep_shape)": "operator Reshape.*changes what it is given",
    "s = ai.onnx.ml.Scaler <scale = [2.0]> (x) y = MatMul (s, W)": r"operator ai\.onnx\.ml\.Scaler",
    "z = MatMul (x, w1) y = Gather <axis = 0> (z, zeroth)": "operator Gather.*changes what it is given",
    "y = Cos (x)": r"operator Cos \(node 'y'\) is not supported",
    "z = Gemm (x, W) s = Softsign (z) y = Gemm (s, V)": "operator Softsign.*not supported",
    "z = Gemm (x, W) y = LeakyRelu <alpha = 0.2> (z)": r"LeakyRelu\(alpha=0\.2\) \(node 'y'\)",
    "z = Gemm (x, W) y = Elu <alpha = 2.0> (z)": r"Elu\(alpha=2\.0\)",
    "z = Gemm (x, W) y = Clip (z, zero, hundred)": "operator Clip",
    "z = Gemm (x, W) y = Clip (z, zero, ten_million)": "operator Clip",
    "z = Gemm (x, W) s = Mul (z, huge) y = Mul (s, huge)": "operator Mul .*weights that float32 cannot hold",
    "z = Gemm (x, W) y = Div (z, subnormal)": "operator Div .*weights that float32 cannot hold",
    "y = Gemm <alpha = 3e38> (x, W)": "operator Gemm.*not finite",
    "z = Gemm (x, W) q = Mul (z, quick) s = Sigmoid (q) y = Mul (z, s)": "operator Mul",
    "z = Gemm (x, W) s = Sigmoid (z) t = Tanh (s) y = Gemm (t, V)": "operator Tanh.*behind sigmoid",
    "z = Gemm (x, W) y = Softmax <axis = 0> (z)": "operator Softmax",
    "z = Gemm (x, W) s = Relu (z) y = Mul (s, two)": "operator Mul .*behind relu",
    "z = Gemm (x, W) s = Softmax (z) y = Gemm (s, V)": '"softmax" is for the output alone',
    "s = Relu (x) y = Gemm (s, W)": "operator Relu.*before the first dense layer",
    "s = Div (x, zero) y = Gemm (s, W)": "operator Div.*before the first dense layer",
    "z = Gemm (x, W) r = Relu (z) u = Gemm (r, V4) y = Add (u, r)": "operator Add.*joins branches",
    "z = Gemm (x, W) u = Gemm (x, W) y = Add (z, u)": "operator Gemm.*joins branches",
    "t = Transpose (x) y = MatMul (WT, t)": "operator Transpose",
    "z = Gemm (x, W) y = Transpose (z)": "operator Transpose",
    "z = Gemm (x, W) y = Reshape (z, flat)": "operator Reshape.*changes what it is given",
    "z = Gemm (x, W) y = Reshape (z, any3)": "operator Reshape.*changes what it is given",
    "z = Gemm (x, W) l = Shape <start = 1> (z) y = Reshape (z, l)": "operator Reshape.*changes",
    "z = Gemm (x, W) y = Reshape (z, turn)": "operator Reshape.*changes what it is given",
    "y = Flatten <axis = 0> (x)": "operator Flatten.*changes",
    "y = MatMul (WT, W)": "does not come of the input",
    "t = Transpose (x) y = Gemm (W, t)": "operator (Gemm|Transpose)",
    "z = Gemm (x, W) y = MatMul (x, z)": "operator MatMul",
    "r = RandomNormal <shape = [3, 4]> () w = Add (W, r) y = MatMul (x, w)": "operator RandomNormal",
    "y = Identity (x)": "no dense layer",
    "z = Gemm (x, W) s = Shape (z) f = Cast <to = 1> (s) y = Add (z, f)": "Add.*dimensions that are not",
    "z = Gemm (x, W) s = Shape (z) t = Gather (s, first) f = Cast <to = 1> (t) y = Max (z, f)": (
        "Max.*dimensions that are not"
    ),
    "z = Gemm (x, W) s = Shape (z) t = Gather (s, back) y = Reshape (z, t)": "Reshape.*changes",
}


@pytest.mark.parametrize("nodes", REFUSED)
def test_refusals(path, nodes):
    with pytest.raises(ValueError, match=rf"net\.onnx: .*{REFUSED[nodes]}"):
        fn.from_onnx(write(path, nodes, imports=', "ai.onnx.ml" : 1'))


def test_arithmetic_of_integers(path):
    """It wraps around and divides without a rest."""
    nodes = "d = Div (x, sevens) f = Cast <to = 1> (d) y = MatMul (f, W)"
    with pytest.raises(ValueError, match=r"operator Div .*before the first dense layer"):
        fn.from_onnx(write(path, nodes, "int64[N, 3] x"))


def test_more_refusals(path):
    with pytest.raises(ValueError, match=r"received the inputs \['x', 'u'\] and the outputs \['y'\]"):
        fn.from_onnx(write(path, "s = Add (x, u) y = Gemm (s, W)", "float[N, 3] x, float[N, 3] u"))
    with pytest.raises(ValueError, match=r"inputs \['x'\] and the outputs \['y', 'v'\]; .*extract_model"):
        fn.from_onnx(write(path, "y = Gemm (x, W) v = Relu (y)", outputs="float[N, 4] y, float[N, 4] v"))
    with pytest.raises(ValueError, match=r"Conv.*not supported"):
        fn.from_onnx(write(path, "q = Conv (x, x) y = Flatten (q)", "float[N, 1, 8, 8] x"))
    with pytest.raises(ValueError, match=r"MatMul.*a sample in each row"):
        fn.from_onnx(write(path, "y = MatMul (x, W)", "float[N, 5, 3] x", "float[N, 5, 4] y"))
    with pytest.raises(ValueError, match=r"operator other\.Thing.*not supported"):
        fn.from_onnx(write(path, "z = Gemm (x, W) y = other.Thing (z)", imports=', "other" : 1'))
    for nodes in (
        "z = Gemm (x, W) a = Add (z, deep) y = Softmax <axis = 1> (a)",
        "z = Gemm (x, W) a = Relu (z) y = Mul (a, deep)",
        "a = Sub (x, deep3) y = MatMul (a, W)",
    ):
        with pytest.raises(ValueError, match=r"operator (Add|Mul|Sub).*not supported"):
            fn.from_onnx(write(path, nodes, outputs="float[L, N, 4] y"))
    with pytest.raises(ValueError, match="operator Cos"):  # the first of the two
        fn.from_onnx(write(path, "z = Cos (x) y = other.Thing (z)", imports=', "other" : 1'))
    with pytest.raises(ValueError, match=r"Gemm.*not finite"):
        fn.from_onnx(write(path, "y = Gemm (x, nan)"))


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08" * 7])
def test_files_that_are_none(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"net\.onnx is not a valid ONNX file"):
        fn.from_onnx(path)


def test_truncated_files(path):
    fn.Network([3, 8, 2], seed=0).to_onnx(path)
    content = path.read_bytes()
    for size in range(0, len(content), 37):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"net\.onnx"):
            fn.from_onnx(path)


def test_a_file_that_is_not_there(path):
    with pytest.raises(FileNotFoundError):
        fn.from_onnx(path)


def test_the_loss_goes_with_the_output_unless_given(path):
    write(path, "z = Gemm (x, W) y = Softmax (z)")
    assert fn.from_onnx(path).loss == "cross_entropy"
    assert fn.from_onnx(path, loss="mse").loss == "mse"
