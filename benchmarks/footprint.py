"""What a library costs beside its speed: size, time to import and to a first step, memory.

`measure` starts a fresh process, this file, for each figure.
"""

import importlib.metadata
import io
import json
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path

from .cases import TYPICAL
from .contenders import CONTENDERS
from .processes import ROOT, environment, module

ROWS = 100_000


def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def peak_memory(body):
    """Return by how many MiB the process grew at most while it ran; None where the system does not tell."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far, such as that of the import
        before = status("VmRSS")
    except OSError:
        return None
    body()
    return status("VmHWM") - before


def child(name, kind):
    """Import a library, take a first step (or make a first prediction), then go through 100,000 rows."""
    entry = CONTENDERS[name]
    case = TYPICAL if kind == "train" else replace(TYPICAL, batch=1)
    weights, x, y = case.weights(), case.inputs(case.batch), case.targets(case.batch)
    start = time.perf_counter()
    make = entry.load()
    imported = time.perf_counter()
    contender = make(case, weights, None)
    if kind == "train":
        contender.hold(x, y)
        contender.train_epoch()
    else:
        contender.predictor(x)()
    first = time.perf_counter()
    memory = None
    if kind == "train":
        contender.hold(case.inputs(ROWS), case.targets(ROWS))
        memory = peak_memory(contender.train_epoch)
    elif not entry.single_rows:
        memory = peak_memory(make(replace(case, batch=ROWS), weights, None).predictor(case.inputs(ROWS)))
    return {"import_ms": 1e3 * (imported - start), "first_ms": 1e3 * (first - imported), "memory_mib": memory}


def package_files():
    import fusednet

    return {path for path in Path(fusednet.__file__).parent.rglob("*") if "__pycache__" not in path.parts}


def distribution_files(distribution, seen):
    """Return the files of a distribution and of those it needs, but for the ones in `seen`."""
    name = re.sub(r"[-_.]+", "-", distribution).lower()
    if name in seen:
        return set()
    seen.add(name)
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return set()  # needed on other systems or Python versions only
    paths = {Path(found.locate_file(file)) for file in found.files or ()}
    for requirement in found.requires or ():
        if "extra ==" not in requirement:
            paths |= distribution_files(re.match(r"[\w.-]+", requirement)[0], seen)
    return paths


def installed_size(distribution):
    """Return the bytes on disk, without those of NumPy, which all of them need."""
    paths = distribution_files(distribution, set() if distribution == "numpy" else {"numpy"})
    if distribution == "fusednet":
        paths |= package_files()  # an editable installation lists none of them
    return sum(path.stat().st_size for path in paths if path.is_file())


def wheel_size():
    """Return the bytes of fusednet's files, compressed as they are in a wheel."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in package_files():
            archive.write(path)
    return len(buffer.getvalue())


def run(name, kind):
    with tempfile.TemporaryDirectory() as cache:  # elsewhere torch.compile would find its earlier work
        done = subprocess.run(
            module("footprint", name, kind),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**environment(None), "TORCHINDUCTOR_CACHE_DIR": cache},
        )
    if done.returncode:
        return {"failure": done.stderr[-500:]}
    return json.loads(done.stdout.splitlines()[-1])


def measure(names):
    """Return the figures of each contender, with its own choice of threads."""
    results = {}
    for name in names:
        entry = CONTENDERS[name]
        results[name] = {kind: run(name, kind) for kind in ("train", "predict")[not entry.trains :]}
        results[name]["installed_mib"] = installed_size(entry.distribution) / 2**20
    return {"contenders": results, "wheel_mib": wheel_size() / 2**20}


if __name__ == "__main__":
    print(json.dumps(child(*sys.argv[1:])))
