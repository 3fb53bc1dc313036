"""Histories: what clients did and were told, and the logs that came of it, as JSON lines.

Rules
-----
- One line is one record: the array ``[kind, field, ...]``, all fields of the class in their order, null
  where there is nothing to say.  (Objects would be read at half the speed: the names are most of the bytes.)
  Lines of several programs may be joined in any order, but each program's own lines keep theirs.
- Times are whole numbers of one clock that all programs share: nanoseconds of ``time.monotonic_ns``
  for processes of one machine, any step counter for a simulation.  Equal times are not ordered.
- A *call* is written before the bytes leave, for programs that may be killed; the *operation* with
  the same client and number replaces it.  A call that nothing replaces has an unknown outcome.
- Memory matters more than comfort here: a history has millions of records.  So: bare tuples, and
  a session's text is kept once.

How the lines look (one record of each kind) is in ``tests/score/testing/test_history.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from os import PathLike
from typing import Any, Literal, NamedTuple, get_args

# Lines that are parsed at one time: enough to make the call cheap, few enough to stay in a cache.
CHUNK_LINES = 5_000

Told = Literal["taken", "failed", "not head", "refused", "unknown", "unsent"]
"""What the author of a change was told.

``taken``: it stands at *place*.  ``failed``: it stands at *place* and changed nothing (a pop of an empty
stack).  ``not head``: refused, since *place* and not *seen* was the head.  ``refused``: for another reason.
``unknown``: nothing (yet).  ``unsent``: nothing can have happened, and there is no name.
"""
TOLD = frozenset(get_args(Told))


class Operation(NamedTuple):
    """One change that somebody wanted.

    Attributes:
        client: who; unique among all programs of the history.
        number: counts the calls of this client.
        view: the view it was made on; counts the views of this client.
        group: the group's name.
        begun, ended: the call's first and last moment; *ended* None: it never returned.
        session, seq: the name it had in the end, session as text; None: it never had one.
        seen: the position its author's view had; what a strict change relies on.
        strict: whether it relied on *seen* being the head.
        told: see ``Told``.
        place: see ``Told``.
        at: the view's position at the end.
        chain: the chain of the view at *at*, as text, or None.
    """

    client: str
    number: int
    view: int
    group: str
    begun: int
    ended: int | None
    session: str | None
    seq: int | None
    seen: int
    strict: bool
    told: Told
    place: int | None
    at: int | None
    chain: str | None


class Sync(NamedTuple):
    """A view was brought up to date (joining does, too), and then held everything up to *at*."""

    client: str
    view: int
    group: str
    begun: int
    ended: int
    at: int
    chain: str | None


class Ask(NamedTuple):
    """Somebody asked what became of (session, seq).  *place*: where it was taken."""

    client: str
    begun: int
    ended: int
    session: str
    seq: int
    verdict: Literal["taken", "not taken", "expired"]
    place: int | None


class State(NamedTuple):
    """What a view held at one moment.

    *digest*: equal for equal content.  *final*: faults had stopped, nobody changed anything any more, and
    the view had synced.
    """

    client: str
    view: int
    group: str
    time: int
    at: int
    chain: str | None
    digest: str | None
    final: bool


class LogEntry(NamedTuple):
    """One entry of a group's final log, in the log's order.

    *chain*, *digest*: of the fold up to here.  *failed*: whether an operation of it failed where it landed;
    *changed*: whether the content is another than before it.  All four None where nobody looked.
    """

    group: str
    position: int
    predecessor: int
    session: str
    seq: int
    chain: str | None = None
    digest: str | None = None
    failed: bool | None = None
    changed: bool | None = None


Record = Operation | Sync | Ask | State | LogEntry


class HistoryError(ValueError):
    """The lines are no history; the message says which line, and what is wrong with it."""


@dataclass
class History:
    """Everything that was recorded; each list in the order of recording.

    *retention*: how long an outcome must stay known, in the history's clock; None: for ever.
    """

    operations: list[Operation] = field(default_factory=list)
    syncs: list[Sync] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    log: list[LogEntry] = field(default_factory=list)
    retention: int | None = None

    def add(self, record: Record) -> None:
        """Put *record* where it belongs."""
        match record:
            case Operation():
                self.operations.append(record)
            case Sync():
                self.syncs.append(record)
            case Ask():
                self.asks.append(record)
            case State():
                self.states.append(record)
            case _:
                self.log.append(record)


KINDS: dict[str, type[Record]] = {
    "operation": Operation,
    "call": Operation,
    "sync": Sync,
    "ask": Ask,
    "state": State,
    "entry": LogEntry,
}
_KIND_OF = {cls: kind for kind, cls in KINDS.items() if kind != "call"}


def to_line(record: Record, *, call: bool = False) -> str:
    """*record* as a line, its end included; *call*: an operation that has only begun."""
    kind = "call" if call else _KIND_OF[type(record)]
    return json.dumps([kind, *record], separators=(",", ":")) + "\n"


def write_history(history: History, path: str | PathLike[str]) -> None:
    """All records of *history* as a file of lines."""
    parts: list[list[Any]] = [
        history.operations, history.syncs, history.asks, history.states, history.log,
    ]  # fmt: skip
    with open(path, "w", encoding="utf-8") as file:
        if history.retention is not None:
            file.write(f'["retention",{history.retention}]\n')
        for part in parts:
            file.writelines(map(to_line, part))


def read_history(*paths: str | PathLike[str]) -> History:
    """The history in the lines of all files.

    Raises:
        HistoryError: a line is no record.
        OSError: a file cannot be read.
    """
    reader = _Reader()
    for path in paths:
        # JSON's own bytes decide where a line ends, not what Unicode calls a line.
        with open(path, encoding="utf-8", newline="\n") as file:
            try:
                reader.read(file)
            except (HistoryError, UnicodeDecodeError) as error:
                raise HistoryError(f"{path}: {error}") from error
    return reader.finish()


class _Reader:
    def __init__(self) -> None:
        self._history = History()
        self._calls: dict[tuple[str, int], Operation] = {}
        self._texts: dict[str, str] = {}

    def read(self, lines: Iterable[str]) -> None:
        """Take in the lines of one file."""
        done = 0
        left: Iterator[str] = iter(lines)
        while chunk := list(islice(left, CHUNK_LINES)):
            try:
                rows = json.loads(f"[{','.join(chunk)}]")
                if len(rows) != len(chunk):
                    raise ValueError("two records in one line")
                self._take(rows)
            except (ValueError, TypeError, LookupError, AttributeError):
                raise HistoryError(_first_fault(chunk, done)) from None
            done += len(chunk)

    def finish(self) -> History:
        """Everything read, with what was begun and never ended."""
        self._history.operations += self._calls.values()
        return self._history

    def _take(self, rows: list[list[Any]]) -> None:
        operations, calls, kept = self._history.operations, self._calls, self._texts.setdefault
        for row in rows:
            kind = row.pop(0)
            if kind == "operation":
                row[0], row[3] = kept(row[0], row[0]), kept(row[3], row[3])
                row[6] = kept(row[6], row[6])
                operations.append(Operation._make(row))
                if calls:
                    calls.pop((row[0], row[1]), None)
            elif kind == "entry":
                row[0], row[3] = kept(row[0], row[0]), kept(row[3], row[3])
                self._history.log.append(LogEntry._make(row))
            elif kind == "retention":
                (self._history.retention,) = row
            elif kind == "call":
                call = Operation._make(row)
                calls[call.client, call.number] = call
            else:
                self._history.add(KINDS[kind]._make(row))


def _first_fault(chunk: list[str], before: int) -> str:
    """What is wrong with the first line of *chunk* that is no record."""
    for number, line in enumerate(chunk, before + 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            return f"line {number} is no JSON: {error}"
        kinds = ", ".join(KINDS)
        if type(row) is not list or not row or row[0] not in (*KINDS, "retention"):
            return f"line {number} does not begin with a kind ({kinds}): {line.strip():.100}"
        fields = KINDS[row[0]]._fields if row[0] in KINDS else ("time",)
        if len(row) != 1 + len(fields):
            what = f"a {row[0]} has {len(fields)} fields ({', '.join(fields)}), not {len(row) - 1}"
            return f"line {number}: {what}"
    return (
        f"lines {before + 1} to {before + len(chunk)}: a text is something else, or a line has two"
    )
