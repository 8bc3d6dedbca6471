"""A kernel as a picture for notebooks: its plan, and where it is on the roofline."""

from __future__ import annotations

import functools
import html
import math
import time
from typing import Any

import numpy as np

_WIDTH, _HEIGHT = 520, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 20, 20, 45


@functools.lru_cache(maxsize=None)
def roofs(dtype: str) -> tuple[float, float]:
    """(GFLOP/s, GB/s) of one core, measured: fused multiply-adds, and a copy
    that is too large for the caches."""
    from . import _convjit

    source = np.ones(16 << 20, np.float32)
    target = np.empty_like(source)
    fastest = math.inf
    for _ in range(4):
        start = time.perf_counter()
        np.copyto(target, source)
        fastest = min(fastest, time.perf_counter() - start)
    return _convjit.peak_gflops(dtype), 2 * source.nbytes / fastest / 1e9


def _bytes(kernel: Any) -> int:
    elements = sum(
        math.prod(shape)
        for shape in (kernel.input_shape(1), kernel.weight_shape, kernel.output_shape(1))
    )
    return elements * kernel.dtype.itemsize


def intensity_of(kernel: Any) -> float:
    """FLOPs a byte of one image's input, output and the weight."""
    return kernel.flops(1) / max(1, _bytes(kernel))


def _powers(low: float, high: float) -> list[float]:
    """Powers of four from low to high, for a logarithmic axis."""
    first, last = (math.log(v, 4) for v in (low, high))
    return [4.0 ** e for e in range(math.ceil(first - 1e-9), math.floor(last + 1e-9) + 1)]


def roofline(kernel: Any) -> str:
    """The roofline of one core and the layer's intensity on it, as SVG."""
    peak, bandwidth = roofs("f64" if kernel.dtype.itemsize == 8 else "f32")
    intensity = max(intensity_of(kernel), 1e-3)
    ridge = peak / bandwidth
    low = 2.0 ** math.floor(math.log2(max(min(intensity, ridge) / 8, 1e-3)))
    high = 2.0 ** math.ceil(math.log2(max(intensity, ridge) * 8))
    floor, top = peak / 64, peak * 2

    def px(value: float) -> float:
        part = math.log(value / low) / math.log(high / low)
        return _LEFT + part * (_WIDTH - _LEFT - _RIGHT)

    def py(value: float) -> float:
        part = math.log(max(value, floor) / floor) / math.log(top / floor)
        return _HEIGHT - _BOTTOM - part * (_HEIGHT - _TOP - _BOTTOM)

    reach = min(peak, intensity * bandwidth)
    points = [(low, low * bandwidth), (ridge, peak), (high, peak)]
    if low * bandwidth < floor:
        points[0] = (floor / bandwidth, floor)
    line = " ".join(f"{px(x):.1f},{py(y):.1f}" for x, y in points)
    x, y = px(intensity), py(reach)
    ticks = "".join(
        f'<line x1="{px(v):.1f}" y1="{_TOP}" x2="{px(v):.1f}" y2="{_HEIGHT - _BOTTOM}"'
        f' stroke="#ddd"/><text x="{px(v):.1f}" y="{_HEIGHT - _BOTTOM + 14}"'
        f' text-anchor="middle">{v:g}</text>'
        for v in _powers(low, high)
    ) + "".join(
        f'<line x1="{_LEFT}" y1="{py(v):.1f}" x2="{_WIDTH - _RIGHT}" y2="{py(v):.1f}"'
        f' stroke="#ddd"/><text x="{_LEFT - 6}" y="{py(v) + 4:.1f}"'
        f' text-anchor="end">{v:g}</text>'
        for v in _powers(floor, top)
    )
    anchor = "end" if x > _WIDTH / 2 else "start"
    shift = -8 if anchor == "end" else 8
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}"'
        f' viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>'
        f"{ticks}"
        f'<polyline points="{line}" fill="none" stroke="#1f4e79" stroke-width="2"/>'
        f'<line x1="{x:.1f}" y1="{py(floor):.1f}" x2="{x:.1f}" y2="{y:.1f}"'
        ' stroke="#b03a2e" stroke-dasharray="4 3"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="#b03a2e"/>'
        f'<text x="{x + shift:.1f}" y="{y + 20:.1f}" text-anchor="{anchor}">at most'
        f" {reach:.0f} GFLOP/s at {intensity:.1f} FLOPs a byte</text>"
        f'<text x="{_WIDTH - _RIGHT}" y="{py(peak) - 6:.1f}" text-anchor="end">'
        f"{peak:.0f} GFLOP/s, one core</text>"
        f'<text x="{px(points[0][0]) + 8:.1f}" y="{py(points[0][1]) - 10:.1f}">'
        f"{bandwidth:.0f} GB/s</text>"
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 12}" text-anchor="middle">'
        "FLOPs a byte of input, weight and output</text>"
        f'<text x="16" y="{_HEIGHT / 2}" text-anchor="middle"'
        f' transform="rotate(-90 16 {_HEIGHT / 2})">GFLOP/s</text></svg>'
    )


def page(kernel: Any) -> str:
    """The plan as a table, the roofline below."""
    report = kernel.report()
    rows = [
        ("layer", kernel.problem),
        ("target", report["target"]),
        ("plan", kernel.plan),
        ("FLOPs an image", f"{kernel.flops(1):,}"),
        ("packed weight", f"{report['packed_weight_bytes']:,} bytes"),
        ("tasks an image", str(report["tasks_per_image"])),
        ("compiled in", f"{kernel.compile_ms:.0f} ms, {kernel.code_bytes:,} bytes"),
    ]
    rows += [
        ("chosen" if c["chosen"] else "not chosen",
         f"{c['name']}: {c['reason']}" if c["reason"] else c["name"])
        for c in report["candidates"]
    ]
    body = "".join(
        f"<tr><th style='text-align:left'>{html.escape(k)}</th>"
        f"<td style='text-align:left'><code>{html.escape(v)}</code></td></tr>"
        for k, v in rows
    )
    return f"<table>{body}</table>{roofline(kernel)}"
