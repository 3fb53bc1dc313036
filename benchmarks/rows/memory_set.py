"""Row 2: one blocking client sets keys that no disk keeps."""

from __future__ import annotations

from ..peers import IN_MEMORY, bare_echo, least
from ..results import Result, judge, p50_of
from ..rounds import compare
from . import Scale

TITLE = "one blocking client, single sets in memory"
SLOW = "PySyncObj, one node, no journal"  # a tick of 50 ms each: a tenth of the operations


def run(scale: Scale) -> Result:
    count, rounds = scale.pick(100, 2000, 10_000), scale.pick(1, 5, 5)
    result = Result(2, TITLE)
    fast = [contender for contender in IN_MEMORY if contender.name != SLOW]
    slow = [contender for contender in IN_MEMORY if contender.name == SLOW]
    result.figures = compare(2, "set", [*fast, least(), bare_echo()], rounds=rounds, count=count)
    result.figures += compare(
        2, "set", slow, rounds=1, count=scale.pick(3, 30, 100), placements=("same",)
    )
    for cores in ("same", "separate"):
        ours = p50_of(result.figures, "score, memory", cores=cores)
        redis = p50_of(result.figures, "redis, no persistence", cores=cores)
        result.verdicts.append(
            judge(
                2, f"p50 <= 1.25x redis without persistence, {cores} core(s)",
                ours, redis, 1.25, most=True,
            )
        )  # fmt: skip
    return result
