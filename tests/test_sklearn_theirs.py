"""scikit-learn's own tests of its perceptrons, and its checks of estimators, run on `fusednet.sklearn`."""

import importlib.util
import warnings
from pathlib import Path

import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import (
    check_estimator,
    check_sample_weight_equivalence_on_dense_data,
)

from fusednet import sklearn as ours

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

TESTS = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")  # a packager may leave it out
IMPORT = "from sklearn.neural_network import MLPClassifier, MLPRegressor"
PRIVATE = ["test_gradient"]  # calls private methods of theirs


@pytest.fixture
def global_random_seed():
    return 42


if TESTS is not None and TESTS.origin is not None:
    source = Path(TESTS.origin).read_text(encoding="utf-8")
    assert IMPORT in source
    exec(
        compile(
            source.replace(IMPORT, IMPORT.replace("sklearn.neural_network", ours.__name__)),
            TESTS.origin,
            "exec",
        )
    )
    for name in PRIVATE:
        del globals()[name]


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
@pytest.mark.parametrize("standardize", [False, True])
def test_check_estimator(name, standardize):
    """With none expected to fail, as scikit-learn expects of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator = getattr(ours, name)(max_iter=100, standardize=standardize)
        checks = check_estimator(estimator, on_fail=None, on_skip=None)
    assert len(checks) > 50
    assert [check["check_name"] for check in checks if check["status"] not in ("passed", "skipped")] == []


@pytest.mark.parametrize(  # the settings that scikit-learn runs this check with
    ("name", "parameters"),
    [
        ("MLPClassifier", {"solver": "lbfgs"}),
        ("MLPRegressor", {"solver": "sgd", "tol": 1e-2, "random_state": 42}),
    ],
)
def test_integer_weights_are_repetitions(name, parameters):
    check_sample_weight_equivalence_on_dense_data(name, getattr(ours, name)(**parameters))


def test_a_warning_is_of_their_category():
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        ours.MLPRegressor(max_iter=1).fit([[0.0], [1.0]], [0.0, 1.0])
