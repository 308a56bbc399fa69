"""The progress bar: what it says, when, and where it says nothing."""

import io
import math
import re
import sys

import numpy as np
import pytest

import fusednet as fn
from fusednet import _progress

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 3))
Y = np.sin(X.sum(axis=1))


def network():
    return fn.Network([3, 8, 1], activation="tanh", seed=0)


class Interrupt(fn.Callback):
    def on_epoch_begin(self, net, epoch):
        if epoch == 2:
            raise KeyboardInterrupt


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    history = network().fit(X, Y, epochs=3, validation_data=(X, Y))
    text = sys.stderr.getvalue().split("\r")[-1]
    assert "3/3" in text
    assert f"loss={history.loss[-1]:.4g}, val_loss={history.val_loss[-1]:.4g}" in text
    assert text.endswith("\n")


def test_progress_says_how_fast_and_how_long(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    network().fit(X, Y, epochs=3)
    text = sys.stderr.getvalue().split("\r")[-1]
    assert re.search(r"^epoch 3/3 \|[#█]+\| 00:00<00:00, loss=\S+, [\d.]+[kM]? samples/s$", text.strip())


def test_progress_within_an_epoch(monkeypatch):
    monkeypatch.setattr(_progress, "_INTERVAL", 0.0)
    monkeypatch.setattr(_progress, "_SHARE", math.inf)
    monkeypatch.setattr(sys, "stderr", Terminal())
    network().fit([(X[:10], Y[:10]), (X[10:20], Y[10:20])], epochs=2)
    frames = [frame.split("|") for frame in sys.stderr.getvalue().replace("\n", "").split("\r")[1:]]
    seen = [(title.strip(), round(bar.count("#") / len(bar), 1)) for title, bar, _ in frames]
    titles = ["epoch 0/2"] * 3 + ["epoch 1/2"] * 3 + ["epoch 2/2"] * 2
    shares = [0, 0, 0, 0.5, 0.75, 1, 1, 1]  # how long the first epoch is, is not known
    assert [title for title, _ in seen] == titles
    np.testing.assert_allclose([share for _, share in seen], shares, atol=0.1)


def test_the_core_tells_how_far_an_epoch_is():
    done = []

    def progress(rows):
        done.append(rows)
        if len(done) == 2:
            raise EOFError

    big_X, big_Y = np.ones((1_000_000, 3)), np.ones(1_000_000)
    net = fn.Network([3, 256, 256, 1], seed=0)
    with pytest.raises(EOFError):
        net._core.train_epoch(big_X, big_Y, fn.SGD(1e-4)._core, 100, None, None, progress)
    assert 0 < done[0] < done[1] <= 1_000_000
    assert done[0] % 100 == done[1] % 100 == 0


def test_progress_takes_little_of_the_time(monkeypatch):
    times = iter(np.arange(0.0, 1000.0, 0.02))  # each look at the clock takes 20 ms here
    monkeypatch.setattr(_progress, "perf_counter", lambda: next(times))
    monkeypatch.setattr(sys, "stderr", Terminal())
    network().fit(X, Y, epochs=900)
    frames = len(sys.stderr.getvalue().split("\r")) - 2  # without the first and the last
    assert 3 < frames < 7  # of 18 s one hundredth, a drawing being 40 ms


def test_progress_of_a_resumed_training(monkeypatch, tmp_path):
    network().fit(X, Y, epochs=3, callbacks=[fn.ModelCheckpoint(tmp_path / "run")])
    monkeypatch.setattr(sys, "stderr", Terminal())
    network().fit(X, Y, epochs=5, resume=tmp_path / "run")
    frames = sys.stderr.getvalue().split("\r")
    assert "epoch 3/5" in frames[1]
    assert "epoch 5/5" in frames[-1]


def test_progress_of_a_training_that_stops_early(monkeypatch):
    class Stop(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            net.stop_training = epoch == 1

    monkeypatch.setattr(sys, "stderr", Terminal())
    network().fit(X, Y, epochs=9, callbacks=[Stop()])
    assert re.search(r"epoch 2/9 \|[#█]+\| 00:00<00:00,", sys.stderr.getvalue().split("\r")[-1])


@pytest.mark.parametrize(
    "stream", [Terminal(), io.StringIO(), None], ids=["told so", "no terminal", "no stderr"]
)
def test_silence(monkeypatch, capfd, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    network().fit(X, Y, epochs=3, progress=not (stream is not None and stream.isatty()))
    assert stream is None or stream.getvalue() == ""
    assert capfd.readouterr() == ("", "")


def test_the_bar_is_closed_after_an_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(KeyboardInterrupt):
        network().fit(X, Y, epochs=9, callbacks=[Interrupt()])
    assert "2/9" in sys.stderr.getvalue().split("\r")[-1]
    assert sys.stderr.getvalue().endswith("\n")
