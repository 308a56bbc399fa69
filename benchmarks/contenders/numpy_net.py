"""NumPy by hand, in place where it can be."""

import numpy as np


class Contender:
    def __init__(self, weights, activation, learning_rate, batch_size, dtype):
        self.W = [np.ascontiguousarray(W, dtype) for W, _ in weights]
        self.b = [np.ascontiguousarray(b, dtype) for _, b in weights]
        self.tanh, self.rate, self.batch_size = (
            activation == "tanh",
            np.dtype(dtype).type(learning_rate),
            batch_size,
        )

    def _forward(self, x):
        outputs = [x]
        for W, b in zip(self.W, self.b, strict=True):
            z = outputs[-1] @ W
            z += b
            if W is not self.W[-1]:
                np.tanh(z, out=z) if self.tanh else np.maximum(z, 0, out=z)
            outputs.append(z)
        return outputs

    def train_epoch(self, X, y):
        for i in range(0, len(X), self.batch_size):
            outputs = self._forward(X[i : i + self.batch_size])
            delta = outputs[-1] - y[i : i + self.batch_size]
            delta *= X.dtype.type(2.0 / delta.size)
            for layer in range(len(self.W) - 1, -1, -1):
                a = outputs[layer]
                dW, db = a.T @ delta, delta.sum(0)
                if layer:
                    delta = delta @ self.W[layer].T
                    delta *= (1 - a * a) if self.tanh else (a > 0)
                dW *= self.rate
                self.W[layer] -= dW
                self.b[layer] -= self.rate * db

    def predict(self, X):
        return self._forward(X)[-1]

    def single(self, x):
        return lambda: self._forward(x)[-1]

    def weights(self):
        return list(zip(self.W, self.b, strict=True))
