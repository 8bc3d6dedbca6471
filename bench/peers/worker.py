"""One peer in a process of its own, so that it may crash, hang or be missing.

usage: python -m peers.worker MODULE VARIANT THREADS CPU[,CPU...]

Reads a JSON object a line from standard input and answers each with one a line:

    (at the start)                            {"version": ...} or {"missing": why}
    {"do": "prepare", "problem", "batch"}     {"note", "prepare_ms"}
    {"do": "sample", "seconds", "realtime"}   {"samples_ms": [...]} and what else it knows
    {"do": "compute", "problem", "batch", "operands", "output"}
                                              {"note"}; the operands' .npy files by name
    {"do": "release"}                         {}

An answer may be {"unsupported": what} or {"error": message} instead.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time

import numpy as np

from compare_lib.arrays import make_operands
from compare_lib.fit import Unsupported
from compare_lib.problem import parse
from compare_lib.realtime import realtime


class Session:
    """The state between messages: at most one prepared layer."""

    def __init__(self, peer, variant, threads):
        self.peer, self.variant, self.threads = peer, variant, threads
        self.prepared = None

    def prepare(self, message, operands=None):
        self.release({})
        problem, batch = parse(message["problem"]), message["batch"]
        if operands is None:
            operands = make_operands(problem, batch)
        start = time.perf_counter()
        self.prepared = self.peer.prepare(problem, batch, operands, self.variant, self.threads)
        return {"note": self.prepared.note, "prepare_ms": (time.perf_counter() - start) * 1e3}

    def sample(self, message):
        with realtime(message["realtime"]):
            return self.prepared.sample(message["seconds"])

    def compute(self, message):
        operands = {name: np.load(path) for name, path in message["operands"].items()}
        answer = self.prepare(message, operands)
        self.prepared.run(1)
        np.save(message["output"], np.ascontiguousarray(self.prepared.output()))
        return answer

    def release(self, _message):
        if self.prepared is not None:
            self.prepared.release()
            self.prepared = None
            gc.collect()
        return {}


def answer(session, message):
    try:
        return getattr(session, message["do"])(message)
    except Unsupported as e:
        return {"unsupported": str(e)}
    except Exception as e:  # a library's own; the next layer may do better
        text = f"{type(e).__name__}: {e}"
        return {"error": " ".join(text.split())[:300]}


def main():
    module, variant, threads, cpus = sys.argv[1:]
    # Libraries write to standard output; keep it for the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(cpu) for cpu in cpus.split(",")})

    def say(message):
        answers.write(json.dumps(message) + "\n")

    try:
        peer = importlib.import_module(module)
        say({"version": peer.version(int(threads))})
    except (ImportError, OSError) as e:
        say({"missing": " ".join(str(e).split())[:300]})
        return
    session = Session(peer, variant, int(threads))
    for line in sys.stdin:
        say(answer(session, json.loads(line)))


if __name__ == "__main__":
    main()
