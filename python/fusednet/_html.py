"""Tables for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def table(title: str, rows: Sequence[Sequence[str]], note: str) -> str:
    """Return an HTML table: a title above, rows of which the first is the head, a note below."""
    head, *body = rows
    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in body)
    return (
        f"<div><strong>{escape(title)}</strong>"
        f"<table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table>"
        f"<small>{escape(note)}</small></div>"
    )
