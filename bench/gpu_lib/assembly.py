"""A layer's module through ptxas, and its main loops through nvdisasm."""

import dataclasses
import os
import pathlib
import re
import shutil
import site
import subprocess


def find(tool):
    """NVIDIA's `tool`: the one that a variable names, of a wheel, in the path, or of a toolkit."""
    if named := os.environ.get(tool.upper()):
        return named
    root = pathlib.Path(__file__).resolve().parents[2]
    places = [pathlib.Path(folder) for folder in site.getsitepackages()]
    places += root.glob("build/venv/lib/python3*/site-packages")
    for place in places:
        for found in place.glob(f"nvidia/cu*/bin/{tool}"):
            return str(found)
    toolkit = pathlib.Path("/usr/local/cuda/bin") / tool
    return shutil.which(tool) or (str(toolkit) if toolkit.exists() else None)


@dataclasses.dataclass
class Entry:
    """What `ptxas -v` says of one entry."""

    registers: int
    stack: int
    spills: int  # bytes stored and loaded


@dataclasses.dataclass
class Loop:
    """An innermost loop of machine code."""

    lines: list

    def count(self, pattern):
        """Instructions that are carried out. (Before copies sm_80 has loads that never are.)"""
        return sum(
            bool(re.search(rf"\b{pattern}\b", line)) for line in self.lines if "@!PT" not in line
        )

    @property
    def steps(self):
        """Steps of the reduction, which ptxas may have unrolled, have a barrier each."""
        return self.count(r"BAR\.SYNC\S*")

    @property
    def instructions(self):
        return sum(bool(re.search(r"/\*[0-9a-f]{4,}\*/", line)) for line in self.lines)

    @property
    def spills(self):
        return self.count(r"(LDL|STL)(\.\S+)?")


class AssemblyError(Exception):
    """ptxas refused a module."""


def assemble(ptx, chip, folder):
    """Writes folder/kernel.cubin. Returns its path and an Entry for each entry by name."""
    source, cubin = folder / "kernel.ptx", folder / "kernel.cubin"
    source.write_bytes(ptx)
    done = subprocess.run(
        [find("ptxas"), f"-arch={chip}", "-v", source, "-o", cubin],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stdout.strip() or "it says nothing"
        raise AssemblyError(f"ptxas failed with status {done.returncode}: {said}")
    entries = {}
    for name, stack, stores, loads, registers in re.findall(
        r"Function properties for (\w+)\s+"
        r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads\s+"
        r"ptxas info\s*: Used (\d+) registers",
        done.stdout,
    ):
        entries[name] = Entry(int(registers), int(stack), int(stores) + int(loads))
    return cubin, entries


def loops(cubin, function):
    """The innermost loops of a function, in order."""
    text = subprocess.run(
        [find("nvdisasm"), "-c", cubin], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    body = re.search(rf"\.text\.{function}:(.*?)(?=\n\.text\.|\Z)", text, re.S)
    lines = [line.strip() for line in body.group(1).splitlines()]
    labels = {line[:-1]: i for i, line in enumerate(lines) if re.match(r"\.L\w+:", line)}
    found = []
    for i, line in enumerate(lines):
        branch = re.search(r"\bBRA\b.*?\((\.L\w+)\)", line)
        if branch and labels.get(branch.group(1), i) < i:
            found.append((labels[branch.group(1)], i + 1))
    return [
        Loop(lines[a:b])
        for a, b in found
        if not any(a <= c and d <= b for c, d in found if (c, d) != (a, b))
    ]


def products(plan, size):
    """The instruction that multiplies, by schedule, and how many a step of a thread must have.

    `plan` has the fields of the plan's attribute, `size` is the bytes of an element. A tensor
    core's instruction multiplies two chunks of 16 bytes of 16 pixels and of 8 channels.
    """
    down, across, depth = (
        int(plan[name]) for name in ("thread_pixels", "thread_channels", "depth")
    )
    if plan["schedule"] == "mma":
        return r"HMMA\S*", depth * size // 32 * (down // 2) * (across // 2)
    return (r"DFMA\S*" if size == 8 else r"FFMA\S*"), depth * down * across
