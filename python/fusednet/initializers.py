"""Initial weights: the scale of the random numbers that training starts from.

A layer with the weights W of shape (in, out) keeps the variance of its signal if the variance of W suits
`in`, and keeps that of the gradient if it suits `out`. Each rule below draws W from a uniform distribution
U(-a, a) or a normal distribution N(0, σ²); biases start at zero.

========================  ==========================  ===========================
name                      spread                      meant for
========================  ==========================  ===========================
``"glorot_uniform"``      a = sqrt(6 / (in + out))    tanh, sigmoid, linear [1]_
``"glorot_normal"``       σ = sqrt(2 / (in + out))    tanh, sigmoid, linear [1]_
``"he_uniform"``          a = sqrt(6 / in)            the ReLU family [2]_
``"he_normal"``           σ = sqrt(2 / in)            the ReLU family [2]_
``"lecun_uniform"``       a = sqrt(3 / in)            scaled tanh, SELU-like [3]_
``"lecun_normal"``        σ = sqrt(1 / in)            scaled tanh, SELU-like [3]_
========================  ==========================  ===========================

``"auto"`` is he_normal for relu, leaky_relu, elu, gelu and silu, else glorot_uniform.

A callable ``f(rng, in_features, out_features)`` that returns an array of shape (in, out) serves as well;
`rng` is a `numpy.random.Generator`.

References
----------
.. [1] X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks",
   AISTATS 2010.
.. [2] K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers", ICCV 2015.
.. [3] Y. LeCun, L. Bottou, G. Orr, K.-R. Müller, "Efficient BackProp", in Neural Networks: Tricks of the
   Trade, 1998.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fusednet._checks import choice
from fusednet._data import as_array

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import ArrayLike

    Initializer: TypeAlias = str | Callable[[Generator, int, int], ArrayLike]

_RELU_FAMILY = ("relu", "leaky_relu", "elu", "gelu", "silu")

_VARIANCE: dict[str, Callable[[int, int], float]] = {
    "glorot": lambda fan_in, fan_out: 2.0 / (fan_in + fan_out),
    "he": lambda fan_in, fan_out: 2.0 / fan_in,
    "lecun": lambda fan_in, fan_out: 1.0 / fan_in,
}
NAMES = ("auto", *(f"{rule}_{shape}" for rule in _VARIANCE for shape in ("uniform", "normal")))


def initial_weights(
    initializer: Initializer, rng: Generator, in_features: int, out_features: int, activation: str
) -> NDArray[Any]:
    """Draw the weights of one layer.

    They are drawn in float64 whatever the layer's dtype, so that a seed means the same weights in both.

    Parameters
    ----------
    initializer : str or callable
        A name of the table above, or ``f(rng, in_features, out_features)``.
    rng : numpy.random.Generator
        The source of random numbers.
    in_features, out_features : int
        The shape of the weights.
    activation : str
        What "auto" goes by.

    Returns
    -------
    ndarray of shape (in_features, out_features)

    Raises
    ------
    ValueError, TypeError
        If the name is unknown, or a callable returns another shape or no real numbers.
    """
    shape = (in_features, out_features)
    if callable(initializer):
        weights = as_array(initializer(rng, in_features, out_features), "what the initializer returns")
        if weights.shape != shape:
            raise ValueError(f"the initializer must return weights of shape {shape}, not {weights.shape}")
        return weights
    name = choice("initializer", initializer, NAMES)
    if name == "auto":
        name = "he_normal" if activation in _RELU_FAMILY else "glorot_uniform"
    rule, distribution = name.split("_")
    deviation = float(np.sqrt(_VARIANCE[rule](in_features, out_features)))
    if distribution == "normal":
        return rng.normal(0.0, deviation, shape)
    limit = deviation * float(np.sqrt(3.0))  # U(-a, a) has the variance a²/3
    return rng.uniform(-limit, limit, shape)
