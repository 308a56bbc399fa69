"""The level below `fit`: one's own training loop, optimizer or loss."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray
from numpy.typing import ArrayLike, NDArray

from fusednet import _architecture, _summary, losses
from fusednet import _core as core
from fusednet._checks import flag, real
from fusednet._data import as_array
from fusednet._standardization import Standardized
from fusednet.history import History
from fusednet.layers import Dense, added_attributes, assign
from fusednet.optimizers import Optimizer

if TYPE_CHECKING:
    from typing import Self

    from numpy.random import Generator

    from fusednet._standardization import Standardization
    from fusednet.losses import Loss

__all__ = ["NetworkBase"]

_OWN = {  # attributes of a network; the optimizer is the caller's, and not copied along
    "_core",
    "_dropout",
    "_dtype",
    "_layers",
    "_loss",
    "_rng",
    "_scikit_learn",
    "_standardization",
    "history",
    "optimizer",
    "stop_training",
}


class NetworkBase(Standardized):
    """Parameters, their gradient, and single steps of training: what `Network` is built on."""

    def _assemble(
        self,
        layers: list[Dense],
        *,
        loss: Loss,
        l2: float,
        dropout: float | Sequence[float],
        dropout_seed: int,
        rng: Generator,
        dropout_step: int = 0,
        history: History | None = None,
        standardization: Standardization | None = None,
        scikit_learn: bool = False,
    ) -> None:
        """Build the network from its parts; what construction, copying and loading come down to."""
        _architecture.check_layers(layers)
        name, parameter = losses.resolve(loss)
        losses.check_output(name, layers[-1].activation)
        self._dropout = tuple(_architecture.dropout_rates(dropout, len(layers) - 1))
        self._dtype = layers[0].dtype
        self._loss = loss
        self.history = history or History()
        self.optimizer: Optimizer | None = None
        self.stop_training = False
        self._rng = rng
        self._scikit_learn = scikit_learn
        self._core = core.Network(
            [layers[0].in_features, *(layer.out_features for layer in layers)],
            [layer.activation for layer in layers],
            [layer.bias is not None for layer in layers],
            self._dropout,
            loss=name,
            loss_parameter=parameter,
            l2=real("l2", l2, "[0, inf)"),
            dtype=self._dtype.name,
            seed=dropout_seed,
            scikit_learn=scikit_learn,
        )
        self._core.dropout_step = dropout_step
        for index, layer in enumerate(layers):
            layer._bind(self._core, index)
        self._layers = tuple(layers)
        self._set_standardization(standardization)

    def forward(self, X: ArrayLike, training: bool = True) -> NDArray[Any]:
        """Return the network's outputs, and keep what `backward` needs.

        Parameters
        ----------
        X : array-like of shape (n, in_features) or (in_features,)
            Inputs.
        training : bool, default True
            Whether to apply dropout.

        Returns
        -------
        ndarray of shape (n, out_features), or (out_features,) for a 1-D `X`

        Raises
        ------
        ValueError, TypeError
            As `predict`.
        RuntimeError
            If another thread trains the network.
        """
        if type(X) is not ndarray or X.dtype is not self._dtype:
            X = as_array(X)
        if training is not True:
            training = flag("training", training)
        return self._core.forward(X, training)

    def backward(self, dL_dy: ArrayLike) -> NDArray[Any]:
        """Fill `gradient` from the gradient of a loss L with respect to the outputs of the last `forward`.

        The network's own L2 term is not in it: L is what you say it is.

        Parameters
        ----------
        dL_dy : array-like, of the shape that `forward` returned
            dL/dŷ. Its sign is that of ŷ − y for a loss that grows with the distance.

        Returns
        -------
        ndarray of the shape of `X`
            dL/dX.

        Raises
        ------
        ValueError, TypeError
            If the shape differs, it does not hold finite real numbers, or there was no `forward`.
        RuntimeError
            If another thread trains the network.
        """
        if type(dL_dy) is not ndarray or dL_dy.dtype is not self._dtype:
            dL_dy = as_array(dL_dy, "dL_dy")
        return self._core.backward(dL_dy)

    def loss_and_gradient(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> tuple[float, NDArray[Any]]:
        """Return the loss, L2 term included, and its gradient by all parameters.

        Deterministic: dropout is left out. What ``scipy.optimize.minimize(..., jac=True)`` wants. Ctrl-C is
        noticed when it is through with all rows, as it is by `forward`, `backward` and a step.

        Parameters
        ----------
        X, y, sample_weight : array-like
            As `fit` takes them.

        Returns
        -------
        loss : float
        gradient : ndarray of the shape of `parameters`
            A copy of `gradient`.

        Raises
        ------
        ValueError, TypeError
            If the data have the wrong shape, dtype or values.
        DivergenceError
            If the loss is infinite or NaN.
        RuntimeError
            If another thread trains the network.
        """
        weights = None if sample_weight is None else as_array(sample_weight, "sample_weight")
        loss = self._core.loss_and_gradient(as_array(X), as_array(y, "y"), weights)
        return loss, self.gradient.copy()

    def train_step(
        self, X: ArrayLike, y: ArrayLike, optimizer: Optimizer, sample_weight: ArrayLike | None = None
    ) -> float:
        """Take one step of the optimizer on one minibatch.

        Parameters
        ----------
        X, y, sample_weight : array-like
            The minibatch, as `fit` takes its data.
        optimizer : Optimizer
            What makes a step of the gradient. A schedule stays where ``optimizer.set_epoch`` put it.

        Returns
        -------
        float
            The loss before the step, L2 term included. `gradient` is unspecified after it.

        Raises
        ------
        ValueError, TypeError
            If the data have the wrong shape, dtype or values.
        DivergenceError
            If the loss is infinite or NaN; the parameters are left as they were.
        RuntimeError
            If another thread trains the network.
        """
        if type(X) is not ndarray or X.dtype is not self._dtype:
            X = as_array(X)
        if type(y) is not ndarray or y.dtype is not self._dtype:
            y = as_array(y, "y")
        if sample_weight is not None:
            sample_weight = as_array(sample_weight, "sample_weight")
        try:
            return self._core.train_step(X, y, optimizer._core, sample_weight)
        except (AttributeError, TypeError):
            if not isinstance(optimizer, Optimizer):
                raise TypeError(f"optimizer must be one such as fn.SGD(0.01), not {optimizer!r}") from None
            raise

    @property
    def parameters(self) -> NDArray[Any]:
        """All parameters, flat: layer by layer the weights, then the bias.

        A writable view; setting it copies values in.

        Raises
        ------
        ValueError, TypeError
            If what it is set to has another shape, or does not hold real numbers that fit the dtype.
        """
        return self._core.parameters

    @parameters.setter
    def parameters(self, values: ArrayLike) -> None:
        assign(self._core.parameters, values, "parameters")

    @property
    def gradient(self) -> NDArray[Any]:
        """The gradient by all parameters, in their order.

        A writable view; setting it copies values in. Unspecified after `train_step` and `fit`, and after an
        error.

        Raises
        ------
        ValueError, TypeError
            If what it is set to has another shape, or does not hold real numbers that fit the dtype.
        """
        return self._core.gradient

    @gradient.setter
    def gradient(self, values: ArrayLike) -> None:
        assign(self._core.gradient, values, "gradient")

    @property
    def layers(self) -> tuple[Dense, ...]:
        """The layers, from the input on; their parameters are views into `parameters`."""
        return self._layers

    @property
    def loss(self) -> Loss:
        """The loss, as it was given."""
        return self._loss

    @property
    def dropout(self) -> tuple[float, ...]:
        """The dropout rate of each hidden layer."""
        return self._dropout

    @property
    def dtype(self) -> np.dtype[Any]:
        """The precision of parameters and arithmetic, `numpy.float32` or `numpy.float64`."""
        return self._dtype

    @property
    def l2(self) -> float:
        """The factor of the L2 term; settable.

        Raises
        ------
        ValueError, TypeError
            If it is set to anything but a finite number that is at least 0.
        RuntimeError
            If it is set while another thread trains the network.
        """
        return self._core.l2

    @l2.setter
    def l2(self, value: float) -> None:
        self._core.l2 = real("l2", value, "[0, inf)")

    def copy(self) -> Self:
        """Return an independent network of the same state, random numbers to come included.

        What optimizers keep for the network (velocity, moments) stays with this one.

        Returns
        -------
        Network
            Of the same class, on buffers of its own.
        """
        return copy.deepcopy(self)

    __copy__ = copy  # a shallow one would share the random numbers to come

    def copy_from(self, other: NetworkBase, tau: float = 1.0) -> None:
        """Move the parameters towards those of another network: θ ← τ·θ_other + (1 − τ)·θ, in place.

        With a small `tau`, repeated, this is the Polyak averaging of target networks [1]_. What `standardize`
        learnt is copied as it is.

        Parameters
        ----------
        other : Network
            Of the same widths, activations and biases.
        tau : float, default 1.0
            τ, in [0, 1]; 1 copies.

        Raises
        ------
        ValueError, TypeError
            If the architectures differ, or `tau` is out of its range.
        RuntimeError
            If this network is being trained and `other` has another standardization; nothing is changed.

        References
        ----------
        .. [1] T. P. Lillicrap et al., "Continuous control with deep reinforcement learning", ICLR 2016.
        """
        if not isinstance(other, NetworkBase):
            raise TypeError(f"other must be a Network, not {type(other).__name__}")
        own, others = (", ".join(map(Dense.__repr__, net.layers)) for net in (self, other))
        if own != others:
            raise ValueError(f"the architectures differ: {own} and {others}")
        share = real("tau", tau, "[0, 1]")
        if self._standardization is not other._standardization:  # first: it may refuse
            self._set_standardization(other._standardization)
        if share == 1.0:
            self.parameters = other.parameters
        else:
            self.parameters += share * (other.parameters - self.parameters)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "attributes": added_attributes(self, _OWN),
            "layers": list(self.layers),
            "loss": self.loss,
            "l2": self.l2,
            "dropout": self.dropout,
            "dropout_seed": self._core.seed,
            "dropout_step": self._core.dropout_step,
            "rng": self._rng,
            "history": self.history,
            "standardization": self._standardization,
            "scikit_learn": self._scikit_learn,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state.pop("attributes", {}))
        self._assemble(**state)

    def __repr__(self) -> str:
        widths = [self.layers[0].in_features, *(layer.out_features for layer in self.layers)]
        *hidden, output = (layer.activation for layer in self.layers)
        activation = f", activation={hidden[0] if len(set(hidden)) == 1 else hidden!r}" if hidden else ""
        loss = repr(self.loss) if isinstance(self.loss, str) else _summary.loss_name(self)
        l2 = f", l2={self.l2:g}" if self.l2 else ""
        rates = self.dropout[0] if len(set(self.dropout)) == 1 else list(self.dropout)
        dropout = f", dropout={rates}" if any(self.dropout) else ""
        return (
            f"Network({widths}{activation}, output={output!r}, loss={loss}{l2}{dropout}, "
            f"dtype={self.dtype.name!r})"
        )
