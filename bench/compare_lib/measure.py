"""Times one layer on convjit and its peers, taking turns."""

from __future__ import annotations

import dataclasses
import statistics
import time

from .workers import PeerFailed, PeerMissing


@dataclasses.dataclass
class Outcome:
    """What one peer made of one layer. `status`: ok, unsupported, error, crash,
    timeout or wrong; `text` explains. `medians` and `minima`: milliseconds of a call,
    one a round. `details`: what else the peer told, such as compile_ms."""

    status: str = "ok"
    text: str = ""
    note: str = ""
    prepare_ms: float = 0.0
    medians: list = dataclasses.field(default_factory=list)
    minima: list = dataclasses.field(default_factory=list)
    details: dict = dataclasses.field(default_factory=dict)
    spent_s: float = 0.0

    @property
    def has_time(self):
        return self.status == "ok" and bool(self.medians)

    def ms(self, statistic):
        """Milliseconds of a call: the median over the rounds of each round's median,
        or the least of all calls."""
        return statistics.median(self.medians) if statistic == "median" else min(self.minima)

    def fail(self, status, text):
        self.status, self.text = status, text


@dataclasses.dataclass(frozen=True)
class Effort:
    """Rounds a layer; seconds of calls a round; seconds that one peer may take for
    one layer altogether, its preparation included; whether calls go before all other
    work on their CPUs."""

    rounds: int
    seconds: float
    limit_s: float
    realtime: bool = False


def start_workers(workers, report_missing):
    """Those that start; `report_missing(peer, why)` hears of the others."""
    started = []
    for worker in workers:
        try:
            worker.start()
            started.append(worker)
        except PeerMissing as e:
            report_missing(worker.peer, str(e))
    return started


def _ask(worker, outcome, effort, do, **message):
    """The answer, or None after noting in `outcome` why there is none."""
    start = time.monotonic()
    try:
        return worker.ask(effort.limit_s - outcome.spent_s, do, **message)
    except PeerFailed as e:
        # A peer whose time is up after a round or more has been measured.
        if e.status != "timeout" or not outcome.medians:
            outcome.fail(e.status, e.text)
        return None
    except PeerMissing as e:
        outcome.fail("error", str(e))
        return None
    finally:
        outcome.spent_s += time.monotonic() - start


def measure_layer(layer, workers, effort, outcomes=None):
    """Outcomes by the peers' names. Every round asks every peer for one sample, and
    begins with another peer than the last. Peers with a failed outcome in `outcomes`
    are left out."""
    outcomes = outcomes or {}
    active = []
    for worker in workers:
        outcome = outcomes.setdefault(worker.peer.name, Outcome())
        if outcome.status != "ok":
            continue
        answer = _ask(worker, outcome, effort, "prepare", problem=layer.problem.text,
                      batch=layer.batch)
        if answer is not None:
            outcome.note, outcome.prepare_ms = answer["note"], answer["prepare_ms"]
            active.append(worker)
    for turn in range(effort.rounds):
        shift = turn % max(1, len(active))
        for worker in active[shift:] + active[:shift]:
            outcome = outcomes[worker.peer.name]
            if outcome.status != "ok" or outcome.spent_s >= effort.limit_s:
                continue
            answer = _ask(worker, outcome, effort, "sample", seconds=effort.seconds,
                          realtime=effort.realtime)
            if answer is not None:
                _keep(outcome, answer)
    for worker in active:
        worker.release()
    for outcome in outcomes.values():
        if outcome.status == "ok" and not outcome.medians:
            outcome.fail("timeout", f"no call within {effort.limit_s:.0f} s")
    return outcomes


def _keep(outcome, answer):
    samples = answer.pop("samples_ms")
    outcome.medians.append(statistics.median(samples))
    outcome.minima.append(min(answer.pop("ms_min", samples[0]), *samples))
    compile_ms = answer.get("compile_ms")
    if compile_ms is not None:  # the least of the rounds: others were disturbed
        answer["compile_ms"] = min(compile_ms, outcome.details.get("compile_ms", compile_ms))
    outcome.details.update(answer)
