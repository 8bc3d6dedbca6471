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
    """The least time of a layer. `name` is "fma", or where most of the time to move its
    data goes: "l2", "l3" or "memory"."""

    name: str
    ms: float
    flops: int
    bytes: int


def shares_of(roofs, size):
    """The part of `size` bytes that each level keeps from one call to the next, at best:
    as much as it holds, the nearer levels first. Every thread has an L2 of its own."""
    l2 = min(1.0, roofs["cache_bytes"]["l2"] * roofs["threads"] / size)
    l3 = min(1.0 - l2, roofs["cache_bytes"]["l3"] / size)
    return {"l2": l2, "l3": l3, "memory": 1.0 - l2 - l3}


def moving_ms(roofs, read, written):
    """Milliseconds a level to read and write so many bytes. Non-temporal stores go to
    memory where they are the faster ones."""
    store = dict(roofs["store_gbs"])
    store["memory"] = max(store["memory"],
                          roofs.get("nontemporal_store_gbs", {}).get("memory", 0))
    return {level: share * (read / roofs["load_gbs"][level] + written / store[level]) * 1e-6
            for level, share in shares_of(roofs, read + written).items()}


def roof_of(roofs, problem, batch):
    """The larger of the time to multiply and the time to move what is needed once."""
    work = flops(problem, batch)
    read, written = bytes_read_and_written(problem, batch)
    moving = moving_ms(roofs, read, written)
    multiplying = work / roofs["fma_gflops"][problem.dtype] * 1e-6
    if multiplying >= sum(moving.values()):
        return Roof("fma", multiplying, work, read + written)
    return Roof(max(moving, key=moving.get), sum(moving.values()), work, read + written)
