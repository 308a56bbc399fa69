"""What a classifier of two features answers where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fusednet import _evaluation
from fusednet._data import as_array
from fusednet.network import Network
from fusednet.plots._axes import axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GRID = 400  # points a side
_LEGEND = 20  # classes; more of them get a colour bar
_LEGEND_INSIDE = 5


def decision_regions(net: Network, X: Any, y: ArrayLike, ax: Axes | None = None) -> Axes:
    """Draw which class a network predicts over the plane of its two inputs, and data with their true classes.

    The areas are the paler the less sure the network is. Wrongly classified points have a black ring.

    Parameters
    ----------
    net : Network
        With two inputs and a softmax output, or one sigmoid output.
    X : array-like of shape (n, 2)
        Inputs. The columns of a data frame name the axes.
    y : array-like of shape (n,), or of shape (n, out_features)
        Their classes, as `Network.fit` takes them.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError, TypeError
        If `net` is no network, or has other than two inputs or less than two classes; if the data have the
        wrong shape, dtype or values.
    """
    if not isinstance(net, Network):
        raise TypeError(f"net must be a fusednet.Network, not {type(net).__name__}")
    layer = net.layers[-1]
    if net.layers[0].in_features != 2:
        raise ValueError(f"decision regions need a network of 2 inputs, not {net.layers[0].in_features}")
    if layer.activation == "sigmoid" and layer.out_features > 1:
        raise ValueError(f"the {layer.out_features} sigmoid outputs are not classes that exclude each other")
    if layer.activation == "softmax" and layer.out_features == 1:
        raise ValueError("decision regions need at least 2 classes, not a softmax of 1")
    points, targets = as_array(X), as_array(y, "y")
    predicted = _evaluation.classes(np.atleast_2d(net.predict(points)), layer.activation)
    points = np.atleast_2d(points)
    classes = layer.out_features if layer.activation == "softmax" else 2
    true = _labels(targets, len(points), layer.out_features, classes)

    ax = axes(ax)
    colors = _colors(classes)
    extent = (*_range(points[:, 0]), *_range(points[:, 1]))
    ax.imshow(
        _areas(net, extent, colors), extent=extent, origin="lower", aspect="auto", interpolation="nearest"
    )
    _scatter(ax, points, true, predicted != true, 0.75 * colors)
    # Two dollar signs would begin and end a formula.
    names = [str(name).replace("$", r"\$") for name in getattr(X, "columns", ["feature 0", "feature 1"])]
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1])
    ax.set_title(
        f"areas: predicted class, points: true class ({np.mean(predicted == true):.1%} agree)",
        fontsize="medium",
    )
    return ax


def _labels(y: NDArray[Any], samples: int, outputs: int, classes: int) -> NDArray[Any]:
    """Return the true classes as integers, checked."""
    if len(y) != samples or (y.ndim == 2 and y.shape[1] != outputs):
        raise ValueError(f"y must have the shape ({samples},) or ({samples}, {outputs}), not {y.shape}")
    if y.ndim == 2 and outputs > 1:
        return np.asarray(y.argmax(axis=1))
    labels = y.reshape(-1)
    wrong = labels[~np.isin(labels, np.arange(classes))]
    if wrong.size:
        raise ValueError(f"y must hold class labels from 0 to {classes - 1}, but holds {wrong[0]}")
    return labels.astype(np.int64)


def _range(values: NDArray[Any]) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.07 * (high - low) or 0.5
    return low - margin, high + margin


def _colors(classes: int) -> NDArray[np.float64]:
    from matplotlib import colormaps

    if classes <= _LEGEND:
        return np.array(colormaps["tab10" if classes <= 10 else "tab20"](np.arange(classes)))[:, :3]
    return np.array(colormaps["turbo"](np.linspace(0, 1, classes)))[:, :3]


def _areas(net: Network, extent: tuple[float, ...], colors: NDArray[Any]) -> NDArray[Any]:
    """Return an image of the predictions: the class's colour, the paler the less probable it is."""
    left, right, low, high = extent
    x, y = np.meshgrid(np.linspace(left, right, _GRID), np.linspace(low, high, _GRID))
    output = net.predict(np.column_stack([x.ravel(), y.ravel()])).astype(np.float64)
    probability = output if output.shape[1] > 1 else np.hstack([1 - output, output])
    chance = 1 / len(colors)
    surety = ((probability.max(axis=1) - chance) / (1 - chance)).clip(0, 1)
    strength = 0.15 + 0.4 * surety[:, None]
    image = 1 - strength * (1 - colors[_evaluation.classes(output, net.layers[-1].activation)])
    return np.asarray(image.reshape(_GRID, _GRID, 3))


def _scatter(
    ax: Axes, points: NDArray[Any], true: NDArray[Any], wrong: NDArray[Any], colors: NDArray[np.float64]
) -> None:
    """Draw the points and say what the colours mean."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.lines import Line2D

    size = float(np.clip(8000 / len(points), 10, 40))
    x, y = points.T
    ax.scatter(x, y, size, colors[true], edgecolors="white", linewidths=0.5)
    ax.scatter(x[wrong], y[wrong], size, "none", edgecolors="black", linewidths=1.0)
    classes = len(colors)
    handles = [
        Line2D([], [], ls="", marker="o", markeredgecolor="white", color=color, label=f"class {index}")
        for index, color in enumerate(colors)
    ]
    if classes > _LEGEND:
        norm = BoundaryNorm(np.arange(classes + 1) - 0.5, classes)
        ticks = np.arange(0, classes, 1 + classes // 20)
        ax.figure.colorbar(ScalarMappable(norm, ListedColormap(colors)), ax=ax, label="class", ticks=ticks)
        handles = []
    if wrong.any():
        ring = Line2D(
            [],
            [],
            ls="",
            marker="o",
            markerfacecolor="none",
            markeredgecolor="black",
            label="wrongly predicted",
        )
        handles.append(ring)
    if classes > _LEGEND_INSIDE and handles:
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize="small")
    elif handles:
        ax.legend(handles=handles, loc="best")
