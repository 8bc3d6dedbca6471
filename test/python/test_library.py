"""The built library as a host sees it."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BUILD = Path(
    os.environ.get("CONVJIT_BUILD")
    or Path(__file__).resolve().parents[2] / "build" / "release"
)
LIBRARY = BUILD / "lib" / "libconvjit.so"
NM = shutil.which("llvm-nm-22") or shutil.which("nm")


def exported_symbols(path):
    out = subprocess.run(
        [NM, "-D", "--defined-only", "--demangle", str(path)],
        check=True, capture_output=True, text=True,
    ).stdout
    return [line.split(None, 2)[2] for line in out.splitlines() if line.strip()]


def test_only_the_public_classes_are_exported():
    symbols = exported_symbols(LIBRARY)
    assert any(name.startswith("convjit::Compiler::compile(") for name in symbols)
    public = ("convjit::Compiler::", "convjit::KernelCache::", "convjit::parseCacheSize")
    strangers = [name for name in symbols if not name.startswith(public)]
    assert strangers == []


def test_needs_no_llvm_library():
    out = subprocess.run(
        ["readelf", "-d", str(LIBRARY)], check=True, capture_output=True, text=True
    ).stdout
    needed = re.findall(r"NEEDED.*\[(.*)\]", out)
    assert needed and not [n for n in needed if "LLVM" in n or "MLIR" in n], needed


@pytest.mark.parametrize("jax_first", [True, False])
def test_lives_beside_another_llvm(jax_first):
    """jaxlib has an LLVM of its own; both must work in one process."""
    load = f"import ctypes; ctypes.CDLL({str(LIBRARY)!r}, ctypes.RTLD_GLOBAL)"
    use_jax = (
        "import jax, jax.numpy as jnp; "
        "print(jax.jit(lambda x: x + 1)(jnp.ones(3)))"
    )
    script = [use_jax, load] if jax_first else [load, use_jax]
    script.append(use_jax)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(script)], capture_output=True, text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("[2. 2. 2.]") == 2


def test_loads_quickly_enough_to_be_linked_by_a_tool():
    # Loading must not start LLVM: only Compiler::create does.
    assert ctypes.CDLL(str(LIBRARY))
