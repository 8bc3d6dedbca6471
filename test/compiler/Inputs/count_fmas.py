"""Counts the multiply-adds of masked layers in the program itself.

For an interior pixel, a program of `conv.tile`s with a live table executes, for
each row of the table, (last channel - first channel) FMAs. Their number must be
that of the weights the mask leaves, by output channel block.
"""

import json
import re
import struct
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

convjit = sys.argv[1]


def write_npy(path, shape, values):
    header = (
        f"{{'descr': '<f4', 'fortran_order': False, 'shape': {tuple(shape)}, }}\n"
    ).encode()
    data = struct.pack(f"<{len(values)}f", *values)
    path.write_bytes(
        b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data
    )


def live_rows(problem):
    text = subprocess.run(
        [convjit, "emit", problem, "--emit=tiles", "--target-cpu=znver5"],
        check=True, capture_output=True, text=True,
    ).stdout
    table = re.search(r"@live : memref<\d+x\d+xindex> = dense<(.*)>", text)
    if table is None:
        return None
    return json.loads(table.group(1))


def macs(problem):
    plan = subprocess.run(
        [convjit, "plan", problem, "--json"],
        check=True, capture_output=True, text=True,
    ).stdout
    return json.loads(plan)["flops"] / 2


with tempfile.TemporaryDirectory() as folder:
    mask = Path(folder) / "mask.npy"
    kernel, inputs, outputs = (3, 3), 32, 16  # one block of output channels
    shape = (*kernel, inputs, outputs)
    problem = f"conv2d:in=12x12x{inputs},oc={outputs},k=3,pad=valid,mask={mask}"
    taps = list(product(range(3), range(3)))

    def check(name, keep, expected_rows):
        """keep(tap, input channel, output channel) -> is the weight there?"""
        values = [
            float(keep((i, j), c, o))
            for i, j in taps for c in range(inputs) for o in range(outputs)
        ]
        write_npy(mask, shape, values)
        rows = live_rows(problem)
        live = sum(values) / outputs  # weights an output channel has left
        if rows is None:
            fmas = 9 * inputs
        else:
            fmas = sum(row[-1] - row[-2] for row in rows)
            assert len(rows) == expected_rows, (name, rows)
        assert fmas == live, f"{name}: {fmas} FMAs a pixel, {live} weights"
        assert macs(problem) == sum(values) * 100, name
        print(f"{name}: {fmas} of {9 * inputs} FMAs a pixel and block")

    check("nothing masked", lambda t, c, o: True, None)
    check("causal", lambda t, c, o: t < (1, 1), 4)
    check("causal with the centre", lambda t, c, o: t <= (1, 1), 5)
    check("half of the channels", lambda t, c, o: c < 16, 9)
    check("outer blocks of channels", lambda t, c, o: c < 8 or c >= 24, 18)
    check("a tap and a block", lambda t, c, o: t != (0, 2) and c >= 8, 8)
