"""Losses, gradients and training trajectories against PyTorch's, in float64 closely and in float32."""

import numpy as np
import pytest

import fusednet as fn

from helpers import HIDDEN, OUTPUTS, targets

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
torch.set_num_threads(1)  # the work here is too little for more
F = torch.nn.functional


class Exp(torch.nn.Module):
    def forward(self, z):
        return torch.exp(z)


ACTIVATIONS = {
    "identity": torch.nn.Identity,
    "sigmoid": torch.nn.Sigmoid,
    "tanh": torch.nn.Tanh,
    "relu": torch.nn.ReLU,
    "leaky_relu": torch.nn.LeakyReLU,
    "elu": torch.nn.ELU,
    "gelu": torch.nn.GELU,
    "silu": torch.nn.SiLU,
    "softplus": lambda: torch.nn.Softplus(threshold=1e6),  # 20, its default, is where it stops being exact
    "exp": Exp,
    "softmax": lambda: torch.nn.Softmax(dim=1),
}


def pinball(prediction, target, q):
    e = target - prediction
    return torch.maximum(q * e, (q - 1) * e)


# Ours; what goes before PyTorch's in place of the output activation; PyTorch's, one value a sample.
LOSSES = {
    "mse": ("identity", None, lambda p, y: F.mse_loss(p, y, reduction="none").mean(1)),
    "mse of softmax": ("softmax", None, lambda p, y: F.mse_loss(p, y, reduction="none").mean(1)),
    "half_mse": ("tanh", None, lambda p, y: F.mse_loss(p, y, reduction="none").sum(1) / 2),
    "mae": ("identity", None, lambda p, y: F.l1_loss(p, y, reduction="none").mean(1)),
    "huber": ("identity", None, lambda p, y: F.huber_loss(p, y, reduction="none").mean(1)),
    "huber 0.3": ("identity", None, lambda p, y: F.huber_loss(p, y, reduction="none", delta=0.3).mean(1)),
    "quantile 0.9": ("identity", None, lambda p, y: pinball(p, y, 0.9).mean(1)),
    # PyTorch leaves out y log y − y, which does not depend on the prediction.
    "poisson": (
        "exp",
        "identity",
        lambda z, y: (F.poisson_nll_loss(z, y, reduction="none") + torch.xlogy(y, y) - y).mean(1),
    ),
    "poisson of softplus": (
        "softplus",
        None,
        lambda p, y: (
            F.poisson_nll_loss(p, y, log_input=False, eps=0.0, reduction="none") + torch.xlogy(y, y) - y
        ).mean(1),
    ),
    "cross_entropy": ("softmax", "identity", lambda z, y: F.cross_entropy(z, y, reduction="none")),
    "cross_entropy of labels": ("softmax", "identity", lambda z, y: F.cross_entropy(z, y, reduction="none")),
    "binary_cross_entropy": (
        "sigmoid",
        "identity",
        lambda z, y: F.binary_cross_entropy_with_logits(z, y, reduction="none").mean(1),
    ),
    "binary_cross_entropy of probabilities": (
        "sigmoid",
        None,
        lambda p, y: F.binary_cross_entropy(p, y, reduction="none").mean(1),
    ),
}
OBJECTS = {"huber 0.3": fn.losses.Huber(0.3), "quantile 0.9": fn.losses.Quantile(0.9)}


def as_torch(net, output=None):
    """Return the network's double in PyTorch, with another output activation where one is named."""
    modules = []
    for layer in net.layers:
        linear = torch.nn.Linear(*layer.weights.shape, dtype=torch.from_numpy(layer.weights).dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(layer.weights.T))
            linear.bias.copy_(torch.tensor(layer.bias))
        modules += [linear, ACTIVATIONS[layer.activation]()]
    if output is not None:
        modules[-1] = ACTIVATIONS[output]()
    return torch.nn.Sequential(*modules)


def flat(parameters):
    """Return PyTorch's parameters, or what is given of them, in our order and layout."""
    return np.concatenate([p.detach().numpy().T.ravel() for p in parameters])


def problem(name, dtype="float64", hidden="tanh", n=20):
    """Return a network, data, and the loss of its double in PyTorch as a function of the data."""
    rng = np.random.default_rng(0)
    output, torch_output, torch_loss = LOSSES[name]
    net = fn.Network(
        [5, 9, 7, 3], hidden, output=output, loss=OBJECTS.get(name, name.split()[0]), dtype=dtype, seed=1
    )
    X = rng.normal(size=(n, 5)).astype(dtype)
    y = targets(net.loss, output, (n, 3), rng).astype(dtype)
    if "labels" in name:
        y = rng.integers(0, 3, size=n)
    double = as_torch(net, torch_output)

    def loss(rows=slice(None), weights=None):
        each = torch_loss(double(torch.tensor(X[rows])), torch.tensor(y[rows]))
        return each.mean() if weights is None else (torch.tensor(weights) * each).sum() / weights.sum()

    return net, X, y, double, loss


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradient(name, weighted):
    net, X, y, double, torch_loss = problem(name)
    weights = np.random.default_rng(3).uniform(0, 2, size=len(X)) if weighted else None
    value, gradient = net.loss_and_gradient(X, y, weights)
    expected = torch_loss(weights=weights)
    expected.backward()
    assert value == pytest.approx(expected.item(), rel=1e-12)
    assert net.evaluate(X, y, weights)["loss"] == pytest.approx(expected.item(), rel=1e-12)
    expected_gradient = flat(p.grad for p in double.parameters())
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_activations(hidden, output):
    rng = np.random.default_rng(0)
    net = fn.Network([5, 9, 3], hidden, output=output, dtype="float64", seed=2)
    X, g = 2 * rng.normal(size=(8, 5)), rng.normal(size=(8, 3))
    double, inputs = as_torch(net), torch.tensor(X, requires_grad=True)
    expected = double(inputs)
    expected.backward(torch.tensor(g))
    np.testing.assert_allclose(net.forward(X), expected.detach().numpy(), rtol=1e-12, atol=1e-15)
    scale = inputs.grad.abs().max().item()
    np.testing.assert_allclose(net.backward(g), inputs.grad.numpy(), rtol=1e-12, atol=1e-15 * scale)
    gradient = flat(p.grad for p in double.parameters())
    np.testing.assert_allclose(net.gradient, gradient, rtol=1e-12, atol=1e-15 * np.abs(gradient).max())


OPTIMIZERS = {
    "sgd": (fn.SGD, torch.optim.SGD, {"lr": 0.1}),
    "sgd, decay": (fn.SGD, torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.1}),
    "momentum": (fn.SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "momentum, decay": (fn.SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    "nesterov": (fn.SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "nesterov, decay": (
        fn.SGD,
        torch.optim.SGD,
        {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.05},
    ),
    "adam": (fn.Adam, torch.optim.Adam, {}),
    "adam, all": (
        fn.Adam,
        torch.optim.Adam,
        {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1},
    ),
    "adamw": (fn.AdamW, torch.optim.AdamW, {}),
    "adamw, all": (
        fn.AdamW,
        torch.optim.AdamW,
        {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3},
    ),
    "rmsprop": (fn.RMSprop, torch.optim.RMSprop, {}),
    "rmsprop, all": (
        fn.RMSprop,
        torch.optim.RMSprop,
        {"lr": 0.003, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1},
    ),
}
OUR_NAMES = {"lr": "learning_rate", "eps": "epsilon"}


def optimizers(name, double, **more):
    """Return our optimizer and PyTorch's for the double; `more` is for ours alone."""
    make, make_theirs, settings = OPTIMIZERS[name]
    ours = {OUR_NAMES.get(key, key): value for key, value in settings.items() if key != "betas"}
    if "betas" in settings:
        ours["beta1"], ours["beta2"] = settings["betas"]
    return make(**ours, **more), make_theirs(double.parameters(), **settings)


def batches(samples=160, size=8):
    return [slice(first, first + size) for first in range(0, samples, size)]


# Float32 rounds each step by 6e-8 of the parameters; Adam and RMSprop divide small gradients, and with them
# their rounding errors, by their size.
TOLERANCE = {"float64": {"rtol": 1e-11, "atol": 1e-13}, "float32": {"rtol": 2e-5, "atol": 5e-6}}


def step(loss, optimizer):
    """Take a step of PyTorch's optimizer without clipping; return the loss before it."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", ["mse", "cross_entropy of labels"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_trajectory(name, loss, weighted, dtype):
    """Twenty minibatches of eight, the parameters compared after each."""
    net, X, y, double, torch_loss = problem(loss, dtype, n=160)
    ours, theirs = optimizers(name, double)
    weights = np.random.default_rng(3).uniform(0, 2, size=160).astype(dtype)
    for rows in batches():
        batch_weights = weights[rows] if weighted else None
        value = net.train_step(X[rows], y[rows], ours, batch_weights)
        expected = step(torch_loss(rows, batch_weights), theirs)
        assert value == pytest.approx(expected, rel=TOLERANCE[dtype]["rtol"])
        np.testing.assert_allclose(net.parameters, flat(double.parameters()), **TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("clip_norm", [1e-3, 0.5, 1e3])
@pytest.mark.parametrize("name", ["sgd", "nesterov", "adam, all"])
def test_clip_norm(name, clip_norm, dtype):
    """PyTorch scales by c / (‖g‖ + 1e-6), at most by 1; here by c / ‖g‖: its c is corrected for that."""
    net, X, y, double, torch_loss = problem("mse", dtype, n=160)
    ours, theirs = optimizers(name, double, clip_norm=clip_norm)
    for rows in batches():
        net.train_step(X[rows], y[rows], ours)
        theirs.zero_grad()
        torch_loss(rows).backward()
        norm = torch.nn.utils.clip_grad_norm_(double.parameters(), np.inf)
        torch.nn.utils.clip_grad_norm_(double.parameters(), clip_norm * (norm + 1e-6) / norm)
        theirs.step()
        np.testing.assert_allclose(net.parameters, flat(double.parameters()), **TOLERANCE[dtype])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_l2_is_weight_decay_on_the_weights(momentum):
    net, X, y, double, torch_loss = problem("mse", n=160)
    net.l2 = 0.1
    layers = [module for module in double if isinstance(module, torch.nn.Linear)]
    weights, biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
    groups = [{"params": weights, "weight_decay": 0.1}, {"params": biases}]
    ours, theirs = fn.SGD(0.1, momentum), torch.optim.SGD(groups, lr=0.1, momentum=momentum)
    for rows in batches():
        net.train_step(X[rows], y[rows], ours)
        step(torch_loss(rows), theirs)
        np.testing.assert_allclose(net.parameters, flat(double.parameters()), **TOLERANCE["float64"])


def test_fit_is_the_same_trajectory():
    net, X, y, double, torch_loss = problem("cross_entropy of labels", n=165)  # the last batch is shorter
    ours, theirs = optimizers("nesterov", double)
    history = net.fit(X, y, epochs=3, batch_size=8, optimizer=ours, shuffle=False)
    for epoch in range(3):
        losses = [step(torch_loss(rows), theirs) for rows in batches(165)]
        mean = np.average(losses, weights=[8] * 20 + [5])
        assert history.loss[epoch] == pytest.approx(mean, rel=1e-11)
    np.testing.assert_allclose(net.parameters, flat(double.parameters()), **TOLERANCE["float64"])
