"""The sessions of the SQLite store: few rows for many outcomes, and few pages for a commit.

- Outcomes of one commit that follow one another (in seq and in position, in one group, none pinned) are one row of
  ``outcomes``, a *run*.  What changes or drops one of a run, which is rare, cuts the run first.
- A run that is new, behind all others of its session, also says until when the session was used and what it had settled;
  so its session's own row is not written again.  As neither ever goes down, what counts is the highest that any row says.
- What is settled stays where it is and does not count any more, until ``_LATE_RUNS_MAX`` runs have been written: then it is
  deleted, and the rows of those sessions are written, for all of them in one go.  Whatever deletes a run writes the session's row
  in the same commit.

What is remembered here between commits only spares work: it can be forgotten at any time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .base import SessionChange, SessionState, StoredOutcome
from .sqlite_rows import (
    ADD_RUNS,
    DROP,
    END_OUTCOMES,
    END_SESSIONS,
    OUTCOMES,
    SESSIONS,
    SET_SESSIONS,
    SETTLE,
    Row,
    run,
    seal,
)

_LATE_RUNS_MAX = 256


class _Run(NamedTuple):
    """Outcomes of *seq* and the *length* - 1 behind it, taken at *position* and those behind it."""

    seq: int
    length: int
    position: int
    group: str
    pinned: int
    seen: int
    settled: int
    last_used_ms: int

    @property
    def end(self) -> int:
        return self.seq + self.length

    def part(self, first: int, end: int) -> _Run:
        """Those from *first* on, before *end*."""
        return self._replace(
            seq=first, length=end - first, position=self.position + first - self.seq
        )


def load(db: sqlite3.Connection) -> tuple[SessionState, ...]:
    """All sessions, with the outcomes that count."""
    runs: dict[bytes, list[_Run]] = {}
    for session, *columns in db.execute(f"SELECT {OUTCOMES} FROM outcomes ORDER BY session, seq"):
        runs.setdefault(session, []).append(_Run(*columns))
    return tuple(
        _state(row, runs.get(row[0], ())) for row in db.execute(f"SELECT {SESSIONS} FROM sessions")
    )


def _state(row: Row, runs: Sequence[_Run]) -> SessionState:
    session, label, used_ms, settled = row
    used_ms = max([used_ms, *(found.last_used_ms for found in runs)])
    settled = max([settled, *(found.settled for found in runs)])
    outcomes = [
        StoredOutcome(seq, position + seq - first, group, bool(pinned), seen)
        for first, length, position, group, pinned, seen, _, _ in runs
        for seq in range(first if pinned else max(first, settled + 1), first + length)
    ]
    return SessionState(session, label, used_ms, settled, tuple(outcomes))


class Sessions:
    """Writes changes of sessions, in the transaction that is under way."""

    def __init__(self) -> None:
        # What the rows of a session say: its label, and the end of its runs (behind the highest seq).
        self._known: dict[bytes, tuple[str, int]] = {}
        self._late: dict[bytes, Row] = {}  # rows as they should be, of those that have changed
        self._late_runs = 0

    def forget(self) -> None:
        """What was written was taken back."""
        self._known.clear()
        self._late.clear()

    def write(
        self, db: sqlite3.Connection, changes: Iterable[SessionChange], ended: Sequence[bytes]
    ) -> None:
        """Write *changes*, of which no two are of one session, and let *ended* be gone."""
        rows: list[Row] = []
        added: list[Row] = []
        for change in changes:
            session, label, used_ms, settled, _, dropped = change
            row = self._late[session] = (session, label, used_ms, settled)
            known, end = self._known.get(session) or (None, _end(db, session))
            runs = _runs(change)
            is_new = bool(runs) and runs[0].seq >= end and not dropped
            if not is_new:
                for found in runs:
                    _cut_out(db, session, found.seq, found.end)
                for seq in dropped:
                    _cut_out(db, session, seq, seq + 1)
            if not is_new or label != known:
                rows.append(row)
            self._known[session] = label, max(end, runs[-1].end) if runs else end
            added += [(session, *found) for found in runs]
        if rows:
            _set_sessions(db, rows)
        run(db, ADD_RUNS, [(*row, seal(*row)) for row in added])
        self._late_runs += len(added)
        if self._late_runs > _LATE_RUNS_MAX:
            self._settle(db)
        if ended:
            self._end(db, ended)

    def _settle(self, db: sqlite3.Connection) -> None:
        late = list(self._late.values())
        _set_sessions(db, late)
        run(db, SETTLE, [(session, settled) for session, _, _, settled in late])
        self._late.clear()
        self._late_runs = 0

    def _end(self, db: sqlite3.Connection, ended: Sequence[bytes]) -> None:
        for session in ended:
            self._known.pop(session, None)
            self._late.pop(session, None)
        run(db, END_OUTCOMES, [(session,) for session in ended])
        run(db, END_SESSIONS, [(session,) for session in ended])


def _set_sessions(db: sqlite3.Connection, rows: Iterable[Row]) -> None:
    run(db, SET_SESSIONS, [(*row, seal(*row)) for row in rows])


def _runs(change: SessionChange) -> list[_Run]:
    """The outcomes that *change* adds, but for those that it drops, in order."""
    _, _, used_ms, settled, outcomes, dropped = change
    runs: list[_Run] = []
    first = -1  # where the run begins whose end and whatever is common to it are these:
    end = shift = seen = 0
    group = ""
    for outcome in sorted(outcomes):
        seq, position, its_group, pinned, its_seen = outcome
        if seq in dropped:
            continue
        if (
            seq != end
            or position - seq != shift
            or its_group != group
            or its_seen != seen
            or pinned
        ):
            if first >= 0:
                runs.append(
                    _Run(first, end - first, first + shift, group, 0, seen, settled, used_ms)
                )
            first, end, shift, group, seen = seq, seq, position - seq, its_group, its_seen
        end += 1
        if pinned:
            runs.append(_Run(seq, 1, position, group, 1, seen, settled, used_ms))
            first = end = -1
    if first >= 0:
        runs.append(_Run(first, end - first, first + shift, group, 0, seen, settled, used_ms))
    return runs


def _end(db: sqlite3.Connection, session: bytes) -> int:
    """Behind the highest seq of what is stored of *session*."""
    found = db.execute(
        "SELECT seq, length FROM outcomes WHERE session = ? ORDER BY seq DESC LIMIT 1", (session,)
    ).fetchone()
    return sum(found) if found else 0


def _cut_out(db: sqlite3.Connection, session: bytes, first: int, end: int) -> None:
    """Delete what is stored of *session* from *first* on, before *end*."""
    found = db.execute(
        f"SELECT {OUTCOMES} FROM outcomes WHERE session = ? AND seq <= ? ORDER BY seq DESC",
        (session, end - 1),
    )
    hit = []
    for _, *columns in found:
        stored = _Run(*columns)
        if stored.end <= first:
            break
        hit.append(stored)
    found.close()
    run(db, DROP, [(session, stored.seq) for stored in hit])
    left = [stored.part(stored.seq, first) for stored in hit if stored.seq < first]
    left += [stored.part(end, stored.end) for stored in hit if stored.end > end]
    rows = [(session, *part) for part in left]
    run(db, ADD_RUNS, [(*row, seal(*row)) for row in rows])
