"""The functions that make networks of other libraries' models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    from fusednet.losses import Loss
    from fusednet.network import Network

__all__ = ["from_keras", "from_onnx", "from_sklearn", "from_torch"]


def from_keras(model: Any, *, loss: Loss | None = None, seed: int | None = None) -> Network:
    """Make a network of a Keras model: a ``Sequential`` of ``Dense`` layers.

    It predicts what the model does and trains on from there, with a new optimizer.

    Parameters
    ----------
    model : keras.Sequential
        Nested ones too, of ``Dense``, whose activation is a function that computes one of fusednet's;
        ``Activation``, likewise, and the layers ``ReLU``, ``LeakyReLU``, ``ELU`` and ``Softmax``, with
        fusednet's parameters; ``Dropout`` behind hidden layers; ``Flatten``, of which the network takes the
        result; at first a ``Normalization``, which becomes what `Network.standardize` would have learnt.
        Subclasses must leave ``call`` alone. Regularizers and constraints are not taken over.
    loss : str, object of `fusednet.losses`, or callable, optional
        By default "cross_entropy" for a softmax output, "binary_cross_entropy" for a sigmoid one, else "mse".
    seed : int, optional
        Of the shuffling and dropout to come, as that of `Network`.

    Returns
    -------
    Network
        Of the dtype of the weights, float32 or float64.

    Raises
    ------
    ValueError
        If the model holds something that a chain of dense layers cannot do, which is named, or has no
        weights yet.
    TypeError
        If it is no ``Sequential``.
    """
    from fusednet.convert import keras

    return keras.read(model, loss, seed)


def from_onnx(path: str | os.PathLike[str], *, loss: Loss | None = None, seed: int | None = None) -> Network:
    """Make a network of an ONNX file whose graph is a plain dense network.

    It predicts what ONNX Runtime does with the file and trains on from there, with a new optimizer.

    Parameters
    ----------
    path : str or path-like
        The file. Its graph has one output and takes one matrix (n, in_features), or an array of samples that
        it flattens first, of which the network takes the result. Layers are ``Gemm``, or ``MatMul`` with or
        without ``Add``, with constant weights. Between them stand the activations of `Dense` in any spelling:
        ``z * Sigmoid(z)`` is SiLU. ``Identity``, ``Dropout``, and a ``Flatten`` or ``Reshape`` that changes
        nothing, are skipped. A single output keeps its axis, (n, 1), where the graph drops it at the end.
        Constants that are subtracted from the input, or divide it, become what `Network.standardize` would
        have learnt, and so does scikit-learn's ``Scaler``.
    loss : str, object of `fusednet.losses`, or callable, optional
        By default "cross_entropy" for a softmax output, "binary_cross_entropy" for a sigmoid one, else "mse".
    seed : int, optional
        Of the shuffling and dropout to come, as that of `Network`.

    Returns
    -------
    Network
        Of the dtype of the weights, float32 or float64.

    Raises
    ------
    OSError
        If the file is missing or cannot be read.
    TypeError
        If `path` is none; a model in memory goes by ``onnx.save``.
    ValueError
        If it is no valid ONNX file, or its graph is something else; the first operator that does not fit is
        named.
    ImportError
        If onnx is not installed.

    See Also
    --------
    Network.to_onnx : The way back.
    """
    from fusednet.convert import onnx_reader

    return onnx_reader.read(path, loss, seed)


def from_sklearn(estimator: Any, *, loss: Loss | None = None, seed: int | None = None) -> Network:
    """Make a network of a fitted scikit-learn ``MLPClassifier`` or ``MLPRegressor``.

    It computes what ``predict_proba`` or ``predict`` do, and trains on from there, with a new optimizer.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor, or a Pipeline that ends in one
        Fitted; those of `fusednet.sklearn` too. In a pipeline ``StandardScaler`` may stand before it. The
        network takes over what that or ``standardize=True`` does to the inputs, as `Network.standardize`
        would have learnt it; the scaling of targets goes into the last layer.
    loss : str, object of `fusednet.losses`, or callable, optional
        By default the estimator's: "half_mse" for its squared error, "poisson", the cross-entropies for
        classifiers. For k outputs the values are k times and 1/k times those that scikit-learn reports.
    seed : int, optional
        Of the shuffling and dropout to come, as that of `Network`.

    Returns
    -------
    Network
        Of the dtype of ``coefs_``. A classifier of two classes has one sigmoid output, of more classes a
        softmax, for several labels a sigmoid each. `predict_classes` gives positions in
        ``estimator.classes_``. The penalty `alpha` is not taken over, since it counts differently:
        scikit-learn divides it by the samples of each batch. ``net.l2 = alpha / batch_size`` is the same but
        for a shorter last batch, where scikit-learn's penalty is larger.

    Raises
    ------
    ValueError
        If the estimator is not fitted, or a pipeline transforms its data in another way.
    TypeError
        If it is no multilayer perceptron.
    """
    from fusednet.convert import sklearn

    return sklearn.read(estimator, loss, seed)


def from_torch(module: Any, *, loss: Loss | None = None, seed: int | None = None) -> Network:
    """Make a network of a PyTorch module: an ``nn.Sequential`` of linear layers and activations.

    It predicts what the module does in ``eval()`` and trains on from there, with a new optimizer.

    Parameters
    ----------
    module : torch.nn.Module
        A ``Sequential``, nested ones too, of ``Linear``; the activations of `Dense` with its parameters
        (``GELU()`` by erf, ``ELU(1.0)``, ``LeakyReLU(0.01)`` …); ``Identity``; ``Flatten()``, of which the
        network takes the result; ``Dropout`` behind hidden layers. Of any device, in float32 or float64,
        without forward hooks but those of ``weight_norm`` and ``prune``. Layers none of whose parameters
        requires a gradient are not trainable.
    loss : str, object of `fusednet.losses`, or callable, optional
        By default "cross_entropy" for a softmax output, "binary_cross_entropy" for a sigmoid one, else "mse".
        A classifier that ends in logits needs its softmax to train on here:
        ``from_torch(nn.Sequential(module, nn.Softmax(-1)))``.
    seed : int, optional
        Of the shuffling and dropout to come, as that of `Network`.

    Returns
    -------
    Network
        Of the module's dtype.

    Raises
    ------
    ValueError
        If the module holds something that a chain of dense layers cannot do, which is named.
    TypeError
        If it is no module.
    ImportError
        If PyTorch is not installed.

    Examples
    --------
    >>> from torch import nn
    >>> policy = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 2))
    >>> net = fn.from_torch(policy)
    """
    from fusednet.convert import torch

    return torch.read(module, loss, seed)
