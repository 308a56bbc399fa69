"""Stopping once nothing gets better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fusednet._checks import flag, integer
from fusednet.callbacks.base import Monitor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fusednet.network import Network

__all__ = ["EarlyStopping"]


class EarlyStopping(Monitor):
    """Stop once a monitored value has not improved for some epochs [1]_.

    Parameters
    ----------
    monitor : str, default "val_loss"
        The value to watch: a key of the epoch's logs, such as "loss", "val_loss" or the name of a metric.
    patience : int, default 5
        How many epochs in a row without improvement end the training.
    min_delta : float, default 0.0
        By how much a value must beat the best to count as an improvement.
    restore_best : bool, default True
        Whether the parameters of the best epoch are put back at the end of the training, stopped early or
        not, but for one that an exception or Ctrl-C ends.
    mode : {"min", "max"}, default "min"
        Whether lower or higher is better.

    Attributes
    ----------
    best : float
        The best value so far.
    best_epoch : int or None
        Its epoch, from 0.
    stopped_epoch : int or None
        The epoch after which this callback stopped the training; None if it did not.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range; in `fit`, if `monitor` is not among the epoch's values.

    References
    ----------
    .. [1] L. Prechelt, "Early stopping - but when?", in Neural Networks: Tricks of the Trade, 1998.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        restore_best: bool = True,
        *,
        mode: str = "min",
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.patience = integer("patience", patience)
        self.restore_best = flag("restore_best", restore_best)

    def _forget(self) -> None:
        super()._forget()
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self._best_parameters: NDArray[Any] | None = None

    def on_epoch_begin(self, net: Network, epoch: int) -> None:
        """Stop a resumed training that had been stopped before."""
        self._stop_after(net, epoch - 1)

    def on_epoch_end(self, net: Network, epoch: int, logs: dict[str, float]) -> None:
        """Note an improvement, or stop after too many epochs without one."""
        if self._improved(logs):
            self.best_epoch = epoch
            if self.restore_best:
                self._best_parameters = net.parameters.copy()
        else:
            self._stop_after(net, epoch)

    def _stop_after(self, net: Network, epoch: int) -> None:
        if epoch - (-1 if self.best_epoch is None else self.best_epoch) >= self.patience:
            self.stopped_epoch = epoch
            net.stop_training = True

    def on_train_end(self, net: Network) -> None:
        """Put the parameters of the best epoch back."""
        if self._best_parameters is not None:
            net.parameters = self._best_parameters
            self._best_parameters = None

    def state_dict(self) -> dict[str, Any]:
        """Return the best value, its epoch and, if they are to be restored, its parameters."""
        state = super().state_dict() | {"best_epoch": self.best_epoch}
        if self._best_parameters is not None:
            state["best_parameters"] = self._best_parameters
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        super().load_state_dict(state)
        self.best_epoch = state["best_epoch"]
        self._best_parameters = state.get("best_parameters")
