"""The compiled core. Arrays come in as NumPy arrays of any real dtype and strides; the package above turns
other array-likes into arrays first. Shapes, dtypes, finiteness and label ranges are checked here."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

_Array: TypeAlias = NDArray[Any]
_LossFunction: TypeAlias = Callable[[_Array, _Array], tuple[float, _Array]]

class DivergenceError(ArithmeticError): ...

class BuildInfo(TypedDict):
    version: str
    compiler: str
    kernel_sets: list[str]
    available_kernel_sets: list[str]
    active_kernel_set: str

class Optimizer:
    """The hyperparameters of one optimizer. Its state (velocity, moments, steps) is kept by each network."""

    def __init__(
        self,
        rule: str,  # "sgd", "momentum", "nesterov", "adam", "adamw", "rmsprop", "inner_momentum", …
        *,
        learning_rate: float,
        beta1: float = 0.0,  # momentum, or Adam's β₁
        beta2: float = 0.0,  # Adam's β₂, or RMSprop's ρ
        epsilon: float = 0.0,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
    ) -> None: ...
    def twin(self) -> Optimizer:
        """One with a learning rate of its own that networks take for this one."""
    @property
    def rule(self) -> str: ...
    @property
    def learning_rate(self) -> float: ...
    @learning_rate.setter
    def learning_rate(self, value: float, /) -> None: ...

class OptimizerState(TypedDict):
    step: int
    first: _Array  # velocity or first moment; empty where the rule has none
    second: _Array  # second moment; empty where the rule has none

class Network:
    """A dense network over one flat parameter buffer and one flat gradient buffer: weights, then bias, …"""

    def __init__(
        self,
        widths: Sequence[int],
        activations: Sequence[str],  # one a layer, the output's last
        bias: Sequence[bool],  # one a layer
        dropout: Sequence[float],  # one a hidden layer
        *,
        loss: str | _LossFunction,
        loss_parameter: float = 1.0,
        l2: float = 0.0,
        dtype: str = "float32",
        seed: int = 0,  # of dropout's generator
        scikit_learn: bool = False,  # its conventions in training: see csrc/core/network.h
    ) -> None: ...
    @property
    def parameters(self) -> _Array: ...
    @property
    def gradient(self) -> _Array: ...
    def copy_parameters(self, out: _Array) -> bool:
        """Copy them into an array like `parameters`; return whether all are finite."""
    def weights(self, layer: int) -> _Array: ...
    def bias(self, layer: int) -> _Array | None: ...
    def weights_gradient(self, layer: int) -> _Array: ...
    def bias_gradient(self, layer: int) -> _Array | None: ...
    def layer(self, index: int) -> Network:
        """A one-layer network on the same buffers (its loss is mse, its workspace its own)."""
    def get_trainable(self, layer: int) -> bool: ...
    def set_trainable(self, layer: int, trainable: bool) -> None: ...
    @property
    def l2(self) -> float: ...
    @l2.setter
    def l2(self, value: float, /) -> None: ...
    @property
    def seed(self) -> int: ...  # of dropout's generator
    @seed.setter
    def seed(self, value: int, /) -> None: ...
    @property
    def dropout_step(self) -> int: ...
    @dropout_step.setter
    def dropout_step(self, value: int, /) -> None: ...
    def standardize(self, mean: _Array | None, inverse_deviation: _Array | None) -> None:
        """Read inputs as (x − mean)·inverse_deviation from then on; by None as they are."""
    def forward(self, X: _Array, training: bool = True) -> _Array: ...
    def backward(self, gradient: _Array) -> _Array: ...
    def predict(self, X: _Array, out: _Array | None = None, logits: bool = False) -> _Array: ...
    def predict_classes(self, X: _Array) -> NDArray[np.int64]:
        """The likeliest class of softmax; or, for each output of sigmoid, whether it is above 0.5."""
    def check_samples(self, X: _Array, y: _Array) -> None:
        """Raise what training on them would because of their shapes or dtypes."""
    def loss(self, X: _Array, y: _Array, sample_weight: _Array | None = None) -> float: ...
    def loss_and_prediction(
        self, X: _Array, y: _Array, sample_weight: _Array | None = None
    ) -> tuple[float, _Array]: ...
    def loss_and_classes(
        self, X: _Array, y: _Array, sample_weight: _Array | None = None
    ) -> tuple[float, NDArray[np.int64]]:
        """The loss, one of the cross-entropies, and what `predict_classes` returns."""
    def loss_and_gradient(self, X: _Array, y: _Array, sample_weight: _Array | None = None) -> float: ...
    def train_step(
        self, X: _Array, y: _Array, optimizer: Optimizer, sample_weight: _Array | None = None
    ) -> float: ...
    def part_gradient(
        self,
        X: _Array,
        y: _Array,
        order: NDArray[np.int64],
        sample_weight: _Array | None = None,
        *,
        share: float = 1.0,
        first_row: int = 0,
        after_layer: Callable[[int], object] | None = None,
    ) -> float:
        """Fill `gradient` with share · the gradient by the rows in `order`, part of a batch; their mean loss.

        Dropout goes by `first_row`, the part's place in the batch. `after_layer` is called with a layer's
        index as soon as its gradient is there, the last layer's first; of a large batch, at the end.
        """
    def update(self, optimizer: Optimizer) -> None:
        """Take the optimizer's step by what is in `gradient`."""
    def train_epoch(
        self,
        X: _Array,
        y: _Array,
        optimizer: Optimizer,
        batch_size: int,
        order: NDArray[np.int64] | None = None,
        sample_weight: _Array | None = None,
        progress: Callable[[int], object] | None = None,  # called every 50 ms or so with the rows done
    ) -> float:
        """One epoch of minibatches in the given order of rows; the mean loss over the epoch's samples."""
    def get_optimizer_state(self, optimizer: Optimizer) -> OptimizerState | None: ...
    def set_optimizer_state(self, optimizer: Optimizer, state: OptimizerState | None) -> None: ...

class Training:
    """From `begin` to `end`, or its own end, the steps of the thread that began are let in, and no others."""

    def __init__(self, network: Network) -> None: ...
    def begin(self) -> None: ...
    def end(self) -> None:
        """End what has begun, if it has."""

def random_order(rows: int, seed: int) -> NDArray[np.int64]:
    """A random order of 0 … rows − 1: Fisher–Yates with the numbers of SplitMix64."""

def activation(name: str, z: _Array) -> _Array: ...
def activation_gradient(name: str, z: _Array) -> _Array: ...
def loss(
    name: str, prediction: _Array, target: _Array, parameter: float = 1.0, sample_weight: _Array | None = None
) -> tuple[float, _Array]:
    """Value and gradient; cross_entropy and binary_cross_entropy take logits."""

def r2(prediction: _Array, target: _Array, sample_weight: _Array | None = None) -> float:
    """The coefficient of determination, averaged over the columns."""

def add_moments(
    count: NDArray[np.float64],
    mean: NDArray[np.float64],
    squares: NDArray[np.float64],
    values: _Array,
    rows: NDArray[np.int64] | None = None,
) -> None:
    """Take values, of all rows or of some, into running means and sums of squared distances from them."""

def build_info() -> BuildInfo: ...
def set_num_threads(threads: int | None) -> None: ...
def get_num_threads() -> int: ...
def use_one_thread() -> None:
    """Compute in the calling thread alone, whatever it calls from then on."""

def set_parallel_threshold(flops: float | None) -> None: ...
