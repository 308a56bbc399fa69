"""What `fusednet._training.train` runs on here: rows, scores and callbacks that the ranks share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fusednet._core import DivergenceError, random_order
from fusednet._data import as_array, as_weights
from fusednet._hooks import Hooks
from fusednet._progress import Advance
from fusednet._scores import Metrics, Scores, score
from fusednet._sources import Rows
from fusednet.distributed._epoch import Plan, train_apart, train_together

if TYPE_CHECKING:
    from fusednet.distributed._ranks import Ranks
    from fusednet.network import Network
    from fusednet.optimizers import Optimizer

_CHANGING = ("on_epoch_begin", "on_epoch_end", "on_train_end")  # hooks after which the ranks agree again


def _part_weights(data: Any, samples: int, name: str = "sample_weight") -> NDArray[Any] | None:
    """Return the weights of this rank's rows; there may be none, and they may be all zero."""
    if data is None or not samples:
        return None
    weights = as_array(data, name)
    if weights.shape == (samples,) and not weights.any():
        return np.zeros(samples)
    return as_weights(weights, samples, name)


def _weight(X: NDArray[Any], sample_weight: NDArray[Any] | None) -> float:
    return float(len(X) if sample_weight is None else sample_weight.sum())


class SharedRows(Rows):
    """The rows of this rank, of which it takes its part of each batch."""

    def __init__(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        batch_size: int,
        shuffle: bool,
        sync_every: int | None,
        ranks: Ranks,
    ) -> None:
        super().__init__(X, y, None, batch_size, shuffle)
        self._ranks, self._sync_every, self._local = ranks, sync_every, self.samples
        self.sample_weight = _part_weights(sample_weight, self._local)
        self.samples = int(ranks.total(self._local))  # of all ranks
        if not ranks.total(_weight(self.X, self.sample_weight)):
            what = "X has no rows" if self.samples == 0 else "sample_weight is all zero"
            raise ValueError(f"there is nothing to train on: {what} on every rank")
        self._part = batch_size // ranks.size + (ranks.rank < batch_size % ranks.size)
        steps = ranks.comm.allreduce(-(-self._local // self._part), op=max)
        self._counts = np.clip(self._local - self._part * np.arange(steps), 0, self._part)
        self._before = ranks.before(self._counts)
        step_rows = ranks.total(self._counts)
        self._row_shares, self._done = self._counts / step_rows, step_rows.cumsum()

    @property
    def settings(self) -> dict[str, Any]:
        """What a training must share with the one that it continues."""
        return {**super().settings, "ranks": self._ranks.size, "sync_every": self._sync_every}

    def train_epoch(self, net: Network, optimizer: Optimizer, progress: Advance | None) -> float:
        """Run through the rows; return the mean loss over those of all ranks."""
        plan = self._plan(net, progress)
        if self._sync_every is None:
            total = train_together(self._ranks, net, optimizer, plan)
        else:
            total = train_apart(self._ranks, net, optimizer, plan, self._sync_every)
        self._ranks.check_same(net.parameters, "the parameters")
        total, weight = self._ranks.total([total, plan.weights.sum()])
        if np.isnan(total):  # where no gradient told the others, since no layer is trainable
            raise DivergenceError("the loss became nan")
        return float(total / weight)

    def loss(self, net: Network) -> float:
        """Return the loss over the rows of all ranks."""
        return _shared_loss(self._ranks, net, self.X, self.y, self.sample_weight)

    def _plan(self, net: Network, progress: Advance | None) -> Plan:
        order = np.arange(self._local)
        if self._shuffle:  # net._rng stays the same on all ranks
            seed = np.random.SeedSequence([net._rng.bit_generator.random_raw(), self._ranks.rank])
            order = random_order(self._local, int(seed.generate_state(1, np.uint64)[0]))
        weights = self._counts.astype(np.float64)
        if self.sample_weight is not None:
            padded = np.zeros(self._part * len(self._counts))
            padded[: self._local] = self.sample_weight[order]
            weights = padded.reshape(-1, self._part).sum(axis=1)
        whole = self._ranks.total(weights)
        shares = np.divide(weights, whole, out=self._row_shares.copy(), where=whole > 0)
        data = self.X, self.y, self.sample_weight
        counts, before = self._counts, self._before
        return Plan(data, order, self._part, counts, before, weights, shares, self._done, progress)


class SharedScores(Scores):
    """Validation loss and metrics of the data of all ranks, the same everywhere."""

    def __init__(
        self, source: SharedRows, validation_data: Sequence[Any] | None, metrics: Metrics | None, ranks: Ranks
    ) -> None:
        super().__init__(source, validation_data, metrics)
        self._ranks = ranks
        if self._validation is not None:
            X, _, weights = self._validation
            if not ranks.total(_weight(X, weights)):
                what = "sample_weight is all zero" if ranks.total(len(X)) else "validation X has no rows"
                raise ValueError(f"there is nothing to validate on: {what} on every rank")

    _weights = staticmethod(_part_weights)

    def check(self, net: Network) -> None:
        """Raise where this rank's part of the validation data, if it has one, does not suit the network."""
        if self._validation is not None and len(self._validation[0]):
            super().check(net)

    def compute(self, net: Network) -> dict[str, float]:
        """Return the values for the network as it is."""
        values = {}
        if self._validation is not None:
            values["val_loss"] = _shared_loss(self._ranks, net, *self._validation)
        if self._metrics:
            X, y = self._scored
            prediction = net._core.predict(X) if len(X) else None
            parts = self._ranks.comm.gather((y, prediction))  # a metric need not be a mean over the rows
            scores = None
            if parts is not None:
                y = np.concatenate([y for y, prediction in parts if prediction is not None])
                prediction = np.concatenate([p for _, p in parts if p is not None])
                scores = score(self._metrics, y, prediction)
            values.update(self._ranks.comm.bcast(scores))
        return values


class RootHooks(Hooks):
    """Callbacks that run on rank 0; all ranks go on from the state in which they leave the training."""

    def __init__(self, callbacks: Iterable[Any], optimizer: Optimizer, ranks: Ranks) -> None:
        super().__init__(callbacks)  # checked everywhere
        self._optimizer, self._ranks = optimizer, ranks
        # Of rank 0, as it alone calls them: others may have been given none.
        self._changing = ranks.comm.bcast([hook for hook in _CHANGING if self._methods[hook]])

    def run(self, hook: str, *arguments: Any) -> None:
        """Call the methods of the callbacks, and pass on what they changed; at the beginning, everything."""
        net: Network = arguments[0]
        if self._ranks.rank == 0:
            super().run(hook, *arguments)
        if hook == "on_train_begin":
            self._share_state(net)
        elif hook in self._changing:
            self._share_changes(net)

    def _share_state(self, net: Network) -> None:
        core, rule, state = net._core, self._optimizer._core, None
        if self._ranks.rank == 0:
            optimizer_state, rng_state = core.get_optimizer_state(rule), net._rng.bit_generator.state
            random = core.seed, core.dropout_step, rng_state
            state = optimizer_state, random, vars(net.history)
        optimizer_state, random, history = self._ranks.comm.bcast(state)
        if self._ranks.rank > 0:
            core.set_optimizer_state(rule, optimizer_state)
            core.seed, core.dropout_step, rng_state = random
            net._rng.bit_generator.state = rng_state
            vars(net.history).update(history)
        self._share_changes(net)

    def _share_changes(self, net: Network) -> None:
        rate, trainable = self._optimizer.learning_rate, [layer.trainable for layer in net.layers]
        own = net.stop_training, net.l2, net._standardization, rate, trainable
        net.stop_training, net.l2, standardization, root_rate, trainable = self._ranks.comm.bcast(own)
        net._set_standardization(standardization)
        for layer, chosen in zip(net.layers, trainable, strict=True):
            layer.trainable = chosen
        if rate != root_rate and self._optimizer.schedule is None:
            self._optimizer.learning_rate = root_rate
        self._ranks.comm.Bcast(net.parameters)


def _shared_loss(
    ranks: Ranks, net: Network, X: NDArray[Any], y: NDArray[Any], sample_weight: NDArray[Any] | None
) -> float:
    """Return the loss over the rows of all ranks; NaN where it is not finite on one."""
    loss, weight = 0.0, _weight(X, sample_weight)
    if weight:
        try:
            loss = net._core.loss(X, y, sample_weight)
        except DivergenceError:  # of a loss function of one's own
            loss = np.nan
    return ranks.mean(loss, weight)
