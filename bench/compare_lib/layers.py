"""Lists of layers: CSV files with the columns problem, batch, network, layer, source."""

from __future__ import annotations

import csv
import dataclasses
import pathlib
import re

from .places import LAYERS, BenchError
from .problem import Problem, ProblemError, parse


@dataclasses.dataclass(frozen=True)
class Layer:
    """One line of a list. `list` is the file's name without .csv."""

    problem: Problem
    batch: int
    network: str
    layer: str
    source: str
    list: str
    unseen: bool

    @property
    def text(self):
        return self.problem.text + (f" x {self.batch}" if self.batch != 1 else "")


def default_lists():
    """All lists of the folder, then the unseen ones, which are reported apart."""
    return sorted(LAYERS.glob("*.csv")) + sorted(LAYERS.glob("unseen/*.csv"))


def read_list(path):
    path = pathlib.Path(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if "problem" not in (rows.fieldnames or []):
                raise BenchError(f"--layers={path}: line 1 has no column 'problem'; valid: a "
                                 "CSV file with the columns problem and batch")
            return [_layer(path, rows.line_num, row) for row in rows]
    except OSError as e:
        raise BenchError(f"--layers={path}: {e.strerror}") from None


def _layer(path, line, row):
    where = f"--layers={path}: line {line}: "
    batch = row.get("batch") or "1"
    if not batch.isdigit() or int(batch) < 1:
        raise BenchError(f"{where}batch={batch}: valid: at least 1")
    try:
        problem = parse(row["problem"])
    except ProblemError as e:
        raise BenchError(where + str(e)) from None
    return Layer(problem, int(batch), row.get("network") or "", row.get("layer") or "",
                 row.get("source") or "", path.stem, path.parent.name == "unseen")


def read_layers(paths, match=""):
    """The layers of all lists whose problem, network or layer `match` finds."""
    try:
        pattern = re.compile(match)
    except re.error as e:
        raise BenchError(f"--match={match}: {e}; valid: a regular expression") from None
    layers = [layer for path in paths or default_lists() for layer in read_list(path)]
    return [layer for layer in layers
            if pattern.search(" ".join([layer.text, layer.network, layer.layer, layer.list]))]
