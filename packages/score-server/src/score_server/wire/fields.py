"""What each field of each message may hold: one table, checked on what is sent and on what comes.

These are the protocol's own ranges, the same for every server; a server's ``Limits`` narrow
some of them, and ``connection.py`` checks those (``TOO_LARGE`` is another mistake than ``MALFORMED``).

Types are exact: True is no integer here.

Messages are read straight from a frame's bytes, each field by its own kind, and not by a general
decoder: nothing is built that the table does not ask for (eight MiB of empty arrays would
become half a GiB of lists first), what is wrong is named by its field, a long frame is read a
message at a time, and it is no slower (the check of types and ranges, which has to be in Python, is
the larger part).  They are written the same way: a field's kind checks its value and adds its bytes in
one go.  Payloads and entries go through ``codec.py``.

Most fields are integers, so what reads and writes a message does that itself, by their bounds: a call
for each field was half of what a message cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from .entry import CHAIN_BYTES, INCARNATION_BYTES, SESSION_BYTES, SNAPSHOT_DIGEST_BYTES
from .heads import ARRAY, BYTES, INTEGER, INTEGERS, LENGTHS, TEXT_STRING, head
from .limits import Limits
from .messages import (
    CHANNEL_CLOSED,
    CODES,
    INTENT,
    KEPT,
    KEPT_FULL,
    MESSAGES,
    NOT_HEAD,
    OUTCOME_EXPIRED,
    OUTCOME_NO,
    PROTOCOL_VERSION,
    STRICT,
    TRIM_DONE,
    TRIM_FULL,
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
    Resume,
    SessionOpened,
    SnapshotChunk,
    SnapshotInfo,
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

POSITION_MAX = 2**63 - 1
CHANNEL_MAX = 2**31 - 1
# A length no field's text passes, whatever a server's limits are.
TEXT_BYTES_MAX = 65_535
FEATURES_MAX = 64
# One array is read in one go: what it costs has to be bounded before.  Any number of messages may follow.
ENTRIES_MAX = 4096
GROUPS_MAX = 128


class FieldError(ValueError):
    """A message is not what the table says."""


class VersionError(ValueError):
    """A ``Hello`` or ``Welcome`` is for another version of the protocol; the text says which."""


Add = Callable[[bytes], object]


class Kind(NamedTuple):
    """What a field may hold: *write* lets nothing else out, *read* nothing else in.

    ``write(value, add)`` gives the encoding to *add*, in pieces, or raises ValueError.
    ``read(data, at)`` gives the value and the place behind it.  It raises ValueError when something
    else stands there and IndexError when the bytes end before it does.
    *bounds*: of an integer, which needs neither.
    """

    write: Callable[[Any, Add], object]
    read: Callable[[bytes, int], tuple[object, int]]
    text: str
    bounds: tuple[int, int] | None = None


def read_head(data: bytes, at: int, major: int) -> tuple[int, int]:
    """The number in the head at *at* of an item of *major* type, and the place behind the head."""
    small = data[at] - major
    if 0 <= small < 24:
        return small, at + 1
    if not 24 <= small <= 27:
        raise ValueError
    start = at + 1
    end = start + (1 << (small - 24))
    if end > len(data):
        raise IndexError
    return int.from_bytes(data[start:end], "big"), end


def _read_bytes(data: bytes, at: int, major: int = BYTES) -> tuple[bytes, int]:
    length = data[at] - major
    if 0 <= length < 24:
        at += 1
    else:
        length, at = read_head(data, at, major)
    end = at + length
    if end > len(data):
        raise IndexError
    return data[at:end], end


def _integer(low: int, high: int, text: str) -> Kind:
    def write(value: Any, add: Add) -> None:
        if type(value) is not int or not low <= value <= high:
            raise ValueError
        add(head(value))

    def read(data: bytes, at: int) -> tuple[object, int]:
        value, at = read_head(data, at, INTEGER)
        if not low <= value <= high:
            raise ValueError
        return value, at

    return Kind(write, read, text, (low, high))


def _text(low: int, high: int) -> Kind:
    def write(value: Any, add: Add) -> None:
        if type(value) is not str:
            raise ValueError
        raw = value.encode()  # UnicodeEncodeError is a ValueError
        if not low <= len(raw) <= high:
            raise ValueError
        add(head(len(raw), TEXT_STRING) + raw)

    def read(data: bytes, at: int) -> tuple[object, int]:
        raw, at = _read_bytes(data, at, TEXT_STRING)
        if not low <= len(raw) <= high:
            raise ValueError
        return raw.decode(), at

    return Kind(write, read, f"text of {low} to {high} bytes of UTF-8")


def _bytes(low: int, high: int, text: str) -> Kind:
    def write(value: Any, add: Add) -> None:
        if type(value) is not bytes or not low <= len(value) <= high:
            raise ValueError
        add(head(len(value), BYTES))
        add(value)

    def read(data: bytes, at: int) -> tuple[object, int]:
        value, at = _read_bytes(data, at)
        if not low <= len(value) <= high:
            raise ValueError
        return value, at

    return Kind(write, read, text)


def _constant(values: dict[int, object], text: str) -> Kind:
    """One of a few values, each of which is one byte."""

    def write(value: Any, add: Add) -> None:
        for byte, one in values.items():
            if value is one:
                add(bytes([byte]))
                return
        raise ValueError

    def read(data: bytes, at: int) -> tuple[object, int]:
        if data[at] not in values:
            raise ValueError
        return values[data[at]], at + 1

    return Kind(write, read, text)


def _or_null(kind: Kind) -> Kind:
    def write(value: Any, add: Add) -> None:
        (_NOTHING if value is None else kind).write(value, add)

    def read(data: bytes, at: int) -> tuple[object, int]:
        return (None, at + 1) if data[at] == _NULL else kind.read(data, at)

    return Kind(write, read, f"null or {kind.text}")


def _array(item: Kind, low: int, high: int, text: str) -> Kind:
    def write(value: Any, add: Add) -> None:
        if type(value) is not list or not low <= len(value) <= high:
            raise ValueError
        add(head(len(value), ARRAY))
        for one in value:
            item.write(one, add)

    def read(data: bytes, at: int) -> tuple[object, int]:
        count, at = read_head(data, at, ARRAY)
        if not low <= count <= high:
            raise ValueError
        items = []
        for _ in range(count):  # IndexError ends it where the data ends, whatever is declared
            value, at = item.read(data, at)
            items.append(value)
        return items, at

    return Kind(write, read, text)


def _record(kinds: Sequence[Kind], make: Callable[[list[object]], object], text: str) -> Kind:
    """An array of just these items; *make* is what they are on this side."""

    def write(value: Any, add: Add) -> None:
        if not isinstance(value, list | tuple) or len(value) != len(kinds):
            raise ValueError
        add(head(len(kinds), ARRAY))
        for kind, item in zip(kinds, value, strict=True):
            kind.write(item, add)

    def read(data: bytes, at: int) -> tuple[object, int]:
        count, at = read_head(data, at, ARRAY)
        if count != len(kinds):
            raise ValueError
        items = []
        for kind in kinds:
            value, at = kind.read(data, at)
            items.append(value)
        return make(items), at

    return Kind(write, read, text)


# Entries are what servers send most, and clients read: the same as for any array of bytes, in one loop.


def _write_entries(value: Any, add: Add) -> None:
    if type(value) is not list or not 1 <= len(value) <= ENTRIES_MAX:
        raise ValueError
    add(head(len(value), ARRAY))
    for entry in value:
        if type(entry) is not bytes or not entry:
            raise ValueError
        add(LENGTHS[len(entry)] if len(entry) < 256 else head(len(entry), BYTES))
        add(entry)


def _read_entries(data: bytes, at: int) -> tuple[object, int]:
    count, at = read_head(data, at, ARRAY)
    if not 1 <= count <= ENTRIES_MAX:
        raise ValueError
    entries: list[bytes] = []
    add = entries.append
    for _ in range(count):
        if data[at] == 0x58:
            start = at + 2
            at = start + data[at + 1]
        else:
            size, start = read_head(data, at, BYTES)
            at = start + size
        add(data[start:at])
    if at > len(data):
        raise IndexError
    if not all(entries):
        raise ValueError
    return entries, at


_FALSE, _TRUE, _NULL = 0xF4, 0xF5, 0xF6
# A length that only the frame bounds.
_ANY = POSITION_MAX

_POSITION = _integer(0, POSITION_MAX, "an integer of 0 to 2^63-1")
_POSITIVE = _integer(1, POSITION_MAX, "an integer of 1 to 2^63-1")
_CHANNEL = _integer(1, CHANNEL_MAX, "a channel number of 1 to 2^31-1")
_CHANNEL_OR_0 = _integer(0, CHANNEL_MAX, "0 or a channel number of 1 to 2^31-1")
_VERSION = _integer(1, CHANNEL_MAX, "an integer of 1 to 2^31-1")
_CONDITION = _integer(INTENT, STRICT, "0 (intent) or 1 (strict)")
_REASON = _integer(NOT_HEAD, CHANNEL_CLOSED, "a reason of 1 to 5")
_VERDICT = _integer(OUTCOME_NO, OUTCOME_EXPIRED, "0 (no), 1 (taken) or 2 (expired)")
_TRIM_VERDICT = _integer(TRIM_DONE, TRIM_FULL, "a verdict of 0 to 3")
_KEPT_VERDICT = _integer(KEPT, KEPT_FULL, "a verdict of 0 to 4")
_ERROR_CODE = _integer(1, 65_535, "an error code of 1 to 65535")
_SESSION = _bytes(SESSION_BYTES, SESSION_BYTES, f"{SESSION_BYTES} bytes")
_INCARNATION = _bytes(INCARNATION_BYTES, INCARNATION_BYTES, f"{INCARNATION_BYTES} bytes")
_CHAIN = _bytes(CHAIN_BYTES, CHAIN_BYTES, f"{CHAIN_BYTES} bytes")
_DIGEST = _bytes(SNAPSHOT_DIGEST_BYTES, SNAPSHOT_DIGEST_BYTES, f"{SNAPSHOT_DIGEST_BYTES} bytes")
_CHUNK = _bytes(1, _ANY, "one byte or more")
_PAYLOAD = _bytes(0, _ANY, "bytes")
_NAME = _text(1, TEXT_BYTES_MAX)
_TEXT = _text(0, TEXT_BYTES_MAX)
_FEATURES = _array(
    _text(1, 255), 0, FEATURES_MAX, f"an array of at most {FEATURES_MAX} texts of 1 to 255 bytes"
)
_NOTHING = _constant({_NULL: None}, "null")
_BOOL = _constant({_FALSE: False, _TRUE: True}, "true or false")
_ENTRIES = Kind(
    _write_entries, _read_entries, f"an array of 1 to {ENTRIES_MAX} entries, each bytes"
)
_RESUME = _record(
    (_INCARNATION, _POSITION, _CHAIN), Resume._make,
    f"[incarnation of {INCARNATION_BYTES} bytes, position, chain of {CHAIN_BYTES} bytes]",
)  # fmt: skip
_SNAPSHOT = _record(
    (_CHAIN, _POSITIVE, _DIGEST), SnapshotInfo._make,
    f"[chain of {CHAIN_BYTES} bytes, size, digest of {SNAPSHOT_DIGEST_BYTES} bytes]",
)  # fmt: skip
_LIMITS = _record(
    (_POSITIVE,) * len(Limits._fields), Limits._make,
    f"an array of {len(Limits._fields)} integers of 1 to 2^63-1",
)  # fmt: skip
_GROUPS = _array(
    _record((_NAME, _INCARNATION, *(_POSITION,) * 5, _BOOL), list, ""), 0, GROUPS_MAX,
    f"an array of at most {GROUPS_MAX} [name, incarnation of {INCARNATION_BYTES} bytes, head, floor, "
    "snapshot's position, tail bytes, snapshot's size, keep]",
)  # fmt: skip

FIELDS: dict[type[Message], tuple[Kind, ...]] = {
    Hello: (_VERSION, _TEXT, _FEATURES, _NOTHING),
    OpenSession: (_or_null(_SESSION),),
    Join: (_CHANNEL, _NAME, _or_null(_RESUME), _BOOL),
    Leave: (_CHANNEL,),
    Submit: (_CHANNEL, _POSITIVE, _POSITION, _POSITION, _CONDITION, _POSITION, _PAYLOAD),
    Sync: (_CHANNEL, _POSITION),
    Credit: (_CHANNEL, _POSITIVE),
    AskOutcome: (_POSITION, _SESSION, _POSITIVE),
    Ping: (_POSITION,),
    ListGroups: (_POSITION, _TEXT),
    Bye: (_POSITION,),
    AskTurn: (_CHANNEL, _POSITION),
    OfferSnapshot: (_CHANNEL, _POSITION, _POSITIVE, _CHAIN, _POSITIVE, _DIGEST),
    PutSnapshot: (_CHANNEL, _POSITION, _POSITION, _CHUNK),
    Trim: (_CHANNEL, _POSITION, _POSITIVE, _DIGEST),
    DeleteGroup: (_POSITION, _NAME),
    EndTurn: (_CHANNEL,),
    Welcome: (_VERSION, _TEXT, _POSITION, _FEATURES, _LIMITS),
    SessionOpened: (_SESSION,),
    Joined: (_CHANNEL, _INCARNATION, _POSITION, _POSITION, _or_null(_SNAPSHOT)),
    Entries: (_CHANNEL, _ENTRIES),
    Taken: (_POSITIVE, _POSITIVE),
    Refused: (_POSITIVE, _REASON, _POSITION),
    Synced: (_POSITION, _POSITION),
    Outcome: (_POSITION, _VERDICT, _POSITION),
    Pong: (_POSITION,),
    GroupPage: (_POSITION, _GROUPS, _BOOL),
    TurnGranted: (_POSITION, _POSITION),
    WantSnapshot: (_NAME,),
    SnapshotChunk: (_CHANNEL, _POSITION, _CHUNK),
    Trimmed: (_POSITION, _TRIM_VERDICT, _POSITION),
    SnapshotKept: (_POSITION, _KEPT_VERDICT, _POSITION),
    GroupDeleted: (_POSITION, _BOOL),
    Error: (_ERROR_CODE, _CHANNEL_OR_0, _TEXT),
}

_Call = TypeVar("_Call", bound=Callable[..., object])


def _bounded(field: Kind, call: _Call) -> tuple[int, int, _Call | None]:
    """An integer's bounds, or what to call for any other *field*."""
    return (*field.bounds, None) if field.bounds else (0, 0, call)


# What reading and writing need, looked up by code and by class.
_READERS = {
    code: (
        kind,
        tuple(_bounded(field, field.read) for field in FIELDS[kind]),
        kind in (Hello, Welcome),
    )
    for code, kind in MESSAGES.items()
}
_WRITERS = {
    kind: (
        head(len(fields) + 1, ARRAY) + head(CODES[kind]),
        tuple(_bounded(field, field.write) for field in fields),
    )
    for kind, fields in FIELDS.items()
}


def encode_message(message: Message) -> bytes:
    """The array ``[code, field, ...]`` of *message* as it stands in a frame, checked.

    Raises:
        FieldError: a field holds what it may not; the text names it and says what it may hold.
    """
    first, writers = _WRITERS[type(message)]
    parts = [first]
    add = parts.append
    try:
        for (low, high, write), value in zip(writers, message, strict=True):
            if write:
                write(value, add)
            elif type(value) is int and low <= value <= high:
                add(INTEGERS[value] if value < 256 else head(value))
            else:
                raise ValueError
    except ValueError:
        raise FieldError(_what_is_wrong(message)) from None
    return b"".join(parts)


def _what_is_wrong(message: Message) -> str:
    """About the first field of *message* that holds what it may not."""
    kind = type(message)
    index = list(map(_is_wrong, FIELDS[kind], message)).index(True)
    return f"{_must_be(kind, index)}, not {_brief(message[index])}"


def _is_wrong(field: Kind, value: object) -> bool:
    try:
        field.write(value, bytes)  # which keeps nothing of it
    except ValueError:
        return True
    return False


def read_count(body: bytes) -> tuple[int, int]:
    """How many messages a frame's body declares, and where the first one stands.

    Raises:
        FieldError: it is no array of one or more.
    """
    try:
        count, at = read_head(body, 0, ARRAY)
    except (ValueError, IndexError):
        count, at = 0, 0
    if not count:
        raise FieldError("a frame must hold an array of one or more messages")
    return count, at


def read_message(data: bytes, at: int) -> tuple[Message, int]:
    """The message that stands at *at* in *data*, and the place behind it.

    Raises:
        FieldError: there is none.
        VersionError: there is a ``Hello`` or ``Welcome`` of another version, whatever its fields.
    """
    try:
        count, code = data[at] - ARRAY, data[at + 1]
        if 0 <= count < 24 and code < 0x19:  # the usual heads
            at += 2
            if code == 0x18:
                code, at = data[at], at + 1
        else:
            count, at = read_head(data, at, ARRAY)
            code, at = read_head(data, at, INTEGER)
    except (ValueError, IndexError):
        raise FieldError("a message must be an array that begins with its code") from None
    if code not in _READERS:
        raise FieldError(f"{code} is not the code of a message")
    kind, readers, versioned = _READERS[code]
    if versioned:
        _check_version(data, at)
    if count != len(readers) + 1:
        raise FieldError(f"{kind.__name__} has {len(readers)} fields, not {count - 1}")
    values: list[object] = []
    add = values.append
    value: Any
    try:
        for low, high, read in readers:
            if read:
                value, at = read(data, at)
                add(value)
                continue
            value = data[at]
            if value < 24:
                at += 1
            elif value == 0x18:
                value, at = data[at + 1], at + 2
            elif value == 0x19:
                value, at = data[at + 1] << 8 | data[at + 2], at + 3
            elif value == 0x1A:
                value = data[at + 1] << 24 | data[at + 2] << 16 | data[at + 3] << 8 | data[at + 4]
                at += 5
            else:
                value, at = read_head(data, at, INTEGER)
            if not low <= value <= high:
                raise ValueError
            add(value)
    except ValueError:
        raise FieldError(_must_be(kind, len(values))) from None
    except IndexError:
        raise FieldError(f"{kind.__name__}.{kind._fields[len(values)]} is cut off") from None
    # What _make does, without its check of the length.
    return tuple.__new__(kind, values), at


def _check_version(data: bytes, at: int) -> None:
    try:
        version, _ = read_head(data, at, INTEGER)
    except (ValueError, IndexError):
        return  # its field is wrong, and is going to be read
    if version != PROTOCOL_VERSION:
        raise VersionError(
            f"protocol version {version} is not spoken here; version {PROTOCOL_VERSION} is"
        )


def _must_be(kind: type[Message], index: int) -> str:
    return f"{kind.__name__}.{kind._fields[index]} must be {FIELDS[kind][index].text}"


def _brief(value: object) -> str:
    """What stands in an error about *value*: short however large it is."""
    if isinstance(value, str | bytes | list | tuple):
        return f"{type(value).__name__} of length {len(value)}"
    if isinstance(value, int) and value.bit_length() > 64:
        return f"an integer of {value.bit_length()} bits"  # thousands of digits have no repr
    return repr(value) if isinstance(value, int | float | None) else type(value).__name__
