"""Row 8: how long a program waits for a group's state when it joins; redis's HGETALL as the measure.

The log is read from SQLite by a server that has just started.  Both sides end with a dict of text to int.
A group's log is replayed as it stands; ``changes of one key each`` is the worst case, 1,000 a change is a bulk load.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import score

from .. import lean, machine, prefill, servers
from ..peers import redis_client
from ..results import Figure, Result, Verdict, judge
from ..rounds import Missing
from . import Scale

TITLE = "joining a group"
BULK = 1000


def _single(count: int, keys: int) -> Iterator[bytes]:
    return (lean.put(f"key {i % keys}", i) for i in range(count))


def _bulk(count: int) -> Iterator[bytes]:
    for start in range(0, count, BULK):
        yield lean.put_many({f"key {i}": i for i in range(start, start + BULK)})


def _median(join: Callable[[], dict[str, int]], size: int, rounds: int) -> float:
    """Seconds of one *join*, which must give *size* keys."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        found = join()
        times.append(time.perf_counter() - begun)
        assert len(found) == size, f"{len(found)} keys"
    return statistics.median(times)


def run(scale: Scale) -> Result:
    result = Result(8, TITLE)
    few = scale.pick(1000, 100_000, 100_000)
    many = scale.pick(10_000, 1_000_000, 1_000_000)
    changes = scale.pick(5_000, 300_000, 1_000_000)
    rounds = scale.pick(1, 3, 5)
    cases = {
        f"{few:,} keys, a change each": (_single(few, few), few),
        f"{few:,} keys, 1,000 a change": (_bulk(few), few),
        f"{many:,} keys, 1,000 a change": (_bulk(many), many),
        f"{changes:,} changes of 1,000 keys": (_single(changes, 1000), 1000),
    }
    found: dict[str, float] = {}
    for work, (payloads, size) in cases.items():
        found[work] = _score(payloads, size, rounds)
        units = changes if "changes of" in work else size
        result.figures.append(
            Figure(
                8,
                work,
                "score, SQLite, replay",
                "separate",
                p50_us=1e6 * found[work],
                rate=units / found[work],
            )
        )
    redis: dict[int, float] = {}
    for size in (few, many):
        try:
            redis[size] = _redis(size, rounds)
        except Missing as missing:
            result.figures.append(Figure(8, "HGETALL", "redis", "", note=str(missing)))
            continue
        result.figures.append(
            Figure(
                8,
                f"HGETALL of {size:,} keys",
                "redis",
                "separate",
                p50_us=1e6 * redis[size],
                rate=size / redis[size],
            )
        )
    for work in list(cases)[:2]:
        goal = f"{work}: time <= 0.5x HGETALL"
        result.verdicts.append(judge(8, goal, found[work], redis.get(few), 0.5, most=True))
    replay = changes / found[f"{changes:,} changes of 1,000 keys"]
    result.verdicts.append(
        Verdict(8, "log replay >= 500,000 changes/s", f"{replay:,.0f}/s", replay >= 500_000)
    )
    return result


def _score(payloads: Iterator[bytes], size: int, rounds: int) -> float:
    with servers.scratch() as folder:
        path = str(Path(folder, "join.db"))
        prefill.log(path, "joined", payloads)
        with servers.score_server(path=path) as running:
            machine.pin(machine.CLIENT_CORE)
            machine.pin(machine.SERVER_CORES["separate"], [running.pid])
            with score.connect(running.url, timeout=300, wait=30) as client:
                return _median(lambda: score.SMap[str, int](client, "joined"), size, rounds)


def _redis(size: int, rounds: int) -> float:
    with servers.redis_server(durable=False) as running:
        client = redis_client(running)
        for start in range(0, size, BULK):
            client.hset("joined", mapping={f"key {i}": i for i in range(start, start + BULK)})
        machine.pin(machine.CLIENT_CORE)
        machine.pin(machine.SERVER_CORES["separate"], [running.pid])
        return _median(
            lambda: {key.decode(): int(value) for key, value in client.hgetall("joined").items()},
            size, rounds,
        )  # fmt: skip
