"""The constraints on the parameters, checked by scikit-learn's own machinery and with its messages."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from fusednet._architecture import per_hidden_layer
from fusednet._checks import choice
from fusednet.layers import ACTIVATIONS
from fusednet.losses import Huber, Quantile

__all__ = ["CLASSIFIER", "REGRESSOR", "core_activation", "hidden_activations"]


_HIDDEN = {"logistic", *ACTIVATIONS} - {"softmax"}


def core_activation(name: str) -> str:
    """Return the core's name of an activation."""
    return "sigmoid" if name == "logistic" else name


def hidden_activations(activation: str | Sequence[str], count: int) -> list[str]:
    """Return the core's names of the activations of `count` hidden layers."""
    names = per_hidden_layer("activation", activation, count)
    return [core_activation(choice("activation", name, sorted(_HIDDEN))) for name in names]


_SHARED: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [StrOptions(_HIDDEN), list, tuple],
    "solver": [StrOptions({"lbfgs", "sgd", "adam", "adamw", "rmsprop"})],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
    "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
    "weight_decay": [Interval(Real, 0, None, closed="left")],
    "rho": [Interval(Real, 0, 1, closed="left")],
    "standardize": ["boolean"],
    "callbacks": [list, tuple, None],
    "progress": ["boolean"],
}

CLASSIFIER: dict[str, list[Any]] = {
    **_SHARED,
    "class_weight": [StrOptions({"balanced"}), dict, None],
}

_LOSSES = {"squared_error", "poisson", "mse", "half_mse", "mae", "huber", "quantile"}

REGRESSOR: dict[str, list[Any]] = {
    **_SHARED,
    "loss": [StrOptions(_LOSSES), Huber, Quantile, callable],
}
