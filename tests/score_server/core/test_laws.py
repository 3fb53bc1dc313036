"""The core's promises, checked after every step of whatever hypothesis can think of.

A simulated store holds what is durable; everything a connection is told is compared with it at the
moment it is told.  The machine plays honest clients on lossy connections, a disk that runs full and a
server that dies at any moment, and knows nothing of how the core does its work.
"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from score_server.core import Core, core, feed, group
from score_server.core.cursor import Cursor
from score_server.core.events import Connected, Ticked
from score_server.core.feed import Feed
from score_server.core.group import Group
from score_server.core.joins import Joins
from score_server.core.sequencer import Answer, Sequencer
from score_server.core.session import Session
from score_server.stores.base import AppendRefused, Commit
from score_server.stores.memory import MemoryStore
from score_server.wire import Connection, Role, Signal
from score_server.wire.entry import Entry
from score_server.wire.limits import Limits
from score_server.wire.messages import (
    CHANNEL_CLOSED,
    GROUP_REPLACED,
    INTENT,
    NOT_FOLLOWING,
    NOT_HEAD,
    OUTCOME_NO,
    OUTCOME_TAKEN,
    OVERLOADED,
    STORE_FULL,
    STRICT,
    TOO_MANY,
    VOIDED,
    AskOutcome,
    Bye,
    Credit,
    Entries,
    Error,
    Hello,
    Join,
    Joined,
    Leave,
    Message,
    OpenSession,
    Outcome,
    Refused,
    Resume,
    SessionOpened,
    Submit,
    Sync,
    Synced,
    Taken,
    Welcome,
)
from score_server.wire.runs import Input, SubmitRun, TakenRun

from .playbook import Playbook, decoded

GROUPS = ("g", "h")
LIMITS = Limits(unsettled_max=64, pinned_max=8, credit_bytes_max=100_000)
Name = tuple[bytes, int]
KINDS = ["intent", "strict", "strict-at-head", "follow", "settle"]
PICK = st.integers(0, 23)  # which of the things there are; indices are cheaper to draw than things
T = TypeVar("T")


def chosen(pick: int, things: Sequence[T]) -> T:
    return things[pick % len(things)]


class CountingStore(MemoryStore):
    """Says when its logs may have changed."""

    commits = 0

    def commit(self, batch: Commit) -> None:
        super().commit(batch)
        self.commits += 1


@dataclass
class Channel:
    """What a client knows of one of its channels."""

    group: str
    position: int = 0
    credit: int = 0  # given in all
    sent: int = 0  # bytes of entries received
    paid: list[tuple[int, int]] = field(default_factory=list)  # (position, size) sent for credit
    syncs: dict[int, int] = field(default_factory=dict)  # request -> durable head when asked
    wrong: bool = False  # it was joined with a chain that is not the group's
    open: bool = False
    dead: bool = False


@dataclass
class Author:
    """A client's memory, which outlives its connections."""

    session: bytes
    next_seq: int = 1
    settled: int = 0
    sent: dict[int, tuple[str, Submit]] = field(default_factory=dict)
    verdicts: dict[int, Message] = field(default_factory=dict)


@dataclass
class Link:
    number: int
    author: Author | None = None
    opened: bool = False
    channels: dict[int, Channel] = field(default_factory=dict)
    next_channel: int = 1
    owed: dict[int, Submit] = field(default_factory=dict)  # submissions without an answer
    asked: dict[int, Name] = field(default_factory=dict)
    dead: bool = False


def as_run(messages: Sequence[Message]) -> Sequence[Input]:
    """*messages* as one run, if that is what the wire would make of them."""
    first, *rest = messages
    if not rest or not isinstance(first, Submit) or first.condition != INTENT or first.follows:
        return messages
    payloads = [message.payload for message in messages if isinstance(message, Submit)]
    run = SubmitRun(first.channel, first.seq, first.settled, first.seen, payloads)
    return [run] if list(run.each()) == list(messages) else messages


class WiredPlaybook(Playbook):
    """Everything goes through the wire's own states and codec, both ways."""

    def restart(self) -> None:
        self.wires: dict[int, tuple[Connection, Connection]] = {}
        super().restart()

    def say(self, connection: int, *messages: Message) -> None:
        if len(messages) > 1 and isinstance(messages[0], Hello):
            self.say(connection, messages[0])
            self.pull(connection)  # a client says no more before it is welcome
            messages = messages[1:]
        if any(isinstance(message, Submit) and message.payload == b"late" for message in messages):
            super().say(connection, *messages)
            return
        ends = (Connection(Role.CLIENT), Connection(Role.SERVER))
        client, server = self.wires.setdefault(connection, ends)
        server.receive_data(client.send(*messages))
        came: list[Input] = []
        while not isinstance(message := server.next_message_or_run(3), Signal):
            came.append(message)
        if came:
            super().say(connection, *came)

    def pull(self, connection: int, bytes_max: int = 1 << 16) -> list[Message]:
        out = super().pull(connection, bytes_max)
        if out:
            client, server = self.wires[connection]
            client.receive_data(server.send(*out))
            while not isinstance(client.next_message(), Signal):
                pass
        return out


class Server(RuleBasedStateMachine):
    """Honest clients, a lossy world, one server."""

    def __init__(self, playbook: type[Playbook] = Playbook) -> None:
        super().__init__()
        self.store = CountingStore()
        self.book = playbook(LIMITS, self.store)
        self.logs: dict[tuple[str, int], list[Entry]] = {}
        self.links: dict[int, Link] = {}
        self.authors: list[Author] = []
        self.count = 0
        self.noes: set[Name] = set()
        self.refused: set[Name] = set()  # refused and not sent again since
        self.incarnations: dict[str, bytes] = {}
        self.resent: set[Name] = set()
        self.assigned: set[tuple[str, int]] = set()  # positions of this core's life
        self.conditions: dict[Name, Submit] = {}
        self.replicas: list[tuple[str, Resume]] = []

    # ------------------------------------------------------------ the world

    def log(self, name: str) -> list[Entry]:
        """All of the group that is durable."""
        key = (name, self.store.commits)
        if key not in self.logs:
            rows = self.store.read(name, 0, 1 << 30)
            self.logs[key] = decoded(Entries(0, [encoded for _, encoded, _ in rows]))
        return self.logs[key]

    def head(self, name: str) -> int:
        log = self.log(name)
        return log[-1].position if log else 0

    def number(self) -> int:
        self.count += 1
        return self.count

    def live(self, *, opened: bool = False) -> list[Link]:
        return [
            link for link in self.links.values() if not link.dead and (link.opened or not opened)
        ]

    def channels(self) -> list[tuple[Link, int, Channel]]:
        return [
            (link, number, channel)
            for link in self.live()
            for number, channel in link.channels.items()
            if not channel.dead
        ]

    def somebody_can_submit(self) -> bool:
        return any(link.opened for link, _, _ in self.channels())

    def say(self, link: Link, *messages: Message) -> None:
        if isinstance(self.book, WiredPlaybook):
            self.book.say(link.number, *messages)
        else:
            self.book.say(link.number, *as_run(messages))
        self.note_assigned()

    def note_assigned(self) -> None:
        while self.book.batches:
            batch = self.book.batches.pop(0)
            for name, incarnation, _ in batch.new_groups:
                # A group that lost its first entry and then everybody on it begins anew.
                if self.incarnations.get(name) != incarnation:
                    self.assigned = {place for place in self.assigned if place[0] != name}
                self.incarnations[name] = incarnation
            for entry in batch.entries:
                assert (entry.group, entry.position) not in self.assigned, "a position used twice"
                self.assigned.add((entry.group, entry.position))

    # ------------------------------------------------------------ clients

    @initialize()
    def begin(self) -> None:
        """Two authors on one group: most of what is interesting needs as much."""
        for _ in range(2):
            self.connect(0, fresh=True)
            self.quiesce()
            self.join(self.count - 1, "g", "fresh")
        self.quiesce()

    @precondition(lambda self: len(self.live()) < 4)
    @rule(pick=PICK, fresh=st.booleans())
    def connect(self, pick: int, fresh: bool) -> None:
        link = self.links[n] = Link(n := self.number())
        self.book.handle(Connected(n))
        author = None if fresh or not self.authors else chosen(pick, self.authors)
        link.author = author
        self.say(link, Hello(1, "", [], None), OpenSession(author.session if author else None))
        if author is not None:
            for other in self.links.values():
                if other is not link and other.author is author:
                    other.dead = True  # fenced: whatever it is still sent is not looked at
                    self.say(other, Submit(1, author.next_seq, 0, 0, INTENT, 0, b"late"))

    @precondition(lambda self: self.live())
    @rule(
        pick=PICK,
        name=st.sampled_from(GROUPS),
        how=st.sampled_from("fresh resume wrong".split()),
    )
    def join(self, pick: int, name: str, how: str) -> None:
        link = chosen(pick, self.live())
        number, link.next_channel = link.next_channel, link.next_channel + 1
        resume = None
        if how != "fresh":
            stands = [r for group_name, r in self.replicas if group_name == name and r.position]
            if not stands:
                return
            resume = chosen(pick, stands)
            if how == "wrong":
                resume = resume._replace(chain=b"?" * 16)
        position = resume.position if resume else 0
        link.channels[number] = Channel(name, position, wrong=how == "wrong")
        self.say(link, Join(number, name, resume))

    @precondition(lambda self: self.somebody_can_submit())
    @rule(pick=PICK, plan=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
    def submit(self, pick: int, plan: list[str]) -> None:
        mine = [(link, n, c) for link, n, c in self.channels() if link.opened]
        link, number, channel = chosen(pick, mine)
        author = link.author
        assert author is not None
        messages = []
        for kind in plan:
            seq, author.next_seq = author.next_seq, author.next_seq + 1
            while kind == "settle" and author.settled + 1 in author.verdicts:
                author.settled += 1
            condition, seen = INTENT, channel.position
            if kind.startswith("strict"):
                condition = STRICT
                seen = channel.position if kind == "strict" else self.head(channel.group)
            follows = seq - 1 if kind == "follow" else 0
            message = Submit(
                number, seq, author.settled, seen, condition, follows, b"%d" % self.number()
            )
            author.sent[seq] = (channel.group, message)
            self.conditions[author.session, seq] = message
            link.owed[seq] = message
            messages.append(message)
        self.say(link, *messages)

    @precondition(lambda self: self.somebody_can_submit())
    @rule(pick=PICK)
    def submit_again(self, pick: int) -> None:
        link, number, channel = chosen(
            pick, [(link, n, c) for link, n, c in self.channels() if link.opened]
        )
        author = link.author
        assert author is not None
        known = [
            message
            for seq, (name, message) in author.sent.items()
            if name == channel.group and seq > author.settled and seq not in link.owed
        ]
        if known:
            message = chosen(pick, known)
            name = (author.session, message.seq)
            self.refused.discard(name)
            self.resent.add(name)
            link.owed[message.seq] = again = message._replace(channel=number)
            self.say(link, again)

    @precondition(lambda self: self.channels())
    @rule(pick=PICK, size=st.sampled_from([0, 1, 40, 1000]))
    def sync_or_credit(self, pick: int, size: int) -> None:
        link, number, channel = chosen(pick, self.channels())
        if size:
            channel.credit += size
            self.say(link, Credit(number, size))
        else:
            request = self.number()
            channel.syncs[request] = self.head(channel.group)
            self.say(link, Sync(number, request))

    @precondition(lambda self: self.live() and self.authors)
    @rule(pick=PICK, ahead=st.integers(-3, 1))
    def ask(self, pick: int, ahead: int) -> None:
        link = chosen(pick, self.live())
        author = chosen(pick, self.authors)
        name = (author.session, max(1, author.next_seq + ahead))
        if name[1] >= author.next_seq:
            author.next_seq = name[1] + 1  # an honest author does not use a name it asked for
        request = self.number()
        link.asked[request] = name
        self.say(link, AskOutcome(request, *name))

    @precondition(lambda self: self.channels())
    @rule(pick=PICK)
    def leave(self, pick: int) -> None:
        link, number, channel = chosen(pick, self.channels())
        self.drain(link)  # so that answers owed for the channel are compared while it is known
        if not channel.dead and not link.dead:
            channel.dead = True
            self.say(link, Leave(number))

    @precondition(lambda self: self.live())
    @rule(pick=PICK, bye=st.booleans())
    def end(self, pick: int, bye: bool) -> None:
        link = chosen(pick, self.live())
        if bye:
            self.say(link, Bye(link.author.settled if link.author else 0))
            if link.author is not None:
                self.authors = [a for a in self.authors if a is not link.author]
        self.book.disconnect(link.number)
        link.dead = True
        del self.links[link.number]

    # ------------------------------------------------------------ the disk and the machine

    @precondition(lambda self: self.book.batch is not None)
    @rule()
    def commit(self) -> None:
        self.book.commit()
        self.note_assigned()
        self.check_log()

    @precondition(lambda self: self.book.batch is not None)
    @rule()
    def disk_full(self) -> None:
        self.book.fail()
        self.note_assigned()
        again = self.book.batch
        assert not again or not (again.entries or any(row.outcomes for row in again.sessions))

    @precondition(lambda self: self.book.reads)
    @rule()
    def read(self) -> None:
        self.book.answer_read()

    @rule(seconds=st.sampled_from([1, 3600]))
    def tick(self, seconds: int) -> None:
        self.book.now_ms += seconds * 1000
        self.book.handle(Ticked())
        self.note_assigned()

    @rule(commit_survives=st.booleans())
    def crash(self, commit_survives: bool) -> None:
        if commit_survives and self.book.batch is not None:
            self.store.commit(self.book.batch)
        self.links.clear()
        self.assigned.clear()
        self.book.restart()
        self.check_log()

    # ------------------------------------------------------------ what is told

    @precondition(lambda self: self.live())
    @rule(pick=PICK, bytes_max=st.sampled_from([1, 100, 10_000]))
    def pull(self, pick: int, bytes_max: int) -> None:
        link = chosen(pick, self.live())
        for message in self.book.pull(link.number, bytes_max):
            self.told(link, message)

    def drain(self, link: Link) -> None:
        while self.book.core.has_output(link.number):
            assert link.number in self.book.woken
            for message in self.book.pull(link.number):
                if not link.dead:
                    self.told(link, message)

    @rule()
    def quiesce(self) -> None:
        """When nothing is outstanding everybody has an answer to everything."""
        for _ in range(100):
            self.book.settle_all()
            self.note_assigned()
            for link in self.live():
                self.drain(link)
            if self.book.batch is None and not self.book.reads:
                break
        self.check_log()
        for link in self.live():
            assert not link.owed, f"no answer to {link.owed}"
            assert not link.asked, f"no answer to {link.asked}"
            for channel in link.channels.values():
                if not channel.dead:
                    assert not channel.syncs, f"no answer to {channel.syncs}"
                    if channel.credit > channel.sent:
                        assert channel.position == self.head(channel.group), "credit is left"
                    if channel.paid:
                        *before, _ = (size for _, size in channel.paid)
                        assert sum(before) < channel.credit, "more than credit allows"

    def told(self, link: Link, message: Message) -> None:
        check: Callable[[Link, Any], None] = getattr(self, f"told_{type(message).__name__.lower()}")
        check(link, message)

    def told_welcome(self, link: Link, message: Welcome) -> None:
        assert message.version == 1

    def told_sessionopened(self, link: Link, message: SessionOpened) -> None:
        assert message.session in self.durable_sessions(), "opened before it is durable"
        if link.author is None:
            link.author = Author(message.session)
            self.authors.append(link.author)
        link.opened = True

    def told_joined(self, link: Link, message: Joined) -> None:
        channel = link.channels[message.channel]
        assert message.head <= self.head(channel.group)
        assert message.position == channel.position
        assert not channel.wrong, "joined with a wrong chain"
        channel.open = True

    def told_entries(self, link: Link, message: Entries) -> None:
        channel = link.channels[message.channel]
        assert channel.open, "entries before Joined"
        log = {entry.position: entry for entry in self.log(channel.group)}
        for entry, encoded in zip(decoded(message), message.entries, strict=True):
            assert log.get(entry.position) == entry, "published before it is durable"
            assert entry.predecessor == channel.position, "a gap, or a repeat"
            channel.position = entry.position
            channel.paid.append((entry.position, len(encoded)))
            channel.sent += len(encoded)
            chain = self.store.look_up(channel.group, entry.position)[1]
            incarnation = self.store.look_up(channel.group, 0)[1]
            assert chain is not None
            assert incarnation is not None
            self.replicas.append((channel.group, Resume(incarnation, entry.position, chain)))

    def told_taken(self, link: Link, message: Taken) -> None:
        assert link.author is not None
        submitted = link.owed.pop(message.seq)
        name = (link.author.session, message.seq)
        group_name = link.author.sent[message.seq][0]
        places = self.places(name)
        assert places == [(group_name, message.position)], f"taken before it is durable: {places}"
        assert name not in self.noes
        assert not isinstance(link.author.verdicts.get(message.seq), Refused) or self.sent_again(
            name
        )
        link.author.verdicts[message.seq] = message
        self.check_reached(link, submitted, message.position)

    def sent_again(self, name: Name) -> bool:
        return name not in self.refused

    def told_takenrun(self, link: Link, message: TakenRun) -> None:
        for each in message.each():
            self.told_taken(link, each)

    def told_refused(self, link: Link, message: Refused) -> None:
        assert link.author is not None
        submitted = link.owed.pop(message.seq)
        name = (link.author.session, message.seq)
        assert not self.places(name), "refused and yet in the log"
        self.refused.add(name)
        link.author.verdicts[message.seq] = message
        group_name = link.author.sent[message.seq][0]
        if message.reason == NOT_HEAD:
            positions = {0} | {entry.position for entry in self.log(group_name)}
            assert message.head in positions, "refused by a head that is not durable"
            assert submitted.seen != message.head
            self.check_reached(link, submitted, message.head)
        elif message.reason == NOT_FOLLOWING:
            before = (link.author.session, submitted.follows)
            # A restart forgets what was taken and settled: refusing then is safe.
            unsure = before in self.resent or submitted.follows <= link.author.settled
            assert unsure or not self.places(before), "its predecessor was taken"
        elif message.reason == CHANNEL_CLOSED:
            assert link.channels[submitted.channel].wrong
        else:
            assert message.reason in (VOIDED, STORE_FULL)

    def told_synced(self, link: Link, message: Synced) -> None:
        (channel,) = [c for c in link.channels.values() if message.request in c.syncs]
        asked_at = channel.syncs.pop(message.request)
        assert channel.position >= message.position >= asked_at
        self.was_free(channel, message.position)

    def told_outcome(self, link: Link, message: Outcome) -> None:
        name = link.asked.pop(message.request)
        stored = {s.session: s for s in self.store.load().sessions}
        places = self.places(name)
        if message.verdict == OUTCOME_TAKEN:
            assert [position for _, position in places] == [message.position]
        elif message.verdict == OUTCOME_NO:
            assert not places
            kept = {o.seq: o for o in stored[name[0]].outcomes}
            assert kept[name[1]].pinned, "a no that a restart would forget"
            assert kept[name[1]].position == 0
            self.noes.add(name)
        else:
            author = next((a for a in self.authors if a.session == name[0]), None)
            assert author is None or name[1] <= author.settled

    def told_error(self, link: Link, message: Error) -> None:
        if message.channel:
            assert message.code == GROUP_REPLACED
            channel = link.channels[message.channel]
            assert channel.wrong
            channel.dead = True
        else:
            assert message.code in (OVERLOADED, TOO_MANY), message
            link.dead = True

    def check_reached(self, link: Link, submitted: Submit, position: int) -> None:
        """An answer is behind the entries it depends on, unless its channel has ended."""
        channel = link.channels[submitted.channel]
        assert channel.dead or channel.position >= position
        self.was_free(channel, position)

    def was_free(self, channel: Channel, needs: int) -> None:
        """Entries that a reply needs cost no credit (those that had gone before may have)."""
        channel.paid = [(position, size) for position, size in channel.paid if position > needs]

    # ------------------------------------------------------------ what is durable

    def durable_sessions(self) -> set[bytes]:
        return {session.session for session in self.store.load().sessions}

    def places(self, name: Name) -> list[tuple[str, int]]:
        return [
            (group_name, entry.position)
            for group_name in GROUPS
            for entry in self.log(group_name)
            if (entry.session, entry.seq) == name
        ]

    def check_log(self) -> None:
        names: set[Name] = set()
        for group_name in GROUPS:
            for entry in self.log(group_name):
                name = (entry.session, entry.seq)
                assert entry.payload != b"late", "taken from a fenced connection"
                assert name not in names, "taken twice"
                assert name not in self.noes, "taken after a no"
                names.add(name)
        for name in names:
            message = self.conditions[name]
            assert not message.follows or (name[0], message.follows) in names, "followed nothing"
        for group_name in GROUPS:
            for entry in self.log(group_name):
                message = self.conditions[entry.session, entry.seq]
                assert message.condition == INTENT or entry.predecessor == message.seen


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make catching up go through the store, slice by slice."""
    monkeypatch.setattr(group, "RECENT_BYTES_MAX", 150)
    monkeypatch.setattr(feed, "SLICE_BYTES_MAX", 100)
    monkeypatch.setattr(feed, "AWAITED_BYTES_MAX", 100)
    monkeypatch.setattr(feed, "SLICES_TOTAL_MAX", 1)
    monkeypatch.setattr(feed, "RECENT_BYTES_TOTAL_MAX", 200)


def run(examples: int) -> None:
    run_state_machine_as_test(
        Server,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


# How often a walk does what, with what: (weight, what, possible when, arguments).
WALK: list[tuple[int, str, Callable[[Server], object], dict[str, list[Any]]]] = [
    (2, "connect", lambda s: len(s.live()) < 4, {"fresh": [True, False, False]}),
    (3, "join", lambda s: s.live(), {"name": [*GROUPS, "g"], "how": ["fresh", "resume", "wrong"]}),
    (10, "submit", Server.somebody_can_submit, {"plan": [[k] for k in KINDS] + [["intent"] * 2, ["intent"] * 3, KINDS[:2], ["intent", "follow"], ["strict-at-head", "follow"]]}),
    (4, "submit_again", Server.somebody_can_submit, {}),
    (6, "sync_or_credit", lambda s: s.channels(), {"size": [0, 0, 1, 40, 300]}),
    (4, "ask", lambda s: s.live() and s.authors, {"ahead": [-3, -2, -1, 0]}),
    (1, "leave", lambda s: s.channels(), {}),
    (1, "end", lambda s: len(s.live()) > 1, {"bye": [False, False, True]}),
    (10, "commit", lambda s: s.book.batch, {}),
    (4, "disk_full", lambda s: s.book.batch, {}),
    (6, "read", lambda s: s.book.reads, {}),
    (10, "pull", lambda s: s.live(), {"bytes_max": [1, 100, 10_000]}),
    (3, "quiesce", lambda s: True, {}),
    (1, "tick", lambda s: True, {"seconds": [1, 3600]}),
    (1, "crash", lambda s: s.book.batch, {"commit_survives": [True, False]}),
]  # fmt: skip


def walk(seed: int, steps: int, playbook: type[Playbook] = Playbook) -> None:
    """A long random life of a server: deeper than hypothesis goes, but nothing shrinks it."""
    random = Random(seed)
    server = Server(playbook)
    server.begin()
    weights = [row[0] for row in WALK]
    for _ in range(steps):
        _, what, possible, choices = random.choices(WALK, weights)[0]
        if possible(server):
            arguments = {name: random.choice(values) for name, values in choices.items()}
            if what not in ("commit", "disk_full", "read", "quiesce", "tick", "crash"):
                arguments["pick"] = random.randrange(24)
            getattr(server, what)(**arguments)
        if not server.live():
            server.connect(0, fresh=False)
    server.quiesce()


@pytest.mark.usefixtures("small_memory")
def test_the_core_keeps_its_promises_whatever_happens() -> None:
    run(60)


@pytest.mark.usefixtures("small_memory")
def test_the_core_keeps_its_promises_in_long_lives() -> None:
    for seed in range(150):
        walk(seed, 200)


@pytest.mark.usefixtures("small_memory")
def test_the_core_says_only_what_the_protocol_allows() -> None:
    """Otherwise the wire raises a ``LocalProtocolError`` or a ``RemoteProtocolError``."""
    for seed in range(1000, 1060):
        walk(seed, 200, WiredPlaybook)


def plant(
    monkeypatch: pytest.MonkeyPatch, owner: type, method: str, right: str, wrong: str
) -> None:
    """Replace *right* by *wrong* in the source of a method."""
    source = textwrap.dedent(inspect.getsource(getattr(owner, method)))
    assert right in source, f"{right!r} is not in {method} any more"
    names: dict[str, Any] = {}
    module = vars(sys.modules[owner.__module__])
    code = compile(
        f"from __future__ import annotations\n{source.replace(right, wrong)}", "<planted>", "exec"
    )
    exec(code, module, names)
    original = getattr(owner, method)
    planted = names[method]
    monkeypatch.setattr(owner, method, planted)
    for table in (core._EVENTS, core._MESSAGES):
        for key, function in table.items():
            if function is getattr(original, "__func__", original):
                monkeypatch.setitem(table, key, planted)


BUGS = {
    "answers before the commit": (Sequencer, "_hold", "number <= self.durable", "True"),
    "a run is answered before the commit": (Sequencer, "submit_run", "self._hold(number,", "self._hold(0,"),
    "a run is not taken back": (Sequencer, "submit_run", "(session, seqs, None)", "(session, seqs[1:], None)"),
    "a run is answered one too far": (Sequencer, "submit_run", "TakenRun(run.seq, position,", "TakenRun(run.seq, position + 1,"),
    "refusals before the commit": (Sequencer, "_refuse", "_hold(refusal.number,", "_hold(0,"),
    "answers one commit early": (Sequencer, "committed", "batch.answers", "batch.answers + self.open.answers"),
    "entries published before the commit": (
        Sequencer, "seal", "self.in_flight, self.open =", "[g.publish(e) for g, e in batch.entries.items()]; self.in_flight, self.open =",
    ),
    "strict judged against the durable head": (Sequencer, "submit", "!= group.assigned_head", "!= group.durable_head"),
    "outcomes forgotten at a restart": (Session, "load", "in state.outcomes", "in ()"),
    "names not looked up": (Sequencer, "submit", "if session.knows(seq):", "if False:"),
    "predecessors not looked up": (Sequencer, "submit", "and not followed", "and False"),
    "the head is not rolled back": (Group, "roll_back", "= self.durable_head, self.durable_chain", "= self.assigned_head, self.assigned_chain"),
    "positions are used again": (Group, "roll_back", "self.number = 0", "self.next_position = self.durable_head + 1; self.number = 0"),
    "outcomes are not rolled back": (Sequencer, "failed", "session.put(seq, record)", "pass"),
    "refusals are not rolled back": (Answer, "taken_back", "Refused(one.seq, STORE_FULL, 0)", "one"),
    "a rolled back head is waited for": (Group, "roll_back", "self.number = 0", "pass"),
    "a no that nothing keeps": (Sequencer, "ask", "self._record(session, seq, record)", "pass"),
    "a no before it is durable": (Sequencer, "ask", "record.position, record.pin_number", "record.position, 0"),
    "a failed pin takes back the outcome": (Sequencer, "ask", "pinned=True, pin_number=self._want())", "number=self._want(), pinned=True, pin_number=self.open.number)"),
    "replies before their entries": (Cursor, "reply_is_due", "self.line[0].needs <= self.position", "True"),
    "a wrong chain is welcome": (Joins, "enter", "known == resume.chain", "True"),
    "the fenced may go on": (Core, "_open_session", "older.session = None", "older = Peer(0)"),
    "a slice is read twice": (Feed, "_source", "bisect_right(positions, cursor.position)", "0"),
    "credit is not counted": (Cursor, "take", "self.credit -= size", "pass"),
}  # fmt: skip


@pytest.mark.usefixtures("small_memory")
@pytest.mark.parametrize("bug", BUGS)
def test_the_machine_notices(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, *BUGS[bug])
    with pytest.raises((AssertionError, KeyError, AppendRefused, ValueError)):
        for seed in range(300):
            walk(seed, 200)
