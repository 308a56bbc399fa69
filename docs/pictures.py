"""Draws the tutorial's pictures, with formulas for words so that they serve in every language.

``python docs/pictures.py [folder]``, by default into docs/pictures; needs the extra ``[plot]``.
"""

import sys
from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

import fusednet as fn
from fusednet import functional as F

BLUE, RED, GREEN, GREY = "#1f5fa8", "#c0392b", "#2e8b57", "#888888"

plt.rcParams.update(
    {
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": 12,
        "font.size": 11,
        "legend.frameon": False,
        "mathtext.fontset": "cm",
        "svg.hashsalt": "fusednet",
    }
)


def drawing(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty sheet whose units are inches."""
    figure, ax = plt.subplots(figsize=(width, height))
    figure.subplots_adjust(0, 0, 1, 1)
    ax.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    ax.axis("off")
    return figure, ax


def circle(ax: Axes, x: float, y: float, label: str, radius: float = 0.32, color: str = BLUE) -> None:
    ax.add_patch(Circle((x, y), radius, facecolor="white", edgecolor=color, linewidth=1.6, zorder=3))
    ax.text(x, y, label, ha="center", va="center", fontsize=14, zorder=4)


def box(ax: Axes, x: float, y: float, label: str, width: float = 1.5, height: float = 0.62) -> None:
    corner = (x - width / 2, y - height / 2)
    ax.add_patch(
        FancyBboxPatch(
            corner,
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor="white",
            edgecolor=BLUE,
            linewidth=1.6,
            zorder=3,
        )
    )
    ax.text(x, y, label, ha="center", va="center", fontsize=13, zorder=4)


def arrow(
    ax: Axes,
    start: tuple[float, float],
    end: tuple[float, float],
    label: str = "",
    color: str = "black",
    above: float = 0.17,
) -> None:
    ax.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>", mutation_scale=12, color=color, linewidth=1.2, shrinkA=0, shrinkB=0
        )
    )
    if label:
        x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
        ax.text(x, y + above, label, ha="center", va="center", fontsize=13, color=color)


def neuron() -> Figure:
    figure, ax = drawing(7.0, 2.7)
    for i, y in enumerate((2.2, 1.35, 0.5), start=1):
        circle(ax, 0.6, y, f"$x_{i}$", color=GREY)
        target = (2.62, 1.35 + 0.16 * (2 - i))
        arrow(ax, (0.94, y), target)
        ax.text(1.65, (y + target[1]) / 2 + 0.2, f"$w_{i}$", ha="center", fontsize=14, color=BLUE)
    circle(ax, 3.0, 1.35, r"$\Sigma$", 0.38)
    arrow(ax, (3.0, 0.45), (3.0, 0.95))
    ax.text(3.0, 0.25, "$b$", ha="center", va="center", fontsize=14, color=BLUE)
    arrow(ax, (3.4, 1.35), (4.6, 1.35), "$z = w\\cdot x + b$", above=0.3)
    circle(ax, 5.0, 1.35, "$f$", 0.38)
    arrow(ax, (5.4, 1.35), (6.6, 1.35), "$a = f(z)$", above=0.3)
    return figure


def network() -> Figure:
    figure, ax = drawing(7.0, 3.6)
    columns = [(1.0, 2, "x", GREY), (3.5, 3, "a", BLUE), (6.0, 1, r"\hat{y}", BLUE)]
    places = [[(x, 1.95 + 0.95 * ((count - 1) / 2 - i)) for i in range(count)] for x, count, _, _ in columns]
    for left, right in pairwise(places):
        for x0, y0 in left:
            for x1, y1 in right:
                ax.plot([x0, x1], [y0, y1], color=GREY, linewidth=1.0, zorder=1)
    for (_, count, name, color), column in zip(columns, places, strict=True):
        for i, (x, y) in enumerate(column, start=1):
            circle(ax, x, y, f"${name}_{i}$" if count > 1 else f"${name}$", color=color)
    ax.text(2.25, 3.25, r"$W_1\ (2\times 3),\ b_1$", ha="center", fontsize=13, color=BLUE)
    ax.text(4.75, 3.25, r"$W_2\ (3\times 1),\ b_2$", ha="center", fontsize=13, color=BLUE)
    ax.text(1.0, 0.25, "$X$", ha="center", fontsize=14)
    ax.text(3.5, 0.25, "$A_1 = f(X W_1 + b_1)$", ha="center", fontsize=13)
    ax.text(6.0, 0.25, r"$\hat{Y} = A_1 W_2 + b_2$", ha="center", fontsize=13)
    return figure


def activations() -> Figure:
    figure, axes = plt.subplots(1, 3, figsize=(9.0, 2.8), layout="constrained")
    z = np.linspace(-5, 5, 401)
    s, t = F.sigmoid(z), F.tanh(z)
    cases = [
        (r"sigmoid: $1/(1+e^{-z})$", s, s * (1 - s)),
        (r"tanh: $(e^{z}-e^{-z})/(e^{z}+e^{-z})$", t, 1 - t**2),
        (r"ReLU: $\max(z, 0)$", F.relu(z), np.where(z == 0, np.nan, z > 0)),
    ]
    for ax, (title, value, slope) in zip(axes, cases, strict=True):
        ax.axhline(0, color=GREY, linewidth=0.6)
        ax.axvline(0, color=GREY, linewidth=0.6)
        ax.plot(z, value, color=BLUE, linewidth=2, label="$f(z)$")
        ax.plot(z, slope, color=RED, linewidth=1.6, linestyle="--", label="$f'(z)$")
        ax.set(title=title, xlabel="$z$")
        ax.legend(loc="upper left")
    axes[2].set_ylim(-0.25, 5)
    return figure


def losses() -> Figure:
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.0), layout="constrained")
    r = np.linspace(-3, 3, 301)
    left.plot(r, r**2, color=BLUE, linewidth=2, label="$r^2$")
    left.plot(r, np.abs(r), color=GREEN, linewidth=1.6, linestyle="--", label="$|r|$")
    huber = np.where(np.abs(r) <= 1, r**2 / 2, np.abs(r) - 0.5)
    left.plot(r, huber, color=RED, linewidth=1.6, linestyle="-.", label=r"Huber, $\delta = 1$")
    left.set(xlabel=r"$r = \hat{y} - y$", ylabel="$L$", ylim=(0, 5))
    left.legend(loc="upper center")
    p = np.linspace(0.005, 1, 300)
    right.plot(p, -np.log(p), color=BLUE, linewidth=2, label=r"$-\log p_y$")
    right.set(xlabel="$p_y$", ylabel="$L$", ylim=(0, 5), xlim=(0, 1))
    right.legend(loc="upper right")
    return figure


def backpropagation() -> Figure:
    figure, ax = drawing(9.6, 2.3)
    labels = ["$X$", "$Z_1 = XW_1 + b_1$", "$A_1 = f(Z_1)$", r"$\hat{Y} = A_1W_2 + b_2$", r"$L(\hat{Y}, Y)$"]
    places, widths = [0.45, 2.25, 4.5, 6.85, 9.0], [0.6, 1.75, 1.45, 1.85, 1.1]
    for x, label, width in zip(places, labels, widths, strict=True):
        box(ax, x, 1.75, label, width)
    backward = [
        r"$dZ_1 W_1^T$",
        r"$dZ_1 = dA_1 \circ f'(Z_1)$",
        r"$dA_1 = d\hat{Y}\, W_2^T$",
        r"$d\hat{Y} = \partial L/\partial \hat{Y}$",
    ]
    for i in range(4):
        right, left = places[i] + widths[i] / 2, places[i + 1] - widths[i + 1] / 2
        arrow(ax, (right + 0.02, 1.85), (left - 0.02, 1.85))
        arrow(ax, (left - 0.02, 1.65), (right + 0.02, 1.65), color=RED)
        ax.text(
            (right + left) / 2,
            1.12,
            backward[i],
            ha="center",
            va="center",
            fontsize=13,
            color=RED,
        )
    ax.text(
        places[1], 0.3, r"$dW_1 = X^T dZ_1,\quad db_1 = \Sigma\, dZ_1$", ha="center", fontsize=13, color=RED
    )
    ax.text(
        places[3],
        0.3,
        r"$dW_2 = A_1^T d\hat{Y},\quad db_2 = \Sigma\, d\hat{Y}$",
        ha="center",
        fontsize=13,
        color=RED,
    )
    return figure


def descent() -> Figure:
    """Draw L(w) = (w − 1)² with steps along −dL/dw, and along +dL/dw as the wrong sign has it."""
    figure, ax = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    w = np.linspace(-1.4, 3.4, 201)
    ax.plot(w, (w - 1) ** 2, color="black", linewidth=1.4)
    for sign, start, count, color, label in (
        (-1, -0.9, 7, GREEN, r"$w \leftarrow w - \alpha \cdot 2(\hat{y} - y)$"),
        (1, 1.45, 6, RED, r"$w \leftarrow w - \alpha \cdot 2(y - \hat{y})$"),
    ):
        steps = 1 + (start - 1) * (1 + sign * 0.32) ** np.arange(count)
        heights = (steps - 1) ** 2
        ax.plot(steps, heights, "o", color=color, markersize=4, label=label)
        for i in range(count - 1):
            ends = (steps[i + 1], heights[i + 1]), (steps[i], heights[i])
            ax.annotate("", *ends, arrowprops={"arrowstyle": "-|>", "color": color, "shrinkB": 0})
    ax.set(xlabel="$w$", ylabel=r"$L(w) = (\hat{y} - y)^2$", ylim=(-0.2, 5.5))
    ax.legend(loc="upper center")
    return figure


def sine() -> Figure:
    """Draw the tutorial's last example: the fit on the left, its losses on the right."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-np.pi, np.pi, (400, 1))
    y = np.sin(X) + rng.normal(0, 0.1, X.shape)
    net = fn.Network([1, 32, 1], "tanh", seed=0)
    history = net.fit(
        X[:300],
        y[:300],
        epochs=300,
        optimizer=fn.SGD(fn.schedules.cosine(0.05, epochs=300), momentum=0.9),
        validation_data=(X[300:], y[300:]),
        progress=False,
    )
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.8, 3.2), layout="constrained")
    x = np.linspace(-np.pi, np.pi, 201)[:, None]
    left.plot(X[:300], y[:300], ".", color=GREY, markersize=4, label="$y$")
    left.plot(x, np.sin(x), color="black", linewidth=1, linestyle="--", label=r"$\sin x$")
    left.plot(x, net.predict(x), color=BLUE, linewidth=2, label=r"$\hat{y}$")
    left.set(xlabel="$x$")
    left.legend(loc="upper left")
    right.semilogy(history.loss, color=BLUE, label="history.loss")
    right.semilogy(history.val_loss, color=RED, linewidth=1, label="history.val_loss")
    right.axhline(0.01, color=GREY, linewidth=1, linestyle="--", label=r"$\sigma^2 = 0.01$")
    right.set(xlabel="epoch", ylabel="$L$")
    right.legend(loc="upper right")
    return figure


PICTURES = (neuron, network, activations, losses, backpropagation, descent, sine)


def main(folder: Path) -> None:
    """Draw every picture into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in PICTURES:
        figure = picture()
        figure.savefig(folder / f"{picture.__name__}.svg", metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "pictures")
