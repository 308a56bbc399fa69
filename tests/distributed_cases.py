"""What the ranks of tests/test_distributed.py run: ``mpiexec -n 3 python distributed_cases.py <case>``."""

import sys

import numpy as np
from mpi4py import MPI

import fusednet as fn

COMM = MPI.COMM_WORLD
RANK, SIZE = COMM.rank, COMM.size
RNG = np.random.default_rng(0)  # the same on all ranks
N, BATCH = 103, 32
X, LABELS = RNG.normal(size=(N, 7)), RNG.integers(0, 3, N)
Y, WEIGHT = RNG.normal(size=(N, 2)), RNG.uniform(0, 2, N)


def dealt(n=N, batch=BATCH):
    """Return the rows of this rank: its part of each global batch."""
    batches = np.split(np.arange(n), range(batch, n, batch))
    return np.concatenate([np.array_split(rows, SIZE)[RANK] for rows in batches])


def classifier(seed=0, **options):
    return fn.Network([7, 16, 12, 3], "tanh", output="softmax", loss="cross_entropy", seed=seed, **options)


def fit(net, *data, **options):
    return fn.distributed.DataParallel(net).fit(*data, progress=False, **options)


def check_everywhere(value):
    assert len(set(COMM.allgather(value))) == 1


def equal_to_one_process():
    rows = dealt()
    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-5)):
        for optimizer in (fn.SGD(0.05, 0.9), fn.Adam(0.003), fn.SGD(0.05), fn.SGD(0.05, 0.9, clip_norm=0.1)):
            options = {"epochs": 5, "batch_size": BATCH, "optimizer": optimizer, "shuffle": False}
            net = classifier(dtype=dtype, l2=0.01, dropout=0.2)
            one = net.copy()
            net.parameters += RANK  # those of rank 0 go to all
            history = fit(net, X[rows], LABELS[rows], sample_weight=WEIGHT[rows], **options)
            expected = one.fit(X, LABELS, sample_weight=WEIGHT, **options)
            scale = np.abs(one.parameters).max()
            np.testing.assert_allclose(net.parameters, one.parameters, rtol=tolerance, atol=tolerance * scale)
            np.testing.assert_allclose(history.loss, expected.loss, rtol=tolerance)
            check_everywhere(net.parameters.tobytes())


def uneven():
    """Rows, validation data and weights that differ in number; the last rank has none of them."""
    bounds = [0, *np.linspace(5, N, SIZE - 1).astype(int), N]
    mine = slice(bounds[RANK], bounds[RANK + 1])
    weight = np.where(np.arange(N) < 5, 0.0, WEIGHT)  # all zero on rank 0
    net = fn.Network([7, 8, 2], "tanh", dtype="float64", seed=1)
    ratio = {"ratio": lambda y, p: np.max(y) / np.max(p)}  # no mean over the rows
    options = {"epochs": 4, "batch_size": BATCH, "metrics": ratio, "validation_data": (X[mine], Y[mine])}
    history = fit(net, X[mine], Y[mine], sample_weight=weight[mine], **options)
    assert np.isclose(history.val_loss[-1], net.evaluate(X, Y)["loss"], rtol=1e-12)
    assert np.isclose(history.metrics["val_ratio"][-1], ratio["ratio"](Y, net.predict(X)), rtol=1e-12)
    assert history.loss[-1] < history.loss[0]
    check_everywhere((tuple(history.loss), tuple(history.val_loss), net.parameters.tobytes()))
    training = fit(net, X[mine], Y[mine], epochs=1, metrics=ratio)  # on the training data
    assert np.isclose(training.metrics["ratio"][0], ratio["ratio"](Y, net.predict(X)), rtol=1e-12)


def validation_in_parts():
    """Of no rows but with weights on rank 0, of weights that are all zero on rank 1."""
    rows, net = dealt(), classifier(dtype="float64", seed=1)
    held = [np.arange(0), np.arange(10), np.arange(10, 20)][RANK]
    weights = np.where(RANK == 1, 0.0, WEIGHT[held]).astype(np.float16)
    data = {"validation_data": (X[held], LABELS[held], weights)}
    history = fit(net, X[rows], LABELS[rows], epochs=1, **data)
    last, own = np.arange(10, 20), np.float16(WEIGHT[10:20])
    expected = net.evaluate(X[last], LABELS[last], np.float64(own))["loss"]
    assert np.isclose(history.val_loss[0], expected, rtol=1e-6)


def callbacks_of_the_root_alone():
    rows, net = dealt(), classifier(seed=0)
    stop = [fn.EarlyStopping("loss", patience=3, min_delta=9.0), fn.ReduceLROnPlateau("loss", patience=1)]
    history = fit(net, X[rows], LABELS[rows], epochs=9, callbacks=stop if RANK == 0 else [])
    assert history.epochs == 4
    check_everywhere((net.parameters.tobytes(), tuple(history.learning_rate)))


def callbacks():
    class Slower(fn.Callback):
        calls = 0

        def on_epoch_end(self, net, epoch, logs):
            self.calls += 1
            optimizer.learning_rate /= 2

    rows, optimizer, slower = dealt(), fn.SGD(0.1), Slower()
    net = classifier(seed=RANK)
    stop = fn.EarlyStopping("val_loss", patience=2, min_delta=10.0)
    data = {"validation_data": (X[rows], LABELS[rows])}
    history = fit(net, X[rows], LABELS[rows], epochs=9, optimizer=optimizer, callbacks=[stop, slower], **data)
    assert history.epochs == 3
    np.testing.assert_allclose(history.learning_rate, [0.1, 0.05, 0.025])
    assert slower.calls == (3 if RANK == 0 else 0)
    assert np.isclose(
        net.evaluate(X, LABELS)["loss"], history.val_loss[0], rtol=1e-5
    )  # the best were put back
    check_everywhere(net.parameters.tobytes())


def callbacks_that_change_the_network():
    class Change(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            if epoch == 0:
                net.l2 = 0.5
            elif epoch == 1:
                net.layers[0].trainable = False
            else:
                net.standardize(3 * X + 1)

    rows, net = dealt(), classifier(dtype="float64")
    one = net.copy()
    options = {"epochs": 4, "batch_size": BATCH, "shuffle": False, "callbacks": [Change()]}
    history = fit(net, X[rows], LABELS[rows], **options)
    expected = one.fit(X, LABELS, progress=False, **options)
    np.testing.assert_allclose(history.loss, expected.loss, rtol=1e-12)
    np.testing.assert_allclose(net.parameters, one.parameters, rtol=1e-9, atol=1e-12)
    check_everywhere(repr((net.l2, net.layers[0].trainable, net.parameters.tobytes())))


def frozen_and_custom():
    net = fn.Network([7, 8, 2], "tanh", loss=lambda p, y: (np.mean((p - y) ** 2), (p - y) / len(p)), seed=0)
    net.layers[0].trainable = False
    one, rows = net.copy(), dealt()
    one.layers[0].trainable = False
    fit(net, X[rows], Y[rows], epochs=2, batch_size=BATCH, shuffle=False)
    one.fit(X, Y, epochs=2, batch_size=BATCH, shuffle=False, progress=False)
    np.testing.assert_allclose(net.parameters, one.parameters, rtol=1e-5, atol=1e-6)


def local_sgd():
    """Against networks that are trained apart here and averaged by NumPy."""
    every, part = 2, BATCH // SIZE
    rows = np.arange(N)[RANK::SIZE][: N // SIZE - 3 * RANK]
    everyone = COMM.allgather(rows)
    net = classifier(dtype="float64", l2=0.01)
    nets = [net.copy() for _ in everyone]
    optimizers = [fn.SGD(0.05, 0.9) for _ in everyone]
    fit(
        net,
        X[rows],
        LABELS[rows],
        epochs=1,
        batch_size=BATCH,
        optimizer=fn.SGD(0.05, 0.9),
        shuffle=False,
        sync_every=every,
    )
    for first in range(0, N // SIZE, every * part):
        blocks = [rows[first : first + every * part] for rows in everyone]
        for each, optimizer, block in zip(nets, optimizers, blocks, strict=True):
            for begin in range(0, len(block), part):
                batch = block[begin : begin + part]
                each.train_step(X[batch], LABELS[batch], optimizer)
        mean = np.average([each.parameters for each in nets], axis=0, weights=[len(b) for b in blocks])
        for each in nets:
            each.parameters = mean
    np.testing.assert_allclose(net.parameters, nets[0].parameters, rtol=1e-12, atol=1e-13)
    fit(net, X[rows], LABELS[rows], epochs=3, optimizer=fn.Adam(0.01), sync_every=3)
    check_everywhere(net.parameters.tobytes())


def resume(folder):
    """To the same bits as a training that was never stopped; the file is rank 0's."""
    rows, path = dealt(), f"{folder}/checkpoint" if RANK == 0 else "/no/such/place"
    for sync_every in (None, 2):
        options = {"batch_size": BATCH, "sync_every": sync_every}
        whole, first, second = (classifier(seed=seed, dropout=0.2) for seed in (0, 0, 1 + RANK))
        slower = fn.ReduceLROnPlateau("loss", patience=1, min_delta=10.0)
        fit(whole, X[rows], LABELS[rows], epochs=5, optimizer=fn.Adam(), callbacks=[slower], **options)
        saves = [fn.ReduceLROnPlateau("loss", patience=1, min_delta=10.0), fn.ModelCheckpoint(path)]
        fit(first, X[rows], LABELS[rows], epochs=3, optimizer=fn.Adam(), callbacks=saves, **options)
        options |= {"callbacks": saves, "resume": path, "optimizer": fn.Adam()}
        history = fit(second, X[rows], LABELS[rows], epochs=5, **options)
        np.testing.assert_array_equal(second.parameters, whole.parameters)
        assert history.loss == whole.history.loss
        assert history.learning_rate == whole.history.learning_rate != 5 * [1e-3]


def divergence():
    """On one rank's data alone; all raise, and can go on."""
    net = fn.Network([7, 8, 2], "tanh", dtype="float64", seed=0)
    targets, start = Y.copy(), net.parameters.copy()
    targets[-1] = 1e200  # its square is infinite
    rows = np.array_split(np.arange(N), SIZE)[RANK]
    for sync_every in (None, 2):
        message = ""
        try:
            fit(net, X[rows], targets[rows], epochs=2, sync_every=sync_every)
        except fn.DivergenceError as error:
            message = str(error)
        assert "diverged in epoch 0" in message
        np.testing.assert_array_equal(net.parameters, start)
    assert fit(net, X[rows], Y[rows], epochs=2).epochs == 2
    check_everywhere(net.parameters.tobytes())


def divergence_without_a_gradient():
    """No layer is trainable; of one rank's loss alone the others learn with the sum."""
    net = fn.Network([7, 2], loss=lambda p, y: (np.nan if RANK == 1 else 1.0, np.zeros_like(p)))
    net.layers[0].trainable = False
    message = ""
    try:
        fit(net, X, Y, epochs=2)
    except fn.DivergenceError as error:
        message = str(error)
    assert "the loss became nan" in message


def fails_within_a_step():
    def loss(prediction, y):
        if RANK == 1:
            raise LookupError("no loss today")
        return 0.0, np.zeros_like(prediction)

    fit(fn.Network([7, 2], loss=loss), X, Y)


def fails_by_its_data():
    data = X.copy()
    if RANK == 1:
        data[50, 3] = np.nan
    fit(fn.Network([7, 2]), data, Y)


def fails_elsewhere():
    trainer = fn.distributed.DataParallel(fn.Network([7, 2]))
    if RANK == 1:
        raise LookupError("no data today")
    trainer.fit(X, Y, progress=False)


def trains_otherwise():
    fit(fn.Network([7, 2]), X, Y, epochs=2 + (RANK == 1))


def schedules_otherwise():
    fit(fn.Network([7, 2]), X, Y, optimizer=fn.SGD(0.1 if RANK == 0 else fn.schedules.inverse_scaling(0.1)))


def validates_on_nothing():
    fit(fn.Network([7, 2]), X, Y, validation_data=(X[:0], Y[:0]))


def validates_on_the_wrong_columns():
    fit(fn.Network([7, 2]), X, Y, validation_data=(X[:, :5], Y))


def uses_too_small_batches():
    fit(fn.Network([7, 2]), X, Y, batch_size=1)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
    print(f"rank {RANK} of {SIZE}: done", flush=True)
