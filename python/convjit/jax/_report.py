"""What became of each convolution that JAX lowered."""

from __future__ import annotations

import dataclasses
import html
import threading
from typing import Any

from .. import _convjit


@dataclasses.dataclass(frozen=True)
class Entry:
    """One convolution, as met while lowering.

    Times are sums over this process's calls, in milliseconds; None where
    convjit did not take the convolution (XLA's own are not timed).
    """

    convolution: str  #: its text, or the shapes where it has none (0 or 4 dimensions)
    batch: int
    taken: bool
    reason: str  #: why it was left to XLA; empty where taken
    lowered: int  #: how often it was met
    plan: str
    compile_ms: float | None
    calls: int
    total_ms: float | None
    fastest_ms: float | None
    pack_share: float | None  #: of the time, spent on packing the weights
    gflops: float | None  #: over true taps, in the fastest call


class Report(list):
    """A list of `Entry`, with a table as its text and in notebooks."""

    _columns = ("", "convolution", "batch", "calls", "ms", "GFLOP/s", "pack",
                "plan, or why it was left")

    def _rows(self) -> list[tuple[str, ...]]:
        rows = []
        for e in self:
            number = lambda v, f: "" if v is None else format(v, f)
            rows.append((
                "taken" if e.taken else "left",
                e.convolution,
                str(e.batch),
                str(e.calls) if e.taken else "",
                number(e.fastest_ms, ".3f") if e.calls else "",
                number(e.gflops, ".1f"),
                number(e.pack_share, ".0%"),
                e.plan if e.taken else e.reason,
            ))
        return rows

    def __str__(self) -> str:
        if not self:
            return "convjit.jax: no convolution was met"
        rows = [self._columns, *self._rows()]
        widths = [max(len(r[i]) for r in rows) for i in range(len(self._columns) - 1)]
        lines = []
        for row in rows:
            cells = [
                c.ljust(w) if i < 2 else c.rjust(w)
                for i, (c, w) in enumerate(zip(row, widths))
            ]
            lines.append("  ".join([*cells, row[-1]]).rstrip())
        taken = sum(e.taken for e in self)
        lines.append(f"{taken} taken, {len(self) - taken} left to XLA")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def row(cells: tuple[str, ...], tag: str) -> str:
            inner = "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells)
            return f"<tr>{inner}</tr>"

        body = "".join(row(r, "td") for r in self._rows())
        return f"<table>{row(self._columns, 'th')}{body}</table>"


_lock = threading.Lock()
# (text, batch, reason) -> how often it was met, kernel
_met: dict[tuple[str, int, str], list[Any]] = {}


def record(text: str, batch: int, reason: str = "", kernel: Any = None) -> None:
    with _lock:
        entry = _met.setdefault((text, batch, reason), [0, kernel])
        entry[0] += 1
        entry[1] = kernel


def report() -> Report:
    """Each convolution met since the start or `clear_report()`.

    Counts and times of a convolution are those of all batch sizes together, and of
    the calls that have ended: JAX returns before they have (`jax.block_until_ready`).
    The table names the time of the fastest call, and the share of all calls' time that
    went into packing weights.
    """
    with _lock:
        met = {key: tuple(value) for key, value in _met.items()}
    entries = Report()
    for (text, batch, reason), (lowered, kernel) in met.items():
        taken = kernel is not None
        sums = _convjit.xla_calls(text) if taken else {"calls": 0}
        calls = sums["calls"]
        gflops = None
        if calls:
            gflops = 2e-6 * _convjit.macs(text, batch) / max(sums["ms_min"], 1e-6)
        entries.append(Entry(
            convolution=text,
            batch=batch,
            taken=taken,
            reason=reason,
            lowered=lowered,
            plan=kernel.plan if taken else "",
            compile_ms=kernel.compile_ms if taken else None,
            calls=calls,
            total_ms=sums["ms_total"] if taken else None,
            fastest_ms=sums["ms_min"] if calls else None,
            pack_share=sums["ms_pack"] / sums["ms_total"] if calls else None,
            gflops=gflops,
        ))
    return entries


def clear_report() -> None:
    """Forgets what was met; counters of calls go on."""
    with _lock:
        _met.clear()
