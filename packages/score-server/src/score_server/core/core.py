"""The server without its sockets, disk and clock: events in, effects out.

What the caller does
--------------------
- ``handle`` (or ``handle_all``) each event, and do the effects it returns, in their order.
- After ``Wake(c)``: while the socket of *c* takes more, send ``output(c, ...)`` until
  ``has_output(c)`` is False.  After each ``output`` do ``take_effects()``: a subscriber that lags asks
  there for its next slice of the log.
- Before reading more from *c*: ``congested(c)``.  If it is, ask again after the next output.
- Handle ``Ticked`` when ``next_deadline_ms()`` has come.

Order and durability are decided in ``sequencer.py``; what a session remembers in ``session.py``; which
snapshots count in ``snapshots.py``; which groups are in memory in ``residents.py``; who is sent what in
``outgoing.py``, ``feed.py`` and ``cursor.py``.  Here is who is connected, and what each message leads to.

Nothing a peer sends raises: what it must not send ends its channel or its connection with an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ..stores.base import StoreState
from ..wire.limits import Limits
from ..wire.messages import (
    BEHIND_TRIM,
    GROUP_DAMAGED,
    GROUP_DELETED,
    OUT_OF_ORDER,
    PROTOCOL_VERSION,
    SESSION_EXPIRED,
    SESSION_FENCED,
    SHUTTING_DOWN,
    TIMED_OUT,
    TOO_MANY,
    VERSION_UNSUPPORTED,
    AskOutcome,
    AskTurn,
    Bye,
    Credit,
    DeleteGroup,
    EndTurn,
    Error,
    Hello,
    Join,
    Leave,
    ListGroups,
    Message,
    OfferSnapshot,
    OpenSession,
    Ping,
    Pong,
    PutSnapshot,
    SessionOpened,
    Submit,
    Sync,
    Synced,
    Trim,
    TurnGranted,
    Welcome,
)
from ..wire.rows import new
from ..wire.runs import Output, SubmitRun, TakenRun
from .compactors import COMPACT, Compactors
from .cursor import Cursor
from .deletion import Deletions
from .events import (
    CloseAfterOutput,
    CommitFailed,
    Committed,
    Connected,
    Disconnected,
    Effect,
    Event,
    Faulted,
    LookedUp,
    PageRead,
    ReadFailed,
    Received,
    SliceRead,
    SnapshotRead,
    StartCommit,
    Stopping,
    Ticked,
    Wake,
)
from .group import Group
from .joins import NEVER, Joins
from .outgoing import Outgoing
from .peer import ANSWERS_MAX, HELD_BYTES_MAX, Peer
from .residents import Residents, Waiting, still
from .sequencer import Answer, GroupGone, Sequencer, Violation
from .session import Session
from .snapshots import Snapshots
from .turns import Asked, TurnTable

# Submissions waiting for one commit, in bytes: beyond it, who waits already is not read from.
BATCH_BYTES_MAX = 64 * 1024 * 1024
# Sessions are looked through this many times in one retention, so one goes at most a 16th late.
SWEEPS_PER_RETENTION = 16


class Core:
    """The server's decisions.  *new_id* gives 16 fresh random bytes; all times are milliseconds
    since 1970 UTC."""

    def __init__(
        self,
        state: StoreState,
        limits: Limits,
        new_id: Callable[[], bytes],
        software: str,
        now_ms: int,
    ) -> None:
        self._limits = limits
        self._new_id = new_id
        self._software = software
        self._now_ms = now_ms
        sessions = map(Session.load, state.sessions)
        self._sessions = {session.id: session for session in sessions}
        self._sequencer = Sequencer(self._sessions, limits)
        self.holds_commit = self._sequencer.is_waiting
        self._out = Outgoing(limits)
        self._residents = Residents(new_id, self._out.look_up)
        self._joins = Joins(limits, self._residents, self._out)
        self._snapshots = Snapshots(self._sequencer, self._residents)
        self._deletions = Deletions(self._sequencer, self._residents, self._out)
        self._compactors = Compactors(self._out)
        self._turns: TurnTable[Group, Submit] = TurnTable()
        self._peers: dict[int, Peer] = {}
        # Connected, no Hello yet, and since when; the oldest first.
        self._greeting: dict[Peer, int] = {}
        self._stopping = False
        self._flush = False  # the next commit is due even if nobody waits for it
        self._sweep_ms = now_ms

    # ------------------------------------------------------------ for the caller

    def handle(self, event: Event, now_ms: int) -> list[Effect]:
        """Take *event* in; returns what is to be done, in order."""
        return self.handle_all((event,), now_ms)

    def handle_all(self, events: Iterable[Event], now_ms: int, hold: bool = False) -> list[Effect]:
        """As ``handle`` for each, except that all of them may share one commit; with *hold* it does not begin
        yet (``holds_commit``), so that what comes next may share it: whatever is handled without begins it."""
        self._now_ms = now_ms
        self._sequencer.held = hold and not self._stopping
        for event in events:
            _EVENTS[type(event)](self, event)
        return self._finish()

    def take_effects(self) -> list[Effect]:
        """What ``output`` has found to be done; the next ``handle`` would return it as well."""
        return self._out.take_effects()

    def has_output(self, connection: int) -> bool:
        peer = self._peers.get(connection)
        return peer is not None and peer.has_output()

    def output(self, connection: int, bytes_max: int) -> list[Output]:
        """What may be sent now, about *bytes_max* bytes of it, at least one message if there is
        any.  Channels take turns.  May be empty although ``has_output`` was true."""
        peer = self._peers.get(connection)
        if peer is None:
            return []
        out = self._out.output(peer, bytes_max)
        if peer.farewell is not None and peer.farewell_is_due():
            out.append(peer.farewell)
            peer.farewell = None
            for cursor in peer.cursors():
                self._close_channel(cursor)  # whatever the log still brings is not told
            # Only now: until the log was read, there was nothing to send, and more was to come.
            self._out.effects.append(CloseAfterOutput(peer.number))
        return out

    def congested(self, connection: int) -> bool:
        """Whether *connection* is owed so much that nothing more should be read from it."""
        peer = self._peers.get(connection)
        if peer is None:
            return False
        return (
            peer.answers() >= ANSWERS_MAX
            or peer.held_bytes > HELD_BYTES_MAX
            or (peer.held_bytes > 0 and self._sequencer.open.size > BATCH_BYTES_MAX)
        )

    def next_deadline_ms(self) -> int:
        """When ``Ticked`` is due at the latest; now, if ``take_effects`` was left undone."""
        if self._out.feed.reads:
            return self._now_ms
        deadline = min(self._sweep_ms, self._turns.deadline_ms() or self._sweep_ms)
        for since_ms in self._greeting.values():
            return min(deadline, since_ms + self._limits.hello_timeout_s * 1000)
        return deadline

    @property
    def stopped(self) -> bool:
        """After ``Stopping``: nothing is outstanding, and everybody has been said goodbye."""
        return self._stopping and self._sequencer.in_flight is None

    # ------------------------------------------------------------ connections

    def _connected(self, event: Connected) -> None:
        peer = self._peers[event.connection] = Peer(event.connection)
        if self._stopping:
            self._fail(peer, SHUTTING_DOWN, "this server is stopping; connect again later")
        elif len(self._peers) > self._limits.connections_max:
            self._fail(
                peer, TOO_MANY, f"this server takes {self._limits.connections_max} connections"
            )
        else:
            self._greeting[peer] = self._now_ms

    def _disconnected(self, event: Disconnected) -> None:
        peer = self._peers.pop(event.connection, None)
        if peer is None:
            return
        self._greeting.pop(peer, None)
        self._let_session_go(peer)
        self._forget_turns(peer)
        for cursor in peer.cursors():
            self._close_channel(cursor)
        self._compactors.remove(peer)
        peer.forget_waiting()

    def _faulted(self, event: Faulted) -> None:
        peer = self._peers.get(event.connection)
        if peer is not None and not peer.closing:
            self._fail(peer, event.code, event.text)

    def _fail(self, peer: Peer, code: int, text: str) -> None:
        """End the connection with an error; what it was still owed goes with it."""
        self._forget_turns(peer)
        for cursor in peer.cursors():
            self._close_channel(cursor)
        peer.paging = False
        peer.control = [Error(code, 0, text)]
        self._close(peer)

    def _close(self, peer: Peer) -> None:
        self._stop_hearing(peer)
        self._out.effects.append(CloseAfterOutput(peer.number))

    def _stop_hearing(self, peer: Peer) -> None:
        peer.closing = True
        peer.forget_waiting()
        self._compactors.remove(peer)
        self._greeting.pop(peer, None)
        self._out.wake(peer)

    def _let_session_go(self, peer: Peer) -> None:
        session, peer.session = peer.session, None
        if session is not None:
            session.connection = None
            self._sequencer.touch(session, self._now_ms)

    # ------------------------------------------------------------ messages

    def _received(self, event: Received) -> None:
        peer = self._peers.get(event.connection)
        if peer is None or peer.closing or self._stopping:
            return
        said = event.message
        if not isinstance(said, SubmitRun):
            self._hear(peer, said)
        elif not self._submit_run(peer, said):
            for message in said.each():
                if not peer.closing:
                    self._hear(peer, message)

    def _hear(self, peer: Peer, message: Message) -> None:
        if peer.waiting and peer.must_wait(message):
            peer.stall(message)
        else:
            self._obey(peer, message)

    def _obey(self, peer: Peer, message: Message) -> None:
        try:
            _MESSAGES[type(message)](self, peer, message)
        except Violation as violation:
            self._fail(peer, violation.code, violation.text)

    def _hello(self, peer: Peer, message: Hello) -> None:
        if message.version != PROTOCOL_VERSION:
            raise Violation(
                VERSION_UNSUPPORTED,
                f"version {message.version} is not spoken here; this server speaks {PROTOCOL_VERSION}",
            )
        self._greeting.pop(peer, None)
        peer.label = message.label
        welcome = Welcome(PROTOCOL_VERSION, self._software, self._now_ms, [], self._limits)
        self._out.say(peer, welcome)
        if COMPACT in message.features:
            self._compactors.add(peer, self._residents.groups.values())

    def _open_session(self, peer: Peer, message: OpenSession) -> None:
        if peer.session is not None:
            raise Violation(OUT_OF_ORDER, "a connection has one session")
        if message.session is None:
            if len(self._sessions) >= self._limits.sessions_max:
                raise Violation(TOO_MANY, f"this server keeps {self._limits.sessions_max} sessions")
            session = Session(self._new_id(), peer.label, self._now_ms)
            peer.held += 1
            self._sequencer.give_birth(session, peer.number)
        else:
            known = self._sessions.get(message.session)
            if known is None:
                raise Violation(
                    SESSION_EXPIRED, "this session is not known here: expired, or another store's"
                )
            session = known
            if session.connection is not None:
                older = self._peers[session.connection]
                older.session = None
                if not older.closing:
                    self._fail(older, SESSION_FENCED, "a newer connection has this session now")
            session.label = peer.label
            self._sequencer.touch(session, self._now_ms)
            self._out.say(peer, SessionOpened(session.id))
        session.connection = peer.number
        peer.session = session

    def _submit(self, peer: Peer, message: Submit) -> None:
        if peer.session is None:
            raise Violation(OUT_OF_ORDER, "a submission needs a session")
        cursor = peer.cursor(message.channel)
        if cursor is not None and cursor.group.undecided:
            cursor.group.defer(peer, message)
            return
        peer.held += 1
        peer.held_bytes += len(message.payload)
        if cursor is None or cursor.group not in self._turns.busy:
            self._judge(peer, cursor, message)
        elif not self._turns.park(cursor.group, peer.number, message.channel, message):
            self._judge(peer, cursor, message)
            self._turns.end(cursor.group, peer.number, message.channel)
            self._advance_turns(cursor.group)

    def _submit_run(self, peer: Peer, run: SubmitRun) -> bool:
        """As ``_submit`` for each of *run*, in one go, if none of them has to wait or be judged."""
        session, cursor = peer.session, peer.cursor(run.channel)
        if session is None or cursor is None or peer.waiting:
            return False
        group, number, label = cursor.group, peer.number, peer.label
        if group.undecided or group in self._turns.busy:
            return False
        if not self._sequencer.submit_run(number, session, label, group, run, self._now_ms):
            return False
        peer.held += len(run.payloads)
        peer.held_bytes += sum(map(len, run.payloads))
        return True

    def _judge(self, peer: Peer, cursor: Cursor | None, message: Submit) -> None:
        session = peer.session
        assert session is not None, "whose session goes, what it parked goes too"
        group = cursor.group if cursor else None
        try:
            self._sequencer.submit(peer.number, session, peer.label, group, message, self._now_ms)
        except GroupGone:
            text = "this was taken in a group of the same name, which has been deleted since"
            assert cursor is not None, "it has a group"
            self._end_channel(cursor, GROUP_DELETED, text)
            self._sequencer.submit(peer.number, session, peer.label, None, message, self._now_ms)

    # ------------------------------------------------------------ turns

    def _ask_turn(self, peer: Peer, message: AskTurn) -> None:
        cursor = peer.cursor(message.channel)
        if cursor is None:
            return  # its Error says all
        if not self._turns.ask(cursor.group, Asked(peer.number, message.channel, message.request)):
            raise Violation(OUT_OF_ORDER, "a channel waits for one turn at a time")
        self._advance_turns(cursor.group)

    def _end_turn(self, peer: Peer, message: EndTurn) -> None:
        cursor = peer.cursor(message.channel)
        if cursor is not None:
            self._leave_turns(cursor)

    def _leave_turns(self, cursor: Cursor) -> None:
        self._turns.leave(cursor.group, cursor.peer.number, cursor.channel)
        self._advance_turns(cursor.group)

    def _forget_turns(self, peer: Peer) -> None:
        """*peer* is ending: it waits for no turn, and what it has parked is never judged."""
        for group in self._turns.forget_connection(peer.number):
            self._advance_turns(group)

    def _advance_turns(self, group: Group) -> None:
        """Judge what was parked as soon as no turn lasts, then begin the next one; see who comes after."""
        if group.undecided:
            return  # when that is decided
        while (parked := self._turns.next_parked(group)) is not None:
            number, message = parked
            peer = self._peers[number]
            try:
                self._judge(peer, peer.cursor(message.channel), message)
            except Violation as violation:
                self._fail(peer, violation.code, violation.text)
        asked = self._turns.grant(group, self._now_ms, self._limits.turn_lease_ms)
        if asked is not None:
            self._peers[asked.connection].held += 1
            self._sequencer.grant_turn(asked, group)
        if (first := self._turns.first_in_line(group)) is not None:
            self._out.send_ahead(self._peers[first.connection], first.channel)

    def _sync(self, peer: Peer, message: Sync) -> None:
        cursor = peer.cursor(message.channel)
        if cursor is not None:  # else its Error says all
            head = cursor.group.durable_head
            self._out.line_up(cursor, Synced(message.request, head), head)

    def _credit(self, peer: Peer, message: Credit) -> None:
        cursor = peer.cursor(message.channel)
        if cursor is None:
            return
        if cursor.credit + message.size > self._limits.credit_bytes_max:
            text = f"credit of more than {self._limits.credit_bytes_max} bytes is outstanding"
            self._end_channel(cursor, TOO_MANY, text)
            return
        cursor.credit += message.size
        self._out.stir(cursor)

    def _ask_outcome(self, peer: Peer, message: AskOutcome) -> None:
        peer.held += 1
        self._sequencer.ask(peer.number, message)

    def _bye(self, peer: Peer, message: Bye) -> None:
        self._forget_turns(peer)
        session = peer.session
        if session is not None:
            self._sequencer.touch(session, self._now_ms, message.settled)
            self._let_session_go(peer)
            if session.is_empty() and not self._sequencer.is_pending(session):
                self._sequencer.end(session)
        for cursor in peer.cursors():
            self._close_channel(cursor)
        self._close(peer)

    # ------------------------------------------------------------ what has to wait

    def _decided(self, group: Group) -> None:
        """What waited for *group* goes on."""
        group.undecided = 0
        deferred, group.deferred = group.deferred, ()
        for peer, message in still(deferred):
            self._obey(peer, message)
            self._go_on(peer)
        self._advance_turns(group)

    def _go_on(self, peer: Peer) -> None:
        """What *peer* waited for is over: obey what it has said since."""
        while (message := peer.next_stalled()) is not None:
            self._obey(peer, message)

    def _looked_up(self, event: LookedUp) -> None:
        waiting = self._residents.looked_up(event.group, event.position)
        if event.state is not None and event.group not in self._residents.groups:
            self._residents.admit(event.state)
        self._resume(event.group, waiting, event.chain)

    def _resume(self, name: str, waiting: Waiting, chain: bytes | None) -> None:
        """Obey those who *waited* to know of group *name*; *chain* is the one at the place they named."""
        for peer, message in still(waiting):
            group = self._residents.groups.get(name)
            if isinstance(message, Join):
                self._joins.enter(peer, message, group, chain or NEVER)
            elif isinstance(message, DeleteGroup):
                self._deletions.delete_known(peer, message, group)
            else:
                assert isinstance(message, OfferSnapshot), "nothing else is looked up"
                self._snapshots.offer(peer, message, chain or NEVER)
            self._go_on(peer)
        if (group := self._residents.groups.get(name)) is not None:
            self._maybe_let_go(group)

    # ------------------------------------------------------------ channels

    def _leave(self, peer: Peer, message: Leave) -> None:
        cursor = peer.cursor(message.channel)
        if cursor is not None:
            self._close_channel(cursor)

    def _close_channel(self, cursor: Cursor) -> None:
        """The channel is gone; answers to submissions on it are still given, without entries."""
        peer, group = cursor.peer, cursor.group
        peer.closed(cursor)
        peer.lined -= sum(due.replies for due in cursor.line)
        self._out.feed.forget(cursor)
        self._leave_turns(cursor)
        del group.cursors[cursor]
        group.followers.pop(cursor, None)
        if group.candidate is not None and group.candidate.owner is cursor:
            self._sequencer.drop_candidate(group)
        self._maybe_let_go(group)
        for due in cursor.line:
            if not isinstance(due.message, Synced | TurnGranted):
                self._out.say(peer, due.message)

    def _end_channel(self, cursor: Cursor, code: int, text: str) -> None:
        # The end of another channel may have let something be judged that ended this one's connection.
        if cursor in cursor.group.cursors:
            self._out.say(cursor.peer, Error(code, cursor.channel, text))
            self._close_channel(cursor)

    def _maybe_let_go(self, group: Group) -> None:
        if group.is_idle() and self._residents.groups.get(group.name) is group:
            del self._residents.groups[group.name]
            self._out.feed.let_go(group)

    # ------------------------------------------------------------ the store

    def _committed(self, _event: Committed) -> None:
        batch = self._sequencer.committed()
        for group in batch.entries:
            self._out.feed.note_published(group)
            followers, group.followers = group.followers, {}
            for cursor in followers:
                self._out.stir(cursor)
            if group.wants_snapshot():
                self._compactors.ask(group)
        for group, _, _ in batch.trims:
            self._end_those_behind(group)
        for group in batch.deleted:
            self._end_deleted(group)
        for group in batch.groups():
            if 0 < group.undecided <= batch.number:
                self._decided(group)
            if not group.cursors:
                self._maybe_let_go(group)

    def _end_those_behind(self, group: Group) -> None:
        """End the channels whose next entry, or the rest of whose snapshot, is gone."""
        text = f"entries of group {group.name!r} up to position {group.floor} are gone; join again"
        for cursor in list(group.cursors):
            if cursor.is_cut_off():
                self._end_channel(cursor, BEHIND_TRIM, text)

    def _end_deleted(self, group: Group) -> None:
        """End everybody's channels; what is still said on them is refused."""
        del self._residents.groups[group.name]
        self._out.feed.let_go(group)
        for cursor in list(group.cursors):
            text = f"group {group.name!r} has been deleted"
            self._end_channel(cursor, GROUP_DELETED, text)

    def _commit_failed(self, _event: CommitFailed) -> None:
        groups, unborn = self._sequencer.failed()
        for session in unborn:
            if session.connection is not None:
                self._peers[session.connection].session = None
        for group in groups:
            self._decided(group)
            self._maybe_let_go(group)

    def _slice_read(self, event: SliceRead) -> None:
        group = self._out.slice_read(event)
        if group is not None:
            self._damage(group, f"group {group.name!r} ends after position {event.after}")

    def _snapshot_read(self, event: SnapshotRead) -> None:
        group = self._out.chunk_read(event)
        if group is not None:
            text = f"the snapshot of group {group.name!r} ends after {event.offset} bytes"
            self._damage(group, text)

    def _page_read(self, event: PageRead) -> None:
        if (peer := self._peers.get(event.connection)) is not None:
            self._out.page_read(peer, event.request, event.groups)

    def _read_failed(self, event: ReadFailed) -> None:
        group = self._residents.groups.get(event.group)
        self._damage(group or self._residents.admit_unreadable(event.group), event.text)

    def _damage(self, group: Group, text: str) -> None:
        """Refuse this group from now on; others go on."""
        group.damage = text
        self._out.feed.drop(group)
        for cursor in list(group.cursors):
            self._end_channel(cursor, GROUP_DAMAGED, text)
        self._resume(group.name, self._residents.cannot_be_read(group.name), None)

    # ------------------------------------------------------------ time and end

    def _ticked(self, _event: Ticked) -> None:
        for peer, since_ms in list(self._greeting.items()):
            if self._now_ms < since_ms + self._limits.hello_timeout_s * 1000:
                break
            self._fail(peer, TIMED_OUT, f"no Hello in {self._limits.hello_timeout_s} seconds")
        for group in self._turns.expire(self._now_ms):
            self._advance_turns(group)
        if self._now_ms >= self._sweep_ms:
            self._sweep()

    def _sweep(self) -> None:
        """Let go of sessions unused for the retention; note of the connected that they are used."""
        retention_ms = self._limits.retention_s * 1000
        self._sweep_ms = self._now_ms + max(1000, retention_ms // SWEEPS_PER_RETENTION)
        for session in list(self._sessions.values()):
            unused_ms = self._now_ms - session.last_used_ms
            if session.connection is not None:
                if unused_ms >= retention_ms // SWEEPS_PER_RETENTION:
                    self._sequencer.touch(session, self._now_ms)
            elif unused_ms >= retention_ms and not self._sequencer.is_pending(session):
                self._sequencer.end(session)
        self._flush = True

    def _stopping_event(self, _event: Stopping) -> None:
        if not self._stopping:
            self._stopping = True
            self._flush = True
            self._turns.clear()  # what was parked has not happened; its authors send it again
            for peer in self._peers.values():
                peer.forget_waiting()
                self._let_session_go(peer)

    def _say_goodbye(self) -> None:
        """Everything assigned is decided."""
        for peer in self._peers.values():
            if peer.closing:
                continue
            for cursor in peer.cursors():
                cursor.credit = 0  # a reply is still worth its entries, following is over
            peer.farewell = Error(SHUTTING_DOWN, 0, "this server is stopping; connect again later")
            self._stop_hearing(peer)

    def _finish(self) -> list[Effect]:
        """Deliver what was released, start the next commit, and collect the effects."""
        sequencer, out = self._sequencer, self._out
        if sequencer.is_free() and (sequencer.open.wanted or self._flush):
            commit = sequencer.seal(force=self._flush)
            self._flush = False
            if commit is not None:
                out.effects.append(new(StartCommit, (commit,)))
        while sequencer.released:
            released, sequencer.released = sequencer.released, []
            for answer in released:
                self._deliver(answer)
        if self._stopping and sequencer.in_flight is None:
            self._say_goodbye()
        effects = out.take_effects()
        for number in out.woken:
            if number in self._peers:
                effects.append(new(Wake, (number,)))
        out.woken.clear()
        return effects

    def _deliver(self, answer: Answer) -> None:
        peer = self._peers.get(answer.connection)
        if peer is None or peer.closing:
            return
        peer.held -= answer.message.length if type(answer.message) is TakenRun else 1
        peer.held_bytes -= answer.size
        cursor = peer.cursor(answer.channel)
        if cursor is not None:
            self._out.line_up(cursor, answer.message, answer.needs)
        elif isinstance(answer.message, Error):
            self._fail(peer, answer.message.code, answer.message.text)
        else:
            self._out.say(peer, answer.message)


# Any: each row's function takes its key's class; Python's types cannot say that of a dict.
_EVENTS: dict[type[Event], Callable[[Core, Any], None]] = {
    Connected: Core._connected,
    Received: Core._received,
    Faulted: Core._faulted,
    Disconnected: Core._disconnected,
    Committed: Core._committed,
    CommitFailed: Core._commit_failed,
    SliceRead: Core._slice_read,
    ReadFailed: Core._read_failed,
    SnapshotRead: Core._snapshot_read,
    LookedUp: Core._looked_up,
    PageRead: Core._page_read,
    Ticked: Core._ticked,
    Stopping: Core._stopping_event,
}

_MESSAGES: dict[type[Message], Callable[[Core, Peer, Any], None]] = {
    Hello: Core._hello,
    OpenSession: Core._open_session,
    Join: lambda core, *said: core._joins.join(*said),
    Leave: Core._leave,
    Submit: Core._submit,
    Sync: Core._sync,
    Credit: Core._credit,
    AskOutcome: Core._ask_outcome,
    Ping: lambda core, peer, message: core._out.say(peer, Pong(message.token)),
    ListGroups: lambda core, *said: core._out.say(*said),  # answered when it would be sent
    Bye: Core._bye,
    AskTurn: Core._ask_turn,
    EndTurn: Core._end_turn,
    OfferSnapshot: lambda core, peer, said: core._snapshots.offer(peer, said, None),
    PutSnapshot: lambda core, *said: core._snapshots.put(*said),
    Trim: lambda core, *said: core._snapshots.trim(*said),
    DeleteGroup: lambda core, *said: core._deletions.delete(*said),
}
