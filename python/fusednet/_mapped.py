"""Training on memory-mapped files, which may be larger than memory."""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fusednet._data import as_array, as_weights
from fusednet._prefetch import Prefetch

if TYPE_CHECKING:
    from numpy.random import Generator

    from fusednet.network import Network
    from fusednet.optimizers import Optimizer

CHUNK = 2**25  # bytes of X in memory at a time: one chunk is trained on while the next is read
BLOCK = 2**18  # bytes of X that stay together in a random order: few enough to mix, and read in one go
_FAULT_AROUND = 2**16  # bytes about a page which Linux maps along with it

_Ranges = list[tuple[int, int]]  # of rows, first and one past the last
_Chunk = tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None, NDArray[np.int64] | None, _Ranges]


def is_large_map(X: Any) -> bool:
    """Return whether `X` is a matrix in a mapped file, too large to be left in memory as a whole."""
    return _map_of(X) is not None and X.ndim == 2 and X.nbytes > CHUNK


class MappedRows:
    """A memory-mapped X and its targets, trained on chunk by chunk while a thread reads the next chunk.

    In a random order, blocks of consecutive rows are shuffled first, then the rows of each chunk: Xu et al.,
    "In-database machine learning with CorgiPile: stochastic gradient descent without full data shuffle",
    SIGMOD 2022.
    """

    def __init__(self, X: Any, y: Any, sample_weight: Any, batch_size: int, shuffle: bool) -> None:
        self._X, self.samples = X, len(X)
        self._y = y if _map_of(y) is not None else as_array(y, "y")
        if self._y.ndim not in (1, 2) or len(self._y) != self.samples:
            raise ValueError(f"y must have {self.samples} rows as X has, not the shape {self._y.shape}")
        self._weight = as_weights(sample_weight, self.samples)
        self._batch_size, self._shuffle = batch_size, shuffle
        row_bytes = max(1, X.nbytes // self.samples)
        self._chunk = max(1, CHUNK // row_bytes // batch_size) * batch_size
        self._block = max(1, BLOCK // row_bytes) if shuffle else self._chunk
        self._types = [as_array(a[:1], name).dtype for a, name in ((X, "X"), (self._y, "y"))]

    @property
    def X(self) -> NDArray[Any]:
        """All inputs, as metrics need them."""
        return as_array(self._X)

    @property
    def y(self) -> NDArray[Any]:
        """All targets."""
        return as_array(self._y, "y")

    def train_epoch(self, net: Network, optimizer: Optimizer) -> float:
        """Run through the rows once; return their mean loss."""
        rng = None
        if self._shuffle:
            rng = np.random.Generator(np.random.PCG64(net._rng.bit_generator.random_raw()))
        return self._mean(
            lambda X, y, weight, order: net._core.train_epoch(
                X, y, optimizer._core, self._batch_size, order, weight
            ),
            rng,
        )

    def loss(self, net: Network) -> float:
        """Return the loss over all rows."""
        return self._mean(lambda X, y, weight, order: net._core.loss(X, y, weight), None)

    def _mean(self, function: Callable[..., float], rng: Generator | None) -> float:
        """Return the mean over the samples of what a function gives for the chunks."""
        total = whole = 0.0
        with Prefetch(self._ranges(rng), self._reader(rng)) as chunks:
            for X, y, weight, order, ranges in chunks:
                size = float(len(X) if weight is None else weight.sum())
                try:
                    total += size * function(X, y, weight, order)
                except ValueError as error:
                    raise ValueError(_in_file(str(error), ranges)) from None
                whole += size
        return total / whole

    def _ranges(self, rng: Generator | None) -> Iterator[_Ranges]:
        """Cut the rows into chunks, each of some ranges of rows."""
        starts = np.arange(0, self.samples, self._block)
        if rng is not None:
            rng.shuffle(starts)
        ranges: _Ranges = []
        room = self._chunk
        for first in starts.tolist():
            last = min(first + self._block, self.samples)
            while first < last:
                end = min(last, first + room)
                ranges.append((first, end))
                room -= end - first
                first = end
                if room == 0:
                    yield ranges
                    ranges, room = [], self._chunk
        if ranges:
            yield ranges

    def _reader(self, rng: Generator | None) -> Callable[[_Ranges], _Chunk]:
        """Return what reads chunks, into two sets of arrays by turns: one is always in use."""
        sources = [(self._X, self._types[0]), (self._y, self._types[1])]
        if self._weight is not None:
            sources.append((self._weight, self._weight.dtype))
        rows = min(self._chunk, self.samples)
        turns = cycle([[np.empty((rows, *a.shape[1:]), dtype) for a, dtype in sources] for _ in range(2)])

        def read(ranges: _Ranges) -> _Chunk:
            arrays, count = next(turns), 0
            for first, last in ranges:
                for (source, _), array in zip(sources, arrays, strict=True):
                    part = source[first:last]
                    array[count : count + last - first] = part
                    _forget(part)
                count += last - first
            X, y, *weight = (array[:count] for array in arrays)
            order = None if rng is None else rng.permutation(count)
            return X, y, weight[0] if weight else None, order, ranges

        return read


def _map_of(array: Any) -> np.memmap[Any, Any] | None:
    """Return the mapped file that an array looks into."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap):
            return array
        array = array.base
    return None


def _forget(part: NDArray[Any]) -> None:
    """Let the process's memory go that a part of a mapped file takes; it stays in the system's cache."""
    mapped = _map_of(part)
    if mapped is None or mapped.mode == "c" or not hasattr(mmap.mmap, "madvise"):
        return  # pages that were written to under mode "c" are in memory alone
    file: Any = mapped.base
    begin = np.frombuffer(file, np.uint8).ctypes.data
    low, high = np.lib.array_utils.byte_bounds(part)
    first = max(low // _FAULT_AROUND * _FAULT_AROUND - begin, 0)
    last = min(-(-high // _FAULT_AROUND) * _FAULT_AROUND - begin, len(file))
    file.madvise(mmap.MADV_DONTNEED, first, last - first)


def _in_file(message: str, ranges: _Ranges) -> str:
    """Name the row in the file, where a message names one in the chunk."""

    def row(match: re.Match[str]) -> str:
        number = int(match[1])
        for first, last in ranges:
            if number < last - first:
                return f"in row {first + number}"
            number -= last - first
        return match[0]

    return re.sub(r"in row (\d+)", row, message)
