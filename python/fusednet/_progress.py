"""The progress bar."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_INTERVAL = 0.2  # seconds between two drawings, at least
_SHARE = 0.01  # of the time may go into drawing, which takes 0.2 ms on a terminal and 5 ms in a notebook
_FORMAT = "{desc} |{bar}| {elapsed}<{remaining}{postfix}"  # cut off on the right where it is narrow

Advance: TypeAlias = Callable[[int], object]  # told of the samples of the epoch that are done


class Progress(Protocol):
    """What a training tells how far it is."""

    @property
    def shown(self) -> bool:
        """Whether to call `advance`, too."""

    def advance(self, samples: int) -> None:
        """Hear that so many samples of the epoch are done."""

    def end_epoch(self, samples: int | None, logs: dict[str, float]) -> None:
        """Hear that the epoch is done."""


def open_bar(wanted: bool, title: str, total: int, done: int = 0) -> Any:
    """Return a bar of tqdm's, or None where nobody would see it."""
    terminal = sys.stderr is not None and sys.stderr.isatty()
    if not (wanted and (terminal or "ipykernel" in sys.modules)):
        return None
    from tqdm.auto import tqdm  # type: ignore[import-untyped]  # slow to import, so only for a bar

    return tqdm(total=total, initial=done, bar_format=_FORMAT, desc=title, dynamic_ncols=True)


class ProgressBar:
    """Epoch, time taken and time left, samples a second and losses; nothing where nobody would see it.

    The time left goes by the whole run so far. Between two drawings a call costs a look at the clock.
    """

    def __init__(self, epochs: int, done: int, samples: int | None, wanted: bool) -> None:
        self._epochs, self._epoch = epochs, done
        self._epoch_samples = samples  # None where not known yet
        self._samples = 0  # of the complete epochs of this run
        self._logs: dict[str, float] = {}
        self._bar = open_bar(wanted, self._title(), epochs, done)
        self._start = perf_counter()
        self._due = self._start + _INTERVAL  # when to draw next

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            if kind is None:
                self._bar.total = max(self._epoch, 1)  # a training that stopped early is done, too
            self._set(self._epoch, self._samples)
            self._bar.close()  # draws

    @property
    def shown(self) -> bool:
        """Whether there is a bar."""
        return self._bar is not None

    def advance(self, samples: int) -> None:
        """Move within an epoch, of which that many samples are done."""
        if perf_counter() >= self._due:
            share = min(samples / self._epoch_samples, 1.0) if self._epoch_samples else 0.0
            self._draw(self._epoch + share, self._samples + samples)

    def end_epoch(self, samples: int | None, logs: dict[str, float]) -> None:
        """Move on to the next epoch."""
        if self._bar is None:
            return
        self._epoch += 1
        self._epoch_samples = samples
        self._samples += samples or 0
        self._logs = dict(logs)  # callbacks may change it
        if perf_counter() >= self._due:
            self._draw(self._epoch, self._samples)

    def write(self, text: str) -> None:
        """Print a line, above the bar where there is one."""
        if self._bar is None:
            print(text)
        else:
            self._bar.write(text)

    def _title(self) -> str:
        return f"epoch {self._epoch}/{self._epochs}"

    def _draw(self, position: float, samples: int) -> None:
        start = perf_counter()
        self._set(position, samples)
        self._bar.refresh()
        end = perf_counter()
        self._due = end + max(_INTERVAL, (end - start) / _SHARE)

    def _set(self, position: float, samples: int) -> None:
        rate = samples / max(perf_counter() - self._start, 1e-9)
        parts = [f"{name}={self._logs[name]:.4g}" for name in ("loss", "val_loss") if name in self._logs]
        parts.append(f"{self._bar.format_sizeof(rate)} samples/s")
        self._bar.n = position
        self._bar.set_description_str(self._title(), refresh=False)
        self._bar.set_postfix_str(", ".join(parts), refresh=False)
