"""One network trained by many processes, over MPI: needs the extra ``mpi`` and an MPI library."""

from fusednet.distributed.data_parallel import DataParallel

__all__ = ["DataParallel"]
