"""Networks to ONNX."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fusednet._optional import require
from fusednet.convert.chain import describe, fold

if TYPE_CHECKING:
    from fusednet.network import Network

__all__ = ["write"]

onnx = require("onnx", "onnx", "onnx")

# Of one release of ONNX: new enough for all that is used, old enough for all readers.
_OPSET, _IR_VERSION = 17, 8


class _Graph:
    """Nodes and initializers as they come; `op` returns the name of its result."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def constant(self, name: str, value: NDArray[Any] | float) -> str:
        if name not in (known.name for known in self.initializers):
            array = np.ascontiguousarray(value, self.dtype)
            self.initializers.append(onnx.numpy_helper.from_array(array, name))
        return name

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        result = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(kind, inputs, [result], name=result, **attributes))
        return result


def _single(kind: str, **attributes: Any) -> Callable[[_Graph, str], str]:
    return lambda graph, z: graph.op(kind, z, **attributes)


def _silu(graph: _Graph, z: str) -> str:
    return graph.op("Mul", z, graph.op("Sigmoid", z))


def _gelu(graph: _Graph, z: str) -> str:
    half, one = graph.constant("half", 0.5), graph.constant("one", 1.0)
    scaled = graph.op("Mul", z, graph.constant("sqrt_half", math.sqrt(0.5)))
    if graph.dtype == np.float64:
        single = graph.op("Cast", scaled, to=onnx.TensorProto.FLOAT)
        erf = graph.op("Cast", graph.op("Erf", single), to=onnx.TensorProto.DOUBLE)
    else:
        erf = graph.op("Erf", scaled)
    return graph.op("Mul", graph.op("Mul", z, half), graph.op("Add", erf, one))


def _leaky_relu(graph: _Graph, z: str) -> str:
    return graph.op("Max", z, graph.op("Mul", z, graph.constant("slope", 0.01)))


def _elu(graph: _Graph, z: str) -> str:
    zero, one = graph.constant("zero", 0.0), graph.constant("one", 1.0)
    below = graph.op("Sub", graph.op("Exp", graph.op("Min", z, zero)), one)
    return graph.op("Add", graph.op("Relu", z), below)


def _softplus(graph: _Graph, z: str) -> str:
    """max(z, 0) + log(1 + e⁻ᶻ) with |z| in the exponent, which cannot overflow."""
    small = graph.op("Exp", graph.op("Neg", graph.op("Abs", z)))
    return graph.op(
        "Add", graph.op("Relu", z), graph.op("Log", graph.op("Add", small, graph.constant("one", 1.0)))
    )


_ACTIVATIONS: dict[str, Callable[[_Graph, str], str]] = {
    "identity": lambda graph, z: z,
    "sigmoid": _single("Sigmoid"),
    "tanh": _single("Tanh"),
    "relu": _single("Relu"),
    "leaky_relu": _single("LeakyRelu", alpha=0.01),
    "elu": _single("Elu", alpha=1.0),
    "gelu": _gelu,
    "silu": _silu,
    "softplus": _single("Softplus"),
    "exp": _single("Exp"),
    "softmax": _single("Softmax", axis=-1),
}
# In float64 ONNX Runtime has no kernels for the operators of these.
_FLOAT64_ACTIVATIONS = _ACTIVATIONS | {"leaky_relu": _leaky_relu, "elu": _elu, "softplus": _softplus}


def write(net: Network, path: str | os.PathLike[str]) -> None:
    """Write a network to an ONNX file: see `Network.to_onnx`."""
    from fusednet.serialization import write_bytes

    model = _model(net)
    onnx.checker.check_model(model, full_check=True)
    write_bytes(os.path.realpath(path), model.SerializeToString())


def _model(net: Network) -> Any:
    import fusednet

    chain = describe(net)
    graph = _Graph(net.dtype)
    value = "input"
    if chain.standardization is not None:
        mean, deviation = chain.standardization
        limits = np.finfo(net.dtype)
        low, high = float(limits.tiny), float(limits.max)
        held = (abs(mean) <= high) & (abs(deviation) >= low) & (abs(deviation) <= high)
        if not held.all():
            column = int(held.argmin())
            raise ValueError(
                f"{net.dtype} cannot hold the scaling of feature {column}, by the mean {mean[column]:g} and "
                f"the deviation {deviation[column]:g}"
            )
        # What the network's dtype holds of the mean is subtracted exactly; the rest goes into the bias.
        rounded = mean.astype(net.dtype).astype(np.float64)
        if (rest := (mean - rounded) / deviation).any():
            chain.layers[0] = fold(chain.layers[0], rest, np.ones_like(rest))
        value = graph.op("Sub", value, graph.constant("input.mean", rounded))
        value = graph.op("Div", value, graph.constant("input.deviation", deviation))
    activations = _FLOAT64_ACTIVATIONS if net.dtype == np.float64 else _ACTIVATIONS
    for index, layer in enumerate(chain.layers):
        parameters = [graph.constant(f"layers.{index}.weights", layer.weights)]
        if layer.bias is not None:
            parameters.append(graph.constant(f"layers.{index}.bias", layer.bias))
        value = graph.op("Gemm", value, *parameters)
        value = activations[layer.activation](graph, value)
    graph.nodes[-1].output[0] = "output"
    element = onnx.helper.np_dtype_to_tensor_dtype(net.dtype)
    ends = [
        onnx.helper.make_tensor_value_info(name, element, ["batch", width])
        for name, width in (("input", net.layers[0].in_features), ("output", net.layers[-1].out_features))
    ]
    return onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, "fusednet", ends[:1], ends[1:], graph.initializers),
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name="fusednet",
        producer_version=fusednet.__version__,
    )
