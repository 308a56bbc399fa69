"""`fusednet.sklearn` goes through the same losses and weights as the scikit-learn that is installed."""

import warnings

import numpy as np
import pytest
from sklearn import neural_network as theirs
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

from fusednet import sklearn as ours

ACTIVATIONS = ["identity", "logistic", "tanh", "relu"]

RNG = np.random.RandomState(0)
X = RNG.randn(120, 6)
WEIGHTS = RNG.rand(120) * 3
WEIGHTS[:7] = 0
TARGETS = {
    "binary": ("MLPClassifier", np.where(X[:, 0] + RNG.randn(120) > 0, 7, -3)),
    "multiclass": ("MLPClassifier", RNG.randint(0, 3, 120) * 2 + 1),
    "multilabel": ("MLPClassifier", (RNG.rand(120, 4) > 0.5).astype(int)),
    "regression": ("MLPRegressor", X[:, 1] + RNG.randn(120)),
    "multi-output": ("MLPRegressor", RNG.randn(120, 3)),
}


def pair(name, **parameters):
    parameters = {"random_state": 3, "max_iter": 30, "hidden_layer_sizes": (7, 5), **parameters}
    return getattr(theirs, name)(**parameters), getattr(ours, name)(**parameters)


def quietly(function, *arguments, **keywords):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        return function(*arguments, **keywords)


def assert_same(a, b, rtol=1e-7, atol=1e-6):
    assert a.n_iter_ == b.n_iter_
    assert a.t_ == b.t_
    np.testing.assert_allclose(b.loss_curve_, a.loss_curve_, rtol=rtol)
    np.testing.assert_allclose(b.loss_, a.loss_, rtol=rtol)
    for one, other in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(other, one, rtol=0, atol=atol)
    assert a._no_improvement_count == b._no_improvement_count
    assert a.out_activation_ == b.out_activation_
    assert (a.n_layers_, a.n_outputs_, a.n_features_in_) == (b.n_layers_, b.n_outputs_, b.n_features_in_)
    if a.early_stopping:
        assert a.best_loss_ is None
        assert b.best_loss_ is None
        np.testing.assert_allclose(b.validation_scores_, a.validation_scores_, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(b.best_validation_score_, a.best_validation_score_, rtol=1e-7)
    else:
        assert b.validation_scores_ is None
        assert b.best_validation_score_ is None
        np.testing.assert_allclose(b.best_loss_, a.best_loss_, rtol=rtol)


def fit_both(target, sample_weight=None, **parameters):
    name, y = TARGETS[target]
    a, b = pair(name, **parameters)
    return [quietly(model.fit, X, y, sample_weight=sample_weight) for model in (a, b)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_every_solver_and_activation(target, activation, solver):
    common = {"activation": activation, "solver": solver, "learning_rate_init": 0.01}
    assert_same(*fit_both(target, alpha=0.1, **common))
    assert_same(*fit_both(target, WEIGHTS, batch_size=32, **common))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("early_stopping", [False, True], ids=["", "early_stopping"])
def test_warm_start(target, solver, weights, early_stopping):
    common = {"solver": solver, "learning_rate_init": 0.02, "warm_start": True, "batch_size": 50}
    a, b = fit_both(target, weights, early_stopping=early_stopping, validation_fraction=0.3, **common)
    assert_same(a, b)
    for model in (a, b):
        quietly(model.fit, X, TARGETS[target][1], sample_weight=weights)
    assert_same(a, b)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("target", TARGETS)
def test_lbfgs(target, activation):
    for weights in (None, WEIGHTS):
        a, b = fit_both(target, weights, solver="lbfgs", activation=activation, alpha=0.1, max_iter=40)
        assert b.loss_ == pytest.approx(a.loss_, rel=1e-2)
        assert not hasattr(b, "loss_curve_")


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("outputs", [1, 3])
def test_poisson(solver, outputs):
    y = RNG.poisson(2.0, size=(120, outputs))
    y = y[:, 0] if outputs == 1 else y
    a, b = pair("MLPRegressor", loss="poisson", solver=solver, learning_rate_init=0.01)
    quietly(a.fit, X, y, sample_weight=WEIGHTS)
    quietly(b.fit, X, y, sample_weight=WEIGHTS)
    if solver == "lbfgs":
        assert b.loss_ == pytest.approx(a.loss_, rel=1e-2)
    else:
        assert_same(a, b)
        np.testing.assert_allclose(b.predict(X), a.predict(X), rtol=1e-6)


@pytest.mark.parametrize(
    "parameters",
    [
        {"learning_rate": "invscaling", "power_t": 0.3},
        {"learning_rate": "adaptive", "tol": 0.02, "n_iter_no_change": 2},
        {"nesterovs_momentum": False},
        {"nesterovs_momentum": False, "learning_rate": "invscaling"},
        {"momentum": 0},
        {"momentum": 1.0, "max_iter": 5},
        {"shuffle": False},
        {"batch_size": 1, "max_iter": 3},
        {"alpha": 0},
        {"tol": 0.05, "n_iter_no_change": 3},
        {"n_iter_no_change": np.inf, "tol": 10.0},
        {"hidden_layer_sizes": 4},
        {"hidden_layer_sizes": ()},
    ],
    ids=str,
)
def test_settings(parameters):
    parameters = {"solver": "sgd", "learning_rate_init": 0.05, **parameters}
    for target in ("multiclass", "regression"):
        a, b = fit_both(target, WEIGHTS + 0.1, **parameters)
        assert_same(a, b)
        assert b._optimizer.learning_rate == pytest.approx(a._optimizer.learning_rate, rel=1e-12)
        for one, other in zip(a._optimizer.velocities, b._optimizer.velocities, strict=False):
            np.testing.assert_allclose(other, one, atol=1e-6)


def test_adams_state_reads_as_theirs():
    a, b = fit_both("multiclass", beta_1=0.8, beta_2=0.99, epsilon=1e-3, learning_rate_init=0.01)
    assert_same(a, b)
    assert a._optimizer.t == b._optimizer.t
    assert b._optimizer.learning_rate == pytest.approx(a._optimizer.learning_rate, rel=1e-12)
    for name in ("ms", "vs"):
        parts = zip(getattr(a._optimizer, name), getattr(b._optimizer, name), strict=True)
        for one, other in parts:
            np.testing.assert_allclose(other, one, atol=1e-9)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("target", TARGETS)
def test_partial_fit(target, solver):
    name, y = TARGETS[target]
    a, b = pair(name, solver=solver, learning_rate_init=0.01, batch_size=25)
    a._random_state = b._random_state = None
    classes = {} if name == "MLPRegressor" else {"classes": np.unique(y) if y.ndim == 1 else np.arange(4)}
    for start in (0, 40, 80, 0):
        rows = slice(start, start + 40)
        for model in (a, b):
            model.partial_fit(X[rows], y[rows], WEIGHTS[rows] + 0.1, **classes)
    assert_same(a, b)


def test_partial_fit_after_fit_goes_on_with_the_optimizer():
    a, b = fit_both("multiclass", learning_rate_init=0.01)
    for model in (a, b):
        model.partial_fit(X, TARGETS["multiclass"][1])
    assert_same(a, b)


def test_a_random_state_object_is_drawn_from_alike():
    y = TARGETS["regression"][1]
    states = np.random.RandomState(8), np.random.RandomState(8)
    a, b = pair("MLPRegressor", early_stopping=True)
    for model, state in zip((a, b), states, strict=True):
        quietly(model.set_params(random_state=state).fit, X, y)
    assert_same(a, b)
    assert states[0].randint(2**31) == states[1].randint(2**31)


def test_saturated_probabilities_are_clipped_alike():
    for target in ("multiclass", "binary", "multilabel"):
        name, y = TARGETS[target]
        a, b = pair(name, alpha=0, activation="identity", learning_rate_init=1e-3)
        quietly(a.fit, 300 * X, y)
        quietly(b.fit, 300 * X, y)
        assert max(a.loss_curve_) > 5  # many are saturated
        assert_same(a, b, atol=1e-5)


def test_one_class_with_early_stopping():
    a, b = pair("MLPClassifier", solver="adam", early_stopping=True)
    for model in (a, b):
        quietly(model.fit, X, np.full(120, 7))
    assert_same(a, b)
    assert b.validation_scores_[0] == b.score(X, np.full(120, 7)) == 1.0


def test_negative_weights():
    name, y = TARGETS["multiclass"]
    weights = np.where(np.arange(120) % 10 == 0, -0.3, 1.0)
    a, b = pair(name)
    quietly(a.fit, X, y, weights)
    quietly(b.fit, X, y, weights)
    assert_same(a, b)


def test_weights_of_both_signs_that_cancel_in_a_part_of_the_samples():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(6000, 3))
    targets, weights = data @ [1.0, 2.0, 3.0] + rng.normal(size=6000), np.ones(6000)
    weights[:4096] = np.resize([0.1, 0.2, -0.3], 4096)
    weights[4095] = 0
    a, b = pair("MLPRegressor", solver="lbfgs", hidden_layer_sizes=(), alpha=0, max_iter=300)
    a.fit(data, targets, weights)
    b.fit(data, targets, weights)
    np.testing.assert_allclose(b.coefs_[0], a.coefs_[0], rtol=1e-4)
    assert b.loss_ == pytest.approx(a.loss_, rel=1e-9)
    with pytest.raises(ValueError, match="do not cancel each other in a batch"):
        pair("MLPRegressor", batch_size=2, shuffle=False)[1].fit(X, X[:, 0], np.resize([1.0, -1.0], len(X)))


def test_other_hidden_layers_are_not_what_was_fitted():
    model = pair("MLPRegressor", hidden_layer_sizes=(3,), max_iter=2, warm_start=True)[1]
    quietly(model.fit, X, X[:, 0])
    model.set_params(hidden_layer_sizes=(20, 20))
    for train in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=r"is \[20, 20\], but the network was fitted with \[3\]"):
            train(X, X[:, 0])


@pytest.mark.parametrize("target", ["multiclass", "regression"])
def test_single_precision(target):
    name, y = TARGETS[target]
    single = X.astype(np.float32)
    a, b = pair(name, learning_rate_init=0.01)
    quietly(a.fit, single, y)
    quietly(b.fit, single, y)
    assert all(array.dtype == np.float32 for array in b.coefs_ + b.intercepts_)
    assert_same(a, b, rtol=1e-3, atol=5e-3)
    one, other = (model.predict_proba if name == "MLPClassifier" else model.predict for model in (a, b))
    for data in (single, X, np.round(X).astype(int)):
        assert one(data).dtype == other(data).dtype
        np.testing.assert_allclose(other(data), one(data), atol=2e-3)


def test_lbfgs_computes_in_double_precision():
    a, b = pair("MLPRegressor", solver="lbfgs", activation="identity", max_iter=1000)
    y = TARGETS["regression"][1]
    quietly(a.fit, X.astype(np.float32), y)
    quietly(b.fit, X.astype(np.float32), y)
    assert b.coefs_[0].dtype == a.coefs_[0].dtype == np.float64
    assert b.loss_ == pytest.approx(a.loss_, rel=1e-2)


def test_predictions():
    for target, (name, _) in TARGETS.items():
        a, b = fit_both(target)
        np.testing.assert_allclose(b.score(X, TARGETS[target][1]), a.score(X, TARGETS[target][1]), rtol=1e-9)
        if name == "MLPClassifier":
            np.testing.assert_array_equal(b.predict(X), a.predict(X))
            np.testing.assert_array_equal(b.classes_, a.classes_)
            np.testing.assert_allclose(b.predict_proba(X), a.predict_proba(X), rtol=1e-8)
            np.testing.assert_allclose(b.predict_log_proba(X), a.predict_log_proba(X), rtol=1e-7)
        else:
            np.testing.assert_allclose(b.predict(X), a.predict(X), rtol=1e-8)


def test_a_diverging_run_ends_alike():
    y = TARGETS["regression"][1]
    for parameters in ({"learning_rate_init": 1e5}, {"learning_rate_init": 10.0, "early_stopping": True}):
        a, b = pair("MLPRegressor", solver="sgd", activation="identity", momentum=0, **parameters)
        errors = []
        for model in (a, b):
            try:
                quietly(model.fit, X, y)
                errors.append(None)
            except ValueError as error:
                errors.append(str(error))
        assert errors[0] == errors[1]
        assert (errors[0] is None) == b.early_stopping
        assert len(a.loss_curve_) == len(b.loss_curve_) == 30
        np.testing.assert_array_equal(np.isfinite(a.loss_curve_), np.isfinite(b.loss_curve_))
        assert not np.isfinite(b.loss_curve_[-1])
        if b.early_stopping:
            np.testing.assert_array_equal(np.isnan(a.validation_scores_), np.isnan(b.validation_scores_))
            assert np.isnan(b.validation_scores_[-1])
            np.testing.assert_allclose(b.coefs_[0], a.coefs_[0], rtol=1e-6)


@pytest.mark.parametrize(("activation", "rate"), [("identity", 10.0), ("identity", 1e3), ("relu", 1e6)])
def test_a_classifier_whose_logits_grow_large_goes_on_alike(activation, rate):
    X, y = load_digits(return_X_y=True)
    options = {"learning_rate_init": rate, "max_iter": 20, "random_state": 0, "hidden_layer_sizes": (100,)}
    a, b = pair("MLPClassifier", solver="sgd", activation=activation, **options)
    for model in (a, b):
        quietly(model.fit, X[:300] / 16, y[:300])
    assert a.n_iter_ == b.n_iter_ < 20
    assert np.isfinite(b.loss_curve_).all()
    np.testing.assert_allclose(b.loss_curve_[:4], a.loss_curve_[:4], rtol=1e-6)
