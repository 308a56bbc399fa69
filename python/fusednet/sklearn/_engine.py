"""The network behind an estimator: its buffers are what `coefs_` and `intercepts_` look at."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fusednet.layers import Dense, made
from fusednet.network import Network
from fusednet.sklearn._scaling import Scaling

__all__ = ["Engine", "Settings"]

# Of a network beyond its parameters: hidden activations, output activation, loss, dropout rates.
Settings: TypeAlias = tuple[tuple[str, ...], str, Any, tuple[float, ...]]


class Engine:
    """A network with scikit-learn's conventions, made of an estimator's arrays.

    The arrays of the estimator have the last word: `pull` copies in whatever has been assigned since.
    """

    def __init__(
        self,
        coefs: Sequence[NDArray[Any]],
        intercepts: Sequence[NDArray[Any]],
        settings: Settings,
        scaling: Scaling | None,
        dtype: np.dtype[Any],
        seed: int,
    ) -> None:
        if len(coefs) != len(intercepts):
            counts = f"{len(coefs)} and {len(intercepts)}"
            raise ValueError(f"coefs_ and intercepts_ must have an array for each layer, not {counts}")
        activations, output, loss, dropout = settings
        self.settings, self.scaling = settings, scaling
        layers = []
        for coef, intercept, activation in zip(coefs, intercepts, (*activations, output), strict=True):
            values = {"weights": np.asarray(coef).astype(dtype), "bias": np.asarray(intercept)}
            layers.append(made(Dense, {**values, "activation": activation}))
        self.network = Network.__new__(Network)
        self.network._assemble(
            layers,
            loss=loss,
            l2=0.0,
            dropout=dropout,
            dropout_seed=seed,
            rng=np.random.default_rng(seed),
            standardization=None if scaling is None else (scaling.mean, scaling.scale),
            scikit_learn=True,
        )
        self.core = self.network._core
        self.coefs = [layer.weights for layer in layers]
        self.intercepts = [np.asarray(layer.bias) for layer in layers]  # the view itself

    def fits(
        self,
        coefs: Sequence[Any],
        intercepts: Sequence[Any],
        settings: Settings,
        scaling: Scaling | None,
    ) -> bool:
        """Say whether the arrays have this network's shapes and precision, and the rest is its own."""
        if settings != self.settings or scaling is not self.scaling:
            return False
        if len(coefs) != len(self.coefs) or len(intercepts) != len(self.coefs):
            return False
        if all(map(operator.is_, (*coefs, *intercepts), (*self.coefs, *self.intercepts))):
            return True
        return common_dtype(coefs) == self.network.dtype and all(
            np.shape(given) == own.shape
            for given, own in zip((*coefs, *intercepts), (*self.coefs, *self.intercepts), strict=True)
        )

    def pull(self, coefs: Sequence[Any], intercepts: Sequence[Any]) -> None:
        """Copy in the arrays that are not this network's own."""
        for given, own in zip((*coefs, *intercepts), (*self.coefs, *self.intercepts), strict=True):
            if given is not own:
                own[...] = given


def common_dtype(coefs: Sequence[Any]) -> np.dtype[Any]:
    """Return float32 where all the arrays have it, else float64."""
    return np.dtype(np.float32 if all(np.asarray(coef).dtype == np.float32 for coef in coefs) else np.float64)
