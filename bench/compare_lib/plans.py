"""The program bench/plans: does the cost model pick the fastest plan?"""

from __future__ import annotations

import argparse
import json
import re
import sys

from .layers import read_layers
from .main import cpu_sets
from .places import BenchError, convjit_binary
from .progress import progress
from .registry import CONVJIT
from .report import write_json
from .result import geomean
from .tool import ToolFailed, Tool

WORTH_NAMING = 1.10
PLAN = re.compile(r"#conv\.plan<(.*)>")


def plan_fields(text):
    """The fields of a plan's text, in order."""
    match = PLAN.fullmatch(text)
    if not match:
        raise BenchError(f"plan '{text}': valid: #conv.plan<field = value, ...>")
    return dict(part.strip().split(" = ") for part in match.group(1).split(","))


def plan_text(fields):
    return "#conv.plan<" + ", ".join(f"{key} = {value}" for key, value in fields.items()) + ">"


def neighbours(text):
    """Plans that differ from this one in one field: what to try when convjit does not
    list its candidates' plans. Some may be refused."""
    fields = plan_fields(text)
    changes = []
    if "pixels" in fields:
        pixels = int(fields["pixels"])
        changes += [("pixels", value) for value in
                    sorted({pixels - 2, pixels - 1, pixels + 1, pixels + 2, pixels * 2,
                            max(1, pixels // 2)}) if value >= 1]
    if "width" in fields:
        width = int(fields["width"])
        changes += [("width", value) for value in (width // 2, width * 2) if value >= 1]
    if "unroll" in fields:
        changes += [("unroll", value) for value in (1, 2, 4, 8)]
    if "row" in fields:
        changes += [("row", value) for value in ("unrolled", "ranged")]
    if "lanes" in fields:
        changes += [("lanes", value) for value in ("channels", "groups")]
    if "lanes" in fields:
        changes += [("prefetch", value) for value in ("none", "input", "filter", "both")
                    if value != fields.get("prefetch", "none")]
    if "order" in fields:
        changes += [("order", value) for value in ("filter", "block", "input", "batch")]
    plans = []
    for key, value in changes:
        changed = {**fields, key: value}
        for last in ("strip", "stream_from"):  # the last fields in a plan's text
            if last in changed:
                changed[last] = changed.pop(last)
        plans.append(plan_text(changed))
    return [plan for plan in dict.fromkeys(plans) if plan != text]


def candidates(report, guess=False):
    """(name, plan) of the plans to try beside the chosen one: those among the report's
    candidates, and with `guess`, or where it has none, the chosen one's neighbours."""
    pick = report["plan"]
    listed = [(f"candidate {number}", plan)
              for number, item in enumerate(report["candidates"], 1)
              for plan in [item.get("plan", item["name"])] if PLAN.fullmatch(plan)]
    if guess or not listed:
        listed += [("neighbour", plan) for plan in neighbours(pick)]
    first = {plan: name for name, plan in reversed(listed) if plan != pick}
    return [(first[plan], plan) for plan in dict.fromkeys(plan for _, plan in listed)
            if plan != pick]


def measure(tool, layer, rounds, seconds, guess=False):
    """A dict with the milliseconds of every plan, the pick's first. All plans take
    turns; the least time of each counts, since the best of many medians would be the
    luckiest. A plan that is refused is left out."""
    problem, batch = layer.problem, layer.batch
    report = tool.plan(problem, batch)
    plans = [("pick", report["plan"]), *candidates(report, guess)]
    times = {plan: [] for _, plan in plans}
    refused = {}
    for _ in range(rounds):
        for _, plan in plans:
            if plan in refused:
                continue
            try:
                result = tool.bench(problem, batch, len(tool.cpus), seconds, plan)
                times[plan].append(result["ms_min"])
            except ToolFailed as e:
                refused[plan] = str(e)
    if report["plan"] in refused:
        raise ToolFailed(refused[report["plan"]])
    ms = {plan: min(values) for plan, values in times.items() if values}
    best = min(ms, key=ms.get)
    names = dict((plan, name) for name, plan in reversed(plans))
    return {"problem": problem.text, "batch": batch, "pick": report["plan"],
            "pick_ms": ms[report["plan"]], "best": best, "best_ms": ms[best],
            "ratio": ms[report["plan"]] / ms[best], "refused": refused,
            "plans": [{"name": names[plan], "plan": plan, "ms": value}
                      for plan, value in ms.items()]}


def difference(pick, best):
    """The fields in which `best` differs; a default is not in a plan's text."""
    if pick == best:
        return "the pick"
    mine, other = plan_fields(pick), plan_fields(best)
    return ", ".join(f"{key} = {mine.get(key, 'default')} -> {other.get(key, 'default')}"
                     for key in {**mine, **other} if mine.get(key) != other.get(key))


def arguments(argv):
    parser = argparse.ArgumentParser(
        prog="bench/plans", allow_abbrev=False,
        description="Times the plan that convjit picks for each layer against the candidates "
                    "it lists (where it lists no plans, against the pick's neighbours).")
    parser.add_argument("--layers", nargs="+", metavar="FILE", default=[])
    parser.add_argument("--match", default="", metavar="REGEX")
    parser.add_argument("--neighbours", action="store_true",
                        help="try the pick's neighbours beside the candidates, too")
    parser.add_argument("--threads", default="1", help="one number")
    parser.add_argument("--cpus", help="comma-separated CPUs to pin to; default: the last ones")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.05, help="of calls, each turn")
    parser.add_argument("--limit-s", type=float, default=120, help="for one call of convjit")
    parser.add_argument("--convjit", metavar="PATH")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args(argv)
    if options.rounds < 1:
        raise BenchError(f"--rounds={options.rounds}: valid: at least 1")
    return options


def summary(results):
    lines = [f"-- {len(results)} layers; pick over best: geometric mean "
             f"{geomean(r['ratio'] for r in results):.3f}, "
             f"most {max(r['ratio'] for r in results):.2f}"]
    slow = sorted((r for r in results if r["ratio"] > WORTH_NAMING), key=lambda r: -r["ratio"])
    lines.append(f"picks more than {WORTH_NAMING - 1:.0%} slower than the best: {len(slow)}")
    lines += [f"  {r['ratio']:5.2f}  {r['problem']} x {r['batch']}: "
              f"{difference(r['pick'], r['best'])}" for r in slow]
    return "\n".join(lines)


def run(argv):
    options = arguments(argv)
    [cpus, *more] = cpu_sets(options)
    if more:
        raise BenchError(f"--threads={options.threads}: valid: one number")
    tool = Tool(convjit_binary(options.convjit), cpus, options.limit_s)
    layers = read_layers(options.layers, options.match)
    if not layers:
        raise BenchError(f"--match={options.match}: finds no layer")
    print(f"{'pick ms':>10} {'best ms':>10} {'ratio':>6} {'plans':>5}  layer: what the best changes")
    results, failures = [], 0
    with progress(layers) as counted:
        for layer in counted:
            try:
                result = measure(tool, layer, options.rounds, options.seconds,
                                 options.neighbours)
            except ToolFailed as e:
                failures += 1
                counted.write(f"{'failed':>10} {layer.text}: {e}")
                continue
            results.append(result)
            counted.write(f"{result['pick_ms']:10.4f} {result['best_ms']:10.4f} "
                          f"{result['ratio']:6.2f} {len(result['plans']):5}  {layer.text}: "
                          f"{difference(result['pick'], result['best'])}")
    if results:
        print(summary(results))
    if options.json:
        write_json(options.json, {"threads": len(cpus), "program": CONVJIT.name,
                                  "results": results})
    return 1 if failures else 0


def main():
    try:
        return run(sys.argv[1:])
    except BenchError as e:
        print(f"bench/plans: {e}", file=sys.stderr)
        return 2
    except (OSError, json.JSONDecodeError) as e:
        print(f"bench/plans: {e}", file=sys.stderr)
        return 3
