"""`MLPEnsembleRegressor` and `MLPEnsembleClassifier`: scikit-learn's checks, and `Ensemble` behind them."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import check_is_fitted

import fusednet as fn
from fusednet import sklearn as ours
from fusednet.sklearn import MLPEnsembleClassifier, MLPEnsembleRegressor

X, Y = load_diabetes(return_X_y=True)
FLOWERS, LABELS = load_iris(return_X_y=True)


@pytest.mark.parametrize("name", ["MLPEnsembleClassifier", "MLPEnsembleRegressor"])
@pytest.mark.parametrize("standardize", [False, True])
def test_check_estimator(name, standardize):
    """With none expected to fail."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = getattr(ours, name)(max_iter=100, standardize=standardize)
        checks = check_estimator(estimator, on_fail=None, on_skip=None)
    assert len(checks) > 40
    assert [check["check_name"] for check in checks if check["status"] not in ("passed", "skipped")] == []


@pytest.mark.parametrize("outputs", [1, 3])
def test_alpha_is_that_of_ridge_regression(outputs):
    """Which has a solution in closed form: (Xᵀ·X + α)⁻¹·Xᵀ·y minimizes ½‖X·w − y‖² + α/2·‖w‖²."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(60, 4))
    inputs -= inputs.mean(axis=0)
    targets = inputs @ rng.normal(size=(4, outputs)) + rng.normal(size=(60, outputs))
    targets -= targets.mean(axis=0)
    expected = np.linalg.solve(inputs.T @ inputs + 30.0 * np.eye(4), inputs.T @ targets)
    options = {"alpha": 30.0, "learning_rate_init": 0.05, "max_iter": 2000, "random_state": 0}
    model = MLPEnsembleRegressor(1, (), bootstrap=False, **options).fit(inputs, np.squeeze(targets))
    np.testing.assert_allclose(model.ensemble_.networks[0].layers[0].weights, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_regressor_is_the_ensemble(dtype):
    """By hand: targets scaled, seeds drawn, Adam; predictions in the targets' own units."""
    data = X.astype(dtype)
    model = MLPEnsembleRegressor(
        4, (8,), "tanh", alpha=0.5, batch_size=50, max_iter=6, standardize=True, random_state=3
    )
    mean, std = model.fit(data[:300], Y[:300]).predict(data[300:], return_std=True)
    center, scale = Y[:300].mean(), Y[:300].std()
    networks = [
        fn.Network([10, 8, 1], "tanh", loss="half_mse", l2=0.01, dtype=np.dtype(dtype).name, seed=int(seed))
        for seed in np.random.RandomState(3).randint(2**31 - 1, size=4)
    ]
    for net in networks:
        net.standardize(data[:300])
    ensemble = fn.Ensemble(networks)
    ensemble.fit(
        data[:300],
        (Y[:300] - center) / scale,
        bootstrap=True,
        epochs=6,
        batch_size=50,
        optimizer=fn.Adam(),
    )
    expected, deviation = ensemble.predict(data[300:], return_std=True)
    assert mean.dtype == std.dtype == dtype
    np.testing.assert_allclose(mean, center + scale * expected[:, 0], rtol=1e-5)
    np.testing.assert_allclose(std, scale * deviation[:, 0], rtol=1e-5)
    np.testing.assert_allclose(model.noise_, scale * ensemble.noise, rtol=1e-5)
    np.testing.assert_array_equal(model.predict(data[300:]), mean)
    assert [len(curve) for curve in model.loss_curves_] == [6] * 4


def test_several_targets():
    model = MLPEnsembleRegressor(3, (8,), max_iter=5, standardize=True, random_state=0)
    mean, std = model.fit(X, np.column_stack([Y, 1000 * Y])).predict(X, return_std=True)
    assert mean.shape == std.shape == (442, 2)
    assert model.noise_.shape == (2,)
    assert 500 < model.noise_[1] / model.noise_[0] < 2000


def test_classifier_averages_probabilities():
    names = np.array(["a", "b", "c"])[LABELS]
    model = MLPEnsembleClassifier(
        5, (8,), max_iter=60, learning_rate_init=0.01, standardize=True, random_state=0
    )
    probabilities = model.fit(FLOWERS, names).predict_proba(FLOWERS)
    each = [net.predict(FLOWERS) for net in model.ensemble_.networks]
    np.testing.assert_allclose(probabilities, np.mean(each, axis=0), rtol=1e-12)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-12)
    assert model.classes_.tolist() == ["a", "b", "c"]
    assert model.score(FLOWERS, names) > 0.9


@pytest.mark.parametrize("cls", [MLPEnsembleClassifier, MLPEnsembleRegressor])
def test_the_same_seed_gives_the_same_bits(cls, threads):
    model = cls(3, (6,), max_iter=3, random_state=1)
    threads(1)
    first = model.fit(FLOWERS, LABELS).predict(FLOWERS)
    threads(2)
    np.testing.assert_array_equal(clone(model).fit(FLOWERS, LABELS).predict(FLOWERS), first)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(FLOWERS), first)


def test_without_bootstrap_there_is_no_noise():
    model = MLPEnsembleRegressor(2, (6,), bootstrap=False, max_iter=2).fit(X, Y)
    assert model.noise_ is None


@pytest.mark.parametrize(
    "wrong", [{"n_estimators": 0}, {"bootstrap": "yes"}, {"alpha": -1}, {"max_iter": 0}, {"batch_size": 0}]
)
def test_wrong_parameters(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MLPEnsembleRegressor(**wrong).fit(X, Y)


def test_a_batch_is_no_larger_than_the_samples():
    whole, clipped = (
        MLPEnsembleRegressor(1, (6,), max_iter=2, batch_size=size, random_state=0) for size in (len(X), 1000)
    )
    whole.fit(X, Y)
    with pytest.warns(UserWarning, match="batch_size.*clipped"):
        clipped.fit(X, Y)
    np.testing.assert_array_equal(clipped.predict(X), whole.predict(X))


@pytest.mark.parametrize("cls", [MLPEnsembleClassifier, MLPEnsembleRegressor])
def test_a_fit_that_fails_leaves_what_was_fitted(cls):
    data, y = (FLOWERS, LABELS) if cls is MLPEnsembleClassifier else (X, Y)
    model = cls(2, (6,), max_iter=2, random_state=0, standardize=True, learning_rate_init=1e300)
    with pytest.raises((ValueError, fn.DivergenceError)):
        model.fit(data, y)
    with pytest.raises(NotFittedError):
        check_is_fitted(model)
    with pytest.raises(NotFittedError):
        model.predict(data)
    model.set_params(learning_rate_init=0.01).fit(data, y)
    before, curves = model.predict(data), model.loss_curves_
    with pytest.raises((ValueError, fn.DivergenceError)):
        model.set_params(learning_rate_init=1e300, standardize=False).fit(data[:, 1:], y)
    np.testing.assert_array_equal(model.predict(data), before)
    assert model.loss_curves_ is curves
