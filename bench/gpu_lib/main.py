"""bench/gpu_compare."""

from __future__ import annotations

import argparse
import sys

from compare_lib.layers import read_layers
from compare_lib.places import LAYERS, BenchError, convjit_binary
from compare_lib.problem import ProblemError, parse
from compare_lib.tool import ToolFailed

from . import results as report
from .convjit import Convjit
from .cudnn import VARIANTS, Cudnn, PeerFailed
from .modes import MODES, read_modes

DESCRIPTION = """Verifies layers on a GPU against the reference on the CPU, times them there,
and times cuDNN through PyTorch on the same layers, channels last and contiguous; with the cost
model's predictions beside. For machines with an NVIDIA GPU: needs nothing but its driver,
convjit, and a Python with torch built for CUDA.

    bench/gpu_compare
    bench/gpu_compare --match DCGAN --modes bf16 --json dcgan.json
    bench/gpu_compare "conv2d:in=56x56x64,oc=64,k=3" --batch 32 --without-torch

Exit codes: 0 good, 1 something differs or failed, 2 no GPU, no torch for it, or bad usage."""


def arguments(argv):
    parser = argparse.ArgumentParser(
        prog="bench/gpu_compare", description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", help="layers, in single precision")
    parser.add_argument("--layers", action="append", default=[],
                        help="a list of layers; without any problem bench/layers/plain.csv")
    parser.add_argument("--match", default="", help="only layers that this expression finds")
    parser.add_argument("--batch", type=int, default=8,
                        help="images of every layer (8, which predictions are for)")
    parser.add_argument("--check-batch", type=int, default=1,
                        help="images to verify, which the CPU has to compute, too; 0: none")
    parser.add_argument("--modes", default=",".join(MODES),
                        help="f32 (tf32 off), tf32, f16, bf16, with commas between")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--seconds", type=float, default=0.2, help="of calls for each time")
    parser.add_argument("--without-torch", action="store_true", help="convjit alone")
    parser.add_argument("--json")
    parser.add_argument("--csv")
    parser.add_argument("--convjit", help="the program, instead of build/release/bin/convjit")
    options = parser.parse_args(argv)
    if options.batch < 1:
        raise BenchError(f"--batch={options.batch}: valid: at least 1")
    if options.check_batch < 0:
        raise BenchError(f"--check-batch={options.check_batch}: valid: at least 0")
    return options


def problems_of(options):
    texts = []
    for text in options.problems:
        try:
            texts.append(parse(text).text)
        except ProblemError as e:
            raise BenchError(f"'{text}': {e}") from None
    if options.layers or not texts:
        texts += [layer.problem.text
                  for layer in read_layers(options.layers or [LAYERS / "plain.csv"],
                                           options.match)]
    texts = list(dict.fromkeys(text for text in texts if parse(text).dtype == "f32"))
    if not texts:
        raise BenchError(f"--match={options.match}: finds no layer in single precision")
    return texts


def measure(convjit, target, peer, text, mode, options):
    """One line. What fails is in it; the rest is measured all the same."""
    problem = mode.problem(text)
    result = report.Result(problem, options.batch, mode.name)
    if options.check_batch:
        result.checked = convjit.verify(problem, options.check_batch, mode.plan) or "ok"
    try:
        told = convjit.bench(problem, options.batch, mode.plan)
        result.ms, result.gflops = told["ms_median"], told["gflops"]
        result.fraction_of_peak, result.plan = told["fraction_of_peak"], told["plan"]
    except ToolFailed as e:
        result.errors["convjit"] = str(e).removeprefix("convjit: error: ")
    try:
        result.predicted_ms, result.bound_by = convjit.predict(
            problem, options.batch, mode.plan, target)
    except ToolFailed as e:
        result.errors["prediction"] = str(e).removeprefix("convjit: error: ")
    if peer:
        for variant in VARIANTS:
            try:
                result.cudnn[variant] = peer.time(text, options.batch, mode, variant)
            except PeerFailed as e:
                result.errors[variant] = str(e)
    return result


def run(argv, make_peer=Cudnn):
    options = arguments(argv)
    modes = read_modes(options.modes)
    texts = problems_of(options)
    convjit = Convjit(convjit_binary(options.convjit), options.device, options.seconds)
    # All that may be missing is missed before the first layer.
    device, target = convjit.probe()
    peer = None if options.without_torch else make_peer(options.device, options.seconds)
    machine = {"device": device, "target": target, "batch": options.batch,
               "peer": peer.description() if peer else None}
    print(f"{device}; kernels for {target}")
    print(machine["peer"] or "without PyTorch")
    print(report.HEADER, flush=True)
    results = []
    for text in texts:
        for mode in modes:
            results.append(measure(convjit, target, peer, text, mode, options))
            print(report.row(results[-1]), flush=True)
    print(report.summary(results))
    if options.json:
        report.write_json(options.json, machine, results)
    if options.csv:
        report.write_csv(options.csv, results)
    return 1 if any(result.failed for result in results) else 0


def main():
    try:
        return run(sys.argv[1:])
    except BenchError as e:
        print(f"bench/gpu_compare: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 2
