"""Row 12: many writers of one key of one group; what is measured is ``benchmarks/contention.py``.

Thirty-two Python processes share two cores with the server.  What the server alone allows is shown by *lean*
writers (``lean.writers``): as many connections, each with one intent under way, played by one process.
"""

from __future__ import annotations

import score

from .. import contention, lean, machine, servers
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
    rate = _lean(writers, scale.pick(0.3, 3.0, 10.0))
    work, who = f"{writers} lean writers", "intents"
    result.figures.append(Figure(12, work, who, "server alone on a core", rate=rate))
    goal = f"{work}: {who} >= {GOALS[who]:,}/s"
    result.verdicts.append(Verdict(12, goal, f"{rate:,.0f}/s", rate >= GOALS[who]))
    return result


def _lean(writers: int, seconds: float) -> float:
    """Intents a second."""
    payload = lean.increment("n")
    with servers.score_server() as running:
        machine.pin(machine.CORES[0])
        machine.pin(machine.CORES[-1], [running.pid])
        leans = [lean.Lean(running.port).open_session().join("contended") for _ in range(writers)]
        done = lean.writers(leans, payload, seconds)
        for one in leans:
            one.close()
        machine.pin(None)
    return done / seconds
