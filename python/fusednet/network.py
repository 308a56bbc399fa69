"""The network: what `fusednet` is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray
from numpy.typing import ArrayLike, NDArray

from fusednet import _architecture, _evaluation, _summary, _training
from fusednet._base import NetworkBase
from fusednet._checks import flag, seeded
from fusednet._data import as_array, as_weights
from fusednet.convert.exports import Exports

if TYPE_CHECKING:
    import os

    from matplotlib.axes import Axes

    from fusednet._scores import Metrics
    from fusednet.callbacks import Callback
    from fusednet.history import History
    from fusednet.initializers import Initializer
    from fusednet.layers import Dense
    from fusednet.losses import Loss
    from fusednet.optimizers import Optimizer

__all__ = ["Network"]


class Network(NetworkBase, Exports):
    r"""A dense neural network (multilayer perceptron): Aₗ = fₗ(Aₗ₋₁·Wₗ + bₗ), trained by backpropagation.

    Arrays come in as anything that NumPy understands as numbers: arrays of any integer or floating dtype and
    any strides, memory-mapped ones, nested lists, pandas and polars frames. Rows are samples. Values must be
    finite.

    Parameters
    ----------
    widths : sequence of int, or of Dense
        The number of inputs, then the width of each layer: ``[784, 256, 128, 10]``. Or the layers themselves,
        which become parts of this network; they then bring their activations, initial values and dtype with
        them.
    activation : str or sequence of str, default "relu"
        Activation of the hidden layers, one for all or one each; see `Dense` for their names.
    output : str, default "identity"
        Activation of the last layer.
    loss : str, object of `fusednet.losses`, or callable, default "mse"
        What training makes small; see `fusednet.losses`. "cross_entropy" needs ``output="softmax"``,
        "binary_cross_entropy" ``output="sigmoid"``.
    l2 : float, default 0.0
        Adds (l2 / 2) · Σ W² over all weights, biases left out, to the loss.
    dropout : float or sequence of float, default 0.0
        Share of each hidden layer's outputs set to zero in training, the rest being scaled by 1 / (1 − share)
        [1]_; one for all hidden layers or one each.
    initializer : str or callable, default "auto"
        Initial weights: see `fusednet.initializers`. Biases start at zero.
    dtype : {"float32", "float64"}
        Precision of parameters and arithmetic.
    seed : int, sequence of int, numpy.random.SeedSequence or None
        Seed of initial weights, shuffling and dropout: the same seed and data give the same bits, at any
        number of threads. None means fresh randomness.

    Attributes
    ----------
    history : History
        Of the last or the running `fit`; complete up to its last epoch even if it was interrupted.
    optimizer : Optimizer or None
        That of the last or the running `fit`; None before any.
    stop_training : bool
        Set to True by a callback to end `fit` after the running epoch.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of its range or of the wrong type, or two do not go together.

    References
    ----------
    .. [1] N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15,
       2014.

    Examples
    --------
    >>> X = np.random.default_rng(0).uniform(-1, 1, size=(500, 2))
    >>> y = X[:, 0] * X[:, 1]
    >>> net = fn.Network([2, 16, 1], activation="tanh", seed=0)
    >>> history = net.fit(X, y, epochs=100, optimizer=fn.Adam(0.01))
    >>> abs(net.predict([0.5, -0.5])[0] + 0.25) < 0.05
    np.True_
    """

    def __init__(
        self,
        widths: Sequence[int] | Sequence[Dense],
        activation: str | Sequence[str] = "relu",
        output: str = "identity",
        loss: Loss = "mse",
        l2: float = 0.0,
        dropout: float | Sequence[float] = 0.0,
        initializer: Initializer = "auto",
        dtype: str = "float32",
        seed: int | Sequence[int] | np.random.SeedSequence | None = None,
    ) -> None:
        rng = np.random.Generator(seeded(np.random.PCG64, seed))
        dropout_seed = int(rng.integers(2**63))
        layers = _architecture.build_layers(widths, activation, output, initializer, dtype, rng)
        self._assemble(layers, loss=loss, l2=l2, dropout=dropout, dropout_seed=dropout_seed, rng=rng)

    def fit(
        self,
        X: Any,
        y: ArrayLike | None = None,
        *,
        epochs: int = 10,
        batch_size: int = 32,
        optimizer: Optimizer | None = None,
        validation_data: Sequence[Any] | None = None,
        sample_weight: ArrayLike | None = None,
        shuffle: bool = True,
        callbacks: Iterable[Callback] = (),
        metrics: Metrics | None = None,
        progress: bool = True,
        resume: str | os.PathLike[str] | None = None,
    ) -> History:
        """Train on minibatches, from the present parameters on.

        Parameters
        ----------
        X : array-like of shape (n, in_features), iterable of batches, or callable
            The inputs. A matrix of up to a gibibyte that lies column by column, as pandas frames do, is
            copied where rows are shuffled: that is quicker than picking them from it. What you change in it
            during the training then has no effect. A memory map, as of
            ``numpy.load(..., mmap_mode="r")``, is read chunk by chunk, ahead of the training, and takes
            little resident memory however large the file is. Or batches, tuples ``(X, y)`` or
            ``(X, y, sample_weight)``: an iterable of them that can be run through anew each epoch, or a
            callable without arguments that returns an iterable for each epoch. Then
            `batch_size` and `shuffle` have no effect. Unless they are in a list or tuple, a thread takes and
            copies the next batch while the present one trains, and a generator is closed at the end.
        y : array-like of shape (n, out_features), or (n,) for one output or class labels
            The targets; left out with batches.
        epochs : int, default 10
            How many times to go through the data.
        batch_size : int, default 32
            Samples a step; a last, smaller batch is used too.
        optimizer : Optimizer, optional
            By default ``SGD(0.01)``. Its state from an earlier training of this network goes on.
        validation_data : tuple (X, y) or (X, y, sample_weight), optional
            Data on which the loss, L2 term included, is computed after each epoch.
        sample_weight : array-like of shape (n,), optional
            Weights wᵢ ≥ 0 of the samples: a batch's loss is Σ wᵢ Lᵢ / Σ wᵢ. Not all are zero, and the largest
            lies between 1e-30 and 1e30. A batch whose weights are zero makes a step without a gradient.
        shuffle : bool, default True
            Whether each epoch takes the samples in a new random order. Of a memory map of more than 32 MiB,
            blocks of half a MiB are shuffled, then the rows of each 32 MiB of them.
        callbacks : iterable of Callback
            Code to run on the way; see `fusednet.callbacks`.
        metrics : dict of str to callable ``f(y_true, y_pred) -> float``, optional
            Computed after each epoch: with validation data, on them and under the name ``val_<name>``; else
            on the training data, which costs a prediction of it all. Batches need validation data for it. For
            a `y` of shape (n,) and one output, `y_pred` has the shape (n,) too.
        progress : bool, default True
            Whether a terminal or notebook shows a progress bar; elsewhere none is shown.
        resume : str or path-like, optional
            A file of `ModelCheckpoint` from which to continue, to the same bits as if that training had never
            stopped. Everything else is to be as it was there: network, optimizer, data, callbacks; `epochs`
            counts those already done. A learning rate that is a number is taken from the file. Batches that
            come from a callable continue with its next call.

        Returns
        -------
        History
            Also kept in `history`.

        Raises
        ------
        ValueError, TypeError
            If an argument is wrong, a callback's too, or the data have the wrong shape, dtype or values;
            parameters, optimizer, its state and history are then what they were before (in a later epoch, to
            which only batches can bring new data, they are as after an interruption). If `resume` names a
            file that is damaged, comes from another network, optimizer, number of samples or set of
            callbacks, or has no epoch left.
        OSError
            If the file that `resume` names cannot be read.
        DivergenceError
            If the loss becomes infinite or NaN; the parameters are then those of the last finite epoch, and
            the optimizer's state is dropped.
        RuntimeError
            If another thread is training the network, or a callback or loss function of a training of it
            calls `fit`; nothing is changed.
        KeyboardInterrupt
            On Ctrl-C; the parameters are then those of the last step, and a `ModelCheckpoint` has written the
            last complete epoch.
        """
        return _training.fit(
            self,
            X,
            y,
            epochs=epochs,
            batch_size=batch_size,
            optimizer=optimizer,
            validation_data=validation_data,
            sample_weight=sample_weight,
            shuffle=shuffle,
            callbacks=callbacks,
            metrics=metrics,
            progress=progress,
            resume=resume,
        )

    def predict(self, X: ArrayLike, out: NDArray[Any] | None = None, *, logits: bool = False) -> NDArray[Any]:
        """Return the network's outputs, without dropout.

        Parameters
        ----------
        X : array-like of shape (n, in_features) or (in_features,)
            Inputs; one dimension is one sample, the quickest way to predict one.
        out : ndarray of shape (n, out_features) or (out_features,), optional
            Where to write the answer, instead of into a new array. Of the network's dtype, aligned, of any
            strides that are multiples of the element size. Where it overlaps `X`, that is copied first. After
            an error its values are unspecified.
        logits : bool, default False
            Whether to leave out the activation of the last layer.

        Returns
        -------
        ndarray of shape (n, out_features), or (out_features,) for a 1-D `X`

        Raises
        ------
        ValueError, TypeError
            If `X` or `out` has the wrong shape or dtype, `out` is read-only, misaligned or has other strides,
            `X` is not finite, or `logits` is neither True nor False.
        """
        if type(X) is not ndarray or X.dtype is not self._dtype:
            X = as_array(X)
        if logits is not False:
            logits = flag("logits", logits)
        return self._core.predict(X, out, logits)

    def predict_classes(self, X: ArrayLike) -> NDArray[Any]:
        """Return class labels: the likeliest class of a softmax output, 0 or 1 for each sigmoid output.

        The logits decide, which is quicker, and tells apart what probabilities round to the same; of equal
        ones the first class.

        Parameters
        ----------
        X : array-like of shape (n, in_features) or (in_features,)
            Inputs.

        Returns
        -------
        ndarray of int, of shape (n,), or (n, out_features) for several sigmoid outputs
            Labels from 0; a sigmoid output above 0.5 is class 1. For a 1-D `X` without the first axis.

        Raises
        ------
        ValueError
            If the output is neither softmax nor sigmoid; and as `predict`.
        """
        if type(X) is not ndarray or X.dtype is not self._dtype:
            X = as_array(X)
        return self._core.predict_classes(X)

    def evaluate(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> dict[str, float]:
        """Return the loss on data, and how good the predictions are.

        Parameters
        ----------
        X, y, sample_weight : array-like
            As `fit` takes them.

        Returns
        -------
        dict
            "loss", L2 term included; and "accuracy", the share of right classes, where the loss is one of the
            cross-entropies (over all outputs, for several sigmoid ones), else "r2", the coefficient of
            determination 1 − Σ w (y − ŷ)² / Σ w (y − ȳ)² averaged over the outputs. As in scikit-learn r2 is
            1 for a constant y that is met exactly, else 0, and NaN for a single sample. The loss alone where
            a callable loss takes targets of another shape than the outputs.

        Raises
        ------
        ValueError, TypeError
            If the data have the wrong shape, dtype or values.
        """
        inputs = as_array(X)
        weights = as_weights(sample_weight, len(inputs))
        return _evaluation.evaluate(self, inputs, as_array(y, "y"), weights)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a safetensors file; `fusednet.load` reads it.

        The file holds parameters, architecture, loss, and the state of the random numbers, not the
        optimizer's state, the history, or attributes that you added. It is written under another name and
        renamed when complete, so that `path` never holds half a file. A callable loss is left out: give it to
        `load`.

        Parameters
        ----------
        path : str or path-like
            Where to; an existing file is replaced.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        from fusednet import serialization

        serialization.save(self, path)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the layers as columns of units: see `fusednet.plots.network`.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default in a new figure.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        from fusednet import plots

        return plots.network(self, ax)

    def summary(self) -> str:
        """Return a table of the layers: shapes, activations, numbers of parameters.

        Returns
        -------
        str
            One line a layer, for ``print``.
        """
        return _summary.summarize(self)

    def _repr_html_(self) -> str:
        return _summary.summarize_html(self)
