"""How an estimator is trained: epochs of minibatches, or L-BFGS; when to stop; what to write down."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import _check_sample_weight

from fusednet._data import check_tuple
from fusednet._hooks import Hooks
from fusednet._progress import ProgressBar
from fusednet._scores import about_validation_data
from fusednet.callbacks import ModelCheckpoint
from fusednet.history import History
from fusednet.sklearn._optimizers import LearningRate, MomentOptimizer, SGDOptimizer, StochasticOptimizer
from fusednet.sklearn._samples import Samples

if TYPE_CHECKING:
    from fusednet.network import Network
    from fusednet.optimizers import Optimizer
    from fusednet.sklearn._base import BaseMLP

__all__ = [
    "Validation",
    "batch_size",
    "check",
    "fit_lbfgs",
    "fit_stochastic",
    "largest_batch",
    "reset",
    "validation",
]


@dataclass(frozen=True)
class Validation:
    """Data to watch: as they came, for the score, and as the core takes them, for the loss."""

    X: Any
    y: Any
    targets: NDArray[Any]
    weights: NDArray[Any] | None
    samples: Samples

    @classmethod
    def of(cls, estimator: BaseMLP, X: Any, y: Any, weights: NDArray[Any] | None) -> Validation:
        """Encode arrays that have been checked."""
        targets, outputs = estimator._encode(y)
        if outputs != estimator.n_outputs_:
            raise ValueError(f"y has {outputs} outputs, but the network has {estimator.n_outputs_}")
        if weights is not None and not weights.any():
            raise ValueError("Sample weights must contain at least one non-zero number.")
        if estimator.early_stopping and y.shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return cls(X, y, targets, weights, Samples(X, targets, weights))

    def loss(self, network: Network) -> float:
        """Return the loss without the L2 term."""
        l2, network.l2 = network.l2, 0.0
        try:
            return self.samples.loss(network._core)
        finally:
            network.l2 = l2


def check(estimator: BaseMLP, validation_data: Any) -> None:
    """Raise where a callback is not for estimators, or something is not for the solver."""
    for callback in estimator.callbacks or ():
        if isinstance(callback, ModelCheckpoint):
            raise ValueError("ModelCheckpoint is for Network.fit; an estimator is saved by pickle or joblib")
    Hooks(estimator.callbacks or ())
    if estimator.solver != "lbfgs":
        return
    for name, given in (
        ("validation_data", validation_data is not None),
        ("callbacks", estimator.callbacks),
        ("progress=True", estimator.progress),
        ("dropout", np.any(estimator.dropout)),
    ):
        if given:
            raise ValueError(f'{name} needs a stochastic solver such as "adam", not solver="lbfgs"')


def reset(estimator: BaseMLP) -> None:
    """Forget what earlier epochs left."""
    estimator.loss_curve_ = []
    estimator._no_improvement_count = 0
    estimator.best_loss_ = None if estimator.early_stopping else np.inf
    estimator.validation_scores_ = [] if estimator.early_stopping else None
    estimator.best_validation_score_ = -np.inf if estimator.early_stopping else None
    estimator.validation_curve_ = None
    # None: the present parameters are the best ones.
    estimator._best_parameters = (
        estimator._attach().core.parameters.copy() if estimator.early_stopping else None
    )


def validation(
    estimator: BaseMLP,
    samples: Samples,
    data: tuple[Any, Any, NDArray[Any] | None],
    validation_data: tuple[Any, ...] | None,
    incremental: bool,
) -> tuple[Samples, Validation | None]:
    """Return the samples to train on and those to watch: given, or held out of `data`, as in `samples`."""
    if validation_data is not None:
        return samples, _given(estimator, validation_data)
    if not estimator.early_stopping:
        return samples, None
    if incremental:
        raise ValueError("partial_fit does not support early_stopping=True without validation_data")
    X, y, sample_weight = data
    train, held_out = train_test_split(
        np.arange(len(samples)),
        random_state=estimator._random_state,
        test_size=estimator.validation_fraction,
        stratify=estimator._strata(samples),
    )
    weights = None if sample_weight is None else sample_weight[held_out]
    chosen = X.tocsr()[held_out] if hasattr(X, "tocsr") else X[held_out]
    return samples.select(train), Validation.of(estimator, chosen, y[held_out], weights)


def _given(estimator: BaseMLP, data: tuple[Any, ...]) -> Validation:
    check_tuple("validation_data", data)
    with about_validation_data():
        X, y = estimator._validate_input(data[0], data[1], reset=False)
        weights = _check_sample_weight(data[2], X) if len(data) == 3 and data[2] is not None else None
        estimator._check_known(y)
        return Validation.of(estimator, X, y, weights)


def _make_optimizer(estimator: BaseMLP) -> StochasticOptimizer:
    e = estimator
    if e.solver == "sgd":
        return SGDOptimizer(
            e.learning_rate_init, e.learning_rate, e.momentum, e.nesterovs_momentum, e.power_t
        )
    if e.solver == "rmsprop":
        return MomentOptimizer("rmsprop", e.learning_rate_init, 0.0, e.rho, e.epsilon)
    rule, decay = ("adamw", e.weight_decay) if e.solver == "adamw" else ("inner_adam", 0.0)
    return MomentOptimizer(rule, e.learning_rate_init, e.beta_1, e.beta_2, e.epsilon, decay)


def batch_size(estimator: Any, samples: int, depth: int) -> int:
    """Return an estimator's batch size for so many samples; warnings are about the caller so far up."""
    if estimator.batch_size != "auto" and estimator.batch_size > samples:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
            stacklevel=depth + 1,
        )
    return min(largest_batch(estimator), samples)


def largest_batch(estimator: Any) -> int:
    """Return an estimator's batch size, however many samples there are."""
    return 200 if estimator.batch_size == "auto" else int(estimator.batch_size)


def fit_stochastic(
    estimator: BaseMLP, network: Network, samples: Samples, watched: Validation | None, incremental: bool
) -> None:
    """Train by minibatches: one epoch where `incremental`, else until converged or `max_iter` is reached."""
    if not incremental or not hasattr(estimator, "_optimizer"):
        estimator._optimizer = _make_optimizer(estimator)
    optimizer: StochasticOptimizer = estimator._optimizer
    optimizer.bind(network)
    run = _Run(estimator, network, watched)
    # None here: the last call has put the best parameters back. (scikit-learn's warm start leaves it so.)
    if incremental and estimator.early_stopping and estimator._best_parameters is None:
        estimator._best_parameters = network.parameters.copy()
    try:
        run.hooks.run("on_train_begin", network)
        stopped = _epochs(run, samples, incremental)
        estimator.stopped_early_ = stopped
        if estimator.early_stopping and (stopped or not incremental):
            run.restore_best()
        run.hooks.run("on_train_end", network)
    except BaseException as error:
        run.hooks.run("on_exception", network, error)
        raise


def _epochs(run: _Run, samples: Samples, incremental: bool) -> bool:
    """Train, and return whether it met the stopping criterion."""
    estimator, network = run.estimator, run.network
    optimizer: StochasticOptimizer = estimator._optimizer
    batch = batch_size(estimator, len(samples), 6)
    permutation = np.arange(len(samples)) if estimator.shuffle else None
    stopped = False
    wanted = estimator.progress and not incremental
    with ProgressBar(estimator.max_iter, 0, len(samples), wanted) as bar:
        advance = bar.advance if bar.shown else None

        def say(text: str) -> None:
            if estimator.verbose:
                bar.write(text)

        try:
            estimator.n_iter_ = 0
            while not stopped:
                if permutation is not None:
                    permutation = permutation[estimator._random_state.permutation(len(samples))]
                run.hooks.run("on_epoch_begin", network, estimator.n_iter_)
                if network.stop_training:
                    break
                loss = samples.train_epoch(network._core, optimizer._core, batch, permutation, advance)
                estimator.n_iter_ += 1
                estimator.t_ += len(samples)
                logs = run.record(loss, optimizer, say)
                bar.end_epoch(len(samples), logs)
                optimizer.iteration_ends(estimator.t_)
                if estimator._no_improvement_count > estimator.n_iter_no_change:
                    stopped = optimizer.trigger_stopping(run.stopping_message(), say)
                    if not stopped:
                        estimator._no_improvement_count = 0
                run.hooks.run("on_epoch_end", network, estimator.n_iter_ - 1, logs)
                if incremental or stopped or network.stop_training:
                    break
                if estimator.n_iter_ == estimator.max_iter:
                    warnings.warn(
                        f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the "
                        "optimization hasn't converged yet.",
                        ConvergenceWarning,
                        stacklevel=6,
                    )
                    break
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=6)
    return stopped


class _Run:
    """One call of fit or partial_fit: what is written down after each epoch."""

    def __init__(self, estimator: BaseMLP, network: Network, watched: Validation | None) -> None:
        self.estimator, self.network, self._watched = estimator, network, watched
        self.hooks = Hooks(estimator.callbacks or ())
        if not hasattr(estimator, "loss_curve_"):  # lbfgs came before
            reset(estimator)
        network.stop_training = False
        network.optimizer = cast("Optimizer", LearningRate(estimator._optimizer))
        network.history = History(metrics={} if watched is None else {"val_score": []})
        if watched is None:
            if estimator.best_loss_ is None:  # early stopping was on
                estimator.best_loss_ = np.inf
            return
        if estimator.validation_scores_ is None:  # there was nothing to watch
            estimator.validation_scores_, estimator.best_validation_score_ = [], -np.inf
        if estimator.validation_curve_ is None:
            estimator.validation_curve_ = []

    def record(
        self, loss: float, optimizer: StochasticOptimizer, say: Callable[[str], object]
    ) -> dict[str, float]:
        """Write an epoch down, say how it went, and see whether it was an improvement."""
        e = self.estimator
        e.loss_ = loss
        e.loss_curve_.append(loss)
        say(f"Iteration {e.n_iter_}, loss = {loss:.8f}")
        logs = {"loss": loss, "learning_rate": optimizer._core.learning_rate}
        score = None
        if self._watched is not None:
            score = e._score(self._watched)
            with about_validation_data():
                logs["val_loss"] = self._watched.loss(self.network)
            logs["val_score"] = score
            e.validation_scores_.append(score)
            e.validation_curve_.append(logs["val_loss"])
            say(f"Validation score: {score:f}")
        self._compare(loss, score)
        self.network.history.append(logs)
        return logs

    def _compare(self, loss: float, score: float | None) -> None:
        e = self.estimator
        if e.early_stopping:
            stalled = score < e.best_validation_score_ + e.tol
        else:
            stalled = loss > e.best_loss_ - e.tol
            e.best_loss_ = loss if loss < e.best_loss_ else e.best_loss_
        e._no_improvement_count = e._no_improvement_count + 1 if stalled else 0
        if score is not None and score > e.best_validation_score_:
            e.best_validation_score_ = score
            if e.early_stopping:
                e._best_parameters = self.network.parameters.copy()

    def restore_best(self) -> None:
        """Put the best weights back; later training then goes on from them."""
        if self.estimator._best_parameters is not None:
            self.network.parameters = self.estimator._best_parameters
            self.estimator._best_parameters = None

    def stopping_message(self) -> str:
        """Say what has not improved."""
        e = self.estimator
        what = "Validation score" if e.early_stopping else "Training loss"
        return f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} consecutive epochs."


def fit_lbfgs(estimator: BaseMLP, network: Network, samples: Samples) -> None:
    """Train by SciPy's L-BFGS-B on the flat parameters, over all samples at once."""
    network.history = History()  # which stays empty: it is of epochs
    core = network._core
    decayed = np.zeros_like(network.parameters)  # 1 at weights, 0 at biases
    start = 0
    for layer in network.layers:
        decayed[start : start + layer.weights.size] = 1.0
        start += layer.parameter_count
    alpha, network.l2 = float(estimator.alpha), 0.0

    def objective(parameters: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        network.parameters = parameters
        loss, gradient, weight = samples.loss_and_gradient(core)
        weights = decayed * parameters
        return loss + 0.5 * alpha / weight * float(weights @ weights), gradient + alpha / weight * weights

    result = scipy.optimize.minimize(
        objective,
        network.parameters.copy(),
        method="L-BFGS-B",
        jac=True,
        options={"maxfun": estimator.max_fun, "maxiter": estimator.max_iter, "gtol": estimator.tol},
    )
    network.parameters = result.x
    network.l2 = alpha
    estimator.loss_ = float(result.fun)
    estimator.n_iter_ = min(int(result.nit), estimator.max_iter)
    if result.status != 0:
        hint = f" Raise max_iter ({estimator.max_iter})." if result.nit >= estimator.max_iter else ""
        warnings.warn(
            f"lbfgs failed to converge after {estimator.n_iter_} iteration(s) (status={result.status}): "
            f"{result.message}.{hint} Scaled inputs, as by standardize=True, may help too.",
            ConvergenceWarning,
            stacklevel=5,
        )
