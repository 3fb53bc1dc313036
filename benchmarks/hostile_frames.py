"""What the worst frames cost: CPU per MiB of an adversarial corpus, for a server and for a client.

    python benchmarks/hostile_frames.py

Every frame is of the largest size allowed and accepted: what costs most for its length comes first, as much
of it as a frame may hold, and the rest is filled up with long payloads, which cost nearly nothing.  A server
is its ``Connection``, its ``Core`` with a store in memory, and the encoding of its answers; a client is
its ``Conversation`` with a view, so that what peers have changed is applied as well.

What a peer's change says is applied, and that is work which the frame's length does not bound.  What
CPython itself takes to build the same values from bytes, with ``pickle``, is given beside it (*floor*).
"""

from __future__ import annotations

import gc
import os
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import cbor2

from score.conversation import Conversation
from score.errors import ScoreError
from score.replica import Replica
from score_server.core import Core
from score_server.core.events import CloseAfterOutput, Connected, Received, Wake
from score_server.shell.committer import Clerk
from score_server.stores.base import Commit, NewGroup
from score_server.stores.memory import MemoryStore
from score_server.wire import messages as m
from score_server.wire.connection import Connection, Role
from score_server.wire.entry import Entry, encode_entry
from score_server.wire.fields import ENTRIES_MAX, GROUPS_MAX
from score_server.wire.limits import MIB, Limits
from ucore import UVec
from ucore.tree import Tree

LIMITS = Limits()
ITEMS = LIMITS.frame_items_max - 4  # room for what fills the frame up
SESSION, INCARNATION = b"s" * 16, b"i" * 16
GROUPS = 10_000
EVENTS_MAX = 64  # as the server's shell does it
ROUNDS = 2


def frame(plain: list[Any]) -> bytes:
    body = cbor2.dumps(plain)
    assert len(body) <= LIMITS.frame_bytes_max
    return len(body).to_bytes(4, "big") + body


# ---------------------------------------------------------------- a server


class Server:
    """A server's protocol, core and store, and one client that reads every answer."""

    def __init__(self) -> None:
        self._now_ms = 1_700_000_000_000
        self._ids = 0
        store = MemoryStore()
        names = [f"group {number:06}" for number in range(GROUPS)]
        store.commit(Commit(tuple(NewGroup(name, INCARNATION) for name in names)))
        self._clerk = Clerk(store)
        self._core = Core(store.load(), LIMITS, self._new_id, "bench", self._now_ms)
        self._wire = Connection(Role.SERVER, LIMITS)
        self._client = Connection(Role.CLIENT)
        self._do(self._core.handle(Connected(1), self._now_ms))
        self.hear(self._client.send(m.Hello(1, "me", [], None)))
        assert isinstance(self._client.next_message(), m.Welcome)
        self.hear(self._client.send(m.OpenSession(None), m.Join(1, "g", None)))

    def _new_id(self) -> bytes:
        self._ids += 1
        return self._ids.to_bytes(16, "big")

    def _do(self, effects: list[Any]) -> None:
        while effects:
            events: list[Any] = []
            for effect in effects:
                if not isinstance(effect, Wake | CloseAfterOutput):
                    events.append(self._clerk.do(effect))
            effects = self._core.handle_all(events, self._now_ms) if events else []

    def hear(self, data: bytes) -> None:
        """Take *data*, and send what it leads to."""
        self._wire.receive_data(data)
        while events := self._received():
            self._do(self._core.handle_all(events, self._now_ms))
            while self._core.has_output(1):
                answers = self._core.output(1, 256 * 1024)
                self._do(self._core.take_effects())
                if answers:
                    self._client.receive_data(self._wire.send(*answers))

    def _received(self) -> list[Any]:
        events: list[Any] = []
        while len(events) < EVENTS_MAX:
            message = self._wire.next_message()
            if not isinstance(message, tuple):
                break
            events.append(Received(1, message))
        return events


def submit(seq: int, payload: bytes = b"", channel: int = 1) -> m.Submit:
    return m.Submit(channel, seq, seq - 1, 0, 0, 0, payload)


def many(kind: Callable[[int], m.Message]) -> list[m.Message]:
    return [kind(number) for number in range(1, ITEMS + 1)]


def rounds(*kinds: Callable[[int], m.Message]) -> list[m.Message]:
    """Each of *kinds* in turn, with one number for all of a round."""
    count = ITEMS // len(kinds)
    return [kind(number) for number in range(2, count + 2) for kind in kinds]


def to_server() -> Iterator[tuple[str, list[m.Message]]]:
    name = "n" * LIMITS.name_bytes_max
    resume = m.Resume(INCARNATION, 1, INCARNATION)
    asked = [m.Join(number, "g", None) for number in range(2, 1025)]
    yield "Ping", many(m.Ping)
    yield "Submit", many(submit)
    yield "Submit, chained", many(lambda n: submit(n)._replace(follows=n - 1))
    yield "Submit, refused", many(lambda n: submit(n)._replace(condition=1, seen=2**62))
    yield "Submit, the same", [submit(1)._replace(settled=0)] * ITEMS
    yield "Submit, channel gone", [m.Leave(1), *many(submit)[1:]]
    yield "Sync", many(lambda n: m.Sync(1, n))
    yield "Submit and Sync", rounds(lambda n: submit(n), lambda n: m.Sync(1, n))
    yield "Credit", many(lambda _: m.Credit(1, 1))
    yield "AskOutcome, own", many(lambda n: m.AskOutcome(n, b"\0" * 15 + b"\1", n))
    yield "AskOutcome, unknown", many(lambda n: m.AskOutcome(n, SESSION, n))
    pages = ITEMS // (1 + GROUPS_MAX)
    yield "ListGroups", [m.ListGroups(n, "group 05" + name) for n in range(pages)]
    yield "Join and Leave", rounds(lambda n: m.Join(n, name, None), m.Leave)
    yield "Join and Leave, stored", rounds(lambda n: m.Join(n, f"group {n:06}", None), m.Leave)
    yield "Join, refused", many(lambda n: m.Join(n + 1, "g", resume))
    yield "Join, too many", many(lambda n: m.Join(n + 1, "g", None))
    yield "AskTurn and EndTurn", rounds(lambda n: m.AskTurn(1, n), lambda _: m.EndTurn(1))
    waiting = [*asked, *(m.AskTurn(join.channel, 1) for join in asked)]
    again = rounds(lambda n: m.EndTurn(2 + n % 1023), lambda n: m.AskTurn(2 + n % 1023, n))
    yield "AskTurn of 1,023 channels", (waiting + again)[:ITEMS]
    yield "Leave of 1,023 waiting", [*waiting, *(m.Leave(join.channel) for join in asked)]


def filled_for_server(messages: list[m.Message]) -> bytes:
    plain = [[m.CODES[type(message)], *message] for message in messages]
    left = LIMITS.frame_bytes_max - len(cbor2.dumps(plain)) - 128
    for index in range(2):
        size = min(left, LIMITS.change_bytes_max)
        left -= size
        message = submit(10**6 + index, bytes(size))._replace(settled=0)
        plain.append([m.CODES[m.Submit], *message])
    return frame(plain)


# ---------------------------------------------------------------- a client


class Client:
    """A client with a view of one group, and a server that it believes everything."""

    def __init__(self) -> None:
        self._server = Connection(Role.SERVER, LIMITS)
        self.conversation = Conversation("me")
        self.replica = Replica("g", Tree(UVec[Any]()))
        self._exchange(m.Welcome(1, "hostile", 0, [], LIMITS))
        self.conversation.send(m.OpenSession(None))
        self.conversation.join(self.replica)
        self._exchange(m.SessionOpened(SESSION), m.Joined(1, INCARNATION, 0, 0, None))

    def _exchange(self, *answers: m.Message) -> None:
        self._server.receive_data(self.conversation.data_to_send())
        while isinstance(self._server.next_message(), tuple):
            pass
        self.conversation.receive(self._server.send(*answers))


def entries(payloads: list[bytes]) -> list[bytes]:
    return [
        encode_entry(Entry(position, position - 1, 0, SESSION, position, "", payload))
        for position, payload in enumerate(payloads, 1)
    ]


def to_client() -> Iterator[tuple[str, list[Any]]]:
    whole = ITEMS // (ENTRIES_MAX + 1)
    groups = [["n", INCARNATION, 1, 0, 0, 0, 0, False]] * GROUPS_MAX
    yield "Pong", [[73, n] for n in range(ITEMS)]
    yield "Taken", [[69, n, n] for n in range(1, ITEMS)]
    yield "Synced", [[71, n, n] for n in range(ITEMS)]
    yield "Outcome", [[72, n, 1, n] for n in range(ITEMS)]
    yield "GroupPage", [[74, n, groups, False] for n in range(ITEMS // (GROUPS_MAX + 1))]
    yield "Error for channels gone", [[96, 7, 1, ""]] * ITEMS
    yield "Entries of no use", [[68, 1, [b"\0"] * ENTRIES_MAX]] * whole
    small = entries([b"\x81\x01"] * (2 * ENTRIES_MAX - 4))
    yield "Entries, empty changes", [[68, 1, small[:ENTRIES_MAX]], [68, 1, small[ENTRIES_MAX:]]]
    appends = entries([cbor2.dumps([1, [16, 0, 0, 0]])] * (2 * ENTRIES_MAX - 4))
    yield "Entries, appends", [[68, 1, appends[:ENTRIES_MAX]], [68, 1, appends[ENTRIES_MAX:]]]
    yield "Entries on a channel gone", [[96, 7, 1, ""], [68, 1, appends[:ENTRIES_MAX]]]


def filled_for_client(plain: list[Any]) -> bytes:
    left = LIMITS.frame_bytes_max - len(cbor2.dumps(plain)) - 128
    return frame([*plain, [68, 1, [bytes(left)]]] if left > 0 else plain)


def array(item: bytes, size: int) -> bytes:
    count = size // len(item)
    return b"\x9a" + count.to_bytes(4, "big") + item * count


def payloads() -> Iterator[tuple[str, bytes]]:
    """Changes of the largest size: those that mean nothing, then those that are applied."""
    size = LIMITS.change_bytes_max - 64
    deep = b"\x81" * 60 + b"\x80"
    yield "empty arrays", b"\x82\x01" + array(b"\x80", size)
    yield "arrays in arrays", b"\x82\x01" + array(b"\x81\x80", size)
    yield "deep arrays", b"\x82\x01" + array(deep, size)
    yield "empty operations", b"\x9a" + (size + 1).to_bytes(4, "big") + b"\x01" + b"\x80" * size
    yield "texts", b"\x82\x01" + array(b"\x60", size)
    yield "one blob", b"\x82\x01\x84\x10\x00\x00\x5a" + size.to_bytes(4, "big") + bytes(size)

    def extend(item: bytes) -> bytes:
        count = size // len(item)
        return b"\x82\x01\x9a" + (count + 3).to_bytes(4, "big") + b"\x11\x00\x00" + item * count

    yield "extend by small integers", extend(b"\x00")
    yield "extend by floats", extend(b"\xfb" + b"\x3f\xf1" * 4)
    yield "extend by short texts", extend(b"\x63abc")
    yield "extend by empty lists", extend(b"\x81\x18\x21")
    append = b"\x84\x10\x00\x00\x00"
    count = size // len(append)
    yield "appends", b"\x9a" + (count + 1).to_bytes(4, "big") + b"\x01" + append * count


# ---------------------------------------------------------------- measuring


def cpu_s(work: Callable[[], object]) -> float:
    gc.collect()
    started = time.process_time()
    work()
    return time.process_time() - started


def best(make: Callable[[], Callable[[], object]]) -> float:
    return min(cpu_s(make()) for _ in range(ROUNDS))


def wire_only(role: Role, data: bytes) -> Callable[[], object]:
    """Reading *data* with the protocol alone, in a connection that is open."""
    wire = Client()._server if role is Role.SERVER else Client().conversation._wire
    wire.receive_data(data)

    def read() -> None:
        while isinstance(wire.next_message(), tuple):
            pass

    return read


def server_work(data: bytes) -> Callable[[], object]:
    server = Server()

    def work() -> None:
        server.hear(data)

    return work


def client_work(data: bytes) -> Callable[[], object]:
    client = Client()

    def work() -> None:
        with suppress(ScoreError):
            client.conversation.receive(data)

    return work


def report(title: str, rows: list[tuple[str, float, float, str]]) -> None:
    print(f"\n{title}\n\n| frame | protocol, ms/MiB | all, ms/MiB | floor |\n|---|---|---|---|")
    for name, wire, whole, floor in rows:
        print(f"| {name} | {wire:.1f} | {whole:.1f} | {floor} |")
    worst = max(rows, key=lambda row: row[2])
    print(f"\nworst: {worst[0]}, {worst[2]:.1f} ms/MiB", flush=True)


def row(role: Role, name: str, data: bytes, floor: str = "") -> tuple[str, float, float, str]:
    size = len(data) / MIB
    work = server_work if role is Role.SERVER else client_work
    wire = best(lambda: wire_only(role, data)) * 1000 / size
    return name, wire, best(lambda: work(data)) * 1000 / size, floor


def floor_of(payload: bytes) -> str:
    pickled = pickle.dumps(cbor2.loads(payload), 5)
    found = min(cpu_s(lambda: pickle.loads(pickled)) for _ in range(ROUNDS))
    return f"{found * 1000 / (len(payload) / MIB):.0f}"


def main() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rows = [row(Role.SERVER, name, filled_for_server(said)) for name, said in to_server()]
    report("server", rows)
    rows = [row(Role.CLIENT, name, filled_for_client(said)) for name, said in to_client()]
    report("client: messages", rows)
    rows = []
    for name, payload in payloads():
        data = frame([[68, 1, entries([payload])]])
        rows.append(row(Role.CLIENT, name, data, floor_of(payload)))
    report("client: peers' changes", rows)


if __name__ == "__main__":
    main()
