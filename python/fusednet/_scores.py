"""What is computed after each epoch: the validation loss and the metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from numpy.typing import NDArray

from fusednet._data import as_array, as_weights, check_tuple
from fusednet._sources import Batches, Source

if TYPE_CHECKING:
    from fusednet.network import Network

Metrics: TypeAlias = Mapping[str, Callable[[NDArray[Any], NDArray[Any]], float]]


class Scores:
    """The validation data and the metrics of a training, checked."""

    def __init__(
        self, source: Source, validation_data: Sequence[Any] | None, metrics: Metrics | None
    ) -> None:
        metrics = {} if metrics is None else metrics
        self._validation: tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None] | None = None
        prefix = ""
        if validation_data is not None:
            check_tuple("validation_data", validation_data)
            X, y = as_array(validation_data[0], "validation X"), as_array(validation_data[1], "validation y")
            weights = validation_data[2] if len(validation_data) == 3 else None
            self._validation = X, y, self._weights(weights, len(X), "validation sample_weight")
            self._scored, prefix = (X, y), "val_"
        elif not isinstance(source, Batches):
            self._scored = source.X, source.y
        elif metrics:
            raise ValueError("metrics on an iterable of batches need validation_data")
        if not isinstance(metrics, Mapping):
            raise TypeError(f'metrics must be a dict such as {{"name": f}}, not {metrics!r}')
        self._metrics = {f"{prefix}{name}": function for name, function in metrics.items()}
        for name, function in self._metrics.items():
            if name in ("epoch", "loss", "val_loss", "learning_rate"):
                raise ValueError(f"a metric cannot have the name {name!r}, which fit uses itself")
            if not callable(function):
                raise TypeError(f"the metric {name!r} must be a callable f(y_true, y_pred), not {function!r}")

    _weights = staticmethod(as_weights)

    @property
    def names(self) -> list[str]:
        """The metrics' names, as the history has them."""
        return list(self._metrics)

    @property
    def has_validation(self) -> bool:
        """Whether there is a validation loss."""
        return self._validation is not None

    def check(self, net: Network) -> None:
        """Raise where shapes or dtypes of the validation data do not suit the network."""
        if self._validation is not None:
            with about_validation_data():
                net._core.check_samples(*self._validation[:2])

    def compute(self, net: Network) -> dict[str, float]:
        """Return the values for the network as it is."""
        values: dict[str, float] = {}
        prediction = None
        if self._validation is not None:
            with about_validation_data():
                if self._metrics:
                    values["val_loss"], prediction = net._core.loss_and_prediction(*self._validation)
                else:
                    values["val_loss"] = net._core.loss(*self._validation)
        if self._metrics:
            X, y = self._scored
            if prediction is None:
                prediction = net._core.predict(X)
            values.update(score(self._metrics, y, prediction))
        return values


def score(metrics: Metrics, y: NDArray[Any], prediction: NDArray[Any]) -> dict[str, float]:
    """Return the values of the metrics."""
    if y.ndim == 1 and prediction.shape == (len(y), 1):
        prediction = prediction[:, 0]  # (n,) − (n, 1) would broadcast to (n, n)
    values = {}
    for name, metric in metrics.items():
        value = metric(y, prediction)
        try:
            values[name] = float(value)
        except (TypeError, ValueError):
            raise TypeError(f"metric {name!r} must return a number, not {value!r}") from None
    return values


@contextmanager
def about_validation_data() -> Iterator[None]:
    """Note on errors what they are about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        error.add_note("This is about validation_data.")
        raise
