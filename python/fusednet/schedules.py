"""Learning rates that change from epoch to epoch.

A schedule is any callable that takes the epoch, an int from 0, and returns the learning rate of that epoch.
Give it to an optimizer in place of a number: ``fn.SGD(fn.schedules.cosine(0.1, epochs=50))``. Each
`Network.fit` counts its own epochs from 0. Those below hold nothing but their settings, so they can be shared
and pickled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fusednet._checks import integer, real

__all__ = ["cosine", "exponential", "inverse_scaling", "one_cycle", "step"]


@dataclass(frozen=True)
class step:
    """The learning rate falls by a factor every few epochs: α₀ · factor^⌊epoch / every⌋.

    PyTorch calls it StepLR.

    Parameters
    ----------
    initial : float
        The first learning rate, α₀.
    every : int
        Epochs between two falls.
    factor : float, default 0.1
        By what it is multiplied, in (0, 1].

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range or of the wrong type.
    """

    initial: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        real("initial", self.initial, "(0, inf)")
        integer("every", self.every)
        real("factor", self.factor, "(0, 1]")

    def __call__(self, epoch: int) -> float:
        """Return the learning rate of `epoch`."""
        return float(self.initial * self.factor ** (epoch // self.every))


@dataclass(frozen=True)
class exponential:
    """The learning rate falls by a factor each epoch: α₀ · factor^epoch.

    PyTorch calls it ExponentialLR.

    Parameters
    ----------
    initial : float
        The first learning rate, α₀.
    factor : float
        By what each epoch multiplies it, in (0, 1].

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range or of the wrong type.
    """

    initial: float
    factor: float

    def __post_init__(self) -> None:
        real("initial", self.initial, "(0, inf)")
        real("factor", self.factor, "(0, 1]")

    def __call__(self, epoch: int) -> float:
        """Return the learning rate of `epoch`."""
        return float(self.initial * self.factor**epoch)


@dataclass(frozen=True)
class cosine:
    """Half a cosine from the first learning rate to the last [1]_.

    α = final + (initial − final) · (1 + cos(π · epoch / epochs)) / 2, and `final` from ``epoch = epochs`` on.
    PyTorch calls it CosineAnnealingLR; there are no warm restarts.

    Parameters
    ----------
    initial : float
        The learning rate at epoch 0.
    epochs : int
        The length of the fall.
    final : float, default 0.0
        The learning rate at its end.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range or of the wrong type.

    References
    ----------
    .. [1] I. Loshchilov, F. Hutter, "SGDR: Stochastic gradient descent with warm restarts", ICLR 2017.
    """

    initial: float
    epochs: int
    final: float = 0.0

    def __post_init__(self) -> None:
        real("initial", self.initial, "(0, inf)")
        integer("epochs", self.epochs)
        real("final", self.final, "[0, inf)")

    def __call__(self, epoch: int) -> float:
        """Return the learning rate of `epoch`."""
        return _half_cosine(self.initial, self.final, epoch / self.epochs)


@dataclass(frozen=True)
class one_cycle:
    """Up to a large learning rate and down to a tiny one, each along half a cosine [1]_.

    It starts at maximum / start_divisor, reaches `maximum` after a share `warmup` of the epochs, and ends in
    the last of them at maximum / (start_divisor · end_divisor), where it stays. (Where warmup · epochs is 1
    or less there is no rise; below 1 the first epoch is past the maximum.) The shape is that of PyTorch's
    OneCycleLR, with epochs for its steps; the momentum is left as it is.

    Parameters
    ----------
    maximum : float
        The largest learning rate.
    epochs : int
        The length of the cycle, that of the training.
    warmup : float, default 0.3
        The share of the epochs spent rising, in (0, 1).
    start_divisor : float, default 25.0
        What the maximum is divided by at the start.
    end_divisor : float, default 1e4
        What the starting rate is divided by at the end.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range or of the wrong type.

    References
    ----------
    .. [1] L. N. Smith, N. Topin, "Super-convergence: very fast training of neural networks using large
       learning rates", SPIE 2019.
    """

    maximum: float
    epochs: int
    warmup: float = 0.3
    start_divisor: float = 25.0
    end_divisor: float = 1e4

    def __post_init__(self) -> None:
        real("maximum", self.maximum, "(0, inf)")
        integer("epochs", self.epochs)
        real("warmup", self.warmup, "(0, 1)")
        real("start_divisor", self.start_divisor, "[1, inf)")
        real("end_divisor", self.end_divisor, "[1, inf)")

    def __call__(self, epoch: int) -> float:
        """Return the learning rate of `epoch`."""
        start = self.maximum / self.start_divisor
        peak, last = self.warmup * self.epochs - 1.0, self.epochs - 1.0
        if epoch < peak:
            return _half_cosine(start, self.maximum, epoch / peak)
        return _half_cosine(self.maximum, start / self.end_divisor, (epoch - peak) / (last - peak))


@dataclass(frozen=True)
class inverse_scaling:
    """The learning rate falls with a power of the epoch: α₀ / (epoch + 1)^power.

    scikit-learn's "invscaling", which counts samples where this counts epochs.

    Parameters
    ----------
    initial : float
        The first learning rate, α₀.
    power : float, default 0.5
        The exponent.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range or of the wrong type.
    """

    initial: float
    power: float = 0.5

    def __post_init__(self) -> None:
        real("initial", self.initial, "(0, inf)")
        real("power", self.power, "[0, inf)")

    def __call__(self, epoch: int) -> float:
        """Return the learning rate of `epoch`."""
        return float(self.initial * (epoch + 1.0) ** -self.power)  # which underflows, and cannot overflow


def _half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1.0 + math.cos(math.pi * min(share, 1.0))) / 2.0
