"""Files and folders, and the errors of this program."""

from __future__ import annotations

import os
import pathlib

BENCH = pathlib.Path(__file__).resolve().parents[1]
ROOT = BENCH.parent
LAYERS = BENCH / "layers"
BUILT = ROOT / "build" / "bench"
"""What the benchmark compiles for itself."""
PEERS = pathlib.Path(os.environ.get("BENCH_PEERS", ROOT / "build" / "peers"))
"""The virtual environment that bench/setup-peers makes."""


class BenchError(Exception):
    """Ends the program with one line of error: bad input or environment."""


def convjit_binary(named):
    """The binary to measure: --convjit, CONVJIT_BIN or the release build's."""
    path = pathlib.Path(named or os.environ.get("CONVJIT_BIN")
                        or ROOT / "build" / "release" / "bin" / "convjit").resolve()
    if not os.access(path, os.X_OK):
        raise BenchError(f"--convjit={path}: is no program; build convjit first, or name one")
    return path
