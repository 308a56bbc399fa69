"""What several files share: a NumPy reference, networks to try, and central differences."""

import numpy as np
from scipy import special

import fusednet as fn

WAIT = 300.0  # seconds until a test that hangs gives up, also on a machine that is very slow

HIDDEN = ["identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "exp"]
OUTPUTS = [*HIDDEN, "softmax"]
KINKED = {"relu", "leaky_relu", "elu"}  # in the function or in its derivative

# Losses with one output activation each, and with all that they go with.
LOSSES = {
    "mse": "identity",
    "half_mse": "tanh",
    "mae": "identity",
    "huber": "leaky_relu",
    "quantile": "identity",
    "poisson": "exp",
    "cross_entropy": "softmax",
    "binary_cross_entropy": "sigmoid",
}
PAIRS = [
    (loss, output)
    for loss, usual in LOSSES.items()
    for output in ([usual] if "cross_entropy" in loss else OUTPUTS)
]

REFERENCE = {
    "identity": lambda z: z,
    "sigmoid": special.expit,
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    "gelu": lambda z: z * special.ndtr(z),
    "silu": lambda z: z * special.expit(z),
    "softplus": lambda z: np.logaddexp(0, z),
    "exp": np.exp,
    "softmax": lambda z: special.softmax(z, axis=-1),
}


def preactivations(net, X):
    """Return Z = A·W + b of each layer, by NumPy in float64 from the network's parameters."""
    a, zs = np.asarray(X, dtype=np.float64), []
    with np.errstate(over="ignore", invalid="ignore"):  # of an exp after an exp
        for layer in net.layers:
            bias = 0.0 if layer.bias is None else layer.bias.astype(np.float64)
            zs.append(a @ layer.weights.astype(np.float64) + bias)
            a = REFERENCE[layer.activation](zs[-1])
    return zs


def reference_predict(net, X):
    return REFERENCE[net.layers[-1].activation](preactivations(net, X)[-1])


def random_biases(net, rng):
    """Give the layers biases, which start at zero otherwise."""
    for layer in net.layers:
        if layer.bias is not None:
            layer.bias = rng.normal(scale=0.3, size=layer.out_features)
    return net


def targets(loss, output, shape, rng):
    """Return random targets that a loss takes and that the output activation could meet."""
    if output == "softmax":
        return rng.dirichlet(np.ones(shape[1]), size=shape[0])
    if loss == "poisson":
        return rng.integers(0, 4, size=shape).astype(np.float64)
    if loss == "binary_cross_entropy":
        return rng.uniform(size=shape)
    return rng.normal(scale=1.5, size=shape)


def distance_to_trouble(net, X, y):
    """Return how far from a kink, from log 0 or from being large the values are that the loss comes from."""
    gaps = [
        np.abs(z)
        for z, layer in zip(preactivations(net, X), net.layers, strict=True)
        if layer.activation in KINKED
    ]
    prediction = reference_predict(net, X)
    gaps.append(np.maximum(20 - np.abs(prediction), 0))
    size = np.abs(prediction - y)
    if net.loss in ("mae", "quantile"):
        gaps.append(size)
    elif net.loss == "poisson":
        gaps.append(np.maximum(prediction - 0.04, 0))
    elif net.loss == "huber" or isinstance(net.loss, fn.losses.Huber):
        gaps.append(np.abs(size - getattr(net.loss, "delta", 1.0)))
    return min(gap.min() for gap in gaps)


def smooth_problem(loss, output="identity", hidden="tanh", widths=(3, 5, 4, 2), n=4, **options):
    """Return a float64 network with random biases, and data that keep it away from kinks and large values."""
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        net = fn.Network(
            list(widths), hidden, output=output, loss=loss, dtype="float64", seed=seed, **options
        )
        random_biases(net, rng)
        if loss == "poisson":
            net.layers[-1].bias += 1.0  # its predictions must be positive
        X, y = rng.normal(size=(n, widths[0])), targets(loss, output, (n, widths[-1]), rng)
        if distance_to_trouble(net, X, y) > 0.01:
            return net, X, y
    raise AssertionError("no seed keeps away from trouble")


def central_differences(function, x, h=2e-4):
    """Return the gradient of `function()` by the array `x` that it reads, to the order h⁴."""
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        start, values = x[index], []
        for offset in (2 * h, h, -h, -2 * h):
            x[index] = start + offset
            values.append(function())
        x[index] = start
        gradient[index] = (8 * (values[1] - values[2]) - (values[0] - values[3])) / (12 * h)
    return gradient


def assert_gradient(gradient, numeric):
    """Compare with central differences: to 1e-8 of each entry, or 1e-10 of the largest."""
    np.testing.assert_allclose(gradient, numeric, rtol=1e-8, atol=1e-10 * max(1.0, np.abs(numeric).max()))
