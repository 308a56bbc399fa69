"""The graph of an ONNX model, freed of what does not depend on its input or does not matter to its output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusednet._optional import require
from fusednet.layers import ACTIVATIONS

__all__ = ["STANDARD", "UNCHANGED", "Graph", "attributes_of", "is_training", "unsupported", "where"]

onnx = require("onnx", "onnx", "onnx")
reference = require("onnx.reference", "onnx", "onnx")

STANDARD = ("", "ai.onnx")  # names of the domain of ONNX's own operators
_RANDOM = ("Bernoulli", "Multinomial", "Random")  # beginnings of the names of operators
# Operators whose results are some of the numbers that they are given.
_SELECTING = ("Cast", "Gather", "Slice", "Squeeze", "Unsqueeze")
# Operators that give back what they are given, but for the axis of a single output, or are refused.
UNCHANGED = ("Dropout", "Flatten", "Gather", "Identity", "Reshape", "Squeeze")


class Graph:
    """The nodes from the one input to the one output; `constants` has everything that does not vary.

    The results of `UNCHANGED` nodes go by the name of what they are given, wherever they are used; those of a
    cast to the type that there is, too.
    """

    def __init__(self, model: Any) -> None:
        graph = model.graph
        self.constants = {t.name: _array(t) for t in graph.initializer}
        inputs = [i for i in graph.input if i.name not in self.constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            names = [[value.name for value in values] for values in (inputs, graph.output)]
            raise ValueError(
                f"expected one input and one output, received the inputs {names[0]} and the outputs "
                f"{names[1]}; onnx.utils.extract_model cuts a file down to some of them"
            )
        self.input = inputs[0].name
        self.shape = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]  # 0: any
        self._opsets = model.opset_import
        inferred = onnx.shape_inference.infer_shapes(model).graph
        values = {v.name: v.type.tensor_type for v in (*inferred.input, *inferred.value_info)}
        self._types = {name: value.elem_type for name, value in values.items()}
        self._shapes = {name: [d.dim_value for d in value.shape.dim] for name, value in values.items()}
        self._unknown: set[str] = set()  # those constants that come of dimensions that are not known
        self._alias: dict[str, str] = {}
        self.nodes = self._simplified(graph.output[0].name, graph.node)
        self.output = self._resolve(graph.output[0].name)

    def _simplified(self, output: str, all_nodes: Any) -> list[Any]:
        """Return the nodes on the way from the input to the output; those of constants alone are computed."""
        wanted, needed = {output}, []
        for node in reversed([part for original in all_nodes for part in self._spelt_out(original)]):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                needed.append(node)
        nodes: list[Any] = []
        given = {self.input}  # names in the file
        with_axis: set[str] = set()  # those of them from before an output lost its axis
        for original in reversed(needed):
            node = onnx.NodeProto()
            node.CopyFrom(original)
            node.input[:] = [self._resolve(name) for name in original.input]
            if self._is_constant(node):
                self._compute(node, original.input)
                continue
            if with_axis.intersection(original.input):
                raise unsupported(node, " where an output that lost its axis meets one that did not")
            if self._drops_axis(node):
                with_axis |= given
            given.update(node.output)
            if node.op_type != "Reshape" and self._unknown.intersection(node.input):
                raise unsupported(node, " where it computes with dimensions that are not known")
            if node.op_type == "Cast" and attributes_of(node)["to"] == self._types.get(original.input[0]):
                self._alias[node.output[0]] = node.input[0]
                continue
            if node.op_type in UNCHANGED:
                self._alias[node.output[0]] = node.input[0]
            nodes.append(node)
        return nodes

    def _drops_axis(self, node: Any) -> bool:
        if node.op_type == "Reshape" and len(node.input) > 1 and node.input[1] in self.constants:
            return self.constants[node.input[1]].shape == (1,)
        return node.op_type in ("Gather", "Squeeze")

    def _spelt_out(self, node: Any) -> list[Any]:
        """Return a node in ONNX's own operators: scikit-learn's Scaler is (x − offset) · scale."""
        if (node.domain, node.op_type) != ("ai.onnx.ml", "Scaler"):
            return [node]
        attributes, (result,) = attributes_of(node), node.output
        if not {"offset", "scale"} <= attributes.keys():
            return [node]
        offset, scale, shifted = (f"{result} {part}" for part in ("offset", "scale", "shifted"))
        self.constants[offset] = np.array(attributes["offset"], np.float32)
        self.constants[scale] = np.array(attributes["scale"], np.float32)
        make_node = onnx.helper.make_node
        return [
            make_node("Sub", [node.input[0], offset], [shifted], node.name),
            make_node("Mul", [shifted, scale], [result], node.name),
        ]

    def _is_constant(self, node: Any) -> bool:
        if any(a.type == onnx.AttributeProto.GRAPH for a in node.attribute) or node.domain not in STANDARD:
            return False
        known = all(name in self.constants for name in node.input if name)
        random = node.op_type.startswith(_RANDOM) or is_training(node, self.constants)
        return node.op_type == "Shape" or (known and not random)

    def _compute(self, node: Any, inputs: Sequence[str]) -> None:
        """Add what a node of constants gives to them; `inputs` are what the file calls its inputs.

        Dimensions that are not known, the number of samples for one, are 0. To Reshape that means what there
        was; nothing else may have what comes of them.
        """
        names = [name for name in node.output if name]
        if node.op_type == "Shape" and node.input[0] not in self.constants:
            dimensions = [0, *self._shapes.get(inputs[0], [0, 0])[1:]]
            attributes = attributes_of(node)
            part = slice(attributes.get("start"), attributes.get("end"))
            self.constants[node.output[0]] = known = np.array(dimensions)[part]
            if not known.all():
                self._unknown.update(names)
            return
        try:
            self.constants.update(zip(names, self.run([node], {}, names), strict=True))
        except Exception as error:  # whatever the evaluator raises on operators that it does not know
            raise unsupported(node) from error
        selected = node.op_type in _SELECTING and self.constants[names[0]].all()
        if not selected and self._unknown.intersection(node.input):
            self._unknown.update(names)

    def _resolve(self, name: str) -> str:
        return self._alias.get(name, name)

    def run(self, nodes: list[Any], feeds: dict[str, NDArray[Any]], results: Sequence[str]) -> Any:
        """Compute results of some nodes, from constants and what is fed."""
        helper = onnx.helper
        used = {name for node in nodes for name in node.input if name in self.constants}
        part = helper.make_graph(
            nodes,
            "part",
            [
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
                for name, array in feeds.items()
            ],
            [helper.make_empty_tensor_value_info(name) for name in results],
            [onnx.numpy_helper.from_array(self.constants[name], name) for name in sorted(used)],
        )
        model = helper.make_model(part, opset_imports=self._opsets)
        with np.errstate(all="ignore"):
            return reference.ReferenceEvaluator(model).run(list(results), feeds)


def _array(tensor: Any) -> NDArray[Any]:
    try:
        array: NDArray[Any] = onnx.numpy_helper.to_array(tensor)
    except Exception as error:  # of NumPy, or of looking up a type that is none
        raise ValueError(f"the initializer {tensor.name!r} cannot be read: {error!r}") from error
    return array


def attributes_of(node: Any) -> dict[str, Any]:
    """Return the attributes that a node has, by name."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def is_training(node: Any, constants: Mapping[str, NDArray[Any]]) -> bool:
    """Whether a node is a Dropout that drops, or may: its training mode is an input."""
    mode = node.input[2] if node.op_type == "Dropout" and len(node.input) > 2 else ""
    return bool(mode) and not (mode in constants and not constants[mode])


def where(node: Any) -> str:
    """Return what errors call a node."""
    settings = ", ".join(
        f"{name}={value.decode() if isinstance(value, bytes) else value:.6}"
        for name, value in attributes_of(node).items()
        if isinstance(value, (bytes, float))
    )
    operator = node.op_type if node.domain in STANDARD else f"{node.domain}.{node.op_type}"
    operator = f"{operator}({settings})" if settings else operator
    return f"the operator {operator} (node {node.name or node.output[0]!r})"


def unsupported(node: Any, why: str = "") -> ValueError:
    """Return the error that a node is not supported, in general or in the case that `why` tells."""
    return ValueError(
        f"{where(node)} is not supported{why}; from_onnx reads one chain of Gemm or MatMul with constant "
        f"weights, with {', '.join(ACTIVATIONS)} between them"
    )
