"""Libraries that are optional are asked for by the name of the extra that brings them."""

import subprocess
import sys

import pytest

CALLS = {
    "onnx": ["fn.from_onnx('net.onnx')", "fn.Network([2, 1]).to_onnx('net.onnx')"],
    "torch": ["fn.from_torch(None)", "fn.Network([2, 1]).to_torch()"],
    "mpi4py": ["fn.distributed.DataParallel(fn.Network([2, 1]))"],
    "sklearn": ["fn.Network([2, 1]).to_sklearn()"],
}
EXTRAS = {"mpi4py": "mpi"}  # where it is not the module's own name


@pytest.mark.parametrize("module", CALLS)
def test_what_to_install_is_said(module):
    code = f"import sys; sys.modules[{module!r}] = None\nimport fusednet as fn\n" + "".join(
        f"try:\n    {call}\nexcept ImportError as error:\n    print(error)\n" for call in CALLS[module]
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = result.stdout.splitlines()
    assert len(lines) == len(CALLS[module])
    extra = EXTRAS.get(module, module)
    command = f'pip install "fusednet[{extra}]", or ".[{extra}]" in a clone'
    assert all(line.endswith(command) for line in lines)
