"""The training loop behind `Network.fit`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fusednet import losses
from fusednet._checks import flag, integer
from fusednet._core import DivergenceError, Training
from fusednet._hooks import Hooks
from fusednet._progress import Progress, ProgressBar
from fusednet._scores import Metrics, Scores
from fusednet._sources import Source, make_source
from fusednet.history import History
from fusednet.layers import Dense
from fusednet.optimizers import SGD, Optimizer, schedule_name

if TYPE_CHECKING:
    import os

    from fusednet.network import Network


@dataclass
class Run:
    """One training: who takes part, and how far it is."""

    net: Network
    optimizer: Optimizer
    source: Source
    scores: Scores
    hooks: Hooks
    epochs_done: int = 0
    # What, raised now, makes it as if there had been no training: before an epoch is computed anything, in
    # the first what is about wrong data or arguments, later nothing.
    undone_by: tuple[type[Exception], ...] = (Exception,)
    # To be in while an epoch is computed.
    turn: AbstractContextManager[object] = field(default_factory=nullcontext)


def fit(
    net: Network,
    X: Any,
    y: Any,
    *,
    epochs: int,
    batch_size: int,
    optimizer: Optimizer | None,
    validation_data: Sequence[Any] | None,
    sample_weight: Any,
    shuffle: bool,
    callbacks: Iterable[Any],
    metrics: Metrics | None,
    progress: bool,
    resume: str | os.PathLike[str] | None,
) -> History:
    """Train `net`: see `Network.fit`."""
    epochs, batch_size, optimizer = check_arguments(epochs, batch_size, optimizer)
    source = make_source(X, y, sample_weight, batch_size, flag("shuffle", shuffle), epochs)
    scores = Scores(source, validation_data, metrics)
    scores.check(net)
    run = Run(net, optimizer, source, scores, Hooks(callbacks))
    return train(run, epochs, progress_bar(epochs, progress), resume)


def check_arguments(epochs: int, batch_size: int, optimizer: Optimizer | None) -> tuple[int, int, Optimizer]:
    """Return what `fit` takes, checked, with the default optimizer in place of None."""
    optimizer = SGD(0.01) if optimizer is None else optimizer
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be an optimizer such as fn.SGD(0.01), not {optimizer!r}")
    return integer("epochs", epochs), integer("batch_size", batch_size), optimizer


def settings(net: Network, optimizer: Optimizer) -> dict[str, Any]:
    """Return by name what a training shares with one that continues it, and with those of other ranks."""
    loss, parameter = losses.resolve(net.loss)
    return {
        "layers": ", ".join(map(Dense.__repr__, net.layers)),
        "trainable": [layer.trainable for layer in net.layers],
        "dtype": net.dtype.name,
        "loss": "a callable" if callable(loss) else loss,
        "loss's parameter": parameter,
        "l2": net.l2,
        "dropout": list(net.dropout),
        "optimizer": type(optimizer).__name__,
        **{
            f"optimizer's {name}": schedule_name(value) if callable(value) else value
            for name, value in optimizer._hyperparameters.items()
        },
    }


def progress_bar(epochs: int, shown: bool) -> Callable[[Run], AbstractContextManager[Progress]]:
    """Return what makes the progress bar of a run once it is known how far that is."""
    wanted = flag("progress", shown)
    return lambda run: ProgressBar(epochs, run.epochs_done, run.source.samples, wanted)


def train(
    run: Run,
    epochs: int,
    make_bar: Callable[[Run], AbstractContextManager[Progress]],
    resume: str | os.PathLike[str] | None = None,
) -> History:
    """Run the epochs; what `fit`, `fit_many` and `fusednet.distributed` share."""
    claim = Training(run.net._core)
    try:
        claim.begin()  # refuses where another thread trains, or this one in a fit around this one
        return _run(run, epochs, make_bar, resume)
    finally:
        claim.end()


def _run(
    run: Run,
    epochs: int,
    make_bar: Callable[[Run], AbstractContextManager[Progress]],
    resume: str | os.PathLike[str] | None,
) -> History:
    net, hooks, start = run.net, run.hooks, _State(run.net, run.optimizer)
    states = _begin(run, epochs, resume)
    try:
        hooks.run("on_train_begin", net)
        if states is not None:
            hooks.load_states(states)
        run.epochs_done = net.history.epochs  # which ranks that share a training may know only now
        with make_bar(run) as bar:
            _train(run, start, epochs, bar)
        hooks.run("on_train_end", net)
    except BaseException as error:
        if isinstance(error, run.undone_by):
            start.restore(net, run.optimizer)
        hooks.run("on_exception", net, error)
        raise
    return net.history


def _begin(run: Run, epochs: int, resume: str | os.PathLike[str] | None) -> Sequence[dict[str, Any]] | None:
    """Start anew, or from a checkpoint, whose states of the callbacks are returned."""
    states = None
    if resume is None:
        run.net.history = History(metrics={name: [] for name in run.scores.names})
    else:
        from fusednet import _checkpoint  # imports safetensors

        states = _checkpoint.restore(resume, run, epochs)
    run.net.optimizer = run.optimizer
    run.net.stop_training = False
    return states


def _train(run: Run, start: _State, epochs: int, bar: Progress) -> None:
    """Run through the epochs that are not done yet."""
    net, optimizer, source, hooks = run.net, run.optimizer, run.source, run.hooks
    finite = net.parameters.copy()  # those of the last epoch whose losses were all finite
    latest = np.empty_like(finite)
    advance = bar.advance if bar.shown else None
    first = run.epochs_done
    for epoch in range(first, epochs):
        optimizer.set_epoch(epoch)
        hooks.run("on_epoch_begin", net, epoch)
        if net.stop_training:
            break
        if epoch == first:
            run.undone_by = TypeError, ValueError
        try:
            with run.turn:
                logs = {
                    "loss": source.train_epoch(net, optimizer, advance),
                    "learning_rate": optimizer.learning_rate,
                }
                if not net._core.copy_parameters(latest):
                    raise DivergenceError("the last update made the parameters non-finite")
                logs.update(run.scores.compute(net))
        except DivergenceError as error:
            restored = _restore_finite(net, source, epoch, finite, start.parameters)
            net._core.set_optimizer_state(optimizer._core, None)
            raise DivergenceError(
                f"training diverged in epoch {epoch} at the learning rate {optimizer.learning_rate:g}: "
                f"{error}; the parameters are those from {restored}. A lower learning rate, "
                "clip_norm=1.0 on the optimizer, or inputs scaled to unit variance (net.standardize) "
                "usually help"
            ) from error
        finite, latest = latest, finite
        net.history.append(logs)
        run.epochs_done = epoch + 1
        bar.end_epoch(source.samples, logs)
        hooks.run("on_epoch_end", net, epoch, logs)
        hooks.run("_on_epoch_complete", run, logs)
        run.undone_by = ()
        if net.stop_training:
            break


class _State:
    """What training changes, to put back when data or arguments turn out to be wrong."""

    def __init__(self, net: Network, optimizer: Optimizer) -> None:
        self.parameters = net.parameters.copy()
        self._optimizer = net.optimizer
        self._optimizer_state = net._core.get_optimizer_state(optimizer._core)
        self._rate = optimizer._rate
        self._seed, self._dropout_step = net._core.seed, net._core.dropout_step
        self._standardization = net._standardization
        self._rng_state = net._rng.bit_generator.state
        self._history = net.history

    def restore(self, net: Network, optimizer: Optimizer) -> None:
        net.parameters = self.parameters
        net.optimizer = self._optimizer
        net._core.set_optimizer_state(optimizer._core, self._optimizer_state)
        optimizer._rate = self._rate
        net._core.seed, net._core.dropout_step = self._seed, self._dropout_step
        net._set_standardization(self._standardization)
        net._rng.bit_generator.state = self._rng_state
        net.history = self._history


def _restore_finite(net: Network, source: Source, epoch: int, last: NDArray[Any], start: NDArray[Any]) -> str:
    """Put the last epoch's parameters back; the first ones where it left the loss beyond repair."""
    net.parameters = last
    with suppress(DivergenceError):  # which a loss function may raise itself
        if epoch > 0 and math.isfinite(source.loss(net)):
            return f"the end of epoch {epoch - 1}"
    net.parameters = start
    return "before the training"
