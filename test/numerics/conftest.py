"""Runs layers through the command line tool, as a user would.

The binary is $CONVJIT_BIN, or build/release/bin/convjit.
"""

import os
import pathlib
import subprocess

# Before anything imports JAX: on the CPU, whatever else is installed.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def convjit_binary():
    path = pathlib.Path(os.environ.get("CONVJIT_BIN", ROOT / "build/release/bin/convjit"))
    if not path.is_file():
        pytest.fail(f"no {path}: run scripts/build, or set CONVJIT_BIN", pytrace=False)
    return path


@pytest.fixture
def convjit(convjit_binary, tmp_path):
    """run(problem, input=x, weight=w, bias=b): the output of `convjit run`. An
    argument's name is the option's, with _ for -."""

    def run(problem, **arrays):
        command = [str(convjit_binary), "run", problem]
        for name, array in arrays.items():
            path = tmp_path / f"{name}.npy"
            np.save(path, np.ascontiguousarray(array, np.float32))
            command += ["--" + name.replace("_", "-"), str(path)]
        output = tmp_path / "output.npy"
        output.unlink(missing_ok=True)
        command += ["--output", str(output)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if result.returncode != 0:
            pytest.fail(f"exit {result.returncode}: {' '.join(command)}\n{result.stderr}",
                        pytrace=False)
        return np.load(output)

    return run
