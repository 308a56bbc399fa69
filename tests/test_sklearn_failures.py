"""What is left of an estimator whose fit is refused: what there was before."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn")

from sklearn.exceptions import NotFittedError

import fusednet as fn
from fusednet.sklearn import MLPClassifier, MLPRegressor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
LABELS = (X[:, 0] + X[:, 1] > 0).astype(int)
TARGETS = X @ [1.0, -2.0, 0.5]

REFUSED = [
    ({}, {"validation_data": 5}, TypeError, "validation_data must be"),
    ({}, {"validation_data": (X[:, :2], LABELS)}, ValueError, "features"),
    ({"callbacks": [fn.ModelCheckpoint("model.safetensors")]}, {}, ValueError, "ModelCheckpoint"),
    ({"callbacks": [3]}, {}, TypeError, "callback must be"),
    (
        {"early_stopping": True, "validation_fraction": 0.01},
        {},
        ValueError,
        "validation set is too small|test_size",
    ),
    ({"dropout": [0.1, 0.2]}, {}, ValueError, "dropout must have one entry for each of the 1 hidden layers"),
    ({"solver": "lbfgs", "dropout": 0.5}, {}, ValueError, "dropout needs a stochastic solver"),
    ({"solver": "lbfgs"}, {"validation_data": (X, LABELS)}, ValueError, "validation_data needs"),
]


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize(("parameters", "options", "error", "message"), REFUSED)
def test_a_refused_fit_changes_nothing(kind, parameters, options, error, message):
    y = LABELS if kind is MLPClassifier else TARGETS
    usual = {"hidden_layer_sizes": (4,), "max_iter": 200, "tol": 0.1, "random_state": 0}
    model = kind(**usual | parameters)
    with pytest.raises(error, match=message):
        model.fit(X, y, **options)
    with pytest.raises(NotFittedError):
        model.predict(X)
    model = kind(**usual).fit(X, y)
    before = {name: value for name, value in vars(model).items() if name not in model.get_params()}
    predictions = model.predict(X)
    kept = model.get_params()
    with pytest.raises(error, match=message):
        model.set_params(**parameters).fit(X, y, **options)
    after = {name: value for name, value in vars(model).items() if name not in model.get_params()}
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in after)
    np.testing.assert_array_equal(model.set_params(**kept).predict(X), predictions)


class Careless:
    """A loss that the core refuses, since its gradient has another shape."""

    def __call__(self, y_pred, y_true):
        return 0.0, np.zeros(3)


BEYOND = np.where(np.arange(60) == 58, 1e100, TARGETS)  # float32
WRONG = [  # what only the core sees: parameters, targets, options of fit
    ({}, BEYOND, {}, ValueError),
    ({"loss": "poisson"}, np.where(np.arange(60) == 58, -1.0, 2.0), {}, ValueError),
    ({}, TARGETS, {"validation_data": (X.astype("f"), BEYOND)}, ValueError),
    ({"loss": Careless()}, TARGETS, {}, ValueError),
    ({"loss": Careless()}, TARGETS, {"sample_weight": np.ones(60)}, ValueError),
]


def state(model, X):
    """Return all that a call that is refused must leave alone."""
    optimizer = model._optimizer
    return {
        "predictions": model.predict(X).tobytes(),
        "rate": optimizer.learning_rate_init,
        "steps": optimizer.t,
        "moments": [part.tobytes() for part in optimizer.ms],
        "curve": list(model.loss_curve_),
        "n_iter": (model.n_iter_, model.t_, model.best_loss_, model._no_improvement_count),
        "random": model.random_state.get_state()[1].tobytes(),
    }


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    ("how", "parameters", "targets", "options", "error"),
    [(how, *case) for how in ("fit", "warm_start", "partial_fit") for case in WRONG]
    + [("lbfgs", *case) for case in WRONG if case[0]],  # in float64, which holds the rest
)
def test_what_the_core_refuses_changes_nothing(how, parameters, targets, options, error):
    inputs = X if how == "lbfgs" else X.astype("f")
    random = np.random.RandomState(3)
    usual = {"hidden_layer_sizes": (4,), "max_iter": 5, "batch_size": 10, "random_state": random}
    never = MLPRegressor(**usual | parameters, solver="lbfgs" if how == "lbfgs" else "adam")
    with pytest.raises(error):
        getattr(never, "partial_fit" if how == "partial_fit" else "fit")(inputs, targets, **options)
    with pytest.raises(NotFittedError):
        never.predict(inputs)
    model = MLPRegressor(**usual).fit(inputs, TARGETS)
    before, kept = state(model, inputs), model.get_params()
    model.set_params(**parameters, warm_start=how == "warm_start")
    if how == "lbfgs":
        model.set_params(solver="lbfgs")
    with pytest.raises(error):
        getattr(model, "partial_fit" if how == "partial_fit" else "fit")(inputs, targets, **options)
    assert state(model.set_params(**kept), inputs) == before


@pytest.mark.parametrize("error", [ValueError, RuntimeError])
@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_epoch_end"])
def test_callbacks_that_fail_cost_no_epoch(hook, error):
    """Before the first is complete nothing has changed; after it, it is kept."""

    def fail(*arguments):
        raise error("enough")

    callback = fn.Callback()
    setattr(callback, hook, fail)
    usual = {"hidden_layer_sizes": (4,), "tol": 0.1, "random_state": 0}
    model = MLPRegressor(**usual).fit(X, TARGETS)
    epochs, predictions = len(model.loss_curve_), model.predict(X)
    with pytest.raises(error, match="enough"):
        model.set_params(callbacks=[callback]).fit(X, TARGETS)
    kept = hook == "on_epoch_end"
    assert len(model.loss_curve_) == (1 if kept else epochs)
    assert (model.predict(X) == predictions).all() == (not kept)


def test_an_interrupted_beginning_changes_nothing(monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    usual = {"hidden_layer_sizes": (4,), "standardize": True, "tol": 0.1, "random_state": 0}
    model = MLPRegressor(**usual).fit(X, TARGETS)
    predictions = model.predict(X)
    monkeypatch.setattr(MLPRegressor, "_initialize", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(100 * X + 5, 7 * TARGETS)
    np.testing.assert_array_equal(model.predict(X), predictions)


@pytest.mark.parametrize(
    ("parameters", "inputs", "message"),
    [({"class_weight": "balanced"}, X, "balanced"), ({}, np.full_like(X, np.nan), "NaN")],
)
def test_a_refused_first_call_leaves_the_classes_open(parameters, inputs, message):
    model = MLPClassifier((4,), random_state=0, **parameters)
    with pytest.raises(ValueError, match=message):
        model.partial_fit(inputs, LABELS, classes=[0, 1])
    model.set_params(class_weight=None).partial_fit(X, LABELS, classes=[0, 1, 2])
    assert model.classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("rate", "error"), [(-1, ValueError), (np.nan, ValueError), ("a", TypeError)])
def test_callbacks_set_learning_rates_that_there_are(rate, error):
    class Change(fn.Callback):
        def on_epoch_begin(self, net, epoch):
            net.optimizer.learning_rate = rate

    with pytest.raises(error, match="learning_rate must"):
        MLPRegressor(hidden_layer_sizes=(4,), solver="sgd", callbacks=[Change()], random_state=0).fit(
            X, TARGETS
        )


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_callbacks_may_copy_the_network():
    """A copy has scikit-learn's conventions, too: alpha is divided by the size of the batch."""
    seen = []

    class Copy(fn.Callback):
        def on_train_end(self, net):
            seen.extend(other.evaluate(X, TARGETS)["loss"] for other in (net, net.copy()))

    MLPRegressor(
        hidden_layer_sizes=(4,), alpha=50.0, max_iter=3, tol=0.0, callbacks=[Copy()], random_state=0
    ).fit(X, TARGETS)
    assert seen[0] == seen[1]
