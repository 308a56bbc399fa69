"""From whatever holds numbers to the NumPy arrays that the core reads.

The core takes bool, integer, float16, float32 and float64 arrays in native byte order, of any strides, and
checks their shapes and values. What already is such an array passes through untouched.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.typing import NDArray

_FLOAT64 = np.dtype(np.float64)
_CORE_TYPES = "?bBhHiIlLqQefd"  # NumPy's one-letter codes: bool, the integers, float16 to float64


def as_array(data: Any, name: str = "X") -> NDArray[Any]:
    """Return `data` as an array of one or two dimensions that the core reads, without a copy where it can.

    Parameters
    ----------
    data : array-like
        Arrays, nested sequences, pandas and polars frames and series, and anything with ``__array__``.
        Extended precision and objects that are numbers become float64.
    name : str
        What error messages call it.

    Raises
    ------
    TypeError
        If it does not hold real numbers, or is sparse.
    ValueError
        If it is ragged, has masked entries, or has other than one or two dimensions.
    """
    usual = type(data) is ndarray and data.dtype is _FLOAT64  # no need to ask more
    array = data if usual else numeric(data, name)
    if array.ndim not in (1, 2):
        raise ValueError(f"{name} must have one or two dimensions, but has the shape {array.shape}")
    return array


def numeric(data: Any, name: str) -> NDArray[Any]:
    """Do what `as_array` does for data of any number of dimensions."""
    if type(data) is ndarray:
        array = data
    elif hasattr(data, "tocsr"):
        raise TypeError(f"{name} is sparse ({type(data).__name__}); pass a dense array: {name}.toarray()")
    elif _has_masked(data):
        raise ValueError(f"{name} has masked entries; fill or drop them first")
    else:
        try:
            array = np.asarray(data)
        except ValueError as error:
            raise ValueError(f"{name} does not form an array of numbers: {error}") from None
    if not is_readable(array):
        array = _convert(array, name)
    return array


def check_tuple(name: str, data: Any) -> None:
    """Raise TypeError unless `data` is (X, y) or (X, y, sample_weight)."""
    pair = isinstance(data, (tuple, list))
    if not pair or len(data) not in (2, 3):
        length = f" of {len(data)}" if pair else ""
        raise TypeError(f"{name} must be (X, y) or (X, y, sample_weight), not {type(data).__name__}{length}")


def rows_together(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array for reading rows in a random order.

    Where each element of a row is in a cache line of its own, as in the column by column order of pandas,
    that is several times as slow: such a matrix is copied, unless it is small or larger than a gibibyte.
    """
    line, near, most = 64, 2**18, 2**30  # bytes
    if array.ndim == 2 and abs(array.strides[1]) >= line and near < array.nbytes <= most:
        return np.ascontiguousarray(array)
    return array


def _has_masked(data: Any) -> bool:
    """Return whether entries are masked, also where the rows are arrays in a list."""
    if isinstance(data, (list, tuple)):
        return any(isinstance(row, np.ma.MaskedArray) and np.ma.is_masked(row) for row in data)
    return bool(np.ma.is_masked(data))


def is_readable(array: NDArray[Any]) -> bool:
    """Return whether the core reads an array as it is."""
    return array.dtype.char in _CORE_TYPES and array.dtype.isnative


def as_weights(data: Any, samples: int, name: str = "sample_weight") -> NDArray[Any] | None:
    """Return sample weights of shape (samples,), checked to be finite, non-negative and not all zero."""
    if data is None:
        return None
    weights = as_array(data, name)
    if weights.dtype == np.float16:  # their sum may be large
        weights = weights.astype(np.float32)
    if weights.shape != (samples,):
        raise ValueError(f"{name} must have the shape ({samples},), one weight a sample, not {weights.shape}")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(f"{name} must be finite and not negative")
    if not weights.any():
        raise ValueError(f"{name} must not be all zero")
    if not 1e-30 <= weights.max() <= 1e30:  # so that float32 holds sums of them
        largest = f"{weights.max():g}"
        raise ValueError(
            f"the largest {name} must be between 1e-30 and 1e30, not {largest}; only their ratios count"
        )
    return weights


def _convert(array: NDArray[Any], name: str) -> NDArray[Any]:
    kind, native = array.dtype.kind, array.dtype.newbyteorder("=")
    if kind == "O":
        if all(isinstance(value, (int, np.integer)) for value in array.flat):  # labels, perhaps
            with suppress(OverflowError):
                return array.astype(np.int64)
        return _numbers(array, name)
    if kind not in "biuf":
        hint = "; encode text as numbers, class labels as integers from 0" if kind in "SUT" else ""
        raise TypeError(f"{name} must hold real numbers, but its dtype is {array.dtype}{hint}")
    if native.char in _CORE_TYPES:
        return array.astype(native)
    return array.astype(np.float64)


def _numbers(array: NDArray[Any], name: str) -> NDArray[np.float64]:
    """Convert an object array; text is refused even where it reads as a number."""
    result = np.empty(array.shape)
    for index, value in np.ndenumerate(array):
        try:
            if isinstance(value, (str, bytes)):
                raise TypeError
            result[index] = float(value)
        except (TypeError, ValueError, OverflowError):
            where = f" at {index if len(index) > 1 else index[0]}" if index else ""
            raise TypeError(
                f"{name} must hold real numbers, but holds {value!r} ({type(value).__name__}){where}; "
                "encode text and categories as numbers, fill or drop missing values"
            ) from None
    return result
