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
from ..wire.rows import new
from .few import Few, plus

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
    """One author's names.  The sequencer changes it; nobody else does.

    A session whose author waits for each answer, as most do, has one submission that is taken and not settled, and
    nothing pinned or refused.  There are many of them, so there is a dict only where there is more.
    """

    __slots__ = (
        "_group", "_many", "_number", "_position", "_seen", "_seq", "connection", "dropped", "id", "label",
        "last_taken", "last_used_ms", "number", "pinned", "refusals", "settled",
    )  # fmt: skip

    def __init__(self, id: bytes, label: str, last_used_ms: int, settled: int = 0) -> None:
        self.id = id
        self.label = label
        self.last_used_ms = last_used_ms
        self.settled = settled
        # What is not settled: at most one that was taken (its seq is 0 if there is none), or all in a dict.
        self._seq = self._position = self._number = self._seen = 0
        self._group = ""
        self._many: dict[int, Record] | None = None
        self.pinned: dict[int, Record] | None = None  # seq <= settled, oldest pin first
        self.refusals: dict[int, Refusal] | None = None
        self.dropped: Few[int] = ()  # forgotten pins that the store still has
        self.last_taken = 0  # the highest forgotten seq that was taken
        self.connection: int | None = None
        self.number = 0  # the last commit that carries an outcome, or the birth, of this session

    @classmethod
    def load(cls, state: SessionState) -> Session:
        """The session as the store has it."""
        session = cls(state.session, state.label, state.last_used_ms, state.settled)
        for seq, position, group, pinned, seen in state.outcomes:
            if pinned:
                session.put(seq, Record(position, group, 0, seen, pinned))
            else:
                session.take(seq, position, group, 0, seen)
        return session

    # ------------------------------------------------------------ looking up

    def outcomes(self) -> dict[int, Record]:
        """All that are not settled, to be looked at only."""
        if self._many is not None:
            return self._many
        return {self._seq: self._one()} if self._seq else {}

    def _one(self) -> Record:
        return new(Record, (self._position, self._group, self._number, self._seen, False, 0))

    def find(self, seq: int) -> Record | None:
        """The lasting outcome of *seq*, durable or on its way."""
        if seq == self._seq != 0:
            return self._one()
        if self._many is not None and seq in self._many:
            return self._many[seq]
        return self.pinned.get(seq) if self.pinned is not None else None

    def refusal(self, seq: int) -> Refusal | None:
        """Why *seq* was refused, if it was."""
        return self.refusals.get(seq) if self.refusals is not None else None

    def knows(self, seq: int) -> bool:
        """Whether *seq* has an outcome, or was refused."""
        return (
            seq == self._seq != 0
            or (self._many is not None and seq in self._many)
            or (self.refusals is not None and seq in self.refusals)
            or (self.pinned is not None and seq in self.pinned)
        )

    def is_new(self, seqs: range) -> bool:
        """Whether nothing is known of any of *seqs*, nor was."""
        return (
            seqs[0] > self.settled
            and self._seq not in seqs
            and (self._many is None or self._many.keys().isdisjoint(seqs))
            and (self.refusals is None or self.refusals.keys().isdisjoint(seqs))
        )

    def count(self) -> int:
        """Outcomes that are not settled, refusals among them; noes that were promised as well."""
        found = len(self._many) if self._many is not None else int(self._seq != 0)
        return found + len(self.refusals or ())

    def unsettled(self) -> int:
        """Submissions whose answers the author has not declared settled."""
        return self.count() - self.voided()

    def voided(self) -> int:
        """Promised noes for names that the author has not settled."""
        return sum(1 for r in (self._many or {}).values() if not r.position)

    def is_empty(self) -> bool:
        """No outcome that anybody could ask for is left."""
        return not (self._seq or self._many or self.pinned)

    def taken_in(self, group: str) -> list[tuple[int, Record]]:
        """What was taken in *group*, settled or not."""
        found = [*(self.pinned or {}).items(), *self.outcomes().items()]
        return [(seq, record) for seq, record in found if record.group == group]

    def hold(self, group: str) -> int | None:
        """What its author may still have to be told: entries of *group* behind this place."""
        if self._many is None:  # quick: all sessions are asked, one after the other
            return self._seen if self._seq and self._group == group else None
        seen = [r.seen for r in self._many.values() if r.group == group]
        return min(seen, default=None)

    # ------------------------------------------------------------ changing

    def take(self, seq: int, position: int, group: str, number: int, seen: int) -> None:
        """*seq*, of which nothing is known yet and which is not settled, is taken."""
        if self._many is None and not self._seq:
            self._seq, self._position, self._group = seq, position, group
            self._number, self._seen = number, seen
        else:
            self._all()[seq] = new(Record, (position, group, number, seen, False, 0))

    def _all(self) -> dict[int, Record]:
        """What is not settled, in a dict from now on."""
        if self._many is None:
            self._many = self.outcomes()
            self._seq = 0
        return self._many

    def put(self, seq: int, record: Record | None) -> None:
        """Set the outcome of *seq* (None: as if it had never been)."""
        if seq <= self.settled:
            if record is not None and record.pinned:
                self._pin(seq, record)
            elif self.pinned is not None:  # settled meanwhile, and nobody asked: forgotten
                self.pinned.pop(seq, None)
        elif record is not None:
            self._all()[seq] = record
        elif seq == self._seq:
            self._seq = 0
        elif self._many is not None:
            self._many.pop(seq, None)

    def put_run(self, seqs: range, position: int, group: str, number: int, seen: int) -> None:
        """Set the outcomes of *seqs*, none of them settled: taken at *position* and those behind it."""
        positions = range(position, position + len(seqs))
        rows = zip(
            positions, repeat(group), repeat(number), repeat(seen), repeat(False), repeat(0),
            strict=False,
        )  # fmt: skip
        self._all().update(zip(seqs, map(new, repeat(Record), rows), strict=False))

    def refuse(self, seq: int, refusal: Refusal) -> None:
        """Note that *seq* is refused."""
        if self.refusals is None:
            self.refusals = {}
        self.refusals[seq] = refusal

    def unrefuse(self, seq: int) -> None:
        """*seq* is not refused, or not any more."""
        if self.refusals is not None:
            self.refusals.pop(seq, None)

    def forget_refusals(self, group: str) -> None:
        """*group* is gone, and the heads that refused with it: as after a restart."""
        refusals = self.refusals or {}
        for seq in [seq for seq, refusal in refusals.items() if refusal.group == group]:
            del refusals[seq]

    def settle(self, upto: int, pinned_max: int) -> None:
        """The author has every answer up to *upto*: forget them."""
        if upto <= self.settled:
            return
        self.settled = upto
        if self._many is not None:
            self._settle_many(self._many, upto)
        elif 0 < self._seq <= upto:
            self.last_taken = max(self.last_taken, self._seq)
            self._seq = 0
        if self.pinned is not None:
            self._bound_pins(self.pinned, pinned_max)
        if self.refusals is not None:
            left = {seq: refusal for seq, refusal in self.refusals.items() if seq > upto}
            self.refusals = left or None

    def _settle_many(self, many: dict[int, Record], upto: int) -> None:
        for seq in [seq for seq in many if seq <= upto]:
            record = many.pop(seq)
            if record.position and seq > self.last_taken:
                self.last_taken = seq
            if record.pinned:
                self._pin(seq, record)
        self._many = many or None

    def _pin(self, seq: int, record: Record) -> None:
        if self.pinned is None:
            self.pinned = {}
        self.pinned[seq] = record

    def _bound_pins(self, pinned: dict[int, Record], pinned_max: int) -> None:
        while len(pinned) > pinned_max:
            seq = next(iter(pinned))
            del pinned[seq]
            self.drop(seq)

    def drop(self, seq: int) -> None:
        """Have the store forget what it has of *seq*."""
        if seq not in self.dropped:
            self.dropped = plus(self.dropped, seq)

    def change(self, seqs: Collection[int]) -> SessionChange:
        """The row as it is now, with the outcomes of *seqs*, for the store."""
        rows: list[StoredOutcome] = []
        kept, add = self.outcomes().get, rows.append
        for seq in sorted(seqs):
            record = kept(seq) or self.find(seq)
            if record is not None:
                position, group, _, seen, pinned, _ = record
                add(new(StoredOutcome, (seq, position, group, pinned, seen)))
        dropped = tuple(sorted(self.dropped)) if self.dropped else ()
        outcomes, used_ms = tuple(rows), self.last_used_ms
        return new(SessionChange, (self.id, self.label, used_ms, self.settled, outcomes, dropped))
