"""The epochs' values in a text file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fusednet.callbacks.base import Callback

if TYPE_CHECKING:
    from fusednet.network import Network

__all__ = ["CSVLogger"]

_SEPARATORS = (",", ";", ":", "|", "\t", " ")  # none of which a number or a line's end has


class CSVLogger(Callback):
    """Write the values of each epoch as a row of a CSV file, to be watched while training goes on.

    The columns are "epoch", from 0, and the names in the epoch's logs; numbers have as many digits as it
    takes to read the same ones back. Each row is in the file when its epoch ends. The first row of a new
    training starts the file anew; one that ``fit(resume=...)`` continues appends to it, after dropping the
    rows of epochs that it trains again.

    Parameters
    ----------
    path : str or path-like
        The file.
    separator : str, default ","
        What stands between the values: a comma, semicolon, colon, vertical bar, tab or space.

    Raises
    ------
    ValueError, TypeError
        If `separator` is another one; in `fit`, if the columns of the file to append to, or of the
        earlier epochs, are others, or a metric's name has a line's end.
    OSError
        In `fit`, if the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], separator: str = ",") -> None:
        if separator not in _SEPARATORS:
            known = " ".join(map(repr, _SEPARATORS))
            raise ValueError(f"separator must be one of {known}, not {separator!r}")
        self.path = os.fspath(path)
        self.separator = separator
        self._header: str | None = None
        self._kept: int | None = None  # bytes of an earlier training, until the rest is cut off

    def on_train_begin(self, net: Network) -> None:
        """Find out where the first row goes; what is in the file stays there until that comes."""
        self._header, self._kept = None, 0
        open(self.path, "ab").close()  # an OSError now, not after an epoch
        if done := net.history.epochs:
            self._kept = self._end_of(done)

    def _end_of(self, done: int) -> int:
        """Return where the row of epoch `done` − 1 ends; note the columns."""
        kept = 0
        with open(self.path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n"):  # its writer was killed
                    break
                text = line.decode(errors="replace")
                first = text.split(self.separator)[0]
                if self._header is None and first == "epoch":
                    self._header = text
                elif self._header is None or not first.isdecimal():
                    raise ValueError(f"{self.path} is not a file that CSVLogger wrote: it holds {text!r}")
                elif int(first) >= done:
                    break
                kept += len(line)
        return kept

    def _cut(self) -> None:
        if self._kept == 0:
            open(self.path, "wb").close()  # of a pipe, too
        elif self._kept is not None:
            os.truncate(self.path, self._kept)
        self._kept = None

    def on_epoch_end(self, net: Network, epoch: int, logs: dict[str, float]) -> None:
        """Write a row."""
        header, row = self._line("epoch", *logs), self._line(epoch, *logs.values())
        if "\n" in header[:-1]:  # which `_end_of` would take for a row's
            raise ValueError(f"a column of {self.path} cannot have a name with a line's end: {header!r}")
        if self._header not in (None, header):
            raise ValueError(
                f"{self.path} has the columns {self._header!r}, and epoch {epoch} has {header!r}"
            )
        self._cut()
        with open(self.path, "a", encoding="utf-8", newline="") as file:
            file.write(row if self._header else header + row)
        self._header = header

    def on_train_end(self, net: Network) -> None:
        """Drop what a training without a single epoch would have replaced."""
        self._cut()

    def _line(self, *values: object) -> str:
        import csv  # takes its time
        import io

        text = io.StringIO()
        csv.writer(text, delimiter=self.separator, lineterminator="\n").writerow(values)
        return text.getvalue()
