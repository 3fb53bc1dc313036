"""Row 12: many writers of one key of one group; what is measured is ``benchmarks/contention.py``.

Thirty-two Python processes share two cores with the server.  What the server alone allows is shown by *lean*
writers (``lean.writers``): as many connections, each with one intent under way, played by one process.

*The limit* is what these cores could do if nobody ever waited, and no process drove another one's code and data out
of a cache: all cores' time over the processor time of one commit, that of its author, of the others, who take it in,
and of the server.  It is measured where one process plays all writers, one after the other.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import score

from .. import contention, lean, machine, servers
from ..results import Figure, Result, Verdict
from . import Scale

TITLE = "32 writers of one key"
GOALS = {"intents": 20_000, "transactions": 2_500}
ACTS: dict[str, Callable[[Any], object]] = {
    "intents": lambda m: m.increment("n"),
    "transactions": lambda m: m.run_transaction(contention.bump),
}
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
    for way, who in (("intents", "intents"), ("transactions", "strict, with turns")):
        clients_us, server_us = _one_after_the_other(way, writers, scale.pick(0.3, 2.0, 5.0))
        if way == "intents":
            # Of many that come together, which costs it less than one by one.
            server_us = 1e6 / rate
        limit = len(machine.CORES) * 1e6 / (clients_us + server_us)
        note = f"clients {clients_us:.0f} µs, server {server_us:.0f} µs a commit"
        result.figures.append(
            Figure(12, f"{writers} writers", f"{who} (the limit)", "both", rate=limit, note=note)
        )
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


def _one_after_the_other(way: str, writers: int, seconds: float) -> tuple[float, float]:
    """Processor time in µs of all clients together and of the server, for one commit, where no writer waits
    for another one: this process plays all of them in a circle, so each finds what the others have done since."""
    act = ACTS[way]
    with servers.score_server() as running:
        clients = [score.connect(running.url, timeout=60, wait=30) for _ in range(writers)]
        maps = [score.SMap[str, int](client, "contended") for client in clients]
        for m in 3 * maps:  # transactions begin with a turn from the second one on
            act(m)
        before = time.process_time(), _processor_s(running.pid)
        done, until = 0, time.monotonic() + seconds
        while time.monotonic() < until:
            for m in maps:
                act(m)
            done += writers
        after = time.process_time(), _processor_s(running.pid)
        for client in clients:
            client.close()
    clients_s, server_s = (b - a for a, b in zip(before, after, strict=True))
    return clients_s / done * 1e6, server_s / done * 1e6


def _processor_s(pid: int) -> float:
    """What process *pid* has taken of the processors so far."""
    fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
