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

CLASSIFYING = ("cross_entropy", "binary_cross_entropy")  # losses


def evaluate(
    net: Network, X: NDArray[Any], y: NDArray[Any], sample_weight: NDArray[Any] | None
) -> dict[str, float]:
    """Return the loss, with the accuracy for the two cross-entropies and R² for every other loss."""
    if net.loss in CLASSIFYING:
        loss, labels = net._core.loss_and_classes(X, y, sample_weight)
        return {"loss": loss, "accuracy": _accuracy(labels, y, sample_weight, net.loss)}
    loss, prediction = net._core.loss_and_prediction(X, y, sample_weight)
    return {"loss": loss, **_r2(prediction, y, sample_weight)}


def scores(
    loss: Loss, output: str, prediction: NDArray[Any], y: NDArray[Any], sample_weight: NDArray[Any] | None
) -> dict[str, float]:
    """Return the accuracy for the two cross-entropies, R² for every other loss, where that has a meaning."""
    if loss in CLASSIFYING:
        return {"accuracy": _accuracy(classes(prediction, output), y, sample_weight, loss)}
    return _r2(prediction, y, sample_weight)


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


def _accuracy(labels: NDArray[Any], y: NDArray[Any], sample_weight: NDArray[Any] | None, loss: Loss) -> float:
    if loss == "cross_entropy":
        hits = labels == (y if y.ndim == 1 else y.argmax(axis=1))
    else:
        hits = labels == (y.reshape(labels.shape) > 0.5)
    if sample_weight is None:
        return float(np.count_nonzero(hits) / hits.size)
    return float(np.average(hits.reshape(len(hits), -1).mean(axis=1), weights=sample_weight))


def _r2(prediction: NDArray[Any], y: NDArray[Any], sample_weight: NDArray[Any] | None) -> dict[str, float]:
    if y.size != prediction.size:  # a loss of one's own gives targets a meaning of its own
        return {}
    return {"r2": core.r2(prediction, y.reshape(prediction.shape), sample_weight)}
