"""What an estimator has as its `_optimizer`: hyperparameters, learning rate, and a view of the state.

The state itself lives in the network that is being trained. It is copied here when an optimizer is pickled,
and given to the next network that it is bound to.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusednet import _core as core
from fusednet._checks import real
from fusednet.network import Network

__all__ = ["LearningRate", "MomentOptimizer", "SGDOptimizer", "StochasticOptimizer"]


class StochasticOptimizer:
    """What the optimizers share: the rule, and the network with the state."""

    def __init__(self, rule: str, learning_rate: float, **hyperparameters: float) -> None:
        self._arguments: dict[str, Any] = {"rule": rule, **hyperparameters}
        self._core = core.Optimizer(rule, learning_rate=float(learning_rate), **hyperparameters)
        self._network: core.Network | None = None
        self._shapes: list[tuple[int, ...]] = []  # of the network's weights
        self._state: core.OptimizerState | None = None

    def bind(self, network: Network) -> None:
        """Train `network` from now on, with the state of the last one where that had as many parameters."""
        if network._core is self._network:
            return
        state = self.state
        if state is not None and {state["first"].size, state["second"].size} <= {0, network.parameters.size}:
            network._core.set_optimizer_state(self._core, state)
        self._network, self._state = network._core, None
        self._shapes = [layer.weights.shape for layer in network.layers]

    @property
    def state(self) -> core.OptimizerState | None:
        """A copy of the state; None before the first step."""
        return self._state if self._network is None else self._network.get_optimizer_state(self._core)

    def iteration_ends(self, time_step: int) -> None:
        """Note the end of an epoch, `time_step` samples having been seen."""

    def trigger_stopping(self, message: str, write: Callable[[str], object]) -> bool:
        """Say whether to stop now that the training does not get on."""
        write(f"{message} Stopping.")
        return True

    def _parts(self, name: str) -> list[NDArray[Any]]:
        """Cut an array of the state as scikit-learn has it: by weights of all layers, then biases."""
        state = self.state
        if state is None:
            return []
        weights, biases = [], []
        flat = state["first"] if name == "first" else state["second"]
        for rows, columns in self._shapes if flat.size > 0 else ():
            block, flat = np.split(flat, [(rows + 1) * columns])
            weights.append(block[:-columns].reshape(rows, columns))
            biases.append(block[-columns:])
        return weights + biases

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in vars(self).items() if name not in ("_core", "_network")}
        return {**kept, "_state": self.state, "_rate": self._core.learning_rate}

    def __setstate__(self, state: dict[str, Any]) -> None:
        rate = state.pop("_rate")
        self.__dict__.update(state)
        self._core = core.Optimizer(learning_rate=rate, **self._arguments)
        self._network = None


class LearningRate:
    """An optimizer as callbacks find it at ``net.optimizer``: its learning rate, to be read and set."""

    schedule = None

    def __init__(self, optimizer: StochasticOptimizer) -> None:
        self._core = optimizer._core

    @property
    def learning_rate(self) -> float:
        """The learning rate, before Adam's correction.

        Raises
        ------
        ValueError, TypeError
            If it is set to anything but a positive number.
        """
        return self._core.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._core.learning_rate = real("learning_rate", value, "(0, inf)")


class SGDOptimizer(StochasticOptimizer):
    """Gradient descent with the learning rate inside the velocity: v ← μv − αg, w ← w + v.

    With Nesterov's momentum w ← w + μv − αg. Which is what scikit-learn does.
    """

    def __init__(
        self, learning_rate_init: float, lr_schedule: str, momentum: float, nesterov: bool, power_t: float
    ) -> None:
        self.learning_rate_init = learning_rate_init
        self.lr_schedule = lr_schedule
        self.momentum = momentum
        self.nesterov = nesterov
        self.power_t = power_t
        rule = "sgd" if momentum == 0 else "inner_nesterov" if nesterov else "inner_momentum"
        super().__init__(rule, learning_rate_init, beta1=float(momentum))

    @property
    def learning_rate(self) -> float:
        """The learning rate in force; settable."""
        return self._core.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._core.learning_rate = float(value)

    @property
    def velocities(self) -> list[NDArray[Any]]:
        """The velocities of all weights, then biases: a copy."""
        return [-part for part in self._parts("first")]

    def iteration_ends(self, time_step: int) -> None:
        """Lower the learning rate where it goes by the number of samples seen."""
        if self.lr_schedule == "invscaling":
            self.learning_rate = float(self.learning_rate_init) / (time_step + 1) ** self.power_t

    def trigger_stopping(self, message: str, write: Callable[[str], object]) -> bool:
        """Divide an adaptive learning rate by 5 for as long as it is not tiny; else stop."""
        if self.lr_schedule != "adaptive":
            return super().trigger_stopping(message, write)
        if self.learning_rate <= 1e-6:
            return super().trigger_stopping(f"{message} Learning rate too small.", write)
        self.learning_rate /= 5.0
        write(f"{message} Setting learning rate to {self.learning_rate:f}")
        return False


class MomentOptimizer(StochasticOptimizer):
    """Adam with ε inside the corrected rate, as scikit-learn has it; `fusednet`'s AdamW and RMSprop."""

    def __init__(
        self,
        rule: str,
        learning_rate_init: float,
        beta_1: float,
        beta_2: float,
        epsilon: float,
        weight_decay: float = 0.0,
    ) -> None:
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        super().__init__(
            rule,
            learning_rate_init,
            beta1=float(beta_1),
            beta2=float(beta_2),
            epsilon=float(epsilon),
            weight_decay=float(weight_decay),
        )

    @property
    def learning_rate_init(self) -> float:
        """The learning rate before its correction; settable."""
        return self._core.learning_rate

    @learning_rate_init.setter
    def learning_rate_init(self, value: float) -> None:
        self._core.learning_rate = float(value)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last step, which Adam's correction of the moments' bias is part of.

        Setting it changes nothing, as in scikit-learn, where the next step computes it anew.
        """
        if self.t == 0 or self._core.rule == "rmsprop":
            return self.learning_rate_init
        correction = math.sqrt(1.0 - self.beta_2**self.t) / (1.0 - self.beta_1**self.t)
        return self.learning_rate_init * correction

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        pass

    @property
    def t(self) -> int:
        """How many steps it has made."""
        state = self.state
        return 0 if state is None else state["step"]

    @property
    def ms(self) -> list[NDArray[Any]]:
        """The first moments of all weights, then biases: a copy."""
        return self._parts("first")

    @property
    def vs(self) -> list[NDArray[Any]]:
        """The second moments of all weights, then biases: a copy."""
        return self._parts("second")
