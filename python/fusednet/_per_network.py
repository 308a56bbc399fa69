"""Arguments that are one for all of many networks, or one for each."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fusednet._data import as_array
from fusednet.callbacks import CSVLogger, ModelCheckpoint
from fusednet.network import Network
from fusednet.optimizers import SGD, Optimizer


def check_networks(networks: Any) -> list[Network]:
    """Return the networks as a list: at least one, each once."""
    if isinstance(networks, Network) or not isinstance(networks, Iterable):
        raise TypeError(f"networks must be a list of networks, not {networks!r}")
    nets: list[Network] = list(networks)
    places: dict[int, int] = {}
    for index, net in enumerate(nets):
        if not isinstance(net, Network):
            raise TypeError(f"networks must be a list of networks, but networks[{index}] is {net!r}")
        first = places.setdefault(id(net), index)
        if first != index:
            raise ValueError(f"networks[{first}] and networks[{index}] are the same one; make a copy()")
    if not nets:
        raise ValueError("networks must hold at least one network, not none")
    return nets


def one_each(name: str, value: Any, count: int) -> list[Any]:
    """Return a list with one value for each network."""
    if not isinstance(value, (list, tuple, range)) and not (isinstance(value, np.ndarray) and value.ndim > 0):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{name} must be one for all or one for each of {count} networks, not {len(value)}")
    return list(value)


def optimizers(optimizer: Any, count: int) -> list[Optimizer]:
    """Return an optimizer for each network, with a learning rate of its own."""
    each = one_each("optimizer", SGD(0.01) if optimizer is None else optimizer, count)
    for one in each:
        if not isinstance(one, Optimizer):
            raise TypeError(f"optimizer must be an optimizer such as fn.SGD(0.01), not {one!r}")
    uses = Counter(map(id, each))
    return [one if uses[id(one)] == 1 else one._twin() for one in each]


def callbacks(callbacks: Iterable[Any], count: int) -> list[list[Any]]:
    """Return the callbacks of each network, which no other network has."""
    if not isinstance(callbacks, Iterable):
        raise TypeError(
            f"callbacks must be a list of callbacks, or a list for each network, not {callbacks!r}"
        )
    sets: list[Any] = list(callbacks)
    if any(isinstance(each, (list, tuple)) for each in sets):
        for each in sets:
            if not isinstance(each, (list, tuple)):
                raise TypeError(f"callbacks must be one list, or a list for each network: {each!r} is none")
        sets = [list(each) for each in one_each("callbacks", sets, count)]
    else:
        sets = [sets] * count
    uses = Counter(key for each in sets for key in {id(callback) for callback in each})
    for callback in {id(callback): callback for each in sets for callback in each}.values():
        if uses[id(callback)] > 1 and isinstance(callback, (CSVLogger, ModelCheckpoint)):
            raise ValueError(
                f"a {type(callback).__name__} writes to a path of its own: give each network another"
            )
    copies = []
    for each in sets:
        memo: dict[int, Any] = {}  # callbacks that know each other still do
        copies.append([one if uses[id(one)] == 1 else _copied(one, memo) for one in each])
    return copies


def _copied(callback: Any, memo: dict[int, Any]) -> Any:
    try:
        return copy.deepcopy(callback, memo)
    except Exception as error:
        raise TypeError(
            f"{callback!r} cannot be copied for each network ({error}): give each network a list of its own"
        ) from error


def selections(rows: Any, count: int, samples: int) -> list[NDArray[np.int64] | None]:
    """Return for each network the numbers of its rows out of `samples`; None for all rows."""
    if rows is None:
        return [None] * count
    if not hasattr(rows, "__len__"):
        raise TypeError(f"rows must be a list of row numbers for each network, not {rows!r}")
    if len(rows) != count:
        raise ValueError(f"rows must hold row numbers for each of {count} networks, not {len(rows)} entries")
    return [None if each is None else _selection(f"rows[{i}]", each, samples) for i, each in enumerate(rows)]


def _selection(name: str, rows: ArrayLike, samples: int) -> NDArray[np.int64]:
    """Do what NumPy's indexing does, as numbers from 0."""
    wanted = np.asarray(rows)
    if wanted.ndim != 1 or (wanted.size and wanted.dtype.kind not in "biu"):
        raise TypeError(
            f"{name} must be a one-dimensional array of row numbers, or a mask, not one of shape "
            f"{wanted.shape} and dtype {wanted.dtype}"
        )
    if wanted.dtype.kind == "b":
        if len(wanted) != samples:
            raise ValueError(f"{name} must have one entry for each of {samples} rows, not {len(wanted)}")
        wanted = np.flatnonzero(wanted)
    if not wanted.size:
        raise ValueError(f"{name} must select at least one row, not none")
    low, high = wanted.min(), wanted.max()
    if low < -samples or high >= samples:
        raise ValueError(f"{name} must hold row numbers below {samples}, not {low} to {high}")
    numbers = wanted.astype(np.int64)
    return np.where(numbers < 0, numbers + samples, numbers) if low < 0 else numbers


def validations(data: Any, count: int) -> list[Any]:
    """Return the validation data for each network."""
    if isinstance(data, list) and all(each is None or isinstance(each, tuple) for each in data):
        return [_arrays(each) for each in one_each("validation_data", data, count)]
    return [_arrays(data)] * count


def _arrays(data: Any) -> Any:
    """Make arrays of validation data, once for all networks; what is not such data is left for `Scores`."""
    if not isinstance(data, (tuple, list)) or len(data) < 2:
        return data
    return as_array(data[0], "validation X"), as_array(data[1], "validation y"), *data[2:]
