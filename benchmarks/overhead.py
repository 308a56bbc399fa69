"""What `fit` costs over the bare epochs of the core: shuffling, history, a progress bar on a terminal."""

import json
import os
import statistics
import subprocess
import sys
import termios
import time

import fusednet as fn

from .cases import TYPICAL
from .contenders import CONTENDERS
from .processes import ROOT, affinity, environment, module

ROWS, EPOCHS = 10_000, 20


class Terminal:
    """Standard error as a terminal of its own, so that `fit` shows its bar there."""

    def __enter__(self):
        self.before = sys.stderr
        self.far_end, near_end = os.openpty()
        os.set_blocking(self.far_end, False)
        termios.tcsetwinsize(near_end, (24, 80))
        sys.stderr = os.fdopen(near_end, "w")
        return self

    def __exit__(self, *_):
        sys.stderr.close()
        sys.stderr = self.before
        os.close(self.far_end)

    def read(self):
        """Return what was shown since the last time; a terminal that nobody reads stops its writer."""
        try:
            return os.read(self.far_end, 1 << 16).decode()
        except BlockingIOError:
            return ""


def child(rounds):
    """Time the three ways in turns; return microseconds a step of each."""
    contender = CONTENDERS["fusednet"].load()(TYPICAL, TYPICAL.weights(), 1)
    net, optimizer = contender.net, fn.SGD(TYPICAL.rate)
    X, y = TYPICAL.inputs(ROWS), TYPICAL.targets(ROWS)
    options = {"epochs": EPOCHS, "batch_size": TYPICAL.batch, "optimizer": optimizer}

    def bare():
        for _ in range(EPOCHS):
            net._core.train_epoch(X, y, optimizer._core, TYPICAL.batch)

    ways = {
        "bare epochs": bare,
        "fit, in order, no bar": lambda: net.fit(X, y, shuffle=False, progress=False, **options),
        "fit, shuffled, with a bar": lambda: net.fit(X, y, **options),
    }
    times, shown = {way: [] for way in ways}, ""
    with Terminal() as terminal:
        for _ in range(1 + rounds):  # the first one imports what the bar needs
            for way, body in ways.items():
                start = time.perf_counter()
                body()
                times[way].append(time.perf_counter() - start)
                shown += terminal.read()
    if f"{EPOCHS}/{EPOCHS}" not in shown:
        raise RuntimeError(f"there was no bar, but {shown!r}")
    steps = EPOCHS * -(-ROWS // TYPICAL.batch)
    return {
        way: {"min": 1e6 * min(t[1:]) / steps, "median": 1e6 * statistics.median(t[1:]) / steps}
        for way, t in times.items()
    }


def measure(core, rounds):
    with affinity({core}):
        done = subprocess.run(
            module("overhead", str(rounds)), capture_output=True, text=True, env=environment(1), cwd=ROOT
        )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


if __name__ == "__main__":
    print(json.dumps(child(int(sys.argv[1]))))
