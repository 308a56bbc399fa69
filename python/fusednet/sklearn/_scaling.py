"""What ``standardize=True`` learns of inputs and targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.preprocessing import StandardScaler

__all__ = ["Scaling"]


@dataclass(frozen=True)
class Scaling:
    """Subtract means, divide by standard deviations; constant columns are only shifted.

    Inputs are scaled by the network as it reads them, targets here.
    """

    mean: NDArray[Any]
    scale: NDArray[Any]

    @classmethod
    def learn(cls, data: Any, weights: NDArray[Any] | None) -> Scaling:
        """Take both from the columns of `data`, dense or sparse."""
        with np.errstate(invalid="ignore"):  # a constant column's variance may round to less than zero
            scaler = StandardScaler(with_mean=not issparse(data)).fit(data, sample_weight=weights)
        return cls(np.asarray(scaler.mean_), np.asarray(scaler.scale_))

    @classmethod
    def of_targets(cls, y: NDArray[Any], weights: NDArray[Any] | None, dtype: np.dtype[Any]) -> Scaling:
        """Take both from targets (n, n_outputs), of which `dtype` has to hold the predictions."""
        beyond = ~(np.abs(y) <= np.finfo(dtype).max)
        if beyond.any():
            row, column = np.argwhere(beyond)[0]
            value = y[row, column]
            raise ValueError(
                f"y: expected finite values that fit {dtype.name}, received {value:g} in row {row}"
            )
        with np.errstate(over="ignore"):
            scaling = cls.learn(y, weights)
        if not (np.isfinite(scaling.mean) & np.isfinite(scaling.scale)).all():
            raise ValueError(f"y: expected targets of finite deviations, received {scaling.scale}")
        return scaling

    def transform(self, data: NDArray[Any]) -> NDArray[Any]:
        """Return the scaled data."""
        return np.asarray((data - self.mean) / self.scale)

    def restore(self, data: NDArray[Any]) -> NDArray[Any]:
        """Return what `transform` was given."""
        return np.asarray(data * self.scale + self.mean, data.dtype)
