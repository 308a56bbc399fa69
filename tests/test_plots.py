"""Pictures: what is in them. Whether they can be read was looked at."""

import sys

import matplotlib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import fusednet as fn

matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def draw(ax):
    """Draw in earnest, warnings being errors."""
    ax.figure.canvas.draw()


# History


def history(loss, val_loss=(), learning_rate=None):
    rates = [0.1] * len(loss) if learning_rate is None else learning_rate
    return fn.History(loss=list(loss), val_loss=list(val_loss), learning_rate=list(rates))


def lines(ax):
    return {line.get_label(): list(line.get_ydata()) for line in ax.lines}


def rate_axes(ax):
    (other,) = [each for each in ax.figure.axes if each is not ax]
    return other


def test_history():
    ax = history([3.0, 2.0, 1.0], [3.5, 1.5, 2.5], [0.3, 0.2, 0.1]).plot()
    draw(ax)
    assert lines(ax) == {
        "training loss": [3.0, 2.0, 1.0],
        "validation loss": [3.5, 1.5, 2.5],
        "best: 1.5 in epoch 1": [1.5],
    }
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")
    right = rate_axes(ax)
    assert right.get_ylabel() == "learning rate"
    assert lines(right) == {"learning rate": [0.3, 0.2, 0.1]}
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == [*lines(ax), "learning rate"]


def test_the_best_epoch_of_training_without_validation():
    assert lines(history([2.0, 1.0, 3.0]).plot())["best: 1 in epoch 1"] == [1.0]


@pytest.mark.parametrize(
    ("loss", "val_loss", "scale"),
    [
        ([5.0, 1.0], [2.0, 1.0], "linear"),
        ([1e6, 1e-3], [2.0, 1.0], "log"),
        ([5.0, 1.0], [1e4, 1.0], "log"),
        ([1e6, -1e-3], [2.0, 1.0], "linear"),
        ([1e6, 0.0], [], "linear"),
        ([5.0, 1.0], [np.nan, np.inf], "linear"),
        ([0.5], [0.6], "linear"),
    ],
)
def test_scales_of_the_loss(loss, val_loss, scale):
    ax = history(loss, val_loss).plot()
    draw(ax)
    assert ax.get_yscale() == scale


@pytest.mark.parametrize(
    ("schedule", "scale"),
    [
        (lambda epoch: 0.1, "linear"),
        (fn.schedules.cosine(0.1, 60), "linear"),
        (fn.schedules.one_cycle(0.1, 60), "linear"),
        (fn.schedules.step(0.1, 20), "log"),
        (fn.schedules.exponential(0.1, 0.9), "log"),
        (lambda epoch: 0.0, "linear"),
    ],
)
def test_scales_of_the_learning_rate(schedule, scale):
    ax = history([1.0] * 60, learning_rate=map(schedule, range(60))).plot()
    draw(ax)
    assert rate_axes(ax).get_yscale() == scale


def test_one_epoch_is_visible():
    ax = history([0.5]).plot()
    assert ax.lines[0].get_marker() == "."
    assert ax.get_xticks().tolist() == [0]


def test_a_history_cut_short_by_ctrl_c():
    cut = history([3.0, 2.0, 1.0], [3.0, 2.0])
    draw(cut.plot())


def test_no_epoch():
    with pytest.raises(ValueError, match="no epoch to draw"):
        fn.History().plot()


# Networks


def texts(ax):
    return [text.get_text() for text in ax.texts]


def circles(ax):
    """Return the number of circles in each column: dots that stand for others are smaller."""
    sizes = [(c.get_sizes()[0], c.get_offsets()[0, 0], len(c.get_offsets())) for c in ax.collections[1:]]
    largest = max(size for size, _, _ in sizes)
    return [count for size, _, count in sizes if size == largest]


def test_network():
    net = fn.Network([3, 5, 2], "tanh", output="softmax", loss="cross_entropy", dropout=0.25)
    ax = net.plot()
    draw(ax)
    assert circles(ax) == [3, 5, 2]
    assert texts(ax) == [
        "3 inputs",
        "",
        "5 units",
        "layer 0\ntanh\ndropout 0.25",
        "2 outputs",
        "layer 1\nsoftmax",
    ]
    assert len(ax.collections[0].get_segments()) == 3 * 5 + 5 * 2
    assert ax.get_title() == "32 parameters, loss: cross_entropy"


def test_wide_layers_are_shortened():
    ax = fn.Network([1000, 10, 9, 1]).plot()
    assert circles(ax) == [8, 8, 9, 1]
    assert "1,000 inputs" in texts(ax)
    assert "1 output" in texts(ax)


def test_layers_alike_share_a_column():
    net = fn.Network([8, *[8] * 30, 1])
    net.layers[29].trainable = False
    ax = net.plot()
    draw(ax)
    assert circles(ax) == [8, 8, 8, 1]
    assert "8 units\n× 29 layers" in texts(ax)
    assert "layers 0 to 28\nrelu" in texts(ax)
    assert "layer 29\nrelu\nfrozen" in texts(ax)


def test_many_different_layers():
    ax = fn.Network([2, *range(3, 40), 1]).plot()
    draw(ax)
    boxes = [text.get_window_extent() for text in ax.texts if text.get_text()]
    overlaps = [(a, b) for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    assert overlaps == []


def test_a_callable_loss_has_its_name():
    def squared(y_pred, y_true):
        raise NotImplementedError

    assert fn.Network([1, 1], loss=squared).plot().get_title() == "2 parameters, loss: squared"


# Decision regions


def classifier(classes):
    """Return a network whose class is that of the nearest of some points on a circle."""
    angles = 2 * np.pi * np.arange(classes) / classes
    layer = fn.Dense(2, classes, "softmax")
    layer.weights = 500 * np.array([np.cos(angles), np.sin(angles)])
    net = fn.Network([layer], output="softmax", loss="cross_entropy")
    labels = RNG.integers(classes, size=200)
    X = np.column_stack([np.cos(angles[labels]), np.sin(angles[labels])])
    return net, X + RNG.normal(scale=0.01, size=X.shape), labels


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("classes", [2, 3, 7, 15, 20])
def test_decision_regions(classes):
    net, X, y = classifier(classes)
    ax = fn.plots.decision_regions(net, X, y)
    draw(ax)
    assert legend(ax) == [f"class {index}" for index in range(classes)]
    assert "(100.0% agree)" in ax.get_title()
    # Where a class lies the area has the hue of its points.
    image, (left, right, low, high) = ax.images[0].get_array(), ax.images[0].get_extent()
    handles = ax.get_legend().legend_handles
    for label in range(classes):
        x, z = X[y == label].mean(axis=0)
        row, column = int((z - low) / (high - low) * 400), int((x - left) / (right - left) * 400)
        dark = np.array(matplotlib.colors.to_rgb(handles[label].get_color()))
        np.testing.assert_allclose((1 - image[row, column]) / 0.55, 1 - dark / 0.75, atol=0.03)


def test_many_classes_get_a_colour_bar():
    net, X, y = classifier(37)
    ax = fn.plots.decision_regions(net, X, y)
    draw(ax)
    assert rate_axes(ax).get_ylabel() == "class"
    assert ax.get_legend() is None


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_one_sigmoid_output(shape):
    layer = fn.Dense(2, 1, "sigmoid")
    layer.weights = [[30.0], [0.0]]
    net = fn.Network([layer], output="sigmoid", loss="binary_cross_entropy")
    X = np.array([[-1.0, 0.0], [1.0, 3.0], [2.0, 1.0], [-2.0, 0.5]])
    ax = fn.plots.decision_regions(net, X, np.array([0, 1, 0, 0]).reshape(shape))
    assert legend(ax) == ["class 0", "class 1", "wrongly predicted"]
    assert "(75.0% agree)" in ax.get_title()
    assert ax.collections[1].get_offsets().tolist() == [[2.0, 1.0]]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("feature 0", "feature 1")


def test_one_hot_labels_and_the_names_of_a_frame():
    pandas = pytest.importorskip("pandas")
    net, X, y = classifier(3)
    frame = pandas.DataFrame(X, columns=["width / cm", "height / cm"])
    ax = fn.plots.decision_regions(net, frame, np.eye(3)[y])
    assert "(100.0% agree)" in ax.get_title()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width / cm", "height / cm")


def test_dollars_in_the_names_of_a_frame_are_no_formula():
    pandas = pytest.importorskip("pandas")
    net, X, y = classifier(3)
    frame = pandas.DataFrame(X, columns=["US$ and A$ {", "x^2"])
    ax = fn.plots.decision_regions(net, frame, y)
    draw(ax)
    plain = ax.figure.text(0, 0, "US$ and A$ {", parse_math=False, fontsize=ax.xaxis.label.get_fontsize())
    assert ax.xaxis.label.get_window_extent().width == pytest.approx(plain.get_window_extent().width)


def test_one_sample():
    net, X, y = classifier(3)
    draw(fn.plots.decision_regions(net, X[:1], y[:1]))


@pytest.mark.parametrize(
    ("net", "X", "y", "error", "words"),
    [
        (fn.Network([3, 2], output="softmax"), np.ones((2, 3)), [0, 1], ValueError, "2 inputs, not 3"),
        (fn.Network([2, 1]), np.ones((2, 2)), [0, 1], ValueError, "softmax"),
        (fn.Network([2, 1], output="softmax"), np.ones((2, 2)), [0, 0], ValueError, "not a softmax of 1"),
        (LogisticRegression(), np.ones((2, 2)), [0, 1], TypeError, "Network, not LogisticRegression"),
        (fn.Network([2, 3], output="sigmoid"), np.ones((2, 2)), [0, 1], ValueError, "3 sigmoid outputs"),
        (fn.Network([2, 2], output="softmax"), np.ones((2, 3)), [0, 1], ValueError, "X: expected"),
        (fn.Network([2, 2], output="softmax"), np.ones((2, 2)), [0], ValueError, r"not \(1,\)"),
        (fn.Network([2, 2], output="softmax"), np.ones((2, 2)), np.ones((2, 3)), ValueError, r"not \(2, 3\)"),
        (fn.Network([2, 2], output="softmax"), np.ones((2, 2)), [0, 2], ValueError, "0 to 1, but holds 2"),
        (fn.Network([2, 2], output="softmax"), np.ones((2, 2)), [0, np.nan], ValueError, "holds nan"),
        (fn.Network([2, 2], output="softmax"), [[1, np.nan]], [0], ValueError, "finite"),
        (fn.Network([2, 2], output="softmax"), np.ones((2, 2)), ["a", "b"], TypeError, "y must hold real"),
        (fn.Network([2, 2], output="softmax"), np.ones((0, 2)), [], ValueError, "X"),
    ],
)
def test_what_has_no_regions(net, X, y, error, words):
    with pytest.raises(error, match=words):
        fn.plots.decision_regions(net, X, y)
    assert plt.get_fignums() == []


# All of them

PICTURES = {
    "history": lambda **options: history([2.0, 1.0]).plot(**options),
    "network": lambda **options: fn.Network([2, 3, 1]).plot(**options),
    "regions": lambda **options: fn.plots.decision_regions(*classifier(3), **options),
}


@pytest.mark.parametrize("picture", PICTURES)
def test_given_axes(picture):
    figure, (_, ax) = plt.subplots(1, 2)
    assert PICTURES[picture](ax=ax) is ax
    assert plt.get_fignums() == [figure.number]
    draw(ax)


@pytest.mark.parametrize("draw_it", [fn.plots.network, fn.plots.history])
def test_what_is_nothing_to_draw(draw_it):
    with pytest.raises(TypeError, match=r"must be a fusednet\.(Network|History), not int"):
        draw_it(5)


@pytest.mark.parametrize("picture", PICTURES)
def test_without_matplotlib(monkeypatch, picture):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'matplotlib: pip install "fusednet\[plot\]"'):
        PICTURES[picture]()
