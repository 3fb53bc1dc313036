"""One connection's protocol, either side of it, without a socket, a clock or a thread.

    connection = Connection(Role.CLIENT)
    send_all(connection.send(Hello(...)))
    connection.receive_data(data)                    # whatever the socket gave; b"" at its end
    while isinstance(message := connection.next_message(), tuple):
        ...                                          # a message
    # NEED_DATA: read more; CONNECTION_CLOSED: nothing more will come

What it promises
----------------
- ``next_message`` gives only messages whose fields are as the table in ``fields.py`` says, within the
  limits, in an order that ``states.py`` allows.  Anything else is ``RemoteProtocolError``.
- ``send`` encodes only such messages.  Anything else is ``LocalProtocolError``.
- A frame costs no more than its bytes and ``frame_items_max`` items do, however they are made up.
- It holds at most one unfinished frame and one that is being read, provided that the caller takes
  messages until ``NEED_DATA`` before it gives more bytes.  Messages are read one at a time: those
  before a fault in a frame have counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final, Literal

from .codec import utf8_length
from .errors import LocalProtocolError, RemoteProtocolError
from .fields import (
    GROUPS_MAX,
    FieldError,
    VersionError,
    encode_message,
    read_count,
    read_message,
)
from .frames import ARRAY_HEAD_BYTES_MAX, FrameBuffer, FrameError, Part, encode_frames
from .limits import HELLO_FRAME_BYTES_MAX, Limits
from .messages import (
    CODES,
    MALFORMED,
    OUT_OF_ORDER,
    TOO_LARGE,
    VERSION_UNSUPPORTED,
    DeleteGroup,
    Entries,
    Error,
    GroupPage,
    Hello,
    Join,
    ListGroups,
    Message,
    OfferSnapshot,
    PutSnapshot,
    SnapshotChunk,
    Submit,
    Taken,
    Welcome,
)
from .runs import Input, Output, TakenRun, read_run
from .states import ConnectionState, OutOfOrder, Standing

# Codes from here on are sent by servers.
_SERVER_CODES_FROM = 64
_BY_SERVERS = frozenset(kind for kind, code in CODES.items() if code >= _SERVER_CODES_FROM)
_BY_CLIENTS = frozenset(CODES) - _BY_SERVERS
# What a server's limits are about, besides frames.
_LIMITED = frozenset({Hello, Join, Submit, DeleteGroup, OfferSnapshot, PutSnapshot, SnapshotChunk})
# What they list or ask for counts as items of the frame.
_LISTING = frozenset({Entries, GroupPage, ListGroups})
DEFAULT_LIMITS = Limits()
_GREETING, _ENDED = {ConnectionState.NEW, ConnectionState.GREETED}, ConnectionState.ENDED


class Role(Enum):
    """Which end of the connection this is: in a word, and the messages that it *sends* and *takes*."""

    CLIENT = "client", _BY_CLIENTS, _BY_SERVERS
    SERVER = "server", _BY_SERVERS, _BY_CLIENTS

    def __init__(
        self, word: str, sends: frozenset[type[Message]], takes: frozenset[type[Message]]
    ) -> None:
        self.word = word
        self.sends = sends
        self.takes = takes


class Signal(Enum):
    """What ``next_message`` gives when it has no message."""

    NEED_DATA = "need data"
    CONNECTION_CLOSED = "connection closed"


NEED_DATA: Final = Signal.NEED_DATA
CONNECTION_CLOSED: Final = Signal.CONNECTION_CLOSED


class Connection:
    """One end of a connection.  See the module's header for how it is used.

    *limits*: a server's own; a client's are replaced by those in the server's ``Welcome``, except that
    no frame is taken that is over the client's own: a hostile server may announce anything.
    """

    __slots__ = (
        "_at", "_at_end", "_body", "_broken", "_buffer", "_items", "_left", "_own_limits", "limits", "role",
        "standing",
    )  # fmt: skip

    def __init__(self, role: Role, limits: Limits = DEFAULT_LIMITS) -> None:
        self.role = role
        self.limits = limits
        self.standing = Standing()
        self._own_limits = limits
        self._buffer: FrameBuffer | None = None  # what came and is in no frame that is being read
        # The frame that is being read: its body, where the next message stands, how many follow, and how
        # many items have been counted.  Small numbers, most of the time: those are there once for all.
        self._body, self._at, self._left, self._items = b"", 0, 0, 0
        self._at_end = False
        self._broken: RemoteProtocolError | None = None

    @property
    def buffered(self) -> int:
        """Bytes held for a frame that is not complete."""
        return len(self._buffer) if self._buffer is not None else 0

    def receive_data(self, data: bytes) -> None:
        """Take what the peer has sent; b"" says that nothing more will come."""
        if not data:
            self._at_end = True
        elif self._broken is None and self.standing.connection is not _ENDED:
            if self._buffer is None:
                self._buffer = FrameBuffer(data)
            else:
                self._buffer.append(data)

    def next_message(
        self,
    ) -> Message | Literal[Signal.NEED_DATA, Signal.CONNECTION_CLOSED]:
        """The next message, or what to do instead.

        ``CONNECTION_CLOSED`` comes after the peer's last whole frame, or after an ``Error`` for
        channel 0 has passed in either direction.  A frame that is cut off by the end has never been
        sent, as far as anybody can tell: a lost connection is no mistake of the peer.

        Raises:
            RemoteProtocolError: the peer broke the protocol.  A server sends ``Error(code, 0, text)``
                and closes; a client closes.  Asked again, it raises the same.
        """
        if self._broken is not None:
            raise self._broken
        standing = self.standing
        try:
            while standing.connection is not _ENDED:
                if not self._left and not self._next_frame():
                    return CONNECTION_CLOSED if self._at_end else NEED_DATA
                message = self._next_in_frame()
                if self._accept(message):
                    return message
        except RemoteProtocolError as error:
            self._broken = error
            self._forget()
            raise
        self._forget()
        return CONNECTION_CLOSED

    def next_message_or_run(
        self, count_max: int
    ) -> Input | Literal[Signal.NEED_DATA, Signal.CONNECTION_CLOSED]:
        """As ``next_message``; but submissions that go on from one another, up to *count_max* of them
        in a frame, come as one ``SubmitRun``."""
        message = self.next_message()
        if type(message) is not Submit or not self._left:
            return message
        bytes_max = self.limits.change_bytes_max
        run, self._at = read_run(self._body, self._at, message, self._left, count_max, bytes_max)
        if run is None:
            return message
        # What counts for the first of them counts for all: where the channel stands, and the limits.
        self._left -= len(run.payloads) - 1
        if not self._left:
            self._body, self._at = b"", 0
        return run

    def send(self, *messages: Output) -> bytes:
        """The bytes that send *messages*: one frame if the limits allow it, else several.

        Raises:
            LocalProtocolError: a message is wrong in itself, too large, or out of order.  Nothing was
                done, except when one of several is out of order: those before it count as sent
                though their bytes are lost, so give up the connection then.
        """
        parts: list[Part] = []
        for message in messages:
            if isinstance(message, TakenRun):
                parts += self._run_parts(message)
            else:
                parts.append(self._part(message))
        try:
            data = encode_frames(parts, self._frame_bytes_max(), self.limits.frame_items_max)
        except FrameError as error:
            raise LocalProtocolError(str(error)) from error
        self.sent(messages)
        return data

    def sent(self, messages: Iterable[Output]) -> None:
        """Count *messages* as sent, in the bytes that ``send`` has made of equal ones for another
        connection of this role and these limits: what goes to many is encoded once.

        Raises:
            LocalProtocolError: one is out of order, as for ``send``.
        """
        try:
            for message in messages:
                if isinstance(message, TakenRun):
                    message = Taken(message.seq, message.position)  # all of them move it alike
                self.standing.advance(message)
        except OutOfOrder as error:
            raise LocalProtocolError(f"cannot send {error}") from error

    def _part(self, message: Message) -> Part:
        """*message*, if it is right in itself and this side may send it at all."""
        kind = type(message)
        if kind not in self.role.sends:
            raise LocalProtocolError(f"a {self.role.word} does not send {kind.__name__}")
        try:
            encoded = encode_message(message)
        except FieldError as error:
            raise LocalProtocolError(str(error)) from error
        if kind in _LIMITED and (fault := self._fault(message)):
            raise LocalProtocolError(fault[1])
        return encoded, 1, 1 + _listed(message) if kind in _LISTING else 1

    def _run_parts(self, run: TakenRun) -> list[Part]:
        """*run* in one piece if a frame takes that; else one by one, and what is wrong is named."""
        if (
            self.role is Role.SERVER
            and run.is_right()
            and run.length <= self.limits.frame_items_max
        ):
            encoded = run.encode()
            if len(encoded) <= self._frame_bytes_max() - ARRAY_HEAD_BYTES_MAX:
                return [(encoded, run.length, run.length)]
        return list(map(self._part, run.each()))

    def _next_frame(self) -> bool:
        """Begin to read the next frame, if it is complete."""
        buffer = self._buffer
        if buffer is None:
            return False
        own = self._own_limits.frame_bytes_max
        body = buffer.next_body(min(self._frame_bytes_max(), own))
        if body is None:
            return False
        if not buffer.data:
            self._buffer = None
        try:
            count, self._at = read_count(body)
        except FieldError as error:
            raise RemoteProtocolError(MALFORMED, str(error)) from error
        self._body, self._left = body, count
        self._count_items(count)
        return True

    def _count_items(self, count: int) -> None:
        self._items = count
        if count > self._items_taken_max():
            text = f"a frame of more than the {self._items_taken_max()} items allowed"
            raise RemoteProtocolError(TOO_LARGE, text)

    def _next_in_frame(self) -> Message:
        """The next message of the frame that is being read."""
        try:
            message, self._at = read_message(self._body, self._at)
        except FieldError as error:
            raise RemoteProtocolError(MALFORMED, str(error)) from error
        except VersionError as error:
            raise RemoteProtocolError(VERSION_UNSUPPORTED, str(error)) from error
        if type(message) in _LISTING:
            self._count_items(self._items + _listed(message))
        self._left -= 1
        if not self._left:
            if self._at != len(self._body):
                raise RemoteProtocolError(MALFORMED, "bytes follow the last message in a frame")
            self._body, self._at = b"", 0
        return message

    def _accept(self, message: Message) -> bool:
        """Count *message* as received; False when it is to be dropped."""
        kind = type(message)
        if kind not in self.role.takes:
            text = f"{kind.__name__} was sent to a {self.role.word}"
            raise RemoteProtocolError(OUT_OF_ORDER, text)
        if kind in _LIMITED and (fault := self._fault(message)):
            raise RemoteProtocolError(*fault)
        try:
            keep = self.standing.advance(message)
        except OutOfOrder as error:
            raise RemoteProtocolError(OUT_OF_ORDER, str(error)) from error
        if kind is Welcome:
            self.limits = message.limits  # type: ignore[union-attr]
        return keep

    def _forget(self) -> None:
        """Let go of everything that has come and was not read."""
        self._buffer = None
        self._body, self._left = b"", 0

    def _frame_bytes_max(self) -> int:
        """What a frame's body may hold now."""
        if self.standing.connection in _GREETING:
            return HELLO_FRAME_BYTES_MAX
        return self.limits.frame_bytes_max

    def _items_taken_max(self) -> int:
        """What a frame that comes may hold now."""
        return min(self.limits.frame_items_max, self._own_limits.frame_items_max)

    def _fault(self, message: Message) -> tuple[int, str] | None:
        """The error code and text for what passes the limits or contradicts itself, or None."""
        limits = self.limits
        if isinstance(message, Submit):
            if not message.settled < message.seq > message.follows:
                return OUT_OF_ORDER, "Submit.settled and Submit.follows must be below its seq"
            if len(message.payload) <= limits.change_bytes_max:
                return None
            return _over(limits.change_bytes_max, len(message.payload), "a change")
        if isinstance(message, Join | DeleteGroup):
            return _over(limits.name_bytes_max, utf8_length(message.group), "a group's name")
        if isinstance(message, PutSnapshot | SnapshotChunk):
            size_max = limits.snapshot_chunk_bytes_max
            return _over(size_max, len(message.data), "a snapshot's chunk")
        if isinstance(message, OfferSnapshot):
            return _over(limits.snapshot_bytes_max, message.size, "a snapshot")
        assert isinstance(message, Hello), "the rest of _LIMITED"
        return _over(limits.name_bytes_max, utf8_length(message.label), "a label")


def _over(limit: int, size: int, what: str) -> tuple[int, str] | None:
    """The error code and text for *what* of *size* bytes, if it is over *limit*."""
    return (TOO_LARGE, f"{what} of {size} bytes, {limit} allowed") if size > limit else None


def _listed(message: Message) -> int:
    """How many items *message*, which is one of ``_LISTING``, adds to its frame besides itself."""
    if isinstance(message, ListGroups):
        return GROUPS_MAX  # as many as it asks for
    return len(message[1])  # type: ignore[misc, arg-type]


def error_message(error: RemoteProtocolError) -> Error:
    """What a server sends before it closes a connection whose peer broke the protocol."""
    return Error(error.code, 0, error.text)
