"""The record of a training."""

from xml.etree import ElementTree

import pytest

import fusednet as fn


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


def cells(html):
    """Return the rows of a table; an error where the tags do not fit."""
    rows = ElementTree.fromstring(html).iter("tr")
    return [[cell.text or "" for cell in row] for row in rows]


def test_html(history):
    history.metrics = {"val_<f>": [0.9, 0.5, 0.7]}
    assert cells(history._repr_html_()) == [
        ["", "epoch 0", "epoch 1, the best", "epoch 2, the last"],
        ["loss", "3", "2", "1"],
        ["val_loss", "3.5", "1.5", "2.5"],
        ["val_<f>", "0.9", "0.5", "0.7"],
        ["learning_rate", "0.1", "0.1", "0.1"],
    ]
    assert fn.History()._repr_html_() == "<div>History(no epochs)</div>"
    nan = float("nan")
    diverged = fn.History([nan], metrics={"<f>": [nan]}, learning_rate=[0.1])
    assert ElementTree.fromstring(diverged._repr_html_()).text == repr(diverged)


def test_the_best_is_a_number():
    nan = float("nan")
    assert fn.History(loss=[nan, 2.0, 1.0, nan]).best_epoch == 2
    assert fn.History(loss=[nan]).best_epoch is None


def test_append():
    history = fn.History(metrics={"m": []})
    history.append({"loss": 1.0, "val_loss": 2.0, "learning_rate": 0.1, "m": 3.0, "more": 4.0})
    assert history == fn.History([1.0], [2.0], {"m": [3.0]}, [0.1])


def test_an_epoch_is_appended_whole_or_not_at_all():
    class Interrupts(dict):
        def __getitem__(self, name):
            if name == "m":
                raise KeyboardInterrupt
            return super().__getitem__(name)

    history = fn.History([1.0], [2.0], {"k": [3.0], "m": [4.0]}, [0.1])
    with pytest.raises(KeyboardInterrupt):
        history.append(Interrupts(loss=5.0, val_loss=5.0, learning_rate=5.0, k=5.0, m=5.0))
    assert history == fn.History([1.0], [2.0], {"k": [3.0], "m": [4.0]}, [0.1])


def test_two_histories_share_nothing():
    a, b = fn.History(), fn.History()
    a.loss.append(1.0)
    a.metrics["m"] = []
    assert b == fn.History()
