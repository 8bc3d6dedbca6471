"""Roofs, ratios, tables and files, of results made up."""

import csv
import json

import pytest

from compare_lib import report
from compare_lib.layers import Layer
from compare_lib.measure import Outcome
from compare_lib.problem import parse
from compare_lib.result import Result, geomean
from compare_lib.roofs import moving_ms, roof_of, shares_of

ROOFS = {"threads": 1, "vector_bits": 512, "fma_gflops": {"f32": 100.0, "f64": 50.0},
         "cache_bytes": {"l2": 1 << 20, "l3": 1 << 24},
         "load_gbs": {"l2": 100.0, "l3": 50.0, "memory": 10.0},
         "store_gbs": {"l2": 100.0, "l3": 50.0, "memory": 5.0},
         "nontemporal_store_gbs": {"memory": 20.0}}


def outcome(ms):
    return Outcome(medians=[ms * 1.1, ms, ms * 1.2], minima=[ms, ms, ms])


def result(text="conv2d:in=64x64x64,oc=64,k=3", ours=4.0, **peers):
    layer = Layer(parse(text), 1, "net", "up", "", "list", False)
    outcomes = {"convjit": outcome(ours) if ours else Outcome("crash", "boom")}
    outcomes.update({name: value if isinstance(value, Outcome) else outcome(value)
                     for name, value in peers.items()})
    return Result(layer, roof_of(ROOFS, layer.problem, 1), outcomes, "min")


def test_the_roof_is_the_slower_of_work_and_bytes():
    multiply = roof_of(ROOFS, parse("conv2d:in=64x64x64,oc=64,k=3"), 1)
    assert multiply.name == "fma"
    assert multiply.ms == pytest.approx(multiply.flops / 100e9 * 1e3)
    near = roof_of(ROOFS, parse("conv2d:in=64x64x2,oc=2,k=1"), 1)
    assert near.name == "l2"
    data = 4 * 2 * 64 * 64
    assert near.ms == pytest.approx((2 * data + 4 * 4) / 100e9 * 1e3)


def test_caches_keep_what_they_hold():
    assert shares_of(ROOFS, 1 << 20) == {"l2": 1, "l3": 0, "memory": 0}
    assert shares_of(ROOFS, 1 << 21) == {"l2": 0.5, "l3": 0.5, "memory": 0}
    far = shares_of(ROOFS, 1 << 26)
    assert far == {"l2": 1 / 64, "l3": 1 / 4, "memory": 47 / 64}
    assert shares_of({**ROOFS, "threads": 2}, 1 << 21)["l2"] == 1
    # Stores to memory at the better of both rates.
    moving = moving_ms(ROOFS, 1 << 25, 1 << 25)
    assert moving["memory"] == pytest.approx(47 / 64 * (1 << 25) * (1 / 10 + 1 / 20) * 1e-6)
    move = roof_of(ROOFS, parse("conv2d:in=1024x1024x8,oc=8,k=1"), 1)
    assert move.name == "memory" and move.bytes == (1 << 26) + 256


def test_ratios():
    r = result(ours=2.0, onednn=3.0, xla=2.5, onednn_packing=1.0)
    assert r.best_peer == "xla"  # packing is another question
    assert r.ratio() == pytest.approx(1.25) and r.ratio("onednn") == pytest.approx(1.5)
    assert r.percent_of_roof == pytest.approx(100 * r.roof.ms / 2.0)
    assert result(ours=2.0).ratio() is None and result(ours=None, xla=1.0).ratio() is None
    assert geomean([1, 4]) == pytest.approx(2) and geomean([]) is None


def test_summary_lists_what_is_slow_and_what_failed():
    results = [result(ours=4.0, onednn=3.0, xla=Outcome("timeout", "no answer in 60 s")),
               result(ours=3.0, onednn=6.0), result(ours=None)]
    text = report.summary("layers", results)
    assert "least 0.75" in text and "geometric mean 1.22" in text
    assert "below 1.0x: 1 of 2" in text
    assert "no time of xla, timeout: no answer in 60 s: 1 layer(s)" in text
    assert "no time of ours, crash" in text and "crash" in report.row(results[2])
    assert "onednn" in report.row(results[0])


def test_files(tmp_path):
    results = [result(ours=4.0, onednn=3.0, xla=Outcome("timeout", "late")), result(ours=None)]
    report.write_csv(tmp_path / "a.csv", [{"threads": 1, "results": results}])
    with open(tmp_path / "a.csv", newline="") as file:
        first, second = csv.DictReader(file)
    assert first["problem"] == "conv2d:in=64x64x64,oc=64,k=3" and first["ratio"] == "0.75"
    assert first["onednn_ms"] == "3.0" and first["xla_ms"] == "timeout"
    assert first["openvino_channels_last_ms"] == "not measured" and second["ms"] == ""
    report.write_json(tmp_path / "a.json", [r.as_json() for r in results])
    known = json.loads((tmp_path / "a.json").read_text())[0]
    assert known["peers"]["xla"]["status"] == "timeout" and known["ratio"] == 0.75


def test_roofline_is_the_same_every_time(tmp_path):
    pytest.importorskip("matplotlib")
    from compare_lib.roofline import draw

    section = {"threads": 1, "roofs": ROOFS, "results": [result(onednn=3.0), result(ours=None)]}
    for name in ("a.svg", "b.svg"):
        draw(section, str(tmp_path / name))
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
