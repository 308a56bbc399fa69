"""Networks from and to PyTorch's ``nn.Sequential``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fusednet._optional import require
from fusednet.convert.chain import Chain, folded_layers

if TYPE_CHECKING:
    from fusednet.losses import Loss
    from fusednet.network import Network

__all__ = ["Exp", "read", "write"]

torch = require("torch", "PyTorch", "torch")
nn: Any = torch.nn
# By these hooks PyTorch computes a weight from other parameters, before each forward.
_WEIGHT_HOOKS = (
    require("torch.nn.utils.weight_norm", "PyTorch", "torch").WeightNorm,
    require("torch.nn.utils.prune", "PyTorch", "torch").BasePruningMethod,
)


if TYPE_CHECKING:
    Tensor: TypeAlias = Any
else:
    Tensor = torch.Tensor  # TorchScript goes by the annotations


class Exp(nn.Module):  # type: ignore[misc]  # PyTorch is untyped here: it is optional
    """eˣ as a module, which PyTorch does not have."""

    def forward(self, z: Tensor) -> Tensor:
        """Return eˣ of a tensor."""
        return torch.exp(z)


_ACTIVATIONS: dict[str, Callable[[], Any]] = {
    "identity": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": lambda: nn.Softplus(threshold=40.0),  # its own, 20, would be felt in float64
    "exp": Exp,
    "softmax": lambda: nn.Softmax(dim=-1),
}


def read(module: Any, loss: Loss | None, seed: int | None) -> Network:
    """Make a network of a model: see `fusednet.from_torch`."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module, not {type(module).__name__}")
    with _evaluating(module):
        return _chain(module).network(loss, seed)


@contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    """Let parametrizations compute as in ``eval()``, and leave each module in the mode it is in."""
    in_training = [part for part in module.modules() if part.training]
    for part in in_training:
        part.training = False
    try:
        yield
    finally:
        for part in in_training:
            part.training = True


def _chain(module: Any) -> Chain:
    chain = Chain()
    seen: set[Any] = set()
    for where, part in _parts(module):
        if _is(part, nn.Linear):
            if not seen.isdisjoint(part.parameters()):
                raise ValueError(f"{where} shares parameters with a layer before it, which is not supported")
            seen.update(part.parameters())
            parameters = [part.weight] if part.bias is None else [part.weight, part.bias]
            weights, *bias = [_array(where, p) for p in parameters]
            trainable = any(p.requires_grad for p in part.parameters())
            chain.dense(where, np.ascontiguousarray(weights.T), bias[0] if bias else None, trainable)
        elif _is(part, nn.Dropout):
            chain.drop(where, part.p)
        elif _is(part, nn.Flatten):
            if (part.start_dim, part.end_dim) != (1, -1):
                raise ValueError(f"{where} is not supported; fusednet reads nn.Flatten()")
        else:
            chain.activate(where, _activation(where, part))
    return chain


def _parts(module: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Run through the modules that are no ``Sequential``, with what errors call them."""
    where = f"{f'layer {name}, ' if name else ''}{type(module).__name__}({module.extra_repr()})"
    if hasattr(module, "_orig_mod"):  # what torch.compile returns
        _check_hooks(where, module)
        yield from _parts(module._orig_mod, name)
        return
    _check(where, module)
    if not _is(module, nn.Sequential):
        yield where, module
        return
    for index, child in enumerate(module):
        yield from _parts(child, f"{name}.{index}" if name else str(index))


def _check(where: str, module: Any) -> None:
    """Refuse a module without weights, and one that computes something else than its class."""
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in module.parameters(recurse=False)):
        raise ValueError(f"{where} has no weights yet; call the module once")
    if "forward" in vars(module):
        raise ValueError(f"{where} has a forward of its own, which is not supported")
    if type(module).__call__ is not nn.Module.__call__:
        raise ValueError(f"{where} has a __call__ of its own, which is not supported")
    _check_hooks(where, module)


def _check_hooks(where: str, module: Any) -> None:
    for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values()):
        if not isinstance(hook, _WEIGHT_HOOKS):
            raise ValueError(f"{where} has the forward hook {hook!r}, which is not supported")
        hook(module, ())  # as before each forward: the weight may be older than what it is made of


def _is(module: Any, kind: Any) -> bool:
    """Whether a module computes what PyTorch's class does; a subclass with its own ``forward`` may not."""
    return isinstance(module, kind) and type(module).forward is kind.forward


def _array(where: str, parameter: Any) -> Any:
    if parameter.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"{where} is of {parameter.dtype}; fusednet has float32 and float64: module.float() converts"
        )
    if parameter.is_meta:
        raise ValueError(f"{where} is on PyTorch's meta device, which keeps no numbers")
    return parameter.detach().cpu().numpy().copy()


def _activation(where: str, module: Any) -> str:
    for name, make in _ACTIVATIONS.items():
        ours = make()
        if not _is(module, type(ours)):
            continue
        if all(
            _agrees(attribute, getattr(module, attribute), value) for attribute, value in vars(ours).items()
        ):
            return name
        raise ValueError(f"{where} is not supported; fusednet's {name} is {ours}")
    raise ValueError(
        f"{where} is not supported; fusednet reads nn.Sequential, also nested, of nn.Linear, nn.Dropout, "
        f"nn.Flatten and the activations {', '.join(_ACTIVATIONS)}. What a module's own forward computes, "
        "torch.onnx.export may write for fn.from_onnx"
    )


def _agrees(attribute: str, value: Any, ours: Any) -> bool:
    if attribute == "dim":
        return value in (-1, 1, None)  # all are the last of (n, k)
    if attribute == "threshold":
        return bool(value >= 20)  # from there on Softplus is the identity to 2e-9
    return attribute.startswith("_") or attribute in ("inplace", "training") or bool(value == ours)


def write(net: Network) -> Any:
    """Return a network as an ``nn.Sequential``: see `Network.to_torch`."""
    modules = []
    for layer in folded_layers(net):
        dtype = torch.from_numpy(layer.weights).dtype
        linear = nn.utils.skip_init(  # leaves PyTorch's random numbers alone
            nn.Linear, *layer.weights.shape, bias=layer.bias is not None, dtype=dtype
        )
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(layer.weights.T.copy()))
            if layer.bias is not None:
                linear.bias.copy_(torch.from_numpy(layer.bias.copy()))
        modules.append(linear.requires_grad_(layer.trainable))
        if layer.activation != "identity":
            modules.append(_ACTIVATIONS[layer.activation]())
        if layer.dropout:
            modules.append(nn.Dropout(layer.dropout))
    return nn.Sequential(*modules).eval()
