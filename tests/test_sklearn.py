"""`fusednet.sklearn` as scikit-learn estimators: parameters, attributes, errors, the company they keep."""

import copy
import inspect
import pickle
import re
import subprocess
import sys
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from sklearn import neural_network as theirs
from sklearn.base import clone
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fusednet as fn
from fusednet import sklearn as ours
from fusednet.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, LABELS = load_iris(return_X_y=True)
Y = X[:, 3].copy()
X = X[:, :3] - X[:, :3].mean(axis=0)


def small(cls, **parameters):
    return cls(**{"hidden_layer_sizes": (6,), "max_iter": 5, "random_state": 0, **parameters})


def same(a, b):
    return all(map(np.array_equal, a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_))


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_parameters_and_defaults(name):
    theirs_, ours_ = (inspect.signature(getattr(m, name)).parameters for m in (theirs, ours))
    for parameter in theirs_.values():
        assert ours_[parameter.name].default == parameter.default
        assert ours_[parameter.name].kind == parameter.kind
    extra = [ours_[key] for key in ours_.keys() - theirs_.keys()]
    assert extra
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in extra)
    for method in ("fit", "partial_fit"):
        arguments = list(inspect.signature(getattr(getattr(ours, name), method)).parameters)
        expected = list(inspect.signature(getattr(getattr(theirs, name), method)).parameters)
        assert arguments == [*expected, "validation_data"]
    doc = inspect.getdoc(getattr(ours, name))
    assert all(f"\n{key}" in doc or f", {key} :" in doc or f"{key}," in doc for key in ours_)
    assert "{" not in doc.replace('{"constant", "invscaling", "adaptive"}', "")


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"alpha": -1},
        {"batch_size": 0},
        {"learning_rate": "fast"},
        {"learning_rate_init": 0},
        {"max_iter": 1.5},
        {"momentum": 1.1},
        {"beta_1": 1.0},
        {"validation_fraction": 1.0},
        {"n_iter_no_change": 0},
        {"hidden_layer_sizes": (3, 0)},
        {"hidden_layer_sizes": 0},
        {"early_stopping": "yes"},
        {"random_state": "zero"},
        {"epsilon": 0.0},
        {"max_fun": 0},
        {"tol": None},
    ],
    ids=str,
)
def test_errors_are_theirs(name, wrong):
    errors = []
    for module in (theirs, ours):
        with pytest.raises(ValueError) as caught:  # noqa: PT011  # compared below
            getattr(module, name)(**wrong).fit(X, LABELS)
        words = sorted(re.findall(r"[\w.']+", str(caught.value)))  # sets of names come in any order
        errors.append((type(caught.value), words))
    assert errors[0] == errors[1]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"activation": "swish"}, "'activation' parameter of MLPRegressor"),
        ({"activation": []}, "one entry for each of the 2 hidden layers, not 0"),
        ({"activation": ["relu"]}, "one entry for each of the 2 hidden layers, not 1"),
        ({"activation": ["relu", "softmax"]}, "activation must be one of"),
        ({"activation": ["relu", 3]}, "activation must be one of"),
        ({"solver": "newton"}, "'solver' parameter of MLPRegressor"),
        ({"loss": "hinge"}, "'loss' parameter of MLPRegressor"),
        ({"dropout": 1.0}, "'dropout' parameter of MLPRegressor"),
        ({"dropout": [0.1]}, "dropout must have one entry for each of the 2 hidden layers"),
        ({"dropout": 0.5, "solver": "lbfgs"}, "dropout needs a stochastic solver"),
        ({"callbacks": [fn.EarlyStopping()], "solver": "lbfgs"}, "callbacks needs a stochastic solver"),
        ({"progress": True, "solver": "lbfgs"}, "progress=True needs a stochastic solver"),
    ],
)
def test_errors_beyond(parameters, message):
    with pytest.raises(ValueError, match=message):
        MLPRegressor(hidden_layer_sizes=(4, 3), **parameters).fit(X, Y)


def test_data_errors():
    model = small(MLPRegressor).fit(X, Y)
    with pytest.raises(NotFittedError):
        MLPRegressor().predict(X)
    with pytest.raises(ValueError, match="2 features"):
        model.predict(X[:, :2])
    with pytest.raises(ValueError, match="NaN"):
        model.predict(np.full((1, 3), np.nan))
    with pytest.raises(ValueError, match="y has 2 outputs, but the network was fitted with 1"):
        model.partial_fit(X, np.stack([Y, Y], axis=1))
    assert model.n_outputs_ == 1
    with pytest.raises(ValueError, match="sample_weight"):
        model.fit(X, Y, sample_weight=np.ones(3))
    with pytest.raises(ValueError, match="from 0 to inf, received -1 in row"):
        small(MLPRegressor, loss="poisson").fit(X, np.full(150, -1.0))
    with pytest.raises(ValueError, match="classes must be passed"):
        MLPClassifier().partial_fit(X, LABELS)
    with pytest.raises(ValueError, match="classes not in"):
        small(MLPClassifier).partial_fit(X[:100], LABELS[:100], classes=[0, 1]).partial_fit(X, LABELS)
    with pytest.raises(AttributeError, match="partial_fit"):
        MLPClassifier(solver="lbfgs").partial_fit(X, LABELS)
    with pytest.raises(ValueError, match="0 sample"):
        model.predict(np.empty((0, 3)))


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_prints_what_theirs_prints(capsys, solver):
    printed = []
    for module in (theirs, ours):
        for parameters in ({"early_stopping": True}, {"learning_rate": "adaptive"}, {}):
            model = small(module.MLPClassifier, solver=solver, verbose=True, tol=0.1, n_iter_no_change=1)
            model.set_params(max_iter=40, **parameters).fit(X, LABELS)
        printed.append(capsys.readouterr().out)
    assert "Stopping." in printed[0]
    assert printed[0] == printed[1]


def test_one_row_one_column_one_class():
    for data in (np.ones((1, 1)), np.ones((1, 1), dtype=np.float32)):
        assert small(MLPRegressor).fit(data, [2.0]).predict(data).shape == (1,)
        model = small(MLPClassifier).fit(data, ["only"])
        assert model.predict(data).tolist() == ["only"]
        a = small(theirs.MLPClassifier).fit(data, ["only"])
        np.testing.assert_allclose(model.predict_proba(data), a.predict_proba(data), rtol=1e-5)


def test_a_list_of_no_activations():
    model = small(MLPClassifier, hidden_layer_sizes=(), activation=[]).fit(X, LABELS)
    assert same(model, small(MLPClassifier, hidden_layer_sizes=()).fit(X, LABELS))
    with pytest.raises(ValueError, match="one entry for each of the 0 hidden layers, not 1"):
        model.set_params(activation=["relu"]).fit(X, LABELS)


class TestAuthoritativeArrays:
    """`coefs_` and `intercepts_` count, however they came to be what they are."""

    def test_assigned(self):
        model, other = small(MLPRegressor).fit(X, Y), small(MLPRegressor, random_state=1).fit(X, Y)
        reference = small(theirs.MLPRegressor).fit(X, Y)
        for target in (model, reference):
            target.coefs_ = [c.copy() for c in other.coefs_]
            target.intercepts_[0] = other.intercepts_[0].copy()
            target.intercepts_[1] = other.intercepts_[1].copy()
        np.testing.assert_array_equal(model.predict(X), other.predict(X))
        for target in (model, reference):
            target.partial_fit(X, Y)
        np.testing.assert_allclose(model.coefs_[0], reference.coefs_[0], atol=1e-9)

    def test_changed_in_place(self):
        model = small(MLPRegressor).fit(X, Y)
        model.coefs_[1][...] = 0
        model.intercepts_[1][...] = 7
        assert model.predict(X[:2]).tolist() == [7, 7]
        loaded = pickle.loads(pickle.dumps(model))
        loaded.predict(X)
        loaded.intercepts_[1][0] = 8
        assert loaded.predict(X[:1]).tolist() == [8]
        assert model.predict(X[:1]).tolist() == [7]

    def test_an_assigned_array_stays_connected(self):
        model, bias = small(MLPRegressor).fit(X, Y), np.array([7.0])
        model.coefs_[1] = np.zeros((6, 1))
        model.intercepts_[1] = bias
        assert model.predict(X[:1]).tolist() == [7]
        bias[0] = 8
        assert model.predict(X[:1]).tolist() == [8]

    def test_of_other_shapes_and_precision(self):
        model = small(MLPRegressor).fit(X, Y)
        model.coefs_ = [np.ones((3, 2), np.float32), np.ones((2, 1), np.float32)]
        model.intercepts_ = [np.zeros(2, np.float32), np.zeros(1, np.float32)]
        assert model.predict(np.ones((1, 3), np.float32)) == np.float32(6)
        model.partial_fit(X, Y)
        model.set_params(hidden_layer_sizes=(2,)).partial_fit(X, Y)
        assert model.coefs_[0].shape == (3, 2)
        model.intercepts_ = [np.zeros(3), np.zeros(1)]
        with pytest.raises(ValueError, match="shape"):
            model.predict(X)
        del model.coefs_[1]
        with pytest.raises(ValueError, match="an array for each layer, not 1 and 2"):
            model.predict(X)

    def test_before_any_fit(self):
        model = small(MLPRegressor, warm_start=True)
        model.coefs_, model.intercepts_ = [np.ones((3, 1)), np.ones((1, 1))], [np.zeros(1), np.zeros(1)]
        model.n_layers_, model.out_activation_, model.n_features_in_ = 3, "identity", 3
        assert model.predict(np.ones((1, 3))) == 3

    def test_a_new_fit_leaves_the_old_arrays_alone(self):
        model = small(MLPRegressor).fit(X, Y)
        old = model.coefs_[0]
        kept = old.copy()
        model.fit(X, -Y)
        np.testing.assert_array_equal(old, kept)

    def test_a_changed_activation_counts_too(self):
        model, reference = small(MLPRegressor).fit(X, Y), small(theirs.MLPRegressor).fit(X, Y)
        for target in (model, reference):
            target.set_params(activation="tanh").partial_fit(X, Y)
        np.testing.assert_allclose(model.predict(X), reference.predict(X), rtol=1e-9)


@pytest.mark.parametrize("solver", ["sgd", "adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("duplicate", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy])
def test_a_copy_trains_on_as_the_original(solver, duplicate):
    model = small(MLPClassifier, solver=solver, dropout=0.2, learning_rate="invscaling").fit(X, LABELS)
    other = duplicate(model)
    assert same(model, other)
    for one, its_copy in zip(model._optimizer._parts("first"), other._optimizer._parts("first"), strict=True):
        np.testing.assert_array_equal(one, its_copy)
    for each in (model, other):
        each.partial_fit(X, LABELS).partial_fit(X, LABELS)
    assert same(model, other)
    assert model.loss_curve_ == other.loss_curve_
    assert model._optimizer.learning_rate == other._optimizer.learning_rate
    np.testing.assert_array_equal(model.predict_proba(X), other.predict_proba(X))


def test_the_optimizer_is_at_hand():
    model, reference = (small(m.MLPRegressor, warm_start=True).fit(X, Y) for m in (ours, theirs))
    for each in (model, reference):
        each._optimizer.learning_rate_init = 0.05
        each.partial_fit(X, Y)
    np.testing.assert_allclose(model.coefs_[0], reference.coefs_[0], atol=1e-9)
    for solver in ("sgd", "adam"):  # where it has no effect
        model, reference = (small(m.MLPRegressor, solver=solver).fit(X, Y) for m in (ours, theirs))
        for each in (model, reference):
            each._optimizer.learning_rate = 0.05
            each.partial_fit(X, Y)
        np.testing.assert_allclose(model.coefs_[0], reference.coefs_[0], atol=1e-9)


def test_clone():
    model = MLPRegressor(loss=fn.losses.Huber(2.0), activation=["relu"], callbacks=[fn.EarlyStopping("loss")])
    other = clone(model.fit(X, Y))
    assert not hasattr(other, "coefs_")
    assert other.loss == model.loss
    assert "Huber" in repr(other)
    assert same(clone(small(MLPRegressor)).fit(X, Y), small(MLPRegressor).fit(X, Y))


@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
@pytest.mark.parametrize(
    "parameters",
    [{"batch_size": 40}, {"early_stopping": True}, {"solver": "lbfgs"}, {"standardize": True}],
    ids=str,
)
def test_sparse_inputs(container, parameters):
    masked = X * (np.random.RandomState(0).rand(*X.shape) > 0.5)
    weights = np.linspace(0.1, 2, 150)
    dense = small(MLPClassifier, **parameters).fit(masked, LABELS, weights)
    other = small(MLPClassifier, **parameters).fit(container(masked), LABELS, weights)
    for a, b in zip(dense.coefs_ + dense.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(other.predict_proba(container(masked)), dense.predict_proba(masked), rtol=1e-6)
    assert other.loss_ == pytest.approx(dense.loss_, rel=1e-9)
    if not other.early_stopping and other.solver == "adam":
        other.partial_fit(container(masked), LABELS)


def test_sparse_multilabel_targets():
    X, y = make_multilabel_classification(n_samples=60, random_state=0)
    model = small(MLPClassifier, early_stopping=True).fit(X, sparse.csr_matrix(y))
    assert same(model, small(MLPClassifier, early_stopping=True).fit(X, y))
    assert sparse.issparse(model.predict(X))


def test_strides_and_dtypes():
    expected = small(MLPRegressor).fit(X, Y)
    for data in (np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2], X[::-1][::-1]):
        assert same(expected, small(MLPRegressor).fit(data, Y))
        np.testing.assert_array_equal(expected.predict(data), expected.predict(X))
    integers = np.round(10 * X).astype(np.int32)
    assert same(small(MLPRegressor).fit(integers, Y), small(MLPRegressor).fit(integers.astype(float), Y))
    half = X.astype(np.float16)
    np.testing.assert_allclose(expected.predict(half), expected.predict(half.astype(float)), rtol=1e-6)


@pytest.mark.parametrize("dtype", [">f8", ">i4", np.longdouble], ids=str)
def test_targets_of_any_dtype(dtype):
    y = np.round(Y).astype(dtype)
    expected = small(MLPRegressor).fit(X, np.round(Y), validation_data=(X, np.round(Y)))
    model = small(MLPRegressor).fit(X, y, validation_data=(X, y))
    assert same(expected, model)
    assert model.validation_curve_ == expected.validation_curve_
    assert same(expected.partial_fit(X, np.round(Y)), model.partial_fit(X, y))


def test_pandas_in_a_pipeline():
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    pipeline = make_pipeline(StandardScaler(), small(MLPRegressor, early_stopping=True))
    pipeline.set_output(transform="pandas")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        pipeline.fit(frame, pd.Series(Y))
        prediction = pipeline.predict(frame)
    assert pipeline[-1].feature_names_in_.tolist() == ["a", "b", "c"]
    reference = make_pipeline(StandardScaler(), small(theirs.MLPRegressor, early_stopping=True)).fit(X, Y)
    np.testing.assert_allclose(prediction, reference.predict(X), rtol=1e-7)
    with pytest.warns(UserWarning, match="feature names"):
        pipeline[-1].predict(X)


def test_metadata_routing():
    weights = np.linspace(0, 2, 150)
    with sklearn.config_context(enable_metadata_routing=True):
        model = small(MLPClassifier).set_fit_request(sample_weight=True, validation_data=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipeline = make_pipeline(scaler, model)
        pipeline.fit(X, LABELS, sample_weight=weights, validation_data=(X, LABELS))
        search = GridSearchCV(model.set_score_request(sample_weight=True), {"alpha": [0.1]}, cv=2)
        search.fit(X, LABELS, sample_weight=weights)
    assert len(pipeline[-1].validation_curve_) == 5
    assert same(pipeline[-1], small(MLPClassifier).fit(StandardScaler().fit_transform(X), LABELS, weights))


def test_grid_search_in_two_processes():
    grid = {"alpha": [1e-4, 1.0], "activation": ["relu", ["gelu"]]}
    searches = [GridSearchCV(small(MLPClassifier), grid, cv=2, n_jobs=jobs).fit(X, LABELS) for jobs in (1, 2)]
    for key in ("mean_test_score", "params"):
        np.testing.assert_array_equal(*(search.cv_results_[key] for search in searches))


def test_two_processes_share_the_processors(monkeypatch):
    for variable in ("OMP_NUM_THREADS", "FUSEDNET_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)
    with joblib.parallel_config("loky", n_jobs=2):
        counts = joblib.Parallel()(joblib.delayed(fn.get_num_threads)() for _ in range(4))
    assert set(counts) == {max(1, joblib.cpu_count() // 2)}


def test_an_interrupted_fit_keeps_its_weights():
    class Interrupt(fn.Callback):
        def on_epoch_begin(self, net, epoch):
            if epoch == 2:
                raise KeyboardInterrupt

    for early_stopping in (False, True):
        model = small(MLPRegressor, callbacks=[Interrupt()], early_stopping=early_stopping)
        with pytest.warns(UserWarning, match="interrupted by user"):
            model.fit(X, Y)
        assert model.n_iter_ == 2
        assert np.isfinite(model.predict(X)).all()


def test_batch_size_is_clipped_with_a_warning():
    with pytest.warns(UserWarning, match="clipped") as caught:
        model = small(MLPRegressor, batch_size=1000).fit(X, Y)
    assert {warning.filename for warning in caught} == {__file__}
    assert same(model, small(MLPRegressor, batch_size=150).fit(X, Y))


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_import_costs():
    code = "import sys, fusednet; print('sklearn' in sys.modules, 'scipy' in sys.modules)"
    assert run(code).stdout.split() == ["False", "False"]
    result = run("import sys; sys.modules['sklearn'] = None\nimport fusednet.sklearn")
    assert (
        'ImportError: fusednet.sklearn needs scikit-learn: pip install "fusednet[sklearn]", or ".[sklearn]"'
        in result.stderr
    )
