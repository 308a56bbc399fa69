"""One network trained by many processes, over MPI: needs ``pip install "fusednet[mpi]"``."""

from fusednet.distributed.data_parallel import DataParallel

__all__ = ["DataParallel"]
