"""A network that is being trained: by whom, since when, and what others may do meanwhile."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fusednet as fn

from helpers import WAIT

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 3)), RNG.normal(size=(40, 1))


class Pause(fn.Callback):
    """Wait at the end of the first epoch, between two calls of the core."""

    def __init__(self):
        self.reached, self.leave = threading.Event(), threading.Event()

    def on_epoch_end(self, net, epoch, logs):
        if epoch == 0:
            self.reached.set()
            assert self.leave.wait(WAIT)


USES = {
    "fit": lambda net: net.fit(X, Y, epochs=1, progress=False),
    "train_step": lambda net: net.train_step(X, Y, fn.SGD(0.1)),
    "loss_and_gradient": lambda net: net.loss_and_gradient(X, Y),
    "forward": lambda net: net.forward(X),
    "forward of a layer": lambda net: net.layers[0].forward(X),
    "l2": lambda net: setattr(net, "l2", 0.1),
    "trainable": lambda net: setattr(net.layers[0], "trainable", False),
    "standardize": lambda net: net.standardize(X),
}


def test_other_threads_are_refused_between_epochs():
    net, reference = (fn.Network([3, 4, 1], seed=0) for _ in range(2))
    pause = Pause()
    with ThreadPoolExecutor(1) as executor:
        training = executor.submit(net.fit, X, Y, epochs=3, callbacks=[pause], progress=False)
        assert pause.reached.wait(WAIT)
        try:
            for use in USES.values():
                with pytest.raises(RuntimeError, match="trained by another thread"):
                    use(net)
            assert net.predict(X).shape == (40, 1)
            assert net.evaluate(X, Y)["loss"] > 0
            USES["train_step"](net.copy())
        finally:
            pause.leave.set()
        history = training.result(WAIT)
    assert history == reference.fit(X, Y, epochs=3, progress=False)
    np.testing.assert_array_equal(net.parameters, reference.parameters)
    for use in USES.values():
        use(net)


def test_callbacks_may_use_the_network_but_not_fit_it():
    errors = []

    class Meddler(fn.Callback):
        def on_epoch_end(self, net, epoch, logs):
            for name, use in USES.items():
                if name != "fit":
                    use(net)
            with pytest.raises(RuntimeError, match="by the caller itself") as caught:
                USES["fit"](net)
            errors.append(caught)

    net = fn.Network([3, 4, 1], seed=0)
    history = net.fit(X, Y, epochs=3, callbacks=[Meddler()], progress=False)
    assert len(errors) == history.epochs == 3
    assert net.history is history


def test_a_loss_may_not_train_its_network():
    net = fn.Network([3, 1], loss=lambda p, y: (net.train_step(X, Y, fn.SGD(0.1)), p), seed=0)
    with pytest.raises(RuntimeError, match="by the caller itself"):
        net.train_step(X, Y, fn.SGD(0.1))
    with pytest.raises(RuntimeError, match="by the caller itself"):
        net.fit(X, Y, progress=False)


def test_a_failed_training_leaves_the_network_free():
    net = fn.Network([3, 1], seed=0)
    with pytest.raises(ValueError, match="rows"):
        net.fit([(X, Y[:-1])], progress=False)
    net.fit(X, Y, epochs=1, progress=False)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX signals")
def test_interruptions_at_any_moment_leave_the_network_free():
    class Interrupted(Exception):
        pass

    def interrupt(*arguments):
        raise Interrupted

    net, optimizer, before = fn.Network([3, 1], seed=0), fn.SGD(0.01), signal.getsignal(signal.SIGALRM)
    signal.signal(signal.SIGALRM, interrupt)
    try:
        for i in range(3000):
            try:
                signal.setitimer(signal.ITIMER_REAL, 2e-5 + 1e-7 * (i % 1000))
                for _ in range(1000):  # Python may swallow the exception where nobody could catch it
                    net.fit(X, Y, epochs=1, batch_size=40, optimizer=optimizer, progress=False)
            except Interrupted:
                net.train_step(X, Y, optimizer)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_child_of_a_fork_does_not_wait_for_the_parents_threads():
    net, pause = fn.Network([3, 4, 1], seed=0), Pause()
    with ThreadPoolExecutor(1) as executor:
        training = executor.submit(net.fit, X, Y, epochs=3, callbacks=[pause], progress=False)
        assert pause.reached.wait(WAIT)
        child = os.fork()
        if child == 0:
            try:
                net.fit(X, Y, epochs=2, progress=False)
            except BaseException:
                os._exit(1)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        pause.leave.set()
        training.result(WAIT)
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize(
    "work",
    [
        "net.fit(X, y, epochs=10**6, progress=False)",
        "while True: net.predict(X)",
        "while True: net.predict(wide, out=wide[:, :1])",
        "own.fit(X, y, epochs=10**6, batch_size=8, progress=False)",
        "array.fit(X, y, epochs=10**6, batch_size=8, progress=False)",
        "number.fit(X, y, epochs=10**6, batch_size=8, progress=False)",
        "fn.fit_many([net, own], X, y, epochs=10**6)",
    ],
    ids=[
        "fit",
        "predict",
        "predict over X",
        "a loss of Python",
        "a slow gradient",
        "a slow value",
        "fit_many",
    ],
)
def test_the_interpreter_ends_while_daemon_threads_compute(work):
    code = f"""
import threading, time
import numpy as np, fusednet as fn

X = np.ones((2000, 64), np.float32)
y = X[:, :1]
def slow():
    end = time.perf_counter() + 0.01
    while time.perf_counter() < end:
        pass
class Gradient:
    def __init__(self, p):
        self.p = p
    def __array__(self, dtype=None, copy=None):
        slow()
        return self.p / 1e6
class Number:
    def __float__(self):
        slow()
        return 0.0
def compute():
    net = fn.Network([64, 128, 1])
    own = fn.Network([64, 128, 1], loss=lambda p, y: (float((p - y).mean()), (p - y) / 1e6))
    array = fn.Network([64, 8, 1], loss=lambda p, y: (0.0, Gradient(p)))
    number = fn.Network([64, 8, 1], loss=lambda p, y: (Number(), p / 1e6))
    wide = np.ones((10**5, 64), np.float32)
    {work}
for _ in range(3):
    threading.Thread(target=compute, daemon=True).start()
time.sleep(0.2)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=WAIT, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_numpys_interface_is_looked_up_at_import():
    """Its lookup, which asks for NumPy's version, could not be ended in a daemon thread."""
    code = """
import numpy as np

class Version(np.lib.NumpyVersion):
    lookups = 0
    def __init__(self, text):
        Version.lookups += 1
        super().__init__(text)

np.lib.NumpyVersion = Version
import fusednet as fn
at_import = Version.lookups
fn.Network([3, 4, 1], seed=0).predict(np.ones(3))
print(at_import, Version.lookups)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=WAIT, check=False
    )
    assert (done.stdout, done.stderr) == ("1 1\n", "")


def test_each_prediction_keeps_to_one_scaling():
    net, inputs = fn.Network([64, 1], seed=0), np.ones((5000, 64))
    scales = [1.0 * np.arange(1, 65), 1e3 * np.arange(1, 65)]
    expected = []
    for deviation in scales:
        net._core.standardize(np.zeros(64), 1 / deviation)
        expected.append(net.predict(inputs).tobytes())
    stop = threading.Event()

    def change():
        while not stop.is_set():
            for deviation in scales:
                net._core.standardize(np.zeros(64), 1 / deviation)

    with ThreadPoolExecutor(1) as executor:
        changing = executor.submit(change)
        try:
            seen = {net.predict(inputs).tobytes() for _ in range(300)}
        finally:
            stop.set()
        changing.result(WAIT)
    assert seen <= set(expected)


def test_a_batch_too_large_for_memory_costs_nothing_but_itself():
    net = fn.Network([1, 1], loss=lambda p, y: (0.0, p * 0), seed=0)
    x, y = np.zeros((8, 1)), np.zeros((8, 1))
    net.forward(x)
    with pytest.raises(MemoryError):
        net.train_step(x, np.broadcast_to(np.int8(0), (8, 2**45)), fn.SGD(0.1))
    with pytest.raises(ValueError, match="call of forward first"):
        net.backward(y)
    assert net.train_step(x, y, fn.SGD(0.1)) == 0.0
