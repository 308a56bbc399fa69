"""What a network's predictions are worth: `evaluate`, and the classes that they stand for."""

import numpy as np
import pytest

import fusednet as fn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3))
Y = np.stack([X.sum(axis=1), X[:, 0] ** 2], axis=1)
LABELS = RNG.integers(0, 4, size=30)


def classifier():
    return fn.Network([3, 8, 4], output="softmax", loss="cross_entropy", seed=0)


# Classes


def test_predict_classes():
    net = classifier()
    np.testing.assert_array_equal(net.predict_classes(X), net.predict(X).argmax(axis=1))
    assert net.predict_classes(X[0]) == net.predict(X[0]).argmax()
    binary = fn.Network([3, 1], output="sigmoid", loss="binary_cross_entropy", seed=0)
    np.testing.assert_array_equal(binary.predict_classes(X), binary.predict(X)[:, 0] > 0.5)
    assert binary.predict_classes(X).dtype.kind == "i"
    assert binary.predict_classes(X[0]) in (0, 1)
    several = fn.Network([3, 2], output="sigmoid", loss="binary_cross_entropy", seed=0)
    np.testing.assert_array_equal(several.predict_classes(X), several.predict(X) > 0.5)
    with pytest.raises(ValueError, match='not output="identity"'):
        fn.Network([3, 1]).predict_classes(X)


@pytest.mark.parametrize("rows", [1, 17, 3000])
@pytest.mark.parametrize("outputs", [1, 3, 16, 100])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predict_classes_of_any_size(rows, outputs, dtype):
    inputs = np.random.default_rng(rows).normal(size=(rows, 5))
    for output, loss in (("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy")):
        net = fn.Network([5, 8, outputs], output=output, loss=loss, dtype=dtype, seed=1)
        z = net.predict(inputs, logits=True)
        expected = z.argmax(axis=1) if output == "softmax" else (z[:, 0] if outputs == 1 else z) > 0
        found = net.predict_classes(inputs)
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(net.predict_classes(inputs[0]), expected[0])


def test_predict_classes_tells_apart_what_probabilities_round_to_the_same():
    net = classifier()
    net.parameters = np.zeros_like(net.parameters)
    assert net.predict_classes(X[0]) == 0  # the first of those that are equal
    net.layers[-1].bias = np.array([0, 1e-9, 2e-9, -1], "float32")
    np.testing.assert_array_equal(net.predict(X[0])[0], net.predict(X[0])[2])
    assert net.predict_classes(X[0]) == 2


# Scores


def test_evaluate_classes():
    metrics = pytest.importorskip("sklearn.metrics", reason="compares with scikit-learn")
    net, weights = classifier(), RNG.uniform(size=30)
    p = net.predict(X)
    for y in (LABELS, np.eye(4)[LABELS]):
        result = net.evaluate(X, y)
        assert list(result) == ["loss", "accuracy"]
        assert result["loss"] == pytest.approx(metrics.log_loss(LABELS, p, labels=range(4)), rel=1e-5)
        assert result["accuracy"] == metrics.accuracy_score(LABELS, p.argmax(axis=1))
    result = net.evaluate(X, LABELS, weights)
    expected = metrics.accuracy_score(LABELS, p.argmax(axis=1), sample_weight=weights)
    assert result["accuracy"] == pytest.approx(expected)
    expected = metrics.log_loss(LABELS, p, labels=range(4), sample_weight=weights)
    assert result["loss"] == pytest.approx(expected, rel=1e-5)


def test_evaluate_binary():
    net = fn.Network([3, 1], output="sigmoid", loss="binary_cross_entropy", seed=0)
    y = LABELS % 2
    expected = ((net.predict(X)[:, 0] > 0.5) == y).mean()
    for target in (y, y[:, None], y.astype(bool), y.astype(float)):
        assert net.evaluate(X, target)["accuracy"] == pytest.approx(expected)


def test_evaluate_regression():
    metrics = pytest.importorskip("sklearn.metrics", reason="compares with scikit-learn")
    net, weights = fn.Network([3, 2], dtype="float64", seed=0), RNG.uniform(size=30)
    p = net.predict(X)
    assert net.evaluate(X, Y)["r2"] == pytest.approx(metrics.r2_score(Y, p))
    assert net.evaluate(X, Y, weights)["r2"] == pytest.approx(metrics.r2_score(Y, p, sample_weight=weights))
    assert net.evaluate(X, Y)["loss"] == pytest.approx(metrics.mean_squared_error(Y, p))
    half_constant = np.column_stack([Y[:, 0], np.ones(30)])
    assert net.evaluate(X, half_constant)["r2"] == pytest.approx(metrics.r2_score(half_constant, p))
    net.parameters = np.zeros(8)
    assert net.evaluate(X, np.zeros((30, 2)))["r2"] == 1.0
    assert net.evaluate(X, np.ones((30, 2)))["r2"] == 0.0
    assert np.isnan(net.evaluate(X[:1], Y[:1])["r2"])


@pytest.mark.parametrize("outputs", [1, 2, 7, 20])
@pytest.mark.parametrize("rows", [2, 300, 5000])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_r2_of_any_size(rows, outputs, dtype):
    metrics = pytest.importorskip("sklearn.metrics", reason="compares with scikit-learn")
    rng = np.random.default_rng(rows)
    inputs, weights = rng.normal(size=(rows, 3)), rng.uniform(size=rows)
    y = (rng.normal(size=(rows, 2 * outputs)) * 50 + 1000).astype(dtype)[:, ::2]  # far from zero, with gaps
    net = fn.Network([3, 8, outputs], dtype="float64", seed=0)
    p = net.predict(inputs)
    for w in (None, weights):
        expected = metrics.r2_score(y, p, sample_weight=w)
        assert net.evaluate(inputs, y, w)["r2"] == pytest.approx(expected, rel=1e-10)


def test_r2_of_constants_that_binary_numbers_are_not():
    net = fn.Network([3, 1], dtype="float64", seed=0)
    assert net.evaluate(np.ones((1001, 3)), np.full(1001, 0.1))["r2"] == 0.0
    net.parameters = np.array([0, 0, 0, 0.1])
    assert net.evaluate(np.ones((1001, 3)), np.full(1001, 0.1))["r2"] == 1.0


def test_r2_of_predictions_that_are_not_numbers_is_none():
    net = fn.Network([2, 1], seed=0)
    net.parameters[:] = np.nan
    for y in (np.zeros(5), np.arange(5.0)):
        assert np.isnan(net.evaluate(np.ones((5, 2)), y)["r2"])


def test_r2_goes_by_rows_with_a_weight():
    metrics = pytest.importorskip("sklearn.metrics", reason="compares with scikit-learn")
    net = fn.Network([3, 1], dtype="float64", seed=0)
    y, weights = X.sum(axis=1), np.ones(30)
    y[0], weights[0] = -3e38, 0.0
    expected = metrics.r2_score(y[1:], net.predict(X[1:]))
    assert net.evaluate(X, y, weights)["r2"] == pytest.approx(expected, rel=1e-12)
    assert net.evaluate(np.ones((3, 3)), np.array([5.0, 0.1, 0.1]), np.array([0.0, 1.0, 1.0]))["r2"] == 0.0


@pytest.mark.parametrize("loss", ["mse", "poisson", "binary_cross_entropy"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_the_loss_of_targets_wherever_they_lie(loss, outputs):
    rng = np.random.default_rng(0)
    rows = 4096  # whose tiles are read where they lie
    inputs = rng.normal(size=(rows, 3))
    output = {"mse": "identity", "poisson": "exp", "binary_cross_entropy": "sigmoid"}[loss]
    net = fn.Network([3, 4, outputs], output=output, loss=loss, seed=0)
    y = rng.integers(2, size=(rows, outputs)).astype("float32")
    gaps = np.zeros((rows, outputs + 2), "float32")
    gaps[:, :outputs] = y
    expected = net.evaluate(inputs, y.astype("float64"))
    for targets in (gaps[:, :outputs], np.asfortranarray(y), y[::-1].copy()[::-1], y, y.astype(int)):
        assert net.evaluate(inputs, targets) == expected
    y[-1, 0] = np.nan
    with pytest.raises(ValueError, match=f"row {rows - 1}, column 0"):
        net.evaluate(inputs, y)


def test_the_l2_term_is_in_the_loss():
    net = fn.Network([3, 4, 2], dtype="float64", seed=0)
    plain = net.evaluate(X, Y)["loss"]
    penalty = sum((layer.weights**2).sum() for layer in net.layers) / 2
    net.l2 = 0.3
    assert net.l2 == 0.3
    assert net.evaluate(X, Y)["loss"] == pytest.approx(plain + 0.3 * penalty)
    assert net.loss_and_gradient(X, Y)[0] == pytest.approx(plain + 0.3 * penalty)
    with pytest.raises(ValueError, match="l2"):
        net.l2 = -0.1


@pytest.mark.parametrize(
    ("y", "error", "words"),
    [
        (LABELS.astype(float), TypeError, "integer"),
        (LABELS + 1, ValueError, "0 to 3"),
        (LABELS - 1, ValueError, "0 to 3"),
        (LABELS[:-1], ValueError, "30 rows"),
        (np.eye(5)[LABELS], ValueError, "\\(n, 4\\)"),
        (np.eye(4)[LABELS] * 2, ValueError, "from 0 to 1"),
    ],
)
def test_wrong_class_targets(y, error, words):
    net = classifier()
    for call in (
        net.fit,
        net.evaluate,
        net.loss_and_gradient,
        lambda X, y: net.train_step(X, y, fn.SGD(0.1)),
    ):
        with pytest.raises(error, match=words):
            call(X, y)
