"""Fast dense neural networks on the CPU: fused C++ kernels behind a NumPy interface.

>>> import fusednet as fn
>>> net = fn.Network([784, 256, 10], output="softmax", loss="cross_entropy")
>>> history = net.fit(X, y, epochs=20, optimizer=fn.SGD(0.05, momentum=0.9))
>>> net.predict(X)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fusednet import callbacks, functional, initializers, losses, plots, schedules
from fusednet._core import DivergenceError, build_info, get_num_threads, set_num_threads
from fusednet.callbacks import Callback, CSVLogger, EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from fusednet.convert.imports import from_keras, from_onnx, from_sklearn, from_torch
from fusednet.history import History
from fusednet.layers import Dense, Neuron
from fusednet.network import Network
from fusednet.optimizers import SGD, Adam, AdamW, RMSprop

if TYPE_CHECKING:
    from fusednet.many import fit_many
    from fusednet.serialization import load

__version__ = build_info()["version"]

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CSVLogger",
    "Callback",
    "Dense",
    "DivergenceError",
    "EarlyStopping",
    "History",
    "ModelCheckpoint",
    "Network",
    "Neuron",
    "RMSprop",
    "ReduceLROnPlateau",
    "__version__",
    "build_info",
    "callbacks",
    "fit_many",
    "from_keras",
    "from_onnx",
    "from_sklearn",
    "from_torch",
    "functional",
    "get_num_threads",
    "initializers",
    "load",
    "losses",
    "plots",
    "schedules",
    "set_num_threads",
]


_LAZY = {"fit_many": "many", "load": "serialization"}  # and the modules, which import what takes time


def __getattr__(name: str) -> Any:
    """Import some names at their first use."""
    if name not in _LAZY:
        raise AttributeError(f"module 'fusednet' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"fusednet.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
