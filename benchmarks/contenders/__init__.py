"""The contenders: each trains and serves the same network in its library's fastest reasonable idiom.

A module here defines ``Contender(case, weights, threads)``, where `threads` is None for the library's choice:

- ``hold(X, y)``: takes the training data over, in whatever form is best; a whole number of minibatches;
- ``train_epoch()``: one epoch over them, in consecutive minibatches; returns when it is done;
- ``weights()``: the pairs (W of shape (in, out), b) as NumPy arrays;
- ``predictor(X)``: a callable without arguments that turns the NumPy array X into one of predictions.

Those that only predict have the last of these alone.
"""

import importlib
from dataclasses import dataclass
from importlib.util import find_spec


@dataclass(frozen=True)
class Entry:
    module: str
    libraries: tuple[str, ...] = ()  # to import
    distribution: str = ""  # to install; empty for another way of using a contender above
    trains: bool = True
    class_name: str = "Contender"
    single_rows: bool = False  # whether it predicts one row at a time only
    one_thread: bool = False  # whether it keeps to one thread on all cores too

    @property
    def installed(self):
        return all(find_spec(library) for library in self.libraries)

    def load(self):
        return getattr(importlib.import_module(f".{self.module}", __name__), self.class_name)


CONTENDERS = {
    "fusednet": Entry("fusednet_net", ("fusednet",), "fusednet"),
    "fusednet (out=)": Entry("fusednet_net", ("fusednet",), trains=False, class_name="IntoArray"),
    "fusednet (1 thread)": Entry("fusednet_net", ("fusednet",), one_thread=True),
    "NumPy": Entry("numpy_net", ("numpy",), "numpy"),
    "scikit-learn": Entry("sklearn_net", ("sklearn",), "scikit-learn"),
    "PyTorch": Entry("torch_eager", ("torch",), "torch"),
    "torch.compile": Entry("torch_compiled", ("torch",), "torch"),
    "JAX": Entry("jax_net", ("jax",), "jax"),
    "TensorFlow": Entry("tensorflow_net", ("tensorflow",), "tensorflow"),
    "ONNX Runtime": Entry("onnxruntime_net", ("onnxruntime", "onnx"), "onnxruntime", trains=False),
    "ONNX Runtime (1 thread)": Entry(
        "onnxruntime_net", ("onnxruntime", "onnx"), trains=False, one_thread=True
    ),
    "KANN": Entry("kann_net", ("cynn",), "cynn", trains=False, single_rows=True),
}
