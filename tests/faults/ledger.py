"""What clients tried and were told, and whether what the server kept agrees.  Pure.

A *ledger* is one client's lines in their order, one JSON array each:

    ["try", n, kind]            before the call; kind "count" (adds 1) or "value" (appends "<client>:<n>")
    ["ok", n, result]           it returned; of a count, the new total
    ["no", n, reason]           it raised an error that says that nothing was changed
    ["unknown", n, token]       OutcomeUnknown
    ["outcome", n, verdict]     what ``client.outcome`` said of it later

A try without another line is unknown: the client was killed, or is still at it.

The check
---------
- an acknowledged value is there exactly once, one refused not at all, an unknown one at most once;
- nothing is there that nobody tried;
- a client's values stand in the order in which it appended them;
- the total lies between the acknowledged and the tried counts, and no two counts returned the same total;
- totals that a client was told increase;
- an outcome that was told ("taken", "not taken") is the true one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple


class Tries(NamedTuple):
    """One client's ledger, read: number -> what is known of that call."""

    client: str
    kinds: dict[int, str]
    told: dict[int, str]
    totals: dict[int, int]


def read(client: str, lines: Iterable[str]) -> Tries:
    """*client*'s ledger; a torn last line (of a killed client) is as good as none."""
    tries = Tries(client, {}, {}, {})
    for line in lines:
        if not line.endswith("\n"):
            break
        what, number, detail = json.loads(line)
        if what == "try":
            tries.kinds[number] = detail
            tries.told[number] = "unknown"
        elif what == "ok":
            tries.told[number] = "ok"
            if tries.kinds[number] == "count":
                tries.totals[number] = detail
        elif what == "outcome":
            tries.told[number] = {"taken": "ok", "not taken": "no"}.get(detail, "unknown")
        else:
            tries.told[number] = what
    return tries


def acknowledged(ledgers: Iterable[Tries]) -> int:
    """How many calls returned, or were said to be taken."""
    return sum(told == "ok" for tries in ledgers for told in tries.told.values())


def unknown(ledgers: Iterable[Tries]) -> int:
    """How many calls nobody knows about."""
    return sum(told == "unknown" for tries in ledgers for told in tries.told.values())


def violations(ledgers: Sequence[Tries], values: Sequence[str], total: int) -> list[str]:
    """What is wrong with *values* (the shared list) and *total* (the shared count); [] if nothing."""
    found = [wrong for tries in ledgers for wrong in _of_client(tries, values)]
    tried = {f"{t.client}:{n}" for t in ledgers for n, kind in t.kinds.items() if kind == "value"}
    found += [f"{value!r} is there, but nobody tried it" for value in values if value not in tried]
    told = Counter(t.told[n] for t in ledgers for n, kind in t.kinds.items() if kind == "count")
    if not told["ok"] <= total <= told["ok"] + told["unknown"]:
        found.append(
            f"the total is {total}, but {told['ok']} counts were acknowledged and "
            f"{told['unknown']} are unknown"
        )
    returned = Counter(value for tries in ledgers for value in tries.totals.values())
    found += [f"{n} counts returned {value}" for value, n in returned.items() if n > 1]
    found += [f"a count returned {value} of {total}" for value in returned if value > total]
    return found


def _of_client(tries: Tries, values: Sequence[str]) -> list[str]:
    times = Counter(values)
    found = []
    for number, kind in tries.kinds.items():
        value, told = f"{tries.client}:{number}", tries.told[number]
        if kind != "value":
            continue
        least, most = {"ok": (1, 1), "no": (0, 0), "unknown": (0, 1)}[told]
        if not least <= times[value] <= most:
            found.append(f"{value!r} ({told}) is there {times[value]} times")
    own = [int(v.rpartition(":")[2]) for v in values if v.rpartition(":")[0] == tries.client]
    if own != sorted(own):
        found.append(f"the values of {tries.client!r} stand in the order {own}")
    told_totals = [tries.totals[number] for number in sorted(tries.totals)]
    if told_totals != sorted(told_totals):
        found.append(f"{tries.client!r} was told totals that decrease: {told_totals}")
    return found


def check(ledgers: Mapping[str, Iterable[str]], values: Sequence[str], total: int) -> list[Tries]:
    """The ledgers, read, if nothing is wrong.

    Raises:
        AssertionError: with all that is.
    """
    tries = [read(client, lines) for client, lines in ledgers.items()]
    wrong = violations(tries, values, total)
    assert not wrong, "\n".join(wrong[:20])
    return tries
