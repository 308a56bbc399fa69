"""Figures of a case as text: beside the other contenders', and beside what the machine allows."""

from itertools import pairwise

OWN = ("fusednet", "fusednet (out=)", "fusednet (1 thread)")


def number(value):
    """Return three digits or all those before the point."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"


def table(head, rows):
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def failures_of(records):
    return [f"{r['label']}, {name}: {why}" for r in records for name, why in r["failures"].items()]


def left_out(failures):
    return "Left out:\n\n" + "\n".join(f"- {failure}" for failure in failures) if failures else ""


def select(results, part, **fields):
    return [r for r in results.get(part, ()) if all(r[key] == value for key, value in fields.items())]


def multiply_adds(kernel_set):
    """Return the kernel set whose multiply-adds are this one's peak.

    AMX's products of float32 are none; what they gain shows as more than the peak of AVX-512's.
    """
    return "avx512" if kernel_set == "amx" else kernel_set


def processor_peak(results, record):
    """Return the peak beside a case; of results that have none, the machine's, or None."""
    kernel_set = multiply_adds(results["about"]["kernel_set"])
    peaks = results.get("machine", {}).get("peak", {}).get(kernel_set)
    return record.get("peak") or (peaks and peaks[record["dtype"]][record["cores"]])


def efficiency(results, record):
    """Return GFLOP/s and its share of the peak, as text."""
    rate, peak = record["flops"] / record["times"]["fusednet"]["min"] * 1e-3, processor_peak(results, record)
    return [number(rate), f"{100 * rate / peak:.0f} %" if peak else "–"]


def lead(record):
    """Return how many times as long the fastest other contender takes, as text; None if there is none."""
    times = {name: figures["min"] for name, figures in record["times"].items()}
    others = [time for name, time in times.items() if name not in OWN]
    return f"{min(others) / times['fusednet']:.2f}×" if others else None


def roofline(results, record, part):
    """Return the share of what peak and bandwidth allow, as text.

    The bytes are those that have to move at least once: inputs, outputs or targets, and the parameters, which
    a training step reads and writes, as it does Adam's two moments of each. They come from the second-level
    cache if that can hold them, else from memory.
    """
    limits = results.get("machine")
    if limits is None:
        return "–"
    widths, batch, cores, dtype = record["widths"], record["batch"], record["cores"], record["dtype"]
    parameters = sum((i + 1) * o for i, o in pairwise(widths))
    moments = {"sgd": 0, "adam": 2}[record["optimizer"]]
    passes = 2 * (1 + moments) if part == "training" else 1
    moved = (batch * (widths[0] + widths[-1]) + passes * parameters) * (4 if dtype == "float32" else 8)
    bandwidth = limits["bandwidth"]["l2" if moved <= limits["l2_bytes"] else "memory"][cores]
    least = max(record["flops"] / processor_peak(results, record), moved / bandwidth) * 1e-3
    return f"{100 * least / record['times']['fusednet']['min']:.0f} %"


def comparison(results, records, title, part):
    """Return a table of fusednet's figures and the others' beside them, and what was left out of it."""
    failures = failures_of(records)
    records = [record for record in records if "fusednet" in record["times"]]
    names = list(dict.fromkeys(name for record in records for name in record["errors"] if name not in OWN))
    into, alone = (any(name in record["times"] for record in records) for name in OWN[1:])
    head = [title, "fusednet", "median"]
    head += (
        ["with `out=`"] * into
        + ["by one thread"] * alone
        + ["GFLOP/s", "of peak", "of roofline", "**ahead by**"]
    )
    rows = []
    for record in records:
        times = record["times"]
        own = times["fusednet"]["min"]
        others = {name: times[name]["min"] for name in names if name in times}
        row = [record["label"], number(own), number(times["fusednet"]["median"])]
        row += [number(times["fusednet (out=)"]["min"])] if into else []
        if alone:
            one = times.get("fusednet (1 thread)")
            row.append(f"{number(one['min'])} ({one['min'] / own:.2f}×)" if one else "–")
        row += [*efficiency(results, record), roofline(results, record, part)]
        ahead = lead(record)
        row += [f"**{ahead}**" if ahead else "–"]
        row += [f"{number(others[n])} ({others[n] / own:.1f}×)" if n in others else "–" for n in names]
        rows.append(row)
    return "\n\n".join(filter(None, [table([*head, *names], rows), left_out(failures)]))
