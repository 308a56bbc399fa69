"""What a training takes its samples from: arrays, or batches that somebody else makes."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias

from fusednet import _core as core
from fusednet._data import as_array, as_weights, check_tuple, rows_together
from fusednet._mapped import MappedRows, is_large_map, is_map
from fusednet._prefetch import Prefetch
from fusednet._progress import Advance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fusednet.network import Network
    from fusednet.optimizers import Optimizer


class Rows:
    """Arrays, trained on in one call of the core an epoch."""

    def __init__(self, X: Any, y: Any, sample_weight: Any, batch_size: int, shuffle: bool) -> None:
        self.X, self.y = as_array(X), as_array(y, "y")
        if shuffle and not is_map(X):
            self.X = rows_together(self.X)
        self.samples = len(self.X)
        self.sample_weight = as_weights(sample_weight, self.samples)
        self._batch_size, self._shuffle = batch_size, shuffle

    @property
    def settings(self) -> dict[str, Any]:
        """What a training must share with the one that it continues."""
        return {
            "samples": self.samples,
            "batch_size": self._batch_size,
            "shuffle": self._shuffle,
            "sample_weight": self.sample_weight is not None,
        }

    def train_epoch(self, net: Network, optimizer: Optimizer, progress: Advance | None) -> float:
        return net._core.train_epoch(
            self.X, self.y, optimizer._core, self._batch_size, self.order(net), self.sample_weight, progress
        )

    def order(self, net: Network) -> NDArray[np.int64] | None:
        """Return the rows in the order of the next epoch; None means as they lie."""
        if not self._shuffle:
            return None
        # Several times as fast as net._rng.permutation, which small networks would feel.
        return core.random_order(self.samples, net._rng.bit_generator.random_raw())

    def loss(self, net: Network) -> float:
        return net._core.loss(self.X, self.y, self.sample_weight)


class Batches:
    """An iterable of batches, or a callable that returns one for each epoch."""

    settings: dict[str, Any] = {"samples": "those of an iterable of batches"}  # noqa: RUF012

    def __init__(self, batches: Any, epochs: int) -> None:
        self._batches = batches
        self.samples: int | None = None  # of the last epoch
        if not callable(batches) and epochs > 1 and iter(batches) is batches:
            raise ValueError(
                f"{type(batches).__name__} runs dry after one epoch, and there are {epochs}; give a list of "
                "batches or a callable that returns a new iterator for each epoch"
            )

    def train_epoch(self, net: Network, optimizer: Optimizer, progress: Advance | None) -> float:
        total = seen = 0.0
        done = 0
        batches = self._batches() if callable(self._batches) else self._batches
        if not (hasattr(batches, "__iter__") or hasattr(batches, "__getitem__")):
            raise TypeError(f"what makes the batches must return an iterable of them, not {batches!r}")
        ready = isinstance(batches, (list, tuple))  # they are all there: nothing to prepare ahead
        # Not by map, which would take a StopIteration of a batch for the end.
        source = nullcontext(_batch(batch) for batch in batches) if ready else Prefetch(batches, _own_batch)
        with source as prepared:
            for X, y, weights in prepared:
                self._last = X, y, weights
                samples = len(X)
                size = float(samples if weights is None else weights.sum())
                total += size * net._core.train_step(X, y, optimizer._core, weights)
                seen += size
                done += samples
                if progress is not None:
                    progress(done)
        if seen == 0:
            raise ValueError("the iterable of batches gave none in this epoch")
        self.samples = done
        return total / seen

    def loss(self, net: Network) -> float:
        return net._core.loss(*self._last)


def _batch(batch: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    """Return a batch as arrays."""
    check_tuple("a batch", batch)
    X, y = as_array(batch[0]), as_array(batch[1], "y")
    return X, y, as_weights(batch[2], len(X)) if len(batch) == 3 else None


def _own_batch(batch: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
    """Return copies: whoever makes the batches may fill the same arrays anew while this one trains."""
    X, y, weights = _batch(batch)
    return X.copy(), y.copy(), None if weights is None else weights.copy()


Source: TypeAlias = Rows | MappedRows | Batches


def make_source(X: Any, y: Any, sample_weight: Any, batch_size: int, shuffle: bool, epochs: int) -> Source:
    """Return where samples come from, by what `Network.fit` was given."""
    if y is not None and is_large_map(X):
        return MappedRows(X, y, sample_weight, batch_size, shuffle)
    if y is not None:
        return Rows(X, y, sample_weight, batch_size, shuffle)
    if hasattr(X, "__array__") or not (callable(X) or isinstance(X, Iterable)):
        raise TypeError(f"fit needs y beside an X of type {type(X).__name__}")
    if sample_weight is not None:
        raise ValueError("with an iterable of batches, sample weights are the third element of each batch")
    return Batches(X, epochs)
