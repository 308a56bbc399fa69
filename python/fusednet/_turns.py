"""Turns at computing, so that concurrent calls of `fit_many` together take no more threads than they may."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fusednet import _core as core

__all__ = ["TURNS", "Turns"]


class Turns:
    """A context that as many threads of the process are in at once as `get_num_threads` says; others wait.

    A thread has its turn for an epoch, and none while callbacks run: these may wait for other networks.
    """

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._taken = 0
        self._own = threading.local()

    def __enter__(self) -> None:
        with self._free:
            while self._taken >= core.get_num_threads():
                self._free.wait()
            self._taken += 1
        self._own.taken = True

    def __exit__(self, *error: object) -> None:
        self._own.taken = False
        with self._free:
            self._taken -= 1
            self._free.notify()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Give this thread's turn, if it has one, to the threads that it waits for meanwhile."""
        if not getattr(self._own, "taken", False):
            yield
            return
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()


TURNS = Turns()
if hasattr(os, "register_at_fork"):  # the child has none of the threads whose turn it is
    os.register_at_fork(after_in_child=TURNS.__init__)  # type: ignore[misc]
