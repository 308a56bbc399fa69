"""Checkpoints: a resumed training is the one that was never stopped, and what does not fit is refused."""

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
import safetensors.numpy

import fusednet as fn
from fusednet import _sources

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = np.sin(X @ [1.0, -2.0, 0.5]) + RNG.normal(scale=0.3, size=60)
WEIGHTS = RNG.uniform(0.1, 3.0, size=60)
TRAIN, VALIDATION = slice(0, 40), slice(40, 60)


class Interrupt(fn.Callback):
    """Ctrl-C at the start of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_begin(self, net, epoch):
        if epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


def network(seed=0, **options):
    return fn.Network([3, 8, 8, 1], **{"activation": "tanh", "seed": seed} | options)


def fit(net, make_optimizer=lambda: fn.SGD(0.05), callbacks=(), **options):
    options = {"epochs": 9, "batch_size": 7, "validation_data": (X[VALIDATION], Y[VALIDATION])} | options
    return net.fit(X[TRAIN], Y[TRAIN], optimizer=make_optimizer(), callbacks=callbacks, **options)


def interrupted(path, make_optimizer=lambda: fn.SGD(0.05), callbacks=(), after=4, every=1, **options):
    """Train, and stop by Ctrl-C after some epochs."""
    files = fn.ModelCheckpoint(path, every=every)
    net = network(**options.pop("network", {}))
    with pytest.raises(KeyboardInterrupt):
        fit(net, make_optimizer, [files, *callbacks, Interrupt(after)], **options)
    return net


def everything(net):
    """Return all that the next epoch depends on."""
    state = net._core.get_optimizer_state(net.optimizer._core)
    return {
        "parameters": net.parameters.tobytes(),
        "optimizer": state and {k: np.asarray(v).tobytes() for k, v in state.items()},
        "learning rate": net.optimizer.learning_rate,
        "shuffles": net._rng.bit_generator.state,
        "dropout": (net._core.seed, net._core.dropout_step),
        "history": net.history,
    }


def no_callbacks():
    return []


CASES = {
    "sgd": ({}, lambda: fn.SGD(0.05), no_callbacks, {}),
    "momentum": ({}, lambda: fn.SGD(0.05, momentum=0.9), no_callbacks, {}),
    "nesterov": ({"dtype": "float64"}, lambda: fn.SGD(0.05, momentum=0.9, nesterov=True), no_callbacks, {}),
    "rmsprop, clipped": ({}, lambda: fn.RMSprop(0.01, clip_norm=0.5), no_callbacks, {}),
    "adam, schedule": ({}, lambda: fn.Adam(fn.schedules.one_cycle(0.05, 9)), no_callbacks, {}),
    "adamw, callable": ({"l2": 0.01}, lambda: fn.AdamW(lambda epoch: 0.05 / (1 + epoch)), no_callbacks, {}),
    "dropout": ({"dropout": [0.2, 0.5]}, lambda: fn.Adam(0.01), no_callbacks, {}),
    "sample weights": ({}, lambda: fn.SGD(0.05), no_callbacks, {"sample_weight": WEIGHTS[TRAIN]}),
    "metrics": ({}, lambda: fn.SGD(0.05), no_callbacks, {"metrics": {"n": lambda y, p: p[0]}}),
    "in order": ({}, lambda: fn.Adam(0.01), no_callbacks, {"shuffle": False, "validation_data": None}),
    "early stopping": (
        {},
        lambda: fn.Adam(0.05),
        lambda: [fn.EarlyStopping(patience=3)],
        {"epochs": 60},
    ),
    "reduce on plateau": (
        {"dropout": 0.1},
        lambda: fn.SGD(0.2, momentum=0.5),
        lambda: [fn.ReduceLROnPlateau(factor=0.5, patience=1, cooldown=1)],
        {"epochs": 20},
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("after", [1, 6])
def test_a_resumed_training_is_one_that_was_never_stopped(path, case, after):
    options, make_optimizer, make_callbacks, fitting = CASES[case]
    reference, callbacks = network(**options), make_callbacks()
    fit(reference, make_optimizer, callbacks, **fitting)
    assert reference.history.epochs > after

    interrupted(path, make_optimizer, make_callbacks(), after, network=options, **fitting)
    net, new_callbacks = network(seed=99, **options), make_callbacks()
    fit(net, make_optimizer, new_callbacks, resume=path, **fitting)
    assert everything(net) == everything(reference)
    for callback, new in zip(callbacks, new_callbacks, strict=True):
        assert vars(new) == vars(callback)


def test_the_cases_meet_what_they_are_about():
    _, make_optimizer, make_callbacks, options = CASES["early stopping"]
    (stopping,) = callbacks = make_callbacks()
    net = network()
    fit(net, make_optimizer, callbacks, **options)
    assert 6 < stopping.stopped_epoch < 59
    assert net.evaluate(X[VALIDATION], Y[VALIDATION])["loss"] == min(net.history.val_loss)

    options_, make_optimizer, make_callbacks, options = CASES["reduce on plateau"]
    net = network(**options_)
    fit(net, make_optimizer, make_callbacks(), **options)
    rates = net.history.learning_rate
    assert rates[0] > rates[6] > rates[-1]


def test_stopped_again_and_again(path):
    reference = network(dropout=0.3)
    fit(reference, lambda: fn.Adam(0.01))
    interrupted(path, lambda: fn.Adam(0.01), after=2, network={"dropout": 0.3})
    for epoch in range(3, 9):
        with pytest.raises(KeyboardInterrupt):
            fit(
                network(seed=epoch, dropout=0.3),
                lambda: fn.Adam(0.01),
                [fn.ModelCheckpoint(path), Interrupt(epoch)],
                resume=path,
            )
    net = network(seed=77, dropout=0.3)
    fit(net, lambda: fn.Adam(0.01), resume=path)
    assert everything(net) == everything(reference)


def test_the_same_objects_go_on(path):
    reference = network()
    fit(reference, lambda: fn.SGD(0.05, momentum=0.9))
    net, optimizer, files = network(), fn.SGD(0.05, momentum=0.9), fn.ModelCheckpoint(path)
    with pytest.raises(KeyboardInterrupt):
        fit(net, lambda: optimizer, [files, Interrupt(3)])
    fit(net, lambda: optimizer, [files], resume=path)
    assert everything(net) == everything(reference)


def test_batches_of_an_iterable(path):
    batches = [(X[i : i + 8], Y[i : i + 8]) for i in range(0, 40, 8)]
    reference, net = network(dropout=0.2), network(seed=5, dropout=0.2)
    reference.fit(batches, epochs=6, optimizer=fn.Adam(0.01))
    with pytest.raises(KeyboardInterrupt):
        network(dropout=0.2).fit(
            batches, epochs=6, optimizer=fn.Adam(0.01), callbacks=[fn.ModelCheckpoint(path), Interrupt(2)]
        )
    net.fit(batches, epochs=6, optimizer=fn.Adam(0.01), resume=path)
    assert everything(net) == everything(reference)
    with pytest.raises(ValueError, match="samples was 'those of an iterable of batches', here it is 40"):
        net.fit(X[TRAIN], Y[TRAIN], epochs=6, optimizer=fn.Adam(0.01), resume=path)


def test_early_stopping_that_had_stopped_already(path):
    make = [lambda: fn.Adam(0.05), lambda: [fn.EarlyStopping(patience=2), fn.ModelCheckpoint(path)]]
    reference = network()
    fit(reference, make[0], make[1](), epochs=60)
    net, callbacks = network(seed=1), make[1]()
    fit(net, make[0], callbacks, epochs=60, resume=path)  # the file is of the epoch that was the last
    assert everything(net) == everything(reference)
    assert callbacks[0].stopped_epoch == reference.history.epochs - 1


def test_a_longer_training_may_follow(path):
    reference, net = network(), network(seed=1)
    fit(reference, epochs=12)
    fit(network(), callbacks=[fn.ModelCheckpoint(path)], epochs=5)
    fit(net, epochs=12, resume=path)
    assert everything(net) == everything(reference)


def test_a_callback_of_ones_own_keeps_its_state(path):
    class Counts(fn.Callback):
        def __init__(self):
            self.seen, self.rows = 0, np.zeros(2)

        def on_epoch_end(self, net, epoch, logs):
            self.seen += 1
            self.rows += epoch

        def state_dict(self):
            return {"seen": np.int64(self.seen), "rows": self.rows, "more": [{"a": None}, math.inf, "text"]}

        def load_state_dict(self, state):
            assert state["more"] == [{"a": None}, math.inf, "text"]
            self.seen, self.rows = state["seen"], state["rows"]

    interrupted(path, callbacks=[Counts()], after=3)
    counts = Counts()
    fit(network(), callbacks=[counts], resume=path)
    assert counts.seen == 9
    np.testing.assert_array_equal(counts.rows, [36.0, 36.0])


def test_a_state_that_no_file_can_hold(path):
    class Bad(fn.Callback):
        def state_dict(self):
            return {"thing": {"inner": object()}}

    with pytest.raises(TypeError, match=r"Bad\.state_dict\(\)\['thing'\] holds <object.*a file takes arrays"):
        fit(network(), callbacks=[fn.ModelCheckpoint(path), Bad()])
    assert not path.exists()


def squared(y_pred, y_true):
    r = y_pred - y_true
    return float((r**2).mean()), 2 * r / r.size


def test_a_callable_loss(path):
    reference = network(loss=squared)
    fit(reference)
    interrupted(path, network={"loss": squared})
    net = network(seed=1, loss=squared)
    fit(net, resume=path)
    assert everything(net) == everything(reference)
    with pytest.raises(ValueError, match="loss was 'a callable', here it is 'mse'"):
        fit(network(), resume=path)


# What the file is


def test_load_gives_the_network(path):
    net = interrupted(path)
    again = fn.load(path)
    np.testing.assert_array_equal(again.predict(X), net.predict(X))
    assert again.history == net.history
    again.save(path)
    assert fn.load(path).history == fn.History()
    with pytest.raises(ValueError, match=r"run\.safetensors: it holds a network alone"):
        fit(network(), resume=path)


def test_not_a_number_in_the_history(path):
    metrics = {"m": lambda y, p: math.nan}
    interrupted(path, metrics=metrics, network={"dtype": "float64"})
    net = network(dtype="float64")
    fit(net, metrics=metrics, resume=path)
    assert len(net.history.metrics["val_m"]) == 9
    assert all(map(math.isnan, net.history.metrics["val_m"]))


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
def test_ctrl_c_within_an_epoch(path, monkeypatch):
    class CtrlC(fn.Callback):
        def on_epoch_begin(self, net, epoch):
            if epoch == 6:
                monkeypatch.setattr(_sources.Rows, "train_epoch", train_epoch_and_ctrl_c)

    def train_epoch_and_ctrl_c(*arguments):
        train_epoch(*arguments)
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.signal(signal.SIGINT, handler)

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


# What does not fit


@pytest.mark.parametrize(
    ("net", "optimizer", "callbacks", "options", "words"),
    [
        ({}, fn.SGD(0.05, momentum=0.5), 0, {}, "optimizer's momentum was 0.9, here it is 0.5"),
        ({}, fn.Adam(0.05), 0, {}, "optimizer was 'SGD', here it is 'Adam'"),
        ({}, fn.SGD(fn.schedules.cosine(0.05, 9), 0.9), 0, {}, "learning_rate was 'a number', here .*cosine"),
        ({"activation": "relu"}, None, 0, {}, r"layers was \"Dense\(3, 8, 'tanh'\).*Dense\(3, 8, 'relu'\)"),
        ({"dtype": "float64"}, None, 0, {}, "dtype was 'float32', here it is 'float64'"),
        ({"l2": 0.1}, None, 0, {}, r"l2 was 0\.0, here it is 0\.1"),
        ({"dropout": 0.1}, None, 0, {}, r"dropout was \[0\.0, 0\.0\], here it is \[0\.1, 0\.1\]"),
        ({"loss": "mae"}, None, 0, {}, "loss was 'mse', here it is 'mae'"),
        ({"loss": fn.losses.Huber(2.0)}, None, 0, {}, "loss was 'mse', here it is 'huber'"),
        ({}, None, 0, {"batch_size": 8}, "batch_size was 7, here it is 8"),
        ({}, None, 0, {"shuffle": False}, "shuffle was True, here it is False"),
        ({}, None, 0, {"sample_weight": WEIGHTS[TRAIN]}, "sample_weight was False, here it is True"),
        ({}, None, 0, {"validation_data": None}, "validation_data was True, here it is False"),
        ({}, None, 0, {"metrics": {"m": max}}, r"metrics was \[\], here it is \['val_m'\]"),
        ({}, None, 1, {}, r"callbacks with a state was \['EarlyStopping'\], here it is \[\]"),
        ({}, None, 0, {"epochs": 4}, "has done 4 epochs, which count too: epochs=4 leaves none"),
        ({}, None, 0, {"epochs": 2}, "has done 4 epochs"),
    ],
)
def test_what_does_not_fit_is_refused(path, net, optimizer, callbacks, options, words):
    interrupted(path, lambda: fn.SGD(0.05, momentum=0.9), [fn.EarlyStopping(patience=50)])
    given = [] if callbacks else [fn.EarlyStopping(patience=50)]
    here = network(seed=1, **net)
    before, history = here.parameters.copy(), here.history
    with pytest.raises(ValueError, match=rf"run\.safetensors: .*{words}"):
        fit(here, lambda: optimizer or fn.SGD(0.05, momentum=0.9), given, resume=path, **options)
    np.testing.assert_array_equal(here.parameters, before)
    assert here.history is history


def test_another_number_of_samples(path):
    interrupted(path)
    with pytest.raises(ValueError, match="samples was 40, here it is 39"):
        network().fit(
            X[:39],
            Y[:39],
            epochs=9,
            batch_size=7,
            optimizer=fn.SGD(0.05),
            validation_data=(X, Y),
            resume=path,
        )


def test_frozen_layers_are_compared(path):
    interrupted(path)
    net = network()
    net.layers[1].trainable = False
    with pytest.raises(ValueError, match=r"trainable was \[True, True, True\]"):
        fit(net, resume=path)


def test_missing_truncated_and_damaged_files(path):
    with pytest.raises(FileNotFoundError):
        fit(network(), resume=path)
    interrupted(path)
    content = path.read_bytes()
    for length in [0, 5, 200, len(content) // 2, len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"run\.safetensors"):
            fit(network(), resume=path)
    for position in range(0, len(content), 97):
        damaged = bytearray(content)
        damaged[position] ^= 0x15
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"run\.safetensors"):
            fit(network(), resume=path)


def test_wrong_data_in_a_resumed_training_change_nothing(path):
    interrupted(path, lambda: fn.Adam(0.01))
    net = network(seed=1, dropout=0.0)
    before = net.parameters.copy(), net.history, net._rng.bit_generator.state, net._core.seed
    bad = X[TRAIN].copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="finite"):
        net.fit(
            bad,
            Y[TRAIN],
            epochs=9,
            batch_size=7,
            optimizer=fn.Adam(0.01),
            validation_data=(X, Y),
            resume=path,
        )
    np.testing.assert_array_equal(net.parameters, before[0])
    assert (net.history, net._rng.bit_generator.state, net._core.seed) == before[1:]


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
