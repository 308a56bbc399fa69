"""Networks in files: safetensors with the configuration in its metadata.

The tensors are ``layers.<i>.weights`` and ``layers.<i>.bias``, and ``input.mean`` and ``input.deviation``
where inputs are standardized. The metadata holds three strings: "fusednet", the version of this format;
"config", JSON; "sha256", a checksum of the configuration and the tensors, their dtypes and shapes included.
A checkpoint has more of both, under "training"; readers pass over what they do not know.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as parse_tensors
from safetensors.numpy import save as format_tensors

from fusednet import losses
from fusednet.history import History
from fusednet.layers import Dense, made
from fusednet.network import Network

if TYPE_CHECKING:
    from fusednet.losses import Loss

__all__ = ["load", "save"]

_VERSION = "2"
_SERIES = ("loss", "val_loss", "learning_rate")  # of a history, beside the metrics


def save(net: Network, path: str | os.PathLike[str]) -> None:
    """Write a network to a file: see `Network.save`."""
    write_file(path, *contents(net))


def load(path: str | os.PathLike[str], *, loss: Loss | None = None) -> Network:
    """Read a network that `Network.save` or `ModelCheckpoint` wrote.

    It predicts what the saved one did and trains on as that would have, with a new optimizer. Out of a
    checkpoint it has its history, too.

    Parameters
    ----------
    path : str or path-like
        The file.
    loss : str, object of `fusednet.losses`, or callable, optional
        The loss to give the network in place of the saved one; needed where that was a callable.

    Returns
    -------
    Network

    Raises
    ------
    OSError
        If the file is missing or cannot be read.
    ValueError
        If it is not such a file, is truncated, corrupted or of a later version, or lacks a loss.
    """
    config, tensors = read_file(path)
    with explained(path):
        if "networks" in config:
            raise ValueError("it holds an ensemble, which fn.Ensemble.load reads")
        return network(config, tensors, loss)


def contents(net: Network) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return what a file holds of a network: the configuration and the tensors.

    These are copies: another thread may train the network before the last of them is written.
    """
    tensors = {}
    for index, layer in enumerate(net.layers):
        tensors[f"layers.{index}.weights"] = layer.weights.copy()
        if layer.bias is not None:
            tensors[f"layers.{index}.bias"] = layer.bias.copy()
    if net._standardization is not None:
        tensors["input.mean"], tensors["input.deviation"] = net._standardization
    return _config(net), tensors


def write_file(
    path: str | os.PathLike[str], config: dict[str, Any], tensors: dict[str, NDArray[Any]]
) -> None:
    """Write a file, whole or not at all."""
    text = json.dumps(config)
    metadata = {"fusednet": _VERSION, "config": text, "sha256": _checksum(text, tensors)}
    write_bytes(os.path.realpath(path), format_tensors(tensors, metadata))


def read_file(path: str | os.PathLike[str]) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Return the configuration and the tensors in a file, as `load` raises errors."""
    name = os.fspath(path)  # refuses numbers, which open() would take for files that are open, and close
    with open(name, "rb") as file:
        content = file.read()
    try:
        # Past the length of its header a safetensors file is JSON, then the numbers.
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = header["__metadata__"]
        version, config, checksum = metadata["fusednet"], metadata["config"], metadata["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{name} is not a file that fusednet saved, or its beginning is damaged") from error
    if version != _VERSION:
        raise ValueError(f"{name} has the format version {version}; this fusednet reads version {_VERSION}")
    try:
        tensors = parse_tensors(content)
    except Exception as error:  # the parser has an exception of its own, but bytes can break it in other ways
        raise ValueError(f"{name} is truncated or damaged: {error}") from error
    if checksum != _checksum(config, tensors):
        raise ValueError(f"{name} is damaged: its contents do not match their checksum")
    with explained(path):
        return json.loads(config), tensors


@contextmanager
def explained(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what a wrong configuration leads to into a ValueError that names the file."""
    name = os.fspath(path)
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    except (LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{name} has a configuration that makes no network: {error!r}") from error


def _config(net: Network) -> dict[str, Any]:
    name, parameter = losses.resolve(net.loss)
    return {
        "layers": [{"activation": layer.activation, "trainable": layer.trainable} for layer in net.layers],
        "loss": None if callable(name) else name,
        "loss_parameter": parameter,
        "l2": net.l2,
        "dropout": net.dropout,
        "dropout_seed": net._core.seed,
        "dropout_step": net._core.dropout_step,
        "rng": net._rng.bit_generator.state,
    }


def _saved_loss(name: str | None, parameter: float) -> Loss:
    if name is None:
        raise ValueError(
            "the saved loss was a callable, which a file cannot hold; give it: load(path, loss=...)"
        )
    if name == "huber":
        return losses.Huber(parameter)
    if name == "quantile":
        return losses.Quantile(parameter)
    return name


def network(config: dict[str, Any], tensors: dict[str, NDArray[Any]], loss: Loss | None) -> Network:
    """Return the network that a file holds, with the saved loss where None is given."""
    if loss is None:
        loss = _saved_loss(config["loss"], config["loss_parameter"])
    layers = []
    for index, layer in enumerate(config["layers"]):
        values = {"weights": tensors[f"layers.{index}.weights"], "bias": tensors.get(f"layers.{index}.bias")}
        layers.append(made(Dense, {**values, **layer}))
    rng = np.random.Generator(np.random.PCG64())
    rng.bit_generator.state = config["rng"]
    state = {name: config[name] for name in ("l2", "dropout", "dropout_seed", "dropout_step")}
    if "input.mean" in tensors:
        state["standardization"] = tensors["input.mean"], tensors["input.deviation"]
    if "training" in config:
        state["history"] = _history(config["training"]["metrics"], tensors)
    net = Network.__new__(Network)
    net._assemble(layers, loss=loss, rng=rng, **state)
    return net


def history_tensors(history: History) -> dict[str, NDArray[Any]]:
    """Return a history as the tensors of a checkpoint."""
    series = {name: getattr(history, name) for name in _SERIES}
    series.update({f"metrics.{name}": values for name, values in history.metrics.items()})
    return {f"training.history.{name}": np.array(values, np.float64) for name, values in series.items()}


def _history(metrics: list[str], tensors: dict[str, NDArray[Any]]) -> History:
    def values(name: str) -> list[float]:
        return [float(value) for value in tensors[f"training.history.{name}"]]

    return History(
        **{name: values(name) for name in _SERIES},
        metrics={name: values(f"metrics.{name}") for name in metrics},
    )


def _checksum(config: str, tensors: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(config.encode())
    for name in sorted(tensors):
        values = tensors[name]
        digest.update(f"{name}: {values.dtype} {values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def write_bytes(path: str, content: bytes) -> None:
    """Write a file under another name in the same folder, then rename it; write to a pipe or a device."""
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        with open(path, "wb") as stream:  # which a file would take the place of
            stream.write(content)
        return
    temporary = os.path.join(os.path.dirname(path), f".{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            if os.name != "nt":  # where it says no more than that a file is not to be replaced
                with suppress(FileNotFoundError):  # nothing to replace
                    shutil.copymode(path, temporary)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        if os.path.exists(temporary):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.errno is not None:  # about the file that was asked for
            raise OSError(error.errno, error.strerror, path) from None
        raise
