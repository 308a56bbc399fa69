"""Training on memory-mapped files, which may be larger than memory."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from fusednet._data import as_array, as_weights, is_readable
from fusednet._prefetch import Prefetch
from fusednet._progress import Advance

if TYPE_CHECKING:
    from numpy.random import Generator

    from fusednet.network import Network
    from fusednet.optimizers import Optimizer

CHUNK = 2**25  # bytes of X: one such part of the file is trained on while the next is read
BLOCK = 2**19  # bytes of X that stay together in a random order: few enough to mix, and read in one go
_FAULT_AROUND = 2**21  # bytes about a page that Linux may map along with it: as much as its largest page

_Ranges = list[tuple[int, int]]  # of rows: the first and one past the last


def is_map(X: Any) -> bool:
    """Return whether `X` is an array in a mapped file."""
    return _file_of(X) is not None


def is_large_map(X: Any) -> bool:
    """Return whether `X` is a matrix in a mapped file, row by row, and too large to be left in memory."""
    return is_map(X) and X.ndim == 2 and X.nbytes > CHUNK and abs(X.strides[0]) >= X[0].nbytes


def check_map(X: Any) -> None:
    """Raise TypeError where `X` is a large map that would have to be converted as a whole."""
    if is_large_map(X) and not is_readable(X):
        raise TypeError(
            f"X is a memory map of dtype {X.dtype}, which would have to be converted as a whole: expected"
            " native integers or floats of up to 64 bits; or give fit batches of it, converted"
        )


class MappedRows:
    """A memory-mapped X and its targets, trained on in place, chunk by chunk.

    A thread brings the next chunk into memory meanwhile; one that is done with is let go of, and stays in the
    system's cache alone. In a random order, blocks of consecutive rows are shuffled, then the rows of each
    chunk: Xu et al., "In-database machine learning with CorgiPile: stochastic gradient descent without full
    data shuffle", SIGMOD 2022.
    """

    def __init__(self, X: Any, y: Any, sample_weight: Any, batch_size: int, shuffle: bool) -> None:
        check_map(X)
        self.X, self.y = as_array(X), as_array(y, "y")
        self.samples = len(X)
        self.sample_weight = as_weights(sample_weight, self.samples)
        self._parts = [_Part(X)] if _file_of(y) is None else [_Part(X), _Part(y)]
        self._in_memory: list[_Ranges] = []  # the chunk that is trained on, and the next one
        self._batch_size, self._shuffle = batch_size, shuffle
        row_bytes = max(1, X.nbytes // self.samples)
        self._chunk = max(1, CHUNK // row_bytes // batch_size) * batch_size
        self._block = max(1, BLOCK // row_bytes) if shuffle else self._chunk

    @property
    def settings(self) -> dict[str, Any]:
        """What a training must share with the one that it continues."""
        return {
            "samples": self.samples,
            "batch_size": self._batch_size,
            "shuffle": f"blocks of {self._block} rows" if self._shuffle else False,
            "sample_weight": self.sample_weight is not None,
        }

    def train_epoch(self, net: Network, optimizer: Optimizer, progress: Advance | None) -> float:
        """Run through the rows once; return their mean loss."""
        net._core.check_samples(self.X, self.y)  # before a thread reads rows that one may lack
        rng = None
        if self._shuffle:
            rng = np.random.Generator(np.random.PCG64(net._rng.bit_generator.random_raw()))
        chunks = list(self._chunks(rng))
        done = 0

        def advance(rows: int) -> None:
            if progress is not None:
                progress(done + rows)

        def train(ranges: _Ranges) -> float:
            nonlocal done
            order = np.concatenate([np.arange(*rows) for rows in ranges])
            if rng is not None:
                rng.shuffle(order)
            loss = net._core.train_epoch(
                self.X, self.y, optimizer._core, self._batch_size, order, self.sample_weight, advance
            )
            done += len(order)
            return loss

        return self._mean(train, chunks)

    def loss(self, net: Network) -> float:
        """Return the loss over all rows."""

        def loss(ranges: _Ranges) -> float:
            rows = slice(ranges[0][0], ranges[-1][1])  # in order, the ranges follow each other
            weight = None if self.sample_weight is None else self.sample_weight[rows]
            return net._core.loss(self.X[rows], self.y[rows], weight)

        return self._mean(loss, self._chunks(None))

    def _mean(self, function: Callable[[_Ranges], float], chunks: Iterable[_Ranges]) -> float:
        """Return the mean over the samples of what a function gives for the chunks."""
        total = whole = 0.0
        try:
            with Prefetch(chunks, self._read) as ready:
                for ranges in ready:
                    size = sum(self._size(*rows) for rows in ranges)
                    total += size * function(ranges)
                    whole += size
        finally:
            while self._in_memory:
                self._forget(self._in_memory.pop())
        return total / whole

    def _size(self, first: int, last: int) -> float:
        return float(last - first if self.sample_weight is None else self.sample_weight[first:last].sum())

    def _read(self, ranges: _Ranges) -> _Ranges:
        """Bring a chunk into memory; the one before the last is done with when this is called."""
        if len(self._in_memory) == 2:
            self._forget(self._in_memory.pop(0))
        self._in_memory.append(ranges)
        for part in self._parts:
            for rows in ranges:
                part.read(*rows)
        return ranges

    def _forget(self, ranges: _Ranges) -> None:
        for part in self._parts:
            for rows in ranges:
                part.forget(*rows)

    def _chunks(self, rng: Generator | None) -> Iterator[_Ranges]:
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


class _Part:
    """An array in a mapped file, and where its rows are in memory."""

    def __init__(self, array: NDArray[Any]) -> None:
        mapped = _file_of(array)
        assert mapped is not None
        self._array, self._file = array, cast(mmap.mmap, mapped.base)
        self._bytes = np.frombuffer(self._file, np.uint8)
        # What was written under mode "c" is in memory alone.
        self._forgettable = mapped.mode != "c" and hasattr(mmap.mmap, "madvise")

    def _bounds(self, first: int, last: int) -> tuple[int, int]:
        low, high = np.lib.array_utils.byte_bounds(self._array[first:last])
        begin = self._bytes.ctypes.data
        return low - begin, high - begin

    def read(self, first: int, last: int) -> None:
        """Touch all pages; in NumPy's loop, where other threads go on."""
        low, high = self._bounds(first, last)
        self._bytes[low : high : mmap.PAGESIZE].max()

    def forget(self, first: int, last: int) -> None:
        """Take all pages out of this process's memory."""
        if self._forgettable:
            low, high = self._bounds(first, last)
            low = low // _FAULT_AROUND * _FAULT_AROUND
            high = min(-(-high // _FAULT_AROUND) * _FAULT_AROUND, len(self._bytes))
            self._file.madvise(mmap.MADV_DONTNEED, low, high - low)


def _file_of(array: Any) -> np.memmap[Any, Any] | None:
    """Return the mapped file that an array looks into."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap):
            return array
        array = array.base
    return None
