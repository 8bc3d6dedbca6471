"""bench/gpu_report: one row a layer, of what `convjit plan` says."""

import importlib.machinery
import importlib.util
import pathlib
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "gpu_report"


def module():
    sys.dont_write_bytecode = True
    loader = importlib.machinery.SourceFileLoader("gpu_report", str(SCRIPT))
    spec = importlib.util.spec_from_loader("gpu_report", loader)
    made = importlib.util.module_from_spec(spec)
    loader.exec_module(made)
    return made


@pytest.mark.parametrize(
    "problem, wanted",
    [
        ("conv2d:in=56x8x64,oc=64,k=3", "conv2d:in=9x8x64,oc=64,k=3"),
        (
            "convT2d:in=64x56x30,oc=3,k=2,layout=channels_first",
            "convT2d:in=64x9x9,oc=3,k=2,layout=channels_first",
        ),
    ],
)
def test_small_images_keep_their_channels(problem, wanted):
    assert module().small(problem) == wanted


def report(tool, *arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, "--convjit", str(tool.binary), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )


def test_a_row_a_layer(tool, tmp_path):
    layers = tmp_path / "layers.csv"
    layers.write_text('problem,batch\n"conv2d:in=16x16x64,oc=32,k=1",1\n')
    done = report(
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


def test_a_layer_that_is_none(tool):
    assert report(tool, "conv2d:in=1").returncode == 1
