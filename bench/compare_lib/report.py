"""Results as text, JSON and CSV."""

from __future__ import annotations

import collections
import csv
import json

from .registry import PEER_LIST
from .result import COUNTING, geomean

SLOW_RATIO = 1.0
LOW_PERCENT = 80.0
HEADER = (f"{'ms':>10} {'GFLOP/s':>8} {'MB':>8} {'roof':>6} {'% of it':>7}  {'best peer':<23} "
          f"{'peer ms':>10} {'ratio':>6}  layer")


def _number(value, width, digits):
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"


def row(result):
    """One line of the table under HEADER."""
    if not result.ours.has_time:
        return f"{result.ours.status:>10} {result.layer.text}: {result.ours.text}"
    best = result.best_peer
    return (f"{result.ms():10.4f} {result.gflops:8.1f} {result.roof.bytes * 1e-6:8.2f} "
            f"{result.roof.name:>6} {result.percent_of_roof:7.1f}  {best or '-':<23} "
            f"{_number(result.ms(best), 10, 4)} {_number(result.ratio(), 6, 2)}  "
            f"{result.layer.text}")


def roofs_text(roofs):
    def rates(name):
        return ", ".join(f"{level} {rate:.1f}" for level, rate in roofs.get(name, {}).items())

    return "\n".join([
        f"roofs of {roofs['threads']} thread(s), vectors of {roofs['vector_bits']} bits",
        f"  fused multiply-add, GFLOP/s:    {rates('fma_gflops')}",
        f"  load, GB/s:                     {rates('load_gbs')}",
        f"  store, GB/s:                    {rates('store_gbs')}",
        f"  non-temporal store, GB/s:       {rates('nontemporal_store_gbs') or 'none here'}"])


def _extremes(name, values, digits, unit):
    values = list(values)
    if not values:
        return f"{name}: none"
    return (f"{name}: least {min(values):.{digits}f}{unit}, "
            f"geometric mean {geomean(values):.{digits}f}{unit}, {len(values)} layers")


def summary(title, results):
    """Lines about the layers of one section."""
    timed = [result for result in results if result.ours.has_time]
    compared = [result for result in timed if result.ratio() is not None]
    lines = [f"-- {title}: {len(results)} layers",
             _extremes("best peer's time over ours", (r.ratio() for r in compared), 2, ""),
             _extremes("share of the roof", (r.percent_of_roof for r in timed), 1, " %")]
    for peer in PEER_LIST:
        own = [r for r in timed if r.ms(peer.name) is not None]
        if own:
            best = sum(r.best_peer == peer.name for r in own)
            lines.append("  " + _extremes(f"{peer.name:<23} over ours",
                                          (r.ratio(peer.name) for r in own), 2, "")
                         + (f", best of the peers on {best}" if peer.counts else ""))
    lines += _listed(f"below {SLOW_RATIO:.1f}x", compared, lambda r: r.ratio(), SLOW_RATIO, "x")
    lines += _listed(f"below {LOW_PERCENT:.0f} % of the roof", timed,
                     lambda r: r.percent_of_roof, LOW_PERCENT, " %")
    lines += [f"no time of ours, {r.ours.status}: {r.layer.text}: {r.ours.text}"
              for r in results if not r.ours.has_time]
    return "\n".join(lines + _failures(results))


def _listed(what, results, value, limit, unit):
    low = sorted((r for r in results if value(r) < limit), key=value)
    return [f"{what}: {len(low)} of {len(results)}"] + [
        f"  {value(r):6.2f}{unit}  {r.layer.text}"
        f"  ({r.best_peer or 'no peer'}; {r.roof.name})" for r in low]


def _failures(results):
    """A line for each peer, status and text, with the number of layers."""
    counts = collections.Counter()
    for result in results:
        for name in COUNTING:
            outcome = result.outcomes.get(name)
            if outcome and outcome.status != "ok":
                counts[name, outcome.status, outcome.text] += 1
    return [f"no time of {name}, {status}: {text}: {number} layer(s)"
            for (name, status, text), number in sorted(counts.items())]


def write_json(path, document):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
        file.write("\n")


def write_csv(path, sections):
    """One line for each layer and number of threads; a peer's column has its
    milliseconds, or why it has none."""
    peers = [peer.name for peer in PEER_LIST]
    fields = ("list", "problem", "batch", "network", "layer", "ms", "gflops", "flops", "bytes",
              "roof", "roof_ms", "percent_of_roof", "best_peer", "ratio")
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["threads", *fields, *(f"{name}_ms" for name in peers)])
        for section in sections:
            for result in section["results"]:
                known = result.as_json()
                times = [result.ms(name) or
                         getattr(result.outcomes.get(name), "status", "not measured")
                         for name in peers]
                writer.writerow([section["threads"], *(known[field] for field in fields), *times])
