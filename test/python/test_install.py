"""An installed tree, and examples/hosts built against it alone."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("CONVJIT_BUILD") or ROOT / "build" / "release")
CLEAN = {**os.environ, "CONVJIT_CACHE": "off", "LD_LIBRARY_PATH": ""}


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True,
                          text=True, env=CLEAN, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def cached(name):
    value = re.search(rf"^{name}:\w+=(.*)$", (BUILD / "CMakeCache.txt").read_text(),
                      re.MULTILINE)
    return value.group(1)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    place = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", BUILD, "--prefix", place, "--strip")
    return place


@pytest.fixture(scope="module")
def hosts(prefix, tmp_path_factory):
    place = tmp_path_factory.mktemp("hosts")
    run("cmake", "-G", "Ninja", "-S", ROOT / "examples" / "hosts", "-B", place,
        f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_BUILD_TYPE=Release",
        f"-DCMAKE_C_COMPILER={cached('CMAKE_C_COMPILER')}",
        f"-DCMAKE_CXX_COMPILER={cached('CMAKE_CXX_COMPILER')}",
        "-DCMAKE_C_FLAGS=-Wall -Wextra -Werror -pedantic",
        "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror")
    run("cmake", "--build", place)
    return place


def test_what_is_installed(prefix):
    files = {str(path.relative_to(prefix)) for path in prefix.rglob("*")
             if path.is_file() and not path.is_symlink()}
    assert "bin/convjit" in files
    for name in ("convjit.h", "convjit.hpp", "convjit_aot.h"):
        assert f"include/convjit/{name}" in files
    # Of the build's archives the layers alone, with headers that need no other.
    archives = [name for name in files if name.endswith(".a")]
    assert [Path(name).name for name in archives] == ["libconvjit_layers.a"]
    headers = {name.removeprefix("include/") for name in files
               if name.startswith("include/")}
    for name in headers:
        text = (prefix / "include" / name).read_text()
        assert set(re.findall(r'#include "(convjit/.*)"', text)) <= headers


@pytest.mark.parametrize("host, says", [
    ("c-host", "convT3d:in=2x3x4x1,oc=1,k=2,s=2: 0 wrong"),
    ("cpp-host", ": 0 wrong"),
    ("aot-host", ": 0 wrong, no compiler"),
    ("layer-host", "): 0 wrong"),
    ("tbb-host", "0 wrong, on oneTBB's threads"),
    ("llvm-host", "two LLVMs in one process: good"),
])
def test_host(hosts, host, says):
    if host == "tbb-host" and "TBB_DIR:PATH=TBB_DIR-NOTFOUND" in (
        hosts / "CMakeCache.txt"
    ).read_text():
        pytest.skip("oneTBB is not installed")
    if host == "llvm-host" and not (hosts / host).exists():
        pytest.skip("there is no shared library of LLVM")
    assert says in run(hosts / host)


def test_llvm_host_has_two(hosts):
    if not (hosts / "llvm-host").exists():
        pytest.skip("there is no shared library of LLVM")
    libraries = run("readelf", "-d", hosts / "llvm-host")
    assert "libLLVM" in libraries and "libconvjit.so" in libraries


def test_aot_host_has_no_compiler(hosts):
    libraries = run("readelf", "-d", hosts / "aot-host")
    assert "libconvjit_runtime.so" in libraries
    assert "libconvjit.so" not in libraries


@pytest.mark.parametrize("module, source", [
    ("convjit", "c_host.c"),
    ("convjit-runtime", None),
    ("convjit-layers convjit", "layer_host.cpp"),
])
def test_pkg_config(prefix, tmp_path, module, source):
    if not shutil.which("pkg-config"):
        pytest.skip("pkg-config is not installed")
    paths = [path.parent for path in prefix.rglob("*.pc")]
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", *module.split()],
        capture_output=True, text=True, check=True,
        env={**CLEAN, "PKG_CONFIG_PATH": str(paths[0])},
    ).stdout.split()
    text = (
        (ROOT / "examples" / "hosts" / source).read_text() if source else
        "#include <convjit/convjit.h>\n"
        "int main(void) { return convjit_version() != CONVJIT_VERSION; }\n"
    )
    cxx = (source or "").endswith(".cpp")
    file = tmp_path / ("host.cpp" if cxx else "host.c")
    file.write_text(text)
    library = next(flag[2:] for flag in flags if flag.startswith("-L"))
    compiler = ([cached("CMAKE_CXX_COMPILER"), "-std=c++20"] if cxx else
                [cached("CMAKE_C_COMPILER")])
    run(*compiler, file, "-o", tmp_path / "host", *flags, f"-Wl,-rpath,{library}")
    run(tmp_path / "host", cwd=tmp_path)


def test_configures_inside_another_project(tmp_path):
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\nproject(p LANGUAGES C CXX)\n"
        f"add_subdirectory({ROOT} convjit)\n"
        "if(NOT TARGET convjit::layers OR NOT TARGET MLIRIR OR TARGET convjit-unit-tests)\n"
        "  message(FATAL_ERROR targets)\nendif()\n"
    )
    run("cmake", "-G", "Ninja", "-S", tmp_path, "-B", tmp_path / "b",
        f"-DMLIR_DIR={cached('MLIR_DIR')}", f"-DLLVM_DIR={cached('LLVM_DIR')}",
        f"-DCMAKE_C_COMPILER={cached('CMAKE_C_COMPILER')}",
        f"-DCMAKE_CXX_COMPILER={cached('CMAKE_CXX_COMPILER')}")


def test_without_llvm_it_says_where_to_get_it(tmp_path):
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\nproject(p LANGUAGES C CXX)\n"
        f"set(CMAKE_FIND_ROOT_PATH {tmp_path})\nset(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)\n"
        f"include({ROOT}/cmake/ConvjitMLIR.cmake)\n"
    )
    done = subprocess.run(
        ["cmake", "-G", "Ninja", "-S", tmp_path, "-B", tmp_path / "b",
         f"-DCMAKE_C_COMPILER={cached('CMAKE_C_COMPILER')}",
         f"-DCMAKE_CXX_COMPILER={cached('CMAKE_CXX_COMPILER')}"],
        capture_output=True, text=True, env=CLEAN,
    )
    assert done.returncode != 0 and "scripts/setup" in done.stderr, done.stderr


def test_a_component_that_is_missing_is_named(prefix, tmp_path):
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\nproject(p LANGUAGES C)\n"
        "find_package(convjit REQUIRED COMPONENTS runtime gpu)\n"
    )
    done = subprocess.run(
        ["cmake", "-G", "Ninja", "-S", tmp_path, "-B", tmp_path / "b",
         f"-DCMAKE_PREFIX_PATH={prefix}",
         f"-DCMAKE_C_COMPILER={cached('CMAKE_C_COMPILER')}"],
        capture_output=True, text=True, env=CLEAN,
    )
    assert done.returncode != 0 and "gpu" in done.stderr


def test_the_examples_of_the_documentation_compile(prefix, tmp_path):
    """Every block of C in docs/c-api.md, one after another in a function."""
    text = (ROOT / "docs" / "c-api.md").read_text()
    blocks = re.findall(r"^```c\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    body = "\n".join(line for block in blocks for line in block.splitlines()
                     if not line.startswith("#include"))
    (tmp_path / "doc.c").write_text(
        "#include <convjit/convjit.h>\n#include <stdio.h>\n#include <stdlib.h>\n"
        + body
    )
    paths = [path.parent.parent for path in prefix.rglob("convjit.h")]
    library = next(path.parent for path in prefix.rglob("libconvjit.so"))
    run(cached("CMAKE_C_COMPILER"), "-Wall", "-Werror", tmp_path / "doc.c",
        f"-I{paths[0]}", f"-L{library}", "-lconvjit", f"-Wl,-rpath,{library}",
        "-o", tmp_path / "doc")
    assert "y = " in run(tmp_path / "doc")


def test_the_documentation_names_every_function(prefix):
    header = (ROOT / "capi" / "include" / "convjit" / "convjit.h").read_text()
    page = (ROOT / "docs" / "c-api.md").read_text()
    names = re.findall(r"^CONVJIT_API[^;(]*?(convjit_\w+)\(", header, re.MULTILINE)
    assert names and not [name for name in names if f"`{name}`" not in page]
