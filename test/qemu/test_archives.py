"""Archives of kernels for several CPUs in plain C programs, on emulated CPUs: each
gets the best kernel that it can run, and right values from it.

    CONVJIT_BIN      convjit, instead of build/release/bin/convjit
"""

import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "aot"))
import kernels  # noqa: E402

CONVJIT = pathlib.Path(os.environ.get("CONVJIT_BIN")
                       or HERE.parents[1] / "build/release/bin/convjit").resolve()

# QEMU's CPUs and the kernel that each gets. QEMU has no AVX-512.
X86_64 = {"qemu64": None, "Nehalem": "x86-64-v2", "Haswell-noTSX": "haswell",
          "Haswell-noTSX,-fma": "x86-64-v2"}
# Registers of SVE that are shorter or longer than a kernel's: the next best.
AARCH64 = {"cortex-a53": "cortex-a72", "max,sve128=on": "neoverse-n1",
           "max,sve256=on": "neoverse-v1", "a64fx": "a64fx",
           "max,sve-default-vector-length=128": "neoverse-n1"}


@pytest.fixture(scope="module")
def x86_64(tmp_path_factory):
    folder = tmp_path_factory.mktemp("x86_64")
    kernels.emit(CONVJIT, folder, ["x86-64-v2", "haswell", "skylake-avx512", "znver4"])
    return "qemu-x86_64", kernels.build(["clang-22", "-static"], folder)


@pytest.fixture(scope="module")
def aarch64(tmp_path_factory):
    folder = tmp_path_factory.mktemp("aarch64")
    kernels.emit(CONVJIT, folder, ["cortex-a72", "neoverse-n1", "neoverse-v1", "a64fx"])
    compiler = ["clang-22", "--target=aarch64-linux-gnu", "-fuse-ld=lld", "-static"]
    return "qemu-aarch64", kernels.build(compiler, folder)


def check(machine, emulated, best):
    emulator, program = machine
    text = subprocess.run([emulator, "-cpu", emulated, program, "run"], check=True,
                          capture_output=True, text=True, timeout=100).stdout
    if best:
        kernels.check(text, best)
    else:
        assert text == "".join(f"{layer}: NULL\n" for layer in kernels.EXPECTED)


@pytest.mark.parametrize("emulated", X86_64)
def test_x86_64(x86_64, emulated):
    check(x86_64, emulated, X86_64[emulated])


@pytest.mark.parametrize("emulated", AARCH64)
def test_aarch64(aarch64, emulated):
    check(aarch64, emulated, AARCH64[emulated])
