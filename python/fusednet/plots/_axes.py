"""Where pictures go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusednet._optional import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def axes(ax: Axes | None, width: float = 6.4, height: float = 4.8) -> Axes:
    """Return `ax`, or that of a new figure of this size in inches; ImportError without matplotlib."""
    pyplot = require("matplotlib.pyplot", "matplotlib", "plot")
    return pyplot.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax
