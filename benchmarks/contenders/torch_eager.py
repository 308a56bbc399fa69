"""PyTorch eager: functions, as modules cost what a small layer does; slices of a tensor; fused optimizers."""

from functools import cached_property

import torch
from torch.nn import functional as F

from ..cases import EPSILON

ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}
LOSSES = {"mse": F.mse_loss, "cross_entropy": F.cross_entropy}
OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}


class Contender:
    def __init__(self, case, weights, threads):
        if threads:
            torch.set_num_threads(threads)
        self.case = case
        self.layers = [
            (torch.from_numpy(W.T.copy()).requires_grad_(), torch.from_numpy(b.copy()).requires_grad_())
            for W, b in weights
        ]
        self.activation, self.loss = ACTIVATIONS[case.activation], LOSSES[case.loss]

    @cached_property
    def optimizer(self):  # which predictions do without
        options = {"eps": EPSILON} if self.case.optimizer == "adam" else {}
        parameters = [part for layer in self.layers for part in layer]
        return OPTIMIZERS[self.case.optimizer](parameters, lr=self.case.rate, fused=True, **options)

    def forward(self, x):
        *hidden, last = self.layers
        for W, b in hidden:
            x = self.activation(F.linear(x, W, b))
        return F.linear(x, *last)

    def hold(self, X, y):
        self.X, self.y = torch.from_numpy(X), torch.from_numpy(y)

    def train_epoch(self):
        batch = self.case.batch
        for x, y in zip(self.X.split(batch), self.y.split(batch), strict=True):
            self.optimizer.zero_grad(set_to_none=True)
            self.loss(self.forward(x), y).backward()
            self.optimizer.step()

    def weights(self):
        return [(W.detach().numpy().T, b.detach().numpy()) for W, b in self.layers]

    def predictor(self, X):
        x = X[0] if len(X) == 1 else X

        def predict():
            with torch.inference_mode():
                return self.forward(torch.from_numpy(x)).numpy()

        return predict
