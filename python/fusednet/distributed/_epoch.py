"""One epoch of a data-parallel training: synchronous steps, or local ones and averages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fusednet._core import DivergenceError
from fusednet._progress import Advance

if TYPE_CHECKING:
    from fusednet.distributed._ranks import Ranks
    from fusednet.network import Network
    from fusednet.optimizers import Optimizer


@dataclass
class Plan:
    """What a rank does in an epoch: arrays of one entry a step."""

    data: tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]  # X, y, sample weights of this rank
    order: NDArray[np.int64]  # of its rows
    part: int  # rows that it takes a step, while there are any
    counts: NDArray[np.int64]  # rows that it takes in each step
    before: NDArray[np.int64]  # rows of the same batch on lower ranks
    weights: NDArray[np.float64]  # of its rows
    shares: NDArray[np.float64]  # of its weight in that of the batch
    done: NDArray[np.float64]  # rows of all ranks by the end of the step
    progress: Advance | None

    def advance(self, step: int) -> None:
        """Tell of the progress after a step."""
        if self.progress is not None:
            self.progress(int(self.done[step]))

    def rows(self, first: int, last: int) -> NDArray[np.int64]:
        """Return this rank's rows of some steps."""
        return self.order[first * self.part : last * self.part]


def train_together(ranks: Ranks, net: Network, optimizer: Optimizer, plan: Plan) -> float:
    """Take each step on all ranks' rows; return the loss of this rank's rows, summed by weight.

    A layer's gradient is added up over the ranks while those of the layers before it are being computed.
    """
    core, (X, y, weight) = net._core, plan.data
    gradients = _gradients(net)
    requests: list[Any] = []

    def add(layer: int) -> None:
        if layer in gradients:
            requests.append(ranks.add(gradients[layer]))
        ranks.progress(requests)

    def add_constant(value: float) -> None:
        core.gradient[:] = value
        for layer in reversed(gradients):
            add(layer)

    total = 0.0
    for step, count in enumerate(plan.counts.tolist()):
        diverged = None
        if count == 0:
            add_constant(0.0)
            core.dropout_step += 1
        else:
            rows, share, before = plan.rows(step, step + 1), plan.shares[step], plan.before[step]
            try:
                loss = core.part_gradient(X, y, rows, weight, share=share, first_row=before, after_layer=add)
                total += loss * plan.weights[step]
            except DivergenceError as error:
                diverged, total = error, np.nan
                add_constant(np.nan)  # it was noticed before any layer was added: now all ranks get to know
        ranks.wait(requests)
        requests.clear()
        if not all(np.isfinite(gradient[0]) for gradient in gradients.values()):
            raise DivergenceError(str(diverged or "the gradient of another rank's rows is not finite"))
        core.update(optimizer._core)
        plan.advance(step)
    return total


def train_apart(ranks: Ranks, net: Network, optimizer: Optimizer, plan: Plan, sync_every: int) -> float:
    """Take steps on this rank's rows alone, with the mean of the parameters over the ranks every so often."""
    core, (X, y, weight) = net._core, plan.data
    steps, dropout_step, total = len(plan.counts), core.dropout_step, 0.0
    for first in range(0, steps, sync_every):
        last, diverged = min(first + sync_every, steps), None
        rows, sum_weights = plan.rows(first, last), plan.weights[first:last].sum()
        core.dropout_step = dropout_step + first + (ranks.rank << 40)  # its own masks
        try:
            if len(rows):
                loss = core.train_epoch(X, y, optimizer._core, plan.part, rows, weight)
                total += loss * sum_weights
        except DivergenceError as error:
            diverged = error
            core.parameters[:] = np.nan
        core.dropout_step = dropout_step + last
        ranks.average(core.parameters, sum_weights)
        if not np.isfinite(core.parameters).all():
            raise DivergenceError(str(diverged or "the parameters of another rank are not finite"))
        plan.advance(last - 1)
    _average_state(ranks, net, optimizer, plan.weights.sum())
    return total


def _gradients(net: Network) -> dict[int, NDArray[Any]]:
    """Return the parts of the flat gradient that belong to the trainable layers, by their indices."""
    parts, first = {}, 0
    for index, layer in enumerate(net.layers):
        last = first + layer.weights.size + (0 if layer.bias is None else layer.bias.size)
        if layer.trainable:
            parts[index] = net.gradient[first:last]
        first = last
    return parts


def _average_state(ranks: Ranks, net: Network, optimizer: Optimizer, weight: float) -> None:
    """Give all ranks the mean of the moments, for the next epoch and for a checkpoint to hold."""
    state = net._core.get_optimizer_state(optimizer._core)
    if state is not None:
        ranks.average(state["first"], weight)
        ranks.average(state["second"], weight)
        state["step"] = ranks.comm.allreduce(state["step"], op=max)
        net._core.set_optimizer_state(optimizer._core, state)
