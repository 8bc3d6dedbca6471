"""One measured layer and what follows from it."""

from __future__ import annotations

import dataclasses
import math

from .registry import CONVJIT, PEER_LIST
from .roofs import Roof

COUNTING = tuple(peer.name for peer in PEER_LIST if peer.counts)


@dataclasses.dataclass(frozen=True)
class Result:
    """`outcomes` by the peers' names, convjit's among them; times in milliseconds."""

    layer: object
    roof: Roof
    outcomes: dict
    statistic: str

    @property
    def ours(self):
        return self.outcomes[CONVJIT.name]

    def ms(self, name=CONVJIT.name):
        """None without a time."""
        outcome = self.outcomes.get(name)
        return outcome.ms(self.statistic) if outcome and outcome.has_time else None

    @property
    def percent_of_roof(self):
        return 100 * self.roof.ms / self.ms() if self.ms() else None

    @property
    def gflops(self):
        """GFLOP/s over true taps."""
        return self.roof.flops / self.ms() * 1e-6 if self.ms() else None

    def peer_times(self):
        return {name: self.ms(name) for name in COUNTING if self.ms(name) is not None}

    @property
    def best_peer(self):
        times = self.peer_times()
        return min(times, key=times.get) if times else None

    def ratio(self, name=None):
        """The peer's time over ours, by default the best peer's: above 1 we are faster."""
        peer = self.ms(name or self.best_peer)
        return peer / self.ms() if peer and self.ms() else None

    def as_json(self):
        layer = self.layer
        return {
            "problem": layer.problem.text, "batch": layer.batch, "list": layer.list,
            "network": layer.network, "layer": layer.layer, "ms": self.ms(),
            "gflops": self.gflops, "flops": self.roof.flops, "bytes": self.roof.bytes,
            "roof": self.roof.name, "roof_ms": self.roof.ms,
            "percent_of_roof": self.percent_of_roof, "best_peer": self.best_peer,
            "ratio": self.ratio(),
            "peers": {name: _outcome_json(outcome, self.ms(name))
                      for name, outcome in self.outcomes.items()}}


def _outcome_json(outcome, ms):
    return {"ms": ms, **{field: value for field, value in dataclasses.asdict(outcome).items()
                         if value not in ("", [], {})}}


def geomean(values):
    """None of nothing."""
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None
