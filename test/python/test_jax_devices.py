"""Several devices: what a device computes, and what the partitioner moves."""

import pathlib
import subprocess
import sys

import pytest

pytest.importorskip("jax")
SCRIPT = pathlib.Path(__file__).with_name("devices.py")


@pytest.mark.parametrize("case", [
    "pmap", "shard_map", "shard_map_checked", "jit_forward", "jit_gradients",
    "jit_output_channels", "jit_groups", "jit_groups_gradients", "jit_space",
    "jit_odd_batch", "jit_channels_first", "explicit_mesh", "partial_forward",
    "partial_output_channels", "partial_batch", "partial_gradients", "partial_over_the_last_axis",
])
def test_two_devices(case):
    done = subprocess.run([sys.executable, str(SCRIPT), case],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout == "good\n", done.stderr[-6000:]


def test_two_gpus(tmp_path):
    """What XLA's partitioner makes of a step for two GPUs; nothing is run."""
    done = subprocess.run([sys.executable, str(SCRIPT), "cuda_jit", str(tmp_path)],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout == "good\n", done.stderr[-6000:]
