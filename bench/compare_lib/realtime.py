"""Time that no other work gets."""

from __future__ import annotations

import contextlib
import os


def _schedule(policy, priority):
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(ProcessLookupError):  # it may have ended
            os.sched_setscheduler(int(thread), policy, os.sched_param(priority))


@contextlib.contextmanager
def realtime(wanted=True):
    """All threads of this process, and processes that it starts, before those of other
    work on their CPUs. For short spells: nothing else runs there meanwhile."""
    if not wanted:
        yield
        return
    _schedule(os.SCHED_FIFO, 1)
    try:
        yield
    finally:
        _schedule(os.SCHED_OTHER, 0)
