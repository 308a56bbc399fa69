"""A training to stop and to resume, which the tests of checkpoints share."""

import numpy as np
import pytest

import fusednet as fn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = np.sin(X @ [1.0, -2.0, 0.5]) + RNG.normal(scale=0.3, size=60)
WEIGHTS = RNG.uniform(0.1, 3.0, size=60)
TRAIN, VALIDATION = slice(0, 40), slice(40, 60)


class Interrupt(fn.Callback):
    """Ctrl-C at the start of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_begin(self, net, epoch):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def network(seed=0, **options):
    return fn.Network([3, 8, 8, 1], **{"activation": "tanh", "seed": seed} | options)


def fit(net, make_optimizer=lambda: fn.SGD(0.05), callbacks=(), **options):
    options = {"epochs": 9, "batch_size": 7, "validation_data": (X[VALIDATION], Y[VALIDATION])} | options
    return net.fit(X[TRAIN], Y[TRAIN], optimizer=make_optimizer(), callbacks=callbacks, **options)


def interrupted(path, make_optimizer=lambda: fn.SGD(0.05), callbacks=(), after=4, every=1, **options):
    """Train, and stop by Ctrl-C after some epochs."""
    files = fn.ModelCheckpoint(path, every=every)
    net = network(**options.pop("network", {}))
    with pytest.raises(KeyboardInterrupt):
        fit(net, make_optimizer, [files, *callbacks, Interrupt(after)], **options)
    return net


def everything(net):
    """Return all that the next epoch depends on."""
    state = net._core.get_optimizer_state(net.optimizer._core)
    return {
        "parameters": net.parameters.tobytes(),
        "optimizer": state and {k: np.asarray(v).tobytes() for k, v in state.items()},
        "learning rate": net.optimizer.learning_rate,
        "shuffles": net._rng.bit_generator.state,
        "dropout": (net._core.seed, net._core.dropout_step),
        "history": net.history,
    }
