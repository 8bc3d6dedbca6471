"""Calls of the convjit program."""

from __future__ import annotations

import json
import os
import subprocess


class ToolFailed(Exception):
    """The message is the tool's own line of error."""


class Tool:
    """`cpus`: those its processes are pinned to, one thread each. `limit_s`: seconds
    that one call may take."""

    def __init__(self, binary, cpus=None, limit_s=120):
        self.binary, self.cpus, self.limit_s = binary, cpus, limit_s

    def json(self, *arguments):
        """The document that a call prints."""
        command = [str(self.binary), *arguments, "--json"]
        pin = (lambda: os.sched_setaffinity(0, self.cpus)) if self.cpus else None
        try:
            result = subprocess.run(command, capture_output=True, text=True, preexec_fn=pin,
                                    stdin=subprocess.DEVNULL, timeout=self.limit_s)
        except subprocess.TimeoutExpired:
            raise ToolFailed(f"no answer in {self.limit_s:.0f} s") from None
        if result.returncode:
            lines = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
            raise ToolFailed(lines[-1])
        return json.loads(result.stdout)

    def plan(self, layer):
        return self.json("plan", layer.problem.text, f"--batch={layer.batch}")

    def bench(self, layer, seconds, plan=None):
        """Times of one layer, `seconds` of calls."""
        [result] = self.json(
            "bench", layer.problem.text, f"--batch={layer.batch}",
            f"--threads={len(self.cpus or [0])}", f"--min-ms={seconds * 1e3:.0f}",
            *([f"--plan={plan}"] if plan else []))
        return result
