"""The same bits at any number of threads, in two runs, and however the rows are split.

Only the prediction or gradient of a single row may differ from that of the row among others: it has a path
of its own.
"""

import numpy as np
import pytest

import fusednet as fn

from helpers import HIDDEN, OUTPUTS

# Widths and batch size: small enough for one thread, or large enough for all of them; widths at and beside
# multiples of vectors and tiles.
SHAPES = {
    "small": ((7, 16, 3), 20),
    "one output": ((257, 129, 1), 129),
    "one input": ((1, 257, 129, 33), 97),
    "awkward": ((129, 257, 97, 33), 97),
    "narrow": ((33, 1, 600, 2, 33), 257),
    "wide": ((97, 1500, 10), 33),
    "few rows": ((400, 513, 257), 5),
    "fewer": ((600, 512, 10), 3),  # and weights that are read in halves of the depth
    "columns of one's own": ((300, 128, 10), 128),  # for each thread in the first layer
    "uneven columns": ((60, 500, 33), 128),
    "large batch": ((129, 48, 33, 3), 1500),  # taken by blocks, but for the last one of an epoch
    "larger batch": ((9, 16, 1), 7000),
}
OPTIMIZERS = {
    "sgd": lambda: fn.SGD(0.01),
    "clipped": lambda: fn.SGD(0.01, momentum=0.9, clip_norm=0.5),
    "adam": lambda: fn.Adam(0.001, weight_decay=0.01),
}


def data(widths, n, labels=False):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, widths[0])).astype(np.float32)
    y = rng.integers(0, widths[-1], size=n) if labels else rng.uniform(size=(n, widths[-1]))
    return X, y, rng.uniform(0, 2, size=n)


def network(widths, **options):
    defaults = {"activation": "gelu", "l2": 0.01, "dropout": 0.2, "seed": [4, 2]}
    return fn.Network(widths, **{**defaults, **options})


def bits(array):
    """Return the bytes of an array, in which −0.0 is not 0.0, and NaN is NaN."""
    return np.ascontiguousarray(array).tobytes()


def train(widths, batch_size, optimizer, epochs=2, **options):
    """Train with all that there is switched on; return what comes of it."""
    X, y, weights = data(widths, 3 * batch_size + batch_size // 3, labels="output" in options)
    net = network(widths, **options)
    history = net.fit(
        X,
        y,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        sample_weight=weights,
        validation_data=(X, y),
    )
    return bits(net.parameters), history.loss, history.val_loss


def assert_same(threads, run):
    """Run with 1 to 4 threads, and once more with one."""
    threads(1)
    expected = run()
    for count in (2, 3, 4, 1):
        threads(count)
        assert run() == expected, f"{count} threads"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_training(threads, shape, optimizer, dtype):
    assert_same(threads, lambda: train(*SHAPES[shape], OPTIMIZERS[optimizer](), dtype=dtype))


@pytest.mark.parametrize("activation", HIDDEN)
def test_training_with_every_activation(threads, activation):
    options = {"activation": activation, "dtype": "float32"}
    optimizer = fn.SGD(0.01, clip_norm=0.1)  # "exp" has large gradients
    assert_same(threads, lambda: train((33, 257, 97, 33), 129, optimizer, epochs=1, **options))


@pytest.mark.parametrize("classes", [2, 10, 300])
def test_training_of_a_classifier(threads, classes):
    options = {"loss": "cross_entropy", "output": "softmax"}
    assert_same(threads, lambda: train((129, 257, classes), 97, fn.RMSprop(0.001), **options))


@pytest.mark.parametrize("optimizer", [lambda: fn.SGD(0.05), lambda: fn.Adam()], ids=["sgd", "adam"])
def test_training_of_a_large_network(threads, optimizer):
    widths, options = (784, 512, 512, 10), {"loss": "cross_entropy", "output": "softmax"}
    assert_same(threads, lambda: train(widths, 128, optimizer(), epochs=1, **options))


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "quantile", "poisson", "binary_cross_entropy"])
@pytest.mark.parametrize("outputs", [1, 33, 600])
def test_loss_and_gradient(threads, loss, outputs):
    widths = (129, 97, outputs)
    X, y, weights = data(widths, 513)
    net = network(widths, loss=loss, output="sigmoid")

    def run():
        value, gradient = net.loss_and_gradient(X, y, weights)
        return value, bits(gradient)

    assert_same(threads, run)


# So many threads would not have blocks of their own.
@pytest.mark.parametrize(
    ("widths", "rows", "count"), [((8, 24, 24, 2), 12169, 18), ((8, 512, 64, 64), 16257, 24)], ids=str
)
def test_large_batches_by_many_threads(threads, widths, rows, count):
    X, y, _ = data(widths, rows)
    net = network(widths, activation="tanh", dropout=0.0)
    results = []
    for n in (1, 2, count):
        threads(n)
        value, gradient = net.loss_and_gradient(X, y)
        results.append((value, bits(gradient)))
    assert results[0] == results[1] == results[2]


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("widths", [(64, 1), (64, 3)], ids=str)
def test_gradients_that_overflow(threads, widths):
    X, y = np.full((6000, 64), 1e25, np.float32), np.full((6000, widths[1]), 1e18, np.float32)

    def run():
        net = fn.Network(widths, seed=0)
        net.parameters[:] = 0.0
        loss, gradient = net.loss_and_gradient(X, y)
        assert np.isinf(gradient[: 64 * widths[1]]).all()
        return loss, bits(gradient)

    assert_same(threads, run)


@pytest.mark.parametrize("shape", SHAPES)
def test_forward_and_backward(threads, shape):
    widths, rows = SHAPES[shape]
    X, y, _ = data(widths, rows)
    net = network(widths, output="softmax", dropout=0.0)
    assert_same(threads, lambda: (bits(net.forward(X)), bits(net.backward(y)), bits(net.gradient)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_prediction(threads, shape, dtype):
    widths, _ = SHAPES[shape]
    X, y, weights = data(widths, 1100)
    net = network(widths, dtype=dtype)

    def results():  # those of fewer than 32 rows a thread are split by columns
        predictions = [bits(net.predict(X[:rows])) for rows in (1, 2, 4, 20, 90, 129, 1100)]
        return predictions, net.evaluate(X, y, weights)

    assert_same(threads, results)


def mean_absolute_error(prediction, target):
    return np.abs(prediction - target).mean(), np.sign(prediction - target) / prediction.size


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("loss", "output"),
    [
        ("mse", "tanh"),
        ("cross_entropy", "softmax"),
        ("binary_cross_entropy", "sigmoid"),
        ("poisson", "exp"),
        (mean_absolute_error, "identity"),
    ],
)
@pytest.mark.parametrize("count", [1, 3])
def test_loss_with_prediction(threads, loss, output, dtype, count):
    threads(count)
    X, y, weights = data((20, 37, 5), 300)
    core = network((20, 37, 5), loss=loss, output=output, dtype=dtype)._core
    samples = (X, y) if callable(loss) else (X, y, weights)
    value, prediction = core.loss_and_prediction(*samples)
    assert value == core.loss(*samples)
    assert bits(prediction) == bits(core.predict(X))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_alone_and_among_others(shape, dtype):
    widths, _ = SHAPES[shape]
    X, _, _ = data(widths, 1100)
    net = network(widths, dtype=dtype, output="softmax" if widths[-1] > 1 else "tanh")
    together = net.predict(X)
    few = np.concatenate([net.predict(X[i : i + 44]) for i in range(0, 1100, 44)])
    by_tiles = dtype == "float32" and fn.build_info()["active_kernel_set"] == "amx"  # 48 rows and more
    assert by_tiles or bits(few) == bits(together)
    for size in (2, 3, 4, 12, 13, 14, 47, 48, 64, 127, 128, 129, 500):
        parts = [net.predict(X[i : i + size]) for i in range(0, 1100 - 1100 % size, size)]
        expected = few if size < 48 else together
        assert bits(np.concatenate(parts)) == bits(expected[: 1100 - 1100 % size]), size
    rows = range(0, 1100, 50)
    alone = np.array([net.predict(X[i]) for i in rows])
    assert bits([net.predict(X[i : i + 1])[0] for i in rows]) == bits(alone)
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-13, "atol": 1e-14}
    np.testing.assert_allclose(alone, together[::50], **tolerance)
    np.testing.assert_allclose(few, together, **tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", OUTPUTS)
def test_values_do_not_depend_on_their_place(activation, dtype):
    """An activation computes whole vectors and a rest, on one path or another, but each number alike."""
    z = 4 * np.random.default_rng(0).normal(size=(1, 37)).astype(dtype)
    net = fn.Network([fn.Dense(37, 37, activation, bias=False, dtype=dtype)])
    net.layers[0].weights = np.eye(37)
    expected = net.predict(z)[0]
    for rows in (2, 15, 130):
        outputs = net.predict(np.repeat(z, rows, axis=0))
        assert {bits(row) for row in outputs} == {bits(expected)}
        outputs = net.forward(np.repeat(z, rows, axis=0))
        assert {bits(row) for row in outputs} == {bits(expected)}
    if activation != "softmax":
        for shift in range(37):
            rolled = net.predict(np.roll(z[0], shift))
            assert bits(np.roll(rolled, -shift)) == bits(expected)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("shape", ["small", "awkward"])
def test_steps_are_an_epoch(shape, optimizer):
    widths, batch_size = SHAPES[shape]
    X, y, weights = data(widths, 3 * batch_size + batch_size // 3)
    nets, makers = [network(widths) for _ in range(3)], OPTIMIZERS[optimizer]
    rules = [makers() for _ in nets]
    nets[0].fit(
        X, y, epochs=2, batch_size=batch_size, optimizer=rules[0], shuffle=False, sample_weight=weights
    )
    batches = [
        (X[i : i + batch_size], y[i : i + batch_size], weights[i : i + batch_size])
        for i in range(0, len(X), batch_size)
    ]
    for _ in range(2):
        for batch in batches:
            nets[1].train_step(*batch[:2], rules[1], batch[2])
    nets[2].fit(batches, epochs=2, optimizer=rules[2])
    for net in nets[1:]:
        assert bits(net.parameters) == bits(nets[0].parameters)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_how_the_data_lie_in_memory(dtype):
    """Fortran order, strides, other dtypes of the same values, and a shuffled copy with its own order."""
    X, y, _ = data((33, 17, 2), 130)
    X = X.round(2)

    def trained(X, y):
        net = network((33, 17, 2), dtype=dtype)
        net.fit(X, y, epochs=2, batch_size=24)
        return bits(net.parameters), bits(net.predict(X))

    expected = trained(X, y)
    wide = np.zeros((260, 99), dtype=np.float32)
    wide[::2, ::3] = X
    assert trained(np.asfortranarray(X), np.asfortranarray(y)) == expected
    assert trained(wide[::2, ::3], y) == expected
    assert trained(np.ascontiguousarray(X[::-1])[::-1], y[:, ::-1][:, ::-1]) == expected
    assert trained(X.astype(np.float64), y) == expected


def test_another_seed_gives_other_bits():
    first, again, other = (train((7, 16, 3), 20, fn.SGD(0.01), seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first[0] != other[0]


def test_a_copy_goes_on_alike():
    """Shuffling, dropout and parameters are copied with the network; the optimizer's state is not."""
    X, y, _ = data((7, 16, 3), 50)
    net = network((7, 16, 3))
    net.fit(X, y, epochs=1)
    other = net.copy()
    for each in (net, other):
        each.fit(X, y, epochs=2, optimizer=fn.Adam())
    assert bits(net.parameters) == bits(other.parameters)
