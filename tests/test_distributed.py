"""Data-parallel training: the cases of distributed_cases.py on several ranks, through mpiexec."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import fusednet as fn

from helpers import WAIT

HERE = Path(sys.executable).parent  # where pip puts mpiexec
MPIEXEC = shutil.which("mpiexec", path=f"{HERE}{os.pathsep}{os.environ.get('PATH', '')}")
CASES = Path(__file__).with_name("distributed_cases.py")


def environment(**variables):
    """Return this process's environment, for processes that import the same fusednet."""
    packages = str(Path(fn.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": packages, "FUSEDNET_NUM_THREADS": "1", **variables}


def run(ranks, case, *arguments):
    pytest.importorskip("mpi4py", reason="needs mpi4py")
    if MPIEXEC is None:
        pytest.skip("needs mpiexec")
    command = [MPIEXEC, "-n", str(ranks), sys.executable, "-W", "error", str(CASES), case, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=WAIT, env=environment(), check=False
    )


def check(ranks, case, *arguments):
    result = run(ranks, case, *arguments)
    assert result.returncode == 0, result.stderr
    assert all(f"rank {rank} of {ranks}: done" in result.stdout for rank in range(ranks))


@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
def test_the_result_is_that_of_one_process(ranks):
    check(ranks, "equal_to_one_process")


@pytest.mark.parametrize(
    ("ranks", "case"),
    [
        *((3, "uneven"), (2, "callbacks"), (2, "frozen_and_custom"), (2, "local_sgd"), (3, "divergence")),
        *((3, "validation_in_parts"), (2, "callbacks_of_the_root_alone")),
        *((2, "callbacks_that_change_the_network"), (2, "divergence_without_a_gradient")),
    ],
)
def test_ranks_agree(ranks, case):
    check(ranks, case)


def test_a_training_is_resumed_to_the_same_bits(tmp_path):
    check(2, "resume", str(tmp_path))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("fails_within_a_step", "LookupError: no loss today"),
        (
            "fails_by_its_data",
            "ValueError: X: expected finite values that fit float32, received nan in row 50",
        ),
        ("fails_elsewhere", "LookupError: no data today"),
        (
            "trains_otherwise",
            "ValueError: all ranks must train alike, but epochs is 2 on rank 0 and 3 on rank 1",
        ),
        (
            "schedules_otherwise",
            "ValueError: all ranks must train alike, but optimizer's learning_rate is 0.1 on rank 0 and",
        ),
        ("validates_on_nothing", "ValueError: there is nothing to validate on: validation X has no rows"),
        ("validates_on_the_wrong_columns", "This is about validation_data."),
        ("uses_too_small_batches", "ValueError: 2 ranks cannot share a batch_size of 1"),
    ],
)
def test_a_rank_that_fails_ends_all_with_its_message(case, message):
    start = time.monotonic()
    result = run(2, case)
    assert time.monotonic() - start < 20
    assert result.returncode != 0
    assert "done" not in result.stdout
    assert message in result.stderr
    assert "ends all ranks:" in result.stderr


def test_one_rank_needs_no_mpiexec():
    pytest.importorskip("mpi4py", reason="needs mpi4py")
    code = (
        "import fusednet as fn, numpy as np; X = np.arange(20.0).reshape(10, 2) / 10; y = X[:, 0]\n"
        "net = fn.Network([2, 4, 1], seed=0); one = net.copy()\n"
        "h = fn.distributed.DataParallel(net).fit(X, y, epochs=3); one.fit(X, y, epochs=3)\n"
        "print(h.epochs, np.array_equal(net.parameters, one.parameters))"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert (result.stdout, result.stderr) == ("3 True\n", "")


def test_an_mpiexec_of_another_mpi_is_told_of():
    pytest.importorskip("mpi4py", reason="needs mpi4py")
    code = "import fusednet as fn; fn.distributed.DataParallel(fn.Network([2, 1]))"
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment(OMPI_COMM_WORLD_SIZE="4"),
        check=False,
    )
    assert "mpiexec started 4 processes, but mpi4py sees one" in result.stderr


def test_arguments_are_checked():
    mpi = pytest.importorskip("mpi4py.MPI", reason="needs mpi4py", exc_type=ImportError)
    with pytest.raises(TypeError, match="net must be a Network, not str"):
        fn.distributed.DataParallel("net")
    with pytest.raises(TypeError, match=r"comm must be an mpi4py\.MPI\.Intracomm"):
        fn.distributed.DataParallel(fn.Network([2, 1]), comm=3)
    trainer = fn.distributed.DataParallel(fn.Network([2, 1]), mpi.COMM_SELF)
    with pytest.raises(ValueError, match="sync_every must be at least 1"):
        trainer.fit(np.ones((2, 2)), [0, 1], sync_every=0)
