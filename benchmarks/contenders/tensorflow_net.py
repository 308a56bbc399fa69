"""TensorFlow: the whole epoch in one tf.function that XLA compiles, and the forward pass in another."""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import tensorflow as tf

from ..cases import BETA1, BETA2, EPSILON

ACTIVATIONS = {"tanh": tf.tanh, "relu": tf.nn.relu}


def mse(prediction, y):
    return tf.reduce_mean((prediction - y) ** 2)


def cross_entropy(logits, labels):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


LOSSES = {"mse": mse, "cross_entropy": cross_entropy}


class Contender:
    def __init__(self, case, weights, threads):
        if threads and tf.config.threading.get_intra_op_parallelism_threads() != threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        self.batch, rate = case.batch, case.rate
        self.parameters = [tf.Variable(part) for pair in weights for part in pair]
        activation, loss = ACTIVATIONS[case.activation], LOSSES[case.loss]

        def forward(x):
            for i in range(0, len(self.parameters), 2):
                x = tf.matmul(x, self.parameters[i]) + self.parameters[i + 1]
                if i < len(self.parameters) - 2:
                    x = activation(x)
            return x

        def gradient(x, y):
            with tf.GradientTape() as tape:
                value = loss(forward(x), y)
            return tape.gradient(value, self.parameters)

        def sgd(x, y):
            for p, g in zip(self.parameters, gradient(x, y), strict=True):
                p.assign_sub(rate * g)

        if case.optimizer == "adam":
            moments = [[tf.Variable(tf.zeros_like(p)) for p in self.parameters] for _ in range(2)]
            count = tf.Variable(0.0)

        def adam(x, y):
            count.assign_add(1.0)
            correction1, correction2 = 1 - BETA1**count, 1 - BETA2**count
            for p, g, m, v in zip(self.parameters, gradient(x, y), *moments, strict=True):
                m.assign(BETA1 * m + (1 - BETA1) * g)
                v.assign(BETA2 * v + (1 - BETA2) * g * g)
                p.assign_sub(rate * (m / correction1) / (tf.sqrt(v / correction2) + EPSILON))

        step = {"sgd": sgd, "adam": adam}[case.optimizer]

        def epoch(X, y):
            for i in tf.range(tf.shape(X)[0]):
                step(X[i], y[i])

        self.epoch = tf.function(epoch, jit_compile=True)
        self.forward = tf.function(forward, jit_compile=True)

    def hold(self, X, y):
        self.X = tf.constant(X.reshape(-1, self.batch, X.shape[1]))
        self.y = tf.constant(y.reshape(-1, self.batch, *y.shape[1:]))

    def train_epoch(self):
        self.epoch(self.X, self.y)

    def weights(self):
        arrays = [p.numpy() for p in self.parameters]
        return list(zip(arrays[::2], arrays[1::2], strict=True))

    def predictor(self, X):
        return lambda: self.forward(tf.constant(X)).numpy()
