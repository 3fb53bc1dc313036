"""One connection's conversation with a server, from the client's side.  Sans-IO.

The driver sends what ``data_to_send`` gives, hands what it reads to ``receive``, and asks ``poll`` for the
answer it waits for; in between, entries go to the replicas of the channels they came on.

After any exception from here the conversation is over: close the socket and begin a new one.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Protocol
from weakref import ref

from score_server.wire.connection import CONNECTION_CLOSED, NEED_DATA, Connection, Role
from score_server.wire.errors import LocalProtocolError, RemoteProtocolError
from score_server.wire.limits import Limits
from score_server.wire.messages import (
    BEHIND_TRIM,
    GROUP_DAMAGED,
    GROUP_DELETED,
    GROUP_REPLACED,
    OUT_OF_ORDER,
    OVERLOADED,
    PROTOCOL_VERSION,
    SESSION_EXPIRED,
    SESSION_FENCED,
    SHUTTING_DOWN,
    TIMED_OUT,
    TOO_MANY,
    Bye,
    Entries,
    Error,
    GroupDeleted,
    GroupPage,
    Hello,
    Join,
    Joined,
    Leave,
    Message,
    Outcome,
    Pong,
    Refused,
    Resume,
    SessionOpened,
    SnapshotChunk,
    SnapshotKept,
    Synced,
    Taken,
    Trimmed,
    TurnGranted,
    WantSnapshot,
    Welcome,
)

from .errors import (
    GroupDamagedError,
    GroupDeletedError,
    GroupReplacedError,
    ProtocolError,
    ScoreError,
    ServerBusyError,
    ServerError,
)
from .snapshot import Incoming


class Member(Protocol):
    """What joins a group and is handed what comes on its channel: a ``replica.Replica``, say."""

    @property
    def group(self) -> str: ...
    @property
    def keep(self) -> bool: ...
    @property
    def resets(self) -> int:
        """Counts how often it has gone back, or begun with another group of its name: what comes on earlier
        channels does not fit any more."""
        ...

    def resume(self) -> Resume | None: ...
    def joined(self, message: Joined) -> Incoming | None: ...
    def receive_chunk(self, incoming: Incoming, offset: int, data: bytes) -> object: ...
    def receive_all(self, encoded: list[bytes]) -> None: ...


class ConnectionLost(Exception):
    """The connection is gone, or has to be: connect again and resume."""


class SessionLost(Exception):
    """The server does not know the session that this connection wanted to resume."""


# What an answer answers: its kind, and the number that the question carried.
Key = tuple[str, int]

# More than a client can wait for, which is at most what a session may have unsettled, several times over:
# what a hostile server says costs no memory without end.
ANSWERS_MAX = 4096

_RECONNECT = {SESSION_FENCED, TIMED_OUT, SHUTTING_DOWN, OVERLOADED}


class _Place(ref[Member]):
    """A member's channel.  Weak: a structure that its program has dropped needs no entries.

    (A ``WeakKeyDictionary`` makes a reference and asks it for its hash at each look.)

    Attributes:
        channel: its number.
        member_id: the member's ``id``, which another one may have once it is gone.
        resets: the member's, when it joined.
    """

    __slots__ = ("channel", "member_id", "resets")

    channel: int
    member_id: int
    resets: int

    def standing(self) -> Member | None:
        """The member, if it is still there and has not gone back since it joined: else what comes is not for it."""
        member = self()
        return member if member is not None and member.resets == self.resets else None


class Conversation:
    """Messages out, answers in, entries to replicas.

    Attributes:
        limits: what the server allows; the defaults until its ``Welcome``.
        session: the session opened on this connection, or None.
        entry_bytes: bytes of entries received so far, for a watch's credit.
    """

    def __init__(self, label: str, features: Sequence[str] = ()) -> None:
        self._wire = Connection(Role.CLIENT, Limits())
        self._out: list[Message] = [Hello(PROTOCOL_VERSION, label, list(features), None)]
        self._wanted: dict[str, None] = {}
        self._incoming: dict[int, Incoming] = {}
        self._answers: dict[Key, Message] = {}
        self._channel_errors: dict[int, ScoreError | ConnectionLost] = {}
        # The members by their channels, and by their ids for as long as they are there.
        self._places: dict[int, _Place] = {}
        self._of_member: dict[int, _Place] = {}
        self._dropped: list[_Place] = []
        self._last_number = 0
        self.limits = Limits()
        self.session: bytes | None = None
        self.entry_bytes = 0

    # ------------------------------------------------------------ out

    def send(self, message: Message) -> None:
        """Put *message* in line for ``data_to_send``."""
        self._out.append(message)

    def data_to_send(self) -> bytes:
        """The bytes of everything in line ('' if nothing is).

        Raises:
            ProtocolError: the server's limits do not allow it.
        """
        if not self._out:
            return b""
        out, self._out = self._out, []
        try:
            return self._wire.send(*out)
        except LocalProtocolError as error:
            # What this client sends has passed the limits that it knows: those announced are at fault.
            raise ProtocolError(
                f"the server takes less than a client has to say: {error}; is it a score-server?"
            ) from error

    def next_number(self) -> int:
        """A number that no question on this connection has carried yet."""
        self._last_number += 1
        return self._last_number

    def join(self, replica: Member) -> int:
        """Put a ``Join`` in line; the answer comes as ("joined", the channel returned)."""
        if len(self._places) >= self.limits.channels_max:
            gc.collect()  # a structure and its replica hold each other: dropped ones stay until somebody looks
        self._leave_dropped()  # before its id may stand for another one
        self.leave(replica)
        channel = self.next_number()
        place = _Place(replica, self._dropped.append)
        place.channel, place.member_id, place.resets = channel, id(replica), replica.resets
        self._places[channel] = self._of_member[place.member_id] = place
        self.send(Join(channel, replica.group, replica.resume(), replica.keep))
        return channel

    def channel_of(self, replica: Member) -> int | None:
        """The channel that *replica* has on this connection.

        It is given up if *replica* was emptied, or begun anew, since it joined, perhaps by way of another connection.
        """
        place = self._of_member.get(id(replica))
        if place is None or place() is not replica:
            return None
        if place.resets != replica.resets:
            self.leave(replica)
            return None
        return place.channel

    def is_behind_reset(self, replica: Member) -> bool:
        """Whether *replica* was emptied (perhaps by way of another connection) since it joined here."""
        place = self._of_member.get(id(replica))
        return place is not None and place() is replica and place.resets != replica.resets

    def leave(self, replica: Member) -> None:
        """Give up *replica*'s channel, if it has one."""
        place = self._of_member.get(id(replica))
        if place is not None and place() is replica:
            self._leave(place)

    def _leave_dropped(self) -> None:
        while self._dropped:
            self._leave(self._dropped.pop())

    def _leave(self, place: _Place) -> None:
        del self._of_member[place.member_id], self._places[place.channel]
        self._incoming.pop(place.channel, None)
        if place.channel not in self._channel_errors:
            self.send(Leave(place.channel))

    def _member(self, channel: int) -> Member | None:
        """Who has *channel*, unless it was left or its program has dropped it."""
        place = self._places.get(channel)
        return place() if place is not None else None

    def wanted(self) -> list[str]:
        """The groups of which the server has asked for snapshots since this was asked last."""
        wanted, self._wanted = self._wanted, {}
        return list(wanted)

    def bye(self, settled: int) -> None:
        """Put the last message of an orderly end in line."""
        self.send(Bye(settled))

    # ------------------------------------------------------------ in

    def receive(self, data: bytes) -> None:
        """Take in what the socket gave (``b""`` at its end).

        Raises:
            ConnectionLost: it is over; connect again.
            SessionLost: the session is not known any more.
            ServerError: the server refuses for a reason that a new connection does not cure.
        """
        wire = self._wire
        try:
            wire.receive_data(data)
            while True:
                message = wire.next_message()
                # What a change brings comes first: ``match`` asks about each class in turn.
                if type(message) is Entries:
                    self._receive_entries(message.channel, message.entries)
                elif type(message) is Taken:
                    self._answers["submit", message.seq] = message
                elif message is NEED_DATA:
                    return
                elif type(message) is Synced or type(message) is TurnGranted:
                    self._answers["request", message.request] = message
                elif message is CONNECTION_CLOSED:
                    raise ConnectionLost("the server closed the connection")
                else:
                    self._dispatch(message)
                if len(self._answers) > ANSWERS_MAX:
                    raise ProtocolError("the server gives answers that nobody has asked for")
        except RemoteProtocolError as error:
            raise ProtocolError(
                f"what answers is no score-server of this version: {error}; check the address and "
                "the versions on both sides"
            ) from error

    def error_on(self, channel: int) -> ScoreError | ConnectionLost | None:
        """What ended *channel*, if the server has ended it."""
        return self._channel_errors.get(channel)

    def check(self, channel: int) -> None:
        """Raise what ended *channel*, as ``poll`` does, if the server has ended it."""
        if channel in self._channel_errors:
            raise self._channel_errors[channel]

    def poll(self, key: Key, channel: int = 0) -> Message | None:
        """The answer to the question *key*, once it has come.

        Raises:
            ScoreError: *channel* was closed by the server with an error.
            ConnectionLost: it was, and a new connection is the cure.
        """
        answer = self._answers.pop(key, None)
        if answer is None and channel in self._channel_errors:
            raise self._channel_errors[channel]
        return answer

    def _receive_entries(self, channel: int, entries: list[bytes]) -> None:
        for entry in entries:  # one, mostly: sum and map cost more than it does
            self.entry_bytes += len(entry)
        place = self._places.get(channel)
        if place is None or (replica := place.standing()) is None:
            return
        if channel in self._incoming:
            raise RemoteProtocolError(OUT_OF_ORDER, "entries before a snapshot's end")
        replica.receive_all(entries)

    def _dispatch(self, message: Message) -> None:
        match message:
            case SnapshotChunk(channel, offset, data):
                self._receive_chunk(channel, offset, data)
            case Refused():
                self._answers["submit", message.seq] = message
            case (
                Outcome() | GroupPage() | Trimmed() | SnapshotKept() | GroupDeleted()
            ):  # fmt: skip
                self._answers["request", message.request] = message
            case Pong():
                self._answers["ping", message.token] = message
            case Joined():
                self._receive_joined(message)
            case Welcome():
                self.limits = message.limits
                self._answers["welcome", 0] = message
            case SessionOpened():
                self.session = message.session
                self._answers["session", 0] = message
            case WantSnapshot(group):
                if len(self._wanted) < ANSWERS_MAX:  # asked again when their logs have doubled
                    self._wanted[group] = None
            case _:
                # The wire's tables let nothing else through.
                assert isinstance(message, Error)
                self._failed(message)

    def _receive_joined(self, message: Joined) -> None:
        place = self._places.get(message.channel)
        if place is not None and (replica := place.standing()) is not None:
            incoming = replica.joined(message)
            # Where it is another group of that name, the other channels are void, not this one.
            place.resets = replica.resets
            if incoming is not None:
                self._incoming[message.channel] = incoming
        self._answers["joined", message.channel] = message

    def _receive_chunk(self, channel: int, offset: int, data: bytes) -> None:
        place, incoming = self._places.get(channel), self._incoming.get(channel)
        if place is None or (replica := place.standing()) is None:
            self._incoming.pop(channel, None)  # dropped, or void; the server does not know yet
            return
        if incoming is None:
            raise RemoteProtocolError(OUT_OF_ORDER, "a piece of a snapshot that was not announced")
        if incoming.received + len(data) >= incoming.size:
            del self._incoming[channel]  # the last one, or too much
        replica.receive_chunk(incoming, offset, data)
        place.resets = replica.resets

    def _failed(self, error: Error) -> None:
        if error.channel:
            replica = self._member(error.channel)
            if error.code == BEHIND_TRIM:
                # Joining again is the cure: at the next call, or at once by whoever waits there.
                lost = ConnectionLost(f"the server says: {error.text}")
                self._channel_errors[error.channel] = lost
                if replica is not None:
                    self.leave(replica)
                return
            name = replica.group if replica is not None else "?"
            self._incoming.pop(error.channel, None)
            self._channel_errors[error.channel] = _channel_error(error, name)
            return
        if error.code in _RECONNECT:
            raise ConnectionLost(f"the server says: {error.text}")
        if error.code == SESSION_EXPIRED:
            raise SessionLost(error.text)
        if error.code == TOO_MANY:
            raise ServerBusyError(f"the server says: {error.text}")
        raise ProtocolError(
            f"the server refuses what this client says: {error.text}; "
            "are both of the same minor version?"
        )


def _channel_error(error: Error, group: str) -> ScoreError:
    if error.code == GROUP_REPLACED:
        return GroupReplacedError(
            f"group {group!r} on the server is not the one this view has followed ({error.text}); "
            "the view can still be read: save what you need and join again with a new structure"
        )
    if error.code == GROUP_DELETED:
        return GroupDeletedError(
            f"group {group!r} was deleted; the view can still be read, and a new structure makes a new group"
        )
    if error.code == GROUP_DAMAGED:
        return GroupDamagedError(f"group {group!r}: the server says: {error.text}")
    if error.code == TOO_MANY:
        return ServerBusyError(f"group {group!r}: the server says: {error.text}")
    return ServerError(f"group {group!r}: the server says: {error.text}")
