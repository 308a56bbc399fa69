"""ONNX Runtime, predictions only: a model of Gemm and activation nodes, written by hand."""

from functools import partial

import onnxruntime

ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu"}


def model(case, weights):
    # Here, as it is no part of the library: to serve a model that is there does not take it.
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, value = [], [], "x"
    for i, (W, b) in enumerate(weights):
        constants += [numpy_helper.from_array(W, f"W{i}"), numpy_helper.from_array(b, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [value, f"W{i}", f"b{i}"], [f"z{i}"]))
        value = f"z{i}"
        if i < len(weights) - 1:
            nodes.append(helper.make_node(ACTIVATIONS[case.activation], [value], [f"a{i}"]))
            value = f"a{i}"
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", width])
        for name, width in (("x", case.widths[0]), (value, case.widths[-1]))
    ]
    graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class Contender:
    def __init__(self, case, weights, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            model(case, weights).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def predictor(self, X):
        run = partial(self.session.run, None, {"x": X})
        return lambda: run()[0]
