"""Finds a Python with NumPy. Imports nothing but the standard library."""

from __future__ import annotations

import importlib.util
import os
import sys

from .places import PEERS, ROOT


def ensure_numpy():
    """Starts this program anew with the interpreter of scripts/setup's or
    bench/setup-peers' environment when this one lacks NumPy."""
    if importlib.util.find_spec("numpy"):
        return
    for python in (ROOT / "build" / "venv" / "bin" / "python", PEERS / "bin" / "python"):
        if python.exists() and os.environ.get("BENCH_RESTARTED") != str(python):
            os.environ["BENCH_RESTARTED"] = str(python)
            os.execv(python, [str(python), *sys.argv])
    sys.exit("numpy: is not installed; run scripts/example or bench/setup-peers, or pip install "
             "numpy")
