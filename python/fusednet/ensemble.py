"""Several networks that predict together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fusednet import _evaluation, _per_network, many
from fusednet._checks import flag
from fusednet._core import DivergenceError
from fusednet._data import as_array, as_weights
from fusednet._mapped import check_map
from fusednet._moments import Moments
from fusednet.history import History

if TYPE_CHECKING:
    import os
    from typing import Self

    from fusednet.callbacks import Callback
    from fusednet.losses import Loss
    from fusednet.network import Network
    from fusednet.optimizers import Optimizer

__all__ = ["Ensemble"]

_CHUNK = 4096  # rows predicted at a time, where they have to be copied
_PREFIX = "networks.{}."  # of the names of a network's tensors in a file
_TRAITS: dict[str, Callable[[Network], object]] = {  # what the networks of an ensemble share
    "number of inputs": lambda net: net.layers[0].in_features,
    "number of outputs": lambda net: net.layers[-1].out_features,
    "output activation": lambda net: net.layers[-1].activation,
    "loss": lambda net: net.loss,
}


class Ensemble:
    """Networks whose predictions are averaged: ŷ(x) = Σᵢ ŷᵢ(x) / m.

    Networks that differ by their initial weights alone make a deep ensemble [1]_; by the rows that they learn
    from, drawn with replacement, a bagged one [2]_. Where they disagree, less is known.

    Parameters
    ----------
    networks : sequence of Network
        At least one, each once; of the same numbers of inputs and outputs, output activation and loss. Each
        needs a seed of its own. They stay what they are, and can be used alone.

    Attributes
    ----------
    networks : tuple of Network
    noise : ndarray of shape (out_features,) or None
        The standard deviation of what `fit` found to be noise in each output; None where it has not looked.
        May be set: to one number for all outputs, or one for each.

    Raises
    ------
    ValueError, TypeError
        If there are none, one is there twice, or they do not go together.

    References
    ----------
    .. [1] B. Lakshminarayanan, A. Pritzel, C. Blundell, "Simple and scalable predictive uncertainty
       estimation using deep ensembles", NIPS 2017.
    .. [2] L. Breiman, "Bagging predictors", Machine Learning 24, 1996.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 8))
    >>> y = X.sum(axis=1) + rng.normal(size=500)
    >>> ensemble = fn.Ensemble([fn.Network([8, 16, 1], seed=seed) for seed in range(20)])
    >>> histories = ensemble.fit(X, y, bootstrap=True, epochs=20)
    >>> mean, std = ensemble.predict(X[:3], return_std=True)
    >>> mean.shape, std.shape
    ((3, 1), (3, 1))
    """

    def __init__(self, networks: Iterable[Network]) -> None:
        nets = _per_network.check_networks(networks)
        for index, net in enumerate(nets):
            for name, trait in _TRAITS.items():
                if trait(net) != trait(nets[0]):
                    raise ValueError(
                        f"the networks of an ensemble must have the same {name}, but networks[0] has "
                        f"{trait(nets[0])!r} and networks[{index}] {trait(net)!r}"
                    )
        self.networks = tuple(nets)
        self._noise: NDArray[np.float64] | None = None

    @property
    def noise(self) -> NDArray[np.float64] | None:
        """The standard deviation of the noise in each output; see above."""
        return self._noise

    @noise.setter
    def noise(self, values: ArrayLike | None) -> None:
        if values is None:
            self._noise = None
            return
        outputs = self.networks[0].layers[-1].out_features
        noise = np.asarray(values)
        fits = noise.dtype.kind in "iuf" and noise.shape in ((), (outputs,))
        if not fits or not np.isfinite(noise).all() or (noise < 0).any():
            raise ValueError(
                f"noise must be a number, or {outputs}, one for each output, finite and not negative; not "
                f"{values!r}"
            )
        self._noise = np.full(outputs, noise, np.float64)
        self._noise.setflags(write=False)

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        bootstrap: bool = False,
        epochs: int | Sequence[int] = 10,
        batch_size: int | Sequence[int] = 32,
        optimizer: Optimizer | Sequence[Optimizer] | None = None,
        validation_data: Sequence[Any] | None = None,
        callbacks: Iterable[Callback] | Sequence[Iterable[Callback]] = (),
        progress: bool = False,
    ) -> list[History]:
        """Train all networks side by side, with `fit_many`.

        Parameters
        ----------
        X, y : array-like
            Arrays, as `fit_many` takes them.
        bootstrap : bool, default False
            Whether each network learns from n rows of its own, drawn with replacement by its random numbers.
            For other losses than the cross-entropies this also finds `noise`: σ² is the mean over the rows of
            (y − ŷ)² − s², both from the networks that have not learnt from the row (out of bag) [1]_, s²
            being the variance of their predictions; 0 where that is negative.
        epochs, batch_size, optimizer, validation_data, callbacks, progress
            As `fit_many` takes them: one for all networks or one for each.

        Returns
        -------
        list of History

        Raises
        ------
        ValueError, TypeError
            As `fit_many`; and if two networks are twins, with the same parameters and random numbers to come.
        DivergenceError
            If a network diverged, at the end, naming all that did; the others are trained.

        References
        ----------
        .. [1] L. Breiman, "Out-of-bag estimation", technical report, University of California, Berkeley,
           1996.
        """
        self._check_twins()
        check_map(X)
        inputs, targets = as_array(X), as_array(y, "y")
        samples = len(inputs)
        rows = (
            [_bootstrap(net, samples) for net in self.networks]
            if flag("bootstrap", bootstrap) and samples
            else None
        )
        before = [net.history for net in self.networks]
        try:
            results = many.train_all(
                self.networks,
                inputs,
                targets,
                epochs,
                batch_size,
                optimizer,
                rows,
                validation_data,
                callbacks,
                progress,
            )
        finally:
            if any(net.history is not old for net, old in zip(self.networks, before, strict=True)):
                self.noise = None  # it was that of other parameters
        histories = [result for result in results if isinstance(result, History)]
        if len(histories) < len(results):
            diverged = [str(result) for result in results if isinstance(result, DivergenceError)]
            raise DivergenceError(
                f"{len(diverged)} of {len(results)} networks diverged: {'; '.join(diverged)}"
            )
        outputs = self.networks[0].layers[-1].out_features
        if (
            rows is not None
            and self._loss not in _evaluation.CLASSIFYING
            and targets.size == len(targets) * outputs
        ):
            self.noise = self._out_of_bag_noise(inputs, targets.reshape(len(targets), outputs), rows)
        return histories

    @overload
    def predict(self, X: ArrayLike, *, return_std: Literal[False] = False) -> NDArray[Any]: ...
    @overload
    def predict(self, X: ArrayLike, *, return_std: Literal[True]) -> tuple[NDArray[Any], NDArray[Any]]: ...
    def predict(
        self, X: ArrayLike, *, return_std: bool = False
    ) -> NDArray[Any] | tuple[NDArray[Any], NDArray[Any]]:
        """Return the mean of the networks' predictions; of class probabilities likewise.

        Parameters
        ----------
        X : array-like of shape (n, in_features) or (in_features,)
            Inputs; one dimension is one sample.
        return_std : bool, default False
            Whether to return the standard deviation of y at each input as well: √(s² + σ²), with the variance
            of the networks' predictions s² = Σᵢ (ŷᵢ − ŷ)² / m, and σ = `noise`. Without `noise` it is s
            alone, which says how far the mean is known, not how far y may lie from it.

        Returns
        -------
        mean : ndarray of shape (n, out_features), or (out_features,) for a 1-D `X`
        std : ndarray of the same shape
            Only if `return_std`.

        Raises
        ------
        ValueError, TypeError
            If `X` has the wrong shape or dtype, or is not finite.
        """
        data = as_array(X)
        first = self.networks[0].predict(data)
        moments = Moments(first.shape)
        moments.add(first)
        for net in self.networks[1:]:
            moments.add(net.predict(data))
        dtype = np.result_type(*(net.dtype for net in self.networks))
        mean = moments.mean.astype(dtype)
        if not flag("return_std", return_std):
            return mean
        noise = 0.0 if self.noise is None else self.noise
        return mean, np.sqrt(moments.variance() + np.square(noise)).astype(dtype)

    def predict_classes(self, X: ArrayLike) -> NDArray[Any]:
        """Return class labels by the mean probabilities: the likeliest, or 0 or 1 for each sigmoid output.

        `Network.predict_classes` goes by logits, and may tell apart what these round to the same.

        Parameters
        ----------
        X : array-like of shape (n, in_features) or (in_features,)
            Inputs.

        Returns
        -------
        ndarray of int, of shape (n,), or (n, out_features) for several sigmoid outputs

        Raises
        ------
        ValueError
            If the output is neither softmax nor sigmoid; and as `predict`.
        """
        return _evaluation.classes(self.predict(X), self.networks[0].layers[-1].activation)

    def evaluate(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> dict[str, float]:
        """Return the loss of the averaged prediction, and how good it is.

        Parameters
        ----------
        X, y, sample_weight : array-like
            As `Network.evaluate` takes them.

        Returns
        -------
        dict
            As from `Network.evaluate`: "loss", here without an L2 term; and "accuracy" or "r2".

        Raises
        ------
        ValueError, TypeError
            If the data have the wrong shape, dtype or values.
        """
        inputs, targets = as_array(X), as_array(y, "y")
        weights = as_weights(sample_weight, len(inputs))
        self.networks[0]._core.check_samples(inputs, targets)
        prediction = self.predict(inputs)
        loss = _evaluation.loss(self._loss, prediction, targets, weights)
        output = self.networks[0].layers[-1].activation
        return {"loss": loss, **_evaluation.scores(self._loss, output, prediction, targets, weights)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all networks and `noise` to one safetensors file; `Ensemble.load` reads it.

        Parameters
        ----------
        path : str or path-like
            Where to; an existing file is replaced, by a whole one.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        from fusednet import serialization

        configs, tensors = [], {}
        for index, net in enumerate(self.networks):
            config, values = serialization.contents(net)
            configs.append(config)
            tensors.update({f"{_PREFIX.format(index)}{name}": array for name, array in values.items()})
        if self.noise is not None:
            tensors["noise"] = self.noise
        serialization.write_file(path, {"networks": configs}, tensors)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, loss: Loss | None = None) -> Self:
        """Read an ensemble that `save` wrote.

        Parameters
        ----------
        path : str or path-like
            The file.
        loss : str, object of `fusednet.losses`, or callable, optional
            The loss to give all networks in place of the saved one; needed where that was a callable.

        Returns
        -------
        Ensemble

        Raises
        ------
        OSError
            If the file is missing or cannot be read.
        ValueError
            If it is not such a file, is truncated, corrupted or of a later version, or lacks a loss.
        """
        from fusednet import serialization

        config, tensors = serialization.read_file(path)
        with serialization.explained(path):
            if "networks" not in config:
                raise ValueError("it holds a network alone, which fn.load reads")
            networks = []
            for index, each in enumerate(config["networks"]):
                prefix = _PREFIX.format(index)
                own = {
                    name.removeprefix(prefix): array
                    for name, array in tensors.items()
                    if name.startswith(prefix)
                }
                networks.append(serialization.network(each, own, loss))
            ensemble = cls(networks)
            if "noise" in tensors:
                ensemble.noise = tensors["noise"]
        return ensemble

    def __repr__(self) -> str:
        return f"Ensemble of {len(self.networks)} networks, the first {self.networks[0]!r}"

    @property
    def _loss(self) -> Loss:
        return self.networks[0].loss

    def _check_twins(self) -> None:
        seen: dict[object, int] = {}
        for index, net in enumerate(self.networks):
            random = json.dumps(net._rng.bit_generator.state, sort_keys=True)
            first = seen.setdefault((repr(net), hash(net.parameters.tobytes()), random), index)
            if first != index:
                raise ValueError(
                    f"networks[{first}] and networks[{index}] are twins, with the same parameters and random "
                    "numbers: give each network of an ensemble a seed of its own"
                )

    def _out_of_bag_noise(
        self, X: NDArray[Any], y: NDArray[Any], rows: Sequence[NDArray[np.int64]]
    ) -> NDArray[np.float64] | None:
        moments = Moments(y.shape)
        for net, bag in zip(self.networks, rows, strict=True):
            outside = np.ones(len(X), dtype=bool)
            outside[bag] = False
            numbers = np.flatnonzero(outside)
            for first in range(0, len(numbers), _CHUNK):
                chunk = numbers[first : first + _CHUNK]
                moments.add(net.predict(X[chunk]), chunk)
        seen = moments.count[:, 0] > 0
        if not seen.any():
            return None
        excess = np.square(y - moments.mean) - moments.variance()
        return np.asarray(np.sqrt(np.maximum(excess[seen].mean(axis=0), 0.0)))


def _bootstrap(net: Network, samples: int) -> NDArray[np.int64]:
    """Draw rows by a stream of random numbers that leaves the network's own where it is."""
    stream = np.random.Generator(net._rng.bit_generator.jumped())  # type: ignore[attr-defined]
    return stream.integers(samples, size=samples)
