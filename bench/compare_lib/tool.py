"""Calls of the convjit program."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import tempfile

import numpy as np


class ToolFailed(Exception):
    """The message is the tool's own line of error."""


class Tool:
    """`cpus`: those its processes are pinned to, one thread each; None: those of this
    process. `limit_s`: seconds that one call may take; None: any."""

    def __init__(self, binary, cpus=None, limit_s=None):
        self.binary, self.cpus, self.limit_s = binary, cpus, limit_s

    def text(self, *arguments):
        """Standard output of a call."""
        pin = (lambda: os.sched_setaffinity(0, self.cpus)) if self.cpus else None
        try:
            result = subprocess.run([str(self.binary), *arguments], capture_output=True,
                                    text=True, preexec_fn=pin, stdin=subprocess.DEVNULL,
                                    timeout=self.limit_s)
        except subprocess.TimeoutExpired:
            raise ToolFailed(f"no answer in {self.limit_s:.0f} s") from None
        if result.returncode:
            lines = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
            raise ToolFailed(lines[-1])
        return result.stdout

    def plan(self, problem, batch):
        """What `convjit plan --json` prints."""
        return json.loads(self.text("plan", problem.text, f"--batch={batch}", "--json"))

    def bench(self, problem, batch, threads, seconds, plan=None):
        """What `convjit bench --json` prints of one layer, after `seconds` of calls."""
        [result] = json.loads(self.text(
            "bench", problem.text, f"--batch={batch}", f"--threads={threads}",
            f"--min-ms={seconds * 1e3:.0f}", "--json", *([f"--plan={plan}"] if plan else [])))
        return result

    def run(self, problem, operands, threads=1):
        """The result of `convjit run` on arrays by their options' names, such as
        grad_output."""
        with tempfile.TemporaryDirectory(prefix="convjit-bench-") as folder:
            options = []
            for name, array in operands.items():
                path = pathlib.Path(folder, name + ".npy")
                np.save(path, array)
                options.append(f"--{name.replace('_', '-')}={path}")
            output = pathlib.Path(folder, "output.npy")
            self.text("run", problem.text, *options, f"--output={output}",
                      f"--threads={threads}")
            return np.load(output)
