"""What each field of each message may hold: one table, checked on what is sent and on what comes.

These are the protocol's own ranges, the same for every server; a server's ``Limits`` narrow
some of them, and ``connection.py`` checks those (``TOO_LARGE`` is another mistake than ``MALFORMED``).

Types are exact: True is no integer here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .entry import CHAIN_BYTES, INCARNATION_BYTES, SESSION_BYTES
from .limits import Limits
from .messages import (
    CODES,
    MESSAGES,
    AskOutcome,
    Bye,
    Credit,
    Entries,
    Error,
    GroupPage,
    Hello,
    Join,
    Joined,
    Leave,
    ListGroups,
    Message,
    OpenSession,
    Outcome,
    Ping,
    Pong,
    Refused,
    Resume,
    SessionOpened,
    Submit,
    Sync,
    Synced,
    Taken,
    Welcome,
)

POSITION_MAX = 2**63 - 1
CHANNEL_MAX = 2**31 - 1
# A length no field's text passes, whatever a server's limits are.
TEXT_BYTES_MAX = 65_535
FEATURES_MAX = 64
# How many numbers a later version's Limits may have; this version reads those it knows.
_LIMITS_FIELDS_MAX = 64


class Kind(NamedTuple):
    """What a field may hold: *allows* decides, *text* says it to people."""

    allows: Callable[[object], bool]
    text: str


class FieldError(ValueError):
    """A message is not what the table says."""


def _integer(low: int, high: int, text: str) -> Kind:
    def allows(value: object) -> bool:
        return type(value) is int and low <= value <= high

    return Kind(allows, text)


def _text(low: int, high: int) -> Kind:
    def allows(value: object) -> bool:
        # ASCII needs no encoding to know its length; lone surrogates have none.
        return type(value) is str and (
            low <= len(value) <= high
            and (value.isascii() or 0 <= utf8_length(value) <= high)
        )  # fmt: skip

    return Kind(allows, f"text of {low} to {high} bytes of UTF-8")


def _bytes(low: int, high: int | None, text: str) -> Kind:
    def allows(value: object) -> bool:
        return type(value) is bytes and low <= len(value) and (high is None or len(value) <= high)

    return Kind(allows, text)


def _or_none(kind: Kind) -> Kind:
    return Kind(lambda value: value is None or kind.allows(value), f"null or {kind.text}")


def _array(item: Kind, low: int, high: int | None) -> Kind:
    def allows(value: object) -> bool:
        if (
            type(value) is not list
            or not low <= len(value)
            or (high is not None and len(value) > high)
        ):
            return False
        return all(map(item.allows, value))

    size = f"at least {low}" if high is None else f"{low} to {high}"
    return Kind(allows, f"an array of {size} items, each {item.text}")


def _record(*kinds: Kind, text: str, more: int = 0) -> Kind:
    """An array of just these items (a NamedTuple on this side of the encoder)."""

    def allows(value: object) -> bool:
        if not isinstance(value, list | tuple):
            return False
        if not len(kinds) <= len(value) <= len(kinds) + more:
            return False
        return all(kind.allows(item) for kind, item in zip(kinds, value, strict=False))

    return Kind(allows, text)


def utf8_length(text: str) -> int:
    """Bytes of *text* in UTF-8; -1 for a lone surrogate, which has no encoding."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return -1


_POSITION = _integer(0, POSITION_MAX, "an integer of 0 to 2^63-1")
_POSITIVE = _integer(1, POSITION_MAX, "an integer of 1 to 2^63-1")
_CHANNEL = _integer(1, CHANNEL_MAX, "a channel number of 1 to 2^31-1")
_CHANNEL_OR_0 = _integer(0, CHANNEL_MAX, "a channel number or 0")
_VERSION = _integer(1, CHANNEL_MAX, "an integer of 1 to 2^31-1")
_SESSION = _bytes(SESSION_BYTES, SESSION_BYTES, f"{SESSION_BYTES} bytes")
_INCARNATION = _bytes(INCARNATION_BYTES, INCARNATION_BYTES, f"{INCARNATION_BYTES} bytes")
_CHAIN = _bytes(CHAIN_BYTES, CHAIN_BYTES, f"{CHAIN_BYTES} bytes")
_NAME = _text(1, TEXT_BYTES_MAX)
_TEXT = _text(0, TEXT_BYTES_MAX)
_FEATURES = _array(_text(1, 255), 0, FEATURES_MAX)
_NOTHING = Kind(lambda value: value is None, "null")
_BOOL = Kind(lambda value: type(value) is bool, "true or false")
_RESUME = _record(_INCARNATION, _POSITION, _CHAIN, text="[incarnation, position, chain]")
_LIMITS = _record(
    *[_POSITIVE] * len(Limits._fields),
    text=f"an array of at least {len(Limits._fields)} positive integers",
    more=_LIMITS_FIELDS_MAX - len(Limits._fields),
)
_GROUP = _record(_NAME, _INCARNATION, _POSITION, text="[name, incarnation, head]")

FIELDS: dict[type[Message], tuple[Kind, ...]] = {
    Hello: (_VERSION, _TEXT, _FEATURES, _NOTHING),
    OpenSession: (_or_none(_SESSION),),
    Join: (_CHANNEL, _NAME, _or_none(_RESUME)),
    Leave: (_CHANNEL,),
    Submit: (
        _CHANNEL, _POSITIVE, _POSITION, _POSITION, _integer(0, 1, "0 (intent) or 1 (strict)"),
        _POSITION, _bytes(0, None, "bytes"),
    ),
    Sync: (_CHANNEL, _POSITION),
    Credit: (_CHANNEL, _POSITIVE),
    AskOutcome: (_POSITION, _SESSION, _POSITIVE),
    Ping: (_POSITION,),
    ListGroups: (_POSITION, _TEXT),
    Bye: (_POSITION,),
    Welcome: (_VERSION, _TEXT, _POSITION, _FEATURES, _LIMITS),
    SessionOpened: (_SESSION,),
    Joined: (_CHANNEL, _INCARNATION, _POSITION, _POSITION, _NOTHING),
    Entries: (_CHANNEL, _array(_bytes(1, None, "bytes"), 1, None)),
    Taken: (_POSITIVE, _POSITIVE),
    Refused: (_POSITIVE, _integer(1, 5, "a reason of 1 to 5"), _POSITION),
    Synced: (_POSITION, _POSITION),
    Outcome: (_POSITION, _integer(0, 2, "0 (no), 1 (taken) or 2 (expired)"), _POSITION),
    Pong: (_POSITION,),
    GroupPage: (_POSITION, _array(_GROUP, 0, None), _BOOL),
    Error: (_integer(1, 65_535, "an error code of 1 to 65535"), _CHANNEL_OR_0, _TEXT),
}  # fmt: skip

# Fields that are records: (which, its class).
_RECORDS: dict[type[Message], tuple[int, type[Resume] | type[Limits]]] = {
    Join: (2, Resume),
    Welcome: (4, Limits),
}


def to_plain(message: Message) -> list[object]:
    """The array ``[code, field, ...]`` of *message*, checked.

    Raises:
        FieldError: a field holds what it may not.
    """
    check(type(message), message)
    return [CODES[type(message)], *message]


def from_plain(plain: object) -> Message:
    """The message that the decoded array *plain* is.

    Raises:
        FieldError: it is none.
    """
    if type(plain) is not list or not plain or type(plain[0]) is not int:
        raise FieldError("a message must be an array that begins with its code")
    code, *values = plain
    kind = MESSAGES.get(code)
    if kind is None:
        raise FieldError(f"{code} is not the code of a message")
    check(kind, values)
    if kind in _RECORDS and (record := values[_RECORDS[kind][0]]) is not None:
        index, make = _RECORDS[kind]
        values[index] = make._make(record[: len(make._fields)])
    return kind._make(values)


def check(kind: type[Message], values: Sequence[object]) -> None:
    """Whether *values* may be the fields of a *kind*.

    Raises:
        FieldError: they may not; the text names the first wrong field and what it may hold.
    """
    kinds = FIELDS[kind]
    if len(values) != len(kinds):
        raise FieldError(f"{kind.__name__} has {len(kinds)} fields, not {len(values)}")
    for name, allowed, value in zip(kind._fields, kinds, values, strict=True):
        if not allowed.allows(value):
            raise FieldError(f"{kind.__name__}.{name} must be {allowed.text}, not {_brief(value)}")


def _brief(value: object) -> str:
    """What stands in an error about *value*: short however large it is."""
    if isinstance(value, str | bytes | list | tuple):
        return f"{type(value).__name__} of length {len(value)}"
    return f"{value!r:.40}" if isinstance(value, int | float | None) else type(value).__name__
