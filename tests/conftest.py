"""Fixtures that more than one file uses. Needs pytest and NumPy alone, as test_minimal.py does."""

import pytest

import fusednet as fn


@pytest.fixture
def threads():
    """Return `set_num_threads`, and go back to automatic afterwards."""
    yield fn.set_num_threads
    fn.set_num_threads(None)
