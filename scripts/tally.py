#!/usr/bin/env python3
"""Prints "PASSED FAILED" for one result file of a test suite.

usage: tally.py FILE    FILE: JUnit XML (.xml) or `convjit verify --json` (.json)

Skipped tests count as neither.
"""

import json
import sys
import xml.etree.ElementTree as ElementTree


def count_junit(path):
    passed = failed = 0
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif case.find("skipped") is None:
            passed += 1
    return passed, failed


def count_verify(path):
    with open(path, encoding="utf-8") as file:
        result = json.load(file)
    return result["cases"] - result["failed"], result["failed"]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    path = sys.argv[1]
    count = count_verify if path.endswith(".json") else count_junit
    try:
        print(*count(path))
    except (OSError, KeyError, ValueError, ElementTree.ParseError) as error:
        sys.exit(f"tally.py: {path}: {error}")


if __name__ == "__main__":
    main()
