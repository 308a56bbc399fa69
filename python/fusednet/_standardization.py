"""Scaling of the inputs inside the network: means and deviations learnt from data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fusednet._data import as_array

if TYPE_CHECKING:
    from fusednet import _core as core

Standardization: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]  # means, deviations

_CHUNK = 4096  # rows: what float64 temporaries hold at a time


class Standardized:
    """What a network has for scaling its inputs; a part of `Network`."""

    _core: core.Network
    _standardization: Standardization | None

    def standardize(self, X: ArrayLike) -> None:
        """Learn each feature's mean μ and deviation σ from `X`, to read inputs as (x − μ) / σ from then on.

        Everything that takes inputs does so: `fit`, `predict`, `evaluate`, `train_step`, `loss_and_gradient`,
        `forward` (whose `backward` returns the gradient by the inputs as they were given). The scaling is a
        part of the network: copied, pickled, saved and exported with it. Call it before training, on the
        training data; another call replaces it. Layers on their own, ``net.layers[0].forward``, do not scale.

        Inputs are scaled while they are read, in float64, so that a mean which is large beside the deviation
        costs a float32 network no digits. It is not put into the first layer's weights, which would undo for
        training what scaling is good for; `to_torch` and `to_sklearn` do that with the weights they write.

        Parameters
        ----------
        X : array-like of shape (n, in_features)
            The data to learn from. σ² = Σ (x − μ)² / n; a feature that is constant, up to rounding [1]_, has
            σ = 1, as in scikit-learn's ``StandardScaler``.

        Raises
        ------
        ValueError, TypeError
            If `X` has another shape, no rows, or does not hold finite real numbers.
        RuntimeError
            If another thread is training the network.

        References
        ----------
        .. [1] T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for computing the sample variance", The
           American Statistician 37, 1983.

        Examples
        --------
        >>> X = np.array([[1000.0, 0.1], [3000.0, 0.3]])
        >>> net = fn.Network([2, 8, 1])
        >>> net.standardize(X)
        >>> net.input_mean, net.input_deviation
        (array([2.e+03, 2.e-01]), array([1.e+03, 1.e-01]))
        """
        data = as_array(X)
        features = self._core.weights(0).shape[0]
        if data.ndim != 2 or data.shape[1] != features or len(data) == 0:
            raise ValueError(f"X must have the shape (n, {features}) with n at least 1, not {data.shape}")
        self._set_standardization(learn(data))

    @property
    def input_mean(self) -> NDArray[np.float64] | None:
        """The mean of each feature that `standardize` learnt, of shape (in_features,); None without."""
        return None if self._standardization is None else self._standardization[0].copy()

    @property
    def input_deviation(self) -> NDArray[np.float64] | None:
        """The deviation of each feature that `standardize` learnt, of shape (in_features,); None without."""
        return None if self._standardization is None else self._standardization[1].copy()

    def _set_standardization(self, standardization: Standardization | None) -> None:
        if standardization is None:
            self._core.standardize(None, None)
        else:
            mean, deviation = standardization
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                inverse = 1.0 / deviation
            wrong = ~(np.isfinite(mean) & np.isfinite(inverse) & (inverse != 0))
            if wrong.any():
                column = int(wrong.argmax())
                raise ValueError(
                    "inputs can be scaled by finite means and deviations other than zero, but feature "
                    f"{column} has {mean[column]:g} and {deviation[column]:g}"
                )
            self._core.standardize(mean, inverse)
        self._standardization = standardization


def learn(X: NDArray[Any]) -> Standardization:
    """Return means and standard deviations of the columns, by two passes in float64."""
    n = len(X)
    chunks = [X[first : first + _CHUNK] for first in range(0, n, _CHUNK)]
    with np.errstate(over="ignore", invalid="ignore"):
        mean = sum(chunk.sum(axis=0, dtype=np.float64) for chunk in chunks) / n
        variance = sum(((chunk - mean) ** 2).sum(axis=0) for chunk in chunks) / n
        wrong = ~np.isfinite(variance)
    if wrong.any():
        column = int(wrong.argmax())
        raise ValueError(
            f"X must hold finite values whose squares float64 can hold; column {column} has the mean "
            f"{mean[column]:g} and the variance {variance[column]:g}"
        )
    epsilon = np.finfo(np.float64).eps  # a variance below the bound of its rounding errors counts as none
    constant = variance <= n * epsilon * variance + (n * mean * epsilon) ** 2
    return mean, np.where(constant, 1.0, np.sqrt(variance))
