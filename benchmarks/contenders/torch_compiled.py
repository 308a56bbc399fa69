"""torch.compile: the whole step, from forward pass to update, in one graph (needs a C++ compiler)."""

import torch
from torch.nn import functional as F

from ..cases import BETA1, BETA2, EPSILON

ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}
LOSSES = {"mse": F.mse_loss, "cross_entropy": F.cross_entropy}


class Contender:
    def __init__(self, case, weights, threads):
        torch._dynamo.reset()  # past eight variants of one function it would fall back to eager
        if threads:
            torch.set_num_threads(threads)
        self.batch, rate = case.batch, case.rate
        self.parameters = [torch.from_numpy(part.copy()) for W, b in weights for part in (W.T, b)]
        self.moments = [[torch.zeros_like(p) for p in self.parameters] for _ in range(2)]
        self.count = torch.zeros(())  # a tensor: a number would be compiled into each step anew
        activation, loss = ACTIVATIONS[case.activation], LOSSES[case.loss]

        def forward(parameters, x):
            for i in range(0, len(parameters), 2):
                x = F.linear(x, parameters[i], parameters[i + 1])
                if i < len(parameters) - 2:
                    x = activation(x)
            return x

        gradient = torch.func.grad(lambda parameters, x, y: loss(forward(parameters, x), y))

        def sgd(x, y):
            for p, g in zip(self.parameters, gradient(self.parameters, x, y), strict=True):
                p.sub_(g, alpha=rate)

        def adam(x, y):
            self.count.add_(1)
            correction1, correction2 = 1 - BETA1**self.count, torch.sqrt(1 - BETA2**self.count)
            gradients = gradient(self.parameters, x, y)
            for p, g, m, v in zip(self.parameters, gradients, *self.moments, strict=True):
                m.mul_(BETA1).add_(g, alpha=1 - BETA1)
                v.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
                p.sub_(rate / correction1 * m / (v.sqrt() / correction2 + EPSILON))

        self.step = torch.compile({"sgd": sgd, "adam": adam}[case.optimizer], dynamic=False, fullgraph=True)
        self.forward = torch.compile(forward, dynamic=case.batch > 1, fullgraph=True)

    def hold(self, X, y):
        self.X, self.y = torch.from_numpy(X), torch.from_numpy(y)

    def train_epoch(self):
        with torch.no_grad():
            for x, y in zip(self.X.split(self.batch), self.y.split(self.batch), strict=True):
                self.step(x, y)

    def weights(self):
        return [
            (W.numpy().T, b.numpy()) for W, b in zip(self.parameters[::2], self.parameters[1::2], strict=True)
        ]

    def predictor(self, X):
        def predict():
            with torch.inference_mode():
                return self.forward(self.parameters, torch.from_numpy(X)).numpy()

        return predict
