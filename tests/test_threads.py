"""Threads of the core and of Python, forks, Ctrl-C, and what the environment variables say."""

import multiprocessing
import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fusednet as fn

from helpers import WAIT

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals and forks")


def problem(rows=256, widths=(200, 300, 10), seed=0):
    """Return a network whose steps are large enough for several threads, and its data."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, widths[0])).astype(np.float32)
    y = rng.normal(size=(rows, widths[-1])).astype(np.float32)
    return fn.Network(widths, "tanh", seed=seed), X, y


def train(seed=0):
    net, X, y = problem(seed=seed)
    net.fit(X, y, epochs=3, batch_size=100, optimizer=fn.Adam())
    return net.parameters.tobytes()


def python(code, **environment):
    """Run code in a new interpreter with environment variables set."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )


@pytest.mark.parametrize("count", [0, -1, 1025, 2**70])
def test_numbers_of_threads_out_of_range(threads, count):
    threads(3)
    limit = "least 1" if count < 1 else "most 1024"
    with pytest.raises(ValueError, match=f"threads must be at {limit}, not {count}"):
        threads(count)
    assert fn.get_num_threads() == 3


@pytest.mark.parametrize("count", [1.5, "2", [1]])
def test_numbers_of_threads_of_another_type(threads, count):
    with pytest.raises(TypeError, match="threads must be an integer, not "):
        threads(count)


def test_automatic_number_of_threads(threads):
    automatic = fn.get_num_threads()
    assert automatic >= 1
    threads(automatic + 3)
    assert fn.get_num_threads() == automatic + 3
    threads(None)
    assert fn.get_num_threads() == automatic


SHOW_THREADS = """
import fusednet as fn
print(fn.get_num_threads())
fn.set_num_threads(7)
fn.set_num_threads(None)
print(fn.get_num_threads())
"""


@pytest.mark.parametrize("value", ["1", "3", "1024"])
def test_threads_from_the_environment(value):
    result = python(SHOW_THREADS, FUSEDNET_NUM_THREADS=value)
    assert result.stdout.split() == [value, value], result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="counts processors as Linux does")
@pytest.mark.parametrize(
    ("value", "limit"),
    [("1", 1), ("1,2", 1), ("4096", 4096), ("0", 4096), ("-3", 4096), ("many", 4096), ("", 4096)],
)
def test_openmps_variable_is_a_limit(value, limit):
    """As joblib sets it in its workers."""
    usable = python(SHOW_THREADS, OMP_NUM_THREADS="", FUSEDNET_NUM_THREADS="").stdout.split()[0]
    result = python(SHOW_THREADS, OMP_NUM_THREADS=value, FUSEDNET_NUM_THREADS="")
    assert result.stdout.split()[0] == str(min(limit, int(usable))), result.stderr
    own = python(SHOW_THREADS, OMP_NUM_THREADS=value, FUSEDNET_NUM_THREADS="3")
    assert own.stdout.split()[0] == "3", own.stderr


@pytest.mark.parametrize("value", ["0", "-2", "1025", "99999999999999999999", "1.5", "many", "3 4"])
def test_wrong_threads_from_the_environment(value):
    result = python("import fusednet", FUSEDNET_NUM_THREADS=value)
    assert result.returncode == 1
    message = result.stderr.splitlines()[-1]
    assert message.startswith("ImportError: FUSEDNET_NUM_THREADS: expected a whole number from 1 to 1024")
    assert f"'{value}'" in message


TRAIN = """
import numpy as np
import fusednet as fn
X = np.random.default_rng(0).normal(size=(100, 1))
net = fn.Network([1, 33, 1], "gelu", seed=0)
history = net.fit(X, np.sin(X), epochs=200, optimizer=fn.Adam(0.01))
print(fn.build_info()["active_kernel_set"], history.loss[-1] < 0.01)
"""


@pytest.mark.parametrize("name", fn.build_info()["kernel_sets"])
def test_forced_kernels(name):
    result = python(TRAIN, FUSEDNET_KERNELS=name)
    if name in fn.build_info()["available_kernel_sets"]:
        assert result.stdout.split() == [name, "True"], result.stderr
    else:
        assert_unavailable(result, name)


@pytest.mark.parametrize(
    "name", ["sse9", "AVX2", "arm" if "neon" in fn.build_info()["kernel_sets"] else "neon"]
)
def test_unavailable_kernels(name):
    assert_unavailable(python("import fusednet", FUSEDNET_KERNELS=name), name)


def assert_unavailable(result, name):
    assert result.returncode == 1
    message = result.stderr.splitlines()[-1]
    assert message.startswith(f"ImportError: FUSEDNET_KERNELS={name}: expected one of the kernel sets")
    assert ", ".join(fn.build_info()["available_kernel_sets"]) in message


SMALL_SIGNAL_STACK = """
import ctypes
class Stack(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]
memory = ctypes.create_string_buffer(8192)
assert ctypes.CDLL(None).sigaltstack(ctypes.byref(Stack(ctypes.addressof(memory), 0, 8192)), None) == 0
"""


@pytest.mark.skipif("amx" not in fn.build_info()["available_kernel_sets"], reason="needs AMX")
def test_without_permission_for_tiles():
    """Linux refuses AMX's tiles where they would not fit on a stack for signals."""
    result = python(SMALL_SIGNAL_STACK + TRAIN, FUSEDNET_KERNELS="")
    assert result.stdout.split() == ["avx512", "True"], result.stderr
    forced = python(SMALL_SIGNAL_STACK + "import fusednet", FUSEDNET_KERNELS="amx")
    assert forced.returncode == 1
    assert "ImportError: FUSEDNET_KERNELS=amx: Linux does not let this process" in forced.stderr


def test_empty_variables_are_not_set():
    result = python(SHOW_THREADS + TRAIN, FUSEDNET_NUM_THREADS="", FUSEDNET_KERNELS="")
    assert result.stdout.split()[2] == fn.build_info()["available_kernel_sets"][-1], result.stderr


@pytest.mark.parametrize("count", [1, 4])
def test_predictions_from_many_threads(threads, count):
    """Small ones and large ones, which share the pool, at once."""
    threads(count)
    net, X, y = problem(rows=1000)
    small = fn.Network([200, 8, 1], seed=0)
    calls = [lambda: net.predict(X), lambda: net.predict(X[0]), lambda: small.predict(X[:7])]
    calls.append(lambda: net.evaluate(X, y)["loss"])
    expected = [call() for call in calls]
    with ThreadPoolExecutor(6) as executor:
        results = [[executor.submit(call) for call in calls] for _ in range(25)]
        for futures in results:
            for future, value in zip(futures, expected, strict=True):
                np.testing.assert_array_equal(future.result(WAIT), value)


def test_networks_trained_side_by_side(threads):
    """One at a time has the pool; the others go on alone. The bits are the same."""
    threads(3)
    expected = [train(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as executor:
        assert list(executor.map(train, [0, 1, 2, 3] * 3)) == expected * 3


def test_one_network_in_two_threads():
    entered, leave = threading.Event(), threading.Event()

    def loss(prediction, target):
        if threading.current_thread() is not threading.main_thread():
            entered.set()
            assert leave.wait(WAIT)
        return 0.0, np.zeros_like(prediction)

    net, X, y = fn.Network([2, 3, 1], loss=loss), np.ones((4, 2)), np.ones((4, 1))
    optimizer = fn.SGD(0.1)
    with ThreadPoolExecutor(1) as executor:
        first = executor.submit(net.train_step, X, y, optimizer)
        assert entered.wait(WAIT)
        try:
            for second in (
                lambda: net.train_step(X, y, optimizer),
                lambda: net.fit(X, y),
                lambda: net.loss_and_gradient(X, y),
                lambda: net.forward(X),
                lambda: net.backward(y),
                lambda: setattr(net, "l2", 0.1),
                lambda: setattr(net.layers[0], "trainable", False),
            ):
                with pytest.raises(RuntimeError, match=r"trained by another thread.*net\.copy\(\)"):
                    second()
            assert net.predict(X).shape == (4, 1)  # re-entrant
            assert net.copy().train_step(X, y, optimizer) == 0.0
        finally:
            leave.set()
        assert first.result(WAIT) == 0.0
    assert net.train_step(X, y, optimizer) == 0.0


def test_a_failing_loss_leaves_the_network_usable(threads):
    threads(2)
    net, X, y = problem()

    def loss(prediction, target):
        raise ZeroDivisionError("mine")

    failing = fn.Network(net.layers[0].weights.shape, loss=loss)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError, match="mine"):
            failing.train_step(X, np.ones(len(X)), fn.SGD(0.1))
    assert failing.predict(X).shape == (256, 300)
    assert net.train_step(X, y, fn.SGD(0.1)) > 0


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_first_wrong_row_is_named(threads, count):
    threads(count)
    net, X, y = problem(rows=400)
    X[[150, 390], 7] = np.nan, np.inf
    before = net.parameters.copy()
    with pytest.raises(ValueError, match="received nan in row 150, column 7"):
        net.train_step(X, y, fn.SGD(0.1))
    with pytest.raises(ValueError, match="received inf in row 0, column 7"):
        net.train_step(X[::-1][9:], y[9:], fn.SGD(0.1))
    assert np.array_equal(net.parameters, before)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_first_wrong_row_of_a_large_batch_is_named(threads, count):
    threads(count)
    net, X, y = fn.Network([40, 30, 1], dropout=0.1, seed=0), np.ones((9000, 40)), np.ones(9000)
    X[[7100, 8300], 7] = np.nan, np.inf
    before = net.parameters.copy()
    with pytest.raises(ValueError, match="received nan in row 7100, column 7"):
        net.train_step(X, y, fn.SGD(0.1))
    assert np.array_equal(net.parameters, before)
    assert net._core.dropout_step == 0
    X[7100] = 1.0
    with pytest.raises(ValueError, match="received inf in row 8300, column 7"):
        net.fit(X, y, batch_size=9000, epochs=1, shuffle=False)
    X[8300] = 1.0
    assert net.train_step(X, y, fn.SGD(0.1)) > 0
    y[8999] = 1e300
    with pytest.raises(ValueError, match=r"y: expected finite values that fit float32, .* in row 8999"):
        net.train_step(X, y, fn.SGD(0.1))


def test_threads_may_change_between_forward_and_backward(threads):
    net, X, y = problem()
    threads(1)
    net.forward(X)
    dX, gradient = net.backward(y), net.gradient.copy()
    net.forward(X)
    threads(4)
    np.testing.assert_array_equal(net.backward(y), dX)
    np.testing.assert_array_equal(net.gradient, gradient)


def test_fewer_threads_than_before(threads):
    """Workers that come late from a larger team leave the next, smaller one's work alone."""
    large, X, y = problem(rows=64)
    threads(1)
    expected = large.copy()
    expected.train_step(X, y, fn.SGD(0.1))
    for _ in range(50):
        threads(8)
        large.loss_and_gradient(X, y)
        threads(2)
        small = large.copy()
        small.train_step(X, y, fn.SGD(0.1))
        np.testing.assert_array_equal(small.parameters, expected.parameters)


def test_other_threads_run_while_one_trains(threads):
    threads(1)
    net, X, y = problem(rows=20_000)
    ticks, done = [], threading.Event()

    def tick():
        while not done.is_set():
            time.sleep(0.001)
            ticks.append(time.perf_counter())

    ticker = threading.Thread(target=tick)
    ticker.start()
    while not ticks:
        time.sleep(0.001)
    before = len(ticks)
    net.fit(X, y, epochs=1)
    during = len(ticks) - before
    done.set()
    ticker.join(WAIT)
    assert during >= 3


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="needs a free-threaded Python")
def test_the_gil_stays_off():
    result = python("import sys, fusednet; print(sys._is_gil_enabled())")
    assert result.stdout == "False\n", result.stderr


@posix
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of threads that the child will not have
def test_training_after_a_fork(threads):
    threads(3)
    expected = train()  # starts the pool
    context = multiprocessing.get_context("fork")
    for _ in range(3):
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=lambda sender=sender: sender.send(train()))
        child.start()
        sender.close()
        try:
            assert receiver.poll(WAIT), "the child hangs"
            assert receiver.recv() == expected
        finally:
            child.kill()
            child.join(WAIT)
    assert train() == expected


INTERRUPTED = """
import signal
import sys
import time
import numpy as np
import fusednet as fn

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

class Ready(fn.Callback):
    def on_epoch_begin(self, net, epoch):
        if epoch == int(sys.argv[2]):
            print("ready", flush=True)

rng = np.random.default_rng(0)
rows = int(float(sys.argv[1]))
X = np.broadcast_to(rng.normal(size=(1, 16)), (rows, 16))  # takes no memory
y = np.broadcast_to(np.ones((1, 1)), (rows, 1))
net = fn.Network([16, 64, 64, 1], "tanh", seed=0)
start = net.parameters.copy()
try:
    net.fit(X, y, epochs=10**9, shuffle=False, optimizer=fn.Adam(), callbacks=[Ready()])
except KeyboardInterrupt:
    left = time.monotonic()
    print(left, np.isfinite(net.parameters).all(), (net.parameters != start).any(), net.history.epochs)
    net.fit(X[:100], y[:100], epochs=1)
    raise
"""


@posix
@pytest.mark.parametrize(
    ("rows", "epoch"), [("1e3", 5), ("1e12", 0)], ids=["many epochs", "an endless epoch"]
)
def test_ctrl_c(rows, epoch):
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, rows, str(epoch)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=WAIT)
    finally:
        process.kill()
        process.communicate()
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    left, finite, changed, epochs = out.split()
    assert float(left) - sent < 2.0  # by the clock that all processes have in common
    assert finite == changed == "True"
    assert int(epochs) >= epoch
