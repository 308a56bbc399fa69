"""The record of a training and its picture."""

import builtins

import matplotlib
import pytest

import fusednet as fn

matplotlib.use("Agg")


@pytest.fixture
def history():
    return fn.History(
        loss=[3.0, 2.0, 1.0],
        val_loss=[3.5, 1.5, 2.5],
        metrics={"val_mae": [0.9, 0.5, 0.7]},
        learning_rate=[0.1] * 3,
    )


def test_counts_and_best_epoch(history):
    assert history.epochs == 3
    assert history.best_epoch == 1
    history.val_loss = []
    assert history.best_epoch == 2
    assert fn.History().epochs == 0
    assert fn.History().best_epoch is None


def test_repr(history):
    assert repr(history) == "History(3 epochs, loss 1, val_loss 2.5, val_mae 0.7; best epoch 1)"
    assert repr(fn.History()) == "History(no epochs)"


def test_two_histories_share_nothing():
    a, b = fn.History(), fn.History()
    a.loss.append(1.0)
    a.metrics["m"] = []
    assert b == fn.History()


def test_plot(history):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    ax = history.plot()
    lines = {line.get_label(): list(line.get_ydata()) for line in ax.lines}
    assert lines["training loss"] == [3.0, 2.0, 1.0]
    assert lines["validation loss"] == [3.5, 1.5, 2.5]
    assert lines["best: epoch 1, 1.5"] == [1.5]
    assert ax.get_xlabel() == "epoch"
    assert ax.get_legend() is not None
    pyplot.close(ax.figure)


def test_plot_into_given_axes(history):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figure, ax = pyplot.subplots()
    before = pyplot.get_fignums()
    assert history.plot(ax) is ax
    assert fn.History(loss=[1.0]).plot(ax=ax) is ax
    assert pyplot.get_fignums() == before
    pyplot.close(figure)


def test_plot_without_matplotlib(history, monkeypatch):
    real_import = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'pip install "fusednet\[plot\]"'):
        history.plot()
