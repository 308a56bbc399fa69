"""scikit-learn's MLPRegressor and MLPClassifier: partial_fit is one epoch of minibatches.

The regressor's gradient is that of half the squared error summed over the outputs, so its learning rate is
scaled to make the same updates. A first call builds the network; then the weights are put in.
"""

from functools import partial

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from ..cases import EPSILON


class Contender:
    def __init__(self, case, weights, threads):
        self.case, self.outputs = case, case.widths[-1]
        self.classes = {"classes": np.arange(self.outputs)} if case.loss == "cross_entropy" else {}
        model = MLPClassifier if self.classes else MLPRegressor
        self.model = model(
            hidden_layer_sizes=case.widths[1:-1],
            activation=case.activation,
            solver=case.optimizer,
            learning_rate_init=case.rate * (1 if self.classes else 2 / self.outputs),
            momentum=0.0,
            nesterovs_momentum=False,
            epsilon=EPSILON,
            alpha=0.0,
            batch_size=case.batch,
            shuffle=False,
        )
        self.hold(case.inputs(case.batch), case.targets(case.batch))
        self.train_epoch()
        del self.model._optimizer  # or that first step would live on in Adam's moments
        for own_W, own_b, (W, b) in zip(self.model.coefs_, self.model.intercepts_, weights, strict=True):
            own_W[...], own_b[...] = W, b

    def hold(self, X, y):
        self.X, self.y = X, y.ravel() if self.outputs == 1 else y

    def train_epoch(self):
        self.model.partial_fit(self.X, self.y, **self.classes)

    def weights(self):
        return list(zip(self.model.coefs_, self.model.intercepts_, strict=True))

    def predictor(self, X):
        return partial(self.model.predict, X)
