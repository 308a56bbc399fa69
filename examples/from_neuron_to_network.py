"""From one neuron to a trained network: each part, its formula, and the same thing worked by hand.

Most tutorials tell this story, and three of their formulas are often wrong. Each is put right in its place:

1. the sign: with w ← w − α·∂L/∂w, the gradient of the squared error holds ŷ − y; y − ŷ climbs the loss;
2. what is sent back through the network is the gradient of the loss, not its value;
3. tanh written as (e^x − e^−x) / (e^x + e^−x), or a sigmoid as 1 / (1 + e^−x), overflows for large |x|.
"""

import math

import numpy as np

import fusednet as fn
from fusednet import functional as F


def heading(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def neuron() -> None:
    heading("1. A neuron: a = f(w·x + b)")
    unit = fn.Neuron([0.5, -1.0], bias=0.25, activation="sigmoid")
    x = np.array([2.0, 0.5])
    a = unit.forward(x)
    z = 0.5 * 2.0 - 1.0 * 0.5 + 0.25
    print(f"forward:  {a[0]:.12f}   by hand {1 / (1 + math.exp(-z)):.12f}")

    # Backward: for L = a, ∂L/∂z = f'(z) = a·(1 − a); ∂L/∂w = f'(z)·x, ∂L/∂b = f'(z), ∂L/∂x = f'(z)·w.
    dx = unit.backward([1.0])
    slope = a[0] * (1 - a[0])
    print(f"∂a/∂w:    {unit.weights_gradient[:, 0]}   by hand {slope * x}")
    print(f"∂a/∂b:    {unit.bias_gradient}   by hand [{slope:.8f}]")
    print(f"∂a/∂x:    {dx}   by hand {slope * np.array([0.5, -1.0])}")


def activations() -> None:
    heading("2. Activations, at extreme inputs too")
    extreme = np.array([-1000.0, -1.0, 0.0, 1.0, 1000.0])
    print("x       ", extreme)
    print("sigmoid ", F.sigmoid(extreme))
    print("tanh    ", F.tanh(extreme))
    print("relu    ", F.relu(extreme))
    with np.errstate(over="ignore", invalid="ignore"):
        tutorial = (np.exp(extreme) - np.exp(-extreme)) / (np.exp(extreme) + np.exp(-extreme))
    print("the tutorials' tanh: ", tutorial, " (∞ / ∞ at ±1000)")


def losses() -> None:
    heading("3. Losses")
    y, y_hat = np.array([[1.0], [2.0], [3.0]]), np.array([[1.5], [2.0], [1.0]])
    print(f"mse      = mean of (ŷ − y)²       = {F.mse_loss(y_hat, y):.6f}   by hand {4.25 / 3:.6f}")
    print(f"half_mse = 1/(2n) · Σ (ŷ − y)²    = {F.half_mse_loss(y_hat, y):.6f}   by hand {4.25 / 6:.6f}")
    probabilities, labels = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]), np.array([0, 2])
    by_hand = -(math.log(0.7) + math.log(0.6)) / 2
    value = F.cross_entropy_loss(probabilities, labels)
    print(f"cross-entropy = −mean of log p[y] = {value:.6f}   by hand {by_hand:.6f}")


def backpropagation() -> None:
    heading("4. Backpropagation through a 2-2-1 network, by hand")
    net = fn.Network([2, 2, 1], activation="sigmoid", output="identity", dtype="float64")
    net.layers[0].weights, net.layers[0].bias = [[0.1, 0.4], [-0.3, 0.2]], [0.05, -0.1]
    net.layers[1].weights, net.layers[1].bias = [[0.7], [-0.5]], [0.2]
    x, y = np.array([[1.0, 2.0]]), np.array([[0.5]])

    # Forward.
    h1 = 1 / (1 + math.exp(-(0.1 * 1 - 0.3 * 2 + 0.05)))
    h2 = 1 / (1 + math.exp(-(0.4 * 1 + 0.2 * 2 - 0.1)))
    y_hat = 0.7 * h1 - 0.5 * h2 + 0.2
    # Backward. L = (ŷ − y)², so ∂L/∂ŷ = 2(ŷ − y): with this sign w ← w − α·∂L/∂w goes downhill.
    d_out = 2 * (y_hat - 0.5)
    d1, d2 = d_out * 0.7 * h1 * (1 - h1), d_out * -0.5 * h2 * (1 - h2)
    by_hand = np.array([1 * d1, 1 * d2, 2 * d1, 2 * d2, d1, d2, d_out * h1, d_out * h2, d_out])

    loss, gradient = net.loss_and_gradient(x, y)
    print(f"loss {loss:.12f}   by hand {(y_hat - 0.5) ** 2:.12f}")
    print(f"largest difference of the nine gradients: {np.abs(gradient - by_hand).max():.1e}")

    # What not to do. The value of the loss sent back in place of its gradient:
    net.forward(x)
    net.backward([[loss]])
    print(f"sending the loss's value back: ∂L/∂b₂ would be {net.gradient[-1]:.6f} instead of {d_out:.6f}")
    # The sign the other way round:
    for name, direction in (("ŷ − y", 1.0), ("y − ŷ", -1.0)):
        trial = net.copy()
        trial.parameters -= 0.1 * direction * gradient
        after = trial.evaluate(x, y)["loss"]
        print(f"one step with {name}: the loss goes from {loss:.6f} to {after:.6f}")


def xor() -> None:
    heading("5. Gradient descent on XOR")
    X, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    net = fn.Network([2, 8, 1], "tanh", "sigmoid", loss="binary_cross_entropy", seed=0)
    net.fit(X, y, epochs=1000, batch_size=4, optimizer=fn.SGD(0.5), progress=False)
    print("loss", f"{net.evaluate(X, y)['loss']:.4f}", "  classes", net.predict_classes(X), "  wanted", y)


def sine() -> None:
    heading("6. Gradient descent on a noisy sine")
    rng = np.random.default_rng(0)
    X = rng.uniform(-np.pi, np.pi, (400, 1))
    y = np.sin(X) + rng.normal(0, 0.1, X.shape)
    net = fn.Network([1, 32, 32, 1], "tanh", seed=0)
    history = net.fit(
        X[:300],
        y[:300],
        epochs=400,
        optimizer=fn.SGD(0.05, momentum=0.9),
        validation_data=(X[300:], y[300:]),
        progress=False,
    )
    print(f"training loss   {history.loss[-1]:.4f}")
    print(f"validation loss {history.val_loss[-1]:.4f}   the noise's variance is 0.01")


if __name__ == "__main__":
    for part in (neuron, activations, losses, backpropagation, xor, sine):
        part()
