"""What every format is read into and written from: a chain of dense layers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fusednet.layers import DTYPES, Dense, made
from fusednet.network import Network

if TYPE_CHECKING:
    from fusednet._standardization import Standardization
    from fusednet.losses import Loss

# f(c·z) = c·f(z) for c ≥ 0: dropout before one of these is dropout after it.
_HOMOGENEOUS = ("identity", "relu", "leaky_relu")
_LOSSES = {"softmax": "cross_entropy", "sigmoid": "binary_cross_entropy"}


@dataclass(frozen=True)
class Layer:
    """A dense layer and the dropout behind it: weights of shape (in, out), a bias of (out,) or None."""

    weights: NDArray[Any]
    bias: NDArray[Any] | None
    activation: str = "identity"
    dropout: float = 0.0
    trainable: bool = True


@dataclass
class Chain:
    """Layers in the order in which a reader meets them.

    The `where` of its methods is what errors call the thing: ``"layer 2, Linear(3, 4)"``.
    """

    layers: list[Layer] = field(default_factory=list)
    standardization: Standardization | None = None

    def dense(
        self, where: str, weights: NDArray[Any], bias: NDArray[Any] | None, trainable: bool = True
    ) -> None:
        """Append a layer whose activation is the identity so far."""
        if weights.ndim != 2 or weights.size == 0 or (bias is not None and bias.shape != weights.shape[1:]):
            shapes = f"{weights.shape}" if bias is None else f"{weights.shape} and {bias.shape}"
            raise ValueError(
                f"{where}: expected weights of shape (in, out) and a bias of (out,), received {shapes}"
            )
        before = weights.shape[0]
        if self.layers:
            before = self.layers[-1].weights.shape[1]
        elif self.standardization is not None:
            before = len(self.standardization[0])
        if weights.shape[0] != before:
            raise ValueError(
                f"{where} takes {weights.shape[0]} inputs, but what comes before it has {before} outputs"
            )
        expected = (self.layers[0].weights.dtype.name,) if self.layers else DTYPES
        for array in (weights, bias):
            if array is None:
                continue
            if array.dtype.name not in expected:
                raise ValueError(f"{where}: expected {' or '.join(expected)}, received {array.dtype}")
            if not np.isfinite(array).all():
                raise ValueError(f"{where} has weights that are not finite")
        self.layers.append(Layer(weights, bias, trainable=trainable))

    def activate(self, where: str, activation: str) -> None:
        """Put an activation on the last layer."""
        if activation == "identity":
            return
        if not self.layers:
            raise ValueError(f"{where} stands before the first dense layer, where fusednet has no activation")
        last = self.layers[-1]
        if last.activation != "identity":
            raise ValueError(f"{where} follows another activation, {last.activation}; a layer has one")
        if last.dropout and activation not in _HOMOGENEOUS:
            raise ValueError(f"{where} follows a dropout; fusednet has dropout after the activation")
        self.layers[-1] = replace(last, activation=activation)

    def drop(self, where: str, rate: float) -> None:
        """Put dropout behind the last layer."""
        if rate == 0:
            return
        if not self.layers:
            raise ValueError(f"{where} drops inputs; fusednet has dropout behind hidden layers alone")
        if self.layers[-1].dropout:
            raise ValueError(f"{where} follows another dropout; a layer has one")
        self.layers[-1] = replace(self.layers[-1], dropout=rate)

    def scale(self, where: str, scale: NDArray[np.float64], shift: NDArray[np.float64]) -> None:
        """Let scale·z + shift follow the last layer's z."""
        last = self.layers[-1]
        weights = last.weights.astype(np.float64)
        bias = np.zeros(weights.shape[1]) if last.bias is None else last.bias.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            self.layers[-1] = _rounded(where, last, weights * scale, bias * scale + shift)

    def network(self, loss: Loss | None, seed: int | None) -> Network:
        """Return the network; the loss is by default the one that goes with the output."""
        if not self.layers:
            raise ValueError("the model has no dense layer")
        *hidden, last = self.layers
        if last.dropout:
            raise ValueError("the model drops outputs; fusednet has dropout behind hidden layers alone")
        layers = []
        for layer in self.layers:
            values = {name: getattr(layer, name) for name in ("weights", "bias", "activation", "trainable")}
            layers.append(made(Dense, values))
        if loss is None:
            loss = _LOSSES.get(last.activation, "mse")
        net = Network(layers, loss=loss, dropout=[layer.dropout for layer in hidden], seed=seed)
        net._set_standardization(self.standardization)
        return net


def describe(net: Network) -> Chain:
    """Return a network's layers and scaling; the arrays are its own."""
    layers = [
        Layer(layer.weights, layer.bias, layer.activation, rate, layer.trainable)
        for layer, rate in zip(net.layers, (*net.dropout, 0.0), strict=True)
    ]
    return Chain(layers, net._standardization)


def fold(layer: Layer, mean: NDArray[np.float64], deviation: NDArray[np.float64]) -> Layer:
    """Return the layer that does to x what this one does to (x − mean) / deviation.

    W becomes W / deviation, b becomes b − (mean / deviation)·W, computed in float64 and rounded once.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        weights = layer.weights.astype(np.float64) / deviation[:, None]
        bias = (0.0 if layer.bias is None else layer.bias.astype(np.float64)) - mean @ weights
        return _rounded("the scaling of the inputs, put into the first layer,", layer, weights, bias)


def _rounded(where: str, layer: Layer, weights: NDArray[np.float64], bias: NDArray[np.float64]) -> Layer:
    """Return a layer with other parameters, in its dtype; ValueError where that cannot hold them."""
    dtype = layer.weights.dtype
    weights, bias = weights.astype(dtype), bias.astype(dtype)
    if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
        raise ValueError(f"{where} makes weights that {dtype} cannot hold")
    return replace(layer, weights=weights, bias=bias)


def folded_layers(net: Network) -> list[Layer]:
    """Return the layers of a network with its scaling folded into the first."""
    chain = describe(net)
    if chain.standardization is not None:
        chain.layers[0] = fold(chain.layers[0], *chain.standardization)
    return chain.layers
