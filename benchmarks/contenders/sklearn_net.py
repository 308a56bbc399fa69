"""scikit-learn's MLPRegressor: partial_fit is one epoch of minibatches.

Its gradient is that of half the squared error summed over the outputs, so the learning rate is scaled to make
the same updates. A first call builds the network; then the weights are put in.
"""

import numpy as np
from sklearn.neural_network import MLPRegressor


class Contender:
    def __init__(self, weights, activation, learning_rate, batch_size, dtype):
        outputs = weights[-1][1].size
        self.model = MLPRegressor(
            hidden_layer_sizes=tuple(b.size for _, b in weights[:-1]),
            activation=activation,
            solver="sgd",
            learning_rate_init=2 * learning_rate / outputs,
            momentum=0.0,
            nesterovs_momentum=False,
            alpha=0.0,
            batch_size=batch_size,
            shuffle=False,
        )
        self.single_output = outputs == 1
        inputs = weights[0][0].shape[0]
        self.train_epoch(np.zeros((batch_size, inputs), dtype), np.zeros((batch_size, outputs), dtype))
        for own_W, own_b, (W, b) in zip(self.model.coefs_, self.model.intercepts_, weights, strict=True):
            own_W[...], own_b[...] = W, b

    def train_epoch(self, X, y):
        self.model.partial_fit(X, y.ravel() if self.single_output else y)

    def predict(self, X):
        return self.model.predict(X).reshape(len(X), -1)

    def single(self, x):
        row = x.reshape(1, -1)
        return lambda: self.model.predict(row)

    def weights(self):
        return list(zip(self.model.coefs_, self.model.intercepts_, strict=True))
