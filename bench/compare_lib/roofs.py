"""The machine's roofs, measured by roofs.cpp, and which of them a layer meets."""

from __future__ import annotations

import dataclasses
import json
import subprocess

from .compiled import compiled
from .convolution import bytes_read_and_written, flops
from .places import BENCH, BenchError

OPTIONS = ["-O3", "-march=native", "-pthread"]


def measure_roofs(cpus, repeats=3):
    """What roofs.cpp prints with one thread pinned to each of `cpus`, as a dict:
    GFLOP/s, GB/s (10^9 bytes), bytes. The best of `repeats` runs, number by number,
    since other work can only make them smaller."""
    program = compiled(BENCH / "roofs.cpp", "roofs", OPTIONS)
    best = None
    for _ in range(repeats):
        result = subprocess.run([str(program), *map(str, cpus)], capture_output=True, text=True)
        if result.returncode:
            raise BenchError(f"roofs: {result.stderr.strip()}")
        best = _larger(best, json.loads(result.stdout))
    return best


def _larger(a, b):
    if isinstance(b, dict):
        return {key: _larger(a and a[key], value) for key, value in b.items()}
    return max(a or 0, b)


@dataclasses.dataclass(frozen=True)
class Roof:
    """The least time of a layer. `name` is "fma", or where its data come from:
    "l2", "l3" or "memory"."""

    name: str
    ms: float
    flops: int
    bytes: int


def level_of(roofs, size):
    """Where `size` bytes stay from one call to the next. A thread has an L2 of its
    own; half of either cache, since other data and the stack want a place too."""
    if size <= roofs["cache_bytes"]["l2"] * roofs["threads"] / 2:
        return "l2"
    return "l3" if size <= roofs["cache_bytes"]["l3"] / 2 else "memory"


def roof_of(roofs, problem, batch):
    """The larger of the time to multiply and the time to read every operand once and
    write the result once, at the rates of where they are."""
    work = flops(problem, batch)
    read, written = bytes_read_and_written(problem, batch)
    level = level_of(roofs, read + written)
    store = roofs["store_gbs"][level]
    if level == "memory":
        store = max(store, roofs.get("nontemporal_store_gbs", {}).get("memory", 0))
    moving = (read / roofs["load_gbs"][level] + written / store) * 1e-6
    multiplying = work / roofs["fma_gflops"][problem.dtype] * 1e-6
    name, ms = max(("fma", multiplying), (level, moving), key=lambda item: item[1])
    return Roof(name, ms, work, read + written)
