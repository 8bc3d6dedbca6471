#!/usr/bin/env python3
"""expect.py CODE COMMAND...: runs a command that must fail in the agreed way.

The exit code is CODE, standard output is empty and standard error is one line
that starts with "convjit: error: ", which is printed.
"""
import subprocess
import sys


def main():
    arguments = sys.argv[1:]
    code, command = int(arguments[0]), arguments[1:]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace",
                          timeout=300)
    print(done.stderr, end="")
    problems = []
    if done.returncode != code:
        problems.append(f"exit code {done.returncode}, expected {code}")
    if done.stdout:
        problems.append(f"standard output: {done.stdout[:200]!r}")
    if not done.stderr.startswith("convjit: error: ") or done.stderr.count("\n") != 1:
        problems.append(f"standard error is not one line of ours: {done.stderr!r}")
    for problem in problems:
        print(f"expect.py: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
