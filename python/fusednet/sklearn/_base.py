"""What the classifier and the regressor share: parameters in, arrays out, and the network between them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, validate_data

from fusednet._architecture import per_hidden_layer
from fusednet._core import DivergenceError
from fusednet.network import Network
from fusednet.sklearn import _solvers
from fusednet.sklearn._engine import Engine, Settings, common_dtype
from fusednet.sklearn._params import core_activation, hidden_activations
from fusednet.sklearn._samples import Samples, by_parts
from fusednet.sklearn._scaling import Scaling
from fusednet.sklearn._snapshot import Snapshot

__all__ = ["BaseMLP"]

_LOSSES = {"squared_error": "half_mse", "log_loss": "cross_entropy"}


class BaseMLP(BaseEstimator, ABC):
    """Fitting and the forward pass.

    `coefs_` and `intercepts_` are views into the buffers of a network, the engine. Assigning others is fine:
    they are copied in before they are used.
    """

    _parameter_constraints: dict[str, list[Any]]
    coefs_: list[NDArray[Any]]
    intercepts_: list[NDArray[Any]]

    @abstractmethod
    def _validate_input(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        """Return X and y as arrays, checked by scikit-learn's rules."""

    def _check_first_call(self, y: Any, classes: Any) -> None:
        """Learn the classes that `partial_fit` is told of, or check that they are those of its first call."""

    def _check_classes(self, y: Any, incremental: bool) -> None:
        """Learn the classes, or check that there are no new ones."""

    def _check_known(self, y: Any) -> None:
        """Raise ValueError where y has classes that the network does not know."""

    def _strata(self, samples: Samples) -> NDArray[Any] | None:
        """Return what held-out samples are stratified by."""
        return None

    @abstractmethod
    def _encode(self, y: Any) -> tuple[NDArray[Any], int]:
        """Return the targets that the core trains on, and how many outputs they take."""

    @abstractmethod
    def _output_activation(self) -> str:
        """Return what a new network's `out_activation_` is."""

    @abstractmethod
    def _score(self, watched: _solvers.Validation) -> float:
        """Return the accuracy or R² on validation data."""

    def _training_weights(self, y: Any, sample_weight: NDArray[Any] | None) -> NDArray[Any] | None:
        """Return the weights that training goes by."""
        return sample_weight

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: tuple[Any, ...] | None = None
    ) -> Self:
        """Train, from new weights or, under `warm_start`, from the present ones.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The inputs.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, or the numbers to predict.
        sample_weight : array-like of shape (n_samples,), optional
            The weights of the samples.
        validation_data : tuple (X, y) or (X, y, sample_weight), optional
            Data to compute loss and score on after each epoch. With `early_stopping` they take the place of
            the samples that would be held out. Not for the solver "lbfgs".

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data are not what they should be, or training ended in weights that are not
            finite.
        DivergenceError
            If a loss of one's own has a gradient that is not finite.
        """
        return self._fit(X, y, sample_weight, validation_data, incremental=False)

    def _fit(self, *data: Any, incremental: bool, classes: Any = None) -> Self:
        """Train on what `fit` or `partial_fit` was given, or leave the estimator as it was."""
        before = Snapshot(self)
        try:
            network, samples, watched = self._prepare(*data, incremental=incremental, classes=classes)
        except BaseException:
            before.restore()
            raise
        lbfgs = self.solver == "lbfgs"
        if lbfgs or watched is not None or len(samples) > _solvers.largest_batch(self):
            before.keep_parameters()  # else the core refuses before the only step
        try:
            if lbfgs:
                _solvers.fit_lbfgs(self, network, samples)
            else:
                _solvers.fit_stochastic(self, network, samples, watched, incremental)
        except Exception as error:
            # There is nothing to keep, unless what is left of a divergence, as with scikit-learn's.
            if network.history.epochs == 0 and not isinstance(error, DivergenceError):
                before.restore()
            raise
        if not np.isfinite(network.parameters).all():
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large values and "
                "need to be preprocessed."
            )
        return self

    def _prepare(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation_data: tuple[Any, ...] | None,
        *,
        incremental: bool,
        classes: Any,
    ) -> tuple[Network, Samples, _solvers.Validation | None]:
        """Return the network, the samples to train it on and those to watch, all of them checked."""
        _solvers.check(self, validation_data)
        if incremental:
            self._check_first_call(y, classes)
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        hidden = self._hidden_sizes()
        X, y = self._validate_input(X, y, reset=first_pass)
        self._check_classes(y, incremental)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        self._random_state = check_random_state(self.random_state)
        if first_pass:
            self._learn_scaling(X, y, sample_weight)
        targets, n_outputs = self._encode(y)
        if first_pass:
            self._initialize([X.shape[1], *hidden, n_outputs], X.dtype)
        elif np.shape(self.coefs_[-1])[1] != n_outputs:
            raise ValueError(
                f"y has {n_outputs} outputs, but the network was fitted with {np.shape(self.coefs_[-1])[1]}"
            )
        else:
            self._check_sizes(hidden)
        self.n_outputs_ = n_outputs
        lbfgs = self.solver == "lbfgs"
        engine = self._attach(np.dtype(np.float64) if lbfgs else None)
        self.coefs_, self.intercepts_ = list(engine.coefs), list(engine.intercepts)  # whatever was assigned
        network = engine.network
        network.l2 = self.alpha
        weights = self._training_weights(y, sample_weight)
        samples = Samples(X, targets, weights)
        if lbfgs:
            return network, samples, None
        data = X, y, sample_weight
        return network, *_solvers.validation(self, samples, data, validation_data, incremental)

    def _check_sizes(self, hidden: list[int]) -> None:
        """Raise where the sizes are neither those that were fitted nor those of what was assigned since."""
        present = [np.shape(coef)[1] for coef in self.coefs_[:-1]]
        if hidden not in (present, getattr(self, "_fitted_sizes", hidden)):
            raise ValueError(f"hidden_layer_sizes is {hidden}, but the network was fitted with {present}")

    def _hidden_sizes(self) -> list[int]:
        sizes = self.hidden_layer_sizes
        sizes = list(sizes) if hasattr(sizes, "__iter__") else [sizes]
        if np.any(np.array(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return sizes

    def _initialize(self, units: list[int], dtype: np.dtype[Any]) -> None:
        """Draw new weights, in scikit-learn's order, and forget the last training."""
        self.n_iter_ = self.t_ = 0
        self._fitted_sizes = units[1:-1]
        self.n_layers_ = len(units)
        self.out_activation_ = self._output_activation()
        hidden = hidden_activations(self.activation, len(units) - 2)
        # The output's initial range goes by the activation before it; without hidden layers by `activation`.
        deciding = [*hidden, *(hidden[-1:] or hidden_activations(self.activation or "relu", 1))]
        self.coefs_, self.intercepts_ = [], []
        for (fan_in, fan_out), activation in zip(pairwise(units), deciding, strict=True):
            factor = 2.0 if activation == "sigmoid" else 6.0
            limit = np.sqrt(factor / (fan_in + fan_out))
            coef = self._random_state.uniform(-limit, limit, (fan_in, fan_out))
            intercept = self._random_state.uniform(-limit, limit, fan_out)
            self.coefs_.append(coef.astype(dtype, copy=False))
            self.intercepts_.append(intercept.astype(dtype, copy=False))
        self.__dict__.pop("_engine", None)
        self._dropout_step = 0
        self._dropout_seed = int(self._random_state.randint(2**31 - 1)) if np.any(self.dropout) else 0
        if self.solver != "lbfgs":
            _solvers.reset(self)

    def _learn_scaling(self, X: Any, y: Any, sample_weight: NDArray[Any] | None) -> None:
        self.input_scaling_ = Scaling.learn(X, sample_weight) if self.standardize else None

    def _scaling(self, name: str) -> Scaling | None:
        """Return one of the scalings; None too where `coefs_` was assigned before any fit."""
        scaling: Scaling | None = getattr(self, name, None)
        return scaling

    def _core_loss(self) -> Any:
        """Return the core's loss, or one with a parameter, or a callable."""
        return _LOSSES.get(self.loss, self.loss) if isinstance(self.loss, str) else self.loss

    def _settings(self) -> Settings:
        count = len(self.coefs_) - 1
        return (
            tuple(hidden_activations(self.activation, count)),
            core_activation(self.out_activation_),
            self._core_loss(),
            tuple(per_hidden_layer("dropout", self.dropout, count)),
        )

    def _attach(self, dtype: np.dtype[Any] | None = None) -> Engine:
        """Return the engine, with the values of `coefs_` and `intercepts_`; a new one where they differ."""
        settings, scaling = self._settings(), self._scaling("input_scaling_")
        engine: Engine | None = self.__dict__.get("_engine")
        if engine is not None:
            same_dtype = dtype in (None, engine.network.dtype)
            if same_dtype and engine.fits(self.coefs_, self.intercepts_, settings, scaling):
                engine.pull(self.coefs_, self.intercepts_)
                return engine
            self._dropout_step = engine.core.dropout_step
        dtype = common_dtype(self.coefs_) if dtype is None else dtype
        seed = getattr(self, "_dropout_seed", 0)
        engine = Engine(self.coefs_, self.intercepts_, settings, scaling, dtype, seed)
        engine.core.dropout_step = getattr(self, "_dropout_step", 0)
        if hasattr(self, "_optimizer"):
            self._optimizer.bind(engine.network)
        # At once, so that two threads that predict each see one engine and its own arrays.
        self.__dict__.update(coefs_=list(engine.coefs), intercepts_=list(engine.intercepts), _engine=engine)
        return engine

    def _forward(self, X: Any, check_input: bool = True) -> NDArray[Any]:
        """Return the network's outputs, of shape (n_samples, n_outputs)."""
        if check_input:
            X = self._inputs(X)
        outputs = by_parts(self._attach().core.predict, X)
        return outputs.astype(np.result_type(X.dtype, outputs.dtype), copy=False)

    def _inputs(self, X: Any) -> Any:
        return validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        engine = state.pop("_engine", None)
        if engine is not None:
            state["_dropout_step"] = engine.core.dropout_step
        return state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
