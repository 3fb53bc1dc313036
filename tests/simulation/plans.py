"""Plans of what the simulated programs do, made from the seed before the run.

So leaving an operation out (``shrink``) changes nothing about the others.  Operations marked *late* wait until
the faults have stopped.
"""

from __future__ import annotations

import random
from typing import NamedTuple


class Op(NamedTuple):
    """One operation of a plan."""

    what: str
    group: str
    numbers: tuple[int, int, int]
    tag: str
    late: bool


MUTATORS = {
    "m": ("put", "put", "increment", "increment", "discard", "pop", "setdefault", "put_list",
          "nested", "nested", "batch", "batch_fails", "put_text", "pipeline", "transaction", "transaction", "try", "look"),
    "v": ("append", "append", "extend", "insert", "insert", "set", "pop_last", "pop_first", "delete",
          "batch", "pipeline", "transaction", "try", "look"),
    "s": ("push", "push", "push", "pop_last", "pop_last", "batch", "pipeline"),
}  # fmt: skip
OTHERS = ("sync", "sync", "watch", "ask", "ask", "reopen", "renew", "groups", "hold")
WHOLE = ("compact", "compact", "compact_wrongly", "verify")
IMPORTED = "mi"  # what may begin with a snapshot of "m0"
# In how many runs there is somebody who is overtaken, and where nobody else changes anything: the log of a
# group is kept from where the author of an unsettled change stood, so elsewhere it is often not trimmed that far.
HESITANT_SHARE, HESITANT_GROUPS = 0.15, ("m2", "m2", "v1")
LONG = 300  # so long that a snapshot of it is not sent at once


def make_plans(seed: int) -> list[list[Op]]:
    """One list of operations for each client."""
    choose = random.Random(f"{seed}/plan")
    groups = choose.sample(["m0", "m1", "v0", "s0"], choose.choice((1, 1, 2, 3)))
    others = choose.choice((0.1, 0.3, 0.5))
    share = choose.choice((0.0, 0.1, 0.3))  # of what is done to whole groups
    deletes = choose.choice((0.0, 0.0, 0.0, 0.3))
    if share and "m0" in groups and choose.random() < 0.3:
        groups.append(IMPORTED)
    plans = []
    for client in range(choose.choice((1, 2, 2, 3, 4))):
        plan = []
        count = choose.randrange(3, 14)
        for index in range(count):
            group = choose.choice(groups)
            late = index >= count - 2
            kinds = OTHERS if choose.random() < others else MUTATORS[group[0]]
            if choose.random() < share:
                kinds = WHOLE
                if group == IMPORTED:
                    kinds = (*WHOLE, "import_", "import_", "import_")
                if not late and choose.random() < deletes:
                    kinds = ("delete_group",)
            numbers = (choose.randrange(100), choose.randrange(100), choose.randrange(1, 100))
            plan.append(Op(choose.choice(kinds), group, numbers, f"{client}.{index}", late))
            if plan[-1].what == "delete_group":
                plan.append(plan[-1]._replace(what="ask_latest"))
        if choose.random() < 0.2:
            # Somebody sits on a turn while everybody else expects to be served.
            plan[-2] = plan[-2]._replace(what="hold", group=groups[0], numbers=(2, 0, 0))
        plans.append(plan)
    if share and choose.random() < 0.6:
        plans.append(_reader(choose, groups[0], len(plans)))
    if choose.random() < HESITANT_SHARE:
        group = choose.choice((*HESITANT_GROUPS, groups[0]))
        plans.append(_hesitant(choose, group if group[0] in "mv" else "v1", len(plans)))
    return plans


def _reader(choose: random.Random, group: str, client: int) -> list[Op]:
    """Somebody who looks in now and then, and is behind what was trimmed meanwhile."""
    plan = []
    for index in range(choose.randrange(4, 10)):
        what = ("watch", "stay_away")[index % 2]
        if what == "watch" and choose.random() < 0.5:
            strict = ("set", "delete", "pop_first") if group[0] == "v" else ()
            what = choose.choice(("sync", "reopen", *MUTATORS[group[0]], *strict, *strict, *strict))
        numbers = (choose.randrange(100), 2 * choose.randrange(50), choose.randrange(1, 100))
        plan.append(Op(what, group, numbers, f"{client}.{index}", False))
    return plan


def _hesitant(choose: random.Random, group: str, client: int) -> list[Op]:
    """Somebody who looks and decides so late that others have put what it saw behind a snapshot."""
    first = ("put_list", "put_list", "nested", "put") if group[0] == "m" else ("append", "insert")
    whats = [choose.choice(first) for _ in range(choose.randrange(1, 4))]
    loads_slowly = choose.random() < 0.5
    if loads_slowly:
        # Here it is kept for it: what is behind the first snapshot stays.
        whats += ["compact", "load_slowly"]
    for _ in range(choose.randrange(1, 4)):
        # Its own changes are settled with its goodbye, else the log is kept for it.
        whats += ["renew", "watch", "overtaken", choose.choice(first), "watch"]
    plan = []
    for index, what in enumerate(whats):
        # Even numbers: watches that are not patient, and stay.
        numbers = (choose.randrange(100), 2 * choose.randrange(50), 2 * choose.randrange(1, 50))
        tag = f"{client}.{index}" + "x" * (LONG if loads_slowly and not index else 0)
        plan.append(Op(what, group, numbers, tag, False))
    return plan
