"""The course of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fusednet.history import History
from fusednet.plots._axes import axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_WIDE_RANGE = 30  # between the largest and the smallest value: above it a logarithmic scale shows more


def history(history: History, ax: Axes | None = None) -> Axes:
    """Draw the losses over the epochs, with the best epoch marked, and the learning rate on the right.

    The loss has a logarithmic scale where it is positive and its range is wide.

    Parameters
    ----------
    history : History
        With at least one epoch.
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
    ValueError, TypeError
        If there is no epoch, or `history` is none.
    """
    if not isinstance(history, History):
        raise TypeError(f"history must be a fusednet.History, not {type(history).__name__}")
    if not history.loss:
        raise ValueError("there is no epoch to draw: the history is empty")
    ax = axes(ax)
    from matplotlib.ticker import MaxNLocator

    marker = "." if history.epochs <= 30 else ""  # alone, a point is no line
    curves = [("training loss", history.loss, "C0")]
    if history.val_loss:
        curves.append(("validation loss", history.val_loss, "C1"))
    lines = [
        ax.plot(range(len(values)), values, label=label, color=color, marker=marker, zorder=3)[0]
        for label, values, color in curves
    ]
    best = history.best_epoch
    if best is not None:
        _, values, color = curves[-1]
        label = f"best: {values[best]:.4g} in epoch {best}"
        lines += ax.plot([best], [values[best]], "*", markersize=14, color=color, label=label, zorder=4)
    finite = [value for _, values, _ in curves for value in values if np.isfinite(value)]
    if finite and min(finite) > 0 and max(finite) > _WIDE_RANGE * min(finite):
        ax.set_yscale("log")
    ax.set_xlabel("epoch")
    ax.set_ylabel("loss")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    if history.epochs == 1:
        ax.set_xticks([0])
    ax.grid(alpha=0.3)
    if history.learning_rate:
        lines.append(_learning_rate(history.learning_rate, ax))
    ax.legend(handles=lines, loc="best", framealpha=0.9)
    return ax


def _learning_rate(rates: list[float], ax: Axes) -> Line2D:
    right = ax.twinx()
    style = ":" if len(rates) > 1 else "."
    (line,) = right.plot(range(len(rates)), rates, style, color="0.5", label="learning rate")
    right.set_ylabel("learning rate", color="0.4")
    right.tick_params(axis="y", colors="0.4")
    highest = max(rates)
    if min(rates) > 0 and np.mean(np.array(rates) < highest / 10) > 0.3:  # not for a fall to zero at the end
        right.set_yscale("log")
    elif highest > 0:
        right.set_ylim(0, (2.0 if min(rates) == highest else 1.05) * highest)
    ax.set_zorder(right.get_zorder() + 1)  # the losses and the legend stay in front
    ax.patch.set_visible(False)
    return line
