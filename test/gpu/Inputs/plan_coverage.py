"""Which kinds of kernels random cases on a GPU have reached: a table, then what is missing.

Reads what `convjit verify --device=emulated --random N --json` says. With 1,000 cases and
more each kind of tile is wanted, with fewer only each schedule of each type.
"""

import json
import re
import sys

told = json.load(sys.stdin)
OPERATIONS = ["layer", "input gradient", "weight gradient"]
TYPES = ["f32", "f16", "bf16", "f64"]
SCHEDULES = ["direct", "simt", "mma"]
VECTORS = {"f32": [1, 2, 4], "f16": [1, 2, 4, 8], "bf16": [1, 2, 4, 8], "f64": [1, 2]}


def kinds(text):
    """The kinds that a kernel is of, as `verify` names it."""
    dtype, operation, last, plan = re.fullmatch(
        r"(\w+) (.*?), (\w+) last, (#conv\.gpu_plan<.*>)", text
    ).groups()
    field = dict(re.findall(r"(\w+) = (\[.*?\]|\w+)", plan))
    schedule, vector = field["schedule"], int(field["vector"])
    name = f"{operation}, {dtype}, {schedule}"
    yield name
    if field.get("pack_input") == "true":
        yield f"{dtype}, {schedule}, input packed"
        yield f"{operation}, input packed, {last} last"
        if int(field.get("split", 1)) > 1:
            yield f"{schedule}, input packed and in parts"
        last = "channels"  # in what the kernel reads
    if field.get("mixed") == "true":
        yield f"{dtype}, {schedule}, several taps a step"
    if int(field.get("split", 1)) > 1:
        yield f"{dtype}, {schedule}, in parts"
    if schedule == "direct" and vector > 1:
        yield "direct, 16 bytes of neighbours"
    if schedule != "mma":
        yield f"{dtype}, {schedule}, vector {vector}"
        yield f"{dtype}, {schedule}, {last} last"
        return
    # As lib/gpu's hasProductRows has it.
    products = dtype != "f32" and (last != "channels" or vector == 1)
    tiles = f"{dtype}, mma, a {'product' if products else 'pixel'} a row, {last} last"
    yield f"{tiles}, vector {vector}"
    if field.get("mixed") == "true":
        yield f"{tiles}, several taps a step"
    yield f"{dtype}, mma, {field['stages']} stages"


wanted = {
    f"{operation}, {dtype}, {schedule}"
    for operation in OPERATIONS
    for dtype in TYPES
    for schedule in SCHEDULES
    if (dtype, schedule) != ("f64", "mma")
}
if told["cases"] >= 1000:
    wanted |= {f"{s}, input packed and in parts" for s in ("simt", "mma")}
    wanted |= {f"{operation}, input packed, {last} last" for operation in OPERATIONS
               for last in ("pixels", "images")
               if (operation, last) != ("input gradient", "images")}
    for dtype in TYPES:
        wanted |= {f"{dtype}, simt, vector {vector}" for vector in VECTORS[dtype][:3]}
        wanted |= {f"{dtype}, direct, vector 1", "direct, 16 bytes of neighbours"}
        wanted |= {f"{dtype}, {s}, {last} last" for s in ("direct", "simt")
                   for last in ("channels", "images", "pixels")}
        wanted |= {f"{dtype}, simt, several taps a step"}
        wanted |= {f"{dtype}, simt, in parts"}
        wanted |= {f"{dtype}, {s}, input packed" for s in SCHEDULES if (dtype, s) != ("f64", "mma")}
        if dtype == "f64":
            continue
        wanted |= {f"{dtype}, mma, in parts"}
        wanted |= {f"{dtype}, mma, {stages} stages" for stages in (3, 4, 5)}
        wide = VECTORS[dtype][1:]
        pixel, product = (f"{dtype}, mma, a {row} a row" for row in ("pixel", "product"))
        wanted |= {f"{pixel}, channels last, vector {vector}" for vector in wide}
        wanted |= {f"{pixel}, channels last, several taps a step"}
        single = pixel if dtype == "f32" else product
        for last in ("channels", "images", "pixels"):
            wanted |= {f"{single}, {last} last, vector 1", f"{single}, {last} last, several taps a step"}
        if dtype != "f32":
            wanted |= {f"{product}, images last, vector {vector}" for vector in wide}

reached = {}
for text, count in told["kernels"].items():
    for kind in kinds(text):
        reached[kind] = reached.get(kind, 0) + count
for operation in OPERATIONS:
    for dtype in TYPES:
        print(f"{operation}, {dtype}:", ", ".join(
            f"{reached.get(f'{operation}, {dtype}, {schedule}', 0)} {schedule}"
            for schedule in SCHEDULES))
for kind in sorted(set(reached) & wanted if told["cases"] >= 1000 else []):
    print(f"{reached[kind]:5} {kind}")
missing = sorted(wanted - set(reached))
for kind in missing:
    print(f"none is {kind}")
print(f"{sum(told['kernels'].values())} kernels, {len(told['kernels'])} different,"
      f" {len(missing)} kinds missing")
sys.exit(1 if missing else 0)
