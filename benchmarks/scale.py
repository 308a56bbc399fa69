"""From measured times to a thousand ranks: a model of data-parallel training.

``python -m benchmarks.scale`` reads what ``python -m benchmarks.distributed`` measured and writes
docs/scale.md and its picture. The model: a rank's gradients are there at measured times; an all-reduce of n
bytes over R ranks takes 2·log₂R·α + 2·(R − 1)/R·n·β, with the network's latency α and time per byte β.
"""

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from .distributed import RESULTS

DOCS = Path(__file__).resolve().parents[1] / "docs"
RANKS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000]
GLOBAL, LOCAL, SYNC_EVERY = 4096, 512, 16  # a fixed batch of all ranks, or of each; steps between averages


@dataclass(frozen=True)
class Network:
    name: str
    alpha: float  # seconds a message
    beta: float  # seconds a byte
    color: str

    def all_reduce(self, ranks, size):
        return 2 * math.ceil(math.log2(ranks)) * self.alpha + 2 * (ranks - 1) / ranks * size * self.beta


# Usual figures: TCP through the kernel at 10 Gb/s, 1.1 GB/s of it payload; RDMA at 100 Gb/s, 11 GB/s.
ETHERNET = Network("10 GbE, TCP", 25e-6, 1 / 1.1e9, "C1")
FAST = Network("100 Gb/s, RDMA", 2e-6, 1 / 11e9, "C0")


class Model:
    def __init__(self, measured):
        layers = measured["ranks"]["1"]["layers"]
        self.batches = np.array(sorted(map(int, layers)))
        self.times = np.array([layers[str(b)]["ready"] for b in self.batches])
        self.update = min(layer["update"] for layer in layers.values())
        widths = measured["widths"]
        self.sizes = [4 * (i + 1) * o for i, o in pairwise(widths)][::-1]

    def ready(self, batch):
        """Return when each layer's gradient is there, the last layer first."""
        if batch > self.batches[-1]:
            return self.times[-1] * batch / self.batches[-1]
        return np.array([np.interp(batch, self.batches, column) for column in self.times.T])

    def step(self, network, ranks, batch, overlap=True):
        """Return seconds of a synchronous step with `batch` rows on each rank."""
        ready = self.ready(batch)
        done = 0.0
        for size, there in zip(self.sizes, ready if overlap else np.full(len(ready), ready[-1]), strict=True):
            done = max(done, there) + (network.all_reduce(ranks, size) if ranks > 1 else 0.0)
        return done + self.update

    def local_step(self, network, ranks, batch):
        """Return seconds of a step of local SGD, its share of the averaging included."""
        average = network.all_reduce(ranks, sum(self.sizes)) if ranks > 1 else 0.0
        return self.ready(batch)[-1] + self.update + average / SYNC_EVERY

    def speedup(self, network, ranks, local, fixed):
        """Return how many times as many rows a second as one rank all of them go through."""
        batch = GLOBAL / ranks if fixed else LOCAL
        step = self.local_step if local else self.step
        return (
            step(network, 1, batch * ranks if fixed else batch)
            / step(network, ranks, batch)
            * (1 if fixed else ranks)
        )


def fit_network(all_reduce):
    """Return α and β of the all-reduces measured between two ranks: 2·α + n·β, by least relative squares."""
    sizes = np.array([float(size) for size in all_reduce])
    seconds = np.array(list(all_reduce.values()))
    columns = np.column_stack([np.full(len(sizes), 2.0), sizes]) / seconds[:, None]
    alpha, beta = np.linalg.lstsq(columns, np.ones(len(sizes)), rcond=None)[0]
    return Network("shared memory", max(alpha, 0.0), max(beta, 0.0), "C2")


def half_efficient(model, network, local, fixed):
    """Return the most ranks, up to a thousand, of which each does at least half of what one alone does."""
    return max(r for r in range(1, 1001) if model.speedup(network, r, local, fixed) >= 0.5 * r)


def draw(model, path):
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
    left.plot(RANKS, RANKS, ":", color="grey", label="ideal")
    for network in (FAST, ETHERNET):
        for local, style in ((False, "-"), (True, "--")):
            label = f"{network.name}, " + (f"local SGD, {SYNC_EVERY} steps" if local else "every step")
            look = {"linestyle": style, "color": network.color, "label": label}
            left.plot(RANKS, [model.speedup(network, ranks, local, True) for ranks in RANKS], **look)
            right.plot(RANKS, [model.speedup(network, r, local, False) / r for r in RANKS], **look)
    left.set(
        title=f"{GLOBAL} rows a step on all ranks together", yscale="log", ylabel="times one rank's speed"
    )
    right.set(
        title=f"{LOCAL} rows a step on each rank", ylim=(0, 1.05), ylabel="a rank's speed beside one alone"
    )
    for axis in (left, right):
        axis.set(xscale="log", xlabel="ranks")
        axis.grid(alpha=0.3)
    left.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def check_table(model, measured):
    """Compare the model with the steps measured on two ranks of this machine."""
    network = fit_network(measured["ranks"]["2"]["all_reduce"])
    lines = [
        "| rows a step | one rank | two ranks | ratio | model of two | off by |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for batch, seconds in measured["ranks"]["2"]["steps"].items():
        one = measured["ranks"]["1"]["steps"][batch]
        expected = model.step(network, 2, int(batch) / 2, overlap=False)
        lines.append(
            f"| {batch} | {1e3 * one:.2f} ms | {1e3 * seconds:.2f} ms | {one / seconds:.2f} "
            f"| {1e3 * expected:.2f} ms | {100 * (expected / seconds - 1):+.0f} % |"
        )
    return network, "\n".join(lines)


def scale_table(model):
    lines = ["| batch | network | | 4 ranks | 16 | 64 | 256 | 1000 | half efficient up to |"]
    lines.append("|---|---|---|" + 6 * "---:|")
    for fixed in (True, False):
        for network in (FAST, ETHERNET):
            for local in (False, True):
                speedups = [model.speedup(network, ranks, local, fixed) for ranks in (4, 16, 64, 256, 1000)]
                most = half_efficient(model, network, local, fixed)
                batch = f"{GLOBAL} in all" if fixed else f"{LOCAL} a rank"
                lines.append(
                    f"| {batch} | {network.name} | {'local SGD' if local else 'every step'} | "
                    + " | ".join(f"{speedup:.3g}" for speedup in speedups)
                    + f" | {most if most < 1000 else '1000 or more'} |"
                )
    return "\n".join(lines)


def main():
    measured = json.loads(RESULTS.read_text("utf-8"))
    model = Model(measured)
    here, checks = check_table(model, measured)
    compute, total = 1e3 * model.ready(LOCAL)[-1], sum(model.sizes)
    text = (Path(__file__).parent / "scale.md.in").read_text("utf-8")
    about = measured["about"]
    values = {
        "machine": f"{about['processor']}, kernels: {about['kernels']}, compiled by {about['compiler']}",
        "widths": "-".join(map(str, measured["widths"])),
        "megabytes": f"{total / 1e6:.2f}",
        "compute": f"{compute:.2f}",
        "update": f"{1e3 * model.update:.2f}",
        "local": LOCAL,
        "sync_every": SYNC_EVERY,
        "here": f"α = {1e6 * here.alpha:.1f} µs and 1/β = {1 / here.beta / 1e9:.1f} GB/s",
        "checks": checks,
        "scale": scale_table(model),
        "ethernet_ms": f"{1e3 * ETHERNET.all_reduce(1000, total):.1f}",
        "fast_ms": f"{1e3 * FAST.all_reduce(1000, total):.2f}",
        "ethernet_half": half_efficient(model, ETHERNET, False, True),
        "ethernet_local_half": half_efficient(model, ETHERNET, True, True),
        "fast_half": half_efficient(model, FAST, False, True),
        "fast_local_half": half_efficient(model, FAST, True, True),
    }
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    (DOCS / "scale.md").write_text(text, "utf-8")
    draw(model, DOCS / "scale.png")


if __name__ == "__main__":
    main()
