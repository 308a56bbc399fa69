"""Items prepared by a thread of their own while the ones before are in use."""

from __future__ import annotations

import contextvars
import inspect
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_T = TypeVar("_T")

_END = StopIteration()
_PATIENCE = 5.0  # seconds that a caller who wants to leave waits for the item in preparation


class Prefetch(Generic[_T]):
    """Runs through `items` in a thread, and calls `prepare` on each there, one ahead of who takes them.

    What `items` or `prepare` raise reaches the taker in the place of the item. Once the context is left, the
    thread is at its end, and `items`, if it is a generator, closed; or both will be, once an item is there
    whose preparation took more than `_PATIENCE` from then.
    """

    def __init__(self, items: Iterable[Any], prepare: Callable[[Any], _T]) -> None:
        self._items, self._prepare = items, prepare
        self._ready: queue.SimpleQueue[tuple[_T | None, BaseException | None]] = queue.SimpleQueue()
        self._taken = threading.Semaphore(0)
        self._left = False
        context = contextvars.copy_context()  # NumPy's errstate is in it
        self._thread = threading.Thread(target=context.run, args=(self._run,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __iter__(self) -> Iterator[_T]:
        while True:
            item, error = self._ready.get()
            self._taken.release()
            if error is _END:
                return
            if error is not None:
                raise error  # a StopIteration becomes a RuntimeError, as in any generator
            yield item  # type: ignore[misc]  # None only beside an error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        self._taken.release()
        self._thread.join(_PATIENCE)

    def _run(self) -> None:
        end: BaseException = _END
        try:
            try:
                for item in self._items:
                    self._ready.put((self._prepare(item), None))
                    self._taken.acquire()
                    if self._left:
                        break
            finally:
                if inspect.isgenerator(self._items):
                    self._items.close()
        except BaseException as error:
            end = error
        self._ready.put((None, end))
