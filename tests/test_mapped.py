"""Training on memory-mapped files, with chunks made small."""

import sys
from pathlib import Path

import numpy as np
import pytest

import fusednet as fn
from fusednet import _mapped

RNG = np.random.default_rng(0)
N = 1003
WEIGHT = RNG.uniform(size=N)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(_mapped, "CHUNK", 2048)
    monkeypatch.setattr(_mapped, "BLOCK", 256)


@pytest.fixture
def save(tmp_path):
    """Return what writes an array to a file and maps it."""

    def write(values, mode="r"):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.npy"
        np.save(path, values)
        return np.load(path, mmap_mode=mode)

    return write


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i2", "u1", "?"])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_in_order_the_result_is_that_of_arrays(save, dtype, weight):
    X = RNG.integers(0, 5, (N, 6)).astype(dtype)
    y = RNG.integers(0, 3, N)
    options = {"epochs": 2, "optimizer": fn.SGD(0.1, 0.9), "shuffle": False, "sample_weight": weight}
    one = fn.Network([6, 5, 3], output="softmax", loss="cross_entropy", l2=0.01, seed=0)
    other = one.copy()
    history = one.fit(save(X), save(y), **options)
    expected = other.fit(X.astype(np.float64), y, **options)
    np.testing.assert_array_equal(one.parameters, other.parameters)
    np.testing.assert_allclose(history.loss, expected.loss, rtol=1e-10 if weight is None else 1e-7)


def test_columns_of_a_map_and_targets_in_memory(save):
    X, y = RNG.normal(size=(N, 6)).astype(np.float32), RNG.normal(size=(N, 2))
    one, other = fn.Network([3, 4, 2], seed=0), fn.Network([3, 4, 2], seed=0)
    one.fit(save(X)[3:, 1::2], y[3:], shuffle=False, epochs=1)
    other.fit(X[3:, 1::2], y[3:], shuffle=False, epochs=1)
    np.testing.assert_array_equal(one.parameters, other.parameters)


def orders(save, seed):
    """Return the order of the rows in each of two epochs."""
    seen = []

    def loss(prediction, y):
        seen.extend(y[:, 0].astype(int))
        return 0.0, np.zeros_like(prediction)

    rows = np.arange(N, dtype=np.float32)
    fn.Network([4, 1], loss=loss, seed=seed).fit(save(np.tile(rows[:, None], 4)), save(rows), epochs=2)
    return np.split(np.array(seen), 2)


def test_each_epoch_takes_every_row_once_in_a_new_mixed_order(save):
    first, second = orders(save, 0)
    assert sorted(first) == sorted(second) == list(range(N))
    assert not np.array_equal(first, second)
    for order in (first, second):
        assert np.abs(np.corrcoef(order, np.arange(N))[0, 1]) < 0.3
        chunk = order[:128]  # of 8 blocks of 16 rows
        assert len(set(chunk // 16)) <= 10
        assert np.mean(np.diff(chunk) == 1) < 0.1
    np.testing.assert_array_equal(orders(save, 0)[0], first)
    assert not np.array_equal(orders(save, 1)[0], first)


def test_errors_name_the_row_in_the_file(save):
    X = RNG.normal(size=(N, 6)).astype(np.float32)
    X[777, 2] = np.nan
    net = fn.Network([6, 1], seed=0)
    start = net.parameters.copy()
    for shuffle in (False, True):
        with pytest.raises(ValueError, match="received nan in row 777, column 2"):
            net.fit(save(X), np.zeros(N), shuffle=shuffle)
        np.testing.assert_array_equal(net.parameters, start)


@pytest.mark.parametrize(
    ("X", "y", "error", "message"),
    [
        (np.ones((N, 6)), np.ones(N - 1), ValueError, "y: expected 1003 rows as X has"),
        (np.ones((N, 6)), np.ones(9), ValueError, r"y: expected 1003 rows as X has, received shape \(9,\)"),
        (np.ones((N, 5)), np.ones(N), ValueError, r"X: expected shape \(n, 6\)"),
        (
            np.ones((N, 6), dtype=complex),
            np.ones(N),
            TypeError,
            "dtype complex128.* expected native integers",
        ),
        (np.ones((N, 6), dtype=">f4"), np.ones(N), TypeError, "dtype >f4, .* converted as a whole"),
    ],
)
def test_wrong_data_is_told_of(save, X, y, error, message):
    with pytest.raises(error, match=message):
        fn.Network([6, 1]).fit(save(X), save(y))


@pytest.mark.parametrize(
    "train",
    [lambda net, X, y: fn.fit_many([net], X, y), lambda net, X, y: fn.Ensemble([net]).fit(X, y)],
    ids=["fit_many", "Ensemble"],
)
def test_many_networks_do_not_convert_a_map_either(save, train):
    with pytest.raises(TypeError, match=r"dtype >f4, .* converted as a whole"):
        train(fn.Network([6, 1]), save(np.ones((N, 6), dtype=">f4")), np.ones(N))


def test_metrics_and_divergence(save):
    X = RNG.normal(size=(N, 6)).astype(np.float32)
    net = fn.Network([6, 1], seed=0)
    history = net.fit(save(X), save(X[:, 0]), epochs=1, metrics={"mse": lambda y, p: np.mean((y - p) ** 2)})
    assert history.metrics["mse"][0] == pytest.approx(net.evaluate(X, X[:, 0])["loss"], rel=1e-5)
    with pytest.raises(fn.DivergenceError, match="the end of epoch 0"):
        net.fit(
            save(X), save(X[:, 0]), epochs=9, optimizer=fn.SGD(lambda epoch: 1e-3 if epoch == 0 else 1e30)
        )


def test_changes_of_a_private_map_are_kept(save):
    mapped = save(np.zeros((N, 6), dtype=np.float32), mode="c")
    mapped[:] = 1
    fn.Network([6, 1]).fit(mapped, np.zeros(N), epochs=1)
    assert (mapped == 1).all()


def test_many_networks_go_through_the_file_as_each_alone_does(save, threads):
    X, y = RNG.normal(size=(N, 6)).astype(np.float32), RNG.normal(size=N)
    X, y, rows = save(X), save(y), np.arange(0, N, 2)
    networks, alone = ([fn.Network([6, 5, 1], seed=seed) for seed in range(4)] for _ in "ab")
    threads(2)
    fn.fit_many(networks, X, y, epochs=2, validation_data=(X, y), rows=[None, None, None, rows])
    for net in alone[:3]:
        net.fit(X, y, epochs=2, validation_data=(X, y))
    alone[3].fit(X[rows], y[rows], epochs=2, validation_data=(X, y))  # no map, but a copy
    for net, other in zip(networks, alone, strict=True):
        np.testing.assert_array_equal(net.parameters, other.parameters)
        assert net.history == other.history


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_file_does_not_stay_in_the_process(tmp_path, monkeypatch):
    monkeypatch.setattr(_mapped, "CHUNK", 2**20)
    monkeypatch.setattr(_mapped, "BLOCK", 2**16)

    def resident():
        status = Path("/proc/self/status").read_text()
        return int(status.split("RssFile:")[1].split()[0]) / 1024

    shape = (40_000, 256)  # 39 MiB
    mapped = np.memmap(tmp_path / "X", dtype=np.float32, mode="w+", shape=shape)
    net, y, before = fn.Network([256, 1]), np.zeros(len(mapped)), resident()
    net.fit(mapped, y, epochs=1)
    assert resident() - before < 8
    assert mapped.sum() == 0  # reads all of it
    assert resident() - before > 30
