"""Checkpoints: a resumed training is the one that was never stopped, and what does not fit is refused."""

import math

import numpy as np
import pytest

import fusednet as fn

from checkpoint_helpers import (
    TRAIN,
    VALIDATION,
    WEIGHTS,
    Interrupt,
    X,
    Y,
    everything,
    fit,
    interrupted,
    network,
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


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
        lambda: [fn.EarlyStopping(patience=6)],
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


def test_standardized_inputs(path):
    reference, stopped, net = network(), network(), network(seed=1)
    for each in (reference, stopped):
        each.standardize(3 * X + 100)
    fit(reference)
    fit(stopped, callbacks=[fn.ModelCheckpoint(path)], epochs=2)
    fit(net, resume=path)
    assert everything(net) == everything(reference)
    np.testing.assert_array_equal(net.predict(X), reference.predict(X))
    assert fn.load(path).input_mean is not None


def test_neurons(path):
    def neuron(weight):
        return fn.Network([fn.Neuron([weight, 0.0, 1.0], activation="tanh")], output="tanh", seed=0)

    reference, net = neuron(0.5), neuron(0.1)
    fit(reference)
    fit(neuron(0.5), callbacks=[fn.ModelCheckpoint(path)], epochs=2)
    fit(net, resume=path)
    assert everything(net) == everything(reference)


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
    net.standardize(X)
    before = (
        net.parameters.copy(),
        net.history,
        net._rng.bit_generator.state,
        net._core.seed,
        net.input_mean[0],
    )
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
    after = net.history, net._rng.bit_generator.state, net._core.seed, net.input_mean[0]
    assert after == before[1:]
