"""Values and changes as text, for people and as JSON.

JSON has fewer types than a structure can hold, so it is for looking and for other programs, not for
backups (that is ``archive``).  Keys become text as ``json.dumps`` does it; a map in which that would
make two keys one, or whose keys are none of JSON's, becomes a list of pairs.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from score_server.wire import codec
from score_server.wire.entry import Entry
from ucore.codes import DECLARE, OPS_VERSION
from ucore.errors import CannotApplyError
from ucore.ops import KINDS, OPERATIONS
from ucore.primitives import decode

from ..payload import PAYLOAD_DEPTH_MAX

_NODES_FROM = 35  # literals from here on carry an id, in two places behind their number
_JSON_KEYS = (str, int, float, bool, type(None))


class Opaque:
    """A value of an application's own type that this process has not registered."""

    def __init__(self, plain: list[Any]) -> None:
        self.plain = plain

    def __repr__(self) -> str:
        number, *parts = self.plain
        return f"<type {number} of the application: {', '.join(map(repr, parts))}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and repr(other) == repr(self)

    def __hash__(self) -> int:
        return hash(repr(self))


def value_of(plain: Any) -> object:
    """What a plain form in a change says, as builtins; ``Opaque`` where the type is not known here."""
    if type(plain) is list and plain and plain[0] in KINDS:
        items = list(map(value_of, plain[3 if plain[0] >= _NODES_FROM else 1 :]))
        if KINDS[plain[0]] == "map":
            return dict(zip(items[::2], items[1::2], strict=True))
        return items
    try:
        return decode(plain)
    except CannotApplyError:
        return Opaque(plain) if type(plain) is list and plain else plain


def operations(payload: bytes) -> list[str]:
    """A change's operations in words: ``put('apples', 3)``, ``append('eggs') in node 12.1``."""
    try:
        plain = codec.decode(payload, depth_max=PAYLOAD_DEPTH_MAX)
    except codec.DecodeError as error:
        return [f"<cannot be read: {error}>"]
    if type(plain) is not list or plain[:1] != [OPS_VERSION]:
        return [f"<of another version of the operations: {len(payload)} bytes>"]
    return [_operation(op) for op in plain[1:]]


def _operation(op: Any) -> str:
    known = OPERATIONS.get(op[0]) if type(op) is list and op and type(op[0]) is int else None
    if known is None or (len(op) < 3 and op[0] != DECLARE):
        return f"<unknown: {op!r}>"
    name = known.name.lower()
    if op[0] == DECLARE:
        return f"{name}({', '.join(map(repr, op[1:]))})"
    node = "" if op[1:3] == [0, 0] else f" in node {op[1]}.{op[2]}"
    return f"{name}({', '.join(repr(value_of(argument)) for argument in op[3:])}){node}"


def entry_line(entry: Entry) -> str:
    """One change on one line: position, time, who, what."""
    label = printable(entry.label) or entry.session.hex()[:8]
    return f"{entry.position:>8}  {time_text(entry.time_ms)}  {label}: " + "; ".join(
        operations(entry.payload)
    )


def entry_json(entry: Entry) -> str:
    """One change as one line of JSON."""
    fields = {
        "position": entry.position,
        "time": time_text(entry.time_ms),
        "label": entry.label,
        "session": entry.session.hex(),
        "operations": operations(entry.payload),
    }
    return json.dumps(fields, ensure_ascii=False)


def time_text(time_ms: int) -> str:
    """The server's time, in UTC, as ISO 8601 has it."""
    try:
        moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    except (OverflowError, ValueError):
        return f"{time_ms} ms"
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_json(value: object, *, indent: int | None = 2) -> str:
    """*value* as JSON; see the module for what that leaves out."""
    return json.dumps(_jsonable(value), ensure_ascii=False, indent=indent)


def _jsonable(value: object) -> object:
    if isinstance(value, Mapping):
        texts = {
            json.dumps(key) if not isinstance(key, str) else key for key in value if _is_plain(key)
        }
        if len(texts) == len(value):
            return {key: _jsonable(inner) for key, inner in value.items()}
        return [[_jsonable(key), _jsonable(inner)] for key, inner in value.items()]
    if isinstance(value, frozenset):
        return sorted(map(_jsonable, value), key=repr)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if _is_plain(value):
        return value
    if isinstance(value, Iterable) and not isinstance(value, str):
        return list(map(_jsonable, value))
    return repr(value) if isinstance(value, Opaque) else str(value)


def _is_plain(value: object) -> bool:
    """JSON's own, by exact type: an IntEnum would lose its name."""
    return type(value) in _JSON_KEYS


def table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> list[str]:
    """Lines with columns that line up: text to the left, numbers to the right, with thousands apart."""
    cells = [head, *(tuple(_cell(value) for value in row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    right = [bool(rows) and isinstance(rows[0][column], int) for column in range(len(head))]
    return [
        "  ".join(
            text.rjust(width) if numeric else text.ljust(width)
            for text, width, numeric in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in cells
    ]


def _cell(value: object) -> str:
    return f"{value:,}" if type(value) is int else printable(str(value))


def printable(text: str) -> str:
    """*text* on one line, with what a terminal would obey (others chose it) in backslash escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
