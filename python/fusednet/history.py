"""What `Network.fit` writes down, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from fusednet import _html

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
        The loss on the validation data after the epoch, L2 term included, as `Network.evaluate` gives it;
        empty without validation data.
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
        """The epoch, from 0, with the lowest validation loss, or else training loss; None without any."""
        watched = self.val_loss or self.loss
        numbers = [epoch for epoch, value in enumerate(watched) if not math.isnan(value)]
        return min(numbers, key=watched.__getitem__, default=None)

    def append(self, logs: Mapping[str, float]) -> None:
        """Add an epoch: its "loss" and "learning_rate", "val_loss" if there is one, and the metrics.

        Raises
        ------
        KeyError
            If one of them is missing; nothing is added.
        """
        epochs = self.epochs
        try:
            self.loss.append(logs["loss"])
            self.learning_rate.append(logs["learning_rate"])
            if "val_loss" in logs:
                self.val_loss.append(logs["val_loss"])
            for name, values in self.metrics.items():
                values.append(logs[name])
        except BaseException:  # Ctrl-C included: an epoch is there as a whole or not at all
            for values in (self.loss, self.learning_rate, self.val_loss, *self.metrics.values()):
                del values[epochs:]
            raise

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw losses and learning rate over the epochs: see `fusednet.plots.history`.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default in a new figure.

        Returns
        -------
        matplotlib.axes.Axes
            That of the losses.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no epoch.
        """
        from fusednet import plots

        return plots.history(self, ax)

    def __repr__(self) -> str:
        if not self.loss:
            return "History(no epochs)"
        parts = [f"{self.epochs} epochs", f"loss {self.loss[-1]:.4g}"]
        if self.val_loss:
            parts.append(f"val_loss {self.val_loss[-1]:.4g}")
        parts += [f"{name} {values[-1]:.4g}" for name, values in self.metrics.items()]
        return f"History({', '.join(parts)}; best epoch {self.best_epoch})"

    def _repr_html_(self) -> str:
        best = self.best_epoch
        if best is None:
            return f"<div>{escape(repr(self))}</div>"
        series = {
            "loss": self.loss,
            "val_loss": self.val_loss,
            **self.metrics,
            "learning_rate": self.learning_rate,
        }
        rows: list[tuple[str, ...]] = [
            ("", "epoch 0", f"epoch {best}, the best", f"epoch {self.epochs - 1}, the last")
        ]
        for name, values in series.items():
            if values:
                rows.append((name, *(f"{values[epoch]:.4g}" for epoch in (0, best, -1))))
        return _html.table("History", rows, f"{self.epochs} epochs")
