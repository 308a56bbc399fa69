"""Activations and losses as functions of arrays.

They take scalars and arrays. Activations compute float32 and float16 in float32, all else in float64, and
never overflow where the result does not: sigmoid(−1000) is 0, tanh(±1000) is ±1. Losses compute in float64.
NaN gives NaN, in a target a ValueError. What does not hold real numbers is a TypeError. `fusednet.losses` has
the formulas of the losses.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fusednet import _core as core
from fusednet._checks import flag, real
from fusednet._data import numeric

__all__ = [
    "binary_cross_entropy_loss",
    "cross_entropy_loss",
    "elu",
    "gelu",
    "half_mse_loss",
    "huber_loss",
    "leaky_relu",
    "mae_loss",
    "mse_loss",
    "poisson_loss",
    "quantile_loss",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]


def sigmoid(x: ArrayLike) -> NDArray[Any]:
    """Return 1 / (1 + e⁻ˣ), of the shape of `x`."""
    return _activate("sigmoid", x)


def tanh(x: ArrayLike) -> NDArray[Any]:
    """Return (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ), of the shape of `x`."""
    return _activate("tanh", x)


def relu(x: ArrayLike) -> NDArray[Any]:
    """Return max(x, 0), of the shape of `x`."""
    return _activate("relu", x)


def leaky_relu(x: ArrayLike) -> NDArray[Any]:
    """Return x where x > 0, else 0.01 x, of the shape of `x` (Maas et al., ICML 2013)."""
    return _activate("leaky_relu", x)


def elu(x: ArrayLike) -> NDArray[Any]:
    """Return x where x > 0, else eˣ − 1, of the shape of `x` (Clevert et al., ICLR 2016; α = 1)."""
    return _activate("elu", x)


def gelu(x: ArrayLike) -> NDArray[Any]:
    """Return x · Φ(x) with the normal distribution Φ, of the shape of `x`.

    Φ(x) = (1 + erf(x / √2)) / 2, not its approximation by tanh (Hendrycks, Gimpel, arXiv:1606.08415).
    """
    return _activate("gelu", x)


def silu(x: ArrayLike) -> NDArray[Any]:
    """Return x · sigmoid(x), also called swish, of the shape of `x` (Elfwing et al., arXiv:1702.03118)."""
    return _activate("silu", x)


def softplus(x: ArrayLike) -> NDArray[Any]:
    """Return log(1 + eˣ), of the shape of `x` (Dugas et al., NIPS 2000)."""
    return _activate("softplus", x)


def softmax(x: ArrayLike) -> NDArray[Any]:
    """Return eˣ / Σ eˣ, the sum over the last axis, of the shape of `x`.

    The largest x is subtracted first, which changes nothing but keeps eˣ from overflowing. ValueError for a
    scalar, which has no axis.
    """
    return _activate("softmax", x)


def mse_loss(y_pred: ArrayLike, y_true: ArrayLike) -> float:
    """Return the mean of (ŷ − y)² over samples and outputs; shapes (n,) or (n, k), or scalars.

    Parameters
    ----------
    y_pred, y_true : array-like of one shape
        Predictions ŷ and targets y.

    Raises
    ------
    ValueError, TypeError
        If the shapes differ, there are no samples, a target is not finite, or they do not hold real numbers.
    """
    return _loss("mse", y_pred, y_true)


def half_mse_loss(y_pred: ArrayLike, y_true: ArrayLike) -> float:
    """Return Σ (ŷ − y)² / (2n), summed over the outputs of n samples; as `mse_loss` otherwise."""
    return _loss("half_mse", y_pred, y_true)


def mae_loss(y_pred: ArrayLike, y_true: ArrayLike) -> float:
    """Return the mean of ``|ŷ − y|`` over samples and outputs; as `mse_loss` otherwise."""
    return _loss("mae", y_pred, y_true)


def huber_loss(y_pred: ArrayLike, y_true: ArrayLike, delta: float = 1.0) -> float:
    """Return the mean of ``r²/2 where |r| ≤ delta, else delta (|r| − delta/2)``, with r = ŷ − y.

    As `mse_loss` otherwise; `delta` must be positive.
    """
    return _loss("huber", y_pred, y_true, real("delta", delta, "(0, inf)"))


def quantile_loss(y_pred: ArrayLike, y_true: ArrayLike, q: float = 0.5) -> float:
    """Return the mean of max(q (y − ŷ), (q − 1)(y − ŷ)), the pinball loss of the quantile `q` in (0, 1).

    As `mse_loss` otherwise.
    """
    return _loss("quantile", y_pred, y_true, real("q", q, "(0, 1)"))


def poisson_loss(y_pred: ArrayLike, y_true: ArrayLike) -> float:
    """Return the mean of y log(y/ŷ) − y + ŷ, half the Poisson deviance, for ŷ > 0 and y ≥ 0.

    As `mse_loss` otherwise.
    """
    return _loss("poisson", y_pred, y_true)


def binary_cross_entropy_loss(y_pred: ArrayLike, y_true: ArrayLike, *, from_logits: bool = False) -> float:
    """Return the mean of −(y log p + (1 − y) log(1 − p)) over samples and outputs.

    Parameters
    ----------
    y_pred : array-like of shape (n,) or (n, k), or a scalar
        Probabilities p; or, with `from_logits`, z with p = sigmoid(z), from which the loss never overflows.
    y_true : array-like of the same shape
        Targets y in [0, 1].
    from_logits : bool, default False
        Whether `y_pred` holds logits.

    Returns
    -------
    float
        Infinite where a probability of 0 or 1 is contradicted; infinite or NaN where a logit is infinite.

    Raises
    ------
    ValueError, TypeError
        If the shapes differ, there are no samples, a probability or target is not in [0, 1], or they do not
        hold real numbers.
    """
    if flag("from_logits", from_logits):
        return _loss("binary_cross_entropy", y_pred, y_true)
    p, y = _pair(_probabilities("y_pred", y_pred), _probabilities("y_true", y_true))
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.mean(_times(y, -np.log(p)) + _times(1.0 - y, -np.log1p(-p))))


def cross_entropy_loss(y_pred: ArrayLike, y_true: ArrayLike, *, from_logits: bool = False) -> float:
    """Return the mean over samples of −Σ y log p, summed over the classes.

    Parameters
    ----------
    y_pred : array-like of shape (n, k) or (k,)
        Probabilities p of k classes; or, with `from_logits`, z with p = softmax(z), from which the loss never
        overflows.
    y_true : array-like of shape (n,) or (n, k); a scalar or (k,) where `y_pred` has one dimension
        Integer labels from 0 to k − 1; or one-hot rows or probabilities y.
    from_logits : bool, default False
        Whether `y_pred` holds logits.

    Returns
    -------
    float
        Infinite where a class that occurs has the probability 0.

    Raises
    ------
    ValueError, TypeError
        If the shapes do not go together, there are no samples, a label is out of range, a probability is not
        in [0, 1], or they do not hold real numbers.
    """
    rows = np.atleast_2d(
        _floating("y_pred", y_pred) if flag("from_logits", from_logits) else _probabilities("y_pred", y_pred)
    )
    target = np.atleast_1d(numeric(y_true, "y_true"))
    if np.ndim(y_pred) == 1 and np.ndim(y_true) == 1:
        target = target.reshape(1, -1)
    if rows.ndim != 2 or target.shape not in (rows.shape[:1], rows.shape):
        raise ValueError(
            f"y_pred of shape {np.shape(y_pred)} and y_true of shape {np.shape(y_true)} do not match"
        )
    _check_samples(rows, target)
    if from_logits:
        return core.loss("cross_entropy", rows.astype(np.float64), target)[0]
    y = _one_hot(target, rows.shape[1]) if target.ndim == 1 else _probabilities("y_true", target)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.mean(_times(y, -np.log(rows)).sum(axis=1)))


def _activate(name: str, x: ArrayLike) -> NDArray[Any]:
    return core.activation(name, _floating("x", x))[()]  # a scalar where x is one


def _loss(name: str, y_pred: ArrayLike, y_true: ArrayLike, parameter: float = 1.0) -> float:
    prediction, target = _pair(_floating("y_pred", y_pred), _floating("y_true", y_true))
    return core.loss(name, prediction.astype(np.float64), target.astype(np.float64), parameter)[0]


def _floating(name: str, data: ArrayLike) -> NDArray[Any]:
    array = numeric(data, name)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    return array if array.dtype == np.float32 else array.astype(np.float64, copy=False)


def _probabilities(name: str, data: ArrayLike) -> NDArray[Any]:
    array = _floating(name, data).astype(np.float64, copy=False)
    outside = array[(array < 0) | (array > 1) | (np.isnan(array) & (name == "y_true"))]
    if outside.size:
        hint = "; pass from_logits=True if these are logits" if name == "y_pred" else ""
        raise ValueError(f"{name} must lie in [0, 1], but holds {outside[0]}{hint}")
    return array


def _check_samples(prediction: NDArray[Any], target: NDArray[Any]) -> None:
    if prediction.size == 0 or target.size == 0:
        raise ValueError(f"no samples: the shapes are {prediction.shape} and {target.shape}")


def _pair(prediction: NDArray[Any], target: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both as samples × outputs of one dtype; (n,) goes with (n, 1)."""
    _check_samples(prediction, target)
    rows = prediction.reshape(len(prediction) if prediction.ndim else 1, -1)
    expected = target.reshape(len(target) if target.ndim else 1, -1)
    if rows.shape != expected.shape:
        raise ValueError(
            f"y_pred of shape {prediction.shape} and y_true of shape {target.shape} do not match"
        )
    dtype = np.result_type(rows, expected)
    return rows.astype(dtype, copy=False), expected.astype(dtype, copy=False)


def _one_hot(labels: NDArray[Any], classes: int) -> NDArray[np.float64]:
    if labels.dtype.kind not in "biu":
        raise TypeError(f"y_true must hold integer class labels, but its dtype is {labels.dtype}")
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(
            f"y_true must hold labels from 0 to {classes - 1}, not {labels.min()} to {labels.max()}"
        )
    return np.eye(classes)[labels.astype(np.intp)]


def _times(y: NDArray[Any], surprise: NDArray[Any]) -> NDArray[Any]:
    """Return y · surprise with 0 · ∞ = 0: what doesn't occur may have the probability 0."""
    return np.where((y == 0) & ~np.isnan(surprise), 0.0, y * surprise)
