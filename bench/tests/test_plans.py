"""What bench/plans tries beside the pick."""

from compare_lib.plans import candidates, difference, measure, neighbours, plan_fields
from compare_lib.layers import Layer
from compare_lib.problem import parse
from compare_lib.tool import ToolFailed

PICK = "#conv.plan<lanes = channels, width = 32, pixels = 8, unroll = 4, row = unrolled, chunks = 1>"


def test_neighbours_differ_in_one_field():
    pick = {**plan_fields(PICK), "prefetch": "none"}
    plans = neighbours(PICK)
    assert len(set(plans)) == len(plans) > 8
    for plan in plans:
        fields = {"prefetch": "none", **plan_fields(plan)}
        assert set(fields) == set(pick)
        assert sum(fields[key] != pick[key] for key in pick) == 1
    # In the order that the text has: a strip comes last.
    strips = neighbours(PICK.replace("chunks = 1", "chunks = 1, strip = 4"))
    assert all(list(plan_fields(plan))[-1] == "strip" for plan in strips)


def test_listed_plans_come_before_guesses():
    other = PICK.replace("pixels = 8", "pixels = 4")
    report = {"plan": PICK, "candidates": [
        {"name": PICK}, {"name": other}, {"name": "winograd"}]}
    assert candidates(report) == [("candidate 2", other)]
    everything = candidates(report, guess=True)
    assert everything[0] == ("candidate 2", other)
    assert {plan for _, plan in everything} == {other, *neighbours(PICK)}
    report["candidates"] = [{"name": "direct"}]
    assert [plan for _, plan in candidates(report)] == neighbours(PICK)


def test_difference_says_what_is_a_default():
    merged = PICK.replace("chunks = 1", "chunks = 1, merged = 2")
    assert difference(PICK, PICK.replace("pixels = 8", "pixels = 4")) == "pixels = 8 -> 4"
    assert difference(PICK, merged) == "merged = default -> 2"
    assert difference(merged, PICK) == "merged = 2 -> default"


class FakeTool:
    cpus = [0]

    def plan(self, problem, batch):
        return {"plan": PICK, "candidates": []}

    def bench(self, problem, batch, threads, seconds, plan):
        if "groups" in plan:
            raise ToolFailed("lanes = groups; valid: channels")
        return {"ms_min": 1.0 if "pixels = 9" in plan else 1.5}


def test_measures_pick_and_candidates():
    layer = Layer(parse("conv1d:in=64x16,oc=32,k=3"), 1, "", "", "", "list", False)
    result = measure(FakeTool(), layer, rounds=2, seconds=0.01)
    assert result["ratio"] == 1.5 and difference(result["pick"], result["best"]) == "pixels = 8 -> 9"
    assert len(result["refused"]) == 1 and result["plans"][0]["plan"] == PICK
