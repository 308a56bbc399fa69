"""Dependencies that are optional: the extras."""

from __future__ import annotations

import importlib
from typing import Any


def require(module: str, package: str, extra: str) -> Any:
    """Import an optional dependency; ImportError with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f'this needs {package}: pip install "fusednet[{extra}]", or ".[{extra}]" in a clone'
        ) from error
