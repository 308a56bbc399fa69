"""ModelCheckpoint: what its files are, when they are written, and writing that fails."""

import json
import math
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import safetensors

import fusednet as fn
from fusednet import _sources

from checkpoint_helpers import TRAIN, VALIDATION, X, Y, everything, fit, interrupted, network


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


# What the file is


def test_load_gives_the_network(path):
    net = interrupted(path)
    again = fn.load(path)
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    assert again.history == net.history
    again.save(path)
    assert fn.load(path).history == fn.History()
    with pytest.raises(ValueError, match=r"run\.safetensors: it holds no training"):
        fit(network(), resume=path)


def test_not_a_number_in_the_history(path):
    metrics = {"m": lambda y, p: math.nan}
    interrupted(path, metrics=metrics, network={"dtype": "float64"})
    net = network(dtype="float64")
    fit(net, metrics=metrics, resume=path)
    assert len(net.history.metrics["val_m"]) == 9
    assert all(map(math.isnan, net.history.metrics["val_m"]))


class Holder(fn.Callback):
    def __init__(self, held):
        self.held = held

    def state_dict(self):
        return {"held": self.held}

    def load_state_dict(self, state):
        self.held = state["held"]


@pytest.mark.parametrize("dtype", ["bool", "i1", ">u2", "<f2", ">f4", ">f8"])
def test_arrays_of_callbacks(path, dtype):
    values, taken = np.array([[0, 1], [2, 3]], dtype).T, Holder(None)
    interrupted(path, callbacks=[Holder(values)])
    fit(network(), callbacks=[taken, fn.ModelCheckpoint(path)], resume=path)
    np.testing.assert_array_equal(taken.held, values)
    assert taken.held.dtype == np.dtype(dtype).newbyteorder("=")


@pytest.mark.parametrize(
    "held",
    [
        np.array(["a"]),
        np.array([1j]),
        np.array([None]),
        np.ones(1, "M8[s]"),
        np.ma.masked_array([1.0], [True]),
    ],
)
def test_arrays_that_no_file_takes(path, held):
    with pytest.raises(TypeError, match=r"Holder\.state_dict\(\)\['held'\] is (an array of|a masked array)"):
        fit(network(), callbacks=[Holder(held), fn.ModelCheckpoint(path)])
    assert not path.exists()


class Late(fn.Callback):
    def on_epoch_begin(self, net, epoch):
        raise KeyError("too late")


@pytest.mark.parametrize(
    ("callback", "error"), [(None, ValueError), (fn.CSVLogger, ValueError), (Late, KeyError)]
)
def test_a_resume_that_fails_leaves_no_trace(path, tmp_path, callback, error):
    interrupted(path, network={"dropout": 0.2})
    net, optimizer = network(seed=1, dropout=0.2), fn.SGD(0.01)
    net.standardize(X)
    net.fit(X, Y, epochs=1, optimizer=optimizer)
    before, mean = everything(net), net.input_mean
    targets, foreign = Y[TRAIN].copy(), tmp_path / "log.csv"
    foreign.write_text("something\n")
    callbacks = [Late()] if callback is Late else [fn.CSVLogger(foreign)]
    if callback is None:
        targets[30], callbacks = np.nan, []
    with pytest.raises(error):
        net.fit(
            X[TRAIN], targets, epochs=9, batch_size=7, optimizer=optimizer, resume=path,
            validation_data=(X[VALIDATION], Y[VALIDATION]), callbacks=callbacks,
        )  # fmt: skip
    assert everything(net) == before
    np.testing.assert_array_equal(net.input_mean, mean)
    assert foreign.read_text() == "something\n"


@pytest.mark.parametrize(
    ("state", "word"), [({}, "'best'"), ({"best": "x"}, "'x'"), ({"best": None}, "NoneType")]
)
def test_a_state_that_its_callback_did_not_save(path, monkeypatch, state, word):
    stopping = fn.EarlyStopping(monitor="loss", patience=50)
    with monkeypatch.context() as patch:
        patch.setattr(fn.EarlyStopping, "state_dict", lambda self: {"best_epoch": 0, **state})
        interrupted(path, callbacks=[stopping])
    net = network(seed=1)
    before = net.parameters.copy()
    with pytest.raises(ValueError, match=f"state of EarlyStopping is not one that it saved.*{word}"):
        fit(net, callbacks=[fn.EarlyStopping(monitor="loss", patience=50)], resume=path)
    np.testing.assert_array_equal(net.parameters, before)


# When it is written


def test_a_file_for_each_epoch(tmp_path):
    pattern = tmp_path / "new" / "{epoch:03d}-{val_loss:.3f}.safetensors"
    files = fn.ModelCheckpoint(pattern)
    history = fit(network(), callbacks=[files], epochs=3)
    names = [f"{epoch:03d}-{loss:.3f}.safetensors" for epoch, loss in enumerate(history.val_loss)]
    assert sorted(os.listdir(tmp_path / "new")) == names
    assert files.last_path == str(tmp_path / "new" / names[-1])
    assert [fn.load(tmp_path / "new" / name).history.epochs for name in names] == [1, 2, 3]


@pytest.mark.parametrize("pattern", ["{nothing}.s", "{", "{}.s", "{epoch.x}.s"])
def test_a_path_that_cannot_be_filled_in(tmp_path, pattern):
    with pytest.raises(ValueError, match="there are epoch, learning_rate, loss, val_loss"):
        fit(network(), callbacks=[fn.ModelCheckpoint(tmp_path / pattern)])
    assert os.listdir(tmp_path) == []


class Scripted(fn.Callback):
    """Gives the validation loss a known course."""

    def __init__(self, *values):
        self.values = values

    def on_epoch_end(self, net, epoch, logs):
        logs["val_loss"] = self.values[epoch]


def epochs_written(monkeypatch, callbacks, epochs):
    from fusednet import serialization

    written = []
    write = serialization.write_file
    monkeypatch.setattr(
        serialization,
        "write_file",
        lambda path, config, tensors: (
            written.append(config["training"]["epochs"] - 1),
            write(path, config, tensors),
        ),
    )
    fit(network(), callbacks=callbacks, epochs=epochs)
    return written


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0, 1, 2, 3, 4, 5, 6]),
        ({"every": 3}, [2, 5, 6]),
        ({"every": 100}, [6]),
        ({"save_best_only": True}, [0, 1, 4]),
        ({"save_best_only": True, "every": 2}, [1, 4]),
        ({"save_best_only": True, "mode": "max"}, [0, 5]),
        ({"save_best_only": True, "monitor": "learning_rate"}, [0]),
    ],
)
def test_which_epochs_are_written(path, monkeypatch, options, expected):
    course = Scripted(3.0, 2.0, 2.5, math.nan, 1.0, 9.0, 1.0)
    assert epochs_written(monkeypatch, [course, fn.ModelCheckpoint(path, **options)], 7) == expected


def test_the_best_value_is_remembered(path, tmp_path):
    last, best = tmp_path / "last", tmp_path / "best"

    def callbacks(*values):
        files = [fn.ModelCheckpoint(best, save_best_only=True), fn.ModelCheckpoint(last)]
        return [Scripted(*values), *files]

    fit(network(), callbacks=callbacks(3.0, 1.0, 2.0), epochs=3)
    assert fn.load(best).history.epochs == 2
    fit(network(), callbacks=callbacks(None, None, None, 1.5, 1.2), epochs=5, resume=last)
    assert fn.load(best).history.epochs == 2
    fit(network(), callbacks=callbacks(*[None] * 5, 0.5), epochs=6, resume=last)
    assert fn.load(best).history.epochs == 6


def test_unknown_monitor(path):
    with pytest.raises(ValueError, match="ModelCheckpoint monitors 'val_r2', but there is only"):
        fit(network(), callbacks=[fn.ModelCheckpoint(path, "val_r2", save_best_only=True)])


def test_it_writes_after_the_others_have_seen_the_epoch(path):
    stopping = fn.EarlyStopping("learning_rate", patience=50, restore_best=False)
    falling = fn.schedules.exponential(0.05, 0.5)
    interrupted(path, lambda: fn.SGD(falling), [stopping], after=4)  # the files' callback comes first there
    with safetensors.safe_open(path, framework="numpy") as file:
        training = json.loads(file.metadata()["config"])["training"]
    assert training["epochs"] == 4
    assert training["callbacks"] == [{"best": stopping.best, "best_epoch": 3}]


@pytest.mark.parametrize("every", [1, 3, 100])
def test_ctrl_c_loses_no_epoch(path, every):
    interrupted(path, after=5, every=every)
    assert fn.load(path).history.epochs == 5


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal to itself")
def test_ctrl_c_within_an_epoch(path, monkeypatch, ctrl_c):
    class CtrlC(fn.Callback):
        def on_epoch_begin(self, net, epoch):
            if epoch == 6:
                monkeypatch.setattr(_sources.Rows, "train_epoch", train_epoch_and_ctrl_c)

    def train_epoch_and_ctrl_c(*arguments):
        train_epoch(*arguments)
        signal.raise_signal(signal.SIGINT)

    train_epoch = _sources.Rows.train_epoch
    reference, net = network(), network(seed=3)
    fit(reference, lambda: fn.Adam(0.01))
    with pytest.raises(KeyboardInterrupt):
        fit(network(), lambda: fn.Adam(0.01), [fn.ModelCheckpoint(path, every=4), CtrlC()])
    monkeypatch.undo()
    assert fn.load(path).history.epochs == 6
    fit(net, lambda: fn.Adam(0.01), resume=path)
    assert everything(net) == everything(reference)


def test_divergence_leaves_the_last_finite_epoch(path):
    class Jump(fn.Callback):
        def on_epoch_begin(self, net, epoch):
            if epoch == 3:
                net.optimizer.learning_rate = 1e30

    net = network(activation="relu")
    with pytest.raises(fn.DivergenceError):
        fit(net, callbacks=[fn.ModelCheckpoint(path, every=10), Jump()])
    again = fn.load(path)
    assert again.history.epochs == 3
    np.testing.assert_array_equal(again.parameters, net.parameters)


# Writing that fails


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_write_leaves_the_old_file(path, monkeypatch, step):
    interrupted(path)
    before = path.read_bytes()

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="disk full"):
        fit(network(), callbacks=[fn.ModelCheckpoint(path)], resume=path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_ctrl_c_while_writing_writes_again(path, monkeypatch):
    replace, calls = os.replace, []

    def interrupt_once(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        replace(*arguments)

    monkeypatch.setattr(os, "replace", interrupt_once)
    with pytest.raises(KeyboardInterrupt):
        fit(network(), callbacks=[fn.ModelCheckpoint(path)])
    assert fn.load(path).history.epochs == 3
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_kill_while_writing_leaves_the_old_file(path, step):
    program = f"""
        import os, signal
        import numpy as np
        import fusednet as fn

        real = os.{step}
        calls = []

        def kill(*arguments):
            calls.append(arguments)
            if len(calls) == 4:
                os.kill(os.getpid(), signal.SIGKILL)
            real(*arguments)

        os.{step} = kill
        X = np.arange(12.0).reshape(4, 3) / 12
        fn.Network([3, 8, 1], seed=0).fit(X, X[:, 0], epochs=9, callbacks=[fn.ModelCheckpoint({str(path)!r})])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    X = np.arange(12.0).reshape(4, 3) / 12
    assert fn.load(path).history.epochs == 3
    reference, net = fn.Network([3, 8, 1], seed=0), fn.Network([3, 8, 1], seed=1)
    reference.fit(X, X[:, 0], epochs=9)
    net.fit(X, X[:, 0], epochs=9, resume=path)
    assert everything(net)["parameters"] == everything(reference)["parameters"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"every": 0}, ValueError, "every must be at least 1"),
        ({"every": 1.5}, TypeError, "every"),
        ({"mode": "auto"}, ValueError, "mode must be one of min, max"),
    ],
)
def test_arguments_are_checked(path, options, error, words):
    with pytest.raises(error, match=words):
        fn.ModelCheckpoint(path, **options)
