"""Callbacks: code that runs as `Network.fit` goes along."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fusednet._validation import choice, integer, real

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fusednet.network import Network

__all__ = ["Callback", "EarlyStopping"]


class Callback:
    """The base of callbacks: override what you need.

    Epochs count from 0. To end the training after the running epoch, set ``net.stop_training = True``. An
    exception that a callback raises ends `fit` and reaches its caller; `on_train_end` is then not called.

    Examples
    --------
    >>> class Print(fn.Callback):
    ...     def on_epoch_end(self, net, epoch, logs):
    ...         print(epoch, logs["loss"])
    """

    def on_train_begin(self, net: Network) -> None:
        """Run before the first epoch."""

    def on_epoch_begin(self, net: Network, epoch: int) -> None:
        """Run before each epoch, after its learning rate is set."""

    def on_epoch_end(self, net: Network, epoch: int, logs: dict[str, float]) -> None:
        """Run after each epoch, once it is in ``net.history``.

        Parameters
        ----------
        net : Network
            The network in training.
        epoch : int
            The epoch that ends.
        logs : dict of str to float
            What the epoch gave: "loss", "learning_rate", with validation data "val_loss", and the metrics.
        """

    def on_train_end(self, net: Network) -> None:
        """Run after the last epoch, whether training was stopped early or not."""


class EarlyStopping(Callback):
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
        not.
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
        self.monitor = monitor
        self.patience = integer("patience", patience)
        self.min_delta = real("min_delta", min_delta, "[0, inf)")
        self.restore_best = restore_best
        self.mode = choice("mode", mode, ("min", "max"))
        self._reset()

    def _reset(self) -> None:
        self.best = math.inf if self.mode == "min" else -math.inf
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self._best_parameters: NDArray[Any] | None = None

    def on_train_begin(self, net: Network) -> None:
        """Forget an earlier training."""
        self._reset()

    def on_epoch_end(self, net: Network, epoch: int, logs: dict[str, float]) -> None:
        """Note an improvement, or stop after too many epochs without one."""
        if self.monitor not in logs:
            hint = "; give fit validation_data" if self.monitor.startswith("val_") else ""
            raise ValueError(
                f"EarlyStopping monitors {self.monitor!r}, but there is only {', '.join(sorted(logs))}{hint}"
            )
        value = logs[self.monitor]
        gain = self.best - value if self.mode == "min" else value - self.best
        if gain > self.min_delta:  # NaN is never a gain
            self.best, self.best_epoch = value, epoch
            if self.restore_best:
                self._best_parameters = net.parameters.copy()
        elif epoch - (-1 if self.best_epoch is None else self.best_epoch) >= self.patience:
            self.stopped_epoch = epoch
            net.stop_training = True

    def on_train_end(self, net: Network) -> None:
        """Put the parameters of the best epoch back."""
        if self._best_parameters is not None:
            net.parameters = self._best_parameters
            self._best_parameters = None
