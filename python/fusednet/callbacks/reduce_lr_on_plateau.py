"""A learning rate that falls once nothing gets better."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fusednet._checks import integer, real
from fusednet.callbacks.base import Monitor

if TYPE_CHECKING:
    from fusednet.network import Network

__all__ = ["ReduceLROnPlateau"]


class ReduceLROnPlateau(Monitor):
    """Multiply the learning rate by a factor once a monitored value has not improved for some epochs.

    It counts epochs as PyTorch's ``ReduceLROnPlateau(threshold_mode="abs")`` does, with one difference:
    `patience` is that of Keras and of `EarlyStopping`, the number of epochs without improvement after which
    the rate falls, which is PyTorch's plus one. The optimizer needs a number for its learning rate, not a
    schedule, and keeps the last one after the training.

    Parameters
    ----------
    monitor : str, default "val_loss"
        The value to watch: a key of the epoch's logs, such as "loss", "val_loss" or the name of a metric.
    factor : float, default 0.1
        By what the learning rate is multiplied, in (0, 1).
    patience : int, default 10
        How many epochs in a row without improvement lower the rate.
    min_delta : float, default 1e-4
        By how much a value must beat the best to count as an improvement.
    mode : {"min", "max"}, default "min"
        Whether lower or higher is better.
    cooldown : int, default 0
        For how many epochs after a fall those without improvement are not counted.
    min_learning_rate : float, default 1e-8
        The rate is not lowered below it.

    Attributes
    ----------
    best : float
        The best value so far.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range; in `fit`, if `monitor` is not among the epoch's values or the
        learning rate is a schedule.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        *,
        mode: str = "min",
        cooldown: int = 0,
        min_learning_rate: float = 1e-8,
    ) -> None:
        super().__init__(monitor, mode, min_delta)
        self.factor = real("factor", factor, "(0, 1)")
        self.patience = integer("patience", patience)
        self.cooldown = integer("cooldown", cooldown, minimum=0)
        self.min_learning_rate = real("min_learning_rate", min_learning_rate, "(0, inf)")

    def _forget(self) -> None:
        super()._forget()
        self._wait = 0  # epochs without improvement
        self._cooling = 0  # epochs of the cooldown to come

    def on_train_begin(self, net: Network) -> None:
        """Forget an earlier training, and see that there is a rate to lower."""
        super().on_train_begin(net)
        if net.optimizer is not None and net.optimizer.schedule is not None:
            raise ValueError(
                "ReduceLROnPlateau needs an optimizer whose learning rate is a number, "
                f"not the schedule {net.optimizer.schedule!r}"
            )

    def on_epoch_end(self, net: Network, epoch: int, logs: dict[str, float]) -> None:
        """Note an improvement, or lower the rate after too many epochs without one."""
        self._wait = 0 if self._improved(logs) else self._wait + 1
        if self._cooling > 0:
            self._cooling -= 1
            self._wait = 0
        if self._wait >= self.patience:
            self._wait, self._cooling = 0, self.cooldown
            optimizer = net.optimizer
            assert optimizer is not None  # fit has set it
            rate = optimizer.learning_rate
            if rate > self.min_learning_rate:
                optimizer.learning_rate = max(rate * self.factor, self.min_learning_rate)

    def state_dict(self) -> dict[str, Any]:
        """Return the best value and the counters; the rate itself is the optimizer's."""
        return super().state_dict() | {"wait": self._wait, "cooling": self._cooling}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        super().load_state_dict(state)
        self._wait, self._cooling = state["wait"], state["cooling"]
