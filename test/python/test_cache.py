"""Many kernels, little memory, debuggers: the cache and the loader from outside.

CONVJIT_LONG=1 runs the counts that take minutes.
"""

import os
import re
import resource
import shutil
import subprocess
from pathlib import Path

import pytest

BUILD = Path(
    os.environ.get("CONVJIT_BUILD")
    or Path(__file__).resolve().parents[2] / "build" / "release"
)
CONVJIT = BUILD / "bin" / "convjit"
STRESS = BUILD / "bin" / "convjit-stress"
LONG = os.environ.get("CONVJIT_LONG") == "1"
LAYER = "convT3d:in=4x5x6x16,oc=8,k=3,s=2"
SYMBOL = r"convjit_conv3d_4x5x6x16_to_8x10x12x8_k3x3x3_ld2x2x2_[0-9a-f]{8}"


def stress(*arguments):
    # scripts/test turns the cache off; here it has a directory of its own.
    env = {k: v for k, v in os.environ.items() if k != "CONVJIT_CACHE"}
    done = subprocess.run(
        [STRESS, *arguments], capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {
        name: float(value)
        for name, value in (line.split() for line in done.stdout.splitlines())
    }


def test_thousands_of_kernels_share_mappings():
    count = 24000 if LONG else 2000
    figures = stress("many", str(count))
    # vm.max_map_count is 65530; one mapping a kernel would be too many soon.
    assert figures["mappings"] < 50 + count / 50, figures


def test_releasing_kernels_gives_their_memory_back():
    count = 100_000 if LONG else 300
    figures = stress("rounds", str(count))
    assert figures["growth_KiB"] < 4096, figures


def test_threads_over_a_thousand_layers():
    figures = stress("threads", "120" if LONG else "3")
    assert figures["calls"] > 0, figures


@pytest.mark.parametrize("mebibytes", [100, 110, 120, 125, 130, 140, 160, 400])
def test_a_memory_limit_is_an_error(mebibytes):
    """Where the libraries can be loaded at all, there is an answer."""

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (mebibytes << 20, mebibytes << 20))

    done = subprocess.run(
        [STRESS, "limited"], preexec_fn=limit, capture_output=True, text=True
    )
    if done.returncode != 0:
        assert done.returncode == 3, (done.returncode, done.stderr)
        assert "not enough memory to compile" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    # In between depends on how much the libraries take.
    if mebibytes <= 100:
        assert done.returncode == 3
    if mebibytes >= 160:
        assert done.returncode == 0


def bench(env):
    """Runs a kernel; what perf's map of that process says."""
    process = subprocess.Popen(
        [CONVJIT, "bench", LAYER, "--min-ms", "1"],
        stdout=subprocess.PIPE, env={**os.environ, **env},
    )
    process.communicate()
    assert process.returncode == 0
    path = Path(f"/tmp/perf-{process.pid}.map")
    if not path.exists():
        return None
    text = path.read_text()
    path.unlink()
    return text


def test_perf_map_names_kernels():
    assert bench({}) is None
    lines = bench({"CONVJIT_PERF_MAP": "1"}).splitlines()
    assert len(lines) == 3
    for line, kind in zip(lines, ["kernel", "pack", "pack_part"]):
        assert re.fullmatch(rf"[0-9a-f]+ [0-9a-f]+ {SYMBOL}_{kind}", line), line


@pytest.mark.skipif(not shutil.which("gdb"), reason="needs gdb")
@pytest.mark.parametrize("on", [True, False])
def test_gdb_names_kernels(on):
    """A breakpoint by name, and a backtrace from the middle of a kernel."""
    name = bench({"CONVJIT_PERF_MAP": "1"}).splitlines()[0].split()[2]
    commands = [
        "set debuginfod enabled off",
        "set breakpoint pending on",
        f"break {name}",
        "run",
        "stepi 100",
        "backtrace",
    ]
    done = subprocess.run(
        ["gdb", "-nx", "-batch"]
        + [part for command in commands for part in ("-ex", command)]
        + ["--args", CONVJIT, "bench", LAYER, "--min-ms", "1"],
        capture_output=True, text=True, timeout=120,
        env={**os.environ, "CONVJIT_GDB": "1" if on else "0"},
    )
    if "ptrace" in done.stderr and "not permitted" in done.stderr:
        pytest.skip("this system lets nobody debug")
    frames = re.findall(r"^#\d+ .*$", done.stdout, re.MULTILINE)
    if not on:
        assert not frames, done.stdout
        return
    assert frames, done.stdout + done.stderr
    assert name in frames[0]
    assert "runKernel" in frames[1]
    assert any(" main " in frame for frame in frames)
