"""Files to go on from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from fusednet._checks import flag, integer
from fusednet.callbacks.base import Monitor

if TYPE_CHECKING:
    from fusednet._checkpoint import Snapshot
    from fusednet._training import Run
    from fusednet.network import Network

__all__ = ["ModelCheckpoint"]


class ModelCheckpoint(Monitor):
    """Write the network and the state of its training to a file, from which ``fit(resume=path)`` continues.

    A resumed training ends with the same bits as one that was never stopped: the file holds parameters,
    optimizer state, random numbers to come, learning rate, history and the callbacks' states. `fusednet.load`
    reads the network out of it. It is written under another name and renamed when complete, so that a crash
    while writing leaves the file before. Wherever it stands in the list, it writes after all callbacks have
    seen the epoch. When an exception or Ctrl-C ends the training, the last complete epoch is written. It is
    an epoch's parameters, not those that `EarlyStopping` puts back at the end: `save_best_only`, or
    ``net.save`` after the training, has these.

    Parameters
    ----------
    path : str or path-like
        Where to. ``{epoch}``, from 0, and the names in the epoch's logs are filled in as by `str.format`:
        ``"run/{epoch:03d}-{val_loss:.3f}.safetensors"``. Folders are made; an existing file is replaced.
    monitor : str, default "val_loss"
        The value to watch with `save_best_only`: a key of the epoch's logs.
    mode : {"min", "max"}, default "min"
        Whether lower or higher is better.
    save_best_only : bool, default False
        Whether an epoch is written only if it has the best value so far.
    every : int, default 1
        After how many epochs to write; the last one is written in any case. Writing takes a few milliseconds,
        which short epochs feel.

    Attributes
    ----------
    best : float
        The best value so far, with `save_best_only`.
    last_path : str or None
        The file last written.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range; in `fit`, if `monitor` or a name in `path` is not among the
        epoch's values, or the state of a callback cannot be kept in a file.
    OSError
        In `fit`, if the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str = "val_loss",
        *,
        mode: str = "min",
        save_best_only: bool = False,
        every: int = 1,
    ) -> None:
        super().__init__(monitor, mode, 0.0)
        self.path = os.fspath(path)
        self.save_best_only = flag("save_best_only", save_best_only)
        self.every = integer("every", every)

    def _forget(self) -> None:
        super()._forget()
        self.last_path: str | None = None
        self._wanted = False
        self._pending: tuple[str, Snapshot] | None = None

    def on_epoch_end(self, net: Network, epoch: int, logs: dict[str, float]) -> None:
        """Decide whether the epoch is to be written."""
        self._wanted = not self.save_best_only or self._improved(logs)

    def _on_epoch_complete(self, run: Run, logs: dict[str, float]) -> None:
        """Take a snapshot, and write it if it is time; `fit` calls this after all `on_epoch_end`."""
        from fusednet import _checkpoint

        if self._wanted:
            self._pending = self._name(run.epochs_done - 1, logs), _checkpoint.Snapshot.of(run)
        if run.epochs_done % self.every == 0:
            self._write()

    def _name(self, epoch: int, logs: dict[str, float]) -> str:
        try:
            return self.path.format(**{**logs, "epoch": epoch})
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            raise ValueError(
                f"ModelCheckpoint cannot fill in the path {self.path!r}: {error!r}; "
                f"there are epoch, {', '.join(sorted(logs))}"
            ) from error

    def _write(self) -> None:
        if self._pending is not None:
            path, snapshot = self._pending
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            snapshot.write(path)
            self.last_path, self._pending = path, None

    def on_train_end(self, net: Network) -> None:
        """Write what is left to be written."""
        self._write()

    def on_exception(self, net: Network, error: BaseException) -> None:
        """Write what is left to be written."""
        self._write()

    def state_dict(self) -> dict[str, Any]:
        """Return the best value, where it matters."""
        return super().state_dict() if self.save_best_only else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the best value back."""
        if self.save_best_only:
            super().load_state_dict(state)
