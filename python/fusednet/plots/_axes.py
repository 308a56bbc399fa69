"""Where pictures go."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def axes(ax: Axes | None, width: float = 6.4, height: float = 4.8) -> Axes:
    """Return `ax`, or that of a new figure of this size in inches; ImportError without matplotlib."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            'plotting needs matplotlib: pip install "fusednet[plot]", or ".[plot]" in a clone'
        ) from error
    return plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax
