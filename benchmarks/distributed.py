"""Data-parallel training on this machine: what a step and its parts take on one rank and on two.

``python -m benchmarks.distributed`` starts the ranks by itself, each pinned to a core and with one thread. It
writes benchmarks/results/distributed.json, from which benchmarks/scale.py models more ranks. Let nothing else
run meanwhile.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import fusednet as fn

from .machine import processor

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "distributed.json"
WIDTHS, BATCH, STEPS = [784, 512, 512, 10], 512, 20  # steps an epoch
LOCAL_BATCHES = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
SIZES = [4 * 8**i for i in range(8)]  # bytes of an all-reduce: 4 B to 8 MiB


def network():
    return fn.Network(WIDTHS, output="softmax", loss="cross_entropy", seed=0)


def samples(rows):
    rng = np.random.default_rng(0)
    return rng.random((rows, WIDTHS[0]), dtype=np.float32), rng.integers(0, WIDTHS[-1], rows)


def fastest(body, rounds, before=lambda: None):
    times = []
    for _ in range(1 + rounds):
        before()
        start = time.perf_counter()
        body()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def step_seconds(comm, batch, rounds):
    """Return what a step of `DataParallel.fit` takes; one rank's is that of `Network.fit`."""
    X, y = samples(batch // comm.size * STEPS)
    trainer, optimizer = fn.distributed.DataParallel(network(), comm), fn.SGD(0.01, momentum=0.9)
    epoch = {"epochs": 1, "batch_size": batch, "optimizer": optimizer, "shuffle": False, "progress": False}
    return fastest(lambda: trainer.fit(X, y, **epoch), rounds, comm.Barrier) / STEPS


def all_reduce_seconds(comm, rounds):
    from mpi4py import MPI

    times = {}
    for size in SIZES:
        values, repeats = np.zeros(size // 4, dtype=np.float32), 1 + 2**20 // (size + 4096)

        def body(values=values, repeats=repeats):
            for _ in range(repeats):
                comm.Iallreduce(MPI.IN_PLACE, values).Wait()

        times[size] = fastest(body, rounds, comm.Barrier) / repeats
    return times


def layer_seconds(batch, rounds):
    """Return when each layer's gradient is there, the last layer first, and what the update takes."""
    net, (X, y) = network(), samples(batch)
    optimizer, order, clock = fn.SGD(0.01, momentum=0.9), np.arange(batch), []

    def look(layer=None):
        clock.append(time.perf_counter())

    runs = []
    for _ in range(3 * rounds):
        clock.clear()
        look()
        net._core.part_gradient(X, y, order, after_layer=look)
        net._core.update(optimizer._core)
        look()
        runs.append(np.diff(clock))
    *layers, update = np.min(runs[1:], axis=0)
    return {"ready": np.cumsum(layers).tolist(), "update": update}


def rank(arguments):
    """Measure on the ranks that there are, and print it on rank 0."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    os.sched_setaffinity(0, {arguments.cores[comm.rank % len(arguments.cores)]})
    result = {"steps": {batch: step_seconds(comm, batch, arguments.rounds) for batch in (128, BATCH, 2048)}}
    if comm.size > 1:
        result["all_reduce"] = all_reduce_seconds(comm, arguments.rounds)
    else:
        result["layers"] = {batch: layer_seconds(batch, arguments.rounds) for batch in LOCAL_BATCHES}
    if comm.rank == 0:
        print(json.dumps(result))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cores", type=int, nargs="+", default=sorted(os.sched_getaffinity(0))[:2])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--rank", action="store_true", help="for the processes that this one starts")
    arguments = parser.parse_args()
    if arguments.rank:
        return rank(arguments)

    mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    environment = {**os.environ, "FUSEDNET_NUM_THREADS": "1"}
    build = fn.build_info()
    about = {"processor": processor(), "compiler": build["compiler"], "kernels": build["active_kernel_set"]}
    result = {"about": about, "widths": WIDTHS, "ranks": {}}
    for ranks in range(1, len(arguments.cores) + 1):
        command = [mpiexec, "-n", str(ranks), sys.executable, "-m", "benchmarks.distributed", "--rank"]
        command += ["--rounds", str(arguments.rounds), "--cores", *map(str, arguments.cores)]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT, env=environment
        )
        result["ranks"][ranks] = json.loads(done.stdout)
        for batch, seconds in result["ranks"][ranks]["steps"].items():
            one = result["ranks"][1]["steps"][batch]
            ratio = f"{one / seconds:.2f} times one rank"
            print(f"{ranks} ranks, batch {batch}: {1e3 * seconds:.2f} ms a step, {ratio}")
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
