"""Row 3: many blocking writers, each a process with one client; and the same server under lean writers.

*Lean* writers are fifty connections played by one process with submissions encoded beforehand
(``lean.writers``): there the server is what is measured, where fifty Python clients on two
cores mostly measure themselves.

The limit beside it is the store alone: commits that each hold a change of every writer.  A server that shares its core
with its store cannot do better than memory's time for a change and the store's, one after the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from statistics import median
from typing import Any

import score
from score_server.stores.base import Commit, NewEntry, NewGroup, SessionChange, StoredOutcome
from score_server.stores.sqlite import SqliteStore
from score_server.wire.entry import next_chain

from .. import crowd, lean, machine, servers
from ..peers import KEYS, redis_client
from ..results import Figure, Result, judge, rate_of
from ..rounds import Missing, percentile
from . import Scale

TITLE = "10 and 50 blocking writers"
Set = Callable[[int], object]


class Writer:
    """Sets keys for *seconds*; gives how many, and the median and 99th percentile of a call."""

    def __init__(self, index: int, seconds: float) -> None:
        self.index = index
        self._seconds = seconds
        self._stack = ExitStack()
        self._set: Set

    def opened(self) -> Set:
        raise NotImplementedError

    def prepare(self) -> None:
        self._set = self.opened()
        for i in range(5):
            self._set(i)

    def keep(self, manager: AbstractContextManager[Any]) -> Any:
        return self._stack.enter_context(manager)

    def work(self) -> tuple[int, float, float]:
        clock, operate = time.perf_counter, self._set
        times: list[float] = []
        now = begun = clock()
        while now - begun < self._seconds:
            operate(len(times))
            before, now = now, clock()
            times.append(now - before)
        return len(times), percentile(times, 0.5), percentile(times, 0.99)

    def end(self) -> None:
        self._stack.close()


class ScoreWriter(Writer):
    def __init__(self, index: int, port: int, group: str, seconds: float) -> None:
        super().__init__(index, seconds)
        self._port, self._group = port, group

    def opened(self) -> Set:
        client = self.keep(score.connect(f"score://127.0.0.1:{self._port}", timeout=120))
        shared = score.SMap[str, int](client, self._group.format(self.index))
        return lambda i: shared.__setitem__(KEYS[i % 1000], i)


class RedisWriter(Writer):
    def __init__(self, index: int, port: int, group: str, seconds: float) -> None:
        super().__init__(index, seconds)
        self._port, self._group = port, group

    def opened(self) -> Set:
        client = redis_client(servers.Running(0, self._port))
        self._stack.callback(client.close)
        name = self._group.format(self.index)
        return lambda i: client.hset(name, KEYS[i % 1000], i)


SERVERS: dict[str, tuple[Callable[[], AbstractContextManager[servers.Running]], type[Writer]]] = {
    "score, memory": (servers.score_server, ScoreWriter),
    "score's core, asyncio + uvloop": (lambda: servers.score_server(uvloop=True), ScoreWriter),
    "score, SQLite": (lambda: servers.score_server(durable=True), ScoreWriter),
    "redis, no persistence": (lambda: servers.redis_server(durable=False), RedisWriter),
    "redis, appendfsync always": (lambda: servers.redis_server(durable=True), RedisWriter),
}
STORE = "the store alone, all in one commit (the limit)"
LEAN = tuple(name for name in SERVERS if name.startswith("score"))
OWN, ONE = "own groups", "one group"
PLACES = {"server alone on a core": True, "all on both cores": False}


def run(scale: Scale) -> Result:
    result = Result(3, TITLE)
    seconds = scale.pick(0.2, 0.7, 3.0)
    rounds = scale.pick(1, 2, 3)
    sizes = scale.pick((4,), (10, 50), (10, 50))
    with crowd.crowd(max(sizes)) as many, _servers(result) as running:
        serial = 0
        for size in sizes:
            for groups in (OWN, ONE):
                for place, alone in PLACES.items():
                    _place(many, running, alone)
                    found: dict[str, list[tuple[int, float, float]]] = {}
                    for _ in range(rounds):
                        for name, server in running.items():
                            serial += 1
                            group = f"{serial}" + (" {}" if groups == OWN else "")
                            found.setdefault(name, []).extend(
                                many.run(SERVERS[name][1], server.port, group, seconds, size=size)
                            )
                    work = f"{size} processes, {groups}"
                    result.figures += [
                        _figure(work, name, place, found[name], rounds * seconds) for name in found
                    ]
        _lean(result, running, sizes, rounds, seconds)
    _judge(result, sizes)
    return result


@contextmanager
def _servers(result: Result) -> Iterator[dict[str, servers.Running]]:
    with ExitStack() as stack:
        running = {}
        for name, (start, _) in SERVERS.items():
            try:
                running[name] = stack.enter_context(start())
            except Missing as missing:
                result.figures.append(Figure(3, "", name, "", note=str(missing)))
        yield running


def _place(many: crowd.Crowd, running: dict[str, servers.Running], alone: bool) -> None:
    many.pin(machine.CORES[0] if alone else None)
    for server in running.values():
        machine.pin(machine.CORES[-1] if alone else None, [server.pid])


def _figure(
    work: str, name: str, place: str, found: list[tuple[int, float, float]], seconds: float
) -> Figure:
    return Figure(
        3, work, name, place,
        p50_us=1e6 * percentile([p50 for _, p50, _ in found], 0.5),
        p99_us=1e6 * percentile([p99 for _, _, p99 in found], 0.5),
        rate=sum(count for count, _, _ in found) / seconds,
    )  # fmt: skip


def _lean(
    result: Result,
    running: dict[str, servers.Running],
    sizes: tuple[int, ...],
    rounds: int,
    seconds: float,
) -> None:
    payload = lean.put("key 77", 123456)
    machine.pin(machine.CORES[0])
    for server in running.values():
        machine.pin(machine.CORES[-1], [server.pid])
    for size in sizes:
        done = dict.fromkeys((name for name in LEAN if name in running), 0)
        for turn in range(rounds):
            for name in done:
                leans = [
                    lean.Lean(running[name].port).open_session().join(f"lean {turn} {i}")
                    for i in range(size)
                ]
                done[name] += lean.writers(leans, payload, seconds)
                for one in leans:
                    one.close()
        result.figures += [
            Figure(3, f"{size} lean writers, {OWN}", name, "server alone on a core", rate=count / rounds / seconds)
            for name, count in done.items()
        ]  # fmt: skip
        result.figures.append(_store_alone(size, round(seconds * 500)))
    machine.pin(None)


def _store_alone(size: int, count: int) -> Figure:
    """Commits of a change of each of *size* writers, each in a group of its own, that settles the one before."""
    walls, cpus = [], []
    with servers.scratch() as folder:
        store = SqliteStore(f"{folder}/store.db")
        names = [f"lean {index}" for index in range(size)]
        sessions = [index.to_bytes(16, "big") for index in range(size)]
        chains = [name.encode().ljust(16) for name in names]
        store.commit(Commit(tuple(map(NewGroup, names, chains))))
        for position in range(1, count + 1):
            entries, changes = [], []
            for index, name in enumerate(names):
                chains[index] = next_chain(chains[index], b"x" * 90)
                entries.append(
                    NewEntry(name, position, position - 1, b"x" * 90, chains[index], position)
                )
                outcome = StoredOutcome(position, position, name, pinned=False)
                changes.append(
                    SessionChange(sessions[index], "lean", position, position - 1, (outcome,))
                )
            batch = Commit((), tuple(entries), tuple(changes))
            wall, cpu = time.perf_counter(), time.process_time()
            store.commit(batch)
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
        store.close()
    return Figure(
        3, f"{size} lean writers, {OWN}", STORE, "server alone on a core",
        p50_us=1e6 * median(walls), p99_us=1e6 * percentile(walls, 0.99), rate=size * count / sum(walls),
        note=f"{1e6 * sum(cpus) / size / count:.1f} µs of processor time a change",
    )  # fmt: skip


def _judge(result: Result, sizes: tuple[int, ...]) -> None:
    works = {figure.work for figure in result.figures if figure.work}
    for work in sorted(works):
        place = "server alone on a core"
        memory, uvloop, durable = (rate_of(result.figures, name, place, work) for name in LEAN)
        result.verdicts.append(
            judge(
                3, f"{work}: memory >= 0.9x the uvloop yardstick", memory, uvloop, 0.9, most=False
            )
        )
        result.verdicts.append(
            judge(3, f"{work}: durable >= 0.65x memory", durable, memory, 0.65, most=False)
        )
