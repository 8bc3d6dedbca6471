"""Runs other projects' convolution tests with convjit installed; see scripts/conformance."""

from __future__ import annotations

import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

HERE = pathlib.Path(__file__).resolve().parent
JAX_FILES = ("lax_test.py", "lax_autodiff_test.py", "lax_vmap_test.py")
# JAX's names ignore case, and "Conv" is in testConvertElementType too.
JAX_CASES = "conv and not convert"


def stop(status, message):
    print(f"conformance: {message}", file=sys.stderr)
    sys.exit(status)


def version_of(checkout):
    """The version that a checkout of JAX says it is."""
    file = checkout / "jax" / "version.py"
    try:
        found = re.search(r'^_version = "([^"]+)"', file.read_text(), re.MULTILINE)
    except OSError as error:
        stop(2, f"{checkout}: is no checkout of JAX ({error}); valid: a directory with"
                " jax/version.py and tests/")
    if not found:
        stop(2, f"{file}: says no _version; valid: a checkout of JAX")
    return found[1]


def check(checkout, any_version):
    wanted = subprocess.run(
        [sys.executable, "-c", "import jax; print(jax.__version__)"],
        capture_output=True, text=True, cwd=HERE)
    if wanted.returncode:
        stop(3, "JAX is not installed here: " + wanted.stderr.strip().split("\n")[-1])
    installed, found = wanted.stdout.strip(), version_of(checkout)
    if found != installed and not any_version:
        stop(2, f"{checkout}: is JAX {found}, installed is {installed}; valid: the same"
                f" (git checkout jax-v{installed}), or --any-version")
    missing = [f for f in JAX_FILES if not (checkout / "tests" / f).is_file()]
    if missing:
        stop(2, f"{checkout}: has no tests/{missing[0]}; valid: a checkout of JAX")


def run(file, select, convjit, extra):
    """(outcome of each case, what convjit reports, exit status, text)."""
    # Not in the checkout: it would stand before the installed package, and
    # nothing is to be written there.
    with tempfile.TemporaryDirectory() as folder:
        junit, report = (pathlib.Path(folder) / n for n in ("junit.xml", "report.json"))
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "plugin", "-p", "no:cacheprovider",
             "--noconftest", "-c", os.devnull, f"--rootdir={folder}", "-W", "ignore",
             "--import-mode=importlib", f"--junitxml={junit}", "-o", "junit_family=xunit2",
             *(["-k", select] if select else []), *extra, str(file)],
            cwd=folder, text=True, capture_output=True,
            env={**os.environ, "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1",
                 "JAX_PLATFORMS": "cpu", "CONVJIT_REPORT": str(report),
                 "CONVJIT_CONFORMANCE": "on" if convjit else "off"},
        )
        text = done.stdout + done.stderr
        if not junit.exists() or not report.exists():
            return {}, {"taken": 0, "calls": 0, "left": {}}, done.returncode or 1, text
        outcomes = {}
        for case in ElementTree.parse(junit).getroot().iter("testcase"):
            outcome = "passed"
            for kind, name in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
                if case.find(kind) is not None:
                    outcome = name
            test = case.get("classname", "").split(".")[-1]
            outcomes[f"{test}::{case.get('name')}".removeprefix("::")] = outcome
        return outcomes, json.loads(report.read_text()), done.returncode, text


def judge(file, select, extra):
    """Runs one file; prints its line; returns whether convjit fails a case."""
    outcomes, report, status, text = run(file, select, True, extra)
    failed = [case for case, outcome in outcomes.items() if outcome == "failed"]
    ours = failed
    if failed:
        # Cases that fail here with XLA alone as well say nothing of convjit.
        alone = run(file, select, False, extra)[0]
        ours = [case for case in failed if alone.get(case) != "failed"]
    count = collections.Counter(outcomes.values())
    # 1: cases failed, which are looked at above; 5: no case was selected.
    broken = status not in (0, 1) or not outcomes
    print(f"{file.name:<24}{count['passed']:>8}{len(ours):>8}{len(failed) - len(ours):>10}"
          f"{count['skipped']:>9}{report['taken']:>8}{report['calls']:>8}"
          f"{sum(report['left'].values()):>7}", flush=True)
    if ours or broken:
        print(text, file=sys.stderr)
    for case in ours:
        print(f"  failed: {file.name}::{case}")
    return bool(ours) or broken, report["left"]


def main():
    parser = argparse.ArgumentParser(prog="scripts/conformance", description=__doc__)
    parser.add_argument("checkout", nargs="?", type=pathlib.Path,
                        help="a checkout of JAX, of the version that is installed")
    parser.add_argument("--any-version", action="store_true",
                        help="take a checkout of another version")
    parser.add_argument("--jax-only", action="store_true", help="without brainstate's tests")
    parser.add_argument("pytest", nargs="*", help="for pytest, after --")
    options = parser.parse_args()

    plan = []
    if options.checkout:
        checkout = options.checkout.resolve()
        check(checkout, options.any_version)
        plan += [(checkout / "tests" / name, JAX_CASES) for name in JAX_FILES]
    if not options.jax_only:
        found = subprocess.run(
            [sys.executable, "-c", "import brainstate; print(brainstate.__path__[0])"],
            capture_output=True, text=True, cwd=HERE)
        file = pathlib.Path(found.stdout.strip()) / "nn" / "_conv_test.py"
        if found.returncode == 0 and file.is_file():
            plan.append((file, ""))
        else:
            print("conformance: brainstate's tests are not installed", file=sys.stderr)
    if not plan:
        stop(2, "nothing to run; valid: a checkout of JAX")

    print(f"{'':<24}{'passed':>8}{'failed':>8}{'XLA too':>10}{'skipped':>9}{'taken':>8}"
          f"{'calls':>8}{'left':>7}")
    bad, left = False, collections.Counter()
    for file, select in plan:
        failed, reasons = judge(file, select, options.pytest)
        bad |= failed
        left.update(reasons)
    print("left to XLA:")
    for reason, times in left.most_common():
        print(f"{times:>6}  {reason}")
    sys.exit(bad)


if __name__ == "__main__":
    main()
