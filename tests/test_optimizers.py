"""Hyperparameters of optimizers: checks, schedules, copies, and state that belongs to the network.

The updates themselves are compared with PyTorch's elsewhere; here one step of each is worked by hand.
"""

import copy
import math
import pickle

import numpy as np
import pytest

import fusednet as fn

MAKERS = {
    "sgd": lambda: fn.SGD(0.1),
    "momentum": lambda: fn.SGD(0.1, momentum=0.9),
    "nesterov": lambda: fn.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda: fn.Adam(clip_norm=1.0),
    "adamw": lambda: fn.AdamW(),
    "rmsprop": lambda: fn.RMSprop(),
}
X, Y = np.array([[1.0, 2.0]]), np.array([[0.0]])


def linear(w=(0.5, -1.0)):
    """Return ŷ = x·w, whose loss (ŷ − y)² has the gradient 2 ŷ x at y = 0: here 2 · (−1.5) · (1, 2)."""
    layer = fn.Dense(2, 1, bias=False, dtype="float64")
    layer.weights = [[w[0]], [w[1]]]
    return fn.Network([layer])


@pytest.mark.parametrize(
    ("optimizer", "steps"),
    [
        (fn.SGD(0.1), [(0.5 + 0.3, -1.0 + 0.6)]),
        (fn.SGD(0.1, weight_decay=0.5), [(0.5 - 0.1 * (-3 + 0.25), -1.0 - 0.1 * (-6 - 0.5))]),
        # ŷ after the first step is 0.8 − 0.8 = 0: the second gradient is zero and the velocity goes on alone.
        (fn.SGD(0.1, momentum=0.5), [(0.8, -0.4), (0.8 + 0.15, -0.4 + 0.3)]),
        (fn.SGD(0.1, momentum=0.5, nesterov=True), [(0.5 + 0.45, -1.0 + 0.9)]),
        (fn.Adam(0.1), [(0.5 + 0.1, -1.0 + 0.1)]),  # m̂/√ŝ is the sign of g
        (fn.AdamW(0.1, weight_decay=0.5), [(0.5 * 0.95 + 0.1, -1.0 * 0.95 + 0.1)]),
        (fn.RMSprop(0.1, alpha=0.75), [(0.5 + 0.2, -1.0 + 0.2)]),  # g / √(g²/4) is twice its sign
        (fn.SGD(0.1, clip_norm=math.sqrt(45) / 2), [(0.5 + 0.15, -1.0 + 0.3)]),  # ‖g‖ = √45
        (fn.SGD(0.1, clip_norm=100.0), [(0.8, -0.4)]),
    ],
    ids=repr,
)
def test_steps_by_hand(optimizer, steps):
    net = linear()
    for expected in steps:
        net.train_step(X, Y, optimizer)
        np.testing.assert_allclose(net.layers[0].weights[:, 0], expected, rtol=1e-7)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: fn.SGD(0.0), "learning_rate must lie in \\(0, inf\\), not 0.0"),
        (lambda: fn.SGD(-0.1), "learning_rate.*-0.1"),
        (lambda: fn.SGD(math.inf), "learning_rate.*inf"),
        (lambda: fn.SGD(math.nan), "learning_rate.*nan"),
        (lambda: fn.SGD(0.1, momentum=1.0), "momentum must lie in \\[0, 1\\), not 1.0"),
        (lambda: fn.SGD(0.1, momentum=-0.1), "momentum"),
        (lambda: fn.SGD(0.1, nesterov=True), "nesterov=True needs a momentum"),
        (lambda: fn.SGD(0.1, weight_decay=-1.0), "weight_decay.*-1.0"),
        (lambda: fn.SGD(0.1, clip_norm=0.0), "clip_norm.*0.0"),
        (lambda: fn.Adam(beta1=1.0), "beta1.*1.0"),
        (lambda: fn.Adam(beta2=1.5), "beta2.*1.5"),
        (lambda: fn.Adam(epsilon=0.0), "epsilon.*0.0"),
        (lambda: fn.AdamW(weight_decay=math.nan), "weight_decay.*nan"),
        (lambda: fn.RMSprop(alpha=-0.1), "alpha.*-0.1"),
        (lambda: fn.SGD(lambda epoch: -1.0), "schedule returns.*-1.0"),
    ],
)
def test_values_are_checked(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    "make", [lambda: fn.SGD("0.1"), lambda: fn.Adam(beta1=None), lambda: fn.SGD(lambda epoch: None)]
)
def test_types_are_checked(make):
    with pytest.raises(TypeError, match="must be a number, not"):
        make()


@pytest.mark.parametrize(
    "optimizer",
    [
        fn.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.2, clip_norm=3.0),
        fn.Adam(beta1=0.8, beta2=0.95, epsilon=1e-6),
        fn.AdamW(weight_decay=0.2),
        fn.RMSprop(alpha=0.9, epsilon=1e-6),
    ],
)
def test_hyperparameters_can_be_read_and_not_set(optimizer):
    again = eval(repr(optimizer), vars(fn))
    for name, value in optimizer._hyperparameters.items():
        assert getattr(again, name) == getattr(optimizer, name) == value
        if name != "learning_rate":
            with pytest.raises(AttributeError, match=name):
                setattr(optimizer, name, value)


def test_learning_rate_can_be_set():
    optimizer = fn.SGD(0.1)
    optimizer.learning_rate = 0.01
    assert optimizer.learning_rate == 0.01
    with pytest.raises(ValueError, match="learning_rate"):
        optimizer.learning_rate = -1.0
    assert optimizer.learning_rate == 0.01
    net = linear()
    net.train_step(X, Y, optimizer)
    np.testing.assert_allclose(net.layers[0].weights[:, 0], [0.53, -0.94])


def test_schedule_follows_the_epoch():
    schedule = fn.schedules.exponential(0.1, 0.5)
    optimizer = fn.SGD(schedule)
    assert optimizer.schedule is schedule
    assert optimizer.learning_rate == 0.1
    optimizer.set_epoch(2)
    assert optimizer.learning_rate == 0.025
    optimizer.learning_rate = 0.5
    assert optimizer.schedule is None
    optimizer.set_epoch(1)
    assert optimizer.learning_rate == 0.5
    optimizer.learning_rate = schedule
    assert optimizer.learning_rate == 0.05


def test_a_schedule_that_fails_changes_nothing():
    schedule = fn.schedules.exponential(0.1, 0.5)
    optimizer = fn.SGD(schedule)
    with pytest.raises(TypeError, match="a schedule returns must be a number"):
        optimizer.learning_rate = lambda epoch: None
    assert (optimizer.schedule, optimizer.learning_rate) == (schedule, 0.1)

    def ends_with_the_first(epoch):
        return [0.5][epoch]

    optimizer.learning_rate = ends_with_the_first
    with pytest.raises(IndexError):
        optimizer.set_epoch(1)
    assert copy.copy(optimizer).learning_rate == 0.5  # as of epoch 0: a copy asks its schedule anew


def test_fit_runs_the_schedule():
    schedule = fn.schedules.step(0.1, every=2, factor=0.5)
    optimizer = fn.SGD(schedule)
    for _ in range(2):  # each fit starts at epoch 0
        history = linear().fit(X, Y, epochs=5, optimizer=optimizer)
        np.testing.assert_allclose(history.learning_rate, [0.1, 0.1, 0.05, 0.05, 0.025])
    assert optimizer.learning_rate == 0.025


def test_schedule_may_reach_zero():
    history = linear().fit(X, Y, epochs=2, optimizer=fn.SGD(lambda epoch: 0.1 * (1 - epoch)))
    assert history.learning_rate == [0.1, 0.0]


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("duplicate", [copy.deepcopy, copy.copy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_step_alike(name, duplicate):
    optimizer = MAKERS[name]()
    other = duplicate(optimizer)
    assert repr(other) == repr(optimizer)
    nets = [linear(), linear()]
    for _ in range(3):
        nets[0].train_step(X, Y, optimizer)
        nets[1].train_step(X, Y, other)
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)


class Halved(fn.SGD):
    """One of a user's own, with another signature and something to remember."""

    def __init__(self, note):
        super().__init__(0.5)
        self.note = note


@pytest.mark.parametrize("duplicate", [copy.deepcopy, copy.copy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_are_of_the_same_kind(duplicate):
    other = duplicate(Halved("mine"))
    assert (type(other), other.note, other.learning_rate) == (Halved, "mine", 0.5)
    nets = linear(), linear()
    nets[0].train_step(X, Y, fn.SGD(0.5))
    nets[1].train_step(X, Y, other)
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)


def test_hyperparameters_are_kept_as_python_has_them():
    optimizer = fn.SGD(np.float32(0.5), np.float64(0.25), np.True_, clip_norm=np.int64(2))
    assert repr(optimizer) == (
        "SGD(learning_rate=0.5, momentum=0.25, nesterov=True, weight_decay=0.0, clip_norm=2.0)"
    )


def test_copies_are_independent_and_keep_the_epoch():
    optimizer = fn.Adam(fn.schedules.exponential(0.1, 0.5))
    optimizer.set_epoch(1)
    for duplicate in (copy.copy, copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))):
        other = duplicate(optimizer)
        assert other.learning_rate == 0.05
        other.learning_rate = 1.0
        assert optimizer.learning_rate == 0.05
        assert optimizer.schedule is not None


@pytest.mark.parametrize("name", MAKERS)
def test_one_optimizer_serves_many_networks(name):
    shared = MAKERS[name]()
    together = [linear(), linear((2.0, 1.0))]
    alone = [linear(), linear((2.0, 1.0))]
    own = [MAKERS[name](), MAKERS[name]()]
    for _ in range(4):
        for i in range(2):
            together[i].train_step(X, Y, shared)
            alone[i].train_step(X, Y, own[i])
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a.parameters, b.parameters)


def test_state_goes_on_between_calls():
    optimizer, net, other = fn.SGD(0.1, momentum=0.9), linear(), linear()
    net.fit(X, Y, epochs=4, optimizer=optimizer)
    again = fn.SGD(0.1, momentum=0.9)
    other.fit(X, Y, epochs=2, optimizer=again)
    other.fit(X, Y, epochs=2, optimizer=again)
    np.testing.assert_array_equal(net.parameters, other.parameters)


def test_repr_names_the_hyperparameters():
    assert repr(fn.SGD(0.1, momentum=0.9)) == (
        "SGD(learning_rate=0.1, momentum=0.9, nesterov=False, weight_decay=0.0, clip_norm=None)"
    )
    assert eval(repr(fn.AdamW()), vars(fn)).learning_rate == 0.001


def test_train_step_wants_an_optimizer():
    for wrong in ("sgd", linear()):  # the second has a core, too
        with pytest.raises(TypeError, match=r"optimizer must be one such as fn\.SGD"):
            linear().train_step(X, Y, wrong)


@pytest.mark.parametrize(("dtype", "size"), [("float32", 1e25), ("float64", 1e200)])
def test_clipping_where_squares_overflow(dtype, size):
    net = fn.Network([2, 1], loss=lambda p, y: (0.0, np.full_like(p, size)), dtype=dtype, seed=0)
    before = net.parameters.copy()
    net.train_step([[3.0, 4.0]], [[0.0]], fn.SGD(1.0, clip_norm=1.0))
    np.testing.assert_allclose(before - net.parameters, np.array([3, 4, 1]) / np.sqrt(26), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "l2"),
    [
        (lambda: fn.SGD(1e-3), 1e-4),
        (lambda: fn.SGD(1e-3, weight_decay=1e-4), 0.0),
        (lambda: fn.SGD(1e-3, clip_norm=1e9), 1e-4),
        (lambda: fn.AdamW(1e-3, weight_decay=1e-4), 0.0),
    ],
    ids=["l2", "weight_decay", "not fused", "AdamW"],
)
def test_a_small_decay_is_not_rounded(make, l2):
    """1 − α·λ has a spacing of 6e-8 in float32; what is lost of α·λ·w over many weights must be nothing."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((8, 200)), rng.standard_normal((8, 200))
    nets = [fn.Network([200, 200], l2=l2, dtype=dtype) for dtype in ("float32", "float64")]
    start = np.float32(rng.uniform(0.5, 1, 200 * 200 + 200))
    for net in nets:
        net.parameters = start
        net.train_step(X, y, make())
    error = np.mean((nets[0].parameters - nets[1].parameters) / start)
    assert abs(error) < 0.03 * 1e-3 * 1e-4


@pytest.mark.parametrize(
    "optimizer", [fn.SGD(0.01, momentum=0.9), fn.Adam(0.01, beta2=0.9), fn.RMSprop(0.01, alpha=0.9)], ids=repr
)
@pytest.mark.parametrize("width", [4, 480])  # one pass for all, and the step by rows
def test_moments_without_a_gradient_do_not_stay_subnormal(optimizer, width):
    net = fn.Network([2, width, width, 1], "tanh", seed=0)
    X, y = np.ones((40, 2)), np.ones(40)
    net.train_step(X, y, optimizer)
    X[:, 1] = 0  # whose weights have no gradient from here on
    for _ in range(1279):
        net.train_step(X, y, optimizer)
    state = net._core.get_optimizer_state(optimizer._core)
    for name in ("first", "second"):
        moments = np.abs(state[name])
        assert not ((moments > 0) & (moments < np.finfo("float32").tiny)).any()


def test_negative_second_moments_are_refused():
    net, optimizer = fn.Network([2, 4, 1], seed=0, dtype="float64"), fn.Adam(0.01)
    net.train_step(np.ones((3, 2)), np.ones(3), optimizer)
    state = net._core.get_optimizer_state(optimizer._core)
    wrong = {**state, "second": np.where(state["second"] > 0, -0.25, 0.0)}
    with pytest.raises(ValueError, match=r"second moments of at least 0, received -0\.25"):
        net._core.set_optimizer_state(optimizer._core, wrong)
    np.testing.assert_array_equal(net._core.get_optimizer_state(optimizer._core)["second"], state["second"])
