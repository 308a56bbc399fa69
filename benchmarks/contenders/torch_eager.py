"""PyTorch eager: slices of one tensor, a fused optimizer, predictions under inference_mode."""

import torch
from torch import nn
from torch.nn import functional as F

from ..cases import EPSILON

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}
LOSSES = {"mse": F.mse_loss, "cross_entropy": F.cross_entropy}
OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}


class Contender:
    def __init__(self, case, weights, threads):
        if threads:
            torch.set_num_threads(threads)
        modules = []
        for W, b in weights:
            linear = nn.Linear(*W.shape, dtype=getattr(torch, case.dtype))
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(W.T.copy()))
                linear.bias.copy_(torch.from_numpy(b))
            modules += [linear, ACTIVATIONS[case.activation]()]
        self.net, self.batch, self.loss = nn.Sequential(*modules[:-1]), case.batch, LOSSES[case.loss]
        options = {"eps": EPSILON} if case.optimizer == "adam" else {}
        self.optimizer = OPTIMIZERS[case.optimizer](
            self.net.parameters(), lr=case.rate, fused=True, **options
        )

    def hold(self, X, y):
        self.X, self.y = torch.from_numpy(X), torch.from_numpy(y)

    def train_epoch(self):
        for x, y in zip(self.X.split(self.batch), self.y.split(self.batch), strict=True):
            self.optimizer.zero_grad(set_to_none=True)
            self.loss(self.net(x), y).backward()
            self.optimizer.step()

    def weights(self):
        linears = [module for module in self.net if isinstance(module, nn.Linear)]
        return [(linear.weight.detach().numpy().T, linear.bias.detach().numpy()) for linear in linears]

    def predictor(self, X):
        x = X[0] if len(X) == 1 else X

        def predict():
            with torch.inference_mode():
                return self.net(torch.from_numpy(x)).numpy()

        return predict
