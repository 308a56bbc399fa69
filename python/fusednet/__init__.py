"""Fast dense neural networks on the CPU: fused C++ kernels behind a NumPy interface.

>>> import fusednet as fn
>>> net = fn.Network([784, 256, 10], output="softmax", loss="cross_entropy")
>>> history = net.fit(X, y, epochs=20, optimizer=fn.SGD(0.05, momentum=0.9))
>>> net.predict(X)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fusednet import distributed, functional, initializers, losses, schedules
from fusednet._core import DivergenceError, build_info, get_num_threads, set_num_threads
from fusednet.callbacks import Callback, EarlyStopping
from fusednet.convert.imports import from_keras, from_onnx, from_sklearn, from_torch
from fusednet.history import History
from fusednet.layers import Dense, Neuron
from fusednet.network import Network
from fusednet.optimizers import SGD, Adam, AdamW, RMSprop

if TYPE_CHECKING:
    from fusednet.serialization import load

__version__ = build_info()["version"]

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Callback",
    "Dense",
    "DivergenceError",
    "EarlyStopping",
    "History",
    "Network",
    "Neuron",
    "RMSprop",
    "__version__",
    "build_info",
    "distributed",
    "from_keras",
    "from_onnx",
    "from_sklearn",
    "from_torch",
    "functional",
    "get_num_threads",
    "initializers",
    "load",
    "losses",
    "schedules",
    "set_num_threads",
]


def __getattr__(name: str) -> Any:
    """Import `load`, and safetensors with it, at its first use."""
    if name != "load":
        raise AttributeError(f"module 'fusednet' has no attribute {name!r}")
    from fusednet.serialization import load

    globals()["load"] = load
    return load
