#!/usr/bin/env python3
"""Runs a command; succeeds if its exit code is the first argument."""
import subprocess
import sys

wanted, *command = sys.argv[1:]
code = subprocess.run(command, check=False).returncode
if code != int(wanted):
    sys.exit(f"{command}: exit code {code}, wanted {wanted}")
