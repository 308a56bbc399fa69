"""Networks from ONNX.

A graph is read from its input to its output as a chain: products with constant matrices, and what is
computed elementwise between them. Operators between two products are recognised by what they compute, not by
how it is spelt: they are run on probes, and an activation is what gives the same numbers.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fusednet import _core as core
from fusednet.convert.chain import Chain, require
from fusednet.layers import ACTIVATIONS

if TYPE_CHECKING:
    from fusednet.losses import Loss
    from fusednet.network import Network

__all__ = ["read"]

onnx = require("onnx", "onnx", "onnx")
inliner = require("onnx.inliner", "onnx", "onnx")
reference = require("onnx.reference", "onnx", "onnx")

# What activations are made of: each element of a result comes of one element, or one row, of the inputs.
# fmt: off
_ELEMENTWISE = (
    "Abs", "Add", "Cast", "Celu", "Clip", "Div", "Elu", "Equal", "Erf", "Exp", "Gelu", "Greater",
    "GreaterOrEqual", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Min", "Mul", "Neg", "Not", "PRelu",
    "Pow", "Reciprocal", "ReduceMax", "ReduceSum", "Relu", "Sigmoid", "Sign", "Softmax", "Softplus", "Sqrt",
    "Sub", "Sum", "Swish", "Tanh", "Where",
)
# fmt: on
_UNCHANGED = ("Dropout", "Flatten", "Identity", "Reshape")


def read(path: str | os.PathLike[str], loss: Loss | None, seed: int | None) -> Network:
    """Make a network of a model: see `fusednet.from_onnx`."""
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
        return _Reader(model).read().network(loss, seed)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


class _Reader:
    """The walk through one graph.

    A stretch begins at the input or behind a product. Its operators wait in `pending` until the next product,
    or the end, asks what they compute.
    """

    def __init__(self, model: Any) -> None:
        self.model, self.graph = model, model.graph
        self.constants = {t.name: onnx.numpy_helper.to_array(t) for t in self.graph.initializer}
        inputs = [i for i in self.graph.input if i.name not in self.constants]
        if len(inputs) != 1 or len(self.graph.output) != 1:
            raise ValueError(
                f"expected one input and one output, received {len(inputs)} and {len(self.graph.output)}"
            )
        self.shape = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]  # 0: any
        self.flat = len(self.shape) <= 2
        self.chain = Chain()
        self.scale, self.shift = np.ones(()), np.zeros(())  # the input is taken as scale·x + shift
        self.start = inputs[0].name
        self.known = {self.start}  # what the stretch has given so far
        self.pending: list[Any] = []
        self.alias: dict[str, str] = {}  # of results that are what went in
        self.transposed: dict[str, Any] = {}  # nodes by their results

    def read(self) -> Chain:
        nodes = self._simplified()
        self.uses = Counter(name for node in nodes if node.op_type not in _UNCHANGED for name in node.input)
        for node in nodes:
            self._read(node)
        self._close(self._resolve(self.graph.output[0].name))
        if self.chain.layers and ((self.scale != 1).any() or self.shift.any()):
            width = self.chain.layers[0].weights.shape[:1]
            scale, shift = (np.broadcast_to(a, width).astype(np.float64) for a in (self.scale, self.shift))
            self.chain.standardization = -shift / scale, 1 / scale
        return self.chain

    def _simplified(self) -> list[Any]:
        """Return the nodes on the way from the input to the output; those of constants alone are computed."""
        wanted, needed = {self.graph.output[0].name}, []
        for node in reversed(self.graph.node):
            if wanted.intersection(node.output):
                wanted.update(node.input)
                needed.append(node)
        nodes = []
        for original in reversed(needed):
            node = onnx.NodeProto()
            node.CopyFrom(original)
            node.input[:] = [self._resolve(name) for name in original.input]
            nested = any(a.type == onnx.AttributeProto.GRAPH for a in node.attribute)
            if node.domain not in ("", "ai.onnx") or nested or node.op_type.startswith("Random"):
                raise _unsupported(node)
            if all(name in self.constants for name in node.input if name):
                self.constants.update(zip(node.output, self._run([node], {}, node.output), strict=True))
                continue
            if node.op_type in _UNCHANGED:
                self.alias[node.output[0]] = node.input[0]
            nodes.append(node)
        return nodes

    def _resolve(self, name: str) -> str:
        return self.alias.get(name, name)

    def _read(self, node: Any) -> None:
        for name in node.input:
            if name in self.transposed and not (node.op_type == "Gemm" and name == node.input[0]):
                raise _unsupported(self.transposed[name])
            if name and name not in self.constants and name not in self.known:
                raise _unsupported(node, " where it joins branches")
        if node.op_type in _UNCHANGED:
            self._check_unchanged(node)
        elif node.op_type in ("Gemm", "MatMul"):
            self._product(node)
        elif node.op_type == "Transpose" and _attributes(node).get("perm", [1, 0]) == [1, 0]:
            self.transposed[node.output[0]] = node
            self.known.add(node.output[0])
        elif node.op_type in _ELEMENTWISE:
            self.pending.append(node)
            self.known.update(node.output)
        else:
            raise _unsupported(node)

    @property
    def _width(self) -> int:
        """How many numbers a sample has at this point; 0: not known."""
        if self.chain.layers:
            return int(self.chain.layers[-1].weights.shape[1])
        return math.prod(self.shape[1:]) if len(self.shape) > 1 else 0

    def _check_unchanged(self, node: Any) -> None:
        attributes, good = _attributes(node), True
        if node.op_type == "Dropout":
            training = node.input[2] if len(node.input) > 2 else ""
            good = not training or (training in self.constants and not self.constants[training])
        elif node.op_type == "Flatten":
            good = attributes.get("axis", 1) in ((1, -1) if self.flat else (1, 1 - len(self.shape)))
            self.flat = True
        elif node.op_type == "Reshape":
            target = self.constants.get(node.input[1], np.empty(0)) if len(node.input) > 1 else np.empty(0)
            rows, columns = target.tolist() if target.shape == (2,) else (1, 0)
            batch = self.shape[0] if self.shape and self.shape[0] else 0
            if rows == -1:
                good = columns > 0 and columns == (self._width or columns)
            else:
                good = rows in (0, batch) and columns in (-1, self._width)
            self.flat = True
        if not good:
            raise _unsupported(node, " where it changes what it is given")

    def _product(self, node: Any) -> None:
        attributes = _attributes(node)
        source, weights = node.input[0], self.constants.get(node.input[1])
        if source in self.constants or weights is None or weights.ndim != 2:
            raise _unsupported(node, " other than of samples with a constant matrix")
        if attributes.get("transA", 0) != (source in self.transposed) or not self.flat:
            raise _unsupported(node, " other than with a sample in each row")
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
                if addend.size not in (1, weights.shape[1]) or addend.shape[-1:] not in (
                    (),
                    (1,),
                    weights.shape[1:],
                ):
                    raise _unsupported(node, " with other than a constant bias")
                bias = np.broadcast_to(addend.ravel(), weights.shape[1:])
                bias = bias * bias.dtype.type(attributes.get("beta", 1.0))
        self.chain.dense(_where(node), weights, bias)
        self.start, self.pending, self.known = node.output[0], [], {node.output[0]}

    def _close(self, end: str) -> None:
        """End the stretch: put what its operators compute into the chain."""
        if end in self.transposed:
            raise _unsupported(self.transposed[end])
        if end not in self.known:
            raise ValueError("the output does not come of the input alone")
        while end != self.start:
            activation = self._activation(end)
            if activation is not None:
                self.chain.activate(_where(self.pending[0]), activation)
                return
            if not self._take_affine(self.pending[0]):
                raise self._no_activation()
            self.start = self.pending.pop(0).output[0]

    def _activation(self, end: str) -> str | None:
        """Return the activation that takes the stretch from its start to `end`: it agrees on probes."""
        if not self.chain.layers:
            return None
        dtype, width = self.chain.layers[-1].weights.dtype, self._width
        rng = np.random.default_rng(0)
        rows = max(64, 4096 // width)
        probes = [rng.uniform(-60, 60, (rows, width)), rng.normal(0, 3, (rows, width))]
        # Far out spelt-out functions may overflow, which fusednet's do not: there only finite results count.
        far = np.repeat([[-1e6], [-1e3], [1e3], [1e6]], width, axis=1)
        z = np.concatenate([*probes, far]).astype(dtype)
        try:
            (result,) = self._run(self.pending, {self.start: z}, [end])
        except Exception:  # the evaluator has not all operators, and the shapes may not fit
            return None
        if result.shape != z.shape or result.dtype != dtype:
            return None
        skipped = ~np.isfinite(result)
        skipped[: -len(far)] = False
        for name in ACTIVATIONS:
            expected = np.where(skipped, result, core.activation(name, z))
            if np.allclose(result, expected, rtol=1e-5, atol=1e-6, equal_nan=True):
                return name
        return None

    def _take_affine(self, node: Any) -> bool:
        """Put a first operator that adds or multiplies constants into the product or scaling before it."""
        if node.op_type not in ("Add", "Sub", "Mul", "Div") or self.uses[self.start] != 1:
            return False
        first = node.input[0] == self.start
        constant = self.constants.get(node.input[1 if first else 0])
        if constant is None or constant.size not in (1, self._width or constant.size):
            return False
        if constant.shape[-1:] not in ((), (constant.size,)) or (node.op_type == "Div" and not first):
            return False
        c = constant.ravel() if constant.size > 1 else constant.reshape(())
        if not np.isfinite(c).all() or (node.op_type in ("Mul", "Div") and not c.all()):
            return False
        if node.op_type == "Add":
            self._apply(np.ones_like(c), c)
        elif node.op_type == "Sub":
            self._apply(np.ones_like(c), -c) if first else self._apply(-np.ones_like(c), c)
        else:
            self._apply(c if node.op_type == "Mul" else 1 / c, np.zeros_like(c))
        return True

    def _apply(self, scale: NDArray[Any], shift: NDArray[Any]) -> None:
        """Let scale·z + shift follow the last product, or the scaling of the input."""
        if not self.chain.layers:
            wide = scale.astype(np.float64)
            self.scale, self.shift = self.scale * wide, self.shift * wide + shift
            return
        last = self.chain.layers[-1]
        bias = np.zeros(self._width, shift.dtype) if last.bias is None else last.bias
        self.chain.layers[-1] = replace(last, weights=last.weights * scale, bias=bias * scale + shift)

    def _no_activation(self) -> ValueError:
        if not self.chain.layers:
            return _unsupported(self.pending[0], " before the first dense layer")
        for end in reversed(range(len(self.pending) - 1)):
            name = self._activation(self.pending[end].output[0])
            if name is not None:
                return _unsupported(self.pending[end + 1], f" behind {name}")
        return _unsupported(self.pending[0])

    def _run(self, nodes: list[Any], feeds: dict[str, NDArray[Any]], results: Sequence[str]) -> Any:
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
        model = helper.make_model(part, opset_imports=self.model.opset_import)
        with np.errstate(all="ignore"):
            return reference.ReferenceEvaluator(model).run(list(results), feeds)


def _attributes(node: Any) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def _where(node: Any) -> str:
    settings = ", ".join(
        f"{name}={value.decode() if isinstance(value, bytes) else value:.6}"
        for name, value in _attributes(node).items()
        if isinstance(value, (bytes, float))
    )
    operator = f"{node.op_type}({settings})" if settings else node.op_type
    return f"the operator {operator} (node {node.name or node.output[0]!r})"


def _unsupported(node: Any, why: str = "") -> ValueError:
    return ValueError(
        f"{_where(node)} is not supported{why}; from_onnx reads one chain of Gemm or MatMul with constant "
        f"weights, with {', '.join(ACTIVATIONS)} between them"
    )
