"""Means and variances over several networks' predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusednet import _core as core


class Moments:
    """Means and variances of predictions that come one after the other, by Welford's recurrence [1]_.

    .. [1] B. P. Welford, "Note on a method for calculating corrected sums of squares and products",
       Technometrics 4, 1962.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count = np.zeros((*shape[:-1], 1))
        self.mean, self._squares = np.zeros(shape), np.zeros(shape)

    def add(self, values: NDArray[Any], rows: NDArray[np.int64] | None = None) -> None:
        """Take in one network's predictions, of all rows or of some."""
        core.add_moments(self.count, self.mean, self._squares, values, rows)

    def variance(self) -> NDArray[np.float64]:
        """Return Σ (value − mean)² / count; 0 where there is no value."""
        return np.asarray(self._squares / np.maximum(self.count, 1))
