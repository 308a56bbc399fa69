"""The machine: what it is, and what its processor and memory could do at best, by the C++ programs here."""

import functools
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import fusednet as fn

from .comparison import multiply_adds
from .contenders import CONTENDERS
from .processes import ROOT, affinity, environment

BUILD = ROOT / "build" / "benchmarks"


@functools.cache
def program(name):
    """Build one of the C++ programs; return its path."""
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    cmake = shutil.which("cmake", path=search)
    if cmake is None:
        raise SystemExit("The C++ benchmarks need CMake: pip install cmake")
    configure = [cmake, "-S", ROOT, "-B", BUILD, "-DFUSEDNET_BENCHMARKS=ON", "-DFUSEDNET_PYTHON=OFF"]
    for command in (configure, [cmake, "--build", BUILD, "--target", name, "--config", "Release"]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{name} does not build:\n{done.stdout}\n{done.stderr}")
    return next(path for path in BUILD.rglob(f"{name}*") if path.is_file() and os.access(path, os.X_OK))


def limits(cores):
    """Return peaks by kernel set and dtype and bandwidths, on one core and on all, in GFLOP/s and GB/s."""
    done = subprocess.run(
        [program("machine_benchmark"), str(cores)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def peak(kernel_set, dtype, cores, seconds):
    """Return the peak of one kernel set and dtype on these cores at once, in GFLOP/s."""
    instructions = multiply_adds(kernel_set)
    command = [program("machine_benchmark"), str(len(cores)), instructions, dtype, str(seconds)]
    with affinity(cores):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def kernels(core, kernel_set=None):
    """Return the GFLOP/s of fusednet's matrix products, a dictionary for each set, dtype and shape."""
    with affinity({core}):
        command = [program("kernel_benchmark"), *([kernel_set] if kernel_set else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    _, head, *rows = (line.split() for line in done.stdout.splitlines())
    return [dict(zip(head, row, strict=True)) for row in rows]


def processor():
    """Return its name; on Linux x86 with family and model, as a cloud's may not say more than the maker's."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    if "model name" not in facts:
        return platform.processor() or platform.machine()
    numbers = [f"{key.split()[-1]} {facts[key]}" for key in ("cpu family", "model") if key in facts]
    return ", ".join([facts["model name"], *numbers])


def blas():
    """Return which BLAS NumPy has in the contenders' processes, where threadpoolctl can tell."""
    code = "import json, numpy, threadpoolctl; print(json.dumps(threadpoolctl.threadpool_info()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(None))
    if done.returncode:
        return "unknown"
    pools = [pool for pool in json.loads(done.stdout) if pool["user_api"] == "blas"]
    return ", ".join(f"{p['internal_api']} {p['version']} ({p.get('architecture')})" for p in pools)


def describe(cores):
    """Return what the figures depend on, and which contenders are not there."""
    build = fn.build_info()
    versions = {
        entry.distribution: importlib.metadata.version(entry.distribution)
        for name, entry in CONTENDERS.items()
        if entry.distribution and entry.installed and name != "fusednet"
    }
    return {
        "processor": processor(),
        "cores": cores,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "fusednet": build["version"],
        "compiler": build["compiler"],
        "kernel_set": build["active_kernel_set"],
        "versions": versions,
        "blas": blas(),
        "load": os.getloadavg()[0],  # before the benchmark adds its own
        "missing": [name for name, entry in CONTENDERS.items() if not entry.installed],
    }
