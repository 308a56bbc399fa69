"""What `Network.fit` writes down, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["History"]


@dataclass(repr=False)
class History:
    """The course of one training run: lists with one entry for each completed epoch.

    Attributes
    ----------
    loss : list of float
        The mean training loss over the epoch, L2 term included, taken while the parameters change.
    val_loss : list of float
        The loss on the validation data after the epoch; empty without validation data.
    metrics : dict of str to list of float
        The values of `fit`'s metrics, under ``val_<name>`` on validation data, ``<name>`` on training data.
    learning_rate : list of float
        The learning rate of the epoch.
    """

    loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    learning_rate: list[float] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """How many epochs are complete."""
        return len(self.loss)

    @property
    def best_epoch(self) -> int | None:
        """The epoch, from 0, with the lowest validation loss, or else training loss; None before any."""
        watched = self.val_loss or self.loss
        return min(range(len(watched)), key=watched.__getitem__) if watched else None

    def append(self, logs: Mapping[str, float]) -> None:
        """Add an epoch: its "loss" and "learning_rate", "val_loss" if there is one, and the metrics."""
        self.loss.append(logs["loss"])
        self.learning_rate.append(logs["learning_rate"])
        if "val_loss" in logs:
            self.val_loss.append(logs["val_loss"])
        for name, values in self.metrics.items():
            values.append(logs[name])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the losses over the epochs.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default in a new figure.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        try:
            import matplotlib.pyplot as plt
        except ImportError as error:
            raise ImportError('plotting needs matplotlib: pip install "fusednet[plot]"') from error
        if ax is None:
            ax = plt.subplots()[1]
        ax.plot(range(self.epochs), self.loss, label="training loss")
        if self.val_loss:
            ax.plot(range(self.epochs), self.val_loss, label="validation loss")
        best = self.best_epoch
        if best is not None:
            lowest = (self.val_loss or self.loss)[best]
            ax.plot(
                [best],
                [lowest],
                "o",
                color=ax.lines[-1].get_color(),
                label=f"best: epoch {best}, {lowest:.4g}",
            )
        ax.set_xlabel("epoch")
        ax.set_ylabel("loss")
        ax.legend()
        return ax

    def __repr__(self) -> str:
        if not self.loss:
            return "History(no epochs)"
        parts = [f"{self.epochs} epochs", f"loss {self.loss[-1]:.4g}"]
        if self.val_loss:
            parts.append(f"val_loss {self.val_loss[-1]:.4g}")
        parts += [f"{name} {values[-1]:.4g}" for name, values in self.metrics.items()]
        return f"History({', '.join(parts)}; best epoch {self.best_epoch})"
