"""Fast dense neural networks on the CPU: fused C++ kernels behind a NumPy interface.

>>> import fusednet as fn
>>> X, y = np.random.default_rng(0).normal(size=(200, 8)), np.arange(200) % 3
>>> net = fn.Network([8, 32, 3], output="softmax", loss="cross_entropy", seed=0)
>>> history = net.fit(X, y, epochs=20, optimizer=fn.SGD(0.05, momentum=0.9))
>>> net.predict(X).shape
(200, 3)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fusednet import (
    _checks,
    _core,
    callbacks,
    distributed,
    functional,
    initializers,
    losses,
    plots,
    schedules,
)
from fusednet._core import DivergenceError, build_info, get_num_threads
from fusednet.callbacks import Callback, CSVLogger, EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from fusednet.convert.imports import from_keras, from_onnx, from_sklearn, from_torch
from fusednet.history import History
from fusednet.layers import Dense, Neuron
from fusednet.network import Network
from fusednet.optimizers import SGD, Adam, AdamW, RMSprop

if TYPE_CHECKING:
    from fusednet.ensemble import Ensemble
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
    "Ensemble",
    "History",
    "ModelCheckpoint",
    "Network",
    "Neuron",
    "RMSprop",
    "ReduceLROnPlateau",
    "__version__",
    "build_info",
    "callbacks",
    "distributed",
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


def set_num_threads(threads: int | None) -> None:
    """Set the most threads that a training step or prediction uses.

    Parameters
    ----------
    threads : int or None
        From 1 to 1024. None returns to automatic: the environment variable ``FUSEDNET_NUM_THREADS``, else the
        processors that affinity and cgroup quota allow, and no more than ``OMP_NUM_THREADS``.

    Raises
    ------
    ValueError, TypeError
        If `threads` is outside that range, or neither an integer nor None.
    """
    _core.set_num_threads(None if threads is None else _checks.integer("threads", threads, maximum=1024))


# The modules of names that are imported at their first use, as that takes time.
_LAZY = {"Ensemble": "ensemble", "fit_many": "many", "load": "serialization"}


def __getattr__(name: str) -> Any:
    """Import some names at their first use."""
    if name not in _LAZY:
        raise AttributeError(f"module 'fusednet' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"fusednet.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
