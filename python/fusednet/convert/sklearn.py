"""Networks from and to scikit-learn's multilayer perceptrons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fusednet._architecture import per_hidden_layer
from fusednet._optional import require
from fusednet.convert.chain import Chain, Layer, folded_layers

if TYPE_CHECKING:
    from fusednet._standardization import Standardization
    from fusednet.losses import Loss
    from fusednet.network import Network

__all__ = ["read", "write"]

_FROM = {"logistic": "sigmoid"}  # the other names are the same
_TO = {"identity": "identity", "sigmoid": "logistic", "tanh": "tanh", "relu": "relu"}
_LOSSES = {"squared_error": "half_mse", "log_loss": None}  # None: the one that goes with the output


def read(estimator: Any, loss: Loss | None, seed: int | None) -> Network:
    """Make a network of a model: see `fusednet.from_sklearn`."""
    before: list[tuple[str, Any]] = []
    if hasattr(estimator, "steps"):
        *before, (_, estimator) = estimator.steps
    if not all(hasattr(estimator, name) for name in ("hidden_layer_sizes", "activation", "loss")):
        raise TypeError(f"estimator must be an MLPClassifier or MLPRegressor, not {type(estimator).__name__}")
    if not hasattr(estimator, "coefs_"):
        raise ValueError(f"this {type(estimator).__name__} is not fitted; call fit first")
    hidden = per_hidden_layer("activation", estimator.activation, len(estimator.coefs_) - 1)
    rates = per_hidden_layer("dropout", getattr(estimator, "dropout", 0.0), len(hidden))
    chain = Chain(standardization=_input_scaling(before, estimator))
    for index, (weights, bias) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        where = f"layer {index}"
        name = [*hidden, estimator.out_activation_][index]
        chain.dense(where, np.asarray(weights), np.asarray(bias))
        chain.activate(where, _FROM.get(name, name))
        chain.drop(where, [*rates, 0.0][index])
    _scale_output(chain, estimator)
    if loss is None:
        loss = estimator.loss
        if isinstance(loss, str):
            loss = _LOSSES.get(loss, loss)
    return chain.network(loss, seed)


def _input_scaling(steps: list[tuple[str, Any]], estimator: Any) -> Standardization | None:
    """Return what happens to the inputs: by a ``StandardScaler`` before the estimator, then by its own."""
    scalings = []
    for name, step in steps:
        if step is None or step == "passthrough":
            continue
        if type(step).__name__ != "StandardScaler":
            raise ValueError(f"the pipeline's step {name!r}, {type(step).__name__}, is not supported")
        if not hasattr(step, "scale_"):
            raise ValueError("the pipeline is not fitted; call fit first")
        scalings.append((step.mean_ if step.with_mean else 0.0, step.scale_ if step.with_std else 1.0))
    own = getattr(estimator, "input_scaling_", None)  # of fusednet.sklearn, by its standardize=True
    if own is not None:
        scalings.append((own.mean, own.scale))
    if not scalings:
        return None
    features = len(estimator.coefs_[0])
    mean, scale = np.zeros(features), np.ones(features)
    for next_mean, next_scale in scalings:
        mean, scale = mean + scale * next_mean, scale * next_scale
    return mean, scale


def _scale_output(chain: Chain, estimator: Any) -> None:
    """Put the scaling of the targets by fusednet.sklearn's ``standardize=True`` into the last layer."""
    scaling = getattr(estimator, "target_scaling_", None)
    if scaling is None:
        return
    output = chain.layers[-1].activation
    if output != "identity":
        raise ValueError(f"scaled targets need the output identity, not {output}")
    chain.scale("the scaling of the targets", scaling.scale, scaling.mean)


def write(net: Network, classes: ArrayLike | None = None) -> Any:
    """Return a network as a fitted estimator: see `Network.to_sklearn`."""
    perceptrons = require("sklearn.neural_network", "scikit-learn", "sklearn")
    layers = folded_layers(net)
    output, outputs = layers[-1].activation, layers[-1].weights.shape[1]
    options = {
        "hidden_layer_sizes": tuple(layer.weights.shape[1] for layer in layers[:-1]),
        "activation": _one_activation(layers[:-1]),
        "random_state": 0,  # for the fit below: by default it would draw from NumPy's global generator
    }
    row = np.zeros((1, layers[0].weights.shape[0]), layers[0].weights.dtype)
    if classes is not None and (
        output not in ("softmax", "sigmoid") or (output == "sigmoid" and outputs > 1)
    ):
        raise ValueError("classes are for a softmax output, or one sigmoid output")
    step: dict[str, Any]
    if output in ("identity", "exp"):
        loss = "poisson" if output == "exp" else "squared_error"
        estimator = perceptrons.MLPRegressor(**options, loss=loss)
        step = {"y": np.zeros((1, outputs) if outputs > 1 else 1)}
    elif output == "sigmoid" and outputs > 1:
        estimator = perceptrons.MLPClassifier(**options)
        step = {"y": np.eye(1, outputs, dtype=int), "classes": np.arange(outputs)}
    elif output == "sigmoid" or (output == "softmax" and outputs > 1):
        labels = _labels(classes, max(outputs, 2))
        if outputs == 2:
            layers[-1] = _difference(layers[-1])
        estimator = perceptrons.MLPClassifier(**options)
        step = {"y": labels[:1], "classes": labels}
    else:
        raise ValueError(
            "scikit-learn has the outputs identity, exp, sigmoid, and softmax of at least two classes, "
            f"not {output} of {outputs}"
        )
    # One step of training makes all that a fitted estimator has; then it gets the network's values. BLAS may
    # report a product of finite numbers there as invalid, as OpenBLAS has (issue 1924); none of them is kept.
    with np.errstate(invalid="ignore"):
        estimator.partial_fit(row, **step)
    estimator.coefs_ = [layer.weights.copy() for layer in layers]
    estimator.intercepts_ = [
        np.zeros(layer.weights.shape[1], layer.weights.dtype) if layer.bias is None else layer.bias.copy()
        for layer in layers
    ]
    estimator.n_iter_ = estimator.t_ = estimator._no_improvement_count = 0
    estimator.loss_curve_, estimator.best_loss_ = [], np.inf
    del estimator.loss_, estimator._optimizer  # the next fit makes them
    return estimator.set_params(random_state=None)


def _one_activation(hidden: list[Layer]) -> str:
    names = {layer.activation for layer in hidden} or {"identity"}
    if len(names) > 1 or not names <= _TO.keys():
        raise ValueError(
            f"scikit-learn has one activation for all hidden layers, of {', '.join(_TO)}; "
            f"the network has {', '.join(sorted(names))}"
        )
    return _TO[names.pop()]


def _labels(classes: ArrayLike | None, count: int) -> NDArray[Any]:
    labels = np.arange(count) if classes is None else np.asarray(classes)
    if labels.shape != (count,) or not np.array_equal(labels, np.unique(labels)):
        raise ValueError(f"classes must be {count} different labels in ascending order, not {classes!r}")
    return labels


def _difference(last: Layer) -> Layer:
    """Return the layer of one sigmoid that gives the second probability of a softmax of two."""
    bias = None if last.bias is None else np.diff(last.bias)
    return Layer(np.diff(last.weights, axis=1), bias, "sigmoid")
