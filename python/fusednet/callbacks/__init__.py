"""Callbacks: code that runs as `Network.fit` goes along.

Derive from `Callback`, or use those below: `EarlyStopping`, `ReduceLROnPlateau`, `ModelCheckpoint`,
`CSVLogger`.
"""

from fusednet.callbacks.base import Callback
from fusednet.callbacks.csv_logger import CSVLogger
from fusednet.callbacks.early_stopping import EarlyStopping
from fusednet.callbacks.model_checkpoint import ModelCheckpoint
from fusednet.callbacks.reduce_lr_on_plateau import ReduceLROnPlateau

__all__ = ["CSVLogger", "Callback", "EarlyStopping", "ModelCheckpoint", "ReduceLROnPlateau"]
