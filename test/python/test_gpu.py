"""PTX against NVIDIA's own assembler, where that is installed."""

import csv
import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

from gpu_lib import assembly, report  # noqa: E402

TOOL = Path(os.environ.get("CONVJIT_BIN", ROOT / "build/release/bin/convjit"))
LONG = os.environ.get("CONVJIT_LONG") == "1"
PTXAS = assembly.find("ptxas")
NVDISASM = assembly.find("nvdisasm")
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
    ("conv2d:in=224x224x3,oc=64,k=7,s=2,dtype=bf16", "mma"),
    ("conv2d:in=3x224x224,oc=64,k=7,s=2,layout=channels_first,dtype=f16", "mma"),
    ("convT3d:in=24x24x24x3,oc=32,k=4,s=2,bias,act=relu,dtype=f16", None),
    # Packed by a launch before.
    ("convT3d:in=64x8x16x16,oc=32,k=4,s=2,layout=channels_first,dtype=bf16", None),
    ("conv2d:in=56x56x64,oc=64,k=3,grad=weight,dtype=f16", "mma"),
    ("conv2d:in=56x56x63,oc=64,k=3,grad=weight,dtype=bf16", "mma"),
    ("conv3d:in=64x16x16x16,oc=64,k=3,layout=channels_first,grad=weight,dtype=f16", "mma"),
]


def convjit(*arguments):
    return subprocess.run([TOOL, *arguments], check=True, stdout=subprocess.PIPE).stdout


def assemble(layer, chip, plan, folder):
    """What ptxas makes of the layer's module: its file, and an entry by name."""
    # A weight's gradient is for one number of images.
    batch = ["--batch=32"] if "grad=weight" in layer else []
    ptx = convjit("emit", layer, "--target=nvptx", f"--target-cpu={chip}", *batch,
                  "--emit=ptx", *(["--plan", plan] if plan else []))
    return assembly.assemble(ptx, chip, folder)


@pytest.mark.parametrize("chip", ["sm_80", "sm_90", "sm_100"])
@pytest.mark.parametrize("layer, schedule", LAYERS)
def test_assembles_without_spills(layer, schedule, chip, tmp_path):
    plan = f"schedule = {schedule}" if schedule else None
    _, entries = assemble(layer, chip, plan, tmp_path)
    assert {"convjit_kernel", "convjit_pack"} <= set(entries)
    assert [entry.spills for entry in entries.values()] == [0] * len(entries)


@functools.cache
def listed(name):
    with open(ROOT / "bench/layers" / name, newline="", encoding="utf-8") as file:
        return [row["problem"] for row in csv.DictReader(file)]


# Lists, what each layer's elements are, the chip and the share of layers that is taken
# where not all are.
LISTS = [
    (name, dtype, chip, share)
    for dtype, chip, share in [("f32", "sm_90", 12), ("f16", "sm_90", 24), ("bf16", "sm_90", 70),
                               ("f32", "sm_80", 35), ("f16", "sm_80", 48), ("bf16", "sm_80", 70),
                               ("f32", "sm_100", 35), ("f16", "sm_100", 48), ("bf16", "sm_100", 70)]
    for name in ["networks.csv", "plain.csv", "cliffs.csv", "gradients.csv"]
]


@pytest.mark.parametrize("name, dtype, chip, share", LISTS)
def test_lists_have_no_spills_in_the_main_loop(name, dtype, chip, share):
    reporter = report.Reporter(TOOL, chip, dtype, assemble=True)
    problems = listed(name)
    spilling, wasteful = [], []
    for problem in problems if LONG else problems[len(name) % share :: share]:
        row = reporter.row(problem)
        assert 0 < row["registers"] <= 255
        # Without a disassembler all of them count.
        if row.get("spills in loop", row["spill bytes"]):
            spilling.append((problem, row["plan"]))
        # Fewer where the last channels of a tile are none.
        if "products" in row and row["products"] > row["ideal products"]:
            wasteful.append((problem, row["plan"]))
    assert spilling == []
    assert wasteful == []


# Those with tensor cores of mma.sync: all.
CHIPS = ["sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"]
# thread_pixels, thread_channels, depth and bytes of an element; products of two
# chunks of 16 bytes by 16 x 8.
PRODUCTS = [
    ("f32", "HMMA.1688.F32.TF32", 8, 8, 16, 4, 4),
    ("f16", "HMMA.16816.F32", 8, 8, 32, 8, 2),
    ("bf16", "HMMA.16816.F32.BF16", 4, 8, 64, 8, 2),
]


@pytest.mark.skipif(NVDISASM is None, reason="no nvdisasm: pip install nvidia-cuda-nvdisasm")
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("dtype, name, down, across, depth, vector, size", PRODUCTS)
def test_main_loop_is_as_many_products_as_it_must_be(
    dtype, name, down, across, depth, vector, size, chip, tmp_path
):
    plan = (
        f"#conv.gpu_plan<schedule = mma, box = [1, 8, 16], channels = 64, depth = {depth}, "
        f"thread_pixels = {down}, thread_channels = {across}, stages = 3, vector = {vector}>"
    )
    layer = f"conv2d:in=56x56x256,oc=64,k=3,pad=1,dtype={dtype}"
    cubin, _ = assemble(layer, chip, plan, tmp_path)
    field = {"schedule": "mma", "thread_pixels": down, "thread_channels": across, "depth": depth}
    _, ideal = assembly.products(field, size)
    loops = assembly.loops(cubin, "convjit_kernel")
    main = [loop for loop in loops if loop.count(r"HMMA\S*")]
    # One for blocks inside the image, one for those at its border.
    assert len(main) == 2
    for loop in main:
        # Steps that ptxas has unrolled have a barrier each.
        products = loop.count(re.escape(name))
        assert products == loop.count(r"HMMA\S*") == loop.steps * ideal > 0
        # Copies do not pass through registers, nor sums through memory.
        assert loop.count(r"(LDG|STS|LDL|STL|LDS)") == 0
        # A fragment of input each, two of the filter together.
        fragments = loop.steps * depth * size // 32 * (down // 2 + across // 4)
        assert loop.count(r"LDSM\S*") == fragments


# Fragments of a weight's gradient in 16 bits are read across rows of channels.
@pytest.mark.skipif(NVDISASM is None, reason="no nvdisasm: pip install nvidia-cuda-nvdisasm")
@pytest.mark.parametrize("chip", CHIPS)
def test_main_loop_of_a_gradient_is_as_many_products_as_it_must_be(chip, tmp_path):
    down, across, depth = 8, 8, 32
    plan = (
        f"#conv.gpu_plan<schedule = mma, box = [64, 1, 2], channels = 64, depth = {depth}, "
        f"thread_pixels = {down}, thread_channels = {across}, stages = 3, vector = 8>"
    )
    # 32 images: a step is those of one position.
    cubin, _ = assemble("conv2d:in=56x56x64,oc=64,k=3,grad=weight,dtype=f16", chip, plan, tmp_path)
    field = {"schedule": "mma", "thread_pixels": down, "thread_channels": across, "depth": depth}
    _, ideal = assembly.products(field, 2)
    main = [loop for loop in assembly.loops(cubin, "convjit_kernel") if loop.count(r"HMMA\S*")]
    assert main
    for loop in main:
        assert loop.count(r"HMMA\.16816\.F32") == loop.steps * ideal > 0
        assert loop.count(r"(LDG|STS|LDL|STL|LDS)") == 0
        fragments = loop.steps * depth // 16 * (down // 2 + across // 4)
        assert loop.count(r"LDSM\.16\.MT88\S*") == fragments
