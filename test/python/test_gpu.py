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


def find(tool):
    for folder in site.getsitepackages():
        for found in Path(folder).glob(f"nvidia/cu*/bin/{tool}"):
            return str(found)
    return os.environ.get(tool.upper()) or shutil.which(tool)


PTXAS = find("ptxas")
NVDISASM = find("nvdisasm")
pytestmark = pytest.mark.skipif(
    PTXAS is None, reason="no ptxas: pip install nvidia-cuda-nvcc"
)

# Layers, and the schedule where it is not the chosen one.
LAYERS = [
    ("convT3d:in=8x16x16x64,oc=32,k=4,s=2", None),
    ("conv2d:in=56x56x64,oc=64,k=3,pad=1,bias,act=gelu", None),
    ("conv2d:in=56x56x64,oc=64,k=3,g=64,pad=1", None),
    ("conv2d:in=224x224x3,oc=64,k=7,s=2", None),
    ("conv2d:in=3x224x224,oc=64,k=7,s=2,layout=channels_first", None),
    ("conv3d:in=16x16x16x64,oc=64,k=3,dtype=f64", None),
    ("convT3d:in=1x1x1x200,oc=512,k=4,pad=3", None),
    ("convT1d:in=224x1026,oc=1,k=1024,s=256,pad=1023", None),
    ("conv2d:in=56x56x128,oc=128,k=3,g=32,residual,act=silu", None),
    ("convT3d:in=8x16x16x64,oc=32,k=4,s=2", "mma"),
    ("conv2d:in=56x56x64,oc=64,k=3,pad=1,bias,act=gelu", "mma"),
    ("conv2d:in=3x224x224,oc=64,k=7,s=2,layout=channels_first", "mma"),
    ("convT3d:in=8x16x16x64,oc=32,k=4,s=2,dtype=f16", None),
    ("conv2d:in=56x56x64,oc=64,k=3,pad=1,bias,residual,act=gelu,dtype=bf16", None),
    ("conv2d:in=56x56x64,oc=64,k=3,g=64,pad=1,dtype=f16", None),
    ("conv2d:in=224x224x3,oc=64,k=7,s=2,dtype=bf16", None),
]


def convjit(*arguments):
    return subprocess.run([TOOL, *arguments], check=True, stdout=subprocess.PIPE).stdout


def assemble(layer, chip, plan, folder):
    """What ptxas says about the layer's module, and the file it makes."""
    ptx, cubin = folder / "kernel.ptx", folder / "kernel.cubin"
    ptx.write_bytes(
        convjit("emit", layer, "--target=nvptx", f"--target-cpu={chip}",
                "--emit=ptx", *(["--plan", plan] if plan else []))
    )
    done = subprocess.run(
        [PTXAS, f"-arch={chip}", "-v", ptx, "-o", cubin],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout, cubin


@pytest.mark.parametrize("chip", ["sm_80", "sm_90", "sm_100"])
@pytest.mark.parametrize("layer, schedule", LAYERS)
def test_assembles_without_spills(layer, schedule, chip, tmp_path):
    plan = f"schedule = {schedule}" if schedule else None
    said, _ = assemble(layer, chip, plan, tmp_path)
    spills = re.findall(r"(\d+) bytes spill (?:stores|loads)", said)
    assert len(spills) in (4, 6), said  # two entries, three with a split
    assert set(spills) == {"0"}, said


def loops(cubin, function):
    """Instructions of each innermost loop of a function."""
    text = subprocess.run(
        [NVDISASM, "-c", cubin], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    body = re.search(rf"\.text\.{function}:(.*?)(?=\n\.text\.|\Z)", text, re.S)
    lines = [line.strip() for line in body.group(1).splitlines()]
    labels = {line[:-1]: i for i, line in enumerate(lines) if re.match(r"\.L\w+:", line)}
    found = []
    for i, line in enumerate(lines):
        branch = re.search(r"\bBRA\b.*?\((\.L\w+)\)", line)
        if branch and labels.get(branch.group(1), i) < i:
            found.append((labels[branch.group(1)], i))
    return [
        lines[a:b]
        for a, b in found
        if not any(a <= c and d < b for c, d in found if (c, d) != (a, b))
    ]


# thread_pixels, thread_channels, depth and bytes of an element; products of two
# chunks of 16 bytes by 16 x 8.
PRODUCTS = [
    ("f32", "HMMA.1688.F32.TF32", 8, 8, 16, 4, 4),
    ("f16", "HMMA.16816.F32", 8, 8, 32, 8, 2),
    ("bf16", "HMMA.16816.F32.BF16", 4, 8, 64, 8, 2),
]


@pytest.mark.skipif(NVDISASM is None, reason="no nvdisasm: pip install nvidia-cuda-nvdisasm")
@pytest.mark.parametrize("chip", ["sm_80", "sm_90"])
@pytest.mark.parametrize("dtype, name, down, across, depth, vector, size", PRODUCTS)
def test_main_loop_is_as_many_products_as_it_must_be(
    dtype, name, down, across, depth, vector, size, chip, tmp_path
):
    plan = (
        f"#conv.gpu_plan<schedule = mma, box = [1, 8, 16], channels = 64, depth = {depth}, "
        f"thread_pixels = {down}, thread_channels = {across}, stages = 3, vector = {vector}>"
    )
    layer = f"conv2d:in=56x56x256,oc=64,k=3,pad=1,dtype={dtype}"
    _, cubin = assemble(layer, chip, plan, tmp_path)
    ideal = depth * size // 32 * (down // 2) * (across // 2)
    main = [loop for loop in loops(cubin, "convjit_kernel") if any("HMMA" in i for i in loop)]
    # One for blocks inside the image, one for those at its border.
    assert len(main) == 2
    for loop in main:
        # Steps that ptxas has unrolled have a barrier each.
        steps = sum("BAR.SYNC" in line for line in loop)
        products = sum(name in line for line in loop)
        assert products == sum("HMMA" in line for line in loop)
        assert products == steps * ideal > 0
        # Copies do not pass through registers, nor sums through memory. (Before
        # copies sm_80 has loads that are never carried out.)
        done = [line for line in loop if "@!PT" not in line]
        assert not any(re.search(r"\b(LDG|STS|LDL|STL|LDS)\b", line) for line in done)
        # A fragment of input each, two of the filter together.
        fragments = steps * depth * size // 32 * (down // 2 + across // 4)
        assert sum("LDSM" in line for line in loop) == fragments
