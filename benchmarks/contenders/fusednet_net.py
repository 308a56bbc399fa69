"""fusednet: the core's epoch, without what `fit` adds (overhead.py measures that); one row as a 1-D array."""

from functools import partial

import numpy as np

import fusednet as fn

from ..cases import EPSILON


class Contender:
    def __init__(self, case, weights, threads):
        fn.set_num_threads(threads)
        classes = case.loss == "cross_entropy"
        self.net = fn.Network(
            case.widths,
            case.activation,
            output="softmax" if classes else "identity",
            loss=case.loss,
            dtype=case.dtype,
        )
        for layer, (W, b) in zip(self.net.layers, weights, strict=True):
            layer.weights, layer.bias = W, b
        self.optimizer = fn.SGD(case.rate) if case.optimizer == "sgd" else fn.Adam(case.rate, epsilon=EPSILON)
        self.batch = case.batch

    def hold(self, X, y):
        self.X, self.y = X, y

    def train_epoch(self):
        self.net._core.train_epoch(self.X, self.y, self.optimizer._core, self.batch)

    def weights(self):
        return [(layer.weights, layer.bias) for layer in self.net.layers]

    def predictor(self, X):
        return partial(self.net.predict, X[0] if len(X) == 1 else X)


class IntoArray(Contender):
    """Predictions into an array that is there already."""

    def predictor(self, X):
        predict = super().predictor(X)
        return partial(predict, np.empty_like(predict()))
