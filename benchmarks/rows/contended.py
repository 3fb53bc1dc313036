"""Row 12: many writers of one key of one group; what is measured is ``benchmarks/contention.py``."""

from __future__ import annotations

import score

from .. import contention, servers
from ..results import Figure, Result, Verdict
from . import Scale

TITLE = "32 writers of one key"
GOALS = {"intents": 20_000, "transactions": 2_500}
# Turns are granted in order, so the slowest writer is close behind the fastest.
FAIR = 0.5


def run(scale: Scale) -> Result:
    result = Result(12, TITLE)
    writers = scale.pick(3, 32, 32)
    for way in contention.WAYS:
        with servers.score_server() as running:
            with score.connect(running.url, wait=30):
                found = contention.measure(running.url, way, writers, scale.pick(0.3, 3.0, 10.0))
        who = {"strict": "strict, no turns", "transactions": "strict, with turns"}.get(way, way)
        note = f"slowest/fastest {found.fairness:.2f}, {found.attempts_each:.2f} attempts each"
        result.figures.append(
            Figure(12, f"{writers} writers", who, "both", rate=found.commits_s, note=note)
        )
        if way in GOALS:
            reached = found.commits_s
            goal = f"{who} >= {GOALS[way]:,}/s"
            result.verdicts.append(Verdict(12, goal, f"{reached:,.0f}/s", reached >= GOALS[way]))
        if way == "transactions":
            goal = f"{who}: slowest/fastest >= {FAIR}"
            result.verdicts.append(
                Verdict(12, goal, f"{found.fairness:.2f}", found.fairness >= FAIR)
            )
    return result
