"""Dense layers, on their own or as the parts of a `Network`."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray
from numpy.typing import ArrayLike, NDArray

from fusednet import _core as core
from fusednet._checks import choice, flag, integer, seeded
from fusednet._data import as_array
from fusednet.initializers import initial_weights

if TYPE_CHECKING:
    from typing import Self

    from numpy.random import Generator

    from fusednet.initializers import Initializer

__all__ = ["Dense", "Neuron"]

ACTIVATIONS = (
    "identity",
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "elu",
    "gelu",
    "silu",
    "softplus",
    "exp",
    "softmax",
)
DTYPES = ("float32", "float64")
_OWN = {"_activation", "_core", "_dtype", "_index", "_network"}  # attributes of a layer


def dtype_name(dtype: Any) -> str:
    """Return "float32" or "float64" for whatever NumPy understands as one of them; ValueError otherwise."""
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = dtype
    return choice("dtype", name, DTYPES)


def added_attributes(instance: object, own: set[str]) -> dict[str, Any]:
    """Return the attributes that a subclass or a user has added: copies have them, too."""
    return {name: value for name, value in vars(instance).items() if name not in own}


def made(kind: type[Dense], values: dict[str, Any]) -> Any:
    """Return a layer with these values; what copying, unpickling and loading come down to."""
    layer = kind.__new__(kind)
    layer._assemble(**values)
    return layer


def assign(target: NDArray[Any], values: ArrayLike, name: str) -> None:
    """Copy `values` into a view of the core's buffers; they must be real numbers of the same shape."""
    if (shape := np.shape(values)) != target.shape:
        raise ValueError(f"{name} must have the shape {target.shape}, not {shape}")
    target[...] = in_precision(as_array(values, name), target.dtype, name)


def in_precision(values: NDArray[Any], dtype: np.dtype[Any] | str, name: str) -> NDArray[Any]:
    """Convert numbers; ValueError where one of them is beyond the range of `dtype`."""
    if values.dtype == dtype:
        return values
    with np.errstate(over="ignore"):
        converted = values.astype(dtype, copy=False)
    lost = np.isfinite(values) & ~np.isfinite(converted)
    if lost.any():
        raise ValueError(f"{name} must fit {np.dtype(dtype)}, but holds {values[lost][0]}")
    return converted


class Dense:
    r"""A dense layer: Z = X·W + b, A = f(Z).

    X has the shape (n, in_features), W (in_features, out_features), b (out_features,), A (n, out_features).
    It works on its own, through `forward` and `backward`. Given to a `Network` it becomes a part of it: its
    values are copied into the network's buffers, of which its properties are views from then on.

    Parameters
    ----------
    in_features, out_features : int
        How many numbers come in and go out.
    activation : str, default "identity"
        f: identity, sigmoid, tanh, relu, leaky_relu (slope 0.01), elu (α = 1), gelu (the exact one, by erf),
        silu, softplus, exp or softmax (over the outputs; in a network's last layer only).
    bias : bool, default True
        Whether there is a b. It starts at zero.
    initializer : str or callable, default "auto"
        How W starts: see `fusednet.initializers`.
    dtype : {"float32", "float64"}
        The precision of parameters and arithmetic.
    seed : int, numpy.random.Generator or None
        Where the random numbers come from; None means fresh ones.

    Raises
    ------
    ValueError, TypeError
        If a size is not a positive int, or a name is unknown.

    Examples
    --------
    >>> layer = fn.Dense(3, 2, "tanh", seed=0)
    >>> layer.forward([[0.0, 0.0, 0.0]])
    array([[0., 0.]], dtype=float32)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        activation: str = "identity",
        bias: bool = True,
        *,
        initializer: Initializer = "auto",
        dtype: str = "float32",
        seed: int | Generator | None = None,
    ) -> None:
        rows, columns = integer("in_features", in_features), integer("out_features", out_features)
        choice("activation", activation, ACTIVATIONS)
        drawn = initial_weights(initializer, seeded(np.random.default_rng, seed), rows, columns, activation)
        with np.errstate(over="ignore"):
            weights = drawn.astype(dtype_name(dtype))
        if not np.isfinite(weights).all():
            raise ValueError(f"the initializer must return weights that are finite in {dtype}")
        self._assemble(weights, np.zeros(columns) if flag("bias", bias) else None, activation)

    def _assemble(
        self, weights: NDArray[Any], bias: NDArray[Any] | None, activation: str, trainable: bool = True
    ) -> None:
        """Build a layer of its own with these values; what all ways to make one come down to."""
        self._activation = activation
        self._dtype = np.dtype(weights.dtype.name)  # NumPy's own object, which a pickled array's may not be
        self._core = core.Network(
            weights.shape, [activation], [bias is not None], [], loss="mse", dtype=weights.dtype.name
        )
        self._network: core.Network | None = None  # that it is a part of, as layer _index
        self._index = 0
        self.weights = weights
        if bias is not None:
            self.bias = bias
        self.trainable = trainable

    def _bind(self, network: core.Network, index: int) -> None:
        """Become layer `index` of a network: hand over the values, then look at its buffers."""
        trainable, own = self.trainable, self._core
        self._core = network.layer(index)
        self._core.parameters[...] = own.parameters
        self._network, self._index = network, index
        self.trainable = trainable

    def forward(self, X: ArrayLike) -> NDArray[Any]:
        """Return A = f(X·W + b), and keep what `backward` needs.

        Parameters
        ----------
        X : array-like of shape (n, in_features) or (in_features,)
            The input.

        Returns
        -------
        ndarray of shape (n, out_features), or (out_features,) for a 1-D `X`

        Raises
        ------
        ValueError, TypeError
            If `X` has another shape, or does not hold finite real numbers.
        """
        if type(X) is not ndarray or X.dtype is not self._dtype:
            X = as_array(X)
        return self._core.forward(X)

    def backward(self, dL_dy: ArrayLike) -> NDArray[Any]:
        """Send the gradient of a loss L back through the layer, as the last `forward` left it.

        With dZ = dL/dA ∘ f′(Z), element by element (for softmax A ∘ (dL/dA − Σ A ∘ dL/dA), the sum over a
        row): `weights_gradient` becomes Xᵀ·dZ, `bias_gradient` the sum of the rows of dZ.

        Parameters
        ----------
        dL_dy : array-like, of the shape that `forward` returned
            The gradient of L with respect to the output.

        Returns
        -------
        ndarray of the shape of `X`
            The gradient of L with respect to the input, dZ·Wᵀ.

        Raises
        ------
        ValueError, TypeError
            If the shape differs, it does not hold finite real numbers, or there was no `forward`.
        """
        if type(dL_dy) is not ndarray or dL_dy.dtype is not self._dtype:
            dL_dy = as_array(dL_dy, "dL_dy")
        return self._core.backward(dL_dy)

    @property
    def weights(self) -> NDArray[Any]:
        """W, of shape (in_features, out_features): a writable view. Setting it copies the values in.

        Raises
        ------
        ValueError, TypeError
            If what it is set to has another shape, or does not hold real numbers that fit the dtype.
        """
        return self._core.weights(0)

    @weights.setter
    def weights(self, values: ArrayLike) -> None:
        assign(self.weights, values, "weights")

    @property
    def bias(self) -> NDArray[Any] | None:
        """b, of shape (out_features,): a writable view; None without one. Setting it copies the values in.

        Raises
        ------
        ValueError, TypeError
            If it is set in a layer without one, or to what has another shape or does not hold real
            numbers that fit the dtype.
        """
        return self._core.bias(0)

    @bias.setter
    def bias(self, values: ArrayLike) -> None:
        bias = self.bias
        if bias is None:
            raise ValueError("this layer has no bias; make it with bias=True")
        assign(bias, values, "bias")

    @property
    def weights_gradient(self) -> NDArray[Any]:
        """dL/dW, of the shape of `weights`, as the last `backward` left it: a view."""
        return self._core.weights_gradient(0)

    @property
    def bias_gradient(self) -> NDArray[Any] | None:
        """dL/db, of the shape of `bias`, as the last `backward` left it: a view; None without a bias."""
        return self._core.bias_gradient(0)

    @property
    def trainable(self) -> bool:
        """Whether training changes the parameters; settable. A frozen layer's gradient is left at zero.

        Raises
        ------
        RuntimeError
            If it is set while another thread trains the network.
        """
        return (self._network or self._core).get_trainable(self._index)

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        wanted = flag("trainable", trainable)
        if self._network is not None:
            self._network.set_trainable(self._index, wanted)
        self._core.set_trainable(0, wanted)  # what `backward` of its own goes by

    @property
    def activation(self) -> str:
        """The name of the activation f."""
        return self._activation

    @property
    def in_features(self) -> int:
        """How many numbers come in."""
        return int(self.weights.shape[0])

    @property
    def out_features(self) -> int:
        """How many numbers go out."""
        return int(self.weights.shape[1])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The precision, `numpy.float32` or `numpy.float64`."""
        return self._dtype

    @property
    def parameter_count(self) -> int:
        """How many parameters W and b have together."""
        return self._core.parameters.size

    def copy(self) -> Self:
        """Return a layer with the same values that belongs to no network.

        Returns
        -------
        Dense
            Of the same class.
        """
        return copy.deepcopy(self)

    __copy__ = copy

    def __reduce__(self) -> tuple[Any, ...]:
        # The attributes come last: they may lead back to this layer.
        bias = self.bias
        values = {
            "weights": self.weights.copy(),
            "bias": None if bias is None else bias.copy(),
            "activation": self.activation,
            "trainable": self.trainable,
        }
        return made, (type(self), values), added_attributes(self, _OWN) or None

    def __repr__(self) -> str:
        bias = "" if self.bias is not None else ", bias=False"
        return f"Dense({self.in_features}, {self.out_features}, {self.activation!r}{bias})"


class Neuron(Dense):
    """A single neuron: a dense layer with one output, a = f(x·w + b).

    As everywhere, the outputs are the last axis: `forward` takes an x of shape (in_features,) to an answer of
    shape (1,), and an X of shape (n, in_features) to one of shape (n, 1). Its `weights` have the shape
    (in_features, 1).

    Parameters
    ----------
    weights : array-like of shape (in_features,)
        The weights w.
    bias : float, default 0.0
        The bias b.
    activation : str, default "identity"
        The activation f, one of those of `Dense`.
    dtype : {"float32", "float64"}, optional
        The precision; by default that of `weights`, float64 where they are Python numbers or integers.

    Raises
    ------
    ValueError, TypeError
        If the weights are not a row of numbers that fit the dtype, or a name is unknown.

    Examples
    --------
    >>> neuron = fn.Neuron([0.5, -1.0], bias=0.25, activation="relu")
    >>> neuron.forward([2.0, 0.5])
    array([0.75])
    """

    def __init__(
        self,
        weights: ArrayLike,
        bias: float = 0.0,
        activation: str = "identity",
        *,
        dtype: str | None = None,
    ) -> None:
        row = as_array(weights, "weights")
        if row.ndim != 1 or row.size == 0:
            raise ValueError(f"weights must have the shape (in_features,), not {row.shape}")
        if dtype is None:
            dtype = "float32" if row.dtype in (np.float16, np.float32) else "float64"
        dtype = dtype_name(dtype)
        column = in_precision(row.reshape(-1, 1), dtype, "weights")
        offset = in_precision(as_array([bias], "bias"), dtype, "bias")
        self._assemble(column, offset, choice("activation", activation, ACTIVATIONS))

    def __repr__(self) -> str:
        bias = 0.0 if self.bias is None else float(self.bias[0])
        return f"Neuron({self.weights[:, 0].tolist()}, {bias!r}, {self.activation!r})"
