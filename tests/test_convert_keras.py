"""Networks from Keras' models where it is installed, and from doubles that describe themselves as its do."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

import fusednet as fn

from helpers import OUTPUTS, REFERENCE

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 4)).astype("float32")


class Layer:
    """What all layers of Keras have."""

    def __init__(self, *weights, trainable=True, **config):
        self.name, self.trainable = f"the_{type(self).__name__.lower()}", trainable
        self._weights = [np.asarray(w) for w in weights]
        self._config = config
        vars(self).update(config)

    __module__ = "keras.src.layers"
    __call__ = None  # which nobody calls here

    def get_config(self):
        return self._config

    def get_weights(self):
        return self._weights


def kind(name):
    return type(name, (Layer,), {"__module__": "keras.src.layers", "call": None})


InputLayer, Dense, Activation, Dropout, Flatten = map(
    kind, ("InputLayer", "Dense", "Activation", "Dropout", "Flatten")
)
ReLU, LeakyReLU, ELU, PReLU = map(kind, ("ReLU", "LeakyReLU", "ELU", "PReLU"))
BatchNormalization = kind("BatchNormalization")


class Softmax(kind("Softmax")):
    output = np.empty((0, 3))


class Normalization(kind("Normalization")):
    """Built for inputs of 4 features; its `mean` is broadcast to them, as Keras has it."""

    def __init__(self, *weights, mean, **config):
        super().__init__(*weights, mean=mean, **config)
        self.mean = np.zeros((1, 4))


class Sequential(kind("Sequential")):
    def __init__(self, *layers):
        super().__init__(layers=list(layers))


def dense(inputs, outputs, activation=REFERENCE["identity"], dtype="float32", bias=True, **options):
    kernel = RNG.normal(size=(inputs, outputs)).astype(dtype)
    bias = RNG.normal(size=outputs).astype(dtype) if bias else None
    return Dense(kernel=kernel, bias=bias, activation=activation, **options)


def doubled(z):
    return 2 * z


doubled.__name__ = "tanh"  # what Keras puts into a configuration, and no more


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OUTPUTS)
def test_values_and_activations(name, dtype):
    first = dense(4, 6, np.tanh, dtype, trainable=False)
    last = dense(6, 3, REFERENCE[name], dtype, bias=False)
    net = fn.from_keras(Sequential(InputLayer(), first, Dropout(rate=0.25), Sequential(last)))
    assert [layer.activation for layer in net.layers] == ["tanh", name]
    expected = REFERENCE[name](np.tanh(X @ first.kernel + first.bias) @ last.kernel)
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-5, atol=1e-6)
    assert net.dtype == dtype
    assert net.dropout == (0.25,)
    assert [layer.trainable for layer in net.layers] == [False, True]


@pytest.mark.parametrize(
    ("layer", "ours"),
    [
        (Activation(activation=REFERENCE["gelu"]), "gelu"),
        (ReLU(max_value=None, negative_slope=0.0, threshold=0.0), "relu"),
        (ReLU(max_value=None, negative_slope=0.01, threshold=0.0), "leaky_relu"),
        (LeakyReLU(negative_slope=0.01), "leaky_relu"),
        (ELU(alpha=1.0), "elu"),
        (Softmax(axis=-1), "softmax"),
    ],
)
def test_layers_of_activations(layer, ours):
    assert fn.from_keras(Sequential(Flatten(), dense(4, 3), layer)).layers[0].activation == ours


def test_subclasses_without_a_call_of_their_own():
    own = type("Own", (Dense,), {})(kernel=np.ones((4, 3)), bias=None, activation=REFERENCE["relu"])
    assert fn.from_keras(type("Model", (Sequential,), {})(own)).layers[0].activation == "relu"


def test_normalization_is_standardization():
    mean, variance = np.arange(4.0), np.array([4.0, 1.0, 0.25, 0.0])
    linear = dense(4, 3, dtype="float64")
    expected = (X - mean) / [2.0, 1.0, 0.5, 1e-7] @ linear.kernel + linear.bias
    for layer in (
        Normalization(mean, variance, 7, invert=False, mean=None, variance=None),
        Normalization(invert=False, mean=list(mean), variance=list(variance)),
    ):
        net = fn.from_keras(Sequential(layer, linear))
        np.testing.assert_allclose(net.predict(X), expected, rtol=1e-6)
    net = fn.from_keras(Sequential(Normalization(invert=False, mean=1.0, variance=4.0), linear))
    expected = (X.astype(np.float64) - 1.0) / 2.0 @ linear.kernel + linear.bias
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-6)


SHARED = dense(4, 4)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [dense(4, 3), BatchNormalization()],
            "layer 'the_batchnormalization', BatchNormalization.*not supported",
        ),
        ([dense(4, 3), PReLU()], "PReLU.*not supported"),
        ([dense(4, 3, doubled)], r"the activation <function doubled.*LeakyReLU\(0\.01\)"),
        ([dense(4, 3, lambda z: np.tanh(z).astype("float16"))], "activation <function <lambda>"),
        ([dense(4, 3, lambda z: z.unknown())], "activation <function <lambda>"),
        ([dense(4, 3, LeakyReLU(negative_slope=0.01))], "the activation <.*LeakyReLU object"),
        ([SHARED, Sequential(SHARED)], "layer 'the_dense', Dense occurs twice"),
        ([dense(4, 3), Activation(activation=doubled, call=None)], "Activation has a call of its own"),
        ([type("Dense", (Layer,), {"call": None})()], "layer 'the_dense', Dense has a call of its own"),
        ([type("Scaled", (Dense,), {"call": None})()], "Scaled has a call of its own"),
        ([type("Doubled", (Dense,), {"__call__": None})()], "Doubled has a call of its own"),
        ([dense(4, 3, quantization_mode="float8")], "Dense is quantized to float8"),
        ([dense(4, 3, compute_dtype="float16")], "Dense computes in float16"),
        ([dense(4, 3), Dropout(rate=0.5, noise_shape=(None, 1)), dense(3, 2)], "has a noise_shape"),
        ([type("Scaled", (Sequential,), {"call": None})()], "Scaled has a call of its own"),
        ([dense(4, 3), LeakyReLU(negative_slope=0.3)], r"LeakyReLU\(negative_slope=0\.3\) is not supported"),
        ([dense(4, 3), ReLU(max_value=6.0, negative_slope=0.0, threshold=0.0)], "max_value=6.0"),
        ([dense(4, 3), ReLU(max_value=0.0, negative_slope=0.0, threshold=0.0)], "max_value=0.0"),
        ([dense(4, 3), ELU(alpha=0.5)], "alpha=0.5"),
        ([dense(4, 3), Softmax(axis=0)], "axis=0"),
        ([dense(4, 3), Normalization(mean=[0.0] * 3, variance=[1.0] * 3)], "Normalization.*not supported"),
        ([Normalization(mean=None, variance=None), dense(4, 3)], "not adapted"),
        ([Normalization(mean=[0.0] * 3, variance=[1.0] * 3), dense(4, 3)], "not along the last axis"),
        ([Normalization(mean=0.0, variance=1.0, axis=None), dense(4, 3)], "not along the last axis"),
        ([Normalization(mean=0.0, variance=1.0), Flatten(), dense(12, 3)], "Dense takes 12 inputs.* has 4"),
        ([Normalization(mean=[0.0] * 4, variance=[1.0] * 4, invert=True), dense(4, 3)], "invert=True"),
        ([Dense(activation=REFERENCE["relu"])], "no weights yet"),
        ([dense(4, 3, dtype="float16")], "expected float32 or float64, received float16"),
        ([dense(4, 3), dense(4, 3)], "takes 4 inputs, but what comes before it has 3 outputs"),
        ([Dropout(rate=0.1), dense(4, 3)], "drops inputs"),
        ([], "no dense layer"),
    ],
)
def test_refusals(layers, message):
    with pytest.raises(ValueError, match=message):
        fn.from_keras(Sequential(*layers))


@pytest.mark.parametrize(
    "model",
    [
        3,
        kind("Functional")(),
        type("Sequential", (Layer,), {"call": None})(),
        type("Doubled", (Sequential,), {"call": None})(),
    ],
)
def test_other_models(model):
    with pytest.raises(TypeError, match=rf"keras\.Sequential.*not {type(model).__name__}"):
        fn.from_keras(model)


@pytest.fixture
def keras(monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("keras", reason="reads Keras' own models, which is not installed")


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "activation",
    ["linear", "sigmoid", "tanh", "relu", "elu", "gelu", "silu", "softplus", "exponential", "softmax"],
)
def test_keras(keras, activation):
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(6, "tanh"), layers.Dropout(0.1), layers.Dense(3, activation)]
    )
    net = fn.from_keras(model)
    np.testing.assert_allclose(net.predict(X), model.predict(X, verbose=0), rtol=2e-5, atol=1e-6)


@pytest.mark.filterwarnings("default")
def test_an_axis_is_the_last_or_not(keras):
    layers = keras.layers

    def read(shape):
        parts = [keras.Input(shape), layers.Normalization(mean=1.0, variance=4.0), layers.Dense(3)]
        model = keras.Sequential([*parts, layers.Softmax(axis=1)])
        return fn.from_keras(model), model

    net, model = read((4,))
    np.testing.assert_allclose(net.predict(X), model.predict(X, verbose=0), rtol=2e-5, atol=1e-6)
    with pytest.raises(ValueError, match=r"along the last of 3 axes.*Flatten"):
        read((5, 4))


@pytest.mark.filterwarnings("default")
def test_one_mean_of_all_features(keras):
    layers = keras.layers
    scaling = layers.Normalization(axis=None)
    scaling.adapt(5 * X + 3)
    model = keras.Sequential([keras.Input((2, 2)), layers.Flatten(), scaling, layers.Dense(3)])
    expected = model.predict(X.reshape(-1, 2, 2), verbose=0)
    np.testing.assert_allclose(fn.from_keras(model).predict(X), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.filterwarnings("default")
def test_what_keras_names_alike(keras):
    layers, ops = keras.layers, keras.ops

    def read(*parts):
        return fn.from_keras(keras.Sequential([keras.Input((4,)), *parts]))

    class Doubled(layers.Dense):
        def call(self, inputs):
            return 2 * super().call(inputs)

    assert read(layers.Dense(3, "swish")).layers[0].activation == "silu"
    assert read(layers.Dense(3, ops.tanh)).layers[0].activation == "tanh"
    for part in (
        layers.Dense(3, doubled), layers.Dense(3, ops.gelu), layers.Dense(3, "leaky_relu"), Doubled(3),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"layer '.*has (the activation <function|a call of its own)"):
            read(part)
    with pytest.raises(ValueError, match=r"max_value=0\.0"):
        read(layers.Dense(3), layers.ReLU(max_value=0.0))


@pytest.mark.filterwarnings("default")
def test_lora(keras):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.layers[0].enable_lora(2)
    model.layers[0].lora_kernel_b.assign(RNG.normal(size=(2, 3)))
    net = fn.from_keras(model)
    np.testing.assert_allclose(net.predict(X), model.predict(X, verbose=0), rtol=2e-5, atol=1e-6)


@pytest.mark.filterwarnings("default")
def test_training_goes_on_as_in_keras(keras):
    keras.utils.set_random_seed(0)  # Keras clips probabilities, which shows where a network is sure and wrong
    digits, labels = load_digits(return_X_y=True)
    digits = digits.astype("float32")
    layers = keras.layers
    scaling = layers.Normalization()
    scaling.adapt(digits)
    model = keras.Sequential(
        [
            keras.Input((64,)),
            scaling,
            layers.Dense(32),
            layers.LeakyReLU(negative_slope=0.01),
            layers.Dense(10, "softmax"),
        ]
    )
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    net = fn.from_keras(model)
    np.testing.assert_allclose(net.predict(digits), model.predict(digits, verbose=0), rtol=1e-4, atol=1e-5)
    optimizer = fn.SGD(0.1)
    for _ in range(5):
        loss = model.train_on_batch(digits[:200], labels[:200])
        assert net.train_step(digits[:200], labels[:200], optimizer) == pytest.approx(float(loss), rel=1e-4)
    for theirs, ours in zip(
        [w for layer in model.layers[1:] for w in layer.get_weights()],
        [w for layer in net.layers for w in (layer.weights, layer.bias)],
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
