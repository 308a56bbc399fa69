"""Loss functions: the names that `Network` takes for its `loss`, and those with a parameter.

With n samples, k outputs, prediction ŷ, target y and r = ŷ − y:

==========================  ==================================================================================
name                        L
==========================  ==================================================================================
``"mse"``                   Σ r² / (n k)
``"half_mse"``              Σ r² / (2 n): summed over the outputs
``"mae"``                   ``Σ |r| / (n k)``
``"huber"``                 ``Σ h(r) / (n k)``, ``h = r²/2 where |r| ≤ δ, else δ (|r| − δ/2)``; δ = 1: `Huber`
``"quantile"``              Σ max(q (y − ŷ), (q − 1)(y − ŷ)) / (n k), the pinball loss; q = 0.5: `Quantile`
``"poisson"``               Σ (y log(y/ŷ) − y + ŷ) / (n k): half the Poisson deviance; ŷ > 0, y ≥ 0
``"cross_entropy"``         −Σ y log ŷ / n; needs ``output="softmax"``; y holds integer labels of shape
                            (n,), or one-hot rows or probabilities of shape (n, k)
``"binary_cross_entropy"``  −Σ (y log ŷ + (1 − y) log(1 − ŷ)) / (n k); needs ``output="sigmoid"``
==========================  ==================================================================================

The cross-entropies are computed from the logits, through log-sum-exp, and never overflow; probabilities y
need not sum to 1. ``"poisson"`` goes with ``output="exp"`` or "softplus": a ŷ below 0 gives NaN. Sample
weights w replace the mean over samples by Σ wᵢ Lᵢ / Σ wᵢ.

A callable ``f(y_pred, y_true) -> (value, dL_dy_pred)`` serves as a loss too. It gets two-dimensional arrays
of the network's dtype, a `y` of shape (n,) as (n, 1), and returns the loss of the batch as a float with its
gradient, of the shape of `y_pred`; sample weights are then not for the network to apply, and an error.

The cross-entropies and the squared error are negative log-likelihoods: C. M. Bishop, "Pattern recognition and
machine learning", 2006, chapter 5.2. The deviance is from P. McCullagh, J. A. Nelder, "Generalized linear
models", 1989.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from numpy.typing import NDArray

from fusednet._checks import choice, real

__all__ = ["Huber", "Quantile"]

LossFunction: TypeAlias = Callable[[NDArray[Any], NDArray[Any]], tuple[float, NDArray[Any]]]


@dataclass(frozen=True)
class Huber:
    """The Huber loss: quadratic for small residuals, linear for large ones [1]_.

    ``h(r) = r²/2 where |r| ≤ δ, else δ (|r| − δ/2)``, averaged over samples and outputs.

    Parameters
    ----------
    delta : float, default 1.0
        Where it turns linear, δ, in units of the target.

    Raises
    ------
    ValueError, TypeError
        If `delta` is not a positive number.

    References
    ----------
    .. [1] P. J. Huber, "Robust estimation of a location parameter", Ann. Math. Statist. 35, 1964.
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        real("delta", self.delta, "(0, inf)")


@dataclass(frozen=True)
class Quantile:
    """The pinball loss, whose minimum is the conditional quantile q of the target [1]_.

    max(q (y − ŷ), (q − 1)(y − ŷ)), averaged over samples and outputs; q = 0.5 is half the absolute error.

    Parameters
    ----------
    q : float, default 0.5
        The quantile, in (0, 1).

    Raises
    ------
    ValueError, TypeError
        If `q` is not a number between 0 and 1.

    References
    ----------
    .. [1] R. Koenker, G. Bassett, "Regression quantiles", Econometrica 46, 1978.
    """

    q: float = 0.5

    def __post_init__(self) -> None:
        real("q", self.q, "(0, 1)")


Loss: TypeAlias = str | Huber | Quantile | LossFunction

# The output activation that a loss needs; None where any will do.
_NEEDED_OUTPUT: dict[str, str | None] = {
    "mse": None,
    "half_mse": None,
    "mae": None,
    "huber": None,
    "quantile": None,
    "poisson": None,
    "cross_entropy": "softmax",
    "binary_cross_entropy": "sigmoid",
}


def resolve(loss: Loss) -> tuple[str | LossFunction, float]:
    """Return the core's name of a loss, or the callable itself, and its parameter.

    Raises
    ------
    ValueError
        If it is neither a known name, nor an object of this module, nor callable.
    TypeError
        If it is a class: calling one makes an object, not a loss and its gradient.
    """
    if isinstance(loss, type):
        raise TypeError(f"loss must be an object, such as {loss.__name__}(), not the class {loss.__name__}")
    if isinstance(loss, Huber):
        return "huber", float(loss.delta)
    if isinstance(loss, Quantile):
        return "quantile", float(loss.q)
    if callable(loss):
        return loss, 1.0
    return choice("loss", loss, _NEEDED_OUTPUT), 0.5 if loss == "quantile" else 1.0


def check_output(loss: str | LossFunction, output: str) -> None:
    """Raise ValueError where a resolved loss does not go with the output activation."""
    needed = _NEEDED_OUTPUT[loss] if isinstance(loss, str) else None
    if needed is not None and output != needed:
        raise ValueError(f'the loss "{loss}" needs output="{needed}", not output="{output}"')
