"""The architecture of a network."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

from fusednet._summary import loss_name
from fusednet.network import Network
from fusednet.plots._axes import axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CIRCLES = 9  # how many a column shows at most; of a wider layer the first and the last, with dots between
_PITCH = 1.5  # inches from one column to the next


@dataclass
class _Column:
    """What stands over one column of circles, how many units it is for, and what stands below."""

    head: str
    units: int
    text: str

    @property
    def heights(self) -> list[float]:
        """The circles' places, around 0, from above."""
        slots = min(self.units, _CIRCLES)
        places = [(slots - 1) / 2 - slot for slot in range(slots)]
        return places if self.units <= _CIRCLES else [place for place in places if place != 0]


def network(net: Network, ax: Axes | None = None) -> Axes:
    """Draw a network's layers as columns of units, from the input on the left to the output on the right.

    Of wide layers the first and the last units are shown, with dots between them; layers that follow one
    another and are alike share a column.

    Parameters
    ----------
    net : Network
        The network.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default in a new figure as wide as the network is deep.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If `net` is no network.
    """
    if not isinstance(net, Network):
        raise TypeError(f"net must be a fusednet.Network, not {type(net).__name__}")
    columns = _columns(net)
    longest = max(len(line) for column in columns for line in f"{column.head}\n{column.text}".split("\n"))
    crowded = len(columns) > 12
    ax = axes(ax, max(4.8, len(columns) * (_PITCH / 2 if crowded else _PITCH)), 4.8)
    from matplotlib.collections import LineCollection

    box = ax.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted())  # in inches
    pitch, slot = 72 * box.width / len(columns), 72 * box.height / (_CIRCLES + 5)
    font = min(max(pitch / (6 if crowded else 0.7 * longest), 5), 9)
    diameter = min(0.7 * slot, 0.4 * pitch)
    edges = [
        [(x, a), (x + 1, b)]
        for x, (left, right) in enumerate(pairwise(columns))
        for a in left.heights
        for b in right.heights
    ]
    ax.add_collection(LineCollection(edges, colors="0.6", linewidths=0.4, zorder=1))
    style: dict[str, Any] = {"fontsize": font, "ha": "center", "rotation": 90 if crowded else 0}
    for x, column in enumerate(columns):
        heights = column.heights
        color = "C2" if x == 0 else "C1" if x == len(columns) - 1 else "C0"
        ax.scatter([x] * len(heights), heights, diameter**2, color, edgecolors="white", zorder=2)
        if column.units > _CIRCLES:
            ax.scatter([x] * 3, [-0.25, 0.0, 0.25], diameter**2 / 50, "0.2", zorder=2)
        ax.text(x, heights[0] + 0.6, column.head, va="bottom", weight="bold", **style)
        ax.text(x, heights[-1] - 0.6, column.text, va="top", **style)
    tallest = max(column.heights[0] for column in columns)
    ax.set_xlim(-0.6, len(columns) - 0.4)
    ax.set_ylim(-tallest - 3.4, tallest + (2.4 if crowded else 1.8))
    ax.axis("off")
    count = net.parameters.size
    ax.set_title(f"{count:,} parameter{'s' * (count != 1)}, loss: {loss_name(net)}")
    return ax


def _columns(net: Network) -> list[_Column]:
    inputs = net.layers[0].in_features
    columns = [_Column(_count(inputs, "input"), inputs, "")]
    last = len(net.layers) - 1
    descriptions = [
        (layer.in_features, layer.out_features, layer.activation, rate, layer.trainable, index == last)
        for index, (layer, rate) in enumerate(zip(net.layers, (*net.dropout, 0.0), strict=True))
    ]
    first = 0
    for (_, units, activation, rate, trainable, output), group in groupby(descriptions):
        size = len(list(group))
        lines = [f"layer {first}" if size == 1 else f"layers {first} to {first + size - 1}", activation]
        if rate:
            lines.append(f"dropout {rate:g}")
        if not trainable:
            lines.append("frozen")
        head = _count(units, "output" if output else "unit") + (f"\n× {size} layers" if size > 1 else "")
        columns.append(_Column(head, units, "\n".join(lines)))
        first += size
    return columns


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
