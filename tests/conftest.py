"""Fixtures that more than one file uses. Needs pytest and NumPy alone, as test_minimal.py does."""

import signal

import pytest

import fusednet as fn
from fusednet import _core


@pytest.fixture
def threads():
    """Return `set_num_threads`, with small networks parallel too; go back to automatic afterwards."""
    _core.set_parallel_threshold(0.0)
    yield fn.set_num_threads
    _core.set_parallel_threshold(None)
    fn.set_num_threads(None)


@pytest.fixture
def ctrl_c():
    """Let SIGINT raise KeyboardInterrupt even where a shell started the tests in the background."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)
