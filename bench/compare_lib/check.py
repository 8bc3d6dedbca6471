"""Checks that every peer computes the layer that convjit computes."""

from __future__ import annotations

import pathlib
import tempfile

import numpy as np

from .arrays import make_operands
from .convolution import output_shape
from .measure import Outcome
from .workers import PeerFailed, PeerMissing

TOLERANCE = 1e-4
"""Of the largest result. A wrong layer is off by about 1; sums in single precision, or
Winograd's, by some 1e-6 to 1e-5."""


def check_layer(layer, convjit, peers, limit_s):
    """Outcomes by name: wrong or failed where they are, with the difference in
    details["difference"] where there is a result."""
    outcomes = {worker.peer.name: Outcome() for worker in [convjit, *peers]}
    with tempfile.TemporaryDirectory(prefix="convjit-bench-") as folder:
        folder = pathlib.Path(folder)
        operands = {}
        for name, array in make_operands(layer.problem, layer.batch, seed=1).items():
            operands[name] = str(folder / f"{name}.npy")
            np.save(operands[name], array)
        expected = _compute(convjit, outcomes, layer, operands, folder, limit_s)
        if expected is None:
            return outcomes
        wanted = tuple(output_shape(layer.problem, layer.batch))
        if expected.shape != wanted:
            outcomes[convjit.peer.name].fail("wrong", f"shape {expected.shape}, not {wanted}")
            return outcomes
        for worker in peers:
            got = _compute(worker, outcomes, layer, operands, folder, limit_s)
            if got is not None:
                _compare(outcomes[worker.peer.name], expected, got)
    return outcomes


def _compute(worker, outcomes, layer, operands, folder, limit_s):
    path = folder / f"{worker.peer.name}-output.npy"
    outcome = outcomes[worker.peer.name]
    try:
        answer = worker.ask(limit_s, "compute", problem=layer.problem.text, batch=layer.batch,
                            operands=operands, output=str(path))
        outcome.note = answer["note"]
        worker.release()
        result = np.load(path)
        path.unlink()
        return result
    except PeerFailed as e:
        outcome.fail(e.status, e.text)
    except PeerMissing as e:
        outcome.fail("error", str(e))
    return None


def _compare(outcome, expected, got):
    if got.shape != expected.shape:
        outcome.fail("wrong", f"shape {got.shape}, convjit's is {expected.shape}")
        return
    scale = float(np.abs(expected).max()) or 1.0
    difference = float(np.abs(got.astype(np.float64) - expected).max()) / scale
    outcome.details["difference"] = difference
    if not difference <= TOLERANCE:
        outcome.fail("wrong", f"differs from convjit's by {difference:.2g} of the largest value")
