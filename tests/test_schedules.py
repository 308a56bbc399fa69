"""Schedules against figures worked by hand from their formulas, and against PyTorch's."""

import pickle

import numpy as np
import pytest

import fusednet as fn

ALL = [
    fn.schedules.step(0.1, every=3, factor=0.5),
    fn.schedules.exponential(0.1, 0.9),
    fn.schedules.cosine(0.1, epochs=4, final=0.02),
    fn.schedules.one_cycle(1.0, epochs=10),
    fn.schedules.inverse_scaling(0.1),
]


def rates(schedule, epochs):
    return [schedule(epoch) for epoch in range(epochs)]


def test_step():
    schedule = fn.schedules.step(0.8, every=2, factor=0.5)
    np.testing.assert_allclose(rates(schedule, 6), [0.8, 0.8, 0.4, 0.4, 0.2, 0.2])


def test_exponential():
    np.testing.assert_allclose(rates(fn.schedules.exponential(0.5, 0.1), 4), [0.5, 0.05, 0.005, 0.0005])


def test_cosine():
    # (1 + cos) / 2 at 0, 60, 90, 120 and 180 degrees is 1, 3/4, 1/2, 1/4, 0.
    schedule = fn.schedules.cosine(0.9, epochs=6, final=0.1)
    np.testing.assert_allclose(
        [schedule(e) for e in (0, 2, 3, 4, 6, 7, 100)], [0.9, 0.7, 0.5, 0.3, 0.1, 0.1, 0.1]
    )


def test_one_cycle():
    schedule = fn.schedules.one_cycle(1.0, epochs=11, warmup=5 / 11, start_divisor=10.0, end_divisor=10.0)
    np.testing.assert_allclose(
        [schedule(e) for e in (0, 2, 4, 7, 10, 20)], [0.1, 0.55, 1.0, (1.0 + 0.01) / 2, 0.01, 0.01]
    )


@pytest.mark.parametrize("epochs", [1, 2, 3, 10])
@pytest.mark.parametrize("warmup", [0.1, 0.5, 0.9])
def test_one_cycle_short(epochs, warmup):
    values = rates(fn.schedules.one_cycle(1.0, epochs=epochs, warmup=warmup), epochs + 2)
    assert all(0 < value <= 1 for value in values)
    assert values[epochs - 1] == pytest.approx(1 / 25e4)


def test_inverse_scaling():
    np.testing.assert_allclose(
        rates(fn.schedules.inverse_scaling(0.6), 4), [0.6, 0.6 / 2**0.5, 0.6 / 3**0.5, 0.3]
    )
    np.testing.assert_allclose(rates(fn.schedules.inverse_scaling(0.6, power=1.0), 3), [0.6, 0.3, 0.2])


@pytest.mark.filterwarnings("ignore")  # PyTorch's own, about the order of its calls
@pytest.mark.parametrize(
    ("ours", "name", "arguments"),
    [
        (fn.schedules.step(0.1, every=4, factor=0.3), "StepLR", {"step_size": 4, "gamma": 0.3}),
        (fn.schedules.exponential(0.1, 0.8), "ExponentialLR", {"gamma": 0.8}),
        (
            fn.schedules.cosine(0.1, epochs=20, final=0.01),
            "CosineAnnealingLR",
            {"T_max": 20, "eta_min": 0.01},
        ),
        (fn.schedules.one_cycle(0.1, epochs=20), "OneCycleLR", {"max_lr": 0.1, "total_steps": 20}),
    ],
)
def test_as_in_pytorch(ours, name, arguments):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    theirs = getattr(torch.optim.lr_scheduler, name)(optimizer, **arguments)
    for epoch in range(20):
        assert ours(epoch) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        if epoch < 19:
            theirs.step()


@pytest.mark.parametrize("schedule", ALL, ids=lambda s: type(s).__name__)
def test_pickle_and_repr(schedule):
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert eval(repr(schedule), vars(fn.schedules)) == schedule


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: fn.schedules.step(0.0, 3), "initial must lie in \\(0, inf\\), not 0.0"),
        (lambda: fn.schedules.step(0.1, 0), "every must be at least 1, not 0"),
        (lambda: fn.schedules.step(0.1, 3, 1.5), "factor must lie in \\(0, 1\\], not 1.5"),
        (lambda: fn.schedules.exponential(0.1, 0.0), "factor"),
        (lambda: fn.schedules.exponential(float("nan"), 0.5), "initial.*nan"),
        (lambda: fn.schedules.cosine(0.1, 0), "epochs"),
        (lambda: fn.schedules.cosine(0.1, 5, -1.0), "final"),
        (lambda: fn.schedules.one_cycle(0.1, 5, 1.0), "warmup"),
        (lambda: fn.schedules.one_cycle(0.1, 5, start_divisor=0.5), "start_divisor"),
        (lambda: fn.schedules.inverse_scaling(0.1, -0.5), "power"),
    ],
)
def test_settings_are_checked(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_types_are_checked():
    with pytest.raises(TypeError, match=r"epochs must be an integer, not 5\.5"):
        fn.schedules.cosine(0.1, 5.5)
    with pytest.raises(TypeError, match=r"initial must be a number, not '0\.1'"):
        fn.schedules.step("0.1", 3)
