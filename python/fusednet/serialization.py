"""Networks in files: safetensors with the configuration in its metadata.

The tensors are ``layers.<i>.weights`` and ``layers.<i>.bias``, and ``input.mean`` and ``input.deviation``
where inputs are standardized. The metadata holds three strings: "fusednet", the version of this format;
"config", JSON; "sha256", a checksum of the configuration and the tensors.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as parse_tensors
from safetensors.numpy import save as format_tensors

from fusednet import losses
from fusednet.layers import Dense
from fusednet.network import Network

if TYPE_CHECKING:
    from fusednet.losses import Loss

__all__ = ["load", "save"]

_VERSION = "1"


def save(net: Network, path: str | os.PathLike[str]) -> None:
    """Write a network to a file: see `Network.save`."""
    tensors = {}
    for index, layer in enumerate(net.layers):
        tensors[f"layers.{index}.weights"] = layer.weights
        if layer.bias is not None:
            tensors[f"layers.{index}.bias"] = layer.bias
    if net._standardization is not None:
        tensors["input.mean"], tensors["input.deviation"] = net._standardization
    config = json.dumps(_config(net))
    metadata = {"fusednet": _VERSION, "config": config, "sha256": _checksum(config, tensors)}
    write_bytes(os.path.realpath(path), format_tensors(tensors, metadata))


def load(path: str | os.PathLike[str], *, loss: Loss | None = None) -> Network:
    """Read a network that `Network.save` wrote.

    It predicts what the saved one did and trains on as that would have, with a new optimizer.

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
    with open(path, "rb") as file:
        content = file.read()
    name = os.fspath(path)
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
    try:
        settings = json.loads(config)
        if loss is None:
            loss = _saved_loss(settings["loss"], settings["loss_parameter"])
        return _network(settings, tensors, loss)
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
        "dropout_seed": net._dropout_seed,
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


def _network(settings: dict[str, Any], tensors: dict[str, NDArray[Any]], loss: Loss) -> Network:
    layers = []
    for index, layer in enumerate(settings["layers"]):
        values = {"weights": tensors[f"layers.{index}.weights"], "bias": tensors.get(f"layers.{index}.bias")}
        layers.append(Dense.__new__(Dense))
        layers[-1].__setstate__({**values, **layer})
    rng = np.random.Generator(np.random.PCG64())
    rng.bit_generator.state = settings["rng"]
    names = ("l2", "dropout", "dropout_seed", "dropout_step")
    state = {"layers": layers, "loss": loss, "rng": rng, **{name: settings[name] for name in names}}
    if "input.mean" in tensors:
        state["standardization"] = tensors["input.mean"], tensors["input.deviation"]
    net = Network.__new__(Network)
    net.__setstate__(state)
    return net


def _checksum(config: str, tensors: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(config.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()


def write_bytes(path: str, content: bytes) -> None:
    """Write a file under another name in the same folder, then rename it."""
    temporary = f"{path}.{secrets.token_hex(4)}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
