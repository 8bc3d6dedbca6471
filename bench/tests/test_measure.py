"""Worker processes and taking turns: crashes, hangs and refusals are outcomes."""

import os

import pytest

import fake_peer
from compare_lib.check import check_layer
from compare_lib.layers import Layer
from compare_lib.measure import Effort, Outcome, measure_layer, start_workers
from compare_lib.problem import parse
from compare_lib.registry import Peer, choose_peers
from compare_lib.places import BenchError
from compare_lib.workers import Worker
from compare_lib.realtime import realtime

EFFORT = Effort(rounds=2, seconds=0.002, limit_s=20)


def layer(what):
    return Layer(parse(f"conv1d:in=4x4,oc={what},k=1"), 2, "", "", "", "list", False)


@pytest.fixture
def workers(monkeypatch):
    """Two fake peers, on one CPU."""
    monkeypatch.syspath_prepend(os.path.dirname(__file__))
    cpus = [min(os.sched_getaffinity(0))]
    made = []
    for name in ("a", "b"):
        worker = Worker(Peer(name, "tests.fake_peer", "-", "#000000"), "convjit", cpus)
        made.append(worker)
    yield made
    for worker in made:
        worker.stop()


def test_takes_turns_and_keeps_every_round(workers):
    outcomes = measure_layer(layer(fake_peer.QUICK), workers, EFFORT)
    for outcome in outcomes.values():
        assert outcome.has_time and outcome.note == "fake"
        assert len(outcome.medians) == len(outcome.minima) == 2
        assert 0.1 <= outcome.ms("min") <= outcome.ms("median")


@pytest.mark.parametrize("what, status, text", [
    (fake_peer.REFUSE, "unsupported", "twos"),
    (fake_peer.RAISE, "error", "ValueError: threes"),
    (fake_peer.CRASH, "crash", "SIGSEGV"),
])
def test_failures_are_outcomes_and_the_next_layer_is_measured(workers, what, status, text):
    outcome = measure_layer(layer(what), workers, EFFORT)["a"]
    assert outcome.status == status and text in outcome.text
    assert measure_layer(layer(fake_peer.QUICK), workers, EFFORT)["a"].has_time


def test_a_peer_that_failed_its_check_is_not_timed(workers):
    outcomes = {"a": Outcome("wrong", "differs"), "b": Outcome()}
    measure_layer(layer(fake_peer.QUICK), workers, EFFORT, outcomes)
    assert outcomes["a"].status == "wrong" and not outcomes["a"].medians
    assert outcomes["b"].has_time and workers[0].process is None


def test_a_hang_is_ended(workers):
    effort = Effort(rounds=1, seconds=0.002, limit_s=1.5)
    workers[0].start()
    outcome = measure_layer(layer(fake_peer.HANG), workers[:1], effort)["a"]
    assert outcome.status == "timeout" and outcome.spent_s < 10
    assert workers[0].process is None


def test_what_libraries_print_does_not_disturb(workers):
    assert measure_layer(layer(fake_peer.NOISY), workers, EFFORT)["b"].has_time


def test_missing_peers_are_named(workers):
    workers[0].environment["FAKE_MISSING"] = "1"
    heard = {}
    started = start_workers(workers, lambda peer, why: heard.update({peer.name: why}))
    assert [worker.peer.name for worker in started] == ["b"]
    assert heard == {"a": "no module named fake"}
    assert workers[1].version == "1.0 with 1 thread(s)"


def test_check_compares_with_the_first(workers):
    outcomes = check_layer(layer(fake_peer.QUICK), workers[0], workers[1:], 20)
    assert outcomes["b"].status == "ok" and outcomes["b"].details["difference"] == 0


def test_peers_are_chosen_by_name_family_or_pattern():
    names = [peer.name for peer in choose_peers("torch,xla")]
    assert names == ["torch_channels_last", "torch_channels_first", "xla"]
    assert len(choose_peers("*")) == 8 and choose_peers("none") == []
    with pytest.raises(BenchError, match="--peers=nobody"):
        choose_peers("nobody")


def test_realtime_lasts_as_long_as_it_is_wanted():
    try:
        with realtime():
            assert os.sched_getscheduler(0) == os.SCHED_FIFO
    except PermissionError:
        pytest.skip("not allowed here")
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
    with realtime(False):
        assert os.sched_getscheduler(0) == os.SCHED_OTHER
