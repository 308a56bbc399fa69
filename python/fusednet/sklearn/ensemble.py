"""`MLPEnsembleRegressor` and `MLPEnsembleClassifier`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, _fit_context
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from fusednet._data import numeric
from fusednet.ensemble import Ensemble
from fusednet.network import Network
from fusednet.optimizers import Adam
from fusednet.sklearn._docs import document
from fusednet.sklearn._params import REGRESSOR, hidden_activations
from fusednet.sklearn._scaling import Scaling
from fusednet.sklearn._snapshot import Snapshot
from fusednet.sklearn._solvers import batch_size

__all__ = ["MLPEnsembleClassifier", "MLPEnsembleRegressor"]

_PARAMETERS = """
n_estimators : int, default 10
    How many networks.
hidden_layer_sizes : int or sequence of int, default (100,)
    The widths of the hidden layers of each.
activation : str or sequence of str, default "relu"
    As in `MLPRegressor`.
bootstrap : bool, default True
    Whether each network learns from samples of its own, drawn with replacement.
alpha : float, default 0.0001
    Adds alpha / (2 m) · Σ W² to the loss of a batch: over all weights W, biases left out, m being the size of
    a whole batch. The loss is half the squared error, summed over the outputs (`MLPRegressor` goes by the
    same gradient, and reports the mean over the outputs), or in classification the cross-entropy of a
    softmax, for two classes too.
batch_size : int or "auto", default "auto"
    Samples a step; "auto" means 200, or all where there are fewer.
learning_rate_init : float, default 0.001
    The learning rate of Adam, which trains the networks.
max_iter : int, default 200
    How many epochs there are.
dropout : float or sequence of float, default 0.0
    The share of each hidden layer's outputs set to zero in training.
standardize : bool, default False
    Whether X, and in regression y, are scaled by their means and standard deviations, learnt in `fit`.
random_state : int, RandomState or None, default None
    Where the networks' seeds come from.
progress : bool, default False
    Whether a terminal or notebook shows a progress bar.
"""

_ATTRIBUTES = """
ensemble_ : Ensemble
    The networks, in units of scaled targets.
loss_curves_ : list of list of float
    The loss of each network after each epoch, L2 term included.
n_iter_ : int
    The epochs that there were.
n_features_in_ : int
    How many features `fit` had.
feature_names_in_ : ndarray of str
    Their names, where X had any.
"""

_document = partial(document, parameters=_PARAMETERS, attributes=_ATTRIBUTES)


def _distinct_seeds(random: np.random.RandomState, count: int) -> NDArray[Any]:
    """Draw a seed for each network; two alike, which chance may bring, would make twins."""
    while True:
        seeds = random.randint(2**31 - 1, size=count)
        if np.unique(seeds).size == count:
            return seeds


class _BaseEnsemble(BaseEstimator, ABC):
    _shared = (
        "hidden_layer_sizes",
        "activation",
        "alpha",
        "batch_size",
        "learning_rate_init",
        "max_iter",
        "dropout",
        "standardize",
        "random_state",
        "progress",
    )
    _parameter_constraints: dict[str, list[Any]] = {  # noqa: RUF012
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "bootstrap": ["boolean"],
        **{name: REGRESSOR[name] for name in _shared},
    }

    def __init__(
        self,
        n_estimators: int = 10,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str | Sequence[str] = "relu",
        *,
        bootstrap: bool = True,
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate_init: float = 0.001,
        max_iter: int = 200,
        dropout: float | Sequence[float] = 0.0,
        standardize: bool = False,
        random_state: int | np.random.RandomState | None = None,
        progress: bool = False,
    ) -> None:
        self.n_estimators = n_estimators
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.bootstrap = bootstrap
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.max_iter = max_iter
        self.dropout = dropout
        self.standardize = standardize
        self.random_state = random_state
        self.progress = progress

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any) -> Self:
        """Train all networks side by side.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The inputs.
        y : array-like of shape (n_samples,), or (n_samples, n_outputs) in regression
            Class labels, or the numbers to predict.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data are not what they should be.
        DivergenceError
            If a network diverged.
        """
        before = Snapshot(self)
        try:
            self._fit(X, y)
        except Exception:  # Ctrl-C leaves the networks half trained
            before.restore()
            raise
        return self

    @abstractmethod
    def _fit(self, X: Any, y: Any) -> None:
        """Check the data and train on them."""

    def _train(self, X: NDArray[Any], y: NDArray[Any], outputs: int, **options: str) -> None:
        """Make the networks and train them."""
        sizes: Any = self.hidden_layer_sizes
        hidden = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        batch = batch_size(self, len(X), 5)
        random = check_random_state(self.random_state)
        networks = [
            Network(
                [X.shape[1], *hidden, outputs],
                hidden_activations(self.activation, len(hidden)),
                l2=self.alpha / batch,
                dropout=self.dropout,
                dtype=X.dtype.name,
                seed=int(seed),
                **options,
            )
            for seed in _distinct_seeds(random, self.n_estimators)
        ]
        if self.standardize:
            for net in networks:
                net.standardize(X)
        for name in ("loss_curves_", "n_iter_", "noise_"):  # of the ensemble before
            self.__dict__.pop(name, None)
        self.ensemble_ = Ensemble(networks)
        histories = self.ensemble_.fit(
            X,
            y,
            bootstrap=self.bootstrap,
            epochs=self.max_iter,
            batch_size=batch,
            optimizer=Adam(self.learning_rate_init),
            progress=self.progress,
        )
        self.loss_curves_ = [history.loss for history in histories]
        self.n_iter_ = self.max_iter

    def _inputs(self, X: Any) -> NDArray[Any]:
        check_is_fitted(self)
        dtypes = (np.float64, np.float32)
        return np.asarray(validate_data(self, X, dtype=dtypes, reset=False))


@_document
class MLPEnsembleRegressor(RegressorMixin, _BaseEnsemble):
    """Multilayer perceptrons whose predictions are averaged: `fusednet.Ensemble` as an estimator.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}
    noise_ : ndarray of shape (n_outputs,) or None
        The standard deviation of the noise in each target, as `bootstrap` finds it.

    Examples
    --------
    >>> from fusednet.sklearn import MLPEnsembleRegressor
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = MLPEnsembleRegressor(random_state=0, standardize=True).fit(X, y)
    >>> mean, std = model.predict(X, return_std=True)
    """

    def _fit(self, X: Any, y: Any) -> None:
        X, y = validate_data(
            self,
            X,
            y,
            multi_output=True,
            y_numeric=True,
            dtype=(np.float64, np.float32),
            ensure_min_samples=2,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        self._flat = y.ndim == 1
        targets = numeric(y, "y").reshape(len(y), -1)
        self.target_scaling_ = Scaling.of_targets(targets, None, X.dtype) if self.standardize else None
        if self.target_scaling_ is not None:
            targets = self.target_scaling_.transform(targets)
        self._train(X, targets, targets.shape[1], loss="half_mse")
        noise = self.ensemble_.noise
        scale = 1.0 if self.target_scaling_ is None else self.target_scaling_.scale
        self.noise_ = None if noise is None else noise * scale

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Return the mean of the networks' predictions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The inputs.
        return_std : bool, default False
            Whether to return the standard deviation as well: see `fusednet.Ensemble.predict`.

        Returns
        -------
        mean : ndarray of shape (n_samples,), or (n_samples, n_outputs)
        std : ndarray of the same shape
            Only if `return_std`.

        Raises
        ------
        NotFittedError
            Before any `fit`.
        ValueError, TypeError
            If X is not as `fit` takes it, or has other features than there.
        """
        inputs = self._inputs(X)
        mean, std = self.ensemble_.predict(inputs, return_std=True)
        if self.target_scaling_ is not None:
            mean = self.target_scaling_.restore(mean)
            std = np.asarray(std * self.target_scaling_.scale, std.dtype)
        if self._flat:
            mean, std = mean[:, 0], std[:, 0]
        return (mean, std) if return_std else mean


@_document
class MLPEnsembleClassifier(ClassifierMixin, _BaseEnsemble):
    """Multilayer perceptrons whose probabilities are averaged: `fusednet.Ensemble` as an estimator.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels.
    {attributes}

    Examples
    --------
    >>> from fusednet.sklearn import MLPEnsembleClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPEnsembleClassifier(learning_rate_init=0.01, random_state=0, standardize=True).fit(X, y)
    >>> model.score(X, y) > 0.95
    True
    """

    def _fit(self, X: Any, y: Any) -> None:
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        self._train(X, labels, len(self.classes_), output="softmax", loss="cross_entropy")

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the averaged probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.

        Raises
        ------
        NotFittedError
            Before any `fit`.
        ValueError, TypeError
            If X is not as `fit` takes it, or has other features than there.
        """
        inputs = self._inputs(X)
        return self.ensemble_.predict(inputs)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the likeliest labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The inputs.

        Returns
        -------
        ndarray of shape (n_samples,)

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As `predict_proba`.
        """
        best = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[best])
