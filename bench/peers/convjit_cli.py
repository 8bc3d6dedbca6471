"""convjit, through its command line: every sample is a process that compiles anew.

The binary is the environment's CONVJIT_BIN.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import tempfile

import numpy as np

from .prepared import Prepared


def tool(*arguments):
    """Standard output of a call; raises with the tool's one line of error."""
    result = subprocess.run([os.environ["CONVJIT_BIN"], *arguments], capture_output=True,
                            text=True, stdin=subprocess.DEVNULL)
    if result.returncode:
        lines = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
        raise RuntimeError(lines[-1])
    return result.stdout


def version(threads):
    binary = os.environ.get("CONVJIT_BIN", "")
    if not os.access(binary, os.X_OK):
        raise OSError(f"no binary at '{binary}'; build convjit or name one with --convjit")
    return tool("--version").strip()


class Layer(Prepared):
    def __init__(self, problem, batch, operands, threads):
        self.problem, self.batch, self.threads = problem, batch, threads
        self.operands = operands
        self.result = None

    def sample(self, seconds):
        text = tool("bench", "--json", self.problem.text, f"--batch={self.batch}",
                    f"--threads={self.threads}", f"--min-ms={seconds * 1e3:.0f}")
        [layer] = json.loads(text)
        known = ("ms_min", "compile_ms", "plan", "flops", "bytes", "peak_gflops")
        return {"samples_ms": [layer["ms_median"]],
                **{name: layer[name] for name in known if name in layer}}

    def run(self, count):
        """Not timed here: runs the layer on its operands, for its result."""
        with tempfile.TemporaryDirectory() as folder:
            arguments = []
            for name, array in self.operands.items():
                path = pathlib.Path(folder, name + ".npy")
                np.save(path, array)
                arguments.append(f"--{name.replace('_', '-')}={path}")
            output = pathlib.Path(folder, "output.npy")
            tool("run", self.problem.text, *arguments, f"--output={output}",
                 f"--threads={self.threads}")
            self.result = np.load(output)

    def output(self):
        return self.result


def prepare(problem, batch, operands, variant, threads):
    return Layer(problem, batch, operands, threads)
