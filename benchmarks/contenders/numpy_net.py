"""NumPy by hand, in place where it can be. In float64 it is the reference for all the others."""

from functools import partial

import numpy as np

from ..cases import BETA1, BETA2, EPSILON


class Contender:
    def __init__(self, case, weights, threads):
        self.case, self.cast = case, np.dtype(case.dtype).type
        # One flat array of parameters and one of gradients, with a view for each layer: one pass for Adam.
        self.flat = np.concatenate([part.ravel() for pair in weights for part in pair]).astype(case.dtype)
        self.gradient = np.empty_like(self.flat)
        self.W, self.b = self._views(self.flat, weights)
        self.dW, self.db = self._views(self.gradient, weights)
        if case.optimizer == "adam":
            self.m, self.v, self.steps = np.zeros_like(self.flat), np.zeros_like(self.flat), 0

    @staticmethod
    def _views(flat, weights):
        W_views, b_views, end = [], [], 0
        for W, b in weights:
            start, middle, end = end, end + W.size, end + W.size + b.size
            W_views.append(flat[start:middle].reshape(W.shape))
            b_views.append(flat[middle:end])
        return W_views, b_views

    def _forward(self, x):
        outputs = [x]
        for W, b in zip(self.W, self.b, strict=True):
            z = outputs[-1] @ W
            z += b
            if W is not self.W[-1]:
                np.tanh(z, out=z) if self.case.activation == "tanh" else np.maximum(z, 0, out=z)
            outputs.append(z)
        return outputs

    def _loss_gradient(self, prediction, y):
        """Return ∂L/∂z of the last layer, in the array of the prediction."""
        if self.case.loss == "mse":
            prediction -= y
            prediction *= self.cast(2.0 / prediction.size)
        else:
            prediction -= prediction.max(axis=1, keepdims=True)
            np.exp(prediction, out=prediction)
            prediction /= prediction.sum(axis=1, keepdims=True)
            prediction[np.arange(len(y)), y] -= 1
            prediction *= self.cast(1.0 / len(y))
        return prediction

    def _backward(self, outputs, delta):
        for layer in range(len(self.W) - 1, -1, -1):
            a = outputs[layer]
            np.matmul(a.T, delta, out=self.dW[layer])
            np.sum(delta, axis=0, out=self.db[layer])
            if layer:
                delta = delta @ self.W[layer].T
                if self.case.activation == "tanh":
                    a *= a
                    np.subtract(1, a, out=a)
                    delta *= a
                else:
                    delta *= a > 0

    def _update(self):
        g, rate = self.gradient, self.case.rate
        if self.case.optimizer == "sgd":
            g *= self.cast(rate)
        else:
            self._adam(g, rate)
        self.flat -= g

    def _adam(self, g, rate):
        """Replace the gradient by Adam's step."""
        self.steps += 1
        m, v = self.m, self.v
        m *= self.cast(BETA1)
        m += self.cast(1 - BETA1) * g
        v *= self.cast(BETA2)
        g *= g
        g *= self.cast(1 - BETA2)
        v += g
        np.sqrt(v, out=g)
        g *= self.cast((1 - BETA2**self.steps) ** -0.5)
        g += self.cast(EPSILON)
        np.divide(m, g, out=g)
        g *= self.cast(rate / (1 - BETA1**self.steps))

    def hold(self, X, y):
        self.X, self.y = X, y

    def train_epoch(self):
        for i in range(0, len(self.X), self.case.batch):
            batch = slice(i, i + self.case.batch)
            outputs = self._forward(self.X[batch])
            self._backward(outputs, self._loss_gradient(outputs[-1], self.y[batch]))
            self._update()

    def weights(self):
        return list(zip(self.W, self.b, strict=True))

    def _predict(self, X):
        for W, b in zip(self.W, self.b, strict=True):
            X = X @ W
            X += b
            if W is not self.W[-1]:
                np.tanh(X, out=X) if self.case.activation == "tanh" else np.maximum(X, 0, out=X)
        return X

    def predictor(self, X):
        return partial(self._predict, X[0] if len(X) == 1 else X)
