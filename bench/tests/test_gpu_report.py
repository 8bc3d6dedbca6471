"""bench/gpu_report: one row a layer, of what `convjit plan` says."""

import pathlib
import subprocess
import sys

import pytest

from gpu_lib import assembly, report

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "gpu_report"


@pytest.mark.parametrize(
    "problem, wanted",
    [
        # Whole steps, and steps with a rest.
        ("conv2d:in=56x8x64,oc=64,k=3", "conv2d:in=9x8x16,oc=32,k=3"),
        ("conv3d:in=56x8x4x70,oc=8,k=3", "conv3d:in=5x5x4x22,oc=8,k=3"),
        ("conv2d:in=56x8x30,oc=64,k=3", "conv2d:in=9x8x30,oc=32,k=3"),
        (
            "convT2d:in=64x56x30,oc=3,k=2,layout=channels_first",
            "convT2d:in=16x9x9,oc=3,k=2,layout=channels_first",
        ),
        ("conv2d:in=56x8x64,oc=64,k=3,g=2", "conv2d:in=9x8x64,oc=64,k=3,g=2"),
        # A gradient's input channels are images of the box.
        ("conv2d:in=56x8x64,oc=64,k=3,grad=weight", "conv2d:in=9x8x8,oc=32,k=3,grad=weight"),
    ],
)
def test_small_layers_have_steps_like_the_large(problem, wanted):
    field = {"box": "[8, 4, 4]", "depth": "16", "channels": "32"}
    assert report.small(problem, field) == wanted


def run(tool, *arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, "--convjit", str(tool.binary), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )


def test_a_row_a_layer(tool, tmp_path):
    layers = tmp_path / "layers.csv"
    layers.write_text('problem,batch\n"conv2d:in=16x16x64,oc=32,k=1",1\n')
    done = run(
        tool, "--dtype", "f16", "--layers", layers, "conv2d:in=16x16x64,oc=64,k=3,pad=valid"
    )
    assert done.returncode == 0
    rows = [line.split(" | ") for line in done.stdout.splitlines()]
    assert len(rows) == 4
    # 8 images, 14 x 14 pixels, 9 taps, 64 x 64 channels; two bytes an element.
    assert rows[2][0] == "| `conv2d:in=16x16x64,oc=64,k=3,pad=valid,dtype=f16`"
    assert float(rows[2][1]) == pytest.approx(2 * 8 * 14 * 14 * 9 * 64 * 64 * 1e-9, rel=0.01)
    assert float(rows[2][2]) == pytest.approx(
        2 * (8 * 64 * (16 * 16 + 14 * 14) + 9 * 64 * 64) * 1e-6, rel=0.01
    )
    assert rows[2][3].startswith("mma ")
    assert float(rows[3][1]) == pytest.approx(2 * 8 * 16 * 16 * 64 * 32 * 1e-9, rel=0.01)
    share = int(rows[2][6].split()[0])
    assert 0 < share <= 100


def test_channels_first(tool):
    layer = "convT3d:in=8x16x16x64,oc=32,k=4,s=2,dtype=bf16"
    first = "convT3d:in=64x8x16x16,oc=32,k=4,s=2,dtype=bf16,layout=channels_first"
    assert report.channels_first(layer) == report.channels_first(first) == first
    done = run(tool, "--channels-first", "--summary", layer)
    rows = [line.split(" | ") for line in done.stdout.splitlines()]
    summary = dict(zip(rows[0], rows[2], strict=True))
    # A launch before packs it, or else it would take longer.
    assert summary["inputs packed"] == "1"
    assert float(summary["ms without |"].rstrip(" |")) > float(summary["ms"])


def test_a_layer_that_is_none(tool):
    assert run(tool, "conv2d:in=1").returncode == 1


TOLD = {
    "candidates": [
        {"chosen": False, "reason": "1 us predicted for 8 images, bound by cache"},
        {
            "chosen": True,
            "reason": "45.5 us predicted for 8 images, bound by shared memory; 65 % of the roof; "
            "168 registers a thread, 6 blocks an SM; cycles of a step: 512 multiply-adds, "
            "588.5 instructions, 352 shared memory, 190.4 cache; 3.88 us of memory",
        },
    ]
}


def test_predictions_are_read_from_the_chosen_plan():
    row = report.prediction(TOLD)
    assert (row["us"], row["bound by"], row["% of roof"]) == (45.5, "shared memory", 65)
    assert (row["registers expected"], row["blocks an SM"]) == (168, 6)
    assert [row[f"cycles: {unit}"] for unit in report.UNITS] == [512, 588.5, 352, 190.4]
    assert row["us of memory"] == 3.88


def test_a_row_a_list(tool, tmp_path):
    layers, table = tmp_path / "layers.csv", tmp_path / "all.csv"
    layers.write_text('problem\n' + '"conv1d:in=64x16,oc=16,k=3"\n' * 2)
    done = run(tool, "--summary", "--csv", table, "--layers", layers, "--layers", layers)
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()]
    assert [row[:2] for row in rows[2:]] == [["`layers.csv`", "2"]] * 2
    assert len(table.read_text().splitlines()) == 5


def test_conflicts_are_what_the_emulator_counts(tool):
    plan = (
        "#conv.gpu_plan<schedule = simt, box = [1, 2, 16], channels = 8, depth = 4, "
        "thread_pixels = 4, thread_channels = 2, stages = 2, vector = 1>"
    )
    rows = [
        report.Reporter(tool.binary, "sm_90", plan=one, conflicts=True).row(
            "conv2d:in=56x56x31,oc=32,k=3"
        )
        for one in (plan, "schedule = simt")
    ]
    # Of steps this short several products share a bank: see test/gpu/mma.test.
    assert rows[0]["passes"] > rows[0]["fewest passes"] > 0
    assert rows[0]["bank conflicts"].endswith(" %")
    assert rows[1]["bank conflicts"] == "none"
    assert rows[1]["sectors"] > 0


LISTING = """
.text.convjit_kernel:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_1:
        /*0010*/                   LDSM.16.M88.4 R4, [R2] ;
        /*0020*/                   HMMA.16816.F32 R8, R4, R6, R8 ;
        /*0030*/              @!PT LDS RZ, [RZ] ;
        /*0040*/                   STL [R1], R8 ;
        /*0050*/                   BAR.SYNC.DEFER_BLOCKING 0x0 ;
        /*0060*/               @P0 BRA `(.L_x_1) ;
        /*0070*/                   EXIT ;

.text.convjit_pack:
.L_x_2:
        /*0000*/                   BRA `(.L_x_2);
"""


def test_what_a_loop_is_made_of(tmp_path, monkeypatch):
    disassembler = tmp_path / "nvdisasm"
    disassembler.write_text(f"#!/bin/sh\ncat <<'EOF'\n{LISTING}EOF\n")
    disassembler.chmod(0o755)
    monkeypatch.setenv("NVDISASM", str(disassembler))
    (loop,) = assembly.loops("kernel.cubin", "convjit_kernel")
    assert (loop.steps, loop.instructions, loop.spills) == (1, 6, 1)
    assert loop.count(r"HMMA\S*") == loop.count(r"LDSM\S*") == 1
    assert loop.count("LDS") == 0  # never carried out


def test_products_of_a_step():
    plan = {"schedule": "mma", "thread_pixels": "4", "thread_channels": "16", "depth": "64"}
    assert assembly.products(plan, 2) == (r"HMMA\S*", 64)
    assert assembly.products({**plan, "schedule": "simt"}, 4) == (r"FFMA\S*", 4096)
