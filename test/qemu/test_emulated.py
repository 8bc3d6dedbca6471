"""Kernels for other CPUs, each run on an emulator that has what that CPU has and
faults on the rest.

AArch64: objects from `convjit emit`, linked with a checker that has all that
`convjit verify` checks but no compiler in it (build/aarch64). x86-64: the whole
tool runs emulated, compiler and all.

    CONVJIT_BIN      convjit, instead of build/release/bin/convjit
    CONVJIT_CHECKER  convjit-check-object, instead of build/aarch64/bin's
"""

import os
import pathlib
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

HERE = pathlib.Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build"
CONVJIT = os.environ.get("CONVJIT_BIN") or BUILD / "release/bin/convjit"
CHECKER = (os.environ.get("CONVJIT_CHECKER")
           or BUILD / "aarch64/bin/convjit-check-object")
LAYERS = [line for line in (HERE / "layers.txt").read_text().splitlines()
          if line and not line.startswith("#")]

# Their plans have pixels or input channels in the lanes, and masked loads at the
# borders, or a channel more than whole vectors, and multiply-adds of one element.
READ_IN_PART = {
    "convT3d:in=8x3x4x5,oc=8,k=4,s=2,g=4,layout=channels_first,residual",
    "conv2d:in=16x9x9,oc=16,k=3,g=16,layout=channels_first",
    "convolution:n=11x13,k=5x4,ws=3x4,ld=2x1,rd=2x1,pad=0:9x0:3,rev=1x0,ic=20,oc=6,"
    "bg=2,x=b01f,w=01io,y=b01f,bias",
    "convT1d:in=11x6,oc=9,k=5,s=3,dtype=f64,bias,act=gelu",
    "conv2d:in=9x11x3,oc=33,k=7,s=2,bias,act=relu",
    "convolution:n=9x11,k=3x3,ws=1x1,ld=2x2,rd=1x1,pad=2:1x1:2,rev=1x1,ic=10,oc=9,"
    "x=b01f,xs=6000x320x16x1,w=01oi,y=b01f",
}
assert READ_IN_PART <= set(LAYERS)

# What code is made for, and QEMU's CPU for it. AArch64: no SVE; SVE with registers
# of 256 bits, of 512, and of 128, where NEON is used.
X86_64 = {"x86-64-v2": "Nehalem", "x86-64-v3": "Haswell-noTSX"}
AARCH64 = {
    "cortex-a72": "cortex-a72",
    "neoverse-v1": "max,sve256=on",
    "a64fx": "a64fx",
    "neoverse-v2": "max,sve128=on",
}


def run(*command):
    """Empty when all went well, else what went wrong."""
    command = [str(part) for part in command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    if done.returncode == 0:
        return ""
    status = (f"exit {done.returncode}" if done.returncode > 0
              else signal.Signals(-done.returncode).name)
    return f"{' '.join(command)}\n{status}\n{done.stdout}{done.stderr}"


def aarch64(folder, layer, cpu, emulated, *how):
    """The layer's kernel for `cpu` run on the CPU that QEMU calls `emulated`."""
    wrong = run(CONVJIT, "emit", layer, "--emit=archive", f"--target-cpu={cpu}",
                "--name=layer", "-o", folder)
    if wrong:
        return wrong
    shared = folder / "kernel.so"
    return run("clang-22", "--target=aarch64-linux-gnu", "-fuse-ld=lld", "-shared",
               "-Wl,--whole-archive", folder / "libconvjit.a",
               "-Wl,--no-whole-archive", "-lm", "-o",
               shared) or run("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", "-cpu",
                              emulated, CHECKER, shared, layer, *how)


def x86_64(_, layers, cpu, emulated):
    # QEMU 7.2 reads all of vmaskmovps's operand, also what the mask leaves out, and
    # 16 bytes for vfmadd231ss, which real CPUs do not: the ends of these layers'
    # buffers fault. They run without it, where this machine can.
    verify = [CONVJIT, "verify", f"--target-cpu={cpu}", "--seed", "1", "--jobs", "1"]
    wrong = ""
    if cpu == "x86-64-v3":
        layers = [layer for layer in layers if layer not in READ_IN_PART]
        wrong = run(*verify, *sorted(READ_IN_PART))
        if "this machine cannot run it" in wrong:
            wrong = ""
    return wrong or run("qemu-x86_64", "-cpu", emulated, *verify, *layers)


CASES = {cpu: (x86_64, LAYERS, cpu, emulated) for cpu, emulated in X86_64.items()}
CASES |= {f"{cpu}-{layer}": (aarch64, layer, cpu, emulated)
          for cpu, emulated in AARCH64.items() for layer in LAYERS}


@pytest.fixture(scope="session")
def outcomes(request, tmp_path_factory):
    """What the selected cases come to, as many at once as there are processors."""
    folder = tmp_path_factory.mktemp("kernels")
    pool = ThreadPoolExecutor(os.cpu_count())
    outcomes = {}
    for item in request.session.items:
        if item.originalname == "test_emulated":
            name = item.callspec.params["case"]
            function, *arguments = CASES[name]
            outcomes[name] = pool.submit(function, folder / str(len(outcomes)), *arguments)
    return outcomes


# With ids of their own: pytest replaces long texts by numbers.
@pytest.mark.parametrize("case", CASES, ids=list(CASES))
def test_emulated(outcomes, case):
    wrong = outcomes[case].result()
    if wrong:
        pytest.fail(wrong, pytrace=False)


def test_emulator_lacks_what_the_cpu_lacks(tmp_path):
    assert "SIGILL" in aarch64(tmp_path, LAYERS[0], "neoverse-v1", "cortex-a72",
                               "convjit_layer_neoverse_v1")


# Registers of another length, or none: such kernels would be wrong, or fault.
@pytest.mark.parametrize("emulated", ["cortex-a72", "max,sve128=on", "a64fx"])
def test_kernels_of_another_sve_are_refused(tmp_path, emulated):
    assert "no kernel for this machine" in aarch64(tmp_path, LAYERS[0], "neoverse-v1",
                                                   emulated)
