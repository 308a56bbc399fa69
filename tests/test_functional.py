"""Activations and losses as functions, against SciPy and figures worked by hand."""

import math
import threading
import time

import numpy as np
import pytest
import scipy.special as sp

import fusednet as fn
from fusednet import functional as F

REFERENCES = {
    "sigmoid": sp.expit,
    "tanh": np.tanh,
    "relu": lambda x: np.where(x > 0, x, 0 * x),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "gelu": lambda x: x * sp.ndtr(x),
    "silu": lambda x: x * sp.expit(x),
    "softplus": lambda x: np.logaddexp(0.0, x),
}
X = np.concatenate([np.linspace(-20, 20, 801), [-0.0, 1e-8, -1e-8, 1e-300, 700.0, -700.0, 1000.0, -1000.0]])


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-14), (np.float32, 1e-6)])
def test_activations_agree_with_scipy(name, dtype, tolerance):
    x = X.astype(dtype)
    result = getattr(F, name)(x)
    assert result.dtype == dtype
    # In absolute terms below 1: gelu's tail and elu near zero cancel in the references as well.
    np.testing.assert_allclose(result, REFERENCES[name](x.astype(np.float64)), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "below", "above"),
    [
        ("sigmoid", 0.0, 1.0),
        ("tanh", -1.0, 1.0),
        ("relu", 0.0, math.inf),
        ("leaky_relu", -math.inf, math.inf),
        ("elu", -1.0, math.inf),
        ("softplus", 0.0, math.inf),
    ],
)
def test_limits(name, below, above):
    function = getattr(F, name)
    assert function(-math.inf) == below
    assert function(math.inf) == above
    assert math.isnan(function(math.nan))
    if math.isfinite(below):
        assert function(-1000.0) == below
    assert function(1000.0) == (above if math.isfinite(above) else 1000.0)


@pytest.mark.parametrize("name", ["gelu", "silu"])
def test_limits_of_the_gated(name):
    function = getattr(F, name)
    assert function(1000.0) == 1000.0
    assert function(-1000.0) == 0.0
    assert function(math.inf) == math.inf
    assert math.isnan(function(math.nan))


@pytest.mark.parametrize("name", [*REFERENCES, "softmax"])
def test_shapes_and_dtypes(name):
    function = getattr(F, name)
    for shape in [(5,), (2, 3), (2, 3, 4), (0,), (3, 0), (1, 1, 1, 1)]:
        assert function(np.zeros(shape)).shape == shape
    block = np.random.default_rng(0).normal(size=(4, 6, 5))
    np.testing.assert_array_equal(function(block[::2, ::-1]), function(block[::2, ::-1].copy()))
    np.testing.assert_array_equal(function(np.asfortranarray(block)), function(block))
    assert function([1, 2, 3]).dtype == np.float64
    assert function(np.array([1, 2], dtype=np.int8)).dtype == np.float64
    assert function(np.array([1, 2], dtype=np.float16)).dtype == np.float32
    for bad in (np.array([1j]), np.array(["a"])):
        with pytest.raises(TypeError, match="real numbers"):
            function(bad)


@pytest.mark.parametrize("name", REFERENCES)
def test_scalars(name):
    function = getattr(F, name)
    assert isinstance(function(0.5), np.float64)
    assert isinstance(function(np.float32(0.5)), np.float32)
    assert function(0.5) == function([0.5])[0]


def test_softmax():
    z = np.random.default_rng(1).normal(size=(7, 4)) * 10
    np.testing.assert_allclose(F.softmax(z), sp.softmax(z, axis=-1), rtol=1e-13)
    np.testing.assert_allclose(F.softmax([1000.0, 1000.0, -1000.0]), [0.5, 0.5, 0.0])
    np.testing.assert_allclose(F.softmax([[1e300, -1e300]]), [[1.0, 0.0]])
    np.testing.assert_allclose(F.softmax(z.reshape(7, 2, 2)), sp.softmax(z.reshape(7, 2, 2), axis=-1))
    assert np.isnan(F.softmax([1.0, np.nan])).all()
    with pytest.raises(ValueError, match="dimension"):
        F.softmax(1.0)


@pytest.mark.parametrize(("dtype", "exponents"), [("float32", (15, 20, 37)), ("float64", (15, 30, 45, 300))])
def test_large_logits(dtype, exponents):
    """Where logits are further apart than they are exact, rounding must not get into the exponentials."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, 500)
    net = fn.Network([3, 3], output="softmax", loss="cross_entropy", dtype=dtype)
    net.layers[0].weights = np.eye(3)
    for exponent in exponents:
        z = (rng.normal(size=(500, 3)) * 10.0**exponent).astype(dtype)
        expected, losses = sp.softmax(z, axis=1), -sp.log_softmax(z, axis=1)[np.arange(500), labels] / 500
        for result in (F.softmax(z), net.predict(z), net.forward(z)):
            np.testing.assert_array_equal(result, expected)
            assert not np.signbit(result).any()
        loss, gradient = net.loss_and_gradient(z, labels)
        assert loss == pytest.approx(losses.sum(), rel=1e-6)
        assert F.cross_entropy_loss(z, labels, from_logits=True) == pytest.approx(losses.sum(), rel=1e-6)
        slope = (expected - np.eye(3)[labels]) / 500
        np.testing.assert_allclose(gradient[9:], slope.sum(axis=0), rtol=1e-5, atol=1e-6)


RNG = np.random.default_rng(2)
P, Y = RNG.normal(size=(6, 3)) * 2, RNG.normal(size=(6, 3)) * 2
POSITIVE, COUNTS = RNG.gamma(2.0, size=(6, 3)), RNG.poisson(1.0, size=(6, 3))
PROBABILITIES = sp.softmax(RNG.normal(size=(6, 3)), axis=1)
LABELS = np.array([0, 2, 1, 1, 0, 2])


def test_losses_by_their_formulas():
    r = P - Y
    assert F.mse_loss(P, Y) == pytest.approx((r**2).sum() / 18)
    assert F.half_mse_loss(P, Y) == pytest.approx((r**2).sum() / 12)
    assert F.mae_loss(P, Y) == pytest.approx(abs(r).sum() / 18)
    assert F.huber_loss(P, Y) == pytest.approx(sp.huber(1.0, r).mean())
    assert F.huber_loss(P, Y, delta=0.3) == pytest.approx(sp.huber(0.3, r).mean())
    assert F.quantile_loss(P, Y, q=0.9) == pytest.approx(np.where(r < 0, -0.9 * r, 0.1 * r).mean())
    assert F.quantile_loss(P, Y) == pytest.approx(F.mae_loss(P, Y) / 2)
    assert F.poisson_loss(POSITIVE, COUNTS) == pytest.approx(sp.kl_div(COUNTS, POSITIVE).mean())


def test_losses_by_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics", reason="compares with scikit-learn")
    assert F.mse_loss(P, Y) == pytest.approx(metrics.mean_squared_error(Y, P))
    assert F.mae_loss(P, Y) == pytest.approx(metrics.mean_absolute_error(Y, P))
    assert F.quantile_loss(P, Y, q=0.2) == pytest.approx(metrics.mean_pinball_loss(Y, P, alpha=0.2))
    assert F.cross_entropy_loss(PROBABILITIES, LABELS) == pytest.approx(
        metrics.log_loss(LABELS, PROBABILITIES)
    )
    deviance = metrics.mean_poisson_deviance(COUNTS[:, 0], POSITIVE[:, 0])
    assert F.poisson_loss(POSITIVE[:, 0], COUNTS[:, 0]) == pytest.approx(deviance / 2)


def test_by_hand():
    assert F.mse_loss([3.0, 1.0], [1.0, 0.0]) == 2.5
    assert F.half_mse_loss([3.0, 1.0], [1.0, 0.0]) == 1.25
    assert F.half_mse_loss([[3.0, 1.0]], [[1.0, 0.0]]) == 2.5  # one sample with two outputs
    assert F.mse_loss(3.0, 1.0) == 4.0
    assert F.huber_loss([0.5, 3.0], [0.0, 0.0]) == (0.125 + 2.5) / 2
    assert F.cross_entropy_loss([[0.25, 0.75]], [1]) == pytest.approx(-math.log(0.75))
    assert F.binary_cross_entropy_loss([0.25], [1.0]) == pytest.approx(math.log(4))


def test_cross_entropies_agree_with_scipy():
    z = RNG.normal(size=(6, 3)) * 5
    log_p = z - sp.logsumexp(z, axis=1, keepdims=True)
    expected = -log_p[np.arange(6), LABELS].mean()
    assert F.cross_entropy_loss(z, LABELS, from_logits=True) == pytest.approx(expected, rel=1e-12)
    assert F.cross_entropy_loss(z, np.eye(3)[LABELS], from_logits=True) == pytest.approx(expected, rel=1e-12)
    assert F.cross_entropy_loss(np.exp(log_p), LABELS) == pytest.approx(expected, rel=1e-12)
    assert F.cross_entropy_loss(np.exp(log_p), np.eye(3)[LABELS]) == pytest.approx(expected, rel=1e-12)
    soft = -(PROBABILITIES * log_p).sum(axis=1).mean()
    assert F.cross_entropy_loss(z, PROBABILITIES, from_logits=True) == pytest.approx(soft, rel=1e-12)
    assert F.cross_entropy_loss(np.exp(log_p), PROBABILITIES) == pytest.approx(soft, rel=1e-12)

    p, y = sp.expit(z), PROBABILITIES
    expected = -(sp.xlogy(y, p) + sp.xlog1py(1 - y, -p)).mean()
    assert F.binary_cross_entropy_loss(z, y, from_logits=True) == pytest.approx(expected, rel=1e-9)
    assert F.binary_cross_entropy_loss(p, y) == pytest.approx(expected, rel=1e-12)


def test_cross_entropies_at_the_extremes():
    assert F.cross_entropy_loss([[1.0, 0.0]], [0]) == 0.0
    assert F.cross_entropy_loss([[1.0, 0.0]], [1]) == math.inf
    assert F.cross_entropy_loss([[1.0, 0.0]], [[1.0, 0.0]]) == 0.0
    assert F.cross_entropy_loss([[1.0, 0.0]], [[0.5, 0.5]]) == math.inf
    assert F.cross_entropy_loss([[1000.0, -1000.0]], [1], from_logits=True) == 2000.0
    assert F.cross_entropy_loss([[1000.0, -1000.0]], [0], from_logits=True) == 0.0
    assert F.binary_cross_entropy_loss([0.0, 1.0], [0.0, 1.0]) == 0.0
    assert F.binary_cross_entropy_loss([0.0], [1.0]) == math.inf
    assert F.binary_cross_entropy_loss([1.0], [0.25]) == math.inf
    assert F.binary_cross_entropy_loss([1000.0, -1000.0], [1.0, 0.0], from_logits=True) == 0.0
    assert F.binary_cross_entropy_loss([-1000.0], [1.0], from_logits=True) == 1000.0
    assert math.isnan(F.cross_entropy_loss([[math.nan, 0.5]], [0]))
    assert math.isnan(F.binary_cross_entropy_loss([math.nan], [1.0]))
    assert math.isnan(F.mse_loss([math.nan], [1.0]))


def test_the_smallest_probabilities_count():
    assert F.binary_cross_entropy_loss([1e-300], [0.0]) == pytest.approx(1e-300, rel=1e-12)
    assert F.binary_cross_entropy_loss([1e-300], [1.0]) == pytest.approx(-math.log(1e-300))


def test_logarithms_of_float32_are_taken_in_float64():
    p = np.array([[0.1, 0.9], [0.7, 0.3]], np.float32)
    expected = -np.log(p.astype(np.float64)[[0, 1], [1, 0]]).mean()
    assert F.cross_entropy_loss(p, [1, 0]) == pytest.approx(expected, rel=1e-15)
    q = p[:, 1].astype(np.float64)
    expected = -(np.log(q[0]) + np.log1p(-q[1])) / 2
    assert F.binary_cross_entropy_loss(p[:, 1], [1, 0]) == pytest.approx(expected, rel=1e-15)


def test_one_sample_in_one_dimension():
    assert F.cross_entropy_loss([0.25, 0.75], 1) == pytest.approx(-math.log(0.75))
    assert F.cross_entropy_loss([0.25, 0.75], [0.0, 1.0]) == pytest.approx(-math.log(0.75))
    assert F.cross_entropy_loss([1.0, 1.0], 1, from_logits=True) == pytest.approx(math.log(2))


def test_losses_of_float32_overflow_no_sooner_than_their_mean():
    assert F.mse_loss(np.float32([1e19] * 4), np.zeros(4, np.float32)) == pytest.approx(1e38, rel=1e-6)
    for loss in (F.mae_loss, F.huber_loss, F.quantile_loss):
        assert np.isfinite(loss(np.float32([3e38] * 4), np.float32([-3e38] * 4)))


def test_a_column_goes_with_a_row_of_targets():
    assert F.mse_loss(np.array([[1.0], [2.0]]), np.array([1.0, 4.0])) == 2.0


def test_a_rate_below_zero_has_no_poisson_loss():
    for target in (0.0, 2.0):
        assert math.isnan(F.poisson_loss([1.0, -0.5], [1.0, target]))
    assert F.poisson_loss([0.5, 0.0], [0.0, 0.0]) == 0.25
    net = fn.Network([1, 1], loss="poisson")
    net.parameters = [-1.0, 0.0]
    with pytest.raises(fn.DivergenceError, match="loss"):
        net.train_step([[1.0]], [0.0], fn.SGD(0.1))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: F.mse_loss([1.0, 2.0], [1.0]), ValueError, "\\(2,\\).*\\(1,\\)"),
        (lambda: F.mse_loss([[1.0, 2.0]], [1.0, 2.0]), ValueError, "\\(1, 2\\).*\\(2,\\)"),
        (lambda: F.mse_loss([], []), ValueError, "no samples"),
        (lambda: F.mse_loss([1.0], [math.inf]), ValueError, "finite"),
        (lambda: F.mse_loss(["a"], [1.0]), TypeError, "y_pred"),
        (lambda: F.huber_loss([1.0], [1.0], delta=0.0), ValueError, "delta"),
        (lambda: F.quantile_loss([1.0], [1.0], q=1.0), ValueError, "q must lie in \\(0, 1\\)"),
        (lambda: F.poisson_loss([1.0], [-1.0]), ValueError, "-1"),
        (lambda: F.binary_cross_entropy_loss([1.5], [1.0]), ValueError, "1.5.*from_logits"),
        (lambda: F.binary_cross_entropy_loss([0.5], [2.0]), ValueError, "y_true.*2.0"),
        (lambda: F.binary_cross_entropy_loss([0.5], [math.nan]), ValueError, "y_true.*nan"),
        (lambda: F.cross_entropy_loss([[0.5, 0.5]], [[math.nan, 1.0]]), ValueError, "y_true.*nan"),
        (lambda: F.cross_entropy_loss([[0.5, -0.5]], [1]), ValueError, "-0.5"),
        (lambda: F.cross_entropy_loss([[0.5, 0.5]], [2]), ValueError, "from 0 to 1"),
        (lambda: F.cross_entropy_loss([[0.5, 0.5]], [-1]), ValueError, "from 0 to 1"),
        (lambda: F.cross_entropy_loss([[0.5, 0.5]], [2], from_logits=True), ValueError, "0 to 1"),
        (lambda: F.cross_entropy_loss([[0.5, 0.5]], [1.0]), TypeError, "integer"),
        (lambda: F.cross_entropy_loss([[0.5, 0.5]], [1, 0]), ValueError, "\\(1, 2\\).*\\(2,\\)"),
        (lambda: F.cross_entropy_loss(np.ones((0, 2)), np.ones(0, int)), ValueError, "no samples"),
        (lambda: F.cross_entropy_loss(np.ones((0, 2)), np.ones((0, 2))), ValueError, "no samples"),
        (lambda: F.cross_entropy_loss([], [], from_logits=True), ValueError, "no samples"),
        (lambda: F.cross_entropy_loss(np.ones((1, 2, 2)) / 2, [1]), ValueError, "\\(1, 2, 2\\)"),
    ],
)
def test_errors(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_float32_stays_float32():
    p, y = np.float32([0.1, 0.7]), np.float32([0.3, 0.2])
    exact = ((p.astype(float) - y.astype(float)) ** 2).mean()
    assert F.mse_loss(p, y) == pytest.approx(exact, rel=1e-6)
    assert F.mse_loss(p, y.astype(float)) == pytest.approx(exact, rel=1e-14)


def test_other_threads_run_meanwhile():
    times, stop = [], threading.Event()

    def note():
        while not stop.is_set():
            times.append(time.perf_counter())

    x = np.zeros(4_000_000)
    thread = threading.Thread(target=note)
    thread.start()
    start = time.perf_counter()
    F.gelu(x)
    end = time.perf_counter()
    stop.set()
    thread.join()
    within = [start, *(t for t in times if start < t < end), end]
    assert max(np.diff(within)) < (end - start) / 2  # or the call has kept the other from running


def test_everything_is_exported():
    assert set(F.__all__) == {name for name in vars(F) if callable(getattr(F, name)) and name[0] != "_"} - {
        "ArrayLike",
        "NDArray",
        "Any",
        "flag",
        "numeric",
        "real",
    }
    assert fn.functional is F
