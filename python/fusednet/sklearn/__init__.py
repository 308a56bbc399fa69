"""scikit-learn's multilayer perceptrons on fusednet's core.

`MLPClassifier` and `MLPRegressor` take the parameters of their namesakes in ``sklearn.neural_network``,
follow the same trajectory from the same `random_state`, and have a few parameters more, keyword-only and off
by default. `MLPEnsembleClassifier` and `MLPEnsembleRegressor` average many networks, trained side by side.

>>> from fusednet.sklearn import MLPClassifier
>>> MLPClassifier(hidden_layer_sizes=(64, 32), random_state=0)
MLPClassifier(hidden_layer_sizes=(64, 32), random_state=0)
"""

try:
    import sklearn as _sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        'fusednet.sklearn needs scikit-learn: pip install "fusednet[sklearn]", or ".[sklearn]" in a clone'
    ) from error

from fusednet.sklearn.classifier import MLPClassifier
from fusednet.sklearn.ensemble import MLPEnsembleClassifier, MLPEnsembleRegressor
from fusednet.sklearn.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPEnsembleClassifier", "MLPEnsembleRegressor", "MLPRegressor"]
