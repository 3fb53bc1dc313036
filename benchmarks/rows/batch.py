"""Row 4: a hundred sets as one atomic change, in one round trip.

The lines "one set (the floor)" are the same contenders with one set in place of a hundred, in turn with the others:
what a call takes whatever it carries.  A goal that is below ours can be reached by no handling of the pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from .. import servers
from ..peers import KEYS, Setter, redis_client, redis_set, score_map, score_set
from ..results import Result, judge, rate_of
from ..rounds import Contender, Opened, compare
from . import Scale

TITLE = "100 sets as one change"
SETS = 100
FLOOR = ", one set (the floor)"


def _score_batch(durable: bool) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Opened]:
        with score_map(durable) as (pid, shared):

            def operate(i: int) -> None:
                with shared.batch() as batch:
                    for j in range(SETS):
                        batch[KEYS[j]] = i

            yield Setter([pid], operate)

    return opened


def _score_update(durable: bool) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Opened]:
        with score_map(durable) as (pid, shared):
            yield Setter([pid], lambda i: shared.update(dict.fromkeys(KEYS[:SETS], i)))

    return opened


def _redis(durable: bool) -> Callable[[], Any]:
    @contextmanager
    def opened() -> Iterator[Opened]:
        with servers.redis_server(durable=durable) as running:
            client = redis_client(running)
            yield Setter(
                [running.pid],
                lambda i: client.hset("figures", mapping=dict.fromkeys(KEYS[:SETS], i)),
            )

    return opened


def run(scale: Scale) -> Result:
    contenders = [
        Contender("score update, memory", _score_update(False)),
        Contender("score batch, memory", _score_batch(False)),
        Contender("redis HSET mapping, no persistence", _redis(False)),
        Contender("score update, SQLite", _score_update(True)),
        Contender("score batch, SQLite", _score_batch(True)),
        Contender("redis HSET mapping, appendfsync always", _redis(True)),
        Contender(f"score, memory{FLOOR}", score_set(False)),
        Contender(f"redis, no persistence{FLOOR}", redis_set(False)),
        Contender(f"score, SQLite{FLOOR}", score_set(True)),
        Contender(f"redis, appendfsync always{FLOOR}", redis_set(True)),
    ]
    result = Result(4, TITLE)
    result.figures = compare(
        4, "100 sets", contenders, rounds=scale.pick(1, 4, 8), count=scale.pick(20, 250, 1000),
        per=SETS,
    )  # fmt: skip
    result.figures = [
        replace(figure, work="1 set", rate=figure.rate / SETS)
        if figure.who.endswith(FLOOR) and figure.rate
        else figure
        for figure in result.figures
    ]
    for how in ("update", "batch"):
        for store, peer in (("memory", "no persistence"), ("SQLite", "appendfsync always")):
            for cores in ("same", "separate"):
                ours = rate_of(result.figures, f"score {how}, {store}", cores=cores)
                redis = rate_of(result.figures, f"redis HSET mapping, {peer}", cores=cores)
                result.verdicts.append(
                    judge(
                        4, f"{how}, {store}: sets/s >= 1.2x redis HSET mapping, {cores} core(s)",
                        ours, redis, 1.2, most=False,
                    )
                )  # fmt: skip
    return result
