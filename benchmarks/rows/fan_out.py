"""Row 6: one writer, many watchers; the time until the last watcher has the last change.

All do the same work: every watcher keeps a dict current.  A redis subscriber reads each message's JSON and sets the
key.  Ours follow in two ways: ``watch()`` tells each change with its old and new value; ``wait_for`` only keeps
the view current, many changes at a time.  Watchers share a few processes, each of which reads its own
one after the other until all of them have everything; the buffers between (the kernel's, redis's, score's
log) hold what is not read yet.

Two lines are limits.  "Decode and hash alone" is what the watchers' processes do with the same entries if no server,
writer, socket and check of a field takes anything: per run of entries one call of cbor2 for the entries and one for
their payloads, per entry one BLAKE2b, and one ``dict.update``.  Five times redis-py's rate is to be held against it:
where the goal is above half of this line, a watcher has for all the rest less than these calls take, and a tenth of
what redis-py's subscriber takes in all.  "Writer alone" is how fast a blocking writer sets the keys when nobody
watches, as deliveries: no watcher can be told more.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import score
from score.runs import RUN_ENTRIES_MAX
from score_server.wire.codec import decode_columns
from score_server.wire.entry import Entry, chains_behind, encode_run
from score_server.wire.heads import ARRAY, head
from ucore.codes import OPS_VERSION, PUT

from .. import crowd, lean, machine, servers
from ..peers import redis_client
from ..results import Figure, Result, judge
from ..rounds import Missing
from . import Scale

TITLE = "one writer, 50 and 1,000 watchers"
PROCESSES = 10
KEYS = 100
WRITERS = BLOCKING, PIPELINED = "blocking", "pipelined"
SILENCE_S = 0.02  # a watch connects when it is first waited for: so long


class Views:
    """Some views in one process, each with a client of its own."""

    def __init__(
        self, index: int, port: int, channel: str, counts: list[int], changes: int
    ) -> None:
        self._port, self._channel = port, channel
        self._count, self._changes = counts[index], changes
        self._stack = ExitStack()
        self._views: list[score.SMap[str, int]] = []

    def prepare(self) -> None:
        for _ in range(self._count):
            client = self._stack.enter_context(
                score.connect(f"score://127.0.0.1:{self._port}", timeout=120)
            )
            self._views.append(score.SMap[str, int](client, self._channel))

    def end(self) -> None:
        self._stack.close()


class Watches(Views):
    """By ``watch()``: one change after the other."""

    def prepare(self) -> None:
        super().prepare()
        self._watches = [
            self._stack.enter_context(view.watch(timeout=SILENCE_S)) for view in self._views
        ]
        for watch in self._watches:
            assert next(watch, None) is None, "connected, and nothing there yet"

    def work(self) -> float:
        for watch in self._watches:
            left = self._changes
            while left:  # a loop over a watch ends after a silence; the next one goes on
                for _ in watch:
                    left -= 1
                    if not left:
                        break
        return time.monotonic()


class Followers(Views):
    """By ``wait_for``: until the last change is there.  Each connects when it begins to wait."""

    def work(self) -> float:
        last = self._changes - 1
        for view in self._views:
            view.wait_for(lambda view=view: view.get(f"key {last % KEYS}") == last)  # type: ignore[misc]
        return time.monotonic()


class DecodeAndHash:
    """What cannot be left out, for some watchers in one process: their entries are here already."""

    # What the bytes of all the entries, and of all their payloads, begin with.
    ENTRY = head(len(Entry._fields), ARRAY)
    PAYLOAD = head(2, ARRAY) + head(OPS_VERSION) + head(5, ARRAY) + head(PUT) + head(0) + head(0)

    def __init__(self, index: int, _port: int, _: str, counts: list[int], changes: int) -> None:
        self._count, self._changes = counts[index], changes

    def prepare(self) -> None:
        payloads = [lean.put(f"key {i % KEYS}", i) for i in range(self._changes)]
        first = Entry(1, 0, 1_790_000_000_000, bytes(16), 1, "lean", payloads[0])
        encoded, _ = encode_run(first, payloads, bytes(16))
        starts = range(0, len(encoded), RUN_ENTRIES_MAX)
        self._runs = [encoded[start : start + RUN_ENTRIES_MAX] for start in starts]

    def work(self) -> float:
        for _ in range(self._count):
            current: dict[Any, Any] = {}
            chain = bytes(16)
            for run in self._runs:
                columns: Any = decode_columns(run, self.ENTRY, len(Entry._fields))
                pairs: Any = decode_columns(columns[-1], self.PAYLOAD, 2)
                current.update(zip(*pairs, strict=True))
                chain = chains_behind(chain, run)[-1]
            assert len(current) == min(KEYS, self._changes)
        return time.monotonic()

    def end(self) -> None:
        pass


class RedisSubscribers:
    """Some subscribers in one process."""

    def __init__(
        self, index: int, port: int, channel: str, counts: list[int], changes: int
    ) -> None:
        self._port, self._channel = port, channel
        self._count, self._changes = counts[index], changes
        self._subscribers: list[Any] = []

    def prepare(self) -> None:
        for _ in range(self._count):
            subscriber = redis_client(servers.Running(0, self._port)).pubsub()
            subscriber.subscribe(self._channel)
            assert subscriber.get_message(timeout=30)["type"] == "subscribe"
            self._subscribers.append(subscriber)

    def work(self) -> float:
        for subscriber in self._subscribers:
            current: dict[str, int] = {}
            for _ in range(self._changes):
                while (message := subscriber.get_message(timeout=60)) is None:
                    pass
                key, value = json.loads(message["data"])
                current[key] = value
            assert len(current) == min(KEYS, self._changes)
        return time.monotonic()

    def end(self) -> None:
        for subscriber in self._subscribers:
            subscriber.close()


class Writer:
    """Beside the watchers, in a process of its own: makes the changes, one by one or pipelined."""

    def __init__(self, kind: str, port: int, channel: str, changes: int, pipelined: bool) -> None:
        self._port, self._channel, self._changes = port, channel, changes
        self._pipelined = pipelined
        self._stack = ExitStack()
        self._write = {"score": self._score, "redis": self._redis}[kind]()

    def prepare(self) -> None:
        """Connected already: who watches comes after."""

    def work(self) -> float:
        begun = time.monotonic()
        self._write()
        return begun

    def end(self) -> None:
        self._stack.close()

    def _score(self) -> Callable[[], object]:
        changes = [(f"key {i % KEYS}", i) for i in range(self._changes)]
        if self._pipelined:
            author = lean.Lean(self._port).open_session().join(self._channel)
            self._stack.callback(author.close)
            payloads = [lean.put(key, value) for key, value in changes]
            return lambda: lean.pipeline(author, payloads)
        client = self._stack.enter_context(
            score.connect(f"score://127.0.0.1:{self._port}", timeout=120)
        )
        shared = score.SMap[str, int](client, self._channel)

        def one_by_one() -> None:
            for key, value in changes:
                shared[key] = value

        return one_by_one

    def _redis(self) -> Callable[[], object]:
        client = redis_client(servers.Running(0, self._port))
        self._stack.callback(client.close)
        messages = [json.dumps([f"key {i % KEYS}", i]) for i in range(self._changes)]
        if not self._pipelined:
            return lambda: [client.publish(self._channel, message) for message in messages]

        def pipelined() -> None:
            for start in range(0, len(messages), 128):
                pipe = client.pipeline(transaction=False)
                for message in messages[start : start + 128]:
                    pipe.publish(self._channel, message)
                pipe.execute()

        return pipelined


class WriterAlone:
    """One process, and nobody watches; its result is the seconds that the changes took."""

    def __init__(self, _index: int, port: int, channel: str, changes: int) -> None:
        self._writer = Writer("score", port, channel, changes, False)
        self.prepare, self.end = self._writer.prepare, self._writer.end

    def work(self) -> float:
        begun = self._writer.work()
        return time.monotonic() - begun


class Nobody:
    """In the writer's place, where the watchers have all that they need."""

    def prepare(self) -> None:
        pass

    def work(self) -> float:
        return time.monotonic()

    def end(self) -> None:
        pass


class Member:
    """Process 0 writes, the others watch."""

    def __init__(
        self,
        index: int,
        watchers: type[Views] | type[RedisSubscribers] | type[DecodeAndHash],
        port: int,
        channel: str,
        counts: list[int],
        changes: int,
        pipelined: bool,
    ) -> None:
        self._job: Any
        if index == 0 and watchers is DecodeAndHash:
            self._job = Nobody()
        elif index == 0:
            kind = "redis" if watchers is RedisSubscribers else "score"
            self._job = Writer(kind, port, channel, changes, pipelined)
        else:
            self._job = watchers(index - 1, port, channel, counts, changes)
        self.prepare, self.work, self.end = self._job.prepare, self._job.work, self._job.end


REDIS = "redis-py pub/sub"
CONTENDERS = {"score, watch": Watches, "score, wait_for": Followers, REDIS: RedisSubscribers}
# They are given as deliveries as well.
LIMIT_ROUNDS = 3
DECODING, ALONE = "decode and hash alone (the limit)", "writer alone, no watchers (the limit)"


def run(scale: Scale) -> Result:
    result = Result(6, TITLE)
    machine.allow_open_files(12_000)
    # (watchers, changes): a thousand watchers of 2,000 changes take two minutes.
    cases = scale.pick(((5, 100),), ((50, 2000), (1000, 500)), ((50, 2000), (1000, 2000)))
    with crowd.crowd(1 + PROCESSES) as many, ExitStack() as stack:
        ours = stack.enter_context(servers.score_server())
        ports = {name: ours.port for name in CONTENDERS if name != REDIS}
        try:
            ports[REDIS] = stack.enter_context(servers.redis_server(durable=False)).port
        except Missing as missing:
            result.figures.append(Figure(6, "", REDIS, "", note=str(missing)))
        for size, changes in cases:
            # The large case is long enough by itself to need no further rounds.
            rounds = 1 if size > 50 else scale.pick(1, 2, 3)
            for how in WRITERS:
                work = f"{size:,} watchers, {changes:,} changes, writer {how}"
                rates = _measure(many, ports, size, changes, how, rounds)
                limit = _alone if how == BLOCKING else _decoding
                rates |= limit(many, ours.port, size, changes)
                result.figures += [
                    Figure(6, work, name, "both", rate=rate, note="deliveries")
                    for name, rate in rates.items()
                ]
                for name in ports:
                    if name != REDIS:
                        goal = f"{name}, {work}: deliveries/s >= 5x redis-py pub/sub"
                        verdict = judge(6, goal, rates[name], rates.get(REDIS), 5.0, most=False)
                        result.verdicts.append(verdict)
    return result


def _decoding(many: crowd.Crowd, port: int, size: int, changes: int) -> dict[str, float]:
    """The limit of whoever follows."""
    counts = list(crowd.spread(size, PROCESSES))
    seconds = []
    for _ in range(LIMIT_ROUNDS):
        begun, *ended = many.run(Member, DecodeAndHash, port, "", counts, changes, False)
        seconds.append(max(ended) - begun)
    return {DECODING: size * changes / statistics.median(seconds)}


def _alone(many: crowd.Crowd, port: int, size: int, changes: int) -> dict[str, float]:
    """The limit of whoever waits for a blocking writer."""
    seconds = [
        many.run(WriterAlone, port, f"alone {size} {turn}", changes, size=1)[0]
        for turn in range(LIMIT_ROUNDS)
    ]
    return {ALONE: size * changes / statistics.median(seconds)}


def _measure(
    many: crowd.Crowd, ports: dict[str, int], size: int, changes: int, how: str, rounds: int
) -> dict[str, float]:
    """Deliveries a second of each contender, the median of the rounds."""
    counts = list(crowd.spread(size, PROCESSES))
    found: dict[str, list[float]] = {name: [] for name in ports}
    for turn in range(rounds):
        for name, port in ports.items():
            channel = f"{name} {size} {how} {turn}"
            begun, *ended = many.run(
                Member, CONTENDERS[name], port, channel, counts, changes, how == PIPELINED
            )
            found[name].append(size * changes / (max(ended) - begun))
    return {name: statistics.median(rates) for name, rates in found.items()}
