"""The server without its sockets, disk and clock: events in, effects out.

What the caller does
--------------------
- ``handle`` (or ``handle_all``) each event, and do the effects it returns, in their order.
- After ``Wake(c)``: while the socket of *c* takes more, send ``output(c, ...)`` until
  ``has_output(c)`` is False.  After each ``output`` do ``take_effects()``: a subscriber that lags asks
  there for its next slice of the log.
- Before reading more from *c*: ``congested(c)``.  If it is, ask again after the next output.
- Handle ``Ticked`` when ``next_deadline_ms()`` has come.

Order and durability are decided in ``sequencer.py``; what a session remembers in ``session.py``; who is
sent which entries in ``cursor.py`` and ``feed.py``.  Here is who is connected, and what each message
leads to.

Nothing a peer sends raises: what it must not send ends its channel or its connection with an error.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Iterable
from typing import Any

from ..stores.base import GroupState, StoreState
from ..wire.limits import Limits
from ..wire.messages import (
    GROUP_DAMAGED,
    GROUP_REPLACED,
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
    EndTurn,
    Error,
    GroupPage,
    Hello,
    Join,
    Joined,
    Leave,
    ListGroups,
    Message,
    OpenSession,
    Ping,
    Pong,
    SessionOpened,
    Submit,
    Sync,
    Synced,
    TurnGranted,
    Welcome,
)
from .cursor import Cursor, Due
from .events import (
    ChainRead,
    CloseAfterOutput,
    CommitFailed,
    Committed,
    Connected,
    Disconnected,
    Effect,
    Event,
    Faulted,
    ReadChain,
    ReadFailed,
    Received,
    SliceRead,
    StartCommit,
    Stopping,
    Ticked,
    Wake,
)
from .feed import REPLY_BYTES, Feed
from .group import Group
from .peer import ANSWERS_MAX, HELD_BYTES_MAX, Peer
from .sequencer import Answer, Sequencer, Violation
from .session import Session
from .turns import Asked, TurnTable

GROUPS_PER_PAGE = 128
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
        self._groups = {group.name: Group(group, stored=True) for group in state.groups}
        self._stored_names = sorted(self._groups)
        sessions = map(Session.load, state.sessions)
        self._sessions = {session.id: session for session in sessions}
        self._sequencer = Sequencer(self._sessions, limits)
        self._feed = Feed()
        self._turns: TurnTable[Group, Submit] = TurnTable()
        self._peers: dict[int, Peer] = {}
        self._greeting: dict[int, Peer] = {}  # connected, no Hello yet; the oldest first
        self._lookups: dict[tuple[str, int], list[tuple[Peer, Join]]] = {}
        self._effects: list[Effect] = []
        self._woken: dict[int, None] = {}
        self._stopping = False
        self._flush = False  # the next commit is due even if nobody waits for it
        self._sweep_ms = now_ms

    # ------------------------------------------------------------ for the caller

    def handle(self, event: Event, now_ms: int) -> list[Effect]:
        """Take *event* in; returns what is to be done, in order."""
        self._now_ms = now_ms
        _EVENTS[type(event)](self, event)
        return self._finish()

    def handle_all(self, events: Iterable[Event], now_ms: int) -> list[Effect]:
        """As ``handle`` for each, except that all of them may share one commit."""
        self._now_ms = now_ms
        for event in events:
            _EVENTS[type(event)](self, event)
        return self._finish()

    def take_effects(self) -> list[Effect]:
        """What ``output`` has found to be done; the next ``handle`` would return it as well."""
        self._effects += self._feed.reads
        self._feed.reads.clear()
        effects, self._effects = self._effects, []
        return effects

    def has_output(self, connection: int) -> bool:
        peer = self._peers.get(connection)
        return peer is not None and peer.has_output()

    def output(self, connection: int, bytes_max: int) -> list[Message]:
        """What may be sent now, about *bytes_max* bytes of it, at least one message if there is
        any.  Channels take turns.  May be empty although ``has_output`` was true."""
        peer = self._peers.get(connection)
        out: list[Message] = []
        if peer is None:
            return out
        while peer.control and bytes_max > 0:
            message = peer.control.popleft()
            if type(message) is ListGroups:
                message = self._page(message)
                bytes_max -= REPLY_BYTES * len(message.groups)
            out.append(message)
            bytes_max -= REPLY_BYTES
        while peer.ready and bytes_max > 0:
            channel = next(iter(peer.ready))
            cursor = peer.ready.pop(channel)
            bytes_max = self._feed.serve(cursor, bytes_max, out)
            if self._feed.stir(cursor):
                peer.ready[channel] = cursor
        if peer.farewell_is_due():
            assert peer.farewell is not None
            out.append(peer.farewell)
            peer.farewell = None
            for channel in list(peer.cursors):
                self._close_channel(peer, channel)  # whatever the log still brings is not told
            # Only now: until the log was read, there was nothing to send, and more was to come.
            self._effects.append(CloseAfterOutput(peer.number))
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
        if self._feed.reads:
            return self._now_ms
        deadline = min(self._sweep_ms, self._turns.deadline_ms() or self._sweep_ms)
        for peer in self._greeting.values():
            return min(deadline, peer.since_ms + self._limits.hello_timeout_s * 1000)
        return deadline

    @property
    def stopped(self) -> bool:
        """After ``Stopping``: nothing is outstanding, and everybody has been said goodbye."""
        return self._stopping and self._sequencer.in_flight is None

    # ------------------------------------------------------------ connections

    def _connected(self, event: Connected) -> None:
        peer = self._peers[event.connection] = Peer(event.connection, self._now_ms)
        if self._stopping:
            self._fail(peer, SHUTTING_DOWN, "this server is stopping; connect again later")
        elif len(self._peers) > self._limits.connections_max:
            self._fail(
                peer, TOO_MANY, f"this server takes {self._limits.connections_max} connections"
            )
        else:
            self._greeting[peer.number] = peer

    def _disconnected(self, event: Disconnected) -> None:
        peer = self._peers.pop(event.connection, None)
        if peer is None:
            return
        self._greeting.pop(peer.number, None)
        self._let_session_go(peer)
        self._forget_turns(peer)
        for channel in list(peer.cursors):
            self._close_channel(peer, channel)
        self._drop_lookups(peer)

    def _faulted(self, event: Faulted) -> None:
        peer = self._peers.get(event.connection)
        if peer is not None and not peer.closing:
            self._fail(peer, event.code, event.text)

    def _fail(self, peer: Peer, code: int, text: str) -> None:
        """End the connection with an error; what it was still owed goes with it."""
        self._forget_turns(peer)
        for channel in list(peer.cursors):
            self._close_channel(peer, channel)
        peer.control.clear()
        peer.control.append(Error(code, 0, text))
        self._close(peer)

    def _close(self, peer: Peer) -> None:
        self._stop_hearing(peer)
        self._effects.append(CloseAfterOutput(peer.number))

    def _stop_hearing(self, peer: Peer) -> None:
        peer.closing = True
        peer.stalled.clear()
        self._drop_lookups(peer)
        self._greeting.pop(peer.number, None)
        self._wake(peer)

    def _let_session_go(self, peer: Peer) -> None:
        session, peer.session = peer.session, None
        if session is not None:
            session.connection = None
            self._sequencer.touch(session, self._now_ms)

    def _wake(self, peer: Peer) -> None:
        self._woken[peer.number] = None

    # ------------------------------------------------------------ messages

    def _received(self, event: Received) -> None:
        peer = self._peers.get(event.connection)
        if peer is None or peer.closing or self._stopping:
            return
        if peer.must_wait(event.message):
            peer.stalled.append(event.message)
        else:
            self._obey(peer, event.message)

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
        self._greeting.pop(peer.number, None)
        peer.label = message.label
        welcome = Welcome(PROTOCOL_VERSION, self._software, self._now_ms, [], self._limits)
        self._say(peer, welcome)

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
            self._say(peer, SessionOpened(session.id))
        session.connection = peer.number
        peer.session = session

    def _submit(self, peer: Peer, message: Submit) -> None:
        if peer.session is None:
            raise Violation(OUT_OF_ORDER, "a submission needs a session")
        peer.held += 1
        peer.held_bytes += len(message.payload)
        cursor = peer.cursors.get(message.channel)
        if cursor is None:
            self._judge(peer, message)
        elif not self._turns.park(cursor.group, peer.number, message.channel, message):
            self._judge(peer, message)
            self._turns.end(cursor.group, peer.number, message.channel)
            self._advance_turns(cursor.group)

    def _judge(self, peer: Peer, message: Submit) -> None:
        assert peer.session is not None, "whose session goes, what it parked goes too"
        cursor = peer.cursors.get(message.channel)
        self._sequencer.submit(
            peer.number,
            peer.session,
            peer.label,
            cursor.group if cursor else None,
            message,
            self._now_ms,
        )

    # ------------------------------------------------------------ turns

    def _ask_turn(self, peer: Peer, message: AskTurn) -> None:
        cursor = peer.cursors.get(message.channel)
        if cursor is None:
            return  # its Error says all
        if not self._turns.ask(cursor.group, Asked(peer.number, message.channel, message.request)):
            raise Violation(OUT_OF_ORDER, "a channel waits for one turn at a time")
        self._advance_turns(cursor.group)

    def _end_turn(self, peer: Peer, message: EndTurn) -> None:
        cursor = peer.cursors.get(message.channel)
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
        """Judge what was parked as soon as no turn lasts, then begin the next one."""
        while (parked := self._turns.next_parked(group)) is not None:
            number, message = parked
            peer = self._peers[number]
            try:
                self._judge(peer, message)
            except Violation as violation:
                self._fail(peer, violation.code, violation.text)
        asked = self._turns.grant(group, self._now_ms, self._limits.turn_lease_ms)
        if asked is not None:
            self._peers[asked.connection].held += 1
            self._sequencer.grant_turn(asked, group)

    def _sync(self, peer: Peer, message: Sync) -> None:
        cursor = peer.cursors.get(message.channel)
        if cursor is not None:  # else its Error says all
            head = cursor.group.durable_head
            self._line_up(cursor, Synced(message.request, head), head)

    def _credit(self, peer: Peer, message: Credit) -> None:
        cursor = peer.cursors.get(message.channel)
        if cursor is None:
            return
        if cursor.credit + message.size > self._limits.credit_bytes_max:
            text = f"credit of more than {self._limits.credit_bytes_max} bytes is outstanding"
            self._end_channel(peer, message.channel, TOO_MANY, text)
            return
        cursor.credit += message.size
        cursor.group.followers.add(cursor)
        self._stir(cursor)

    def _ask_outcome(self, peer: Peer, message: AskOutcome) -> None:
        peer.held += 1
        self._sequencer.ask(peer.number, message)

    def _ping(self, peer: Peer, message: Ping) -> None:
        self._say(peer, Pong(message.token))

    def _list_groups(self, peer: Peer, message: ListGroups) -> None:
        self._say(peer, message)  # made into a page when it is sent: a request costs no memory

    def _page(self, message: ListGroups) -> GroupPage:
        start = bisect_right(self._stored_names, message.after)
        names = self._stored_names[start : start + GROUPS_PER_PAGE]
        groups = [self._groups[name] for name in names]
        rows: list[list[object]] = [
            [g.name, g.incarnation, g.durable_head, 0, 0, 0, 0, False] for g in groups
        ]
        return GroupPage(message.request, rows, start + GROUPS_PER_PAGE < len(self._stored_names))

    def _bye(self, peer: Peer, message: Bye) -> None:
        self._forget_turns(peer)
        session = peer.session
        if session is not None:
            self._sequencer.settle(session, message.settled)
            self._let_session_go(peer)
            if session.is_empty() and not self._sequencer.is_pending(session):
                self._sequencer.end(session)
        for channel in list(peer.cursors):
            self._close_channel(peer, channel)
        self._close(peer)

    # ------------------------------------------------------------ channels

    def _join(self, peer: Peer, message: Join) -> None:
        channel, resume = message.channel, message.resume
        if len(peer.cursors) + len(peer.joining) >= self._limits.channels_max:
            text = f"{self._limits.channels_max} groups on one connection are the limit"
            self._say(peer, Error(TOO_MANY, channel, text))
            return
        group = self._groups.get(message.group)
        if group is None:
            incarnation = self._new_id()
            group = Group(GroupState(message.group, incarnation, 0, incarnation), stored=False)
        if resume is None or resume.position == 0:
            self._groups[group.name] = group
            self._open_channel(peer, channel, group, 0)
            return
        chain = group.known_chain(resume.position)
        if resume.incarnation != group.incarnation or resume.position > group.durable_head:
            chain = b""  # equal to none
        if chain is None:
            peer.joining.add(channel)
            waiting = self._lookups.setdefault((group.name, resume.position), [])
            if not waiting:
                self._effects.append(ReadChain(group.name, resume.position))
            waiting.append((peer, message))
        else:
            self._decide_join(peer, message, group, chain)

    def _decide_join(self, peer: Peer, message: Join, group: Group, chain: bytes | None) -> None:
        assert message.resume is not None
        if chain == message.resume.chain:
            self._open_channel(peer, message.channel, group, message.resume.position)
        else:
            text = (
                f"the history of group {group.name!r} is not the one that this replica holds up to "
                f"position {message.resume.position}; join it afresh"
            )
            self._say(peer, Error(GROUP_REPLACED, message.channel, text))

    def _open_channel(self, peer: Peer, channel: int, group: Group, position: int) -> None:
        if group.damage is not None:
            self._say(peer, Error(GROUP_DAMAGED, channel, group.damage))
            return
        cursor = peer.cursors[channel] = Cursor(peer, channel, group, position)
        group.cursors.add(cursor)
        self._say(peer, Joined(channel, group.incarnation, position, group.durable_head, None))

    def _leave(self, peer: Peer, message: Leave) -> None:
        self._close_channel(peer, message.channel)

    def _close_channel(self, peer: Peer, channel: int) -> None:
        """The channel is gone; answers to submissions on it are still given, without entries."""
        cursor = peer.cursors.pop(channel, None)
        if cursor is None:
            return
        peer.ready.pop(channel, None)
        peer.lined -= len(cursor.line)
        self._feed.forget(cursor)
        self._leave_turns(cursor)
        cursor.group.cursors.discard(cursor)
        cursor.group.followers.discard(cursor)
        self._maybe_forget(cursor.group)
        for due in cursor.line:
            if not isinstance(due.message, Synced | TurnGranted):
                self._say(peer, due.message)

    def _end_channel(self, peer: Peer, channel: int, code: int, text: str) -> None:
        self._say(peer, Error(code, channel, text))
        self._close_channel(peer, channel)

    def _maybe_forget(self, group: Group) -> None:
        if group.is_forgettable():
            self._groups.pop(group.name, None)

    def _say(self, peer: Peer, message: Message) -> None:
        peer.control.append(message)
        self._wake(peer)

    def _line_up(self, cursor: Cursor, message: Message, needs: int) -> None:
        """Put a reply behind the entries it needs, and allow the cursor as far as that."""
        cursor.line.append(Due(message, needs))
        cursor.peer.lined += 1
        cursor.grant = max(cursor.grant, needs)
        self._stir(cursor)

    def _stir(self, cursor: Cursor) -> None:
        if self._feed.stir(cursor):
            cursor.peer.ready[cursor.channel] = cursor
            self._wake(cursor.peer)

    # ------------------------------------------------------------ the store

    def _committed(self, _event: Committed) -> None:
        groups, new_names = self._sequencer.committed()
        for name in new_names:
            insort(self._stored_names, name)
        for group in groups:
            self._feed.note_published(group)
            for cursor in list(group.followers):
                if cursor.credit > 0:
                    self._stir(cursor)
                else:
                    group.followers.discard(cursor)

    def _commit_failed(self, _event: CommitFailed) -> None:
        groups, unborn = self._sequencer.failed()
        for session in unborn:
            if session.connection is not None:
                self._peers[session.connection].session = None
        for group in groups:
            self._maybe_forget(group)

    def _slice_read(self, event: SliceRead) -> None:
        group = self._groups[event.group]
        if not event.entries:
            self._damage(group, f"group {group.name!r} ends after position {event.after}")
            return
        for cursor in self._feed.slice_read(group, event.after, event.entries):
            self._stir(cursor)

    def _read_failed(self, event: ReadFailed) -> None:
        self._damage(self._groups[event.group], event.text)

    def _damage(self, group: Group, text: str) -> None:
        """Refuse this group from now on; others go on."""
        group.damage = text
        self._feed.drop(group)
        for cursor in list(group.cursors):
            self._end_channel(cursor.peer, cursor.channel, GROUP_DAMAGED, text)
        for name, position in [key for key in self._lookups if key[0] == group.name]:
            self._looked_up(name, position, None)

    def _chain_read(self, event: ChainRead) -> None:
        self._looked_up(event.group, event.position, event.chain)

    def _looked_up(self, name: str, position: int, chain: bytes | None) -> None:
        group = self._groups[name]
        for peer, message in self._lookups.pop((name, position), []):
            if message.channel not in peer.joining:
                continue  # its connection has come to its end meanwhile
            peer.joining.discard(message.channel)
            if group.damage is not None:
                self._say(peer, Error(GROUP_DAMAGED, message.channel, group.damage))
            else:
                self._decide_join(peer, message, group, chain)
            while peer.stalled and not peer.closing and not peer.must_wait(peer.stalled[0]):
                self._obey(peer, peer.stalled.popleft())

    def _drop_lookups(self, peer: Peer) -> None:
        if peer.joining:
            peer.joining.clear()
            for waiting in self._lookups.values():
                waiting[:] = [(other, join) for other, join in waiting if other is not peer]

    # ------------------------------------------------------------ time and end

    def _ticked(self, _event: Ticked) -> None:
        for peer in list(self._greeting.values()):
            if self._now_ms < peer.since_ms + self._limits.hello_timeout_s * 1000:
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
                self._let_session_go(peer)

    def _maybe_stop(self) -> None:
        """Everything assigned is decided: say goodbye."""
        if self._sequencer.in_flight is not None:
            return
        for peer in self._peers.values():
            if peer.closing:
                continue
            for cursor in peer.cursors.values():
                cursor.credit = 0  # a reply is still worth its entries, following is over
            peer.farewell = Error(SHUTTING_DOWN, 0, "this server is stopping; connect again later")
            self._stop_hearing(peer)

    def _finish(self) -> list[Effect]:
        """Deliver what was released, start the next commit, and collect the effects."""
        self._start_commit()
        while self._sequencer.released:
            released, self._sequencer.released = self._sequencer.released, []
            for answer in released:
                self._deliver(answer)
        if self._stopping:
            self._maybe_stop()
        effects = self.take_effects()
        effects += [Wake(number) for number in self._woken if number in self._peers]
        self._woken.clear()
        return effects

    def _start_commit(self) -> None:
        if self._sequencer.in_flight is None:
            commit = self._sequencer.seal(force=self._flush)
            self._flush = False
            if commit is not None:
                self._effects.append(StartCommit(commit))

    def _deliver(self, answer: Answer) -> None:
        peer = self._peers.get(answer.connection)
        if peer is None or peer.closing:
            return
        peer.held -= 1
        peer.held_bytes -= answer.size
        cursor = peer.cursors.get(answer.channel)
        if cursor is not None:
            self._line_up(cursor, answer.message, answer.needs)
        elif isinstance(answer.message, Error):
            self._fail(peer, answer.message.code, answer.message.text)
        else:
            self._say(peer, answer.message)


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
    ChainRead: Core._chain_read,
    Ticked: Core._ticked,
    Stopping: Core._stopping_event,
}

_MESSAGES: dict[type[Message], Callable[[Core, Peer, Any], None]] = {
    Hello: Core._hello,
    OpenSession: Core._open_session,
    Join: Core._join,
    Leave: Core._leave,
    Submit: Core._submit,
    Sync: Core._sync,
    Credit: Core._credit,
    AskOutcome: Core._ask_outcome,
    Ping: Core._ping,
    ListGroups: Core._list_groups,
    Bye: Core._bye,
    AskTurn: Core._ask_turn,
    EndTurn: Core._end_turn,
}
