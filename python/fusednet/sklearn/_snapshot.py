"""An estimator as it was before a call that is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

__all__ = ["Snapshot"]


class Snapshot:
    """What `restore` puts back: attributes, random numbers to come, parameters that are trained in place."""

    def __init__(self, estimator: BaseEstimator) -> None:
        self._estimator, self._attributes = estimator, dict(vars(estimator))
        values = self._attributes.values()
        self._lists = [(value, value.copy()) for value in values if isinstance(value, list)]
        self._engine = self._attributes.get("_engine")
        self._optimizer = self._attributes.get("_optimizer")
        if self._optimizer is not None:
            self._hyperparameters = dict(vars(self._optimizer)), self._optimizer._core.learning_rate
        self._random = self._attributes["random_state"]
        if isinstance(self._random, np.random.RandomState):
            self._random_numbers = self._random.get_state()
        self._trained: tuple[Any, Any] | None = None

    def keep_parameters(self) -> None:
        """Keep the parameters and the optimizer's state, too, unless a new network is to be trained."""
        if self._engine is not None and self._engine is vars(self._estimator)["_engine"]:
            state = None if self._optimizer is None else self._optimizer.state
            self._trained = self._engine.network.parameters.copy(), state

    def restore(self) -> None:
        """Make it as if there had been no call."""
        attributes: dict[str, Any] = self._estimator.__dict__
        attributes.clear()
        attributes.update(self._attributes)
        for value, contents in self._lists:
            value[:] = contents
        if self._optimizer is not None:
            own, self._optimizer._core.learning_rate = self._hyperparameters
            self._optimizer.__dict__.update(own)
        if self._engine is not None and self._trained is not None:
            network = self._engine.network
            network.parameters, state = self._trained
            if self._optimizer is not None:
                network._core.set_optimizer_state(self._optimizer._core, state)
        if isinstance(self._random, np.random.RandomState):
            self._random.set_state(self._random_numbers)
