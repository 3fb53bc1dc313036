"""Row 5: blind sets without waiting for each answer; one change each, one author.

What submits is ``lean.pipeline``: frames encoded beforehand, at most 768 answers outstanding (the server's
limit is 1,024).  So the figure is the server's, with everything that a change gets there: its name looked up, its
condition judged, its place, its hash, its outcome kept, its answer behind its entry.  redis-py does
the same with its own pipeline, which encodes as it goes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from .. import lean, servers
from ..peers import KEYS, redis_client
from ..results import Result, judge, rate_of
from ..rounds import Contender, Opened, compare
from . import Scale

TITLE = "pipelined blind sets"


class Pipeline:
    """A round is one run of *changes*; its time is given as that of one change."""

    def __init__(self, pid: int, changes: int, submit: Callable[[int], float]) -> None:
        self.pids: Sequence[int] = [pid]
        self._changes = changes
        self._submit = submit

    def round(self, count: int) -> list[float]:
        return [self._submit(self._changes) / self._changes for _ in range(count)]


def _score(
    changes: int, *, durable: bool = False, uvloop: bool = False
) -> Callable[[], AbstractContextManager[Opened]]:
    @contextmanager
    def opened() -> Iterator[Opened]:
        payloads = [lean.put(KEYS[i % 1000], i) for i in range(changes)]
        with servers.score_server(durable=durable, uvloop=uvloop) as running:
            author = lean.Lean(running.port).open_session().join("figures")
            yield Pipeline(running.pid, changes, lambda _: lean.pipeline(author, payloads))
            author.close()

    return opened


def _redis(changes: int, durable: bool) -> Callable[[], AbstractContextManager[Opened]]:
    @contextmanager
    def opened() -> Iterator[Opened]:
        with servers.redis_server(durable=durable) as running:
            client = redis_client(running)

            def submit(count: int) -> float:
                begun = time.perf_counter()
                for start in range(0, count, 512):
                    pipe: Any = client.pipeline(transaction=False)
                    for i in range(start, min(count, start + 512)):
                        pipe.hset("figures", KEYS[i % 1000], i)
                    pipe.execute()
                return time.perf_counter() - begun

            yield Pipeline(running.pid, changes, submit)

    return opened


def run(scale: Scale) -> Result:
    changes = scale.pick(2_000, 30_000, 200_000)
    contenders = [
        Contender("score, memory", _score(changes)),
        Contender("score's core, asyncio + uvloop", _score(changes, uvloop=True)),
        Contender("score, SQLite", _score(changes, durable=True)),
        Contender("redis-py pipeline, no persistence", _redis(changes, False)),
        Contender("redis-py pipeline, appendfsync always", _redis(changes, True)),
    ]
    result = Result(5, TITLE)
    result.figures = compare(5, "change", contenders, rounds=scale.pick(1, 4, 9), count=1)
    memory = rate_of(result.figures, "score, memory", "separate")
    durable = rate_of(result.figures, "score, SQLite", "separate")
    result.verdicts = [
        judge(5, "memory >= 300,000 changes/s", memory, 1.0, 300_000, most=False, unit="/s"),
        judge(5, "durable >= 0.45x memory", durable, memory, 0.45, most=False),
    ]
    return result
