"""A session: the names (seqs) of one author's submissions, and what became of each.

Rules
-----
- A name has at most one outcome for ever.  It is looked up before anything about a submission is
  judged, so a submission that is sent again gets its first answer again.
- What the author has declared settled is forgotten, except what somebody asked for (*pinned*):
  that stays until the session goes, the oldest first when there are too many.
- An outcome not yet settled is never dropped for room: exactly once depends on it.
- Refusals live in memory only.  After a restart a refused submission that is sent again is judged
  anew, which is as good: it had not taken effect.
- What was taken in a group that is deleted stays taken.  A group of the same name that is made later is
  another one, and its positions are others.

``number`` is the commit that makes something durable (``sequencer.py``); 0 is "already is".
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import repeat
from typing import NamedTuple

from ..stores.base import SessionChange, SessionState, StoredOutcome
from .few import Few, plus
from .rows import new

GONE = ""  # no group has this name


class Record(NamedTuple):
    """A lasting outcome: taken at *position* in *group* by an author who had *seen* so much of it;
    voided when *position* is 0; in a group that has been deleted since when *group* is ``GONE``.

    *number* is the commit of the outcome itself, *pin_number* that of its being pinned: a pin that
    fails takes back the pin, not the outcome.
    """

    position: int
    group: str
    number: int
    seen: int = 0
    pinned: bool = False
    pin_number: int = 0


class Refusal(NamedTuple):
    """A refusal that was, or is about to be, answered."""

    reason: int
    head: int
    group: str
    number: int


class Session:
    """One author's names.  The sequencer changes it; nobody else does."""

    __slots__ = (
        "connection", "dropped", "id", "label", "last_taken", "last_used_ms", "number", "outcomes",
        "pinned", "refusals", "settled",
    )  # fmt: skip

    def __init__(self, id: bytes, label: str, last_used_ms: int, settled: int = 0) -> None:
        self.id = id
        self.label = label
        self.last_used_ms = last_used_ms
        self.settled = settled
        self.outcomes: dict[int, Record] = {}  # seq > settled
        self.pinned: dict[int, Record] = {}  # seq <= settled, oldest pin first
        self.refusals: dict[int, Refusal] = {}
        self.dropped: Few[int] = ()  # forgotten pins that the store still has
        self.last_taken = 0  # the highest forgotten seq that was taken
        self.connection: int | None = None
        self.number = 0  # the last commit that carries an outcome, or the birth, of this session

    @classmethod
    def load(cls, state: SessionState) -> Session:
        """The session as the store has it."""
        session = cls(state.session, state.label, state.last_used_ms, state.settled)
        for seq, position, group, pinned, seen in state.outcomes:
            kept = session.outcomes if seq > state.settled else session.pinned
            kept[seq] = Record(position, group, 0, seen, pinned)
        return session

    def find(self, seq: int) -> Record | None:
        """The lasting outcome of *seq*, durable or on its way."""
        return self.outcomes.get(seq) or self.pinned.get(seq)

    def knows(self, seq: int) -> bool:
        """Whether *seq* has an outcome, or was refused."""
        return seq in self.outcomes or seq in self.refusals or seq in self.pinned

    def put(self, seq: int, record: Record | None) -> None:
        """Set the outcome of *seq* (None: as if it had never been)."""
        if seq > self.settled:
            kept = self.outcomes
        else:
            kept = self.pinned
            if record is not None and not record.pinned:
                record = None  # settled meanwhile, and nobody asked: forgotten
        if record is None:
            kept.pop(seq, None)
        else:
            kept[seq] = record

    def put_run(self, seqs: range, position: int, group: str, number: int, seen: int) -> None:
        """Set the outcomes of *seqs*, none of them settled: taken at *position* and those behind it."""
        positions = range(position, position + len(seqs))
        rows = zip(
            positions, repeat(group), repeat(number), repeat(seen), repeat(False), repeat(0),
            strict=False,
        )  # fmt: skip
        self.outcomes.update(zip(seqs, map(new, repeat(Record), rows), strict=False))

    def is_new(self, seqs: range) -> bool:
        """Whether nothing is known of any of *seqs*, nor was."""
        return (
            seqs[0] > self.settled
            and self.outcomes.keys().isdisjoint(seqs)
            and self.refusals.keys().isdisjoint(seqs)
        )

    def settle(self, upto: int, pinned_max: int) -> None:
        """The author has every answer up to *upto*: forget them."""
        if upto <= self.settled:
            return
        self.settled = upto
        outcomes = self.outcomes
        for seq in [seq for seq in outcomes if seq <= upto]:
            record = outcomes.pop(seq)
            position, _, _, _, pinned, _ = record
            if position and seq > self.last_taken:
                self.last_taken = seq
            if pinned:
                self.pinned[seq] = record
        while len(self.pinned) > pinned_max:
            seq = next(iter(self.pinned))
            del self.pinned[seq]
            self.drop(seq)
        if self.refusals:
            for seq in [seq for seq in self.refusals if seq <= upto]:
                del self.refusals[seq]

    def drop(self, seq: int) -> None:
        """Have the store forget what it has of *seq*."""
        if seq not in self.dropped:
            self.dropped = plus(self.dropped, seq)

    def taken_in(self, group: str) -> list[tuple[int, Record]]:
        """What was taken in *group*, settled or not."""
        found = [*self.pinned.items(), *self.outcomes.items()]
        return [(seq, record) for seq, record in found if record.group == group]

    def hold(self, group: str) -> int | None:
        """What its author may still have to be told: entries of *group* behind this place."""
        seen = [r.seen for r in self.outcomes.values() if r.group == group]
        return min(seen, default=None)

    def forget_refusals(self, group: str) -> None:
        """*group* is gone, and the heads that refused with it: as after a restart."""
        for seq in [seq for seq, refusal in self.refusals.items() if refusal.group == group]:
            del self.refusals[seq]

    def unsettled(self) -> int:
        """Submissions whose answers the author has not declared settled."""
        return len(self.refusals) + sum(1 for r in self.outcomes.values() if r.position)

    def voided(self) -> int:
        """Promised noes for names that the author has not settled."""
        return sum(1 for r in self.outcomes.values() if not r.position)

    def is_empty(self) -> bool:
        """No outcome that anybody could ask for is left."""
        return not self.outcomes and not self.pinned

    def change(self, seqs: Collection[int]) -> SessionChange:
        """The row as it is now, with the outcomes of *seqs*, for the store."""
        rows: list[StoredOutcome] = []
        kept, add = self.outcomes.get, rows.append
        for seq in sorted(seqs):
            record = kept(seq) or self.pinned.get(seq)
            if record is not None:
                position, group, _, seen, pinned, _ = record
                add(new(StoredOutcome, (seq, position, group, pinned, seen)))
        dropped = tuple(sorted(self.dropped)) if self.dropped else ()
        outcomes, used_ms = tuple(rows), self.last_used_ms
        return new(SessionChange, (self.id, self.label, used_ms, self.settled, outcomes, dropped))
