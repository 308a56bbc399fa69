"""Networks from Keras' ``Sequential``. Keras itself is not imported: its models describe themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fusednet.convert.chain import Chain

if TYPE_CHECKING:
    from fusednet._standardization import Standardization
    from fusednet.losses import Loss
    from fusednet.network import Network

__all__ = ["read"]

# Names that Keras' activation functions have in a configuration; its leaky_relu has another slope, 0.2.
_FUNCTIONS = {
    "linear": "identity",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "relu": "relu",
    "elu": "elu",
    "gelu": "gelu",
    "silu": "silu",
    "swish": "silu",
    "softplus": "softplus",
    "exponential": "exp",
    "softmax": "softmax",
}


def read(model: Any, loss: Loss | None, seed: int | None) -> Network:
    """Make a network of a model: see `fusednet.from_keras`."""
    if not _is_sequential(model):
        raise TypeError(f"model must be a keras.Sequential, not {type(model).__name__}")
    chain = Chain()
    for layer in _layers(model):
        kind, config = type(layer).__name__, layer.get_config()
        where = f"layer {layer.name!r}, {kind}"
        if kind == "Dense":
            if not layer.get_weights():
                raise ValueError(f"{where} has no weights yet; build the model or call it once")
            weights, *bias = layer.get_weights()
            chain.dense(where, weights, bias[0] if bias else None, bool(layer.trainable))
            _activate(chain, where, config["activation"])
        elif kind == "Activation":
            _activate(chain, where, config["activation"])
        elif kind == "Dropout":
            chain.drop(where, config["rate"])
        elif kind == "Normalization" and not chain.layers and chain.standardization is None:
            chain.standardization = _standardization(where, layer, config)
        elif kind not in ("InputLayer", "Flatten"):
            chain.activate(where, _layer_activation(where, kind, config))
    return chain.network(loss, seed)


def _is_sequential(model: Any) -> bool:
    return any(kind.__name__ == "Sequential" for kind in type(model).__mro__) and hasattr(model, "layers")


def _layers(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if _is_sequential(layer):
            yield from _layers(layer)
        else:
            yield layer


def _activate(chain: Chain, where: str, function: Any) -> None:
    if not isinstance(function, str) or function not in _FUNCTIONS:
        raise ValueError(
            f"{where} has the activation {function!r}; fusednet reads {', '.join(_FUNCTIONS)}, and "
            "LeakyReLU(0.01)"
        )
    chain.activate(where, _FUNCTIONS[function])


def _layer_activation(where: str, kind: str, config: dict[str, Any]) -> str:
    slope = config.get("negative_slope")
    plain = not config.get("max_value") and not config.get("threshold")
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
    if kind == "Softmax" and config["axis"] in (-1, 1):
        return "softmax"
    settings = ("negative_slope", "max_value", "threshold", "alpha", "axis")
    given = ", ".join(f"{name}={config[name]!r}" for name in settings if name in config)
    raise ValueError(
        f"{where}({given}) is not supported; fusednet reads Dense, Dropout, Flatten, Normalization at first, "
        "Activation, ReLU, LeakyReLU(0.01), ELU and Softmax"
    )


def _standardization(where: str, layer: Any, config: dict[str, Any]) -> Standardization:
    if config.get("invert"):
        raise ValueError(f"{where}(invert=True) is not supported")
    weights = layer.get_weights()
    mean, variance = weights[:2] if weights else (config["mean"], config["variance"])
    if mean is None or np.ndim(mean) != 1:
        raise ValueError(f"{where} is not adapted to data, or not along the last axis of a matrix")
    # Keras keeps a deviation of zero from dividing by its own epsilon.
    deviation = np.maximum(np.sqrt(np.asarray(variance, np.float64)), 1e-7)
    return np.asarray(mean, np.float64), deviation
