"""The methods of `Network` that write it as another library's model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike

    from fusednet.network import Network


class Exports:
    """What a network can be written as; a part of `Network`."""

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the network to an ONNX file, which ONNX Runtime and others serve.

        The graph takes ``input`` of shape (batch, in_features), of the network's dtype and for any batch, and
        gives ``output`` of shape (batch, out_features): what `predict` does. Dropout, the loss and what
        training needs are left out. It is of opset 17 and IR version 8 [1]_, which ONNX Runtime reads from
        1.12 on, and passes ``onnx.checker``. What `standardize` learnt goes before the first layer, so that
        nothing is lost to a large mean. In float64 some activations are spelt out in simpler operators, for
        which ONNX Runtime has the kernels; GELU's erf is computed in float32 there.

        Parameters
        ----------
        path : str or path-like
            Where to; an existing file is replaced once the new one is complete.

        Raises
        ------
        ImportError
            If onnx is not installed.
        OSError
            If the file cannot be written.
        ValueError
            If the network's dtype cannot hold what `standardize` learnt.

        See Also
        --------
        fusednet.from_onnx : The way back.

        References
        ----------
        .. [1] ONNX operators and versions, https://onnx.ai/onnx/operators/
        """
        from fusednet.convert import onnx_writer

        onnx_writer.write(cast("Network", self), path)

    def to_torch(self) -> Any:
        """Return the network as a ``torch.nn.Sequential`` with the same outputs.

        What `standardize` learnt is folded into the first layer, computed in float64 and rounded once: where
        a mean is large beside its deviation, float32 loses digits there. The output activation is a module of
        its own; PyTorch's ``CrossEntropyLoss`` wants ``module[:-1]``, without the softmax.

        Returns
        -------
        torch.nn.Sequential
            Of ``Linear``, activations and ``Dropout``, in ``eval()``, of the network's dtype, with copies of
            its values. Layers that are not trainable require no gradients.

        Raises
        ------
        ImportError
            If PyTorch is not installed.
        ValueError
            If the weights' dtype cannot hold them with the scaling folded in.

        See Also
        --------
        fusednet.from_torch : The way back.
        """
        from fusednet.convert import torch

        return torch.write(cast("Network", self))

    def to_sklearn(self, classes: ArrayLike | None = None) -> Any:
        """Return the network as a fitted ``MLPClassifier`` or ``MLPRegressor`` of scikit-learn.

        Its `predict_proba`, or `predict` of a regressor, gives the same outputs; `partial_fit`, or `fit` with
        ``warm_start=True``, train on from there. Hyperparameters that are not of the architecture are
        scikit-learn's defaults: change them by `set_params`. A softmax of two classes becomes one sigmoid
        of the difference. What `standardize` learnt is folded into the first layer, as in `to_torch`.

        Parameters
        ----------
        classes : array-like of shape (n_classes,), optional
            The labels of the classes of a classifier, in the order of the outputs, which must be ascending;
            by default 0, 1, …

        Returns
        -------
        MLPRegressor, for the outputs identity and exp (its Poisson loss); else MLPClassifier

        Raises
        ------
        ValueError
            If scikit-learn has no such network: its hidden layers have one activation of identity, sigmoid,
            tanh and relu; or if `classes` do not fit; and as `to_torch`.
        ImportError
            If scikit-learn is not installed.

        See Also
        --------
        fusednet.from_sklearn : The way back.
        """
        from fusednet.convert import sklearn

        return sklearn.write(cast("Network", self), classes)
