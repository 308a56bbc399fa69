"""`MLPRegressor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from fusednet._data import numeric
from fusednet.callbacks import Callback
from fusednet.losses import Loss
from fusednet.sklearn import _params
from fusednet.sklearn._base import BaseMLP
from fusednet.sklearn._docs import document
from fusednet.sklearn._scaling import Scaling
from fusednet.sklearn._solvers import Validation

__all__ = ["MLPRegressor"]


@document
class MLPRegressor(RegressorMixin, BaseMLP):
    """A multilayer perceptron that predicts numbers: scikit-learn's `MLPRegressor` on fusednet's core.

    From the same `random_state` it goes through the same weights as scikit-learn's.

    Parameters
    ----------
    loss : str, object of `fusednet.losses`, or callable, default "squared_error"
        What training makes small. "squared_error": half the squared error, averaged over the outputs (its
        gradient is not); "poisson": half the Poisson deviance, summed over the outputs, with exp as the
        output activation. Beyond scikit-learn, those of `fusednet.losses`: "mae", "huber", "quantile", "mse",
        "half_mse", `Huber`, `Quantile`, or a callable.
    {parameters}

    Attributes
    ----------
    {attributes}

    Examples
    --------
    >>> from fusednet.sklearn import MLPRegressor
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = MLPRegressor(random_state=1, standardize=True, early_stopping=True).fit(X, y)
    >>> model.score(X, y) > 0.45
    True
    """

    _parameter_constraints = _params.REGRESSOR

    def __init__(
        self,
        loss: Loss = "squared_error",
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
        weight_decay: float = 0.01,
        rho: float = 0.99,
        standardize: bool = False,
        callbacks: Sequence[Callback] | None = None,
        progress: bool = False,
    ) -> None:
        self.loss = loss
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
        self.weight_decay = weight_decay
        self.rho = rho
        self.standardize = standardize
        self.callbacks = callbacks
        self.progress = progress

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: tuple[Any, ...] | None = None
    ) -> Self:
        """Train for one epoch on these data; under "lbfgs", as `fit` does, from the present weights.

        Parameters
        ----------
        X, y, sample_weight : array-like
            As `fit` takes them.
        validation_data : tuple (X, y) or (X, y, sample_weight), optional
            As `fit` takes it. Needed where `early_stopping` is on: `stopped_early_` then says when the score
            has ceased to improve, and the best weights are put back.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            As `fit`.
        """
        return self._fit(X, y, sample_weight, validation_data, incremental=True)

    def _validate_input(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=["csr", "csc"],
            multi_output=True,
            y_numeric=True,
            dtype=(np.float64, np.float32),
            reset=reset,
        )
        y = numeric(y, "y")
        return X, column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _learn_scaling(self, X: Any, y: Any, sample_weight: NDArray[Any] | None) -> None:
        super()._learn_scaling(X, y, sample_weight)
        # A positive prediction is the loss's own affair.
        wanted = self.standardize and self._output_activation() == "identity"
        targets = y.reshape(len(y), -1)
        dtype = np.dtype(np.float64) if self.solver == "lbfgs" else X.dtype  # the network's
        self.target_scaling_ = Scaling.of_targets(targets, sample_weight, dtype) if wanted else None

    def _encode(self, y: Any) -> tuple[NDArray[Any], int]:
        targets = y.reshape(len(y), -1)
        scaling = self._scaling("target_scaling_")
        return targets if scaling is None else scaling.transform(targets), targets.shape[1]

    def _output_activation(self) -> str:
        return "exp" if self.loss == "poisson" else "identity"

    def _predict(self, X: Any, check_input: bool) -> NDArray[Any]:
        outputs = self._forward(X, check_input)
        scaling = self._scaling("target_scaling_")
        if scaling is not None:
            outputs = scaling.restore(outputs)
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def _score(self, watched: Validation) -> float:
        prediction = self._predict(watched.X, check_input=False)
        if not np.isfinite(prediction).all():
            return float("nan")
        return float(r2_score(watched.y, prediction, sample_weight=watched.weights))

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the predictions.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The inputs.

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_outputs) for several outputs

        Raises
        ------
        NotFittedError
            Before any `fit`.
        ValueError, TypeError
            If X is not as `fit` takes it, or has other features than there.
        """
        check_is_fitted(self)
        return self._predict(X, check_input=True)
