"""What `fusednet.sklearn` has beyond scikit-learn, against scikit-learn, fusednet or NumPy by hand."""

import io
import pickle

import numpy as np
import pytest
from sklearn import neural_network as theirs
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

import fusednet as fn
from fusednet.sklearn import MLPClassifier, MLPRegressor

from helpers import REFERENCE

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, LABELS = load_iris(return_X_y=True)
Y = X[:, 3].copy()
X = X[:, :3].copy()
TRAIN, VALIDATION = np.arange(150) % 3 > 0, np.arange(150) % 3 == 0


class Terminal(io.StringIO):
    def isatty(self):
        return True


def small(cls, **parameters):
    return cls(**{"hidden_layer_sizes": (6, 5), "max_iter": 8, "random_state": 0, **parameters})


def same(a, b, atol=0.0):
    for one, other in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=atol)


def network_of(model, loss, **options):
    """Return a network with the weights that a model starts with."""
    start = clone_start(model)
    widths = [start.n_features_in_, *(len(b) for b in start.intercepts_)]
    net = fn.Network(widths, loss=loss, dtype="float64", **options)
    for layer, coef, intercept in zip(net.layers, start.coefs_, start.intercepts_, strict=True):
        layer.weights, layer.bias = coef, intercept
    return net


def clone_start(model):
    return type(model)(**{**model.get_params(), "max_iter": 1, "learning_rate_init": 1e-300}).fit(X, Y)


def test_a_list_of_activations():
    names = ["gelu", "logistic"]
    model = small(MLPRegressor, activation=names).fit(X, Y)
    a = X
    for coef, intercept, name in zip(
        model.coefs_, model.intercepts_, ["gelu", "sigmoid", "identity"], strict=True
    ):
        a = REFERENCE[name](a @ coef + intercept)
    np.testing.assert_allclose(model.predict(X), a[:, 0], rtol=1e-12)
    same(
        small(MLPRegressor, activation=["tanh", "tanh"]).fit(X, Y),
        small(MLPRegressor, activation="tanh").fit(X, Y),
    )
    assert small(MLPRegressor, activation="silu", max_iter=400).fit(X, Y).score(X, Y) > 0.8


@pytest.mark.parametrize(
    "loss",
    ["mse", "mae", "huber", "quantile", fn.losses.Huber(0.3), fn.losses.Quantile(0.9), "callable"],
    ids=str,
)
def test_losses(loss):
    """Plain descent over all samples is what a network under the same loss does."""

    def fourth_power(y_pred, y_true):
        r = y_pred - y_true
        return float((r**4).mean()), 4 * r**3 / r.size

    loss = fourth_power if loss == "callable" else loss
    model = MLPRegressor(
        loss, (6,), "tanh", solver="sgd", momentum=0, alpha=0, batch_size=150, random_state=1, max_iter=6,
        learning_rate_init=0.01,
    )  # fmt: skip
    net = network_of(model, loss, activation="tanh")
    history = net.fit(X, Y, epochs=6, batch_size=150, optimizer=fn.SGD(0.01), shuffle=False, progress=False)
    model.fit(X, Y)
    np.testing.assert_allclose(model.loss_curve_, history.loss, rtol=1e-10)
    np.testing.assert_allclose(model.predict(X), net.predict(X)[:, 0], rtol=1e-9)


def test_a_class_is_no_loss():
    with pytest.raises(TypeError, match=r"Huber\(\), not the class Huber"):
        MLPRegressor(loss=fn.losses.Huber).fit(X, Y)


def test_a_quantile_is_one():
    model = MLPRegressor(fn.losses.Quantile(0.9), (), alpha=0, learning_rate_init=0.01, max_iter=500, tol=0)
    y = np.random.RandomState(0).rand(400)
    model.set_params(random_state=0).fit(np.zeros((400, 1)), y)
    assert model.predict([[0.0]])[0] == pytest.approx(np.quantile(y, 0.9), abs=0.02)


@pytest.mark.parametrize(
    ("solver", "parameters", "optimizer"),
    [
        ("adamw", {"weight_decay": 0.3}, fn.AdamW(0.01, weight_decay=0.3)),
        ("adamw", {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3}, fn.AdamW(0.01, 0.5, 0.9, 1e-3)),
        ("rmsprop", {}, fn.RMSprop(0.01)),
        ("rmsprop", {"rho": 0.9, "epsilon": 1e-2}, fn.RMSprop(0.01, 0.9, 1e-2)),
    ],
)
def test_solvers(solver, parameters, optimizer):
    model = small(MLPRegressor, solver=solver, alpha=0, learning_rate_init=0.01, shuffle=False, **parameters)
    net = network_of(model, "half_mse", activation="relu")
    net.fit(X, Y, epochs=8, batch_size=200, optimizer=optimizer, shuffle=False, progress=False)
    np.testing.assert_allclose(model.fit(X, Y).predict(X), net.predict(X)[:, 0], rtol=1e-9)
    state = net._core.get_optimizer_state(optimizer._core)
    assert model._optimizer.t == state["step"] == 8
    np.testing.assert_allclose(model._optimizer.vs[0].ravel(), state["second"][: 3 * 6], rtol=1e-9)


def test_dropout():
    model = small(MLPRegressor, dropout=[0.5, 0.0]).fit(X, Y)
    same(model, small(MLPRegressor, dropout=[0.5, 0.0]).fit(X, Y))
    without = small(MLPRegressor).fit(X, Y)
    assert not np.array_equal(model.coefs_[0], without.coefs_[0])
    same(clone_start(model), clone_start(without))  # the weights are drawn first
    np.testing.assert_array_equal(model.predict(X), model.predict(X))  # and none is dropped here


def test_dropout_adds_its_variance_to_the_loss():
    rate, repeated, y = 0.4, np.tile(X, (200, 1)), np.tile(Y, 200)
    model = MLPRegressor("mse", (8,), "identity", dropout=rate, alpha=0, max_iter=1, random_state=0)
    model.set_params(learning_rate_init=1e-300).fit(repeated, y)
    a = X @ model.coefs_[0] + model.intercepts_[0]
    variance = rate / (1 - rate) * (a**2 @ model.coefs_[1] ** 2)
    assert model.loss_ == pytest.approx(((model.predict(X) - Y) ** 2).mean() + variance.mean(), rel=0.03)


@pytest.mark.parametrize("class_weight", ["balanced", {0: 0.2, 1: 1.0, 2: 3.0}])
@pytest.mark.parametrize("weights", [None, np.linspace(0.1, 1, 120)])
def test_class_weight(class_weight, weights):
    data, labels = X[:120], LABELS[:120]
    model = small(MLPClassifier, class_weight=class_weight).fit(data, labels, weights)
    expected = compute_sample_weight(class_weight, labels) * (1 if weights is None else weights)
    same(model, small(theirs.MLPClassifier).fit(data, labels, expected), atol=1e-9)


def test_class_weight_in_partial_fit():
    weights = {0: 0.2, 1: 1.0, 2: 3.0}
    model = small(MLPClassifier, class_weight=weights).partial_fit(X, LABELS, classes=[0, 1, 2])
    expected = small(theirs.MLPClassifier)
    same(
        model,
        expected.partial_fit(X, LABELS, compute_sample_weight(weights, LABELS), classes=[0, 1, 2]),
        1e-9,
    )
    some = LABELS < 2  # a class is missing, and has a weight
    model.partial_fit(X[some], LABELS[some])
    expected.partial_fit(X[some], LABELS[some], compute_sample_weight({0: 0.2, 1: 1.0}, LABELS[some]))
    same(model, expected, 1e-9)
    with pytest.raises(ValueError, match="balanced"):
        small(MLPClassifier, class_weight="balanced").partial_fit(X, LABELS, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="are not in class_weight"):
        small(MLPClassifier, class_weight={7: 1.0}).partial_fit(X, LABELS, classes=[0, 1, 2])


def test_wrong_class_weight():
    with pytest.raises(ValueError, match="class_weight must hold finite numbers"):
        small(MLPClassifier, class_weight={0: np.nan, 1: 1.0, 2: 1.0}).fit(X, LABELS)
    data, y = make_multilabel_classification(n_samples=60, random_state=0)
    with pytest.raises(ValueError, match='multilabel targets can be "balanced"'):
        small(MLPClassifier, class_weight={0: 1.0, 1: 2.0}).fit(data, y)


def cross_entropy(model, X, y, weights=None):
    probabilities = model.predict_proba(X)[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    return np.average(-np.log(probabilities), weights=weights)


def test_validation_data():
    names = np.array(["a", "b", "c"])[LABELS]
    weights = np.linspace(0.1, 2, VALIDATION.sum())
    given = X[VALIDATION], names[VALIDATION], weights
    model = small(MLPClassifier, alpha=0.5).fit(X[TRAIN], names[TRAIN], validation_data=given)
    same(model, small(MLPClassifier, alpha=0.5).fit(X[TRAIN], names[TRAIN]))  # it is only watched
    assert len(model.validation_curve_) == len(model.validation_scores_) == 8
    assert model.validation_curve_[-1] == pytest.approx(cross_entropy(model, *given), rel=1e-10)
    assert model.validation_scores_[-1] == pytest.approx(model.score(*given), rel=1e-12)
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.best_loss_ == min(model.loss_curve_)


def test_early_stopping_on_given_data():
    given = X[VALIDATION], Y[VALIDATION]
    parameters = {"early_stopping": True, "max_iter": 300, "n_iter_no_change": 5, "learning_rate_init": 0.02}
    model = small(MLPRegressor, **parameters).fit(X[TRAIN], Y[TRAIN], validation_data=given)
    assert model.stopped_early_
    assert model.n_iter_ < 300
    assert model.t_ == model.n_iter_ * TRAIN.sum()  # none is held out
    assert model.score(*given) == pytest.approx(max(model.validation_scores_), rel=1e-12)
    held_out = small(MLPRegressor, **parameters).fit(X, Y)
    assert len(held_out.validation_curve_) == len(held_out.validation_scores_) == held_out.n_iter_


def test_validation_loss_by_hand():
    y = np.stack([Y, -Y], axis=1)
    model = small(MLPRegressor).fit(X, y, validation_data=(X[:5], y[:5]))
    assert model.validation_curve_[-1] == pytest.approx(((model.predict(X[:5]) - y[:5]) ** 2).mean() / 2)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ((X,), TypeError, "must be"),
        ((X, LABELS + 1), ValueError, "classes not in"),
        ((X[:, :2], LABELS), ValueError, "2 features"),
        ((X, LABELS[:9]), ValueError, "inconsistent"),
        ((X, LABELS, [1.0]), ValueError, "sample_weight"),
        ((X, LABELS, np.zeros(150)), ValueError, "at least one non-zero number"),
    ],
)
def test_wrong_validation_data(data, error, message):
    with pytest.raises(error, match=message):
        small(MLPClassifier).fit(X, LABELS, validation_data=data)
    with pytest.raises(ValueError, match="validation_data needs a stochastic solver"):
        small(MLPClassifier, solver="lbfgs").fit(X, LABELS, validation_data=(X, LABELS))


def test_a_single_row_is_no_validation_set_to_stop_by():
    for train in (
        small(MLPRegressor, early_stopping=True).fit,
        small(MLPRegressor, early_stopping=True).partial_fit,
    ):
        with pytest.raises(ValueError, match="validation set is too small") as caught:
            train(X, Y, validation_data=(X[:1], Y[:1]))
        assert caught.value.__notes__ == ["This is about validation_data."]


def test_targets_of_validation_that_the_loss_refuses():
    with pytest.raises(ValueError, match="y: expected values from 0") as caught:
        small(MLPRegressor, loss="poisson").fit(X, Y, validation_data=(X, -Y))
    assert caught.value.__notes__ == ["This is about validation_data."]


@pytest.mark.parametrize("multilabel", [False, True])
def test_partial_fit_with_early_stopping(multilabel):
    data, y = (
        make_multilabel_classification(n_samples=150, n_features=3, random_state=0)
        if multilabel
        else (X, LABELS)
    )
    given = data[VALIDATION], y[VALIDATION]
    model = small(MLPClassifier, early_stopping=True, n_iter_no_change=3, learning_rate_init=0.05)
    first = {} if multilabel else {"classes": [0, 1, 2]}
    for epoch in range(300):
        model.partial_fit(data[TRAIN], y[TRAIN], validation_data=given, **(first if epoch == 0 else {}))
        if model.stopped_early_:
            break
        assert model.score(*given) == model.validation_scores_[-1]  # not the best weights yet
    assert model.stopped_early_
    assert epoch < 299
    assert len(model.validation_scores_) == len(model.validation_curve_) == epoch + 1
    assert model.score(*given) == max(model.validation_scores_)
    with pytest.raises(ValueError, match="without validation_data"):
        model.partial_fit(data, y)


@pytest.mark.parametrize("first", ["partial_fit", "fit"])
def test_partial_fit_restores_the_best_at_every_stop(first):
    given = X[VALIDATION], Y[VALIDATION]
    model = small(MLPRegressor, early_stopping=True, max_iter=300, learning_rate_init=0.05)
    getattr(model, first)(X[TRAIN], Y[TRAIN], validation_data=given)
    while not model.stopped_early_:
        model.partial_fit(X[TRAIN], Y[TRAIN], validation_data=given)
    best = max(model.validation_scores_)
    model._optimizer.learning_rate_init = 10.0  # from here on the score only falls
    for _ in range(3):
        model.partial_fit(X[TRAIN], Y[TRAIN], validation_data=given)
        assert model.stopped_early_
        assert model.validation_scores_[-1] < best == max(model.validation_scores_)
        assert model.score(*given) == pytest.approx(best, rel=1e-12)


def test_partial_fit_learns_the_labels_of_a_multilabel_target():
    data, y = make_multilabel_classification(n_samples=60, random_state=0)
    model = small(MLPClassifier).partial_fit(data, y).partial_fit(data, y)
    assert model.predict(data).shape == y.shape
    same(
        model,
        small(theirs.MLPClassifier).partial_fit(data, y, classes=range(5)).partial_fit(data, y),
        atol=1e-9,
    )


def test_classes_of_a_multilabel_target_are_its_columns():
    data, y = make_multilabel_classification(n_samples=60, random_state=0)
    with pytest.raises(ValueError, match="are not the columns of a multilabel"):
        small(MLPClassifier).partial_fit(data, y, classes=["a", "b"])
    small(MLPClassifier).partial_fit(data, y, classes=[4, 3, 2, 1, 0])


@pytest.mark.parametrize("cls", [MLPRegressor, fn.sklearn.MLPEnsembleRegressor])
def test_targets_that_cannot_be_scaled(cls):
    model = cls(hidden_layer_sizes=(3,), max_iter=2, standardize=True)
    with pytest.raises(ValueError, match=r"fit float32, received 2e\+59 in row 0"):
        model.fit(X.astype("float32"), 1e60 * Y)
    with pytest.raises(ValueError, match="targets of finite deviations"):
        model.fit(X, 1e200 * Y)
    with pytest.raises((TypeError, ValueError), match="y must hold real numbers"):
        model.fit(X, Y.astype(str))


def test_callbacks():
    seen = []

    class Watch(fn.Callback):
        def on_train_begin(self, net):
            self.net = net

        def on_epoch_end(self, net, epoch, logs):
            seen.append((epoch, logs))
            np.testing.assert_array_equal(net.predict(X)[:, 0], model.predict(X))
            if epoch == 4:
                net.stop_training = True

    watch = Watch()
    model = small(MLPRegressor, callbacks=[watch])
    model.fit(X, Y, validation_data=(X, Y))
    assert [epoch for epoch, _ in seen] == [0, 1, 2, 3, 4]
    assert seen[-1][1] == {
        "loss": model.loss_,
        "learning_rate": 0.001,
        "val_loss": model.validation_curve_[-1],
        "val_score": model.validation_scores_[-1],
    }
    assert watch.net.history.loss == model.loss_curve_
    assert watch.net.history.metrics == {"val_score": model.validation_scores_}
    assert not model.stopped_early_


def test_early_stopping_by_the_validation_loss():
    stopper = fn.EarlyStopping("val_loss", patience=3)
    model = small(MLPRegressor, callbacks=[stopper], learning_rate_init=0.1, max_iter=300, tol=0)
    model.fit(X[TRAIN], Y[TRAIN], validation_data=(X[VALIDATION], Y[VALIDATION]))
    assert model.n_iter_ < 300
    assert stopper.best == min(model.validation_curve_)
    residual = model.predict(X[VALIDATION]) - Y[VALIDATION]
    assert (residual**2).mean() / 2 == pytest.approx(stopper.best)


def test_progress(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    small(MLPRegressor, progress=True).fit(X, Y)
    assert "8/8" in capsys.readouterr().err
    small(MLPRegressor).fit(X, Y)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_what_verbose_prints_stands_above_the_bar(monkeypatch, solver):
    screen = Terminal()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setattr("sys.stderr", screen)
    parameters = {"verbose": True, "tol": 10.0, "n_iter_no_change": 1, "learning_rate": "adaptive"}
    small(MLPRegressor, solver=solver, progress=True, early_stopping=True, **parameters).fit(X, Y)
    *lines, bar, rest = [line.split("\r")[-1] for line in screen.getvalue().split("\n")]
    said = ["Iteration ", "Validation score: ", "Validation score did not improve"]
    starts = [next((start for start in said if line.startswith(start)), line) for line in lines]
    assert set(starts) == set(said)
    assert bar.startswith("epoch ")
    assert rest == ""


@pytest.mark.parametrize("weights", [None, np.linspace(0.1, 2, 150)])
def test_standardize(weights):
    data = X * [1.0, 1e3, 1e-3] + [0, 500, 7]
    data = np.hstack([data, np.full((150, 1), 3.0)])  # a constant column
    y = np.stack([1e4 * Y + 1e6, X[:, 0]], axis=1)
    model = small(MLPRegressor, standardize=True).fit(data, y, weights)
    scaler, target = StandardScaler(), StandardScaler()
    with np.errstate(invalid="ignore"):  # scikit-learn's variance of the constant column may be below zero
        scaled = scaler.fit(data, sample_weight=weights).transform(data)
    reference = small(theirs.MLPRegressor)
    reference.fit(scaled, target.fit(y, sample_weight=weights).transform(y), weights)
    same(model, reference, atol=1e-8)
    expected = target.inverse_transform(reference.predict(scaled))
    np.testing.assert_allclose(model.predict(data), expected, rtol=1e-9)
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.predict(data), model.predict(data))
    mean = model.input_scaling_.mean.copy()
    loaded.partial_fit(data + 5, y)
    np.testing.assert_array_equal(loaded.input_scaling_.mean, mean)  # learnt at the first fit


def test_standardize_in_a_pipelines_place():
    model = small(MLPRegressor, standardize=True, early_stopping=True, max_iter=20).fit(1e3 * X, Y)
    pipeline = TransformedTargetRegressor(
        make_pipeline(StandardScaler(), small(theirs.MLPRegressor, early_stopping=True, max_iter=20)),
        transformer=StandardScaler(),
    )
    np.testing.assert_allclose(model.predict(1e3 * X), pipeline.fit(1e3 * X, Y).predict(1e3 * X), rtol=1e-7)
    classifier = small(MLPClassifier, standardize=True).fit(1e3 * X, LABELS)
    other = make_pipeline(StandardScaler(), small(theirs.MLPClassifier)).fit(1e3 * X, LABELS)
    np.testing.assert_allclose(classifier.predict_proba(1e3 * X), other.predict_proba(1e3 * X), rtol=1e-7)


def test_standardize_leaves_counts_alone():
    counts = np.round(Y * 3)
    model = small(MLPRegressor, loss="poisson", standardize=True).fit(X, counts)
    assert model.target_scaling_ is None
    other = make_pipeline(StandardScaler(), small(theirs.MLPRegressor, loss="poisson")).fit(X, counts)
    np.testing.assert_allclose(model.predict(X), other.predict(X), rtol=1e-8)
    single = small(MLPRegressor, standardize=True).fit(X.astype(np.float32), Y)
    assert single.predict(X.astype(np.float32)).dtype == np.float32
    assert single.set_params(standardize=False).fit(X, Y).input_scaling_ is None


@pytest.mark.parametrize("standardize", [False, True])
def test_as_a_network(standardize):
    options = {"activation": ["gelu", "tanh"], "dropout": 0.1, "standardize": standardize}
    model = small(MLPRegressor, loss=fn.losses.Huber(2.0), **options).fit(1e3 * X, 50 * Y)
    np.testing.assert_allclose(
        fn.from_sklearn(model).predict(1e3 * X)[:, 0], model.predict(1e3 * X), rtol=1e-9
    )
    model = small(MLPClassifier, **options).fit(1e3 * X, LABELS)
    np.testing.assert_allclose(
        fn.from_sklearn(model).predict(1e3 * X), model.predict_proba(1e3 * X), rtol=1e-9
    )


def test_the_network_of_a_callback_reads_what_the_estimator_reads():
    class Watch(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            np.testing.assert_array_equal(net.predict(1e3 * X), model.predict_proba(1e3 * X))

    model = small(MLPClassifier, standardize=True, callbacks=[Watch()])
    model.fit(1e3 * X, LABELS)


def test_a_callback_lowers_the_learning_rate():
    for solver in ("adam", "sgd"):
        reduce = fn.ReduceLROnPlateau("val_loss", patience=1, factor=0.5, min_delta=1e9)
        model = small(MLPRegressor, solver=solver, callbacks=[reduce]).fit(X, Y, validation_data=(X, Y))
        assert model._engine.network.history.learning_rate == [0.001 * 0.5 ** max(0, n - 1) for n in range(8)]


def test_checkpoints_are_not_for_estimators(tmp_path):
    with pytest.raises(ValueError, match="pickle"):
        small(MLPRegressor, callbacks=[fn.ModelCheckpoint(tmp_path / "model")]).fit(X, Y)


def test_callbacks_hear_of_an_exception():
    errors = []

    class Fail(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            raise ZeroDivisionError

        def on_exception(self, net, error):
            errors.append(error)

    with pytest.raises(ZeroDivisionError):
        small(MLPRegressor, callbacks=[Fail()]).fit(X, Y)
    assert len(errors) == 1
