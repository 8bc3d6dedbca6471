"""One layer's predictions, bank conflicts and machine code, as a row; rows, as tables."""

import concurrent.futures
import csv
import json
import pathlib
import re
import statistics
import subprocess
import tempfile

from . import assembly

IMAGES = 8
"""What predictions are made for."""

UNITS = ["multiply-adds", "instructions", "shared memory", "cache"]
SIZES = {"f64": 8, "f32": 4, "f16": 2, "bf16": 2}


def small(problem, field):
    """The layer as small as lets the plan of these fields do what it does in the large one.

    Few pixels, and of channels a step and what is left after whole steps: a step's accesses
    to shared memory are the same for all. Groups keep their channels.
    """
    cuts = "g=" not in problem.replace("bg=", "g=")
    gradient = "grad=weight" in problem
    depth, pixels = int(field["depth"]), int(field["box"].strip("[]").split(", ")[0])

    def fewer(channels):
        if gradient:  # images of the plan's box
            return min(channels, max(pixels, 8))
        return channels % depth + depth if channels > 2 * depth else channels

    def cut(match):
        sizes = [int(size) for size in match[1].split("x")]
        last = "channels_first" not in problem
        channels = sizes.pop() if last else sizes.pop(0)
        if cuts:
            channels = fewer(channels)
        sizes = [min(size, 5 if len(sizes) == 3 else 9) for size in sizes]
        sizes = [*sizes, channels] if last else [channels, *sizes]
        return "in=" + "x".join(str(size) for size in sizes)

    problem = re.sub(r"\bin=([0-9x]+)", cut, problem)
    if cuts:
        most = int(field["channels"])
        problem = re.sub(r"\boc=(\d+)", lambda of: f"oc={min(int(of[1]), most)}", problem)
    return problem


def channels_first(problem):
    """The same layer with channels first."""
    if "channels_first" in problem:
        return problem
    problem = problem.replace(",layout=channels_last", "")

    def turn(match):
        *sizes, channels = match[1].split("x")
        return "in=" + "x".join([channels, *sizes])

    return re.sub(r"\bin=([0-9x]+)", turn, problem) + ",layout=channels_first"


def size_of(problem):
    dtype = re.search(r"\bdtype=(\w+)", problem)
    return SIZES[dtype[1] if dtype else "f32"]


class Refused(Exception):
    """No row: why, as convjit says it."""


class Reporter:
    """Rows of layers on one chip."""

    def __init__(self, convjit, chip, dtype=None, plan=None, conflicts=False, assemble=False,
                 channels_first=False):
        self.convjit = convjit
        self.chip = chip
        self.target = ["--target=nvptx", f"--target-cpu={chip}"]
        self.dtype = dtype
        self.plan = plan
        self.conflicts = conflicts
        self.assemble = assemble
        self.channels_first = channels_first

    def run(self, *arguments):
        done = subprocess.run(
            [self.convjit, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False
        )
        return done.returncode, done.stdout, done.stderr.decode(errors="replace")

    def row(self, problem):
        """What is known of the layer, by name."""
        if self.dtype and "dtype=" not in problem:
            problem += f",dtype={self.dtype}"
        if self.channels_first:
            problem = channels_first(problem)
        asked = ["--plan", self.plan] if self.plan else []
        status, text, error = self.run(
            "plan", problem, f"--batch={IMAGES}", "--json", *self.target, *asked
        )
        if status:
            raise Refused(error.strip())
        told = json.loads(text)
        row = {"layer": problem, "GFLOP": told["flops"] * 1e-9, "MB": told["bytes"] * 1e-6}
        field = dict(re.findall(r"(\w+) = (\[.*?\]|\w+)", told["plan"]))
        row["schedule"] = field["schedule"]
        row["box"] = field["box"].strip("[]").replace(", ", "x")
        for name in ("channels", "depth", "thread_pixels", "thread_channels", "stages", "vector"):
            row[name] = int(field[name])
        row["mixed"] = field.get("mixed") == "true"
        row["split"] = int(field.get("split", 1))
        row["pack_input"] = field.get("pack_input") == "true"
        main = next(one for one in told["launches"] if one["entry"].endswith("_kernel"))
        row["shared bytes"] = main["shared_bytes"]
        row["threads"] = main["threads"]
        row.update(prediction(told))
        row["us in place"] = in_place(told, asked=bool(self.plan))
        row["plan"] = told["plan"]
        if self.conflicts:
            row.update(self.measured(problem, told["plan"], field))
        if self.assemble:
            row.update(self.assembled(problem, told["plan"], field))
        return row

    def measured(self, problem, plan, field):
        """Passes through shared memory's banks, and sectors of global memory, of a step."""
        if field["schedule"] == "direct":
            return {"bank conflicts": "none"}  # nor any shared memory
        # The images of a weight's gradient are part of its kernel.
        images = IMAGES if "grad=weight" in problem else 1
        status, _, said = self.run(
            "verify", small(problem, field), "--device=emulated:steps", f"--batch={images}",
            "--plan", plan,
        )
        found = re.search(
            r"convjit_kernel: \d+ steps of \d+ blocks, of each (\S+) passes of shared memory "
            r"\((\S+) would do\), (\S+) sectors of global memory \((\S+) would do\)",
            said,
        )
        # A gradient is run in a second form, too, which need not have that plan.
        if status and (found is None or status == 1):
            return {"bank conflicts": "?"}
        if found is None:
            return {"bank conflicts": "none"}  # a loop of one step, unrolled
        names = ["passes", "fewest passes", "sectors", "fewest sectors"]
        row = {name: float(value) for name, value in zip(names, found.groups(), strict=True)}
        extra = row["passes"] / row["fewest passes"] - 1
        row["bank conflicts"] = f"{100 * extra:.3g} %" if extra else "none"
        return row

    def assembled(self, problem, plan, field):
        """Registers and spills of the kernel's entry, and what its main loop is made of.

        Without nvdisasm the loop is left out.
        """
        status, ptx, error = self.run(
            "emit", problem, f"--batch={IMAGES}", "--emit=ptx", "--plan", plan, *self.target
        )
        if status:
            raise Refused(error.strip())
        with tempfile.TemporaryDirectory() as folder:
            try:
                cubin, entries = assembly.assemble(ptx, self.chip, pathlib.Path(folder))
            except assembly.AssemblyError as error:
                raise Refused(str(error)) from error
            kernel = next(name for name in entries if name.endswith("_kernel"))
            row = {
                "registers": entries[kernel].registers,
                "spill bytes": sum(entry.spills for entry in entries.values()),
            }
            if assembly.find("nvdisasm") is None:
                return row
            loops = assembly.loops(cubin, kernel)
        name, ideal = assembly.products(field, size_of(problem))
        # Of a block inside the image, and of one at its border. A loop that is
        # carried out once is none.
        main = [loop for loop in loops if loop.count(name)]
        steps = sum(loop.steps for loop in main) or len(main)
        row["loops"] = len(main)
        row["spills in loop"] = sum(loop.spills for loop in main)
        if main and field["schedule"] != "direct":
            row["products"] = sum(loop.count(name) for loop in main) / steps
            row["ideal products"] = ideal
            # Those of a block inside the image are the fewer.
            row["instructions a step"] = min(
                loop.instructions / max(loop.steps, 1) for loop in main
            )
        return row


def prediction(told):
    """What the reason of the chosen plan says."""
    reason = next(one["reason"] for one in told["candidates"] if one["chosen"])
    said = re.match(
        r"(?P<us>\S+) us .* bound by (?P<bound>.*?); (?P<roof>\d+) % of the roof; "
        r"(?P<registers>\d+) registers a thread, (?P<resident>\d+) blocks an SM; "
        r"cycles of a step: (?P<step>.*?); (?P<memory>\S+) us of memory"
        r"(?:; (?P<packing>\S+) us of packing the input)?",
        reason,
    )
    row = {
        "us": float(said["us"]),
        "bound by": said["bound"],
        "% of roof": int(said["roof"]),
        "registers expected": int(said["registers"]),
        "blocks an SM": int(said["resident"]),
        "us of memory": float(said["memory"]),
        "us of packing": float(said["packing"] or 0),
    }
    for part in said["step"].split(", "):
        cycles, unit = part.split(" ", 1)
        row[f"cycles: {unit}"] = float(cycles)
    return row


def in_place(told, asked):
    """Microseconds of the best plan that reads the input as it is: of the chosen one's schedule,
    where it was `asked` for."""
    schedule = re.search(r"schedule = \w+", told["plan"])[0]
    return min(
        float(one["reason"].split()[0])
        for one in told["candidates"]
        if " us predicted" in one["reason"] and "pack_input" not in one["name"]
        and (schedule in one["name"] if asked else "only where a plan" not in one["reason"])
    )


def shown_plan(row):
    text = f"{row['schedule']} {row['box']} by {row['channels']}, {row['stages']} stages"
    text += f", split {row['split']}" if row["split"] > 1 else ""
    return text + (", input packed" if row["pack_input"] else "")


def cells(row):
    """A row of the table of layers: head and text of each cell."""
    made = {
        "layer": f"`{row['layer']}`",
        "GFLOP": f"{row['GFLOP']:.3g}",
        "MB": f"{row['MB']:.3g}",
        "plan": shown_plan(row),
        "us": f"{row['us']:.3g}",
        "bound by": row["bound by"],
        "of the roof": f"{row['% of roof']} %",
    }
    if "bank conflicts" in row:
        made["bank conflicts"] = row["bank conflicts"]
    if "registers" in row:
        made["registers"] = str(row["registers"])
        made["spills"] = str(row["spill bytes"])
        made["shared"] = str(row["shared bytes"])
    if "loops" in row:
        has = "products" in row
        made["products a step"] = (
            f"{row['products']:.4g} of {row['ideal products']}" if has else "-"
        )
        made["instructions a step"] = f"{row['instructions a step']:.4g}" if has else "-"
    return made


def spread(values):
    values = list(values)
    if not values:
        return "-"
    return f"{statistics.median(values):.3g} / {max(values):.3g}"


def summary(name, rows, refused):
    """A row of the table of lists."""
    made = {
        "list": name,
        "layers": str(len(rows)) + (f" ({refused} refused)" if refused else ""),
        "direct / simt / mma": " / ".join(
            str(sum(row["schedule"] == schedule for row in rows))
            for schedule in ("direct", "simt", "mma")
        ),
        "ms": f"{sum(row['us'] for row in rows) * 1e-3:.3g}",
        "% of roof: median, least": f"{statistics.median(row['% of roof'] for row in rows):.0f}"
        f", {min(row['% of roof'] for row in rows)}",
    }
    packed = sum(row["pack_input"] for row in rows)
    if packed:
        made["inputs packed"] = str(packed)
        made["ms without"] = f"{sum(row['us in place'] for row in rows) * 1e-3:.3g}"
    if any("bank conflicts" in row for row in rows):
        made["bank conflicts"] = str(sum(row["bank conflicts"] != "none" for row in rows))
    if any("registers" in row for row in rows):
        made["registers: median / most"] = spread(row["registers"] for row in rows)
        made["spill bytes"] = str(sum(row["spill bytes"] for row in rows))
        made["shared KB: median / most"] = spread(row["shared bytes"] / 1024 for row in rows)
        stages = sorted({row["stages"] for row in rows})
        made["stages"] = f"{stages[0]} to {stages[-1]}"
    if any("loops" in row for row in rows):
        looped = [row for row in rows if "products" in row]
        # Fewer where the last channels of a tile are none.
        exact = sum(row["products"] <= row["ideal products"] for row in looped)
        made["products at most ideal"] = f"{exact} of {len(looped)}"
        made["spills in loops"] = str(sum(row["spills in loop"] for row in rows))
    return made


def line(values):
    return "| " + " | ".join(values) + " |"


def head(names):
    return line(names) + "\n|" + "---|" * len(names)


def problems_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return [row["problem"] for row in csv.DictReader(file)]


def write_csv(path, rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


def rows_of(reporter, problems, jobs):
    """A row, or why there is none, of each layer in order; `jobs` at once."""

    def row(problem):
        try:
            return reporter.row(problem)
        except Refused as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        yield from zip(problems, pool.map(row, problems), strict=True)
