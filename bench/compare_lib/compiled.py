"""Compiles the benchmark's own C++: once, until a source or the compiler changes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess

from .places import BUILT, BenchError


def compiler():
    """$CXX, or the first of the system's compilers."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and shutil.which(name):
            return shutil.which(name)
    raise BenchError("CXX: no C++ compiler found; valid: the path of one")


def compiled(source, name, options):
    """The path of `source` compiled with `options` as build/bench/NAME."""
    command = [compiler(), "-std=c++17", str(source), *options]
    version = subprocess.run([command[0], "--version"], capture_output=True, check=True).stdout
    key = hashlib.sha256(source.read_bytes() + version + repr(command).encode()).hexdigest()
    path, stamp = BUILT / name, BUILT / (name + ".key")
    if path.exists() and stamp.exists() and stamp.read_text() == key:
        return path
    BUILT.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{name}.{os.getpid()}")
    result = subprocess.run([*command, "-o", str(fresh)], capture_output=True, text=True)
    if result.returncode:
        raise BenchError(f"{source.name}: does not compile:\n{result.stderr.strip()[-2000:]}")
    os.replace(fresh, path)
    stamp.write_text(key)
    return path
