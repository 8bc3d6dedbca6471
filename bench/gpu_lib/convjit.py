"""convjit on a GPU: verified, timed and predicted, by its command line."""

from __future__ import annotations

import json
import re
import subprocess

from compare_lib.places import BenchError
from compare_lib.tool import Tool, ToolFailed

PREDICTED_IMAGES = 8
"""What the cost model's times are for."""


class Convjit:
    def __init__(self, binary, device, seconds, limit_s=None):
        self.tool, self.device, self.seconds = Tool(binary, limit_s=limit_s), device, seconds

    def probe(self):
        """The device's description and its target, of a layer that is next to nothing."""
        try:
            told = self._bench("conv1d:in=8x8,oc=8,k=1", 1, "", 1e-3)
        except ToolFailed as e:
            raise BenchError(str(e).removeprefix("convjit: error: ")) from None
        return told["device"], told["target"]

    def _bench(self, problem, batch, plan, seconds):
        [result] = json.loads(self.tool.text(
            "bench", problem, f"--batch={batch}", f"--device={self.device}",
            f"--min-ms={seconds * 1e3:g}", "--json", *self._plan(plan)))
        return result

    @staticmethod
    def _plan(plan):
        return [f"--plan={plan}"] if plan else []

    def bench(self, problem, batch, plan):
        return self._bench(problem, batch, plan, self.seconds)

    def verify(self, problem, batch, plan):
        """"" where the device agrees with the reference on the CPU, else what it did."""
        command = [str(self.tool.binary), "verify", problem, f"--device={self.device}",
                   "--seed=1", "--jobs=1", f"--batch={batch}", "--json", *self._plan(plan)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            return (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
        failures = json.loads(done.stdout)["failures"]
        return "".join(f"{f['check']}, batch {f['batch']}: {f['detail']}" for f in failures[:1])

    def predict(self, problem, batch, plan, target):
        """Milliseconds that the cost model has for the plan, and what bounds it."""
        told = json.loads(self.tool.text(
            "plan", problem, f"--batch={PREDICTED_IMAGES}", "--json", "--target=nvptx",
            f"--target-cpu={target}", *self._plan(plan)))
        [chosen] = [c for c in told["candidates"] if c["chosen"]]
        time, bound = re.match(r"(\S+) us predicted .* bound by (.*?);",
                               chosen["reason"]).groups()
        return float(time) * 1e-3 * batch / PREDICTED_IMAGES, bound
