"""The base of callbacks, and of those that watch a value."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fusednet._checks import choice, real

if TYPE_CHECKING:
    from fusednet.network import Network

__all__ = ["Callback", "Monitor"]


class Callback:
    """The base of callbacks: override what you need.

    Epochs count from 0. To end the training after the running epoch, set ``net.stop_training = True``; in
    `on_epoch_begin` that ends it before the epoch. ``net.history`` holds what is done so far. To change the
    learning rate, set ``net.optimizer.learning_rate``.

    An exception that a callback raises ends `fit` and reaches its caller; `on_train_end` is then not called,
    but `on_exception` is. In the first epoch a ValueError or TypeError is taken for a wrong argument, and the
    training is undone; whatever comes later costs no epoch that is complete.

    Examples
    --------
    >>> class Print(fn.Callback):
    ...     def on_epoch_end(self, net, epoch, logs):
    ...         print(epoch, logs["loss"])
    """

    def on_train_begin(self, net: Network) -> None:
        """Run before the first epoch. After ``fit(resume=...)`` the history holds the epochs already done."""

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

    def on_exception(self, net: Network, error: BaseException) -> None:
        """Run when an exception, such as the KeyboardInterrupt of Ctrl-C, ends `fit`, before it goes on.

        What this raises becomes a note on that exception.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return what the callback must remember for a training to be resumed.

        Returns
        -------
        dict of str to object
            Numbers, strings, None, lists and dicts of them, or arrays; `ModelCheckpoint` writes it. Empty at
            all times for a callback that need not remember anything.
        """
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned; ``fit(resume=...)`` calls it after `on_train_begin`."""


class Monitor(Callback):
    """What callbacks share that watch one value of the epoch's logs.

    `monitor`, `mode` and `min_delta` are those of `EarlyStopping`; `best` is the best value so far.
    """

    def __init__(self, monitor: str, mode: str, min_delta: float) -> None:
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be the name of a value, such as 'val_loss', not {monitor!r}")
        self.monitor = monitor
        self.mode = choice("mode", mode, ("min", "max"))
        self.min_delta = real("min_delta", min_delta, "[0, inf)")
        self._forget()

    def _forget(self) -> None:
        self.best = math.inf if self.mode == "min" else -math.inf

    def _improved(self, logs: dict[str, float]) -> bool:
        """Return whether the epoch's value beats the best by more than `min_delta`, and note it if so."""
        if self.monitor not in logs:
            validated = any(name.startswith("val_") for name in logs)
            hint = "" if validated or not self.monitor.startswith("val_") else "; give fit validation_data"
            raise ValueError(
                f"{type(self).__name__} monitors {self.monitor!r}, "
                f"but there is only {', '.join(sorted(logs))}{hint}"
            )
        value = logs[self.monitor]
        gain = self.best - value if self.mode == "min" else value - self.best
        if not gain > self.min_delta:  # NaN is never a gain
            return False
        self.best = value
        return True

    def on_train_begin(self, net: Network) -> None:
        """Forget an earlier training."""
        self._forget()

    def state_dict(self) -> dict[str, Any]:
        """Return the best value."""
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the best value back."""
        self.best = float(state["best"])
