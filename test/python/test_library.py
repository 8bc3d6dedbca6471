"""The built libraries as a host sees them."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("CONVJIT_BUILD") or ROOT / "build" / "release")
LIBRARY = BUILD / "lib" / "libconvjit.so"
RUNTIME = BUILD / "lib" / "libconvjit_runtime.so"
HEADER = ROOT / "capi" / "include" / "convjit" / "convjit.h"
NM = shutil.which("llvm-nm-22") or shutil.which("nm")

# What a process must have that runs kernels; libc's parts and C++'s.
SYSTEM = re.compile(
    r"lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+)\.so|ld-linux"
)
COMPILING = {
    "convjit_compile", "convjit_lookup", "convjit_emit", "convjit_explain",
    "convjit_device_open", "convjit_device_release", "convjit_device_get_info",
    "convjit_device_compile", "convjit_device_kernel_retain",
    "convjit_device_kernel_release", "convjit_device_kernel_get_info",
    "convjit_device_kernel_problem", "convjit_device_kernel_plan",
    "convjit_device_kernel_scratch_bytes", "convjit_device_kernel_pack",
    "convjit_device_kernel_run",
}


def exported_symbols(path):
    out = subprocess.run(
        [NM, "-D", "--defined-only", str(path)],
        check=True, capture_output=True, text=True,
    ).stdout
    return {line.split()[2] for line in out.splitlines() if line.strip()}


def declared_functions():
    """Those of convjit.h. A declaration may break after CONVJIT_API or its type."""
    text = HEADER.read_text()
    found = re.findall(r"^CONVJIT_API[^;(]*?(convjit_\w+)\(", text, re.MULTILINE)
    assert len(found) == text.count("\nCONVJIT_API"), "a declaration was not read"
    return set(found)


def needed(path):
    out = subprocess.run(
        ["readelf", "-d", str(path)], check=True, capture_output=True, text=True
    ).stdout
    return re.findall(r"NEEDED.*\[(.*)\]", out)


@pytest.mark.parametrize("file", ["lib/libconvjit.so", "lib/libconvjit_runtime.so",
                                  "bin/convjit"])
def test_the_cuda_driver_is_not_linked(file):
    """It is opened at run time; nor is any of CUDA's own libraries linked."""
    found = needed(BUILD / file)
    assert found and not [name for name in found if "cu" in name.replace("curses", "")]


def test_libconvjit_exports_the_c_interface_alone():
    assert exported_symbols(LIBRARY) == declared_functions()


def test_libconvjit_runtime_exports_what_needs_no_compiler():
    assert exported_symbols(RUNTIME) == declared_functions() - COMPILING


def test_every_struct_tells_its_size():
    """So that it can grow; all but the one that generated code reads."""
    text = HEADER.read_text()
    text += (ROOT / "runtime/include/convjit/convjit_aot.h").read_text()
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    first = dict(re.findall(r"typedef struct (\w+) \{\s*([^;]*);", text))
    assert len(first) == len(re.findall(r"struct \w+ \{", text)) >= 8
    assert {name for name, field in first.items() if field != "size_t struct_size"} == {
        "convjit_kernel_args"}


def test_runtime_needs_the_system_alone():
    libraries = needed(RUNTIME)
    assert libraries and not [n for n in libraries if not SYSTEM.match(n)], libraries
    assert RUNTIME.stat().st_size < 2_000_000


def test_libconvjit_needs_no_llvm_library():
    libraries = needed(LIBRARY)
    assert libraries and not [n for n in libraries if "LLVM" in n or "MLIR" in n]


def test_no_wild_exits():
    """Neither library can write to standard output or end the process by itself;
    LLVM, inside the other, is code of its own."""
    out = subprocess.run(
        [NM, "-D", "--undefined-only", str(RUNTIME)],
        check=True, capture_output=True, text=True,
    ).stdout
    names = {line.split()[-1].split("@")[0] for line in out.splitlines()}
    assert not names & {"exit", "_exit", "quick_exit", "printf", "puts", "perror"}


COMPILE_AND_RUN = """
import ctypes
library = ctypes.CDLL({library!r}, {mode})
P, SIZE = ctypes.c_void_p, ctypes.c_size_t
context, layer, kernel, error = P(), P(), P(), P()
library.convjit_error_message.restype = ctypes.c_char_p
library.convjit_error_message.argtypes = [P]
class Tensor(ctypes.Structure):
    _fields_ = [("struct_size", SIZE), ("data", P), ("dtype", ctypes.c_int32),
                ("rank", ctypes.c_int32), ("shape", P), ("strides", P)]
class Call(ctypes.Structure):
    _fields_ = [(n, P if n not in ("struct_size", "scratch_bytes") else SIZE)
                for n in ("struct_size", "input", "packed_weights", "grad_output",
                          "bias", "residual", "output", "scratch", "scratch_bytes",
                          "executor")]
keep = []
def tensor(values, shape):
    data = (ctypes.c_float * len(values))(*values)
    sizes = (ctypes.c_int64 * len(shape))(*shape)
    made = Tensor(ctypes.sizeof(Tensor), ctypes.addressof(data), 0, len(shape),
                  ctypes.addressof(sizes), None)
    keep.extend((data, sizes))
    return made, data
def check(status):
    assert status == 0, library.convjit_error_message(error)
def convolve():
    check(library.convjit_context_create(None, ctypes.byref(context),
                                         ctypes.byref(error)))
    check(library.convjit_layer_parse(b"conv1d:in=5x1,oc=1,k=2,pad=valid",
                                      ctypes.byref(layer), ctypes.byref(error)))
    check(library.convjit_compile(context, layer, None, ctypes.byref(kernel),
                                  ctypes.byref(error)))
    x, _ = tensor([1, 2, 3, 4, 5], [1, 5, 1])
    w, _ = tensor([10, 1], [2, 1, 1])
    y, out = tensor([0] * 4, [1, 4, 1])
    packed = (ctypes.c_float * 64)()
    check(library.convjit_kernel_pack(kernel, ctypes.byref(w), packed, SIZE(256),
                                      ctypes.byref(error)))
    call = Call(ctypes.sizeof(Call), ctypes.addressof(x), ctypes.addressof(packed),
                None, None, None, ctypes.addressof(y), None, 0, None)
    check(library.convjit_kernel_run(kernel, ctypes.byref(call),
                                     ctypes.byref(error)))
    print("convjit", list(out))
    library.convjit_kernel_release(kernel)
    library.convjit_layer_release(layer)
    library.convjit_context_release(context)
convolve()
"""
USE_JAX = (
    "import jax, jax.numpy as jnp; "
    "print('other', jax.jit(lambda x: x + 1)(jnp.ones(3)))"
)
# A program that PyTorch compiles has LLVM in it where Triton does it; importing
# torch is what loads it.
USE_TORCH = "import torch; print('other', (torch.ones(3) + 1).tolist())"


@pytest.mark.parametrize("convjit_first", [False, True])
@pytest.mark.parametrize("mode", ["ctypes.RTLD_LOCAL", "ctypes.RTLD_GLOBAL"])
@pytest.mark.parametrize("others", [["jax"], ["torch"], ["jax", "torch"]])
def test_lives_beside_another_llvm(others, mode, convjit_first):
    """jaxlib and PyTorch have an LLVM of their own; all must work in one process."""
    for other in others:
        if not find_spec(other):
            pytest.skip(f"{other} is not installed")
    use = "\n".join({"jax": USE_JAX, "torch": USE_TORCH}[other] for other in others)
    convolve = COMPILE_AND_RUN.format(library=str(LIBRARY), mode=mode)
    script = [convolve, use, "convolve()"] if convjit_first else [use, convolve, use]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(script)], capture_output=True, text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "CONVJIT_CACHE": "off"},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    good = lines.count("convjit [12.0, 23.0, 34.0, 45.0]")
    theirs = sum(line.startswith("other [2.") for line in lines) / len(others)
    assert (good, theirs) == ((2, 1) if convjit_first else (1, 2)), done.stdout


def test_loads_quickly_enough_to_be_linked_by_a_tool():
    # Loading must not start LLVM: only the first compilation does.
    assert ctypes.CDLL(str(LIBRARY))


def test_both_libraries_in_one_process():
    """Handles and code stay with the library that made them."""
    script = (
        "import ctypes\n"
        f"runtime = ctypes.CDLL({str(RUNTIME)!r}, ctypes.RTLD_GLOBAL)\n"
        + COMPILE_AND_RUN.format(library=str(LIBRARY), mode="ctypes.RTLD_GLOBAL")
        + "print(runtime.convjit_has_compiler(), library.convjit_has_compiler())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True,
                          text=True, env={**os.environ, "CONVJIT_CACHE": "off"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "0 1"


def test_no_memory_is_an_error():
    """A limit on the address space below what scratch for the call needs."""
    script = """
import resource
""" + COMPILE_AND_RUN.format(library=str(LIBRARY), mode="ctypes.RTLD_LOCAL") + """
check(library.convjit_context_create(None, ctypes.byref(context), None))
check(library.convjit_layer_parse(b"conv1d:in=16777216x1,oc=1,k=2,pad=valid",
                                  ctypes.byref(layer), None))
check(library.convjit_compile(context, layer, None, ctypes.byref(kernel),
                              ctypes.byref(error)))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (32 << 20), -1))
# Overlapping rows, which take no memory until they are copied: 640 MB.
sizes = (ctypes.c_int64 * 3)(10, 16777216, 1)
zero = (ctypes.c_int64 * 3)(0, 0, 0)
sizes_out = (ctypes.c_int64 * 3)(10, 16777215, 1)
one = (ctypes.c_float * 64)()
def repeated(sizes):
    return Tensor(ctypes.sizeof(Tensor), ctypes.addressof(one), 0, 3,
                  ctypes.addressof(sizes), ctypes.addressof(zero))
x, y = repeated(sizes), repeated(sizes_out)
call = Call(ctypes.sizeof(Call), ctypes.addressof(x), ctypes.addressof(one),
            None, None, None, ctypes.addressof(y), None, 0, None)
status = library.convjit_kernel_run(kernel, ctypes.byref(call), ctypes.byref(error))
print(status, library.convjit_error_message(error).decode())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True,
                          text=True, env={**os.environ, "CONVJIT_CACHE": "off"})
    assert done.returncode == 0, done.stderr
    assert re.match(r"3 out of memory: \d+ bytes", done.stdout.splitlines()[-1])
