"""The table of a network's layers, as text and for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusednet import _html

if TYPE_CHECKING:
    from fusednet._base import NetworkBase


def loss_name(net: NetworkBase) -> str:
    """Return what to call a network's loss."""
    return net.loss if isinstance(net.loss, str) else getattr(net.loss, "__name__", repr(net.loss))


class Summary(str):
    """A string that shows itself as it prints."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def summarize(net: NetworkBase) -> Summary:
    """Return the table of a network's layers as text."""
    rows = _rows(net)
    spans = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, spans)).rstrip() for row in rows]
    rule = "-" * max(map(len, lines))
    return Summary("\n".join([lines[0], rule, *lines[1:], rule, _totals(net)]))


def summarize_html(net: NetworkBase) -> str:
    """Return the table of a network's layers for a notebook."""
    return _html.table(type(net).__name__, _rows(net), _totals(net))


def _rows(net: NetworkBase) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("layer", "shape", "activation", "dropout", "parameters", "trainable")]
    for index, (layer, rate) in enumerate(zip(net.layers, (*net.dropout, 0.0), strict=True)):
        rows.append(
            (
                str(index),
                f"{layer.in_features} → {layer.out_features}",
                layer.activation,
                f"{rate:g}" if rate else "-",
                f"{layer.parameter_count:,}",
                "yes" if layer.trainable else "no",
            )
        )
    return rows


def _totals(net: NetworkBase) -> str:
    count = sum(layer.parameter_count for layer in net.layers)
    frozen = sum(layer.parameter_count for layer in net.layers if not layer.trainable)
    return (
        f"{count:,} parameters"
        + (f", {frozen:,} of them frozen" if frozen else "")
        + f", {count * net.dtype.itemsize / 1024:,.1f} KiB of {net.dtype}; loss: {loss_name(net)}"
        + (f"; l2: {net.l2:g}" if net.l2 else "")
        + ("; inputs standardized" if net.input_mean is not None else "")
    )
