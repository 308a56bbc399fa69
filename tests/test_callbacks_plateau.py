"""ReduceLROnPlateau: by hand, and against PyTorch's."""

import math

import numpy as np
import pytest

import fusednet as fn

X, Y = np.ones((4, 2)), np.ones(4)


class Scripted(fn.Callback):
    """Gives the watched value a known course."""

    def __init__(self, values):
        self.values = values

    def on_epoch_end(self, net, epoch, logs):
        logs["watched"] = self.values[epoch]


def rates(values, rate=1.0, **options):
    """Return the learning rate after each epoch."""
    net, optimizer = fn.Network([2, 1], seed=0), fn.SGD(rate)
    for layer in net.layers:
        layer.trainable = False  # whatever the rate is, nothing diverges
    seen = []

    class Note(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            assert logs["learning_rate"] == (seen[-1] if seen else rate)
            seen.append(net.optimizer.learning_rate)

    plateau = fn.ReduceLROnPlateau("watched", **options)
    net.fit(X, Y, epochs=len(values), optimizer=optimizer, callbacks=[Scripted(values), plateau, Note()])
    return seen


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ([3, 2, 2, 2, 1], {"patience": 2, "factor": 0.5}, [1, 1, 1, 0.5, 0.5]),
        ([3, 3, 3, 3, 3], {"patience": 2, "factor": 0.5}, [1, 1, 0.5, 0.5, 0.25]),
        ([1, 2, 3], {"patience": 1, "factor": 0.5, "mode": "max"}, [1, 1, 1]),
        ([3, 2, 1], {"patience": 1, "factor": 0.5, "mode": "max"}, [1, 0.5, 0.25]),
        ([3, 2.95, 2.8], {"patience": 1, "factor": 0.5, "min_delta": 0.1}, [1, 0.5, 0.5]),
        ([math.nan, math.nan], {"patience": 2, "factor": 0.5}, [1, 0.5]),
        ([1, 1, 1, 1, 1, 1], {"patience": 1, "factor": 0.5, "cooldown": 2}, [1, 0.5, 0.5, 0.5, 0.25, 0.25]),
        ([1, 1, 1, 1], {"patience": 1, "factor": 0.5, "min_learning_rate": 0.4}, [1, 0.5, 0.4, 0.4]),
        ([1, 1, 1], {"patience": 1, "min_learning_rate": 2.0}, [1, 1, 1]),
        ([1] * 15, {"patience": 1}, [*np.cumprod([1.0] + [0.1] * 8), *[1e-8] * 6]),
    ],
)
def test_by_hand(values, options, expected):
    np.testing.assert_allclose(rates(values, **options), expected, rtol=1e-12)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("cooldown", [0, 1, 3])
def test_as_pytorch(mode, cooldown):
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(cooldown).normal(size=120).round(1) + 1.5
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.7)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode,
        factor=0.6,
        patience=2,
        threshold=0.15,
        threshold_mode="abs",
        cooldown=cooldown,
        min_lr=1e-5,
    )
    expected = []
    for value in values:
        optimizer.step()
        scheduler.step(float(value))
        expected.append(optimizer.param_groups[0]["lr"])
    ours = rates(
        values.tolist(),
        0.7,
        factor=0.6,
        patience=3,
        min_delta=0.15,
        mode=mode,
        cooldown=cooldown,
        min_learning_rate=1e-5,
    )
    assert len(set(ours)) > 5
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


@pytest.mark.parametrize("stop", range(1, 12))
def test_a_resumed_training_counts_on(tmp_path, stop):
    values = [3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    options = {"patience": 2, "cooldown": 2, "factor": 0.5}

    def fit(epochs, **more):
        return fn.Network([2, 1], seed=0).fit(
            X,
            Y,
            epochs=epochs,
            optimizer=fn.SGD(1e-3),
            callbacks=[
                Scripted(values),
                fn.ReduceLROnPlateau("watched", **options),
                fn.ModelCheckpoint(tmp_path / "run"),
            ],
            **more,
        )

    expected = fit(13).learning_rate
    assert len(set(expected)) == 3
    fit(stop)
    assert fit(13, resume=tmp_path / "run").learning_rate == expected


def test_it_can_be_used_again():
    plateau = fn.ReduceLROnPlateau("watched", patience=2)
    for _ in range(2):
        net, optimizer = fn.Network([2, 1], seed=0), fn.SGD(0.01)
        net.fit(X, Y, epochs=2, optimizer=optimizer, callbacks=[Scripted([1.0, 1.0]), plateau])
        assert optimizer.learning_rate == 0.01


def test_a_schedule_is_refused():
    net = fn.Network([2, 1], seed=0)
    optimizer = fn.SGD(fn.schedules.cosine(0.1, 5))
    with pytest.raises(ValueError, match=r"a number, not the schedule cosine\(initial=0\.1"):
        net.fit(X, Y, optimizer=optimizer, callbacks=[fn.ReduceLROnPlateau("loss")])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"factor": 1.0}, r"factor must lie in \(0, 1\)"),
        ({"factor": 0.0}, "factor"),
        ({"patience": 0}, "patience"),
        ({"cooldown": -1}, "cooldown must be at least 0"),
        ({"min_delta": -1.0}, "min_delta"),
        ({"min_learning_rate": 0.0}, "min_learning_rate"),
        ({"mode": "auto"}, "mode must be one of min, max"),
    ],
)
def test_arguments_are_checked(options, words):
    with pytest.raises(ValueError, match=words):
        fn.ReduceLROnPlateau(**options)


def test_unknown_monitor():
    with pytest.raises(
        ValueError, match=r"ReduceLROnPlateau monitors 'val_loss', .*give fit validation_data"
    ):
        fn.Network([2, 1], seed=0).fit(X, Y, callbacks=[fn.ReduceLROnPlateau()])
