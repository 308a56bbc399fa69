"""Networks from and to scikit-learn's perceptrons: the same outputs, training that goes on, and refusals."""

import types

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, StandardScaler

import fusednet as fn
from fusednet.sklearn import MLPEnsembleClassifier

from helpers import random_biases

DIGITS, CLASSES = load_digits(return_X_y=True)
DIGITS = DIGITS / 16
DIABETES, PROGRESSION = load_diabetes(return_X_y=True, scaled=False)
MANY = np.column_stack([CLASSES % 2, CLASSES > 4, CLASSES % 3 == 0]).astype(int)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
assert issubclass(ConvergenceWarning, UserWarning)


def classifier(y=CLASSES, dtype="float64", hidden=(20,), **options):
    return MLPClassifier(hidden, max_iter=3, random_state=0, **options).fit(DIGITS.astype(dtype), y)


def regressor(y=PROGRESSION, hidden=(20,), **options):
    X = StandardScaler().fit_transform(DIABETES)
    return MLPRegressor(hidden_layer_sizes=hidden, max_iter=3, random_state=0, **options).fit(X, y), X


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
def test_classifiers_come_in(activation, dtype):
    estimator = classifier(dtype=dtype, activation=activation, hidden=(20, 10))
    net = fn.from_sklearn(estimator)
    X = DIGITS.astype(dtype)
    rtol = 1e-5 if dtype == "float32" else 1e-12
    assert net.dtype == dtype
    assert net.loss == "cross_entropy"
    np.testing.assert_allclose(net.predict(X), estimator.predict_proba(X), rtol=rtol, atol=rtol)
    np.testing.assert_array_equal(estimator.classes_[net.predict_classes(X)], estimator.predict(X))


def test_two_classes_are_one_sigmoid():
    labels = np.where(CLASSES > 4, "high", "low")
    estimator = classifier(labels)
    net = fn.from_sklearn(estimator)
    assert net.loss == "binary_cross_entropy"
    np.testing.assert_allclose(net.predict(DIGITS)[:, 0], estimator.predict_proba(DIGITS)[:, 1], rtol=1e-12)
    np.testing.assert_array_equal(estimator.classes_[net.predict_classes(DIGITS)], estimator.predict(DIGITS))


def test_several_labels_are_a_sigmoid_each():
    estimator = classifier(MANY)
    net = fn.from_sklearn(estimator)
    np.testing.assert_allclose(net.predict(DIGITS), estimator.predict_proba(DIGITS), rtol=1e-12)
    np.testing.assert_array_equal(net.predict_classes(DIGITS), estimator.predict(DIGITS))


@pytest.mark.parametrize(
    ("options", "output", "loss"),
    [({}, "identity", "half_mse"), ({"loss": "poisson", "learning_rate_init": 1e-4}, "exp", "poisson")],
)
@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize("hidden", [(20,), ()])
def test_regressors_come_in(options, output, loss, targets, hidden):
    y = np.column_stack([PROGRESSION, PROGRESSION[::-1]]) / 100 if targets == 2 else PROGRESSION / 100
    estimator, X = regressor(y, hidden, **options)
    net = fn.from_sklearn(estimator)
    assert (net.layers[-1].activation, net.loss) == (output, loss)
    expected = estimator.predict(X).reshape(len(X), targets)
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    "scaler", [StandardScaler(), StandardScaler(with_mean=False), StandardScaler(with_std=False)]
)
def test_a_scaler_before_the_estimator_comes_in_too(scaler):
    pipeline = make_pipeline(
        "passthrough", clone(scaler), MLPRegressor(hidden_layer_sizes=(8,), max_iter=3, random_state=0)
    ).fit(DIABETES, PROGRESSION)
    net = fn.from_sklearn(pipeline)
    np.testing.assert_allclose(net.predict(DIABETES)[:, 0], pipeline.predict(DIABETES), rtol=1e-11)


def test_two_scalers():
    pipeline = make_pipeline(
        StandardScaler(with_std=False), StandardScaler(), MLPRegressor(hidden_layer_sizes=(8,), max_iter=3)
    ).fit(DIABETES, PROGRESSION)
    net = fn.from_sklearn(pipeline)
    np.testing.assert_allclose(net.predict(DIABETES)[:, 0], pipeline.predict(DIABETES), rtol=1e-11)


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_training_goes_on_the_same(kind, there):
    """Steps of plain SGD, in step with scikit-learn's partial_fit, whichever was made of the other."""
    options = {"solver": "sgd", "momentum": 0.0, "alpha": 0.0, "learning_rate_init": 0.05, "shuffle": False}
    if kind == "classifier":
        X, y = DIGITS[:100], CLASSES[:100]
        net = fn.Network(
            [64, 20, 10], "tanh", output="softmax", loss="cross_entropy", dtype="float64", seed=0
        )
    else:
        X, y = StandardScaler().fit_transform(DIABETES)[:100], PROGRESSION[:100] / 100
        net = fn.Network([10, 20, 1], "tanh", loss="half_mse", dtype="float64", seed=0)
    if there:
        make = MLPClassifier if kind == "classifier" else MLPRegressor
        estimator = make(hidden_layer_sizes=(20,), activation="tanh", random_state=0, **options)
        estimator.partial_fit(X, y, **({"classes": np.arange(10)} if kind == "classifier" else {}))
        net = fn.from_sklearn(estimator)
    else:
        estimator = net.to_sklearn().set_params(**options)
    optimizer = fn.SGD(0.05)
    for _ in range(10):
        loss = net.train_step(X, y, optimizer)
        estimator.partial_fit(X, y)
        assert estimator.loss_curve_[-1] == pytest.approx(loss, rel=1e-10)
    for layer, weights, bias in zip(net.layers, estimator.coefs_, estimator.intercepts_, strict=True):
        np.testing.assert_allclose(layer.weights, weights, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(layer.bias, bias, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("standardized", [False, True])
@pytest.mark.parametrize(
    ("output", "width"),
    [
        ("identity", 1),
        ("identity", 3),
        ("exp", 2),
        ("sigmoid", 1),
        ("sigmoid", 3),
        ("softmax", 2),
        ("softmax", 5),
    ],
)
@pytest.mark.parametrize("hidden", ["identity", "sigmoid", "tanh", "relu"])
def test_out(hidden, output, width, standardized, dtype):
    net = fn.Network([10, 9, 7, width], hidden, output=output, dtype=dtype, seed=0)
    random_biases(net, np.random.default_rng(0))
    X = StandardScaler().fit_transform(DIABETES).astype(dtype)
    if standardized:
        X = DIABETES.astype(dtype)
        net.standardize(DIABETES)
    estimator = net.to_sklearn()
    assert estimator.coefs_[0].dtype == dtype
    expected = net.predict(X)
    rtol = 1e-4 if dtype == "float32" else 1e-11
    if output in ("identity", "exp"):
        np.testing.assert_allclose(
            estimator.predict(X).reshape(expected.shape), expected, rtol=rtol, atol=rtol
        )
        return
    probabilities = estimator.predict_proba(X)
    if (output, width) == ("sigmoid", 1):
        expected = np.hstack([1 - expected, expected])
    np.testing.assert_allclose(probabilities, expected, rtol=rtol, atol=rtol)
    np.testing.assert_array_equal(estimator.classes_, np.arange(max(width, 2)))
    if not standardized:
        again = fn.from_sklearn(estimator)
        np.testing.assert_allclose(again.predict(X)[:, -1], expected[:, -1], rtol=rtol, atol=rtol)


@pytest.mark.parametrize(("output", "width"), [("softmax", 3), ("softmax", 2), ("sigmoid", 1)])
def test_labels(output, width):
    names = np.array(["ant", "bee", "cow"][: max(width, 2)])
    net = fn.Network([64, 9, width], output=output, seed=0)
    estimator = net.to_sklearn(classes=names)
    np.testing.assert_array_equal(estimator.classes_, names)
    np.testing.assert_array_equal(estimator.predict(DIGITS), names[net.predict_classes(DIGITS)])
    assert estimator.fit(DIGITS, names[CLASSES % len(names)]).score(DIGITS, names[CLASSES % len(names)]) > 0.9


def test_training_goes_on_with_a_warm_start():
    net = fn.Network([64, 20, 10], output="softmax", loss="cross_entropy", seed=0)
    net.fit(DIGITS, CLASSES, epochs=20, optimizer=fn.Adam(0.003))
    before = net.evaluate(DIGITS, CLASSES)["loss"]
    estimator = net.to_sklearn().set_params(warm_start=True, max_iter=2)
    estimator.fit(DIGITS.astype("float32"), CLASSES)
    assert len(estimator.loss_curve_) == 2
    assert estimator.loss_ < before * 1.1


def test_estimators_that_only_look_alike():
    """As those of fusednet.sklearn: one activation a layer, losses of fusednet's, dropout."""
    rng = np.random.default_rng(0)
    estimator = types.SimpleNamespace(
        hidden_layer_sizes=(4, 5),
        activation=["logistic", "gelu"],
        loss=fn.losses.Huber(0.5),
        dropout=0.25,
        coefs_=[rng.normal(size=shape) for shape in ((3, 4), (4, 5), (5, 2))],
        intercepts_=[rng.normal(size=width) for width in (4, 5, 2)],
        out_activation_="identity",
    )
    net = fn.from_sklearn(estimator)
    assert [layer.activation for layer in net.layers] == ["sigmoid", "gelu", "identity"]
    assert net.loss == fn.losses.Huber(0.5)
    assert net.dropout == (0.25, 0.25)

    X = rng.normal(size=(20, 3))
    estimator.input_scaling_ = types.SimpleNamespace(mean=np.arange(3.0), scale=np.array([1.0, 2.0, 0.5]))
    estimator.target_scaling_ = types.SimpleNamespace(mean=np.array([5.0, -7.0]), scale=np.array([3.0, 0.1]))
    expected = net.predict((X - np.arange(3)) / [1, 2, 0.5]) * [3.0, 0.1] + [5.0, -7.0]
    np.testing.assert_allclose(fn.from_sklearn(estimator).predict(X), expected, rtol=1e-12)
    estimator.out_activation_ = "exp"
    with pytest.raises(ValueError, match="need the output identity, not exp"):
        fn.from_sklearn(estimator)


def test_the_global_random_numbers_are_left_alone():
    state = np.random.get_state()[1].copy()  # noqa: NPY002  # what scikit-learn uses
    fn.Network([3, 4, 1]).to_sklearn()
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_scaling_that_float32_cannot_hold():
    net = fn.Network([10, 3])
    net.standardize(DIABETES * 1e-42)
    with pytest.raises(ValueError, match=r"scaling of the inputs.*weights that float32 cannot hold"):
        net.to_sklearn()
    estimator = regressor()[0]
    estimator.coefs_ = [weights.astype("float32") for weights in estimator.coefs_]
    estimator.intercepts_ = [bias.astype("float32") for bias in estimator.intercepts_]
    estimator.target_scaling_ = types.SimpleNamespace(mean=np.zeros(1), scale=np.array([1e40]))
    with pytest.raises(ValueError, match=r"scaling of the targets makes weights that float32 cannot hold"):
        fn.from_sklearn(estimator)


def pipeline(*steps):
    return make_pipeline(*steps, MLPRegressor(hidden_layer_sizes=(3,), max_iter=1)).fit(
        DIABETES[:50], PROGRESSION[:50]
    )


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: MLPClassifier(), ValueError, "MLPClassifier is not fitted"),
        (lambda: make_pipeline(StandardScaler(), MLPClassifier()), ValueError, "not fitted"),
        (lambda: RandomForestClassifier(), TypeError, "not RandomForestClassifier"),
        (lambda: None, TypeError, "not NoneType"),
        (
            lambda: MLPEnsembleClassifier(2, (3,), max_iter=1).fit(DIGITS, CLASSES),
            TypeError,
            "not MLPEnsembleClassifier",
        ),
        (lambda: pipeline(MinMaxScaler()), ValueError, "'minmaxscaler', MinMaxScaler, is not supported"),
        (
            lambda: pipeline(StandardScaler(), PolynomialFeatures()),
            ValueError,
            "'polynomialfeatures', PolynomialFeatures, is not supported",
        ),
    ],
)
def test_what_does_not_come_in(make, error, message):
    with pytest.raises(error, match=message):
        fn.from_sklearn(make())


@pytest.mark.parametrize(
    ("net", "classes", "message"),
    [
        (fn.Network([3, 4, 1], "gelu"), None, "one activation.*has gelu"),
        (fn.Network([3, 4, 4, 1], ["tanh", "relu"]), None, "one activation.*has relu, tanh"),
        (fn.Network([3, 1], output="softplus"), None, "not softplus of 1"),
        (fn.Network([3, 1], output="softmax"), None, "not softmax of 1"),
        (fn.Network([3, 1]), [0, 1], "classes are for"),
        (fn.Network([3, 2], output="sigmoid"), [0, 1], "classes are for"),
        (fn.Network([3, 3], output="softmax"), [0, 1], "3 different labels"),
        (fn.Network([3, 3], output="softmax"), [0, 2, 1], "ascending"),
        (fn.Network([3, 1], output="sigmoid"), [1, 1], "2 different labels"),
    ],
)
def test_what_does_not_go_out(net, classes, message):
    with pytest.raises(ValueError, match=message):
        net.to_sklearn(classes)
