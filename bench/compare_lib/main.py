"""The program bench/compare."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys

from . import report
from .check import check_layer
from .layers import read_layers
from .measure import Effort, Outcome, measure_layer, start_workers
from .places import LAYERS, BenchError, convjit_binary
from .realtime import realtime
from .progress import progress
from .registry import CONVJIT, choose_peers
from .result import Result
from .roofs import measure_roofs, roof_of
from .workers import Worker


def arguments(argv):
    parser = argparse.ArgumentParser(
        prog="bench/compare", allow_abbrev=False,
        description="Times convjit and its peers on lists of layers, taking turns.",
        epilog="Exit status: 0 good, 1 a result was wrong or convjit failed on a layer, "
               "2 bad usage, 3 the environment.")
    parser.add_argument("--layers", nargs="+", metavar="FILE", default=[],
                        help="lists of layers; default: all of bench/layers, the unseen ones "
                             "in a section of their own")
    parser.add_argument("--match", default="", metavar="REGEX",
                        help="only layers whose problem, network, layer or list it finds")
    parser.add_argument("--peers", default="*", help="comma-separated names, or none")
    parser.add_argument("--threads", default="1", help="comma-separated numbers of threads")
    parser.add_argument("--cpus", help="comma-separated CPUs to pin to; default: the last ones")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each peer a layer")
    parser.add_argument("--seconds", type=float, default=0.1, help="of calls in each turn")
    parser.add_argument("--limit-s", type=float, default=60,
                        help="seconds one peer may take for one layer, compilation included")
    parser.add_argument("--statistic", choices=("median", "min"), default="median",
                        help="over the calls; min where other work disturbs")
    parser.add_argument("--realtime", action="store_true",
                        help="calls go before all other work on their CPUs, which this"
                             " needs the right to (SCHED_FIFO)")
    parser.add_argument("--check", action="store_true",
                        help="compare every peer's result with convjit's before timing it")
    parser.add_argument("--check-only", action="store_true",
                        help="no timing; default list: bench/layers/check")
    parser.add_argument("--convjit", metavar="PATH", help="binary; default: the release build's")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--csv", metavar="FILE")
    parser.add_argument("--svg", metavar="FILE", help="a roofline; with several numbers of "
                        "threads, one file each: NAME-2.svg")
    options = parser.parse_args(argv)
    if options.rounds < 1:
        raise BenchError(f"--rounds={options.rounds}: valid: at least 1")
    if not (options.seconds > 0 and options.limit_s > 0):
        raise BenchError("--seconds and --limit-s: valid: above 0")
    if options.realtime:
        try:
            with realtime():
                pass
        except OSError as e:
            raise BenchError(f"--realtime: {e.strerror}; valid: for users who may, as root") from None
    return options


def cpu_sets(options):
    """For each number of threads, the CPUs to pin to."""
    allowed = sorted(os.sched_getaffinity(0))
    try:
        wanted = [int(cpu) for cpu in options.cpus.split(",")] if options.cpus else allowed[::-1]
        counts = [int(count) for count in options.threads.split(",")]
    except ValueError:
        raise BenchError("--threads and --cpus: valid: numbers with commas between") from None
    if not set(wanted) <= set(allowed):
        raise BenchError(f"--cpus={options.cpus}: valid: of {allowed}")
    for count in counts:
        if not 1 <= count <= len(wanted):
            raise BenchError(f"--threads={count}: valid: 1 to {len(wanted)}, the CPUs there are")
    return [sorted(wanted[:count]) for count in counts]


def warn_of_other_work(section):
    """Times are of a machine that does nothing else; says so where it does."""
    section["load_average"] = os.getloadavg()[0]
    if section["load_average"] > 0.5:
        print(f"warning: other work is running (load average {section['load_average']:.1f}); "
              "times will be too long; --statistic min suffers least", flush=True)


def check_one(layer, workers, options):
    """Outcomes with what is wrong, and lines about all of them."""
    outcomes = check_layer(layer, workers[0], workers[1:], options.limit_s)
    lines = [f"check {layer.text}"]
    for name, outcome in outcomes.items():
        what = outcome.status
        if "difference" in outcome.details:
            what += f", difference {outcome.details['difference']:.1g}"
        lines.append(f"  {name:<23} {what}" + (f": {outcome.text}" if outcome.text else "")
                     + (f" ({outcome.note})" if outcome.note else ""))
    return outcomes, "\n".join(lines)


def run_section(cpus, layers, peers, options, convjit):
    """Everything with one number of threads: a dict with roofs, versions, missing
    peers, results. Prints as it goes."""
    section = {"threads": len(cpus), "cpus": cpus, "missing": {}, "results": [], "wrong": 0}

    def missing(peer, why):
        section["missing"][peer.name] = why
        print(f"skipped {peer.name}: {why}", flush=True)

    if not options.check_only:
        warn_of_other_work(section)
        section["roofs"] = measure_roofs(cpus)
        print(report.roofs_text(section["roofs"]))
    workers = start_workers([Worker(peer, convjit, cpus) for peer in [CONVJIT, *peers]], missing)
    try:
        if not workers or workers[0].peer is not CONVJIT:
            raise BenchError(f"--convjit={convjit}: {section['missing'][CONVJIT.name]}")
        section["versions"] = {worker.peer.name: worker.version for worker in workers}
        print(", ".join(f"{name} {text}" for name, text in section["versions"].items()))
        if not options.check_only:
            print(report.HEADER, flush=True)
        with progress(layers) as counted:
            for layer in counted:
                _one_layer(layer, workers, section, options, counted.write)
    except KeyboardInterrupt:
        print("interrupted; what was measured so far:", flush=True)
        section["interrupted"] = True
    finally:
        for worker in workers:
            worker.stop()
    return section


def _one_layer(layer, workers, section, options, write):
    outcomes = None
    if options.check or options.check_only:
        outcomes, text = check_one(layer, workers, options)
        section["wrong"] += sum(o.status == "wrong" for o in outcomes.values())
        section["wrong"] += not outcomes[CONVJIT.name].status == "ok"
        write(text)
        if options.check_only:
            return
        outcomes = {name: outcome if outcome.status != "ok" else Outcome(details=outcome.details)
                    for name, outcome in outcomes.items()}
    effort = Effort(options.rounds, options.seconds, options.limit_s, options.realtime)
    outcomes = measure_layer(layer, workers, effort, outcomes)
    roof = roof_of(section["roofs"], layer.problem, layer.batch)
    result = Result(layer, roof, outcomes, options.statistic)
    section["results"].append(result)
    write(report.row(result))


def print_summaries(section):
    seen = [r for r in section["results"] if not r.layer.unseen]
    unseen = [r for r in section["results"] if r.layer.unseen]
    for title, results in (("layers", seen), ("unseen layers", unseen)):
        if results:
            print(report.summary(f"{title}, {section['threads']} thread(s)", results))


def document(sections, options):
    """What --json writes; units are in the names."""
    return {
        "machine": {"system": platform.platform(), "cpu": cpu_name()},
        "statistic": options.statistic, "rounds": options.rounds, "seconds": options.seconds,
        "sections": [{**section, "results": [r.as_json() for r in section["results"]]}
                     for section in sections]}


def cpu_name():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def write_files(sections, options):
    if options.json:
        report.write_json(options.json, document(sections, options))
    if options.csv:
        report.write_csv(options.csv, sections)
    if options.svg:
        from .roofline import draw
        for section in sections:
            name, dot, end = options.svg.rpartition(".")
            several = len(sections) > 1 and section["threads"] > 1
            draw(section, f"{name}-{section['threads']}{dot}{end}" if several else options.svg)


def run(argv):
    options = arguments(argv)
    convjit = convjit_binary(options.convjit)
    peers = choose_peers(options.peers)
    lists = options.layers
    if options.check_only and not lists:
        lists = sorted((LAYERS / "check").glob("*.csv"))
    layers = read_layers(lists, options.match)
    if not layers:
        raise BenchError(f"--match={options.match}: finds no layer")
    sections = []
    for cpus in cpu_sets(options):
        sections.append(run_section(cpus, layers, peers, options, convjit))
        print_summaries(sections[-1])
        if sections[-1].get("interrupted"):
            break
    if not options.check_only:
        write_files(sections, options)
    wrong = sum(section["wrong"] for section in sections)
    failed = sum(not r.ours.has_time for section in sections for r in section["results"])
    if wrong:
        print(f"{wrong} wrong result(s)")
    return 1 if wrong or failed else 0


def main():
    # Both end the run with a summary and the files of what was measured.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        return run(sys.argv[1:])
    except BenchError as e:
        print(f"bench/compare: {e}", file=sys.stderr)
        return 2
    except OSError as e:
        print(f"bench/compare: {e}", file=sys.stderr)
        return 3
