"""Optimizers: how a gradient becomes a step. All follow PyTorch's conventions.

An optimizer holds hyperparameters alone. Its state (velocity, moments, step count) lives in each network that
it trains, so that one object may serve many networks, and continues from one `fit` or `train_step` to the
next.

In the formulas w are the parameters, g the gradient of the loss with the network's own L2 term in it, α the
learning rate, λ the weight decay. With `clip_norm` = c the gradient of all trainable parameters is first
scaled by min(1, c / ‖g‖₂) (R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural
networks", ICML 2013).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from fusednet import _core as core
from fusednet._checks import flag, real

if TYPE_CHECKING:
    from typing import Self

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop"]

LearningRate: TypeAlias = float | Callable[[int], float]


def schedule_name(schedule: Callable[[int], float]) -> str:
    """Return what a checkpoint, or another rank, can compare of a schedule."""
    if is_dataclass(schedule):
        return repr(schedule)
    return str(getattr(schedule, "__qualname__", type(schedule).__qualname__))


def _scheduled_rate(schedule: Callable[[int], float], epoch: int) -> float:
    return real("the learning rate that a schedule returns", schedule(epoch), "[0, inf)")


def _hyperparameter(name: str, what: str) -> Any:
    """Return a property to read a hyperparameter by; it cannot be set."""
    return property(lambda optimizer: optimizer._hyperparameters[name], doc=f"{what}, as it was made with.")


class Optimizer:
    """What the optimizers share: the learning rate and its schedule.

    The hyperparameters can be read by their names. Of them the learning rate alone can be set.

    Not to be made by itself: see `SGD`, `Adam`, `AdamW` and `RMSprop`.
    """

    weight_decay: float = _hyperparameter("weight_decay", "λ")
    clip_norm: float | None = _hyperparameter("clip_norm", "The largest norm of a gradient, or None")

    _epoch = 0  # the last one set, by which a schedule goes
    _core_rule: dict[str, Any]

    def __init__(
        self, rule: str, hyperparameters: dict[str, Any], *, beta1: float = 0.0, beta2: float = 0.0
    ) -> None:
        clip_norm = hyperparameters["clip_norm"]
        self._hyperparameters = {
            **hyperparameters,
            "weight_decay": real("weight_decay", hyperparameters["weight_decay"], "[0, inf)"),
            "clip_norm": None if clip_norm is None else real("clip_norm", clip_norm, "(0, inf)"),
        }
        self._core_rule = {"rule": rule, "beta1": beta1, "beta2": beta2}  # as the core calls them
        self._make_core()

    def _make_core(self) -> None:
        own = self._hyperparameters
        self._core = core.Optimizer(
            learning_rate=1.0,  # until the setter below
            epsilon=own.get("epsilon", 0.0),
            weight_decay=own["weight_decay"],
            clip_norm=own["clip_norm"],
            **self._core_rule,
        )
        self.learning_rate = own["learning_rate"]

    @property
    def learning_rate(self) -> float:
        """The learning rate in force.

        Set it to a positive number or to a schedule, a callable of the epoch. Under a schedule it is that of
        the epoch which `fit` is in or ended with, and of epoch 0 before.

        Raises
        ------
        ValueError, TypeError
            If it is set to a number that is not positive and finite, to something else, or to a schedule that
            returns anything but a finite number that is at least 0.
        """
        return self._core.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: LearningRate) -> None:
        if callable(value):
            self._core.learning_rate = _scheduled_rate(value, self._epoch)
        else:
            self._core.learning_rate = value = real("learning_rate", value, "(0, inf)")
        self._hyperparameters["learning_rate"] = value

    @property
    def schedule(self) -> Callable[[int], float] | None:
        """The schedule of the learning rate; None where it is a number."""
        value = self._hyperparameters["learning_rate"]
        return value if callable(value) else None

    @property
    def _rate(self) -> tuple[LearningRate, int, float]:
        """What was set, for which epoch, and the rate in force: to be put back without asking a schedule."""
        return self._hyperparameters["learning_rate"], self._epoch, self._core.learning_rate

    @_rate.setter
    def _rate(self, rate: tuple[LearningRate, int, float]) -> None:
        self._hyperparameters["learning_rate"], self._epoch, self._core.learning_rate = rate

    def set_epoch(self, epoch: int) -> None:
        """Set the learning rate to what the schedule gives for `epoch`; without one nothing changes.

        `fit` calls this at the start of each epoch; in a loop of your own you do.

        Parameters
        ----------
        epoch : int
            The epoch, from 0.

        Raises
        ------
        ValueError, TypeError
            If the schedule returns anything but a finite number that is at least 0.
        """
        if self.schedule is not None:
            self._core.learning_rate = _scheduled_rate(self.schedule, epoch)
        self._epoch = epoch

    def _twin(self) -> Self:
        """Return one with a learning rate of its own that networks take for this one, state and all."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._hyperparameters = dict(self._hyperparameters)
        twin._core = self._core.twin()
        return twin

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if name != "_core"}
        return {**state, "_hyperparameters": dict(self._hyperparameters)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._make_core()

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self._hyperparameters.items())
        return f"{type(self).__name__}({arguments})"


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's momentum [1]_.

    With g ← g + λw: v ← μv + g and w ← w − αv; under Nesterov w ← w − α(g + μv). At momentum 0, w ← w − αg,
    which the core fuses into backpropagation, but for large batches. As in PyTorch the learning rate stands
    outside the velocity; scikit-learn and Keras put it inside, which differs once α changes.

    Parameters
    ----------
    learning_rate : float or callable
        α, or a schedule of it (see `fusednet.schedules`).
    momentum : float, default 0.0
        μ, in [0, 1).
    nesterov : bool, default False
        Whether to look ahead along the velocity; needs a momentum.
    weight_decay : float, default 0.0
        λ, on every trainable parameter, biases included; `Network`'s `l2` leaves the biases out.
    clip_norm : float, optional
        The largest norm that the gradient may have.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter is out of its range or of the wrong type.

    References
    ----------
    .. [1] I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization and momentum in
       deep learning", ICML 2013.
    """

    momentum: float = _hyperparameter("momentum", "μ")
    nesterov: bool = _hyperparameter("nesterov", "Whether it looks ahead along the velocity")

    def __init__(
        self,
        learning_rate: LearningRate,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
    ) -> None:
        momentum, nesterov = real("momentum", momentum, "[0, 1)"), flag("nesterov", nesterov)
        if nesterov and momentum == 0:
            raise ValueError("nesterov=True needs a momentum above 0")
        super().__init__(
            "sgd" if momentum == 0 else "nesterov" if nesterov else "momentum",
            {
                "learning_rate": learning_rate,
                "momentum": momentum,
                "nesterov": nesterov,
                "weight_decay": weight_decay,
                "clip_norm": clip_norm,
            },
            beta1=momentum,
        )


class Adam(Optimizer):
    """Adam: steps scaled by running moments of the gradient [1]_.

    With g ← g + λw at step t: m ← β₁m + (1 − β₁)g, s ← β₂s + (1 − β₂)g², and
    w ← w − α · m̂ / (√ŝ + ε) with m̂ = m / (1 − β₁ᵗ), ŝ = s / (1 − β₂ᵗ): ε stands outside the root, after the
    correction of the bias, as in PyTorch.

    Parameters
    ----------
    learning_rate : float or callable, default 0.001
        α, or a schedule of it (see `fusednet.schedules`).
    beta1, beta2 : float, default 0.9 and 0.999
        How slowly the moments forget, in [0, 1).
    epsilon : float, default 1e-8
        ε, positive.
    weight_decay : float, default 0.0
        λ, added to the gradient; see `AdamW` for the decay that is not.
    clip_norm : float, optional
        The largest norm that the gradient may have.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter is out of its range or of the wrong type.

    References
    ----------
    .. [1] D. P. Kingma, J. Ba, "Adam: A method for stochastic optimization", ICLR 2015.
    """

    beta1: float = _hyperparameter("beta1", "β₁")
    beta2: float = _hyperparameter("beta2", "β₂")
    epsilon: float = _hyperparameter("epsilon", "ε")

    _rule = "adam"

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
    ) -> None:
        beta1, beta2 = real("beta1", beta1, "[0, 1)"), real("beta2", beta2, "[0, 1)")
        super().__init__(
            self._rule,
            {
                "learning_rate": learning_rate,
                "beta1": beta1,
                "beta2": beta2,
                "epsilon": real("epsilon", epsilon, "(0, inf)"),
                "weight_decay": weight_decay,
                "clip_norm": clip_norm,
            },
            beta1=beta1,
            beta2=beta2,
        )


class AdamW(Adam):
    """Adam with the weight decay taken out of the gradient [1]_.

    w ← w − αλw, then Adam's step with the bare g: the decay is not scaled by the moments.

    Parameters
    ----------
    learning_rate : float or callable, default 0.001
        α, or a schedule of it (see `fusednet.schedules`).
    beta1, beta2 : float, default 0.9 and 0.999
        How slowly the moments forget, in [0, 1).
    epsilon : float, default 1e-8
        ε, positive.
    weight_decay : float, default 0.01
        λ, on every trainable parameter.
    clip_norm : float, optional
        The largest norm that the gradient may have.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter is out of its range or of the wrong type.

    References
    ----------
    .. [1] I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """

    _rule = "adamw"

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay, clip_norm=clip_norm)


class RMSprop(Optimizer):
    """RMSprop: steps scaled by a running mean of squared gradients [1]_.

    With g ← g + λw: s ← ρs + (1 − ρ)g² and w ← w − α · g / (√s + ε), ρ being `alpha`: PyTorch's, not centred
    and without momentum.

    Parameters
    ----------
    learning_rate : float or callable, default 0.01
        α, or a schedule of it (see `fusednet.schedules`).
    alpha : float, default 0.99
        ρ, how slowly the mean forgets, in [0, 1).
    epsilon : float, default 1e-8
        ε, positive.
    weight_decay : float, default 0.0
        λ, added to the gradient.
    clip_norm : float, optional
        The largest norm that the gradient may have.

    Raises
    ------
    ValueError, TypeError
        If a hyperparameter is out of its range or of the wrong type.

    References
    ----------
    .. [1] T. Tieleman, G. Hinton, "Lecture 6.5: RMSProp", Coursera, 2012.
    """

    alpha: float = _hyperparameter("alpha", "ρ")
    epsilon: float = _hyperparameter("epsilon", "ε")

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        alpha: float = 0.99,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
    ) -> None:
        alpha = real("alpha", alpha, "[0, 1)")
        super().__init__(
            "rmsprop",
            {
                "learning_rate": learning_rate,
                "alpha": alpha,
                "epsilon": real("epsilon", epsilon, "(0, inf)"),
                "weight_decay": weight_decay,
                "clip_norm": clip_norm,
            },
            beta2=alpha,
        )
