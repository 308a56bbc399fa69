"""A network, data and batches that the tests of `fit` share."""

import numpy as np

import fusednet as fn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3))
Y = np.sin(X.sum(axis=1))
W = RNG.uniform(0.1, 2.0, size=50)


def network(**options):
    return fn.Network([3, 8, 1], **{"activation": "tanh", "dtype": "float64", "seed": 0} | options)


def snapshot(net, optimizer):
    state = net._core.get_optimizer_state(optimizer._core)
    if state is not None:
        state = (state["step"], state["first"].tolist(), state["second"].tolist())
    return net.parameters.tolist(), state, net._rng.bit_generator.state, net._core.dropout_step


def batches():
    return [(X[i : i + 8], Y[i : i + 8]) for i in range(0, 50, 8)]
