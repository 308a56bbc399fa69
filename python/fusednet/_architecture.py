"""From the arguments of `Network` to its layers, and whether layers make a network together."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from fusednet._checks import choice, integer, real
from fusednet.layers import ACTIVATIONS, Dense, dtype_name

if TYPE_CHECKING:
    from numpy.random import Generator

    from fusednet.initializers import Initializer

_HIDDEN = tuple(name for name in ACTIVATIONS if name != "softmax")


def build_layers(
    widths: Sequence[int] | Sequence[Dense],
    activation: str | Sequence[str],
    output: str,
    initializer: Initializer,
    dtype: str,
    rng: Generator,
) -> list[Dense]:
    """Return the layers of a network: those given, or new ones of these widths."""
    if not isinstance(widths, Iterable):
        raise TypeError(f"widths must be a list, as in [4, 16, 1], not {widths!r}")
    given = list(widths)
    if given and all(isinstance(layer, Dense) for layer in given):
        layers = [layer for layer in given if isinstance(layer, Dense)]
        _check_methods(layers)
        _check_options(layers, activation, output, initializer, dtype)
        return layers
    sizes = [integer("a width", width) for width in given]
    if len(sizes) < 2:
        raise ValueError(f"widths must name the input and at least one layer, as in [4, 16, 1], not {given}")
    activations = [*_hidden_activations(activation, len(sizes) - 2), choice("output", output, ACTIVATIONS)]
    return [
        Dense(*shape, name, initializer=initializer, dtype=dtype, seed=rng)
        for shape, name in zip(pairwise(sizes), activations, strict=True)
    ]


def _check_methods(layers: list[Dense]) -> None:
    """Raise TypeError where a subclass computes something else, which a network would pass over."""
    for layer in layers:
        kind = type(layer)
        if kind.forward is not Dense.forward or kind.backward is not Dense.backward:
            raise TypeError(f"{kind.__name__} has its own forward or backward; a network computes Dense's")


def _check_options(
    layers: list[Dense], activation: str | Sequence[str], output: str, initializer: Initializer, dtype: str
) -> None:
    """Raise ValueError where an option, other than by default, contradicts the layers given."""
    functions = [layer.activation for layer in layers]
    if dtype_name(dtype) not in ("float32", layers[0].dtype.name):
        raise ValueError(f"the layers have the dtype {layers[0].dtype}; make them with dtype={dtype!r}")
    if output not in ("identity", functions[-1]):
        raise ValueError(f"the last layer has the activation {functions[-1]!r}; make it with {output!r}")
    default = isinstance(activation, str) and activation == "relu"
    if not default and _hidden_activations(activation, len(layers) - 1) != functions[:-1]:
        raise ValueError(f"the hidden layers have the activations {functions[:-1]}, not {activation!r}")
    if initializer != "auto":
        raise ValueError("initializer is for layers made from widths; give it to each Dense")


def check_layers(layers: Sequence[Dense]) -> None:
    """Raise ValueError where layers do not make a network together."""
    if not layers:
        raise ValueError("a network needs at least one layer")
    for index, layer in enumerate(layers):
        if layer._network is not None or any(layer is other for other in layers[:index]):
            raise ValueError(f"layer {index}, {layer!r}, already belongs to a network; give layer.copy()")
        if index and layer.in_features != layers[index - 1].out_features:
            raise ValueError(
                f"layer {index} takes {layer.in_features} inputs, "
                f"but the layer before it has {layers[index - 1].out_features} outputs"
            )
        if layer.dtype != layers[0].dtype:
            raise ValueError(f"layer 0 has the dtype {layers[0].dtype}, but layer {index} has {layer.dtype}")
        if layer.activation == "softmax" and layer is not layers[-1]:
            raise ValueError(f'"softmax" is for the output alone, not for layer {index}')


def per_hidden_layer(
    name: str, value: Any, count: int, check: Callable[[Any], Any] = lambda entry: entry
) -> list[Any]:
    """Return a list with one entry for each hidden layer, from such a list or one entry for all.

    Entries are as `check` returns them, which sees one for all even where there is no hidden layer.
    """
    if isinstance(value, (str, numbers.Real)):
        return [check(value)] * count
    try:
        values = list(value)
    except TypeError:
        raise TypeError(f"{name} must be one value or a list of them, not {value!r}") from None
    if len(values) != count:
        raise ValueError(
            f"{name} must have one entry for each of the {count} hidden layers, not {len(values)}"
        )
    return [check(entry) for entry in values]


def _hidden_activations(activation: str | Sequence[str], count: int) -> list[str]:
    return per_hidden_layer("activation", activation, count, lambda name: choice("activation", name, _HIDDEN))


def dropout_rates(dropout: float | Sequence[float], count: int) -> list[float]:
    """Return the dropout rate of each of `count` hidden layers."""
    return per_hidden_layer("dropout", dropout, count, lambda rate: real("dropout", rate, "[0, 1)"))
