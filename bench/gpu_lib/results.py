"""Results of layers on a GPU as text, JSON and CSV."""

from __future__ import annotations

import csv
import dataclasses
import json

from .cudnn import VARIANTS

HEADER = (f"{'ms':>9} {'GFLOP/s':>9} {'of peak':>7} {'predicted':>9} {'x':>5} "
          + " ".join(f"{name:>13}" for name in VARIANTS)
          + f" {'ratio':>6}  {'checked':<9} layer")


@dataclasses.dataclass
class Result:
    """One layer in one mode. Times are milliseconds; None where there is none, and
    `errors` says why, by "convjit", "prediction" and the variants of cuDNN."""

    problem: str
    batch: int
    mode: str
    checked: str = ""
    """ok, not asked for (""), or what differs."""
    ms: float | None = None
    gflops: float | None = None
    fraction_of_peak: float | None = None
    plan: str = ""
    predicted_ms: float | None = None
    bound_by: str = ""
    cudnn: dict = dataclasses.field(default_factory=dict)
    errors: dict = dataclasses.field(default_factory=dict)

    @property
    def over_prediction(self):
        """The measured time over the predicted one."""
        return self.ms / self.predicted_ms if self.ms and self.predicted_ms else None

    @property
    def best_cudnn(self):
        return min((ms for ms in self.cudnn.values() if ms), default=None)

    @property
    def ratio(self):
        """cuDNN's best layout over ours: above 1, convjit is faster."""
        best = self.best_cudnn
        return best / self.ms if best and self.ms else None

    @property
    def failed(self):
        return self.checked not in ("", "ok") or "convjit" in self.errors

    def as_json(self):
        return {**dataclasses.asdict(self), "measured_over_predicted": self.over_prediction,
                "best_cudnn_ms": self.best_cudnn, "ratio": self.ratio}


def _number(value, width, digits):
    return f"{'-':>{width}}" if value is None else f"{value:{width}.{digits}f}"


def row(result):
    """One line of the table under HEADER, and one for each thing that is missing."""
    name = result.problem + (f" x {result.batch}" if result.batch != 1 else "")
    percent = None if result.fraction_of_peak is None else 100 * result.fraction_of_peak
    checked = {"": "-", "ok": "ok"}.get(result.checked, "WRONG")
    line = " ".join([
        _number(result.ms, 9, 4), _number(result.gflops, 9, 0), _number(percent, 6, 1) + "%",
        _number(result.predicted_ms, 9, 4), _number(result.over_prediction, 5, 2),
        *(_number(result.cudnn.get(variant), 13, 4) for variant in VARIANTS),
        _number(result.ratio, 6, 2), "", f"{checked:<9}", f"{name} ({result.mode})"])
    if checked == "WRONG":
        line += f"\n    wrong: {result.checked}"
    for what, why in result.errors.items():
        line += f"\n    {what}: {why}"
    return line


def summary(results):
    ratios = sorted(r.ratio for r in results if r.ratio)
    wrong = sum(r.failed for r in results)
    text = f"{len(results)} results, {wrong} wrong or failed"
    if ratios:
        faster = sum(ratio > 1 for ratio in ratios)
        text += (f"; faster than cuDNN's best layout in {faster} of {len(ratios)}, median "
                 f"{ratios[len(ratios) // 2]:.2f} x")
    return text


def write_json(path, machine, results):
    with open(path, "w", encoding="utf-8") as file:
        json.dump({**machine, "results": [r.as_json() for r in results]}, file, indent=1)
        file.write("\n")


def write_csv(path, results):
    columns = ["problem", "batch", "mode", "checked", "ms", "gflops", "fraction_of_peak",
               "predicted_ms", "measured_over_predicted", "bound_by", *VARIANTS, "ratio", "plan",
               "errors"]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for result in results:
            cells = result.as_json()
            cells.update({variant: result.cudnn.get(variant) for variant in VARIANTS})
            cells["errors"] = "; ".join(f"{k}: {v}" for k, v in result.errors.items())
            writer.writerow({column: cells[column] for column in columns})
