"""convjit, through its command line: every sample is a process that compiles anew.

The binary is the environment's CONVJIT_BIN.
"""

from __future__ import annotations

import os

from compare_lib.tool import Tool, ToolFailed

from .prepared import Prepared

KNOWN = ("ms_min", "compile_ms", "plan", "flops", "bytes", "peak_gflops")


def version(threads):
    try:
        return Tool(os.environ["CONVJIT_BIN"]).text("--version").strip()
    except ToolFailed as e:
        raise OSError(str(e)) from None


class ConvjitLayer(Prepared):
    def __init__(self, problem, batch, operands, threads):
        self.tool = Tool(os.environ["CONVJIT_BIN"])
        self.problem, self.batch, self.operands = problem, batch, operands
        self.threads = threads

    def sample(self, seconds):
        layer = self.tool.bench(self.problem, self.batch, self.threads, seconds)
        return {"samples_ms": [layer["ms_median"]],
                **{name: layer[name] for name in KNOWN if name in layer}}

    def run(self, count):
        """Not timed: for the result."""
        self.result = self.tool.run(self.problem, self.operands, self.threads)

    def output(self):
        return self.result


def prepare(problem, batch, operands, variant, threads):
    return ConvjitLayer(problem, batch, operands, threads)
