"""The examples in Python that need the package, small."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import pytest

pytest.importorskip("jax")
EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


def run(name, *arguments, **environment):
    return subprocess.run([sys.executable, str(EXAMPLES / name), *map(str, arguments)],
                          capture_output=True, text=True, timeout=300,
                          env={**os.environ, **environment})


def need(*packages):
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


def test_brain_mri(tmp_path):
    need("deepbrain", "nilearn", "nibabel", "matplotlib")
    done = run("brain_mri.py", "--size", 32, "--runs", 1, "--out", tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]
    # The network's parameters, counted from its layers.
    channels = [(1, 8), (8, 8), (8, 16), (16, 16), (16, 32), (32, 32), (64, 32), (32, 16),
                (16, 8)]
    weights = sum(27 * i * o + o for i, o in channels) + 8 + 1
    weights += 27 * (32 * 32 + 32 * 16 + 16 * 8)
    assert done.stdout.startswith(f"{weights} weights; 32x32x32 voxels")
    assert re.search(r"masks differ in \d+ of 32768 voxels", done.stdout)
    assert (tmp_path / "brain.png").stat().st_size > 5000


def test_brain_mri_says_what_is_valid():
    need("deepbrain", "nilearn", "nibabel")
    done = run("brain_mri.py", "--size", 12)
    assert done.returncode == 2 and "--size 12: expected a multiple of 8" in done.stderr


def test_data_parallel():
    done = run("data_parallel.py", "--steps", 3)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "{'all-reduce': 1, 'all-gather': 0, 'all-to-all': 0}" in done.stdout
    assert re.search(r"convolutions taken [1-9]\d*, left to XLA 0\n", done.stdout)


@pytest.mark.parametrize("options", [[], ["--brainstate"]], ids=["jax", "brainstate"])
def test_train_unet(tmp_path, options):
    need("tqdm", "matplotlib", *(["brainstate"] if options else []))
    # XLA's program is compiled as well; its speed is of no interest here.
    done = run("train_unet.py", "--steps", 5, "--size", 8, "--out", tmp_path, *options,
               JAX_DISABLE_MOST_OPTIMIZATIONS="1")
    assert done.returncode == 0, done.stderr[-4000:]
    first, last = map(float, re.search(r"loss (\S+) to (\S+);", done.stdout).groups())
    assert last < first and (tmp_path / "training.png").exists()
