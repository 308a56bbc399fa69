"""The training loop: what an epoch is, determinism, sources of data, metrics, arguments."""

import collections
import itertools

import numpy as np
import pandas as pd
import pytest
import scipy.stats

import fusednet as fn
from fusednet import _core

from fit_helpers import RNG, W, X, Y, batches, network, snapshot

# What an epoch is


@pytest.mark.parametrize("batch_size", [1, 7, 50, 1000])
@pytest.mark.parametrize("weights", [None, W])
def test_an_epoch_is_its_steps(batch_size, weights):
    a, b = network(), network()
    history = a.fit(X, Y, epochs=2, batch_size=batch_size, shuffle=False, sample_weight=weights)
    for epoch in range(2):
        total = seen = 0.0
        for first in range(0, 50, batch_size):
            part = slice(first, first + batch_size)
            w = None if weights is None else weights[part]
            size = len(X[part]) if w is None else w.sum()
            total += size * b.train_step(X[part], Y[part], fn.SGD(0.01), w)
            seen += size
        assert history.loss[epoch] == pytest.approx(total / seen, rel=1e-12)
    np.testing.assert_allclose(a.parameters, b.parameters, rtol=1e-12)


def test_shuffling_is_by_the_networks_generator():
    a, b = network(), network()
    a.fit(X, Y, epochs=3, batch_size=8)
    for _ in range(3):
        order = _core.random_order(50, b._rng.bit_generator.random_raw())
        b.fit(X[order], Y[order], epochs=1, batch_size=8, shuffle=False)
    np.testing.assert_array_equal(a.parameters, b.parameters)


def splitmix64(state):
    """Yield the numbers of SplitMix64, by Python's integers."""
    while True:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        yield z ^ z >> 31


def test_random_orders_are_fisher_yates():
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]  # those of seed 0
    assert list(itertools.islice(splitmix64(0), 3)) == published
    for rows, seed in [(0, 1), (1, 2), (2, 3), (3, 0), (100, 2**64 - 1), (5000, 2**63)]:
        numbers, expected = splitmix64(seed), list(range(rows))
        for i in range(rows - 1, 0, -1):
            j = next(numbers) * (i + 1) >> 64
            expected[i], expected[j] = expected[j], expected[i]
        order = _core.random_order(rows, seed)
        assert order.dtype == np.int64
        assert order.tolist() == expected


def test_all_orders_are_as_likely():
    seeds = np.random.default_rng(0).integers(2**63, size=24_000).tolist()
    counts = collections.Counter(tuple(_core.random_order(4, seed)) for seed in seeds)
    assert len(counts) == 24
    assert scipy.stats.chisquare(list(counts.values())).pvalue > 0.001


@pytest.mark.parametrize("options", [{}, {"dropout": 0.4}, {"dtype": "float32"}])
def test_same_seed_same_bits(options):
    runs = [network(**options) for _ in range(2)]
    for net in runs:
        net.fit(X, Y, epochs=5, batch_size=8, optimizer=fn.Adam())
    np.testing.assert_array_equal(runs[0].parameters, runs[1].parameters)
    assert runs[0].history == runs[1].history
    other = network(**options | {"seed": 1})
    other.fit(X, Y, epochs=5, batch_size=8, optimizer=fn.Adam())
    assert not np.array_equal(other.parameters, runs[0].parameters)


def test_what_surrounds_the_training_does_not_change_it():
    plain, watched = network(), network()
    plain.fit(X, Y, epochs=4)
    watched.fit(
        X,
        Y,
        epochs=4,
        validation_data=(X, Y),
        metrics={"n": lambda y, p: 0.0},
        callbacks=[fn.EarlyStopping(patience=9)],
    )
    np.testing.assert_array_equal(plain.parameters, watched.parameters)


def test_two_fits_equal_one():
    a, b = network(dropout=0.2), network(dropout=0.2)
    for _ in range(2):
        optimizer = fn.SGD(0.05, momentum=0.9)
        a.fit(X, Y, epochs=4, optimizer=optimizer)
        for _ in range(2):
            b.fit(X, Y, epochs=2, optimizer=optimizer)
    np.testing.assert_array_equal(a.parameters, b.parameters)


def test_defaults():
    net, explicit = network(), network()
    assert net.fit(X, Y).epochs == 10
    explicit.fit(X, Y, epochs=10, batch_size=32, optimizer=fn.SGD(0.01), shuffle=True)
    np.testing.assert_array_equal(net.parameters, explicit.parameters)
    assert net.history.learning_rate == [0.01] * 10


def test_it_learns():
    net = network()
    net.fit(X, Y, epochs=300, batch_size=10, optimizer=fn.Adam(0.02))
    assert net.evaluate(X, Y)["r2"] > 0.99


@pytest.mark.parametrize("y", [Y, Y[:, None], Y.astype(np.float32), list(Y), pd.Series(Y)], ids=type)
def test_forms_of_targets(y):
    net, expected = fn.Network([3, 1], seed=0), fn.Network([3, 1], seed=0)
    net.fit(pd.DataFrame(X), y, epochs=2)
    expected.fit(X.astype(np.float32), Y.astype(np.float32), epochs=2)
    np.testing.assert_array_equal(net.parameters, expected.parameters)


def test_weights_of_a_step_are_not_all_zero():
    net = network(l2=0.1)
    before = net.parameters.copy()
    for call in (lambda w: net.train_step(X, Y, fn.SGD(0.1), w), lambda w: net.loss_and_gradient(X, Y, w)):
        with pytest.raises(ValueError, match=r"sample_weight: .* not all zero"):
            call(0 * W)
    np.testing.assert_array_equal(net.parameters, before)


def test_old_weights_may_be_forgotten():
    """Batches whose weights all are tiny: their gradients are means as those of others."""
    weights = 0.5 ** (np.arange(2000)[::-1] / 8)
    data = np.tile(X, (40, 1)), np.tile(Y, 40)
    history = [
        network(dtype=dtype).fit(*data, sample_weight=weights, shuffle=False, epochs=1).loss[0]
        for dtype in ("float32", "float64")
    ]
    assert history[0] == pytest.approx(history[1], rel=1e-4)


# Batches from elsewhere


@pytest.mark.parametrize(
    "source",
    [batches(), batches, lambda: iter(batches()), lambda: (list(b) for b in batches())],
    ids=range(4),
)
def test_batches(source):
    a, b = network(), network()
    a.fit(X, Y, epochs=3, batch_size=8, shuffle=False)
    b.fit(source, epochs=3)
    np.testing.assert_allclose(a.parameters, b.parameters, rtol=1e-12)
    np.testing.assert_allclose(a.history.loss, b.history.loss, rtol=1e-12)


def test_weighted_batches():
    a, b = network(), network()
    a.fit(X, Y, epochs=2, batch_size=8, shuffle=False, sample_weight=W)
    b.fit(lambda: ((X[i : i + 8], Y[i : i + 8], W[i : i + 8]) for i in range(0, 50, 8)), epochs=2)
    np.testing.assert_allclose(a.parameters, b.parameters, rtol=1e-12)
    np.testing.assert_allclose(a.history.loss, b.history.loss, rtol=1e-12)


def test_a_generator_serves_one_epoch():
    assert network().fit(iter(batches()), epochs=1).epochs == 1
    with pytest.raises(ValueError, match="list_iterator runs dry after one epoch, and there are 2"):
        network().fit(iter(batches()), epochs=2)


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ([], ValueError, "gave none"),
        ([X], TypeError, "a batch must be \\(X, y\\)"),
        ([(X,)], TypeError, "a batch must be"),
        ([(X, Y[:-1])], ValueError, "50 rows"),
        ([(X, Y, W[:-1])], ValueError, "sample_weight"),
        (X, TypeError, "fit needs y beside an X of type ndarray"),
        (pd.DataFrame(X), TypeError, "fit needs y beside an X of type DataFrame"),
        (3, TypeError, "fit needs y"),
    ],
)
def test_bad_batches(source, error, words):
    with pytest.raises(error, match=words):
        network().fit(source, epochs=1)


def test_batches_do_not_go_with_sample_weight():
    with pytest.raises(ValueError, match="third element"):
        network().fit(batches, sample_weight=W)


# Validation and metrics


def test_validation_loss():
    net = network(l2=0.1)
    history = net.fit(X[:30], Y[:30], epochs=3, validation_data=(X[30:], Y[30:]))
    assert len(history.val_loss) == 3
    assert history.val_loss[-1] == net.evaluate(X[30:], Y[30:])["loss"]
    weighted = network().fit(X[:30], Y[:30], epochs=1, validation_data=(X[30:], Y[30:], W[30:])).val_loss
    plain = network()
    plain.fit(X[:30], Y[:30], epochs=1)
    assert weighted[0] == plain.evaluate(X[30:], Y[30:], W[30:])["loss"]


def test_metrics_on_validation_data():
    seen = []

    def mae(y_true, y_pred):
        seen.append((y_true.shape, y_pred.shape))
        return abs(y_true - y_pred).mean()

    net = network()
    history = net.fit(X[:30], Y[:30], epochs=2, validation_data=(X[30:], Y[30:]), metrics={"mae": mae})
    assert list(history.metrics) == ["val_mae"]
    assert history.metrics["val_mae"][-1] == pytest.approx(abs(net.predict(X[30:])[:, 0] - Y[30:]).mean())
    assert seen == [((20,), (20,))] * 2


def test_metrics_on_training_data():
    net = fn.Network([3, 2], seed=0)
    targets = np.column_stack([Y, Y])
    history = net.fit(
        X, targets, epochs=2, metrics={"shape": lambda y, p: float(p.shape == y.shape == (50, 2))}
    )
    assert history.metrics == {"shape": [1.0, 1.0]}


def test_metrics_of_labels_see_probabilities():
    net = fn.Network([3, 4], output="softmax", loss="cross_entropy", seed=0)
    labels = RNG.integers(0, 4, size=50)
    history = net.fit(X, labels, epochs=2, metrics={"accuracy": lambda y, p: (p.argmax(axis=1) == y).mean()})
    assert history.metrics["accuracy"][-1] == net.evaluate(X, labels)["accuracy"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1, not 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be an integer"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, not 0"),
        ({"batch_size": 2**64}, ValueError, "batch_size must be at most 9223372036854775807, not 18446"),
        ({"batch_size": "all"}, TypeError, "batch_size"),
        ({"optimizer": "adam"}, TypeError, "fn.SGD"),
        ({"optimizer": fn.Adam}, TypeError, "fn.SGD"),
        ({"sample_weight": W[:-1]}, ValueError, "\\(50,\\).*\\(49,\\)"),
        ({"sample_weight": -W}, ValueError, "negative"),
        (
            {"X": X[:, 0], "sample_weight": W},
            ValueError,
            r"X: expected shape \(n, 3\).*received \(50,\)",
        ),
        ({"sample_weight": 0 * W}, ValueError, "zero"),
        ({"validation_data": X}, TypeError, "validation_data must be"),
        ({"validation_data": (X,)}, TypeError, "validation_data must be"),
        ({"validation_data": (X, Y, W[:-1])}, ValueError, "validation sample_weight"),
        ({"validation_data": (X[:, :2], Y)}, ValueError, "\\(n, 3\\)"),
        ({"validation_data": (X, Y * np.nan)}, ValueError, "finite"),
        ({"metrics": {"loss": max}}, ValueError, "'loss'"),
        ({"metrics": {"epoch": max}}, ValueError, "'epoch'"),
        ({"metrics": {"m": 3}}, TypeError, "callable"),
        ({"shuffle": "no"}, TypeError, "shuffle must be True or False, not 'no'"),
        ({"progress": "no"}, TypeError, "progress must be True or False, not 'no'"),
        ({"metrics": [max]}, TypeError, "metrics must be a dict"),
        ({"metrics": {"m": lambda y, p: None}}, TypeError, "metric 'm' must return a number, not None"),
        ({"callbacks": [3]}, TypeError, "callback"),
        ({"callbacks": [fn.EarlyStopping()]}, ValueError, "give fit validation_data"),
        ({"callbacks": [fn.ModelCheckpoint("{val_loss}")]}, ValueError, "cannot fill in the path"),
        ({"callbacks": [fn.ModelCheckpoint("{epoch[0]}")]}, ValueError, "cannot fill in the path"),
        ({"callbacks": [fn.CSVLogger("no/folder/log.csv")]}, FileNotFoundError, "no/folder"),
        (
            {"callbacks": [fn.ReduceLROnPlateau("loss")], "optimizer": fn.SGD(lambda epoch: 0.1)},
            ValueError,
            "not the schedule",
        ),
    ],
)
def test_arguments_are_checked_and_nothing_is_lost(options, error, words):
    net, optimizer = network(dropout=0.1), fn.SGD(0.1, momentum=0.5)
    net.fit(X, Y, epochs=1, optimizer=optimizer)
    history, before = net.history, snapshot(net, optimizer)
    with pytest.raises(error, match=words):
        net.fit(**{"X": X, "y": Y, "optimizer": optimizer} | options)
    assert snapshot(net, optimizer) == before
    assert net.history is history
    assert net.optimizer is optimizer


def test_errors_about_validation_data_say_so():
    with pytest.raises(ValueError, match="expected shape") as caught:
        network().fit(X, Y, validation_data=(X[:, :2], Y))
    assert caught.value.__notes__ == ["This is about validation_data."]


def test_metrics_on_batches_need_validation_data():
    with pytest.raises(ValueError, match="validation_data"):
        network().fit(batches, metrics={"n": lambda y, p: 0.0})
