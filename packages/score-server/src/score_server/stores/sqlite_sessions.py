"""The sessions of the SQLite store: few rows for many outcomes, and few pages for a commit.

- Outcomes of one commit that follow one another (in seq and in position, in one group, none pinned) are one row of
  ``outcomes``, a *run*.  What changes or drops one of a run, which is rare, cuts the run first.
- A run that is new, behind all others of its session, also says until when the session was used and what it had settled;
  so its session's own row is not written again.  As neither ever goes down, what counts is the highest that any row says.
- Such a run is appended to ``new_outcomes``, whoever's it is: a commit of many authors fills one page there, where ``outcomes``,
  in the order of sessions, has a page for each.
- What is settled stays where it is and does not count any more, until ``_LATE_RUNS_MAX`` runs have been written: then it is
  deleted, the rows of those sessions are written, and what still counts of the new runs is put in its place in ``outcomes``, for
  all of them in one go; before a run is cut as well.  Whatever deletes a run writes the session's row in the same commit, or finds it written.

What is remembered here between commits only spares work: it can be forgotten at any time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..wire.rows import new as make
from .base import SessionChange, SessionState, StoredOutcome
from .sqlite_rows import (
    ADD_NEW_RUNS,
    ADD_RUNS,
    DROP,
    END_NEW_OUTCOMES,
    END_OUTCOMES,
    END_SESSIONS,
    OUTCOMES,
    SESSIONS,
    SET_SESSIONS,
    SETTLE,
    Row,
    run,
    run_seal,
    seal,
)

_LATE_RUNS_MAX = 512

_ALL = f"""
SELECT {OUTCOMES} FROM outcomes UNION ALL SELECT {OUTCOMES} FROM new_outcomes ORDER BY session, seq
"""
# The rows of sessions with new runs, as they should be.
_LATE = """
SELECT s.session, s.label, max(s.last_used_ms, r.last_used_ms), max(s.settled, r.settled)
FROM (SELECT session, max(last_used_ms) AS last_used_ms, max(settled) AS settled FROM new_outcomes GROUP BY session)
AS r CROSS JOIN sessions AS s ON s.session = r.session
"""
_PLACE = """
INSERT INTO outcomes SELECT n.* FROM new_outcomes AS n CROSS JOIN sessions AS s ON s.session = n.session
WHERE n.pinned OR n.seq + (n.length - 1) > s.settled ORDER BY n.session, n.seq
"""


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
    for session, *columns in db.execute(_ALL):
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
        self._late: dict[bytes, int] = {}  # what sessions have settled since it was last deleted
        self._late_runs = _LATE_RUNS_MAX  # perhaps, from an earlier life

    def forget(self) -> None:
        """What was written was taken back."""
        self._known.clear()
        self._late.clear()
        self._late_runs = _LATE_RUNS_MAX

    def write(
        self, db: sqlite3.Connection, changes: Iterable[SessionChange], ended: Sequence[bytes]
    ) -> None:
        """Write *changes*, of which no two are of one session, and let *ended* be gone."""
        rows: list[Row] = []
        cut: list[Row] = []
        added: list[Row] = []
        for change in changes:
            session, label, used_ms, settled, _, dropped = change
            self._late[session] = settled
            known, end = self._known.get(session) or (None, _end(db, session))
            runs = _runs(change)
            is_new = bool(runs) and runs[0].seq >= end and not dropped
            if not is_new and (runs or dropped):
                self._settle(db)
                for found in runs:
                    _cut_out(db, session, found.seq, found.end)
                for seq in dropped:
                    _cut_out(db, session, seq, seq + 1)
            if not is_new or label != known:
                rows.append((session, label, used_ms, settled))
            self._known[session] = label, max(end, runs[-1].end) if runs else end
            (added if is_new else cut).extend([(session, *found) for found in runs])
        if rows:
            _set_sessions(db, rows)
        if cut:
            run(db, ADD_RUNS, [(*row, run_seal(*row)) for row in cut])
        run(db, ADD_NEW_RUNS, [(*row, run_seal(*row)) for row in added])
        self._late_runs += len(added)
        if self._late_runs > _LATE_RUNS_MAX:
            self._settle(db)
        if ended:
            self._end(db, ended)

    def _settle(self, db: sqlite3.Connection) -> None:
        """Write the rows of sessions, put new runs in their place, and delete what is settled."""
        if self._late_runs:
            rows = db.execute(_LATE).fetchall()
            _set_sessions(db, rows)
            db.execute(_PLACE)
            db.execute("DELETE FROM new_outcomes")
            self._late |= {session: settled for session, _, _, settled in rows}
        run(db, SETTLE, list(self._late.items()))
        self._late.clear()
        self._late_runs = 0

    def _end(self, db: sqlite3.Connection, ended: Sequence[bytes]) -> None:
        for session in ended:
            self._known.pop(session, None)
            self._late.pop(session, None)
        run(db, END_NEW_OUTCOMES, [(session,) for session in ended])
        run(db, END_OUTCOMES, [(session,) for session in ended])
        run(db, END_SESSIONS, [(session,) for session in ended])


def _set_sessions(db: sqlite3.Connection, rows: Iterable[Row]) -> None:
    run(db, SET_SESSIONS, [(*row, seal(*row)) for row in rows])


def _runs(change: SessionChange) -> list[_Run]:
    """The outcomes that *change* adds, but for those that it drops, in order."""
    _, _, used_ms, settled, outcomes, dropped = change
    if len(outcomes) == 1 and not dropped:  # as of most authors
        ((seq, position, group, pinned, seen),) = outcomes
        return [make(_Run, (seq, 1, position, group, int(pinned), seen, settled, used_ms))]
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
    found = [
        db.execute(
            f"SELECT seq, length FROM {table} WHERE session = ? ORDER BY seq DESC LIMIT 1",
            (session,),
        ).fetchone()
        for table in ("outcomes", "new_outcomes")
    ]
    return max(sum(last) for last in found if last) if any(found) else 0


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
    run(db, ADD_RUNS, [(*row, run_seal(*row)) for row in rows])
