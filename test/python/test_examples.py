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


def test_brain_mri_takes_a_whole_head(tmp_path):
    """A made-up head in voxels of 1 x 2 x 3 mm; the mask has those again."""
    need("deepbrain", "nilearn", "nibabel", "matplotlib")
    import nibabel
    import numpy as np

    grid = np.stack(np.meshgrid(*map(np.arange, (50, 40, 30)), indexing="ij"), -1)
    away = np.linalg.norm((grid - (25, 20, 15)) / (22, 18, 13), axis=-1)
    head = np.where(away < 0.75, 600, np.where(away < 0.85, 40, np.where(away < 1, 900, 0)))
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(head.astype(np.int16)[..., None], affine),
                 tmp_path / "head.nii.gz")
    done = run("brain_mri.py", "--image", tmp_path / "head.nii.gz", "--size", 32,
               "--runs", 1, "--out", tmp_path)
    assert done.returncode == 0, done.stderr[-4000:]
    mask = nibabel.load(tmp_path / "brain.nii.gz")
    assert mask.shape == head.shape and np.array_equal(mask.affine, affine)
    litres = np.asarray(mask.dataobj).sum() * 6e-6
    assert f"50x40x30, {litres:.3f} l of brain" in done.stdout
    (tmp_path / "no.nii").write_text("no image")
    done = run("brain_mri.py", "--image", tmp_path / "no.nii")
    assert done.returncode == 1 and "no.nii:" in done.stderr


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


def test_train_unet_beside_double_precision(tmp_path):
    """Small enough that rounding has no steps to grow in: 1e-6 for both."""
    need("tqdm", "matplotlib")
    done = run("train_unet.py", "--control", "--steps", 3, "--size", 8, "--out", tmp_path,
               JAX_DISABLE_MOST_OPTIMIZATIONS="1")
    assert done.returncode == 0, done.stderr[-4000:]
    theirs, ours = map(float, re.search(
        r"double precision: XLA (\S+), convjit (\S+)\n", done.stdout).groups())
    assert 0 < theirs < 1e-5 and 0 < ours < 1e-5
