"""fusednet: `fit` over the epoch without shuffling; predictions into an array made once."""

import numpy as np

import fusednet as fn


class Contender:
    def __init__(self, weights, activation, learning_rate, batch_size, dtype):
        widths = [weights[0][0].shape[0], *(b.size for _, b in weights)]
        self.net = fn.Network(widths, activation, dtype=dtype)
        for layer, (W, b) in zip(self.net.layers, weights, strict=True):
            layer.weights, layer.bias = W, b
        self.optimizer, self.batch_size = fn.SGD(learning_rate), batch_size

    def train_epoch(self, X, y):
        self.net.fit(
            X,
            y,
            epochs=1,
            batch_size=self.batch_size,
            optimizer=self.optimizer,
            shuffle=False,
            progress=False,
        )

    def predict(self, X):
        return self.net.predict(X)

    def single(self, x):
        predict, out = self.net.predict, np.empty(self.net.layers[-1].out_features, x.dtype)
        return lambda: predict(x, out)

    def weights(self):
        return [(layer.weights, layer.bias) for layer in self.net.layers]
