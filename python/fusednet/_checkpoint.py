"""What a checkpoint holds beside the network, and how a training continues from it."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fusednet import _training, serialization
from fusednet._checks import integer

if TYPE_CHECKING:
    from typing import Self

    from fusednet._training import Run

_OPTIMIZER, _CALLBACK = "training.optimizer.", "training.callbacks.{}."


@dataclasses.dataclass
class Snapshot:
    """A training between two epochs, ready to be written."""

    config: dict[str, Any]
    tensors: dict[str, NDArray[Any]]

    @classmethod
    def of(cls, run: Run) -> Self:
        """Copy everything that the next epoch depends on."""
        config, tensors = serialization.contents(run.net)
        tensors.update(serialization.history_tensors(run.net.history))
        state = run.net._core.get_optimizer_state(run.optimizer._core)
        if state is not None:
            tensors[f"{_OPTIMIZER}first"], tensors[f"{_OPTIMIZER}second"] = state["first"], state["second"]
        callbacks = []
        for index, (name, values) in enumerate(run.hooks.states()):
            callbacks.append(_split(name, values, index, tensors))
        config["training"] = {
            "epochs": run.epochs_done,
            "settings": _settings(run),
            "learning_rate": run.optimizer.learning_rate,
            "step": None if state is None else state["step"],
            "metrics": list(run.net.history.metrics),
            "callbacks": callbacks,
        }
        return cls(config, tensors)

    def write(self, path: str) -> None:
        """Write a file, whole or not at all."""
        serialization.write_file(path, self.config, self.tensors)


def restore(path: str | os.PathLike[str], run: Run, epochs: int) -> list[dict[str, Any]]:
    """Bring a training to where a checkpoint left it; nothing is changed where the file does not fit.

    Returns the states of the callbacks, for after their `on_train_begin`.
    """
    config, tensors = serialization.read_file(path)
    with serialization.explained(path):
        if "training" not in config:
            raise ValueError("it holds no training; resume needs a file that ModelCheckpoint wrote")
        training = config["training"]
        _compare(training["settings"], _settings(run))
        saved = serialization.network(config, tensors, run.net.loss)
        states = [state | _arrays(index, tensors) for index, state in enumerate(training["callbacks"])]
        done = training["epochs"]
        if not done == saved.history.epochs > 0:
            raise ValueError(f"it counts {done} epochs, and its history {saved.history.epochs}")
        if done >= epochs:
            raise ValueError(
                f"its training has done {done} epochs, which count too: epochs={epochs} leaves none to do"
            )
        state: Any = None
        if training["step"] is not None:
            first, second = tensors[f"{_OPTIMIZER}first"], tensors[f"{_OPTIMIZER}second"]
            step = integer("its training's step", training["step"], minimum=0)
            state = {"step": step, "first": first, "second": second}
        run.net._core.set_optimizer_state(run.optimizer._core, state)
        if run.optimizer.schedule is None:
            run.optimizer.learning_rate = training["learning_rate"]
    net = run.net
    net.parameters = saved.parameters
    net._rng.bit_generator.state = saved._rng.bit_generator.state
    net._core.seed, net._core.dropout_step = saved._core.seed, saved._core.dropout_step
    net._set_standardization(saved._standardization)
    net.history = saved.history
    run.epochs_done = done
    return states


def _split(name: str, values: dict[str, Any], index: int, tensors: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Return what JSON can hold of a callback's state; put the arrays among the tensors."""
    plain = {}
    for key, value in values.items():
        if isinstance(value, np.ndarray):
            masked = isinstance(value, np.ma.MaskedArray)
            if masked or value.dtype.kind not in "biuf" or value.dtype.itemsize > 8:
                what = "a masked array" if masked else f"an array of {value.dtype}"
                raise TypeError(
                    f"{name}.state_dict()[{key!r}] is {what}; a file takes arrays of booleans, integers and "
                    "floats of up to 64 bits"
                )
            native = value.dtype.newbyteorder("=")  # as the file will be read
            tensors[f"{_CALLBACK.format(index)}{key}"] = np.array(value, native, order="C")
        else:
            plain[key] = _plain(f"{name}.state_dict()[{key!r}]", value)
    return plain


def _plain(where: str, value: Any) -> Any:
    """Copy a value that JSON gives back as it was."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [_plain(where, each) for each in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(where, each) for key, each in value.items()}
    raise TypeError(
        f"{where} holds {value!r}; a file takes arrays, numbers, strings, None, lists and dicts of these"
    )


def _arrays(index: int, tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    prefix = _CALLBACK.format(index)
    return {name.removeprefix(prefix): values for name, values in tensors.items() if name.startswith(prefix)}


def _settings(run: Run) -> dict[str, Any]:
    """Return what a training has to share with the one that it continues, by name."""
    settings = _training.settings(run.net, run.optimizer)
    if run.optimizer.schedule is None:  # callbacks may have changed it
        settings["optimizer's learning_rate"] = "a number"
    return {
        **settings,
        **run.source.settings,
        "validation_data": run.scores.has_validation,
        "metrics": run.scores.names,
        "callbacks with a state": [name for name, _ in run.hooks.states()],
    }


def _compare(saved: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise ValueError that names the first difference."""
    for name in {**saved, **now}:
        if saved.get(name) != now.get(name):
            raise ValueError(
                f"resume needs a training like the one saved; there {name} was {saved.get(name)!r}, "
                f"here it is {now.get(name)!r}"
            )
