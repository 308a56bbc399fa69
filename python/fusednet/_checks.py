"""Checks of scalar arguments, with messages that name the argument, what it must be and what came."""

from __future__ import annotations

import numbers
import operator
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np

Made = TypeVar("Made")


def integer(name: str, value: Any, minimum: int = 1, maximum: int = 2**63 - 1) -> int:
    """Return `value` as an int from `minimum` to `maximum`, by default the most that the core can take."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {value!r}") from None
    if number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, not {number}")
    if number > maximum:
        raise ValueError(f"{name} must be at most {maximum}, not {number}")
    return number


def real(name: str, value: Any, interval: str) -> float:
    """Return `value` as a float that lies in `interval`, written as in mathematics: "[0, 1)", "(0, inf)"."""
    if not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, not {value!r}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"{name} must lie in {interval}, not beyond the range of float64") from None
    low, high = map(float, interval[1:-1].split(","))
    above = number > low if interval[0] == "(" else number >= low
    below = number < high if interval[-1] == ")" else number <= high
    if not (above and below):  # NaN is neither
        raise ValueError(f"{name} must lie in {interval}, not {value!r}")
    return number


def choice(name: str, value: Any, known: Iterable[str]) -> str:
    """Return `value` if it is one of the `known` names."""
    names = tuple(known)
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{name} must be one of {', '.join(names)}, not {value!r}")
    return str(value)  # not NumPy's kind of string


def flag(name: str, value: Any) -> bool:
    """Return `value` if it is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return bool(value)


def seeded(make: Callable[[Any], Made], seed: Any) -> Made:
    """Return what `make` makes of a seed."""
    try:
        return make(seed)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"seed must be a non-negative integer, None or another of NumPy's seeds, not {seed!r}"
        ) from None
