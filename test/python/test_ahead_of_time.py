"""Archives of kernels in C programs, on this machine."""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "aot"))
import kernels  # noqa: E402

BUILD = Path(os.environ.get("CONVJIT_BUILD")
             or Path(__file__).resolve().parents[2] / "build" / "release")
CONVJIT = BUILD / "bin" / "convjit"
CC = next(filter(None, map(shutil.which, ["clang-22", "cc", "clang", "gcc"])), None)
CXX = next(filter(None, map(shutil.which, ["clang++-22", "c++", "g++"])), None)
NM = shutil.which("llvm-nm-22") or shutil.which("nm")
CPUS = ["x86-64-v2", "haswell", "skylake-avx512", "znver4"]
# Intel's have no SSE4a.
NEEDS = {"x86-64-v2": {"sse4_2"}, "haswell": {"fma"}, "skylake-avx512": {"avx512vl"},
         "znver4": {"avx512_bf16", "sse4a"}}

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or not CC, reason="needs x86-64 and a C compiler")


def output(*command, **options):
    return subprocess.run([str(part) for part in command], check=True,
                          capture_output=True, text=True, **options).stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    kernels.emit(CONVJIT, folder, CPUS)
    kernels.build([CC], folder)
    return folder


def host_has(cpu):
    flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("flags")), "").split()
    return NEEDS[cpu] <= set(flags)


@pytest.mark.parametrize("cpu", CPUS)
def test_values(folder, cpu):
    text = output(folder / "main", "run", cpu)
    if host_has(cpu):
        kernels.check(text, cpu)
    else:
        assert text == "".join(f"{layer}: NULL\n" for layer in kernels.EXPECTED)


def test_dispatch_takes_the_best(folder):
    best = [cpu for cpu in CPUS if host_has(cpu)][-1]
    kernels.check(output(folder / "main", "run"), best)
    assert output(folder / "main", "dispatch") == f"unknown: NULL\nfound: {best}\n"


def test_an_unknown_cpu_has_no_kernel(folder):
    assert "up: NULL" in output(folder / "main", "run", "z80")


def test_program_needs_libc_alone(folder):
    needed = [line for line in output("readelf", "-d", folder / "main").splitlines()
              if "NEEDED" in line]
    assert len(needed) == 1 and "libc.so" in needed[0], needed


def test_symbols(folder):
    defined, wanted = set(), set()
    for line in output(NM, "-g", folder / "libnet.a").splitlines():
        fields = line.split()
        if len(fields) == 2 and fields[0] == "U":
            wanted.add(fields[1])
        elif len(fields) == 3:
            defined.add(fields[2])
    assert all(name.startswith("net_") for name in defined)
    cpus = [cpu.replace("-", "_") for cpu in CPUS]
    assert {f"net_up_{cpu}" for cpu in cpus} | {"net_up_kernel", "net_find"} <= defined
    assert wanted - defined <= {"strcmp", "memcpy", "memset", "memmove",
                                "_GLOBAL_OFFSET_TABLE_"}


def test_same_bytes(folder, tmp_path):
    kernels.emit(CONVJIT, tmp_path, CPUS)
    for name in ("libnet.a", "net.h", "net.json"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_manifest(folder, tmp_path):
    kernels.emit(CONVJIT, tmp_path, CPUS, "obj,archive")
    manifest = json.loads((tmp_path / "net.json").read_text())
    version = output(CONVJIT, "--version").strip()
    assert manifest["convjit_version"] == version
    assert {target["cpu"] for target in manifest["targets"]} == set(CPUS)
    assert [kernel["name"] for kernel in manifest["kernels"]] == list(kernels.LAYERS)
    archive = (tmp_path / manifest["archive"]["name"]).read_bytes()
    assert hashlib.sha256(archive).hexdigest() == manifest["archive"]["sha256"]
    for entry in manifest["objects"]:
        data = (tmp_path / entry["name"]).read_bytes()
        assert len(data) == entry["bytes"]
        assert hashlib.sha256(data).hexdigest() == entry["sha256"]
        assert data in archive
        assert ".note.GNU-stack" in output("readelf", "-SW", tmp_path / entry["name"])
    up = manifest["kernels"][0]
    assert (up["input_shape"], up["weight_shape"], up["output_shape"]) == (
        [1, 4, 5, 3], [3, 2, 5, 3], [1, 8, 11, 5])
    assert len(up["variants"]) == len(CPUS)
    for variant in up["variants"]:
        plan = json.loads(output(CONVJIT, "plan", up["problem"], "--json",
                                 f"--target-cpu={variant['target']}"))
        for key in ("plan", "tasks_per_image", "packed_weight_bytes", "scratch_bytes"):
            assert variant[key] == plan[key], key


@pytest.mark.skipif(not CXX, reason="needs a C++ compiler")
@pytest.mark.parametrize("standard", ["c++98", "c++20"])
def test_header_is_cpp(folder, standard):
    source = folder / f"user-{standard}.cpp"
    source.write_text('#include "net.h"\nint main() { return !net_up_kernel(); }\n')
    # long long, which <stdint.h> gives C++98 too, is not the header's.
    output(CXX, f"-std={standard}", "-pedantic", "-Wall", "-Wextra", "-Werror",
           "-Wno-long-long", source, folder / "libnet.a", "-o", folder / "user")
    output(folder / "user")


def test_two_archives_in_one_program(folder, tmp_path):
    for prefix, taps in (("one", 2), ("two", 3)):
        output(CONVJIT, "emit", f"conv1d:in=4x1,oc=1,k={taps}", "--name=layer",
               "--emit=archive,header", f"--prefix={prefix}", "-o", tmp_path)
    (tmp_path / "both.c").write_text(
        '#include "one.h"\n#include "two.h"\n'
        "int main(void) { return !one_layer_kernel() || !two_layer_kernel(); }\n")
    output(CC, "-Wall", "-Werror", "both.c", "libone.a", "libtwo.a", "-o", "both",
           cwd=tmp_path)
    output(tmp_path / "both")


LAYER = "conv1d:in=4x1,oc=1,k=2"


@pytest.mark.parametrize("arguments, words", [
    (["--target-cpu=haswell,z80"], ["target-cpu=z80", "haswell"]),
    (["--target-cpu=haswell", "--target-cpu=haswell"], ["haswell", "twice"]),
    (["--target-cpu=haswell,cortex-a72"], ["cortex-a72", "architecture"]),
    (["--target-cpu=diamondrapids"], ["diamondrapids", "avx10.2", "check"]),
    (["--prefix=3d"], ["prefix=3d", "C identifier"]),
    (["--prefix=a/b"], ["prefix=a/b", "C identifier"]),
    (["--prefix="], ["--prefix"]),
    (["--name=a-b"], ["name=a-b", "C identifier"]),
    (["--name=a", "--name=b"], ["--name=b", "more names than the 1 "]),
    ([LAYER], [LAYER, "twice"]),
    (["conv1d:in=5x1,oc=1,k=2", "--name=a", "--name=a"], ["name=a", "in=5x1"]),
])
def test_errors(tmp_path, arguments, words):
    done = subprocess.run([CONVJIT, "emit", LAYER, "--emit=archive", "-o", tmp_path / "out",
                           *arguments], capture_output=True, text=True)
    assert done.returncode == 2, done
    assert done.stderr.count("\n") == 1 and "valid: " in done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert not list((tmp_path / "out").glob("*"))


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "taken" / "libconvjit.a").mkdir(parents=True)
    for place, word in (("file/out", "file/out"), ("taken", "libconvjit.a")):
        done = subprocess.run([CONVJIT, "emit", LAYER, "--emit=archive", "-o",
                               tmp_path / place], capture_output=True, text=True)
        assert done.returncode == 3 and word in done.stderr, done


EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "aot"


def example_output():
    """The last line that examples/aot prints, from the formula."""
    def numbers(shape, factor):
        return (np.arange(np.prod(shape)) * factor % 5 - 2).reshape(shape)

    def convolve(x, weights, bias, lengths):
        # x is padded; taps are (d, h, w), weights (d, h, w, in, out).
        y = np.zeros((*x.shape[:1], *lengths, weights.shape[-1]), np.int64) + bias
        for tap in np.ndindex(*weights.shape[:3]):
            window = tuple(slice(t, t + n) for t, n in zip(tap, lengths))
            y += x[(slice(None), *window)] @ weights[tap]
        return y

    x, bias = numbers((2, 4, 5, 6, 16), 7), numbers((8,), 1)
    dilated = np.zeros((2, 7, 9, 11, 16), np.int64)
    dilated[:, ::2, ::2, ::2] = x
    # k 4, s 2, "same": twice the size, with two zeros on either side.
    up = numbers((4, 4, 4, 8, 16), 3)[::-1, ::-1, ::-1].swapaxes(3, 4)
    y = convolve(np.pad(dilated, [(0, 0), *[(2, 2)] * 3, (0, 0)]), up, bias, (8, 10, 12))
    y = np.pad(np.maximum(y, 0), [(0, 0), *[(1, 1)] * 3, (0, 0)])
    z = convolve(y, numbers((3, 3, 3, 8, 1), 2), bias[:1], (8, 10, 12)).ravel()
    return f"sum {int((z * (np.arange(z.size) % 7)).sum())}"


@pytest.mark.skipif(not shutil.which("cmake"), reason="needs CMake")
@pytest.mark.parametrize("generator", ["Ninja", "Unix Makefiles"])
def test_example(tmp_path, generator):
    if not shutil.which({"Ninja": "ninja"}.get(generator, "make")):
        pytest.skip(f"no {generator}")
    source, build = tmp_path / "source", tmp_path / "build"
    shutil.copytree(EXAMPLE, source)
    cmake = EXAMPLE.parents[1] / "cmake" / "ConvjitKernels.cmake"
    project = f'include("{cmake}")\n'
    options = ["-G", generator, f"-DCMAKE_C_COMPILER={CC}"]
    if generator == "Ninja":
        options.append(f"-DCONVJIT_EXECUTABLE={CONVJIT}")
    else:  # as a package has it
        project += ("add_executable(convjit::convjit IMPORTED)\n"
                    "set_target_properties(convjit::convjit PROPERTIES "
                    f'IMPORTED_LOCATION "{CONVJIT}")\n')
    (tmp_path / "project.cmake").write_text(project)
    output("cmake", "-S", source, "-B", build, *options,
           f"-DCMAKE_PROJECT_INCLUDE={tmp_path}/project.cmake")
    output("cmake", "--build", build)
    assert output(build / "decode").splitlines()[-1] == example_output()
    needed = output("readelf", "-d", build / "decode").count("NEEDED")
    assert needed == 1  # the C library
    archive = build / "decoder" / "libdecoder.a"
    before = archive.stat().st_mtime_ns
    output("cmake", "--build", build)
    assert archive.stat().st_mtime_ns == before
    # Another list makes another archive, and another program.
    layers = source / "layers.csv"
    layers.write_text(layers.read_text().replace("act=relu", "act=none"))
    output("cmake", "--build", build)
    assert archive.stat().st_mtime_ns != before
    assert output(build / "decode").splitlines()[-1] != example_output()


@pytest.mark.skipif(not shutil.which("cmake"), reason="needs CMake")
@pytest.mark.parametrize("arguments, words", [
    ("PROBLEM x", ["PROBLEM", "valid: PROBLEMS"]),
    ("PREFIX p", ["no layers", "PROBLEMS or FILE"]),
])
def test_cmake_errors(tmp_path, arguments, words):
    cmake = EXAMPLE.parents[1] / "cmake" / "ConvjitKernels.cmake"
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\nproject(p LANGUAGES NONE)\n"
        f'include("{cmake}")\nconvjit_add_kernels(k {arguments})\n')
    done = subprocess.run(["cmake", "-G", "Ninja", "-S", tmp_path, "-B",
                           tmp_path / "build", f"-DCONVJIT_EXECUTABLE={CONVJIT}"],
                          capture_output=True, text=True)
    text = " ".join(done.stderr.split())
    assert done.returncode and all(word in text for word in words), done.stderr
