"""A pytest plugin: the tests run with `convjit.jax.install()` in force.

CONVJIT_CONFORMANCE=off: with XLA alone instead. CONVJIT_REPORT=FILE: what became
of the convolutions goes there, as JSON.
"""

import collections
import json
import os

import jax  # before a checkout of it can come into sys.path


def _installed():
    return os.environ.get("CONVJIT_CONFORMANCE") != "off"


def pytest_configure(config):
    if _installed():
        import convjit.jax

        convjit.jax.install()


def pytest_sessionfinish(session):
    file = os.environ.get("CONVJIT_REPORT")
    if not file:
        return
    entries = []
    if _installed():
        import convjit.jax

        entries = convjit.jax.report()
    taken = [entry for entry in entries if entry.taken]
    reasons = collections.Counter(entry.reason for entry in entries if not entry.taken)
    with open(file, "w", encoding="utf-8") as out:
        json.dump({
            "jax": jax.__version__,
            "taken": len(taken),
            # Counters are of a kernel, whatever the batch.
            "calls": sum({e.convolution: e.calls for e in taken}.values()),
            "left": dict(reasons.most_common()),
        }, out)
