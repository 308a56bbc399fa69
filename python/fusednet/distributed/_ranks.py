"""An MPI communicator as data-parallel training uses it."""

from __future__ import annotations

import os
import sys
import time
import traceback
import zlib
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fusednet import _core as core

_GRACE = 0.5  # seconds for mpiexec to pass on what a rank wrote: it drops the rest when the rank aborts


class Ranks:
    """The processes that train together; `comm` is an intracommunicator of mpi4py, None the world's."""

    def __init__(self, comm: Any = None) -> None:
        self._mpi = _import_mpi()
        self.comm: Any = self._mpi.COMM_WORLD if comm is None else comm
        if not isinstance(self.comm, self._mpi.Intracomm):
            raise TypeError(f"comm must be an mpi4py.MPI.Intracomm such as MPI.COMM_WORLD, not {comm!r}")
        self.rank: int = self.comm.Get_rank()
        self.size: int = self.comm.Get_size()

    def total(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the sum over all ranks of a few numbers."""
        result = np.array(values, dtype=np.float64)
        self.comm.Allreduce(self._mpi.IN_PLACE, result)
        return result

    def mean(self, value: float, weight: float) -> float:
        """Return the weighted mean over all ranks; a rank of no weight has no say."""
        total, whole = self.total([value * weight if weight else 0.0, weight])
        return float(total / whole) if whole else 0.0

    def add(self, values: NDArray[Any]) -> Any:
        """Begin to replace an array by its sum over all ranks, in place; return the request."""
        return self.comm.Iallreduce(self._mpi.IN_PLACE, values)

    def progress(self, requests: list[Any]) -> None:
        """Let the library move data on: without a thread of its own it does so only within calls."""
        self._mpi.Request.Testall(requests)

    def wait(self, requests: list[Any]) -> None:
        """Wait until all are done."""
        self._mpi.Request.Waitall(requests)

    def average(self, values: NDArray[Any], weight: float) -> None:
        """Replace an array by its weighted mean over all ranks, in place."""
        whole = self.total(weight)
        values *= weight / whole if whole else 1.0 / self.size
        self.comm.Allreduce(self._mpi.IN_PLACE, values)

    def before(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sums over the lower ranks."""
        sums = np.empty_like(counts)
        self.comm.Scan(counts, sums)
        return sums - counts

    def check_same(self, values: NDArray[Any], what: str) -> None:
        """Raise RuntimeError unless all ranks hold the same bits."""
        sums = self.comm.allgather(zlib.crc32(values.data))
        others = [rank for rank, value in enumerate(sums) if value != sums[0]]
        if others:
            raise RuntimeError(f"{what} of rank 0 and of {_list(others)} differ, and should be the same bits")

    def check_agreed(self, settings: dict[str, Any]) -> None:
        """Raise ValueError that names the first setting in which a rank differs from rank 0."""
        everyone = self.comm.allgather(settings)
        for name, value in everyone[0].items():
            others = [rank for rank, theirs in enumerate(everyone) if theirs[name] != value]
            if others:
                raise ValueError(
                    f"all ranks must train alike, but {name} is {value!r} on rank 0 and "
                    f"{everyone[others[0]][name]!r} on {_list(others)}"
                )

    def abort(self, error: BaseException) -> NoReturn:
        """Print an exception and end all ranks: the others would wait for this one forever."""
        sys.stdout.flush()
        text = "".join(traceback.format_exception(error))
        sys.stderr.write(f"rank {self.rank} of {self.size} ends all ranks:\n{text}")
        sys.stderr.flush()
        time.sleep(_GRACE)
        self.comm.Abort(1)
        os._exit(1)  # MPICH's Abort may return before the process is ended

    def abort_on_errors(self) -> None:
        """Let an exception that nobody catches end all ranks."""
        sys.excepthook = lambda kind, error, trace: self.abort(error)

    def share_cores(self) -> None:
        """Let ranks on the same cores use no more threads than there are cores, unless told otherwise."""
        if "FUSEDNET_NUM_THREADS" in os.environ or not hasattr(os, "sched_getaffinity"):
            return
        node = self.comm.Split_type(self._mpi.COMM_TYPE_SHARED)
        cores = set().union(*node.allgather(os.sched_getaffinity(0)))
        core.set_num_threads(min(core.get_num_threads(), max(1, len(cores) // node.Get_size())))
        node.Free()


def _import_mpi() -> Any:
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # the latter: mpi4py finds no MPI to load
        raise ImportError(
            f"fusednet.distributed needs mpi4py and an MPI library ({error}): "
            'pip install "fusednet[mpi]", or ".[mpi]" in a clone'
        ) from error
    started = max(int(os.environ.get(name, 1)) for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE"))
    if started > MPI.COMM_WORLD.Get_size():
        raise RuntimeError(
            f"mpiexec started {started} processes, but mpi4py sees one: it runs on {MPI.get_vendor()[0]}, "
            "and mpiexec is another MPI's. Use the mpiexec of that library, or an mpi4py for this mpiexec"
        )
    return MPI


def _list(ranks: list[int]) -> str:
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"
