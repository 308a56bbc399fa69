"""`MLPClassifier`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels
from sklearn.utils.validation import check_is_fitted, validate_data

from fusednet.callbacks import Callback
from fusednet.sklearn import _params
from fusednet.sklearn._base import BaseMLP
from fusednet.sklearn._docs import document
from fusednet.sklearn._samples import Samples, by_parts
from fusednet.sklearn._solvers import Validation

__all__ = ["MLPClassifier"]


def _has_epochs(estimator: MLPClassifier) -> bool:
    if estimator.solver == "lbfgs":
        raise AttributeError("partial_fit needs a stochastic solver; lbfgs is not one")
    return True


@document
class MLPClassifier(ClassifierMixin, BaseMLP):
    """A multilayer perceptron that classifies: scikit-learn's `MLPClassifier` on fusednet's core.

    It makes the cross-entropy small, over a softmax of three classes or more, over a sigmoid for two or for
    each label of a multilabel target. From the same `random_state` it goes through the same weights as
    scikit-learn's.

    Parameters
    ----------
    {parameters}
    class_weight : dict, "balanced" or None, default None
        Weights of the classes, multiplied into the sample weights in training; "balanced": n / (k nᵢ) for a
        class of nᵢ of the n samples of a `fit`, with k classes. For a multilabel y only None and "balanced".

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels.
    {attributes}

    Examples
    --------
    >>> from fusednet.sklearn import MLPClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(random_state=1, standardize=True, max_iter=500).fit(X, y)
    >>> model.score(X, y) > 0.95
    True
    """

    _parameter_constraints = _params.CLASSIFIER

    loss = "log_loss"

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str | Sequence[str] = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float | Sequence[float] = 0.0,
        class_weight: Mapping[Any, float] | str | None = None,
        weight_decay: float = 0.01,
        rho: float = 0.99,
        standardize: bool = False,
        callbacks: Sequence[Callback] | None = None,
        progress: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.class_weight = class_weight
        self.weight_decay = weight_decay
        self.rho = rho
        self.standardize = standardize
        self.callbacks = callbacks
        self.progress = progress

    @available_if(_has_epochs)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        classes: Any = None,
        *,
        validation_data: tuple[Any, ...] | None = None,
    ) -> Self:
        """Train for one epoch on these data.

        Parameters
        ----------
        X, y, sample_weight : array-like
            As `fit` takes them; y need not hold every class.
        classes : array-like of shape (n_classes,), optional
            All classes there will be. Needed in the first call, unless y is multilabel; later ones must
            agree.
        validation_data : tuple (X, y) or (X, y, sample_weight), optional
            As `fit` takes it. Needed where `early_stopping` is on: `stopped_early_` then says when the score
            has ceased to improve, and the best weights are put back.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            As `fit`; and where there are no `classes` in the first call, or other ones than then.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                'class_weight="balanced" needs all data at once: give partial_fit a dict of weights'
            )
        return self._fit(X, y, sample_weight, validation_data, incremental=True, classes=classes)

    def _check_first_call(self, y: Any, classes: Any) -> None:
        known = getattr(self, "classes_", None)
        multilabel = known is None and type_of_target(y).startswith("multilabel")
        if classes is None and known is None and not multilabel:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if known is not None:
            if classes is not None and not np.array_equal(known, unique_labels(classes)):
                raise ValueError(
                    f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {known!r}"
                )
            return
        binarizer = LabelBinarizer().fit(y if multilabel else classes)
        if (
            multilabel
            and classes is not None
            and not np.array_equal(unique_labels(classes), binarizer.classes_)
        ):
            raise ValueError(
                f"`classes={classes!r}` are not the columns of a multilabel `y`, {binarizer.classes_}"
            )
        self._label_binarizer, self.classes_ = binarizer, binarizer.classes_

    def _validate_input(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _check_classes(self, y: Any, incremental: bool) -> None:
        if not hasattr(self, "classes_") or not (self.warm_start or incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        elif self.warm_start:
            classes = unique_labels(y)
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous call to "
                    f"fit. Previously got {self.classes_}, `y` has {classes}"
                )
        else:
            self._check_known(y)

    def _check_known(self, y: Any) -> None:
        classes = unique_labels(y)
        if len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {classes}."
            )

    def _encode(self, y: Any) -> tuple[NDArray[Any], int]:
        if self._label_binarizer.y_type_ == "multiclass" and y.ndim == 1:
            return np.searchsorted(self.classes_, y).astype(np.int32), len(self.classes_)
        targets = self._label_binarizer.transform(y).astype(bool)
        return targets, targets.shape[1]

    def _strata(self, samples: Samples) -> NDArray[Any] | None:
        return samples.y if self.n_outputs_ == 1 else None

    def _output_activation(self) -> str:
        return "softmax" if self._label_binarizer.y_type_ == "multiclass" else "logistic"

    def _core_loss(self) -> str:
        return "cross_entropy" if self.out_activation_ == "softmax" else "binary_cross_entropy"

    def _training_weights(self, y: Any, sample_weight: NDArray[Any] | None) -> NDArray[Any] | None:
        if self.class_weight is None:
            return sample_weight
        if y.ndim == 1:  # of all classes, which y need not hold in partial_fit
            of_classes = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
            if not np.isfinite(of_classes).all():
                raise ValueError(f"class_weight must hold finite numbers, not {self.class_weight!r}")
            weights = of_classes[np.searchsorted(self.classes_, y)]
        elif self.class_weight == "balanced":
            weights = compute_sample_weight("balanced", y)
        else:
            raise ValueError(
                f'class_weight of multilabel targets can be "balanced", not {self.class_weight!r}'
            )
        return np.asarray(weights if sample_weight is None else weights * sample_weight)

    def _likeliest(self, X: Any) -> NDArray[Any]:
        """Return which of the classes of softmax it is."""
        return by_parts(self._attach().core.predict_classes, X)

    def _score(self, watched: Validation) -> float:
        if len(self.classes_) == 1:  # which is all that `predict` knows, whatever the output
            return 1.0
        if watched.targets.ndim == 1:
            hits = self._likeliest(watched.X) == watched.targets
        else:
            outputs = self._forward(watched.X, check_input=False)
            hits = ((outputs > 0.5) == watched.targets).all(axis=1)
        return float(np.average(hits, weights=watched.weights))

    def predict(self, X: Any) -> Any:
        """Return the likeliest labels.

        Of more than two classes the logits decide, which tell apart what probabilities round to the same.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The inputs.

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_classes) of 0 and 1 for multilabel targets

        Raises
        ------
        NotFittedError
            Before any `fit`.
        ValueError, TypeError
            If X is not as `fit` takes it, or has other features than there.
        """
        check_is_fitted(self)
        if self.out_activation_ == "softmax":
            return self.classes_[self._likeliest(self._inputs(X))]
        outputs = self._forward(X)
        return self._label_binarizer.inverse_transform(outputs.ravel() if self.n_outputs_ == 1 else outputs)

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As `predict`.
        """
        check_is_fitted(self)
        outputs = self._forward(X)
        return np.hstack([1 - outputs, outputs]) if self.n_outputs_ == 1 else outputs

    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """Return the logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The inputs.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; −∞ with a warning where a probability is zero.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            As `predict`.
        """
        probabilities = self.predict_proba(X)
        return np.asarray(np.log(probabilities, out=probabilities))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
