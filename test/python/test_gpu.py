"""PTX against NVIDIA's own assembler, where that is installed."""

import os
import re
import shutil
import site
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = Path(os.environ.get("CONVJIT_BIN", ROOT / "build/release/bin/convjit"))


def find_ptxas():
    for folder in site.getsitepackages():
        for found in Path(folder).glob("nvidia/cu*/bin/ptxas"):
            return str(found)
    return os.environ.get("PTXAS") or shutil.which("ptxas")


PTXAS = find_ptxas()
pytestmark = pytest.mark.skipif(
    PTXAS is None, reason="no ptxas: pip install nvidia-cuda-nvcc"
)

LAYERS = [
    "convT3d:in=8x16x16x64,oc=32,k=4,s=2",
    "conv2d:in=56x56x64,oc=64,k=3,pad=1,bias,act=gelu",
    "conv2d:in=56x56x64,oc=64,k=3,g=64,pad=1",
    "conv2d:in=224x224x3,oc=64,k=7,s=2",
    "conv2d:in=3x224x224,oc=64,k=7,s=2,layout=channels_first",
    "conv3d:in=16x16x16x64,oc=64,k=3,dtype=f64",
    "convT3d:in=1x1x1x200,oc=512,k=4,pad=3",
    "convT1d:in=224x1026,oc=1,k=1024,s=256,pad=1023",
    "conv2d:in=56x56x128,oc=128,k=3,g=32,residual,act=silu",
]


@pytest.mark.parametrize("chip", ["sm_80", "sm_90", "sm_100"])
@pytest.mark.parametrize("layer", LAYERS)
def test_assembles_without_spills(layer, chip, tmp_path):
    ptx = tmp_path / "kernel.ptx"
    ptx.write_bytes(
        subprocess.run(
            [TOOL, "emit", layer, "--target=nvptx", f"--target-cpu={chip}", "--emit=ptx"],
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
    )
    done = subprocess.run(
        [PTXAS, f"-arch={chip}", "-v", ptx, "-o", tmp_path / "kernel.cubin"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    spills = re.findall(r"(\d+) bytes spill (?:stores|loads)", done.stdout)
    assert len(spills) == 4, done.stdout  # two entries
    assert set(spills) == {"0"}, done.stdout
