"""The charts of docs/benchmarks.md."""

import textwrap

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from .comparison import processor_peak
from .report import setting

STYLE = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}
CONTENDERS = {  # colour and marker
    "fusednet": ("#c1121f", "o"),
    "NumPy": ("#4c78a8", "D"),
    "scikit-learn": ("#f2a541", "s"),
    "PyTorch": ("#b05cc4", "v"),
    "torch.compile": ("#6a3d9a", "^"),
    "JAX": ("#2a9d5c", "X"),
    "TensorFlow": ("#8c8c8c", "p"),
    "ONNX Runtime": ("#17a2b8", "h"),
    "KANN": ("#6b4f2a", "d"),
}
SWEEP = {
    "width": ("widths w-w-w-w, minibatches of 64 rows", "w"),
    "batch": ("widths 256-256-256-256", "rows of a minibatch"),
}


def caption(results):
    """Return on what a figure's values were measured, in two lines or so."""
    return textwrap.fill(f"{setting(results)}; {results['date']}", 150)


def ratios(results, records, title, path):
    """Draw how many times fusednet's time each contender takes, a line for each case."""
    records = [record for record in records if "fusednet" in record["times"]]
    figure, axes = plt.subplots(figsize=(9, 1.6 + 0.5 * len(records)), layout="constrained")
    for line in range(0, len(records), 2):
        axes.axhspan(line - 0.5, line + 0.5, color="#f4f4f4", zorder=0)
    axes.axvline(1, color=CONTENDERS["fusednet"][0], linewidth=1.5, zorder=2)
    present = [name for name in CONTENDERS if any(name in record["times"] for record in records)]
    for place, name in enumerate(present):
        colour, marker = CONTENDERS[name]
        height = 0.6 * (place / max(1, len(present) - 1) - 0.5)  # so that equal ones do not hide each other
        points = [
            (record["times"][name]["min"] / record["times"]["fusednet"]["min"], line + height)
            for line, record in enumerate(records)
            if name in record["times"]
        ]
        axes.scatter(*zip(*points, strict=True), s=45, color=colour, marker=marker, label=name, zorder=3)
    axes.set_yticks(
        range(len(records)), [f"{r['label']}   ({duration(r['times']['fusednet']['min'])})" for r in records]
    )
    axes.set_ylim(len(records) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([0.5, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}×"))
    axes.grid(axis="x", color="#dddddd", zorder=0)
    axes.set_xlabel("time, as a multiple of fusednet's, which is in brackets")
    figure.suptitle(title, x=0.01, ha="left")
    figure.legend(
        loc="outside lower left",
        ncols=5,
        frameon=False,
        title=caption(results),
        title_fontsize=7,
        alignment="left",
    )
    figure.savefig(path, dpi=150)
    plt.close(figure)


def duration(microseconds):
    if microseconds < 1000:
        return f"{microseconds:.3g} µs"
    return f"{microseconds / 1000:.3g} ms" if microseconds < 1e6 else f"{microseconds / 1e6:.3g} s"


def sweep(results, path):
    """Draw GFLOP/s of a training step over width and batch, evenly spaced so that neighbours can be told."""
    figure, panels = plt.subplots(2, 1, figsize=(9, 6.4), layout="constrained")
    colour = CONTENDERS["fusednet"][0]
    for axes, (axis, records) in zip(panels, results["sweep"].items(), strict=True):
        records = [record for record in records if "fusednet" in record["times"]]
        values = [record["widths"][0] if axis == "width" else record["batch"] for record in records]
        rates = [record["flops"] / record["times"]["fusednet"]["min"] * 1e-3 for record in records]
        axes.plot(rates, "o-", color=colour, markersize=5, linewidth=1)
        axes.set_xticks(range(len(values)), [f"{value:,}" for value in values], rotation=60)
        title, label = SWEEP[axis]
        axes.set(ylabel="GFLOP/s", xlabel=label, ylim=(0, None))
        axes.set_title(f"fusednet, a training step on one core, float32: {title}", loc="left")
        axes.grid(axis="y", color="#dddddd")
        peaks = [processor_peak(results, record) for record in records]
        if None not in peaks:
            axes.plot(peaks, color="#444444", linestyle="--", linewidth=1)
            axes.annotate(
                "the processor's peak, as measured", (0, max(peaks)), (0, 6), textcoords="offset points"
            )
            axes.set_ylim(0, 1.15 * max(peaks))
    figure.supxlabel(caption(results), x=0.01, ha="left", fontsize=7)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def draw(results, folder):
    titles = {
        "training": "A training step on one core, float32 (widths of the layers / rows of a minibatch)",
        "prediction": "A prediction on one core, float32 (widths of the layers / rows)",
    }
    missing = ", ".join(results["about"]["missing"])
    with mpl.rc_context(STYLE):
        for part, title in titles.items():
            records = [r for r in results.get(part, ()) if (r["cores"], r["dtype"]) == ("one", "float32")]
            note = f"\nnot installed: {missing}" if missing else ""
            if records:
                ratios(results, records, title + note, folder / f"benchmark_{part}.png")
        if "sweep" in results:
            sweep(results, folder / "benchmark_sweep.png")
