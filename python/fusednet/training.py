"""The training loop behind `Network.fit`."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fusednet._core import DivergenceError
from fusednet._data import as_array, as_weights, sample_count
from fusednet._mapped import MappedRows, is_large_map
from fusednet._prefetch import Prefetch
from fusednet._validation import integer
from fusednet.history import History
from fusednet.optimizers import SGD, Optimizer

if TYPE_CHECKING:
    from fusednet.network import Network

Metrics: TypeAlias = Mapping[str, Callable[[NDArray[Any], NDArray[Any]], float]]

_HOOKS = ("on_train_begin", "on_epoch_begin", "on_epoch_end", "on_train_end")


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
) -> History:
    """Train `net`: see `Network.fit`."""
    epochs, batch_size, optimizer = check_arguments(epochs, batch_size, optimizer)
    source = _source(X, y, sample_weight, batch_size, shuffle, epochs)
    scores = _Scores(source, validation_data, metrics or {})
    return train(net, source, scores, _Hooks(callbacks), optimizer, epochs=epochs, progress=progress)


def check_arguments(epochs: int, batch_size: int, optimizer: Optimizer | None) -> tuple[int, int, Optimizer]:
    """Return what `fit` takes, checked, with the default optimizer in place of None."""
    optimizer = SGD(0.01) if optimizer is None else optimizer
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be an optimizer such as fn.SGD(0.01), not {optimizer!r}")
    return integer("epochs", epochs), integer("batch_size", batch_size), optimizer


def train(
    net: Network,
    source: _Source,
    scores: _Scores,
    hooks: _Hooks,
    optimizer: Optimizer,
    *,
    epochs: int,
    progress: bool,
) -> History:
    """Run the epochs; what `fit` and `fusednet.distributed` share."""
    start = _State(net, optimizer)
    finite = start.parameters.copy()  # those of the last epoch whose losses were all finite
    history = net.history = History(metrics={name: [] for name in scores.names})
    net.stop_training = False
    hooks.run("on_train_begin", net)
    with _progress_bar(epochs, progress) as bar:
        for epoch in range(epochs):
            optimizer.set_epoch(epoch)
            hooks.run("on_epoch_begin", net, epoch)
            try:
                logs = {"loss": source.train_epoch(net, optimizer), "learning_rate": optimizer.learning_rate}
                if not np.isfinite(net.parameters).all():
                    raise DivergenceError("the last update made the parameters non-finite")
                logs.update(scores.compute(net))
            except DivergenceError as error:
                restored = _restore_finite(net, source, epoch, finite, start.parameters)
                net._core.set_optimizer_state(optimizer._core, None)
                raise DivergenceError(
                    f"training diverged in epoch {epoch} at the learning rate {optimizer.learning_rate:g}: "
                    f"{error}; the parameters are those from {restored}. A lower learning rate, "
                    "clip_norm=1.0 on the optimizer, or inputs scaled to unit variance (net.standardize) "
                    "usually help"
                ) from error
            except (TypeError, ValueError):  # about the data: as if fit had never been called
                start.restore(net, optimizer)
                raise
            except RuntimeError:  # another thread is training: its parameters are not ours to restore
                start.restore_bookkeeping(net)
                raise
            np.copyto(finite, net.parameters)
            _record(history, logs)
            if bar is not None:
                bar.set_postfix_str(_postfix(logs), refresh=False)
                bar.update()
            hooks.run("on_epoch_end", net, epoch, logs)
            if net.stop_training:
                break
    hooks.run("on_train_end", net)
    return history


class _Rows:
    """Arrays, trained on in one call of the core an epoch."""

    def __init__(self, X: Any, y: Any, sample_weight: Any, batch_size: int, shuffle: bool) -> None:
        self.X, self.y = as_array(X), as_array(y, "y")
        self.samples = sample_count(self.X)
        self.sample_weight = as_weights(sample_weight, self.samples)
        self._batch_size, self._shuffle = batch_size, shuffle

    def train_epoch(self, net: Network, optimizer: Optimizer) -> float:
        order = net._rng.permutation(self.samples) if self._shuffle else None
        return net._core.train_epoch(
            self.X, self.y, optimizer._core, self._batch_size, order, self.sample_weight
        )

    def loss(self, net: Network) -> float:
        return net._core.loss(self.X, self.y, self.sample_weight)


class _Batches:
    """An iterable of batches, or a callable that returns one for each epoch."""

    def __init__(self, batches: Any, epochs: int) -> None:
        self._batches = batches
        if not callable(batches) and epochs > 1 and iter(batches) is batches:
            raise ValueError(
                f"{type(batches).__name__} runs dry after one epoch, and there are {epochs}; give a list of "
                "batches or a callable that returns a new iterator for each epoch"
            )

    def train_epoch(self, net: Network, optimizer: Optimizer) -> float:
        total = seen = 0.0
        batches = self._batches() if callable(self._batches) else self._batches
        ready = isinstance(batches, (list, tuple))  # they are all there: nothing to prepare ahead
        with nullcontext(map(_batch, batches)) if ready else Prefetch(batches, _own_batch) as prepared:
            for X, y, weights in prepared:
                self._last = X, y, weights
                size = float(sample_count(X) if weights is None else weights.sum())
                total += size * net._core.train_step(X, y, optimizer._core, weights)
                seen += size
        if seen == 0:
            raise ValueError("the iterable of batches gave none in this epoch")
        return total / seen

    def loss(self, net: Network) -> float:
        return net._core.loss(*self._last)


def _batch(batch: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    """Return a batch as arrays."""
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        raise TypeError(f"a batch must be (X, y) or (X, y, sample_weight), not {type(batch).__name__}")
    X, y = as_array(batch[0]), as_array(batch[1], "y")
    return X, y, as_weights(batch[2], sample_count(X)) if len(batch) == 3 else None


def _own_batch(batch: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    """Return copies: whoever makes the batches may fill the same arrays anew while this one trains."""
    X, y, weights = _batch(batch)
    return X.copy(), y.copy(), None if weights is None else weights.copy()


_Source: TypeAlias = _Rows | MappedRows | _Batches


def _source(X: Any, y: Any, sample_weight: Any, batch_size: int, shuffle: bool, epochs: int) -> _Source:
    if y is not None and is_large_map(X):
        return MappedRows(X, y, sample_weight, batch_size, shuffle)
    if y is not None:
        return _Rows(X, y, sample_weight, batch_size, shuffle)
    if hasattr(X, "__array__") or not (callable(X) or isinstance(X, Iterable)):
        raise TypeError(f"fit needs y beside an X of type {type(X).__name__}")
    if sample_weight is not None:
        raise ValueError("with an iterable of batches, sample weights are the third element of each batch")
    return _Batches(X, epochs)


class _Scores:
    """What is computed after each epoch: the validation loss and the metrics."""

    def __init__(self, source: _Source, validation_data: Sequence[Any] | None, metrics: Metrics) -> None:
        self._validation: tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None] | None = None
        prefix = ""
        if validation_data is not None:
            if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
                raise TypeError("validation_data must be (X, y) or (X, y, sample_weight)")
            X, y = as_array(validation_data[0], "validation X"), as_array(validation_data[1], "validation y")
            weights = validation_data[2] if len(validation_data) == 3 else None
            self._validation = X, y, as_weights(weights, sample_count(X), "validation sample_weight")
            self._scored, prefix = (X, y), "val_"
        elif isinstance(source, _Batches):
            if metrics:
                raise ValueError("metrics on an iterable of batches need validation_data")
        elif metrics:
            self._scored = source.X, source.y
        if not isinstance(metrics, Mapping):
            raise TypeError(f'metrics must be a dict such as {{"name": f}}, not {metrics!r}')
        self._metrics = {f"{prefix}{name}": function for name, function in metrics.items()}
        for name, function in self._metrics.items():
            if name in ("loss", "val_loss", "learning_rate"):
                raise ValueError(f"a metric cannot have the name {name!r}, which fit uses itself")
            if not callable(function):
                raise TypeError(f"the metric {name!r} must be a callable f(y_true, y_pred), not {function!r}")

    @property
    def names(self) -> list[str]:
        return list(self._metrics)

    def compute(self, net: Network) -> dict[str, float]:
        values = {}
        if self._validation is not None:
            try:
                values["val_loss"] = net._core.loss(*self._validation)
            except (TypeError, ValueError) as error:
                error.add_note("This is about validation_data.")
                raise
        if self._metrics:
            X, y = self._scored
            prediction = net._core.predict(X)
            if y.ndim == 1 and prediction.shape == (len(y), 1):
                prediction = prediction[:, 0]  # (n,) − (n, 1) would broadcast to (n, n)
            values.update({name: float(f(y, prediction)) for name, f in self._metrics.items()})
        return values


class _Hooks:
    """The methods of the callbacks, by their names; an object need not have them all."""

    def __init__(self, callbacks: Iterable[Any]) -> None:
        callbacks = list(callbacks)
        for callback in callbacks:
            if isinstance(callback, type) or not any(hasattr(callback, hook) for hook in _HOOKS):
                raise TypeError(
                    f"a callback must be an object with methods like fn.Callback's, not {callback!r}"
                )
        self._methods = {
            hook: [getattr(callback, hook) for callback in callbacks if hasattr(callback, hook)]
            for hook in _HOOKS
        }

    def run(self, hook: str, *arguments: Any) -> None:
        for method in self._methods[hook]:
            method(*arguments)


class _State:
    """What training changes, to put back when the data turn out to be wrong."""

    def __init__(self, net: Network, optimizer: Optimizer) -> None:
        self.parameters = net.parameters.copy()
        self._optimizer_state = net._core.get_optimizer_state(optimizer._core)
        self._dropout_step = net._core.dropout_step
        self._rng_state = net._rng.bit_generator.state
        self._history = net.history

    def restore(self, net: Network, optimizer: Optimizer) -> None:
        net.parameters = self.parameters
        net._core.set_optimizer_state(optimizer._core, self._optimizer_state)
        net._core.dropout_step = self._dropout_step
        self.restore_bookkeeping(net)

    def restore_bookkeeping(self, net: Network) -> None:
        net._rng.bit_generator.state = self._rng_state
        net.history = self._history


def _restore_finite(
    net: Network, source: _Source, epoch: int, last: NDArray[Any], start: NDArray[Any]
) -> str:
    """Put the last epoch's parameters back; the first ones where it left the loss beyond repair."""
    net.parameters = last
    if epoch > 0 and math.isfinite(source.loss(net)):
        return f"the end of epoch {epoch - 1}"
    net.parameters = start
    return "before the training"


def _record(history: History, logs: dict[str, float]) -> None:
    history.loss.append(logs["loss"])
    history.learning_rate.append(logs["learning_rate"])
    if "val_loss" in logs:
        history.val_loss.append(logs["val_loss"])
    for name, values in history.metrics.items():
        values.append(logs[name])


def _progress_bar(epochs: int, wanted: bool) -> AbstractContextManager[Any]:
    """Return a bar over the epochs; nothing where nobody would see it."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    if not (wanted and (terminal or "ipykernel" in sys.modules)):
        return nullcontext()
    from tqdm.auto import tqdm  # type: ignore[import-untyped]  # slow to import, so only for a bar

    bar: AbstractContextManager[Any] = tqdm(total=epochs, unit="epoch")
    return bar


def _postfix(logs: dict[str, float]) -> str:
    shown = (name for name in ("loss", "val_loss") if name in logs)
    return ", ".join(f"{name}={logs[name]:.4g}" for name in shown)
