"""The package as it is shipped: what its extension needs and shows, and that it
works where nothing else is installed."""

import os
import pathlib
import re
import subprocess
import sys
import venv

import pytest

convjit = pytest.importorskip("convjit")
ROOT = pathlib.Path(__file__).resolve().parents[2]
EXTENSION = pathlib.Path(convjit._convjit.__file__)

# What every Linux with glibc has; LLVM and its libraries are inside.
SYSTEM = ("libc.so", "libm.so", "libdl.so", "libpthread.so", "librt.so", "libz.so",
          "libstdc++.so", "libgcc_s.so", "ld-linux")


def needed(path):
    out = subprocess.run(["readelf", "-d", str(path)], check=True, capture_output=True,
                         text=True).stdout
    return re.findall(r"NEEDED.*\[(.*)\]", out)


def test_extension_needs_the_system_alone():
    names = needed(EXTENSION)
    strangers = [n for n in names if not n.startswith(SYSTEM)]
    for name in list(strangers):  # what auditwheel has put beside it
        if list(EXTENSION.parent.parent.glob(f"convjit.libs/{name}")):
            strangers.remove(name)
    assert names and not strangers


def test_extension_shows_its_entry_point_alone():
    out = subprocess.run(["readelf", "--dyn-syms", "--wide", str(EXTENSION)], check=True,
                         capture_output=True, text=True).stdout
    defined = [line.split()[7] for line in out.splitlines()
               if re.match(r"\s*\d+:", line) and line.split()[6] != "UND"
               and len(line.split()) > 7]
    assert defined == ["PyInit__convjit"]


def wheel():
    found = sorted((ROOT / "build" / "dist").glob("*.whl"))
    if not found:
        pytest.skip("no wheel in build/dist: run scripts/wheel")
    return found[-1]


def test_wheel_is_small_and_for_many_linuxes():
    path = wheel()
    assert path.stat().st_size < 60e6
    assert "manylinux" in path.name


def test_wheel_works_in_a_clean_environment(tmp_path):
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet",
         "--disable-pip-version-check", str(wheel())], check=True)
    script = (
        "import convjit.doctor, sys; status = convjit.doctor.main([]);"
        "maps = open('/proc/self/maps').read();"
        "sys.exit(status or 'libLLVM' in maps or 'libMLIR' in maps)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run([str(python), "-c", script], capture_output=True, text=True,
                          env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped, JAX is not installed" in done.stdout
    for module in ("convjit.jax", "convjit.brainstate"):
        done = subprocess.run([str(python), "-c", f"import {module}"], capture_output=True,
                              text=True, env=environment, cwd=tmp_path)
        assert done.returncode and done.stderr.endswith(
            "ModuleNotFoundError: convjit.jax needs JAX 0.10 or later, and there is none:"
            " pip install 'jax>=0.10'\n")


@pytest.mark.parametrize("module, script, says", [
    ("convjit.jax", "import jax; jax.__version_info__ = (0, 9, 2); jax.__version__ = '0.9.2'",
     "convjit.jax needs JAX 0.10 or later, here is 0.9.2"),
    ("convjit.brainstate", "sys.modules['brainstate'] = None",
     "convjit.brainstate needs brainstate, and there is none: pip install brainstate"),
])
def test_what_is_missing_is_named(module, script, says):
    pytest.importorskip("jax")
    done = subprocess.run([sys.executable, "-c", f"import sys; {script}; import {module}"],
                          capture_output=True, text=True)
    assert done.returncode and says in done.stderr
