"""Row 1: one blocking client sets keys, each synced to the disk before the call returns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .. import commits, servers
from ..peers import DURABLE
from ..results import Result, judge, p50_of
from ..rounds import Contender, Opened, compare
from . import Scale

TITLE = "one blocking client, single durable sets"


class _BareSync:
    """The limit of this disk: append a page, and wait for it."""

    pids: Sequence[int] = ()

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def round(self, count: int) -> list[float]:
        return list(commits.bare(self._folder, count))


@contextmanager
def _bare_sync() -> Iterator[Opened]:
    with servers.scratch() as folder:
        yield _BareSync(folder)


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
