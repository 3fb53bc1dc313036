"""Row 1: one blocking client sets keys, each synced to the disk before the call returns."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from .. import servers
from ..peers import DURABLE, Setter
from ..results import Result, judge, p50_of
from ..rounds import Contender, Opened, compare
from . import Scale

TITLE = "one blocking client, single durable sets"


@contextmanager
def _bare_sync() -> Iterator[Opened]:
    """The limit of this disk: append as much as a commit does, and wait for it."""
    with servers.scratch() as folder:
        file = os.open(f"{folder}/bare", os.O_WRONLY | os.O_CREAT)

        def operate(i: int) -> None:
            os.write(file, b"x" * 4096)
            os.fdatasync(file)

        yield Setter([], operate)
        os.close(file)


def run(scale: Scale) -> Result:
    count = scale.pick(100, 2000, 10_000)
    limit = Contender("append and fdatasync (the limit)", _bare_sync)
    result = Result(1, TITLE)
    result.figures = compare(1, "set", (*DURABLE, limit), rounds=scale.pick(1, 5, 5), count=count)
    for cores in ("same", "separate"):
        ours = p50_of(result.figures, "score, SQLite", cores=cores)
        redis = p50_of(result.figures, "redis, appendfsync always", cores=cores)
        result.verdicts.append(
            judge(
                1, f"p50 <= 1.0x redis AOF always, {cores} core(s)",
                ours, redis, 1.0, most=True,
            )
        )  # fmt: skip
    return result
