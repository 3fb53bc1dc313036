"""Who may send what, and when: one table for the connection, one for its session, one for a channel.

Both sides run the same tables, on what they send and on what they receive: h11's idea.  What is not
in a table is an error: of this program when it was about to send it, of the peer when it came.

A message is looked up in the connection's table first; ``Submit`` and the session's own
messages then in the session's; what names a channel in that channel's.

Channels
--------
The client numbers its channels, each number higher than all before it.  A channel that either side
has ended is ``GONE``: the other may not know yet, so what can still be in flight is allowed on it.
What then comes to a client is dropped here (``DROPPED_WHEN_GONE``); what comes to a server is given to
its core, one by one, so that a frame full of it does not hold up everybody.  Only open
channels take memory.
"""

from __future__ import annotations

from enum import Enum, auto

from .messages import (
    AskOutcome,
    AskTurn,
    Bye,
    Credit,
    DeleteGroup,
    EndTurn,
    Entries,
    Error,
    GroupDeleted,
    GroupPage,
    Hello,
    Join,
    Joined,
    Leave,
    ListGroups,
    Message,
    OfferSnapshot,
    OpenSession,
    Outcome,
    Ping,
    Pong,
    PutSnapshot,
    Refused,
    SessionOpened,
    SnapshotChunk,
    SnapshotKept,
    Submit,
    Sync,
    Synced,
    Taken,
    Trim,
    Trimmed,
    TurnGranted,
    WantSnapshot,
    Welcome,
)


class State(Enum):
    """Members are singletons; hashing them by identity happens in C (Enum's own takes a call)."""

    __hash__ = object.__hash__


class ConnectionState(State):
    """Where a connection stands, seen from either end."""

    NEW = auto()  # nothing was sent
    GREETED = auto()  # Hello was sent, Welcome was not
    OPEN = auto()
    LEAVING = auto()  # the client has said Bye; what the server still has may follow
    ENDED = auto()  # the server has sent an Error for channel 0; nothing may follow


class SessionState(State):
    """Where a connection's session stands."""

    NONE = auto()
    OPENING = auto()
    OPEN = auto()


class ChannelState(State):
    """Where one channel stands."""

    UNUSED = auto()  # its number is higher than all that were used
    JOINING = auto()  # Join was sent, Joined was not
    OPEN = auto()
    GONE = auto()  # left by the client or ended by the server


class Ending:
    """Stands in ``CONNECTION`` for an ``Error`` on channel 0; the others are a channel's."""


_C, _S, _H = ConnectionState, SessionState, ChannelState
_Key = type[Message] | type[Ending]

_WHILE_OPEN: tuple[_Key, ...] = (
    OpenSession, Join, Leave, Submit, Sync, Credit, AskOutcome, Ping, ListGroups,
    AskTurn, EndTurn, OfferSnapshot, PutSnapshot, Trim, DeleteGroup,
)  # fmt: skip
_FROM_SERVER: tuple[_Key, ...] = (
    SessionOpened, Joined, Entries, Taken, Refused, Synced, Outcome, Pong, GroupPage,
    TurnGranted, WantSnapshot, SnapshotChunk, Trimmed, SnapshotKept, GroupDeleted, Error,
)  # fmt: skip

_ON_A_CHANNEL: tuple[_Key, ...] = (
    Submit, Sync, Credit, AskTurn, EndTurn, OfferSnapshot, PutSnapshot, Trim,
)  # fmt: skip

CONNECTION: dict[tuple[ConnectionState, _Key], ConnectionState] = {
    (_C.NEW, Hello): _C.GREETED,
    (_C.GREETED, Welcome): _C.OPEN,
    **{(_C.OPEN, kind): _C.OPEN for kind in _WHILE_OPEN + _FROM_SERVER},
    (_C.OPEN, Bye): _C.LEAVING,
    **{(_C.LEAVING, kind): _C.LEAVING for kind in _FROM_SERVER},
    (_C.NEW, Ending): _C.ENDED,
    (_C.GREETED, Ending): _C.ENDED,
    (_C.OPEN, Ending): _C.ENDED,
    (_C.LEAVING, Ending): _C.ENDED,
}

SESSION: dict[tuple[SessionState, _Key], SessionState] = {
    (_S.NONE, OpenSession): _S.OPENING,
    (_S.OPENING, SessionOpened): _S.OPEN,
    (_S.OPEN, Submit): _S.OPEN,
    (_S.OPEN, Taken): _S.OPEN,
    (_S.OPEN, Refused): _S.OPEN,
}

CHANNEL: dict[tuple[ChannelState, _Key], ChannelState] = {
    (_H.UNUSED, Join): _H.JOINING,
    (_H.JOINING, Joined): _H.OPEN,
    **{(_H.JOINING, kind): _H.JOINING for kind in _ON_A_CHANNEL},
    **{(_H.OPEN, kind): _H.OPEN for kind in (*_ON_A_CHANNEL, SnapshotChunk, Entries)},
    **{(state, kind): _H.GONE for state in (_H.JOINING, _H.OPEN) for kind in (Leave, Error)},
    **{
        (_H.GONE, kind): _H.GONE
        for kind in (*_ON_A_CHANNEL, Leave, Joined, SnapshotChunk, Entries, Error)
    },
}  # fmt: skip

SESSION_KINDS = frozenset(kind for _, kind in SESSION)
CHANNEL_KINDS = frozenset(kind for _, kind in CHANNEL)

# Nobody is there any more for these.
DROPPED_WHEN_GONE: frozenset[_Key] = frozenset({Joined, SnapshotChunk, Entries, Error})


# Nearly every message moves nothing, so what does not is looked up at once, in what the tables say.
_UNMOVED = frozenset(
    (connection, session, kind)
    for (connection, kind), after in CONNECTION.items()
    for session in SessionState
    if after is connection
    and (kind not in SESSION_KINDS or SESSION.get((session, kind)) is session)
)
_CHANNEL_UNMOVED: frozenset[tuple[ChannelState, _Key]] = frozenset(
    (state, kind)
    for (state, kind), after in CHANNEL.items()
    if after is state and state is not ChannelState.GONE
)


class OutOfOrder(ValueError):
    """A message that the tables do not have; the text says where things stood."""


class Standing:
    """Where a connection, its session and its channels stand; moved by every message, sent or come.

    *highest*: of all channels' numbers.
    """

    __slots__ = ("_number", "_others", "_state", "connection", "highest", "session")

    def __init__(self) -> None:
        self.connection = ConnectionState.NEW
        self.session = SessionState.NONE
        self.highest = 0
        # What is joining or open: one channel, 0 for none, and the others.  Most connections have one, and a
        # dict of one is three times all this.
        self._number, self._state = 0, ChannelState.GONE
        self._others: dict[int, ChannelState] | None = None

    def channel(self, number: int) -> ChannelState:
        """The state of channel *number*."""
        if number == self._number:
            return self._state
        if self._others is not None and number in self._others:
            return self._others[number]
        return ChannelState.UNUSED if number > self.highest else ChannelState.GONE

    def advance(self, message: Message) -> bool:
        """Move by *message*; False when its receiver drops it (see the module's header).

        Raises:
            OutOfOrder: the tables do not have it; nothing has moved.
        """
        kind: _Key = type(message)
        if (self.connection, self.session, kind) in _UNMOVED:
            if kind not in CHANNEL_KINDS:
                return True
            number: int = message.channel  # type: ignore[union-attr]  # CHANNEL_KINDS have one
            state = self._state if number == self._number else self.channel(number)
            if (state, kind) in _CHANNEL_UNMOVED:
                return True
        if kind is Error and message.channel == 0:  # type: ignore[union-attr]
            kind = Ending
        connection = CONNECTION.get((self.connection, kind))
        if connection is None:
            raise OutOfOrder(f"{_name(kind)} while the connection is {self.connection.name}")
        keep = True
        if kind in CHANNEL_KINDS:
            keep = self._advance_channel(message, kind)
        elif kind in SESSION_KINDS:
            self.session = self._next_session(kind)
        self.connection = connection
        return keep

    def _next_session(self, kind: _Key) -> SessionState:
        session = SESSION.get((self.session, kind))
        if session is None:
            raise OutOfOrder(f"{_name(kind)} while the session is {self.session.name}")
        return session

    def _advance_channel(self, message: Message, kind: _Key) -> bool:
        number: int = message.channel  # type: ignore[union-attr]  # CHANNEL_KINDS have one
        before = self.channel(number)
        after = CHANNEL.get((before, kind))
        if after is None:
            raise OutOfOrder(f"{_name(kind)} while channel {number} is {before.name}")
        if kind in SESSION_KINDS:
            self.session = self._next_session(kind)
        if after is before:
            return after is not ChannelState.GONE or kind not in DROPPED_WHEN_GONE
        self._move_channel(number, before, after)
        return True

    def _move_channel(self, number: int, before: ChannelState, after: ChannelState) -> None:
        if before is ChannelState.UNUSED:
            self.highest = number
            if not self._number:
                self._number = number
        if number == self._number:
            self._state = after
            if after is ChannelState.GONE:
                self._number = 0
        elif after is ChannelState.GONE:
            assert self._others is not None, "it was joining or open"
            del self._others[number]
        else:
            self._others = self._others or {}
            self._others[number] = after


def _name(kind: _Key) -> str:
    return "Error for channel 0" if kind is Ending else kind.__name__
