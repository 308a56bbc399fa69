"""PyTorch eager: slices of one tensor, SGD(fused=True), predictions under inference_mode."""

import torch
from torch import nn

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}


class Contender:
    def __init__(self, weights, activation, learning_rate, batch_size, dtype):
        modules = []
        for W, b in weights:
            linear = nn.Linear(*W.shape, dtype=getattr(torch, dtype))
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(W.T.copy()))
                linear.bias.copy_(torch.from_numpy(b))
            modules += [linear, ACTIVATIONS[activation]()]
        self.net, self.batch_size = nn.Sequential(*modules[:-1]), batch_size
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=learning_rate, fused=True)

    def train_epoch(self, X, y):
        X, y = torch.from_numpy(X), torch.from_numpy(y)
        for x_batch, y_batch in zip(X.split(self.batch_size), y.split(self.batch_size), strict=True):
            self.optimizer.zero_grad(set_to_none=True)
            nn.functional.mse_loss(self.net(x_batch), y_batch).backward()
            self.optimizer.step()

    def predict(self, X):
        with torch.inference_mode():
            return self.net(torch.from_numpy(X)).numpy()

    def single(self, x):
        def predict():
            with torch.inference_mode():
                return self.net(torch.from_numpy(x)).numpy()

        return predict

    def weights(self):
        linears = [m for m in self.net if isinstance(m, nn.Linear)]
        return [(m.weight.detach().numpy().T, m.bias.detach().numpy()) for m in linears]
