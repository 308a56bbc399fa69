"""The data of one fit as the core takes them; sparse inputs are made dense a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from fusednet import _core as core
from fusednet._data import numeric
from fusednet._progress import Advance

__all__ = ["Samples", "by_parts"]

_Batch: TypeAlias = tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]

_ROWS_AT_ONCE = 4096  # where a pass is one long batch: its activations need not all be in memory


class Samples:
    """Inputs, targets and optional weights, or a selection of their rows.

    Parameters
    ----------
    X : ndarray or sparse array of shape (n, n_features)
        The inputs.
    y : ndarray of shape (n,) or (n, n_outputs)
        The targets, as the core's loss takes them.
    weights : ndarray of shape (n,) or None
        The weights.
    """

    def __init__(self, X: Any, y: NDArray[Any], weights: NDArray[Any] | None) -> None:
        self._sparse = issparse(X)
        self._X = X.tocsr() if self._sparse else np.ascontiguousarray(X)
        self.y, self._weights = y, weights
        self._rows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return int(self._X.shape[0]) if self._rows is None else len(self._rows)

    def select(self, rows: NDArray[np.int64]) -> Samples:
        """Return the samples of these rows, sharing the data."""
        chosen = Samples.__new__(Samples)
        chosen.__dict__.update(self.__dict__)
        chosen._rows = rows
        return chosen

    def train_epoch(
        self,
        network: core.Network,
        optimizer: core.Optimizer,
        batch_size: int,
        permutation: NDArray[np.int64] | None,
        advance: Advance | None,
    ) -> float:
        """Make one step a batch, in this order, telling how many rows are done, and return the mean loss."""
        order = self._rows
        if permutation is not None:
            order = permutation if order is None else order[permutation]
        if not self._sparse:
            return network.train_epoch(self._X, self.y, optimizer, batch_size, order, self._weights, advance)
        total = 0.0
        for start in range(0, len(self), batch_size):
            batch = slice(start, min(start + batch_size, len(self)))
            X, y, weights = self._take(batch if order is None else order[batch])
            total += len(X) * network.train_step(X, y, optimizer, weights)
            if advance is not None:
                advance(batch.stop)
        return total / len(self)

    def loss_and_gradient(self, network: core.Network) -> tuple[float, NDArray[Any], float]:
        """Return loss and gradient, without the network's L2 term, and the sum of the weights."""
        total, total_weight = 0.0, 0.0
        gradient = np.zeros_like(network.parameters)
        for weight, (X, y, weights) in self._pieces():
            total += weight * network.loss_and_gradient(X, y, weights)
            gradient += weight * network.gradient
            total_weight += weight
        return total / total_weight, gradient / total_weight, total_weight

    def loss(self, network: core.Network) -> float:
        """Return the loss, the network's L2 term included."""
        total, total_weight = 0.0, 0.0
        for weight, (X, y, weights) in self._pieces():
            if weight != 0:
                total += weight * network.loss(X, y, weights)
                total_weight += weight
        return total / total_weight if total_weight != 0 else 0.0

    def _pieces(self) -> Iterator[tuple[float, _Batch]]:
        """Cut the rows into pieces, each with the sum of its weights.

        Weights of both signs may cancel each other, which leaves no mean to work with: these are taken apart,
        and the negative ones turned around in the piece.
        """
        weights, parts = None if self._weights is None else self._weights[self._absolute(slice(None))], [self]
        if weights is not None and weights.min() < 0:
            rows = np.arange(self._X.shape[0])[self._absolute(slice(None))]
            parts = [self.select(rows[weights > 0]), self.select(rows[weights < 0])]
        for part in parts:
            for start in range(0, len(part), _ROWS_AT_ONCE):
                piece = slice(start, min(start + _ROWS_AT_ONCE, len(part)))
                X, y, w = part._take(part._absolute(piece))
                yield float(len(X) if w is None else w.sum()), (X, y, None if w is None else np.abs(w))

    def _absolute(self, places: slice) -> Any:
        """Return the rows of the data that stand at these places of the selection."""
        return places if self._rows is None else self._rows[places]

    def _take(self, rows: Any) -> _Batch:
        X = self._X[rows].toarray() if self._sparse else self._X[rows]
        return X, self.y[rows], None if self._weights is None else self._weights[rows]


def by_parts(call: Callable[[NDArray[Any]], NDArray[Any]], X: Any) -> NDArray[Any]:
    """Return what `call` does for the rows of `X`, of which sparse ones are taken some at a time."""
    if not issparse(X):
        return call(numeric(X, "X"))
    rows = X.tocsr()
    starts = range(0, X.shape[0], _ROWS_AT_ONCE)
    return np.concatenate([call(numeric(rows[i : i + _ROWS_AT_ONCE].toarray(), "X")) for i in starts])
