"""What each field of each message may hold: one table, checked on what is sent and on what comes.

These are the protocol's own ranges, the same for every server; a server's ``Limits`` narrow
some of them, and ``connection.py`` checks those (``TOO_LARGE`` is another mistake than ``MALFORMED``).

Types are exact: True is no integer here.

Messages are read straight from a frame's bytes, each field by its own kind, and not by a general
decoder: nothing is built that the table does not ask for (eight MiB of empty arrays would
become half a GiB of lists first), what is wrong is named by its field, a long frame is read a
message at a time, and it is no slower (the check of types and ranges, which has to be in Python, is
the larger part).  Payloads and entries go through ``codec.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple

from .codec import encode_loosely, utf8_length
from .entry import CHAIN_BYTES, INCARNATION_BYTES, SESSION_BYTES, SNAPSHOT_DIGEST_BYTES
from .heads import ARRAY, BYTES, INTEGER, TEXT_STRING, head, length_heads
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


class Kind(NamedTuple):
    """What a field may hold: *allows* decides, *read* takes such a value out of bytes.

    ``read(data, at)`` gives the value and the place behind it.  It raises ValueError when something
    else stands there and IndexError when the bytes end before it does.
    """

    allows: Callable[[object], bool]
    read: Callable[[bytes, int], tuple[object, int]]
    text: str


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
    length, at = read_head(data, at, major)
    end = at + length
    if end > len(data):
        raise IndexError
    return data[at:end], end


def _integer(low: int, high: int, text: str) -> Kind:
    def allows(value: object) -> bool:
        return type(value) is int and low <= value <= high

    def read(data: bytes, at: int) -> tuple[object, int]:
        # Most fields are integers, so their usual heads are read here: a third off a whole message.
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
        return value, at

    return Kind(allows, read, text)


def _text(low: int, high: int) -> Kind:
    def allows(value: object) -> bool:
        return type(value) is str and low <= utf8_length(value) <= high

    def read(data: bytes, at: int) -> tuple[object, int]:
        raw, at = _read_bytes(data, at, TEXT_STRING)
        if not low <= len(raw) <= high:
            raise ValueError
        return raw.decode(), at

    return Kind(allows, read, f"text of {low} to {high} bytes of UTF-8")


def _bytes(low: int, high: int, text: str) -> Kind:
    def allows(value: object) -> bool:
        return type(value) is bytes and low <= len(value) <= high

    def read(data: bytes, at: int) -> tuple[object, int]:
        value, at = _read_bytes(data, at)
        if not low <= len(value) <= high:
            raise ValueError
        return value, at

    return Kind(allows, read, text)


def _constant(values: dict[int, object], text: str) -> Kind:
    """One of a few values, each of which is one byte."""
    allowed = tuple(values.values())

    def allows(value: object) -> bool:
        return any(value is one for one in allowed)

    def read(data: bytes, at: int) -> tuple[object, int]:
        if data[at] not in values:
            raise ValueError
        return values[data[at]], at + 1

    return Kind(allows, read, text)


def _or_null(kind: Kind) -> Kind:
    def allows(value: object) -> bool:
        return value is None or kind.allows(value)

    def read(data: bytes, at: int) -> tuple[object, int]:
        return (None, at + 1) if data[at] == _NULL else kind.read(data, at)

    return Kind(allows, read, f"null or {kind.text}")


def _array(item: Kind, low: int, high: int, text: str) -> Kind:
    def allows(value: object) -> bool:
        return type(value) is list and low <= len(value) <= high and all(map(item.allows, value))

    def read(data: bytes, at: int) -> tuple[object, int]:
        count, at = read_head(data, at, ARRAY)
        if not low <= count <= high:
            raise ValueError
        items = []
        for _ in range(count):  # IndexError ends it where the data ends, whatever is declared
            value, at = item.read(data, at)
            items.append(value)
        return items, at

    return Kind(allows, read, text)


def _record(kinds: Sequence[Kind], make: Callable[[list[object]], object], text: str) -> Kind:
    """An array of just these items; *make* is what they are on this side."""

    def allows(value: object) -> bool:
        return (
            isinstance(value, list | tuple)
            and len(value) == len(kinds)
            and all(kind.allows(item) for kind, item in zip(kinds, value, strict=True))
        )

    def read(data: bytes, at: int) -> tuple[object, int]:
        count, at = read_head(data, at, ARRAY)
        if count != len(kinds):
            raise ValueError
        items = []
        for kind in kinds:
            value, at = kind.read(data, at)
            items.append(value)
        return make(items), at

    return Kind(allows, read, text)


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
# Checked a whole array at a time: this is what servers send most.
_ENTRIES = _array(
    _bytes(1, _ANY, "bytes"), 1, ENTRIES_MAX, f"an array of 1 to {ENTRIES_MAX} entries, each bytes"
)._replace(
    allows=lambda value: (
        type(value) is list
        and len(value) <= ENTRIES_MAX
        and set(map(type, value)) == {bytes}
        and all(value)
    )
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

# What reading needs, looked up by code.
_READERS = {
    code: (kind, tuple(field.read for field in FIELDS[kind]), kind in (Hello, Welcome))
    for code, kind in MESSAGES.items()
}
# How the messages begin that are put together by hand.
_TAKEN, _ENTRIES_OF = (
    head(len(kind._fields) + 1, ARRAY) + head(CODES[kind]) for kind in (Taken, Entries)
)
_CHECKS = {kind: tuple(field.allows for field in fields) for kind, fields in FIELDS.items()}


def to_plain(message: Message) -> list[object]:
    """The array ``[code, field, ...]`` of *message*, checked.

    Raises:
        FieldError: a field holds what it may not; the text names it and says what it may hold.
    """
    kind = type(message)
    for allows, value in zip(_CHECKS[kind], message, strict=True):
        if not allows(value):
            index = [
                allows(value) for allows, value in zip(_CHECKS[kind], message, strict=True)
            ].index(False)
            raise FieldError(f"{_must_be(kind, index)}, not {_brief(value)}")
    return [CODES[kind], *message]


def encode_message(message: Message) -> bytes:
    """*message* as it stands in a frame, checked.

    What servers send most is put together by hand, as entries are only copied then (see ``heads.py``).

    Raises:
        FieldError: as ``to_plain`` does.
    """
    plain = to_plain(message)
    if type(message) is Taken:
        return _TAKEN + head(message.seq) + head(message.position)
    if type(message) is Entries:
        entries = message.entries
        first = _ENTRIES_OF + head(message.channel) + head(len(entries), ARRAY)
        rows = zip(length_heads(entries), entries, strict=True)
        return first + b"".join(chain.from_iterable(rows))
    # A record's tuple is an array too; deeper than a record's own items there is none.
    fields: list[Any] = [list(item) if isinstance(item, tuple) else item for item in plain]
    return encode_loosely(fields)


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
    try:
        for read in readers:
            value, at = read(data, at)
            values.append(value)
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
