"""Data-parallel training over MPI."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fusednet import _training
from fusednet._base import NetworkBase
from fusednet._checks import flag, integer
from fusednet._core import DivergenceError
from fusednet.distributed._ranks import Ranks
from fusednet.distributed._training import RootHooks, SharedRows, SharedScores

if TYPE_CHECKING:
    import os

    from fusednet._scores import Metrics
    from fusednet.callbacks import Callback
    from fusednet.history import History
    from fusednet.network import Network
    from fusednet.optimizers import Optimizer

__all__ = ["DataParallel"]


class DataParallel:
    """One network trained by all ranks of an MPI communicator, each on rows of its own [1]_.

    Every rank runs the same program (``mpiexec -n 4 python train.py``) and builds the same network. In each
    step a rank computes the gradient by its part of the batch; these are added up over the ranks, in place in
    `Network.gradient` and a layer at a time, while backpropagation goes on with the layers below; then every
    rank takes the same step. With one rank `fit` is that of the network.

    Ranks that may run on the same cores share them out: `fusednet.set_num_threads` is called accordingly,
    unless the environment has FUSEDNET_NUM_THREADS. An exception that ends a rank ends all of them, with that
    rank's traceback: at once in `fit`, and elsewhere in the program if nobody catches it. Errors
    before a `DataParallel` is made, and `sys.exit` outside `fit`, leave the other ranks waiting, unless the
    program runs as ``mpiexec -n 4 python -m mpi4py train.py``.

    Parameters
    ----------
    net : Network
        The network. Its parameters, scaling, random numbers and optimizer state are those of rank 0 from the
        beginning of each `fit` on.
    comm : mpi4py.MPI.Intracomm, optional
        The ranks that take part; by default ``MPI.COMM_WORLD``.

    Attributes
    ----------
    net : Network
        The network.
    comm : mpi4py.MPI.Intracomm
        The communicator.

    Raises
    ------
    ImportError
        If mpi4py is not installed, or finds no MPI library.
    RuntimeError
        If `mpiexec` started several processes and mpi4py, built for another MPI, knows of one.
    TypeError
        If an argument is of the wrong type.

    References
    ----------
    .. [1] P. Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", arXiv:1706.02677,
       2017.

    Examples
    --------
    >>> X, y = np.random.default_rng(0).normal(size=(100, 3)), np.arange(100) % 2
    >>> net = fn.Network([3, 8, 2], output="softmax", loss="cross_entropy", seed=0)
    >>> trainer = fn.distributed.DataParallel(net)
    >>> mine = slice(trainer.comm.rank, None, trainer.comm.size)
    >>> history = trainer.fit(X[mine], y[mine], batch_size=64)
    """

    def __init__(self, net: Network, comm: Any = None) -> None:
        if not isinstance(net, NetworkBase):
            raise TypeError(f"net must be a Network, not {type(net).__name__}")
        self.net = net
        self._ranks = Ranks(comm)
        self.comm = self._ranks.comm
        if self._ranks.size > 1:
            self._ranks.abort_on_errors()
            self._ranks.share_cores()

    def fit(
        self,
        X: Any,
        y: ArrayLike,
        *,
        epochs: int = 10,
        batch_size: int = 32,
        optimizer: Optimizer | None = None,
        validation_data: Sequence[Any] | None = None,
        sample_weight: ArrayLike | None = None,
        shuffle: bool = True,
        callbacks: Iterable[Callback] = (),
        metrics: Metrics | None = None,
        progress: bool = True,
        sync_every: int | None = None,
        resume: str | os.PathLike[str] | None = None,
    ) -> History:
        """Train on the rows of all ranks; every rank calls it, with rows of its own.

        A step takes ``batch_size // R`` rows on each of R ranks and one more on the first ``batch_size % R``,
        as `numpy.array_split` cuts a batch. A rank whose rows are used up contributes nothing to the epoch's
        last steps, which are smaller then: deal rows evenly. With ``shuffle=False``, and rows so dealt that
        rank r holds the r-th part of every batch, the result is one process's up to rounding, dropout
        included. At the end of each epoch all ranks hold the same bits.

        Parameters
        ----------
        X : array-like of shape (n, in_features)
            The inputs of this rank; n may differ between ranks, and be 0. A part of a memory-mapped array
            that all ranks open will do.
        y : array-like of shape (n, out_features), or (n,)
            The targets of this rank.
        epochs : int, default 10
            How many times to go through the data.
        batch_size : int, default 32
            Samples a step, on all ranks together.
        optimizer : Optimizer, optional
            By default ``SGD(0.01)``.
        validation_data : tuple (X, y) or (X, y, sample_weight), optional
            This rank's part of the data for validation, perhaps of no rows. The loss is that of all parts.
        sample_weight : array-like of shape (n,), optional
            Weights of this rank's samples; a batch's loss is the weighted mean over all ranks' samples.
        shuffle : bool, default True
            Whether each rank takes its rows in a new random order each epoch.
        callbacks : iterable of Callback
            They run on rank 0 alone; the parameters, scaling, `l2`, trainable layers, learning rate and
            `stop_training` that they leave go to all ranks.
        metrics : dict of str to callable ``f(y_true, y_pred) -> float``, optional
            Computed on rank 0, on the data and predictions of all ranks together.
        progress : bool, default True
            Whether rank 0 shows a progress bar.
        sync_every : int, optional
            For slow networks: local SGD [1]_. Each rank takes this many steps by itself, on its part of each
            batch; then the parameters are averaged, weighted by samples [2]_. The optimizer's moments stay
            local within an epoch and are averaged at its end.
        resume : str or path-like, optional
            As `Network.fit`; rank 0 reads the file, which a `ModelCheckpoint` wrote in a training of as many
            ranks.

        Returns
        -------
        History
            The same on all ranks.

        Raises
        ------
        DivergenceError
            On all ranks, as `Network.fit` does.
        ValueError, TypeError
            As `Network.fit`, or if ranks do not train alike. With several ranks these, and every other
            exception, are printed and end all ranks (``comm.Abort``): the others could not go on.

        References
        ----------
        .. [1] S. U. Stich, "Local SGD converges fast and communicates little", ICLR 2019.
        .. [2] H. B. McMahan et al., "Communication-efficient learning of deep networks from decentralized
           data", AISTATS 2017.
        """
        if sync_every is not None:
            sync_every = integer("sync_every", sync_every)
        if self._ranks.size == 1:
            return self.net.fit(
                X,
                y,
                epochs=epochs,
                batch_size=batch_size,
                optimizer=optimizer,
                validation_data=validation_data,
                sample_weight=sample_weight,
                shuffle=shuffle,
                callbacks=callbacks,
                metrics=metrics,
                progress=progress,
                resume=resume,
            )
        try:
            epochs, batch_size, optimizer = _training.check_arguments(epochs, batch_size, optimizer)
            if batch_size < self._ranks.size:
                raise ValueError(f"{self._ranks.size} ranks cannot share a batch_size of {batch_size}")
            self._ranks.check_agreed(
                {
                    **_training.settings(self.net, optimizer),
                    "epochs": epochs,
                    "batch_size": batch_size,
                    "shuffle": shuffle,
                    "sync_every": sync_every,
                    "validation_data is None": validation_data is None,
                    "metrics": sorted(metrics or ()),
                }
            )
            source = SharedRows(
                X, y, sample_weight, batch_size, flag("shuffle", shuffle), sync_every, self._ranks
            )
            scores = SharedScores(source, validation_data, metrics, self._ranks)
            scores.check(self.net)
            hooks = RootHooks(callbacks, optimizer, self._ranks)
            run = _training.Run(self.net, optimizer, source, scores, hooks)
            root = self._ranks.rank == 0
            bar = _training.progress_bar(epochs, flag("progress", progress) and root)
            return _training.train(run, epochs, bar, resume if root else None)
        except DivergenceError:  # all ranks raise it together
            raise
        except BaseException as error:
            self._ranks.abort(error)
