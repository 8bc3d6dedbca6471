"""Draws a section as a roofline: work per byte against work per second."""

from __future__ import annotations

from .places import BenchError
from .registry import CONVJIT, PEER_LIST

INK, GRID = "#333333", "#e4e4e4"


def draw(section, path):
    """Writes an SVG (or what the file's ending says). Every layer is a point, with
    each peer beside it in the peer's colour."""
    try:
        import matplotlib
    except ImportError:
        raise BenchError("--svg: matplotlib is not installed; pip install matplotlib") from None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"svg.hashsalt": "convjit", "font.size": 9, "axes.edgecolor": INK})
    figure, axes = plt.subplots(figsize=(9, 5.5), layout="constrained")
    results = [result for result in section["results"] if result.ours.has_time]
    intensities = [result.roof.flops / result.roof.bytes for result in results]
    if intensities:
        # Far enough to the left for the slopes to be seen.
        ridge = section["roofs"]["fma_gflops"]["f32"] / section["roofs"]["load_gbs"]["memory"]
        low, high = min(min(intensities) / 1.5, ridge / 5), max(intensities) * 1.5
        _roofs(axes, section["roofs"], low, high)
    for peer in PEER_LIST:
        if peer.counts:
            _points(axes, peer, results, s=14, alpha=0.75, linewidths=0, zorder=3)
    _points(axes, CONVJIT, results, s=26, edgecolors="white", linewidths=0.5, zorder=4)
    axes.set(xscale="log", yscale="log", xlabel="FLOP per byte (operands and result once)",
             ylabel="GFLOP/s over true taps",
             title=f"{len(results)} layers, {section['threads']} thread(s)")
    axes.grid(True, which="major", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    try:
        figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)
    except ValueError as e:
        raise BenchError(f"--svg={path}: {e}") from None
    finally:
        plt.close(figure)


def _points(axes, peer, results, **style):
    known = [(result.roof.flops / result.roof.bytes, result.roof.flops / result.ms(peer.name)
              * 1e-6) for result in results if result.ms(peer.name)]
    if known:
        x, y = zip(*known)
        axes.scatter(x, y, color=peer.colour, label=peer.name.replace("_", " "), **style)


def _roofs(axes, roofs, low, high):
    """The peak, and the rate of loads from each level up to it."""
    peak = roofs["fma_gflops"]["f32"]
    axes.plot([low, high], [peak, peak], color=INK, linewidth=1.2)
    axes.annotate(f"fused multiply-add {peak:.0f} GFLOP/s", (high, peak), xytext=(-2, 3),
                  textcoords="offset points", ha="right", va="bottom", color=INK)
    for level, rate in roofs["load_gbs"].items():
        ridge = peak / rate
        if ridge <= low:
            continue
        end = min(ridge, high)
        axes.plot([low, end], [low * rate, end * rate], color=INK, linewidth=0.8,
                  linestyle="--")
        # L2 and L3 may be close together: the one above its line, the others below.
        above = level == "l2"
        axes.annotate(f"{level} {rate:.0f} GB/s", (low, low * rate), color=INK,
                      xytext=(0 if above else 8, 8 if above else -2),
                      textcoords="offset points", va="bottom" if above else "top")
