#!/usr/bin/env python3
"""Verifies and times the three layers of the documentation on one core.

usage: layers.py CONVJIT

Each layer goes through `convjit verify` (against the reference, on exact
integers and on floats) and then through `convjit bench`. GFLOP/s counts the
multiplications and additions by true taps only, not those by padding or by
zeros between the pixels of a strided layer.
"""

import json
import os
import subprocess
import sys

LAYERS = [
    # (problem, batch)
    ("convT3d:in=8x16x16x64,oc=32,k=4,s=2", 4),
    ("convT3d:in=16x16x16x128,oc=64,k=4,s=2,bias", 1),
    ("convT3d:in=64x8x16x16,oc=32,k=4,s=2,layout=channels_first", 1),
]


def shapes(problem, batch):
    """Input and output shape of a transposed layer that keeps the default
    padding, SAME: every spatial size is multiplied by the stride."""
    fields = dict(field.partition("=")[::2] for field in problem.split(":")[1].split(","))
    sizes = [int(size) for size in fields["in"].split("x")]
    channels_first = fields.get("layout") == "channels_first"
    spatial = sizes[1:] if channels_first else sizes[:-1]
    upsampled = [size * int(fields["s"]) for size in spatial]
    channels = [int(fields["oc"])]
    output = channels + upsampled if channels_first else upsampled + channels
    return [batch] + sizes, [batch] + output


def call(convjit, *arguments):
    """One JSON document from the command line tool, kept on one core so that
    the time does not include a move from core to core."""
    if hasattr(os, "sched_setaffinity"):
        core = {min(os.sched_getaffinity(0))}
        pin = lambda: os.sched_setaffinity(0, core)
    else:
        pin = None
    command = [convjit, *arguments, "--threads", "1", "--json"]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, preexec_fn=pin)
    if result.returncode != 0:
        sys.exit(f"layers.py: exit {result.returncode} from {' '.join(command)}\n{result.stdout}")
    return json.loads(result.stdout)


def row(convjit, problem, batch):
    verified = call(convjit, "verify", problem, "--batch", str(batch))
    timed = call(convjit, "bench", problem, "--batch", str(batch))[0]
    given, made = shapes(problem, batch)
    return [
        problem,
        "x".join(map(str, given)),
        "x".join(map(str, made)),
        f"{verified['cases']} ok",
        f"{timed['ms_median']:.2f}",
        f"{timed['gflops']:.1f}",
        f"{100 * timed['fraction_of_peak']:.0f} %",
        f"{timed['compile_ms']:.0f}",
    ], timed["peak_gflops"]


def print_table(header, rows):
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    for cells in [header, ["-" * width for width in widths], *rows]:
        # Words to the left, numbers to the right.
        print("  ".join(
            cell.ljust(width) if index < 3 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths))).rstrip())


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    rows = []
    for problem, batch in LAYERS:
        cells, peak = row(sys.argv[1], problem, batch)
        rows.append(cells)
    print_table(["layer", "input", "output", "verified", "ms", "GFLOP/s", "of peak",
                 "compile ms"], rows)
    print(f"\nOne core; peak is {peak:.1f} GFLOP/s of fused multiply-adds, measured here."
          "\nCompile is the cold time from the problem to a kernel that runs.")


if __name__ == "__main__":
    main()
