"""JAX: one jitted lax.scan over the minibatches of the epoch, with the parameters' buffers donated."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ..cases import BETA1, BETA2, EPSILON

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu}


def mse(prediction, y):
    return jnp.mean((prediction - y) ** 2)


def cross_entropy(logits, labels):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1))


LOSSES = {"mse": mse, "cross_entropy": cross_entropy}


class Contender:
    def __init__(self, case, weights, threads):
        self.batch, rate = case.batch, case.rate
        activation, loss = ACTIVATIONS[case.activation], LOSSES[case.loss]

        def forward(parameters, x):
            for W, b in parameters[:-1]:
                x = activation(x @ W + b)
            W, b = parameters[-1]
            return x @ W + b

        gradient = jax.grad(lambda parameters, x, y: loss(forward(parameters, x), y))

        def sgd(state, batch):
            (parameters,) = state
            updates = gradient(parameters, *batch)
            return (jax.tree.map(lambda p, g: p - rate * g, parameters, updates),), None

        def adam(state, batch):
            parameters, first, second, count = state
            g, count = gradient(parameters, *batch), count + 1
            first = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, first, g)
            second = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, second, g)
            correction1, correction2 = 1 - BETA1**count, 1 - BETA2**count

            def update(p, m, v):
                return p - rate * (m / correction1) / (jnp.sqrt(v / correction2) + EPSILON)

            return (jax.tree.map(update, parameters, first, second), first, second, count), None

        self.state = ([(jnp.array(W), jnp.array(b)) for W, b in weights],)
        if case.optimizer == "adam":
            self.state += (*(jax.tree.map(jnp.zeros_like, self.state[0]) for _ in range(2)), jnp.float32(0))
        step = {"sgd": sgd, "adam": adam}[case.optimizer]
        self.epoch = jax.jit(lambda state, X, y: jax.lax.scan(step, state, (X, y))[0], donate_argnums=0)
        self.forward = forward

    def hold(self, X, y):
        self.X = jnp.array(X.reshape(-1, self.batch, X.shape[1]))
        self.y = jnp.array(y.reshape(-1, self.batch, *y.shape[1:]))

    def train_epoch(self):
        self.state = jax.block_until_ready(self.epoch(self.state, self.X, self.y))

    def weights(self):
        return [(np.asarray(W), np.asarray(b)) for W, b in self.state[0]]

    def predictor(self, X):
        # Parameters in a closure are constants to the compiler, and need not be handed over at each call.
        forward = jax.jit(partial(self.forward, self.state[0]))
        return lambda: np.asarray(forward(X))
