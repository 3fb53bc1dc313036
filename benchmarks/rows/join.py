"""Row 8: how long a program waits for a group's state when it joins; redis's HGETALL as the measure.

The groups lie in SQLite files that a server of their own has just opened; both sides end with a dict of text to
int.  *Snapshot* is a group that ``score compact`` has been through; *replay* is one whose log is read as it stands,
where a change for each key is the worst case.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import score
from score.tools.compaction import compact

from .. import lean, machine, prefill, servers
from ..peers import redis_client
from ..results import Figure, Result, judge, p50_of, rate_of
from ..rounds import Missing
from . import Scale

TITLE = "joining a group"
BULK = 1000
GROUP = "joined"
Join = Callable[[], dict[str, int]]


def _single(count: int, keys: int) -> Iterator[bytes]:
    return (lean.put(f"key {i % keys}", i) for i in range(count))


def _bulk(count: int) -> Iterator[bytes]:
    for start in range(0, count, BULK):
        yield lean.put_many({f"key {i}": i for i in range(start, start + BULK)})


def run(scale: Scale) -> Result:
    result = Result(8, TITLE)
    few = scale.pick(1000, 100_000, 100_000)
    many = scale.pick(10_000, 1_000_000, 1_000_000)
    changes = scale.pick(5_000, 300_000, 1_000_000)
    snapshot = f"{few:,} keys, snapshot"
    replay = f"{changes:,} changes of 1,000 keys, replay"
    with ExitStack() as stack:
        # What is joined, how many units of work that is, and how it is done.
        cases: dict[str, tuple[int, Join]] = {
            snapshot: (few, _score(stack, _single(few, few), compacted=True)),
            f"{few:,} keys, a change each, replay": (few, _score(stack, _single(few, few))),
            f"{few:,} keys, 1,000 a change, replay": (few, _score(stack, _bulk(few))),
            f"{many:,} keys, 1,000 a change, replay": (many, _score(stack, _bulk(many))),
            replay: (changes, _score(stack, _single(changes, 1000))),
        }
        hgetall = f"HGETALL of {few:,} keys"
        try:
            cases[hgetall] = few, _redis(stack, few)
            cases[f"HGETALL of {many:,} keys"] = many, _redis(stack, many)
        except Missing as missing:
            result.figures.append(Figure(8, "HGETALL", "redis", "", note=str(missing)))
        seconds = _interleaved({work: join for work, (_, join) in cases.items()}, scale)
    for work, (units, _) in cases.items():
        who = "redis" if work.startswith("HGETALL") else "score, SQLite"
        took = seconds[work]
        result.figures.append(
            Figure(8, work, who, "separate", p50_us=1e6 * took, rate=units / took)
        )
    ours = p50_of(result.figures, "score, SQLite", work=snapshot)
    theirs = p50_of(result.figures, "redis", work=hgetall)
    rate = rate_of(result.figures, "score, SQLite", work=replay)
    result.verdicts = [
        judge(8, f"{snapshot}: time <= 0.5x HGETALL", ours, theirs, 0.5, most=True),
        judge(8, "replay >= 500,000 changes/s", rate, 1.0, 500_000, most=False, unit="/s"),
    ]
    return result


def _interleaved(joins: dict[str, Join], scale: Scale) -> dict[str, float]:
    """The median seconds of each."""
    machine.pin(machine.CLIENT_CORE)
    times: dict[str, list[float]] = {work: [] for work in joins}
    order = list(joins.items())
    for _ in range(scale.pick(1, 7, 14)):
        order.reverse()  # nobody always comes behind the same one
        for work, join in order:
            gc.collect()
            begun = time.perf_counter()
            found = join()
            times[work].append(time.perf_counter() - begun)
            assert found
            del found  # now: giving back a million keys is nobody else's work
    return {work: statistics.median(found) for work, found in times.items()}


def _score(stack: ExitStack, payloads: Iterator[bytes], *, compacted: bool = False) -> Join:
    """Joining a group that holds *payloads*, on a server of its own."""
    path = str(Path(stack.enter_context(servers.scratch()), "join.db"))
    prefill.log(path, GROUP, payloads)
    running = stack.enter_context(servers.score_server(path=path))
    machine.pin(machine.SERVER_CORES["separate"], [running.pid])
    client = stack.enter_context(score.connect(running.url, timeout=300, wait=30))
    if compacted:
        with score.connect(running.url, timeout=300) as checker:
            compact(client, checker, GROUP)
    return lambda: score.SMap[str, int](client, GROUP)


def _redis(stack: ExitStack, size: int) -> Join:
    """HGETALL of a hash of *size* fields, decoded."""
    running = stack.enter_context(servers.redis_server(durable=False))
    machine.pin(machine.SERVER_CORES["separate"], [running.pid])
    client = redis_client(running)
    for start in range(0, size, BULK):
        client.hset(GROUP, mapping={f"key {i}": i for i in range(start, start + BULK)})
    return lambda: {key.decode(): int(value) for key, value in client.hgetall(GROUP).items()}
