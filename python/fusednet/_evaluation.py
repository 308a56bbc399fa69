"""What `Network.evaluate` reports, and how predictions become classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fusednet import _core as core
from fusednet import losses

if TYPE_CHECKING:
    from fusednet.losses import Loss
    from fusednet.network import Network


def evaluate(
    net: Network, X: NDArray[Any], y: NDArray[Any], sample_weight: NDArray[Any] | None
) -> dict[str, float]:
    """Return the loss, with the accuracy for the two cross-entropies and R² for every other loss."""
    loss, prediction = net._core.loss_and_prediction(X, y, sample_weight)
    return {"loss": loss, **scores(net.loss, net.layers[-1].activation, prediction, y, sample_weight)}


def scores(
    loss: Loss, output: str, prediction: NDArray[Any], y: NDArray[Any], sample_weight: NDArray[Any] | None
) -> dict[str, float]:
    """Return the accuracy for the two cross-entropies, R² for every other loss, where that has a meaning."""
    if loss in ("cross_entropy", "binary_cross_entropy"):
        return {"accuracy": _accuracy(prediction, y, sample_weight, output)}
    if y.size != prediction.size:  # a loss of one's own gives targets a meaning of its own
        return {}
    return {"r2": _r2(prediction, y.reshape(prediction.shape), sample_weight)}


def loss(loss: Loss, prediction: NDArray[Any], y: NDArray[Any], sample_weight: NDArray[Any] | None) -> float:
    """Return the loss of predictions, of shape (n, outputs), that no network stands behind."""
    name, parameter = losses.resolve(loss)
    labels = name == "cross_entropy" and y.ndim == 1
    target = y if labels else y.reshape(len(y), -1)
    if not isinstance(name, str):
        if sample_weight is not None:
            raise ValueError("sample_weight must be None, as a loss of one's own is that of the whole batch")
        return float(name(prediction, target)[0])
    p = prediction.astype(np.float64)
    if name in ("cross_entropy", "binary_cross_entropy"):  # which the core computes from logits
        p = np.clip(p, np.finfo(np.float64).tiny, 1 - np.finfo(np.float64).epsneg)
        p = np.log(p) if name == "cross_entropy" else np.log(p) - np.log1p(-p)
    return core.loss(name, p, target, parameter, sample_weight)[0]


def classes(prediction: NDArray[Any], output: str) -> NDArray[Any]:
    """Return class labels for the outputs, the last axis, of a network with this output activation."""
    if output == "softmax":
        return np.asarray(prediction.argmax(axis=-1))
    if output == "sigmoid":
        labels = (prediction > 0.5).astype(np.int64)
        return labels[..., 0] if labels.shape[-1] == 1 else labels
    raise ValueError(f'classes need output="softmax" or output="sigmoid", not output="{output}"')


def _accuracy(
    prediction: NDArray[Any], y: NDArray[Any], sample_weight: NDArray[Any] | None, output: str
) -> float:
    if output == "softmax":
        hits = prediction.argmax(axis=1) == (y if y.ndim == 1 else y.argmax(axis=1))
    else:
        hits = ((prediction > 0.5) == (y.reshape(prediction.shape) > 0.5)).mean(axis=1)
    return float(np.average(hits, weights=sample_weight))


def _r2(prediction: NDArray[Any], y: NDArray[Any], sample_weight: NDArray[Any] | None) -> float:
    """R² = 1 − Σ w (y − ŷ)² / Σ w (y − ȳ)², averaged over the outputs.

    As in scikit-learn a constant y gives 1 where it is met exactly, else 0, and a single sample NaN.
    """
    if len(y) < 2:
        return float("nan")
    y, prediction = y.astype(np.float64, "C"), prediction.astype(np.float64, "C")  # sums in one order
    residual = np.average((y - prediction) ** 2, axis=0, weights=sample_weight)
    spread = np.average(
        (y - np.average(y, axis=0, weights=sample_weight)) ** 2, axis=0, weights=sample_weight
    )
    constant = spread == 0
    scores = np.where(constant, residual == 0, 1.0 - residual / np.where(constant, 1.0, spread))
    scores[np.isnan(residual)] = np.nan
    return float(scores.mean())
