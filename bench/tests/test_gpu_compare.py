"""bench/gpu_compare on a CUDA driver without a GPU, beside a PyTorch that is none."""

import csv
import json
import os
import pathlib
import subprocess
import sys

import pytest

from compare_lib.arrays import make_operands, reference
from compare_lib.places import BenchError
from compare_lib.problem import parse
from gpu_lib import main
from gpu_lib.cudnn import Cudnn, PeerFailed
from gpu_lib.modes import MODES
from gpu_lib.results import Result, row, summary

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / "gpu_compare"
PLAIN = "conv2d:in=9x8x16,oc=16,k=3"


@pytest.fixture
def driver(tool, monkeypatch):
    """The driver whose kernels the emulator runs: 2 ms for everything."""
    path = pathlib.Path(tool.binary).parents[1] / "lib" / "libcuda-emulated.so"
    if not path.exists():
        pytest.skip(f"{path} is not built")
    monkeypatch.setenv("CONVJIT_LIBCUDA", str(path))
    monkeypatch.setenv("CONVJIT_PTX_WITH_IR", "1")
    monkeypatch.setenv("CONVJIT_BIN", str(tool.binary))


class FakePeer:
    """Takes 4 ms, twice that where it is not channels last; has no f16."""

    def __init__(self, device, seconds):
        assert device == "cuda:0"

    def description(self):
        return "no PyTorch"

    def time(self, problem, batch, mode, variant):
        assert parse(problem).dtype == "f32" and batch == 8
        if mode.name == "f16":
            raise PeerFailed("no algorithm")
        return 4.0 if variant == "channels_last" else 8.0


def test_layers_by_mode(driver, tmp_path, capsys):
    as_json, as_csv = tmp_path / "out.json", tmp_path / "out.csv"
    code = main.run([PLAIN, "--seconds=0.003", "--json", str(as_json), "--csv", str(as_csv)],
                    make_peer=FakePeer)
    printed = capsys.readouterr().out
    assert code == 0, printed
    assert "cuda:0: Fake GPU, compute capability 9.0" in printed
    assert "kernels for sm_90" in printed and "no PyTorch" in printed
    assert printed.splitlines()[-1] == (
        "4 results, 0 wrong or failed; faster than cuDNN's best layout in 3 of 3, median 2.00 x")
    told = json.loads(as_json.read_text())
    assert told["target"] == "sm_90" and told["peer"] == "no PyTorch"
    by_mode = {result["mode"]: result for result in told["results"]}
    assert list(by_mode) == ["f32", "tf32", "f16", "bf16"]
    for name, result in by_mode.items():
        assert result["checked"] == "ok" and result["ms"] == 2.0
        assert result["predicted_ms"] > 0
        assert result["measured_over_predicted"] == pytest.approx(2 / result["predicted_ms"])
        assert (",dtype=" in result["problem"]) == (name in ("f16", "bf16"))
    assert "schedule = mma" in by_mode["tf32"]["plan"]
    assert "schedule = mma" not in by_mode["f32"]["plan"]
    assert by_mode["f32"]["cudnn"] == {"channels_last": 4.0, "contiguous": 8.0}
    assert by_mode["f32"]["ratio"] == 2.0
    assert by_mode["f16"]["ratio"] is None
    assert by_mode["f16"]["errors"] == {"channels_last": "no algorithm",
                                        "contiguous": "no algorithm"}
    rows = list(csv.DictReader(as_csv.open()))
    assert [r["mode"] for r in rows] == list(by_mode) and rows[0]["contiguous"] == "8.0"


def test_predictions_are_for_the_batch(driver):
    from gpu_lib.convjit import Convjit

    convjit = Convjit(os.environ["CONVJIT_BIN"], "cuda:0", 0.003)
    eight, _ = convjit.predict(PLAIN, 8, "", "sm_90")
    sixteen, bound = convjit.predict(PLAIN, 16, "", "sm_90")
    assert sixteen == pytest.approx(2 * eight) and bound


def test_without_torch(driver, capsys):
    assert main.run([PLAIN, "--modes=tf32", "--seconds=0.003", "--without-torch"]) == 0
    printed = capsys.readouterr().out
    assert "without PyTorch" in printed
    assert printed.splitlines()[-1] == "1 results, 0 wrong or failed"


def test_what_differs_fails(driver, capsys, monkeypatch):
    # PTX that the driver cannot run is wrong everywhere.
    monkeypatch.setenv("CONVJIT_PTX_WITH_IR", "0")
    with pytest.raises(BenchError, match="CUDA_ERROR_LAUNCH_FAILED"):
        main.run([PLAIN, "--without-torch"])
    # A device that is good for one layer, and then for no more.
    monkeypatch.setattr("gpu_lib.convjit.Convjit.probe", lambda self: ("a device", "sm_90"))
    assert main.run([PLAIN, "--modes=f32", "--without-torch"]) == 1
    printed = capsys.readouterr().out
    assert " WRONG " in printed and "wrong: exact, batch 1: cuda:0: cuStreamSynchronize" in printed
    assert "1 results, 1 wrong or failed" in printed


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["conv2d:in=1"], "'conv2d:in=1': oc: is missing"),
        (["--modes=f8", PLAIN], "--modes=f8: valid: f32, tf32, f16, bf16"),
        (["--batch=0", PLAIN], "--batch=0: valid: at least 1"),
        (["--match=no such layer"], "--match=no such layer: finds no layer"),
        (["--device=cuda:9", PLAIN], "--device=cuda:9: the CUDA driver finds 1 device"),
    ],
)
def test_bad_usage(driver, arguments, message):
    with pytest.raises(BenchError) as caught:
        main.run([*arguments, "--without-torch"])
    assert str(caught.value).startswith(message)


def test_says_what_is_missing(tool):
    """The program itself, on a machine without a driver."""
    environment = {**os.environ, "CONVJIT_LIBCUDA": "no-such.so", "CONVJIT_BIN": str(tool.binary)}
    done = subprocess.run([sys.executable, str(SCRIPT), PLAIN], env=environment, text=True,
                          capture_output=True, check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("bench/gpu_compare: --device=cuda:0: the CUDA driver "
                                  "'no-such.so' cannot be opened")
    assert len(done.stderr.splitlines()) == 1


def test_says_that_torch_is_missing(driver, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BenchError, match="PyTorch: .*; valid: a Python that has torch built for "
                                         "CUDA, or --without-torch"):
        main.run([PLAIN])


def test_rows_say_what_is_not_there():
    result = Result("conv", 2, "f32", checked="exact: no", errors={"convjit": "why"})
    assert row(result).endswith("WRONG     conv x 2 (f32)\n    wrong: exact: no\n    convjit: why")
    assert result.failed and result.ratio is None
    assert summary([result]) == "1 results, 1 wrong or failed"


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize("variant", ["channels_last", "contiguous"])
@pytest.mark.parametrize(
    "text", ["conv2d:in=6x5x4,oc=8,k=3,s=2,bias,act=relu", "convT2d:in=4x3x4,oc=4,k=4,s=2",
             "conv2d:in=6x5x4,oc=8,k=3,grad=weight"])
def test_torch_computes_the_layer(text, variant, mode):
    """On a CPU, where there is a torch at all: the tensors' type, format and values."""
    torch = pytest.importorskip("torch")
    layer = Cudnn("cpu", 0.1).prepare(text, 2, mode, variant)
    layer.call()
    assert str(layer.y.dtype) == f"torch.{mode.torch_type}"
    if variant == "channels_last" and "weight" not in text:
        assert layer.y.is_contiguous(memory_format=torch.channels_last)
    assert torch.backends.cudnn.allow_tf32 == mode.tf32
    problem = parse(text)
    layer.y = layer.y.to(torch.float32)
    wanted = reference(problem, 2, make_operands(problem, 2))
    tolerance = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 2e-2}[mode.torch_type]
    assert abs(layer.output() - wanted).max() <= tolerance * abs(wanted).max()
