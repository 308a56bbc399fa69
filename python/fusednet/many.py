"""Many networks trained side by side, each in a thread of its own."""

from __future__ import annotations

import threading
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fusednet import _core as core
from fusednet import _per_network, _training
from fusednet._checks import flag, integer
from fusednet._core import DivergenceError
from fusednet._data import as_array, rows_together
from fusednet._hooks import Hooks
from fusednet._mapped import check_map, is_map
from fusednet._progress import open_bar
from fusednet._scores import Scores
from fusednet._sources import Rows, Source, make_source
from fusednet._turns import TURNS
from fusednet.history import History

if TYPE_CHECKING:
    from fusednet.callbacks import Callback
    from fusednet.network import Network
    from fusednet.optimizers import Optimizer

__all__ = ["fit_many"]

_CHUNK = 4096  # rows copied at a time
_INTERVAL = 0.2  # seconds between two drawings of the bar

Result = History | DivergenceError


def fit_many(
    networks: Sequence[Network],
    X: ArrayLike,
    y: ArrayLike,
    *,
    epochs: int | Sequence[int] = 10,
    batch_size: int | Sequence[int] = 32,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    rows: Sequence[ArrayLike | None] | None = None,
    validation_data: Sequence[Any] | None = None,
    callbacks: Iterable[Callback] | Sequence[Iterable[Callback]] = (),
    progress: bool = False,
) -> list[Result]:
    """Train many networks on the same data, one in a thread, as many at a time as `get_num_threads` says.

    Each ends with the parameters and the history, to the bit, of ``net.fit(X[rows], y[rows], ...)`` alone.
    The networks may differ in everything but the number of inputs: widths, activations, losses, seeds,
    dtypes. All read `X` and `y` where they lie.

    Parameters
    ----------
    networks : sequence of Network
        Each once.
    X : array-like of shape (n, in_features)
        The inputs. A memory map larger than memory will do, as for `Network.fit`; with `rows` it is read in
        random order.
    y : array-like of shape (n, out_features), or (n,) for one output or class labels
        The targets.
    epochs, batch_size : int or sequence of int, default 10 and 32
        As in `Network.fit`; one for all or one for each network.
    optimizer : Optimizer or sequence of Optimizer, optional
        One for all or one for each; by default ``SGD(0.01)``. One that is given to several networks serves
        each as a copy with a learning rate of its own, ``net.optimizer``; networks take it for the same
        optimizer, so that momentum from an earlier training goes on.
    rows : sequence of array-like of int, optional
        For each network the rows of `X` and `y` that it learns from, as a one-dimensional array: numbers,
        also repeated ones (bootstrap), or a mask (folds). None, as an entry too, means all rows.
    validation_data : tuple (X, y) or (X, y, sample_weight), or list of such tuples, optional
        Data on which the loss is computed after each epoch: one tuple for all, or a list with one for each.
    callbacks : iterable of Callback, or sequence of such iterables
        One set for all or a list of sets, one for each. A callback that is given to several networks serves
        each as a deep copy; to look at one afterwards, give each network its own. They run in the networks'
        threads.
    progress : bool, default False
        Whether a terminal or notebook shows one progress bar over all.

    Returns
    -------
    list of History
        In the order of `networks`. In the place of one that diverged stands its `DivergenceError`, which
        names it; the others train on, and a RuntimeWarning at the end tells of it.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong or the data have the wrong shape or dtype for one of the networks: before any
        is trained. If values are wrong, such as NaN, the network that comes upon them is as it was before,
        and the others stop within some 50 ms, or a step, with the parameters of their last one.
    KeyboardInterrupt
        On Ctrl-C; all networks stop within some 50 ms, or a step, and have the parameters of their last one.
    Exception
        What a callback raises, with a note that names the network; the others then stop likewise.

    Warns
    -----
    RuntimeWarning
        If a network diverged.

    Notes
    -----
    While several networks train, each computes in its own thread alone. Where several threads call
    `fit_many`, as in a search by joblib's threads, the networks of all calls take turns, epoch by epoch: no
    more compute at a time than `get_num_threads` says. Training does not hold Python's lock, except briefly
    between epochs; callbacks and losses that are Python functions hold it, and take turns.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 8))
    >>> networks = [fn.Network([8, width, 1], seed=0) for width in (8, 16, 32, 64)]
    >>> histories = fn.fit_many(networks, X, X.sum(axis=1), epochs=20)
    >>> [history.epochs for history in histories]
    [20, 20, 20, 20]
    """
    results = train_all(
        networks, X, y, epochs, batch_size, optimizer, rows, validation_data, callbacks, progress
    )
    diverged = [str(result) for result in results if isinstance(result, DivergenceError)]
    if diverged:
        warnings.warn(
            f"{len(diverged)} of {len(results)} networks diverged: " + "; ".join(diverged),
            RuntimeWarning,
            stacklevel=2,
        )
    return results


def train_all(
    networks: Sequence[Network],
    X: ArrayLike,
    y: ArrayLike,
    epochs: int | Sequence[int],
    batch_size: int | Sequence[int],
    optimizer: Optimizer | Sequence[Optimizer] | None,
    rows: Sequence[ArrayLike | None] | None,
    validation_data: Sequence[Any] | None,
    callbacks: Iterable[Callback] | Sequence[Iterable[Callback]],
    progress: bool,
) -> list[Result]:
    """Do what `fit_many` does, without the warning."""
    nets, shown = _per_network.check_networks(networks), flag("progress", progress)
    count = len(nets)
    if y is None:
        raise TypeError("fit_many needs y beside X")
    check_map(X)
    X, y = as_array(X), as_array(y, "y")
    if not is_map(X):
        X = rows_together(X)  # once for all networks
    each_epochs = [integer("epochs", value) for value in _per_network.one_each("epochs", epochs, count)]
    sizes = [integer("batch_size", value) for value in _per_network.one_each("batch_size", batch_size, count)]
    optimizers = _per_network.optimizers(optimizer, count)
    selections = _per_network.selections(rows, count, len(X))
    validations = _per_network.validations(validation_data, count)
    hooks = [Hooks(each) for each in _per_network.callbacks(callbacks, count)]

    stop = threading.Event()
    jobs = []
    for index, net in enumerate(nets):
        with _named(index):
            net._core.check_samples(X, y)
            selection, size = selections[index], sizes[index]
            source: Source
            if selection is None:
                source = make_source(X, y, None, size, True, each_epochs[index])
            else:
                source = _Selection(X, y, size, selection)
            scores = Scores(source, validations[index], {})
            scores.check(net)
        run = _training.Run(net, optimizers[index], source, scores, hooks[index], turn=TURNS)
        jobs.append(_Job(index, run, each_epochs[index], stop))
    with TURNS.lent():  # a loss of Python that trains networks holds the turn of its own
        return _run(jobs, stop, shown)


class _Selection(Rows):
    """Some rows of arrays that many networks share: their numbers, not a copy."""

    def __init__(self, X: NDArray[Any], y: NDArray[Any], batch_size: int, rows: NDArray[np.int64]) -> None:
        super().__init__(X, y, None, batch_size, True)
        self._rows = rows
        self.samples = len(rows)

    def order(self, net: Network) -> NDArray[np.int64]:
        return self._rows[super().order(net)]

    def loss(self, net: Network) -> float:
        total = 0.0
        for first in range(0, self.samples, _CHUNK):
            rows = self._rows[first : first + _CHUNK]
            total += len(rows) * net._core.loss(self.X[rows], self.y[rows])
        return total / self.samples


class _Job:
    """One network's training, and how far it is."""

    shown = True  # so that `advance` is called

    def __init__(self, index: int, run: _training.Run, epochs: int, stop: threading.Event) -> None:
        self.index, self._run, self.epochs, self._stop = index, run, epochs, stop
        self.position = 0.0  # in epochs
        self.samples = run.source.samples or 0
        net = run.net
        self.cost = epochs * self.samples * net.parameters.size

    def __call__(self) -> Result:
        try:
            return _training.train(self._run, self.epochs, lambda run: nullcontext(self))
        except DivergenceError as error:
            named = DivergenceError(f"network {self.index}: {error}")
            for note in getattr(error, "__notes__", ()):
                named.add_note(note)
            return named
        except Exception as error:
            error.add_note(f"This is about network {self.index}.")
            raise
        finally:
            self.position = self.epochs  # one that stopped early is done, too

    def advance(self, samples: int) -> None:
        """Note how far the epoch is; end the training where all are to stop."""
        self.position = self._run.epochs_done + samples / self.samples
        self._leave()

    def end_epoch(self, samples: int | None, logs: dict[str, float]) -> None:
        """Note that the epoch is done; end the training where all are to stop."""
        self.position = self._run.epochs_done
        self._leave()

    def _leave(self) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt


def _run(jobs: list[_Job], stop: threading.Event, progress: bool) -> list[Result]:
    """Run all jobs, the longest first, so that none is left to run on alone at the end."""
    queue = deque(sorted(jobs, key=lambda job: -job.cost))
    results: dict[int, Result] = {}
    errors: list[BaseException] = []
    running: set[_Job] = set()
    changed = threading.Condition()  # the queue, what is running, and the errors
    workers = min(len(jobs), core.get_num_threads())

    def work() -> None:
        if workers > 1:
            core.use_one_thread()
        while not errors:
            with changed:
                if not queue:
                    return
                job = queue.popleft()
                running.add(job)
            try:
                results[job.index] = job()
            except BaseException as error:
                errors.append(error)
            finally:
                with changed:
                    running.remove(job)
                    if errors or not (running or queue):
                        changed.notify()

    bar = open_bar(progress, f"0/{len(jobs)} networks", sum(job.epochs for job in jobs))
    # Not of an executor, for whose threads the interpreter waits at its end.
    threads = [threading.Thread(target=work, name=f"fit_many_{i}", daemon=True) for i in range(workers)]
    try:
        for thread in threads:
            thread.start()
        with changed:
            while not errors and (queue or running):
                changed.wait(_INTERVAL)
                _draw(bar, jobs, len(results))
                # (What a thread ended with is among the errors before it is no longer alive.)
                if queue and not any(thread.is_alive() for thread in threads) and not errors:
                    raise RuntimeError("the threads of fit_many ended before their work")
        if errors:
            raise errors[0]
        _draw(bar, jobs, len(results))
        return [results[index] for index in range(len(jobs))]
    finally:
        try:
            with changed:
                queue.clear()  # a thread that comes up late finds nothing to do
                stop.set()
                while running:
                    changed.wait(_INTERVAL)
        finally:
            errors.clear()
            if bar is not None:
                bar.close()


def _draw(bar: Any, jobs: list[_Job], done: int) -> None:
    if bar is not None:
        bar.n = sum(job.position for job in jobs)
        bar.set_description_str(f"{done}/{len(jobs)} networks", refresh=False)
        bar.refresh()


@contextmanager
def _named(index: int) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        error.add_note(f"This is about network {index}.")
        raise
