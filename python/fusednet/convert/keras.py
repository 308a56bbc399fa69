"""Networks from Keras' ``Sequential``. Keras itself is not imported: its models describe themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fusednet.convert import probes
from fusednet.convert.chain import Chain
from fusednet.layers import ACTIVATIONS

if TYPE_CHECKING:
    from fusednet._standardization import Standardization
    from fusednet.losses import Loss
    from fusednet.network import Network

__all__ = ["read"]

_PACKAGES = ("keras", "tf_keras")


def read(model: Any, loss: Loss | None, seed: int | None) -> Network:
    """Make a network of a model: see `fusednet.from_keras`."""
    if _kind(model) != "Sequential":
        raise TypeError(
            f"model must be a keras.Sequential without a call of its own, not {type(model).__name__}"
        )
    chain = Chain()
    seen: set[Any] = set()
    shape = getattr(model, "input_shape", None) or (None, 0)  # not known where the model was never built
    flat = len(shape) == 2
    for layer in _layers(model):
        kind = _kind(layer)
        where = f"layer {layer.name!r}, {type(layer).__name__}"
        if not kind:
            raise ValueError(f"{where} has a call of its own, which is not supported")
        if kind == "Dense":
            if layer in seen:
                raise ValueError(f"{where} occurs twice; layers that share their weights are not supported")
            seen.add(layer)
            if getattr(layer, "kernel", None) is None:
                raise ValueError(f"{where} has no weights yet; build the model or call it once")
            if getattr(layer, "quantization_mode", None) is not None:
                raise ValueError(f"{where} is quantized to {layer.quantization_mode}, which is not supported")
            if (compute := getattr(layer, "compute_dtype", "float32")) not in ("float32", "float64"):
                raise ValueError(f"{where} computes in {compute}; fusednet does in float32 and float64")
            if not flat:
                raise ValueError(
                    f"{where} is applied along the last of {len(shape)} axes; fusednet's samples "
                    "are rows of a matrix: put Flatten before it"
                )
            bias = None if layer.bias is None else _array(layer.bias)
            chain.dense(where, _array(layer.kernel), bias, bool(layer.trainable))
            _activate(chain, where, layer.activation)
        elif kind == "Activation":
            _activate(chain, where, layer.activation)
        elif kind == "Dropout":
            if getattr(layer, "noise_shape", None) is not None:
                raise ValueError(f"{where} has a noise_shape, which is not supported")
            chain.drop(where, layer.rate)
        elif kind == "Normalization" and not chain.layers and chain.standardization is None:
            chain.standardization = _standardization(where, layer, shape)
        elif kind == "Flatten":
            flat = True
        elif kind != "InputLayer":
            chain.activate(where, _layer_activation(where, kind, layer))
    return chain.network(loss, seed)


def _kind(layer: Any) -> str:
    """Return the name of Keras' class whose ``call`` a layer has; nothing where a user's takes part."""
    kind, caller = (
        next((kind for kind in type(layer).__mro__ if method in vars(kind)), object)
        for method in ("call", "__call__")
    )
    own = "call" in getattr(layer, "__dict__", ()) or not all(
        each.__module__.partition(".")[0] in _PACKAGES for each in (kind, caller)
    )
    return "" if own else kind.__name__


def _layers(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if _kind(layer) == "Sequential":
            yield from _layers(layer)
        else:
            yield layer


def _array(tensor: Any) -> NDArray[Any]:
    """Return a variable of Keras, or a tensor of its backend, as an array."""
    if hasattr(tensor, "detach"):  # PyTorch's, which may record gradients or be on another device
        tensor = tensor.detach().cpu()
    return np.asarray(tensor)


def _activate(chain: Chain, where: str, function: Any) -> None:
    width = chain.layers[-1].weights.shape[1] if chain.layers else 1
    activation = None
    if not hasattr(function, "get_config"):  # not a layer, which may do something else in training
        activation = probes.activation(lambda z: _array(function(z)), width, np.dtype(np.float32))
    if activation is None:
        raise ValueError(
            f"{where} has the activation {function!r}; fusednet reads functions that compute, of NumPy "
            f"arrays, one of {', '.join(ACTIVATIONS)}, and LeakyReLU(0.01)"
        )
    chain.activate(where, activation)


def _layer_activation(where: str, kind: str, layer: Any) -> str:
    config = layer.get_config()
    slope = config.get("negative_slope")
    plain = config.get("max_value") is None and not config.get("threshold")
    if kind == "ReLU" and plain and slope == 0:
        return "relu"
    if (
        kind in ("ReLU", "LeakyReLU")
        and plain
        and slope is not None
        and np.float32(slope) == np.float32(0.01)
    ):
        return "leaky_relu"
    if kind == "ELU" and config["alpha"] == 1:
        return "elu"
    output = getattr(layer, "output", None)  # which a layer that was built by itself lacks
    if kind == "Softmax" and config["axis"] in (-1, 1 if output is None else len(output.shape) - 1):
        return "softmax"
    settings = ("negative_slope", "max_value", "threshold", "alpha", "axis")
    given = ", ".join(f"{name}={config[name]!r}" for name in settings if name in config)
    raise ValueError(
        f"{where}({given}) is not supported; fusednet reads Dense, Dropout, Flatten, Normalization at first, "
        "Activation, ReLU, LeakyReLU(0.01), ELU and Softmax"
    )


def _standardization(where: str, layer: Any, shape: tuple[int | None, ...]) -> Standardization:
    config = layer.get_config()
    if config.get("invert"):
        raise ValueError(f"{where}(invert=True) is not supported")
    weights = layer.get_weights()
    numbers = weights[:2] if weights else (config["mean"], config["variance"])
    if config.get("axis", -1) in (None, (), []):  # one mean of everything
        width = math.prod(length or 0 for length in shape[1:])
    else:
        built = getattr(layer, "mean", None)  # as Keras broadcasts it
        width = np.size(numbers[0]) if built is None else built.shape[-1]
    if numbers[0] is None or np.size(numbers[0]) not in (1, width) or width == 0:
        raise ValueError(f"{where} is not adapted to data, or not along the last axis of a matrix")
    mean, variance = (np.broadcast_to(np.ravel(n).astype(np.float64), width) for n in numbers)
    # Keras keeps a deviation of zero from dividing by its own epsilon.
    return mean.copy(), np.maximum(np.sqrt(variance), 1e-7)
