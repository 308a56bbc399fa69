"""Turn results into Markdown and charts: ``python -m benchmarks.report FILE.json`` prints them."""

import argparse
import json
from pathlib import Path

from .comparison import (
    OWN,
    comparison,
    efficiency,
    failures_of,
    lead,
    left_out,
    multiply_adds,
    number,
    roofline,
    select,
    table,
)
from .processes import ROOT

DOCS = ROOT / "docs"
README = ROOT / "README.md"
KEPT = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- Results: written by benchmarks/report.py. -->", "<!-- End of the results. -->"
HEADLINE = {
    "a training step, 8-16-16-1, batch 32": ("training", "8-16-16-1 / 32"),
    "a training step, 784-256-128-10, batch 64": ("training", "784-256-128-10 / 64"),
    "a prediction, 64-64-64-1, one row": ("prediction", "64-64-64-1 / 1"),
}


def setting(results):
    """Return on what the figures were measured: processor, compiler and versions."""
    info = results["about"]
    versions = ", ".join(f"{name} {version}" for name, version in info["versions"].items())
    machine = f"{info['processor']}, {info['cores']} cores, {info['system']}"
    build = f"fusednet {info['fusednet']} built with {info['compiler']}, kernels {info['kernel_set']}"
    return f"{machine}; {build}; Python {info['python']}, {versions}"


def about(results):
    info = results["about"]
    blocks = [
        f"{setting(results)}; NumPy's BLAS: {info['blas']}. "
        f"Measured on {results['date']}; the load of the machine was {info['load']:.1f} just before.",
        results.get("remark", ""),  # of who put the figures together, by hand
        f"Not installed, so not compared: {', '.join(info['missing'])}." if info["missing"] else "",
    ]
    if "machine" in results:
        limits = results["machine"]
        kinds = [(dtype, cores) for dtype in ("float32", "float64") for cores in ("one", "all")]
        peaks = [
            [name, *(number(peak[dtype][cores]) for dtype, cores in kinds)]
            for name, peak in limits["peak"].items()
        ]
        head = ["peak, GFLOP/s", "float32, one core", "all cores", "float64, one core", "all cores"]
        triads = {
            f"{where}, {cores}": number(rate)
            for where, rates in limits["bandwidth"].items()
            for cores, rate in rates.items()
        }
        blocks += [
            table(head, peaks),
            f"A triad in the second-level cache (of {limits['l2_bytes'] / 2**20:.0f} MiB) moves "
            f"{triads['l2, one']} GB/s on one core and {triads['l2, all']} on all; one in memory "
            f"{triads['memory, one']} and {triads['memory, all']}.",
        ]
    return blocks


def comparisons(results, part, title):
    """Return the tables of training or prediction."""
    blocks = []
    alone = select(results, part, cores="one", dtype="float32")
    together = select(results, part, cores="all", dtype="float32")
    wide = select(results, part, dtype="float64")
    name = part.capitalize()
    if alone:
        blocks += [f"### {name} on one core", comparison(results, alone, title, part)]
        blocks.append(f"![{name} on one core](benchmark_{part}.png)")
    if together:
        blocks += [f"### {name} on all cores", comparison(results, together, title, part)]
    if wide:
        blocks += [f"### {name} in float64 on one core", comparison(results, wide, title, part)]
    return blocks


def training(results):
    return comparisons(results, "training", "µs a step (widths / batch)")


def prediction(results):
    return comparisons(results, "prediction", "µs a prediction (widths / rows)")


def kernel_sets(results):
    """Return a table of the sets narrower than that of the tables above, if there are any."""
    records = [record for record in results["kernel_sets"] if "fusednet" in record["times"]]
    columns = dict.fromkeys((record["kernel_set"], record["dtype"]) for record in records)
    cells = {
        (r["label"], r["kernel_set"], r["dtype"]): (
            f"{number(r['times']['fusednet']['min'])} ({efficiency(results, r)[1]})"
        )
        for r in records
    }
    head = ["µs a step (of that set's peak)", *(f"{name}, {dtype}" for name, dtype in columns)]
    rows = [
        [label, *(cells.get((label, *column), "–") for column in columns)]
        for label in dict.fromkeys(record["label"] for record in records)
    ]
    title = "### Training on one core with the other kernel sets"
    return [title, table(head, rows), left_out(failures_of(results["kernel_sets"]))] if rows else []


def sweep(results):
    blocks = ["### Sizes and shapes", "![GFLOP/s over width and batch](benchmark_sweep.png)"]
    for axis, records in results["sweep"].items():
        blocks.append(left_out(failures_of(records)))
        records = [record for record in records if "fusednet" in record["times"]]
        values = [str(r["widths"][0] if axis == "width" else r["batch"]) for r in records]
        rates, shares = zip(*(efficiency(results, record) for record in records), strict=True)
        roofs = [roofline(results, record, "training") for record in records]
        lines = {"GFLOP/s": rates, "of peak": shares, "of roofline": roofs}
        for i in range(0, len(values), 14):
            part = slice(i, i + 14)
            blocks.append(table([axis, *values[part]], [[name, *line[part]] for name, line in lines.items()]))
    return blocks


def fit(results):
    bare = results["fit"]["bare epochs"]
    rows = [
        [way, number(t["min"]), *(f"{100 * (t[kind] / bare[kind] - 1):+.1f} %" for kind in ("min", "median"))]
        for way, t in results["fit"].items()
    ]
    return ["### What `fit` adds", table(["64-128-128-1 / 32", "µs a step", "added", "by the medians"], rows)]


def footprint(results):
    head = ["", "installed, MiB", "import, ms", "first step, ms", "first prediction, ms"]
    head += ["memory of an epoch, MiB", "of 100,000 predictions, MiB"]
    rows, failures = [], []
    for name, figures in results["footprint"]["contenders"].items():
        train, predict = figures.get("train", {}), figures["predict"]
        failures += [
            f"{name}: {run['failure'].strip().splitlines()[-1]}"
            for run in (train, predict)
            if "failure" in run
        ]
        imports = [run["import_ms"] for run in (train, predict) if "import_ms" in run]
        values = [figures.get("installed_mib"), min(imports, default=None), train.get("first_ms")]
        values += [predict.get("first_ms"), train.get("memory_mib"), predict.get("memory_mib")]
        rows.append([name, *map(number, values)])
    wheel = f"fusednet's wheel has {results['footprint']['wheel_mib']:.1f} MiB."
    return ["### Beside speed", table(head, rows), left_out(failures), wheel]


def kernels(results):
    products = ("forward", "+tanh", "input", "weight", "+update")
    blocks = []
    for dtype in ("float32", "float64"):
        sets = list(dict.fromkeys(row["set"] for row in results["kernels"]))
        shapes = list(dict.fromkeys((row["m"], row["k"], row["n"]) for row in results["kernels"]))
        rates = {(r["set"], r["m"], r["k"], r["n"]): r for r in results["kernels"] if r["type"] == dtype}
        for name in sets:
            rows = [
                ["×".join(shape), *(f"{float(rates[name, *shape][p]):.0f}" for p in products)]
                for shape in shapes
            ]
            peaks = results.get("machine", {}).get("peak", {}).get(multiply_adds(name), {})
            peak = peaks.get(dtype, {}).get("one")
            blocks.append(table([f"{name}, {dtype} (peak {number(peak)})", *products], rows))
    return [
        "### The kernels alone, GFLOP/s",
        "<details><summary>By shape and kernel set</summary>",
        *blocks,
        "</details>",
    ]


def standing(results, cores):
    """Return how far ahead fusednet is and its share of the peak, as text, for each case."""
    cells = {}
    for part in ("training", "prediction"):
        for record in select(results, part, cores=cores):
            ahead = lead(record) if "fusednet" in record["times"] else None
            if ahead:
                case = f"{part}, {record['label']}" + ", float64" * (record["dtype"] == "float64")
                cells[case] = f"{ahead}, {efficiency(results, record)[1]}"
    return cells


def elsewhere(results, file):
    """Return a table of `standing` by the other files in results/ with training, if these have it too."""
    if "training" not in results:
        return []
    paths = [path for path in sorted(KEPT.glob("*.json")) if path.resolve() != file.resolve()]
    kept = {path.stem: json.loads(path.read_text("utf-8")) for path in paths}
    others = {name: record for name, record in kept.items() if "training" in record}
    if not others:
        return []
    columns = {
        f"{name}, {words}": standing(other, cores)
        for name, other in others.items()
        for cores, words in (("one", "one core"), ("all", "all cores"))
    }
    labels = dict.fromkeys(label for cells in columns.values() for label in cells)
    rows = [[label, *(cells.get(label, "–") for cells in columns.values())] for label in labels]
    remarks = [
        f"{name}: measured on {r['date']}. {r.get('remark', '')}".strip() for name, r in others.items()
    ]
    return ["### On other machines", table(["ahead by, and share of peak", *columns], rows), *remarks]


def text(results, file):
    """Return the Markdown of everything that was measured and is, or will be, in that file."""
    blocks = about(results)
    for make in (training, prediction, kernel_sets, sweep, fit, footprint, kernels):
        if make.__name__ in results:
            blocks += make(results)
    blocks += elsewhere(results, file)
    return "\n\n".join(block for block in blocks if block)


def headline(results):
    """Return README's table: three cases, and the best of those it has no column for; and on what machine."""
    named = ("scikit-learn", "PyTorch")
    rows = []
    for title, (part, label) in HEADLINE.items():
        (record,) = select(results, part, cores="one", dtype="float32", label=label)
        times = {name: figures["min"] for name, figures in record["times"].items()}
        own = times["fusednet"]
        best = min((name for name in times if name not in (*OWN, *named)), key=times.__getitem__)
        cells = {name: f"{number(time)} ({time / own:.1f}×" for name, time in times.items()}
        rows.append([title, number(own), *(f"{cells[n]})" for n in named), f"{cells[best]}, {best})"])
    info = results["about"]
    machine = f"On one core ({info['processor']}; {info['compiler']}):"
    head = ["", "fusednet", "scikit-learn", "PyTorch eager", "fastest other"]
    remark = results.get("headline_remark", "")  # by hand, too
    return "\n\n".join(filter(None, [machine, table(head, rows), remark]))


def replace_results(path, content):
    """Put the content between the marks of a document."""
    before, rest = path.read_text("utf-8").split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n\n{content}\n\n{END}{after}", "utf-8")


def write(results, file):
    """Put the tables into docs/benchmarks.md and README.md, between the marks, and the charts into docs/."""
    from . import charts  # needs Matplotlib, which the tables do without

    replace_results(DOCS / "benchmarks.md", text(results, file))
    replace_results(README, headline(results))
    charts.draw(results, DOCS)


def main():
    parser = argparse.ArgumentParser(description="Print results that were measured before, as Markdown.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--docs", action="store_true", help="put them into docs/ and README.md instead")
    options = parser.parse_args()
    results = json.loads(options.file.read_text("utf-8"))
    if options.docs:
        write(results, options.file)
    else:
        print(text(results, options.file))


if __name__ == "__main__":
    main()
