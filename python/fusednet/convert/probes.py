"""Activations recognised by what they compute, not by how it is spelt or named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusednet import _core as core
from fusednet.layers import ACTIVATIONS

__all__ = ["activation"]


def activation(function: Callable[[NDArray[Any]], Any], width: int, dtype: np.dtype[Any]) -> str | None:
    """Return the activation that gives what a function of arrays (n, width) does on probes; None without."""
    rng = np.random.default_rng(0)
    rows = max(64, 4096 // width)
    near = [rng.uniform(-60, 60, (rows, width)), rng.normal(0, 3, (rows, width))]
    # Far out spelt-out functions may overflow, which fusednet's do not: there only finite results count.
    distances = np.geomspace(70, 1e12, 25)
    far = np.repeat(np.concatenate([-distances, distances])[:, None], width, axis=1)
    z = np.concatenate([*near, far]).astype(dtype)
    try:
        with np.errstate(all="ignore"):
            result = function(z)
    except Exception:  # whatever a function raises that is for other arrays
        return None
    if result.shape != z.shape or result.dtype != dtype:
        return None
    skipped = ~np.isfinite(result)
    skipped[: -len(far)] = False
    for name in ACTIVATIONS:
        expected = np.where(skipped, result, core.activation(name, z))
        if np.allclose(result, expected, rtol=1e-5, atol=1e-6, equal_nan=True):
            return name
    return None
