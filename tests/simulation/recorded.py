"""A simulated run as a history for ``score.testing.check``: a second judge, written by somebody else.

It judges at the end and from less (calls, answers and the final log), the oracle at every step; what they
disagree about is a mistake in one of them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from score.testing import history as records
from score.testing.check import check
from score_server.wire.entry import next_chain
from score_server.wire.messages import STRICT

from .oracle import Call, Violation

if TYPE_CHECKING:
    from .oracle import Oracle
    from .world import World

_TOLD: dict[str, records.Told] = {
    "done": "taken", "failed": "failed", "nothing": "refused", "unknown": "unknown",
    "died": "unknown", "expired": "unknown", "running": "unknown",
}  # fmt: skip


def judge(world: World) -> None:
    """Have the history checker look at the run.

    Raises:
        Violation: it found something.
    """
    verdict = check(_history(world))
    if not verdict.ok:
        first = verdict.violations[0]
        raise Violation(first.promise, f"says the history checker: {first}")


def _history(world: World) -> records.History:
    oracle, history = world.oracle, records.History()
    for call in oracle.calls:
        if call.what == "ask":
            continue
        if call.is_sync:
            if call.state == "done" and call.at is not None and call.ended is not None:
                history.add(
                    records.Sync(
                        call.client, call.view, call.group, call.begun, call.ended, call.at, None
                    )
                )
        elif call.names:
            history.add(_operation(oracle, call))
    for moment, name, verdict, place in oracle.asked:
        if verdict != "expired":  # the oracle knows the server's clock, and judges it
            session = name[0].hex()
            history.add(
                records.Ask("somebody", moment, moment, session, name[1], verdict, place)  # type: ignore[arg-type]
            )
    for group, log in oracle.logs.items():
        chain = oracle.incarnations.get(group, b"")
        for entry, encoded in zip(log.entries, log.encoded, strict=True):
            chain = next_chain(chain, encoded)
            folded = log.folded[entry.position]
            history.add(
                records.LogEntry(
                    group, entry.position, entry.predecessor, entry.session.hex(), entry.seq,
                    chain.hex(), _digest(folded.content), folded.failure is not None, folded.changed,
                )
            )  # fmt: skip
    _final_states(world, history)
    return history


def _operation(oracle: Oracle, call: Call) -> records.Operation:
    name = next((name for name in call.names if name in oracle.where), call.names[-1])
    message = oracle.submissions.get(name)
    told = _TOLD[call.state]
    place = oracle.where[name][1] if told in ("taken", "failed") and name in oracle.where else None
    return records.Operation(
        call.client, call.number, call.view, call.group, call.begun,
        None if call.state in ("died", "running") else call.ended,
        name[0].hex(), name[1], message.seen if message else 0,
        message is not None and message.condition == STRICT, told, place,
        call.at if told in ("taken", "failed") else None, None,
    )  # fmt: skip


def _final_states(world: World, history: records.History) -> None:
    now = world.oracle.tick()
    for process in world.processes:
        if process.was_refused:
            continue
        for group in world.groups():
            structure = process.structures[group]
            replica = structure._view.replica
            content = structure.copy()
            history.add(
                records.State(
                    process.name, process.views[group], group, now, replica.position,
                    replica._chain.hex() if replica.position else None, _digest(content), True,
                )
            )  # fmt: skip


def _digest(content: Any) -> str:
    # The order of a map's keys is no promise of equality.
    if isinstance(content, dict):
        content = sorted(content.items())
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]
