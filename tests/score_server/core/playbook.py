"""Scripts for the core: say something, let the disk finish or fail, read what came out.

A ``Playbook`` is the shell of a core without sockets, disk and clock: commits wait until the script
says how they end, reads until it answers them, output until it reads it.
"""

from __future__ import annotations

from score_server.core import Core
from score_server.core.events import (
    CloseAfterOutput,
    CommitFailed,
    Committed,
    Connected,
    Disconnected,
    Effect,
    Event,
    LookedUp,
    LookUp,
    PageRead,
    Read,
    ReadFailed,
    ReadPage,
    ReadSlice,
    Received,
    SliceRead,
    SnapshotRead,
    StartCommit,
    Wake,
)
from score_server.stores.base import Commit, GroupDamaged
from score_server.stores.memory import MemoryStore
from score_server.wire.entry import Entry, decode_entry
from score_server.wire.limits import Limits
from score_server.wire.messages import (
    INTENT,
    Entries,
    Hello,
    Join,
    Joined,
    OpenSession,
    Resume,
    SessionOpened,
    Submit,
)
from score_server.wire.runs import Input, Output, SubmitRun

START_MS = 1_700_000_000_000


def submit(seq: int, payload: bytes = b"x", *, channel: int = 1, settled: int = 0, seen: int = 0,
           condition: int = INTENT, follows: int = 0) -> Submit:  # fmt: skip
    return Submit(channel, seq, settled, seen, condition, follows, payload)


def run(seq: int, *payloads: bytes, channel: int = 1, settled: int = 0, seen: int = 0) -> SubmitRun:
    """Intents that the wire has read as one."""
    return SubmitRun(channel, seq, settled, seen, list(payloads))


class Playbook:
    """One core on one memory store."""

    def __init__(self, limits: Limits | None = None, store: MemoryStore | None = None) -> None:
        self.limits = limits or Limits()
        self.store = store or MemoryStore()
        self.now_ms = START_MS
        self._ids = 0
        self.restart()

    def restart(self) -> None:
        """A new core on the store as it is; everything in memory is gone."""
        self.batch: Commit | None = None
        self.batches: list[Commit] = []  # all that were started
        self.reads: list[Read] = []
        self.woken: set[int] = set()
        self.closing: set[int] = set()
        self.last_effects: list[Effect] = []
        self.core = Core(self.store.load(), self.limits, self.new_id, "playbook", self.now_ms)

    def new_id(self) -> bytes:
        self._ids += 1
        return self._ids.to_bytes(16, "big")

    # ------------------------------------------------------------ events

    def handle(self, *events: Event) -> None:
        """Several events share one commit."""
        if len(events) == 1:
            self._do(self.core.handle(events[0], self.now_ms))
        else:
            self._do(self.core.handle_all(events, self.now_ms))

    def _do(self, effects: list[Effect]) -> None:
        self.last_effects = effects
        for effect in effects:
            if isinstance(effect, StartCommit):
                assert self.batch is None, "two commits outstanding"
                self.batch = effect.batch
                self.batches.append(effect.batch)
            elif isinstance(effect, Wake):
                self.woken.add(effect.connection)
            elif isinstance(effect, CloseAfterOutput):
                assert effect.connection not in self.closing, "closed twice"
                self.closing.add(effect.connection)
            else:
                self.reads.append(effect)

    def say(self, connection: int, *messages: Input) -> None:
        self.handle(*(Received(connection, message) for message in messages))

    def commit(self) -> None:
        """The outstanding commit becomes durable."""
        assert self.batch is not None, "no commit is outstanding"
        batch, self.batch = self.batch, None
        self.store.commit(batch)
        self.handle(Committed())

    def fail(self) -> None:
        """The disk is full."""
        assert self.batch is not None, "no commit is outstanding"
        self.batch = None
        self.handle(CommitFailed("disk full"))

    def answer_read(self) -> None:
        """The store answers the oldest read."""
        read = self.reads.pop(0)
        try:
            self.handle(self.read(read))
        except GroupDamaged as error:
            assert not isinstance(read, ReadPage)
            self.handle(ReadFailed(read.group, str(error)))

    def read(self, read: Read) -> Event:
        """What the store says to *read*."""
        if isinstance(read, LookUp):
            return LookedUp(*read, *self.store.look_up(*read))
        if isinstance(read, ReadPage):
            groups = self.store.list_groups(read.after, read.groups_max)
            return PageRead(read.connection, read.request, groups)
        if isinstance(read, ReadSlice):
            return SliceRead(read.group, read.after, self.store.read(*read))
        return SnapshotRead(*read[:3], self.store.read_snapshot(*read))

    def answer_lookups(self) -> None:
        """The store has answered everything but what it is to read."""
        while self.reads and isinstance(self.reads[0], LookUp):
            self.answer_read()

    def settle_all(self) -> None:
        """Commits succeed and reads are answered until nothing is outstanding."""
        while self.batch is not None or self.reads:
            if self.batch is not None:
                self.commit()
            else:
                self.answer_read()

    # ------------------------------------------------------------ output

    def pull(self, connection: int, bytes_max: int = 1 << 16) -> list[Output]:
        """One pull, as the shell does it."""
        out = self.core.output(connection, bytes_max)
        self._do(self.core.take_effects())
        return out

    def out(self, connection: int) -> list[Output]:
        """All that can be sent now."""
        out: list[Output] = []
        while self.core.has_output(connection):
            assert connection in self.woken, f"{connection} has output and was not woken"
            out += self.pull(connection)
        self.woken.discard(connection)
        return out

    def told(self, connection: int) -> list[object]:
        """As ``out``, with each entry as ``(position, payload)``."""
        told: list[object] = []
        for message in self.out(connection):
            if isinstance(message, Entries):
                told += [(entry.position, entry.payload) for entry in decoded(message)]
            else:
                told.append(message)
        return told

    # ------------------------------------------------------------ beginnings

    def connect(self, connection: int, label: str = "") -> None:
        """Connect and greet; Welcome has been read."""
        self.handle(Connected(connection))
        self.say(connection, Hello(1, label, [], None))
        self.out(connection)

    def open(self, connection: int, session: bytes | None = None, label: str = "") -> bytes:
        """Connect, greet and open a session."""
        self.connect(connection, label)
        self.say(connection, OpenSession(session))
        if session is None:
            self.commit()
        (opened,) = self.out(connection)
        assert isinstance(opened, SessionOpened), opened
        return opened.session

    def join(
        self, connection: int, group: str = "g", channel: int = 1, resume: Resume | None = None
    ) -> Joined:
        self.say(connection, Join(channel, group, resume))
        self.answer_lookups()
        (joined,) = self.out(connection)
        assert isinstance(joined, Joined), joined
        return joined

    def author(self, connection: int = 1, group: str = "g") -> bytes:
        """A connection with a session, joined to *group* on channel 1."""
        session = self.open(connection)
        self.join(connection, group)
        return session

    def disconnect(self, connection: int) -> None:
        self.handle(Disconnected(connection))
        self.woken.discard(connection)
        self.closing.discard(connection)

    def fill(self, connection: int, count: int, size: int = 1, first_seq: int = 1) -> None:
        """*count* durable entries by *connection* on channel 1, answers read."""
        seqs = range(first_seq, first_seq + count)
        self.handle(
            *(Received(connection, submit(s, b"%d" % s * size, settled=s - 1)) for s in seqs)
        )
        self.settle_all()
        while self.core.has_output(connection):
            self.out(connection)
            self.settle_all()


def decoded(message: Entries) -> list[Entry]:
    return [decode_entry(encoded) for encoded in message.entries]
