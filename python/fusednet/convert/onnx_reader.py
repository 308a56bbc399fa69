"""Networks from ONNX.

A graph is read from its input to its output as a chain: products with constant matrices, and what is
computed elementwise between them. Operators between two products are recognised by what they compute, not by
how it is spelt: they are run on probes, and an activation is what gives the same numbers.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fusednet._optional import require
from fusednet.convert import probes
from fusednet.convert.chain import Chain
from fusednet.convert.onnx_graph import (
    STANDARD,
    UNCHANGED,
    Graph,
    attributes_of,
    is_training,
    unsupported,
    where,
)

if TYPE_CHECKING:
    from fusednet.losses import Loss
    from fusednet.network import Network

__all__ = ["read"]

onnx = require("onnx", "onnx", "onnx")
inliner = require("onnx.inliner", "onnx", "onnx")
_NUMBERS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)

# What activations are made of: each element of a result comes of one element, or one row, of the inputs.
# fmt: off
_ELEMENTWISE = (
    "Abs", "Add", "Cast", "Celu", "Clip", "Div", "Elu", "Equal", "Erf", "Exp", "Gelu", "Greater",
    "GreaterOrEqual", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Min", "Mul", "Neg", "Not", "PRelu",
    "Pow", "Reciprocal", "ReduceMax", "ReduceSum", "Relu", "Sigmoid", "Sign", "Softmax", "Softplus", "Sqrt",
    "Sub", "Sum", "Swish", "Tanh", "Where",
)
# fmt: on
# Those of a row. Where the one output of a network has lost its axis, that would be all samples.
_BY_ROWS = ("ReduceMax", "ReduceSum", "Softmax")


def read(path: str | os.PathLike[str], loss: Loss | None, seed: int | None) -> Network:
    """Make a network of a model: see `fusednet.from_onnx`."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(
            f"path must be a str or path-like, not {type(path).__name__}; onnx.save writes a model to a file"
        )
    name = os.fspath(path)
    try:
        model = onnx.load(name)
        onnx.checker.check_model(model)
        model = inliner.inline_local_functions(model)
    except OSError:
        raise
    except Exception as error:  # of protobuf's parser and the checker, which have several
        raise ValueError(f"{name} is not a valid ONNX file: {error}") from error
    try:
        return _Reader(Graph(model)).read().network(loss, seed)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


class _Reader:
    """The walk through one graph.

    A stretch begins at the input or behind a product. Its operators wait in `pending` until the next product,
    or the end, asks what they compute.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph, self.constants = graph, graph.constants
        self.uses = Counter(name for n in graph.nodes if n.op_type not in UNCHANGED for name in n.input)
        self.flat = len(graph.shape) <= 2
        self.squeezed = False  # whether the one output has lost its axis
        self.chain = Chain()
        self.scale, self.shift = np.ones(()), np.zeros(())  # the input is taken as scale·x + shift
        self.start = graph.input
        self.known = {self.start}  # what the stretch has given so far
        self.pending: list[Any] = []
        self.transposed: dict[str, Any] = {}  # nodes by their results

    @np.errstate(all="ignore")  # what overflows is not finite, and refused
    def read(self) -> Chain:
        for node in self.graph.nodes:
            self._read(node)
        self._close(self.graph.output)
        if self.chain.layers and ((self.scale != 1).any() or self.shift.any()):
            width = self.chain.layers[0].weights.shape[:1]
            scale, shift = (np.broadcast_to(a, width).astype(np.float64) for a in (self.scale, self.shift))
            self.chain.standardization = -shift / scale, 1 / scale
        return self.chain

    def _read(self, node: Any) -> None:
        if node.domain not in STANDARD:
            raise unsupported(node)
        for name in node.input:
            if name in self.transposed and not (node.op_type == "Gemm" and name == node.input[0]):
                raise unsupported(self.transposed[name])
            if name and name not in self.constants and name not in self.known:
                raise unsupported(node, " where it joins branches")
        if self.squeezed and not self._goes_by_numbers(node):
            raise unsupported(node, " behind an output without its axis")
        if not self.flat:
            self._flatten_constants(node)
        if node.op_type in UNCHANGED:
            self._check_unchanged(node)
        elif node.op_type in ("Gemm", "MatMul"):
            self._product(node)
        elif node.op_type == "Transpose" and attributes_of(node).get("perm", [1, 0]) == [1, 0]:
            self.transposed[node.output[0]] = node
            self.known.add(node.output[0])
        elif node.op_type in _ELEMENTWISE:
            self.pending.append(node)
            self.known.update(node.output)
        else:
            raise unsupported(node)

    @property
    def _width(self) -> int:
        """How many numbers a sample has at this point; 0: not known."""
        if self.chain.layers:
            return int(self.chain.layers[-1].weights.shape[1])
        return math.prod(self.graph.shape[1:]) if len(self.graph.shape) > 1 else 0

    def _goes_by_numbers(self, node: Any) -> bool:
        """Whether a node does not ask for the axes of what it is given."""
        if node.op_type in ("Dropout", "Identity"):
            return True
        constants = [self.constants[name] for name in node.input if name in self.constants]
        elementwise = node.op_type in _ELEMENTWISE and node.op_type not in _BY_ROWS
        return elementwise and all(c.ndim <= 1 and c.size == 1 for c in constants)

    def _flatten_constants(self, node: Any) -> None:
        """Give constants that meet a sample of several axes its shape, and then one axis."""
        shape = tuple(self.graph.shape[1:])
        for place, name in enumerate(node.input):
            constant = self.constants.get(name)
            if node.op_type not in _ELEMENTWISE or constant is None:
                continue
            if constant.ndim > len(shape) and constant.shape[0] == 1:  # the axis of the samples
                constant = constant[0]
            if constant.size == 1 and constant.ndim <= len(shape):
                flat = constant.reshape(1)
            elif 0 in shape:
                raise unsupported(node, " on samples of unknown shape")
            else:
                try:
                    flat = np.broadcast_to(constant, shape).ravel()
                except ValueError:
                    raise unsupported(node, f" with {constant.shape} constants on {shape} samples") from None
            node.input[place] = f"{name} flat"
            self.constants[node.input[place]] = flat

    def _check_unchanged(self, node: Any) -> None:
        attributes, good = attributes_of(node), True
        one_output = bool(self.chain.layers) and self._width == 1
        if node.op_type == "Dropout":
            good = not is_training(node, self.constants)
        elif node.op_type == "Squeeze":
            axes = attributes.get("axes")
            if len(node.input) > 1 and node.input[1] in self.constants:
                axes = self.constants[node.input[1]].tolist()
            good = self.squeezed = one_output and axes in (None, [1], [-1])
        elif node.op_type == "Gather":
            index = self.constants.get(node.input[1], np.empty(0))
            good = self.squeezed = one_output and index.shape == () and attributes.get("axis") in (1, -1)
        elif node.op_type == "Flatten":
            good = attributes.get("axis", 1) in ((1, -1) if self.flat else (1, 1 - len(self.graph.shape)))
            self.flat = True
        elif node.op_type == "Reshape":
            target = self.constants.get(node.input[1], np.empty(0)) if len(node.input) > 1 else np.empty(0)
            if target.shape == (2,):
                rows, columns = target.tolist()
                unchanged = (-1, 0, self._width) if self.flat else (-1, self._width or -1)
                if rows == -1:
                    good = columns > 0 and columns == (self._width or columns)
                else:
                    good = rows in (0, *self.graph.shape[:1]) and columns in unchanged
            else:
                good = self.squeezed = one_output and target.tolist() == [-1]
            self.flat = True
        if not good:
            raise unsupported(node, " where it changes what it is given")

    def _product(self, node: Any) -> None:
        attributes = attributes_of(node)
        source, weights = node.input[0], self.constants.get(node.input[1])
        if source in self.constants or weights is None or weights.ndim != 2:
            raise unsupported(node, " other than of samples with a constant matrix")
        if attributes.get("transA", 0) != (source in self.transposed) or not self.flat:
            raise unsupported(node, " other than with a sample in each row")
        if source in self.transposed:
            source = self.transposed[source].input[0]
        self._close(source)
        bias = None
        if node.op_type == "Gemm":
            weights = weights.T if attributes.get("transB", 0) else weights
            if (alpha := attributes.get("alpha", 1.0)) != 1:
                weights = weights * weights.dtype.type(alpha)
            if len(node.input) > 2 and node.input[2]:
                addend = self.constants.get(node.input[2], np.empty((0, 0)))
                shapes = ((), (1,), (1, 1), weights.shape[1:], (1, *weights.shape[1:]))
                if addend.shape not in shapes:
                    raise unsupported(node, " with other than a constant bias")
                bias = np.broadcast_to(addend.ravel(), weights.shape[1:])
                bias = bias * bias.dtype.type(attributes.get("beta", 1.0))
        self.chain.dense(where(node), weights, bias)
        self.start, self.pending, self.known = node.output[0], [], {node.output[0]}

    def _close(self, end: str) -> None:
        """End the stretch: put what its operators compute into the chain."""
        if end in self.transposed:
            raise unsupported(self.transposed[end])
        if end not in self.known:
            raise ValueError("the output does not come of the input alone")
        while end != self.start:
            activation = self._activation(end)
            if activation is not None:
                self.chain.activate(where(self.pending[0]), activation)
                return
            if not self._take_affine(self.pending[0]):
                raise self._no_activation()
            self.start = self.pending.pop(0).output[0]

    def _activation(self, end: str) -> str | None:
        """Return the activation that takes the stretch from its start to `end`: it agrees on probes."""
        if not self.chain.layers:
            return None
        dtype = self.chain.layers[-1].weights.dtype
        return probes.activation(
            lambda z: self.graph.run(self.pending, {self.start: z}, [end])[0], self._width, dtype
        )

    def _take_affine(self, node: Any) -> bool:
        """Put a first operator that adds or multiplies constants into the product or scaling before it."""
        if self.uses[self.start] != 1:
            return False
        if node.op_type == "Cast" and not self.chain.layers:  # the network takes them all
            return attributes_of(node)["to"] in _NUMBERS
        if node.op_type == "Neg":
            return self._put(node, -np.ones(()), np.zeros(()))
        if node.op_type not in ("Add", "Sub", "Mul", "Div", "Sum") or len(node.input) != 2:
            return False
        first = node.input[0] == self.start
        constant = self.constants.get(node.input[1 if first else 0])
        if constant is None or constant.dtype.kind != "f":  # integers wrap around, their quotients are cut
            return False
        if constant.ndim > 2 or constant.size not in (1, self._width or constant.size):
            return False
        if constant.shape[-1:] not in ((), (constant.size,)) or (node.op_type == "Div" and not first):
            return False
        c = (constant.ravel() if constant.size > 1 else constant.reshape(())).astype(np.float64)
        if not np.isfinite(c).all() or (node.op_type == "Div" and not c.all()):
            return False
        if node.op_type in ("Add", "Sum"):
            scale, shift = np.ones_like(c), c
        elif node.op_type == "Sub":
            scale, shift = (np.ones_like(c), -c) if first else (-np.ones_like(c), c)
        else:
            scale, shift = c if node.op_type == "Mul" else 1 / c, np.zeros_like(c)
        return self._put(node, scale, shift)

    def _put(self, node: Any, scale: NDArray[Any], shift: NDArray[Any]) -> bool:
        if self.chain.layers:
            self.chain.scale(where(node), scale, shift)
        elif not scale.all():  # standardization divides by its inverse
            return False
        else:
            self.scale, self.shift = self.scale * scale, self.shift * scale + shift
        return True

    def _no_activation(self) -> ValueError:
        if not self.chain.layers:
            return unsupported(self.pending[0], " before the first dense layer")
        for end in reversed(range(len(self.pending) - 1)):
            name = self._activation(self.pending[end].output[0])
            if name is not None:
                return unsupported(self.pending[end + 1], f" behind {name}")
        return unsupported(self.pending[0])
