"""Whether a history keeps the promises, in one sweep over it.  Pure; ``python -m score.testing.check``.

The promises, per group
-----------------------
P1  an acknowledged change survives: it stands where its author was told.
P2  a submission takes effect at most once, and nothing takes effect that nobody submitted; within the
    retention its outcome can be learned.
P3  a strict change was accepted when its seen id was the head, and refused only when it was not.
P4  every view is at all times the fold of a gap-free prefix of the order, and never goes back.
P5  real-time order: what returned before another began stands before it; a sync shows what returned before
    it began, and nothing that began after it ended.
P6  a refused name never takes effect; a failed intent is recorded and changes nothing.
P7  an unknown outcome resolves to exactly one answer, and the log agrees with it.
P8  once faults stop and each client has synced, all views are equal.

How
---
The final log gives each name its place, so a history does not have to be searched for an order that
explains it (as Knossos or Porcupine must, at exponential cost): the one order is known, and each
promise is a look at it.  For P5 the operations are walked in that order while the latest beginning so far
is remembered: one that ended before that moment stands too late.  Reads (syncs, and refusals, which tell
the head) are walked with them, each at the place it saw.

All is linear but the sorting of each view's moments, which are nearly sorted.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter, defaultdict
from operator import itemgetter
from typing import NamedTuple

from .history import (
    TOLD,
    Ask,
    History,
    HistoryError,
    LogEntry,
    Operation,
    Record,
    State,
    Sync,
    read_history,
)

PROMISES = ("P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8")
# A broken store breaks everything after it: more of them say no more.
SHOWN_MAX = 20

_NONE: dict[int, LogEntry] = {}


class Violation(NamedTuple):
    """*promise* is broken; *text* says how, with the places; *records* are what shows it."""

    promise: str
    text: str
    records: tuple[Record, ...]

    def __str__(self) -> str:
        return "\n".join([f"{self.promise} {self.text}", *(f"     {r!r}" for r in self.records)])


class Verdict(NamedTuple):
    """What a check found.  *checked* counts, for each promise, what it was checked on: a promise that
    was checked on nothing is not shown to hold."""

    violations: list[Violation]
    checked: dict[str, int]

    @property
    def ok(self) -> bool:
        return not self.violations

    def __str__(self) -> str:
        counts = ", ".join(f"{promise} {self.checked[promise]:,}" for promise in PROMISES)
        if self.ok:
            return f"all promises kept; checked on: {counts}"
        broken = Counter(violation.promise for violation in self.violations)
        lines = [", ".join(f"{p} broken {n:,} times" for p, n in sorted(broken.items()))]
        lines += map(str, self.violations[:SHOWN_MAX])
        if len(self.violations) > SHOWN_MAX:
            lines.append(f"... and {len(self.violations) - SHOWN_MAX:,} more")
        return "\n".join([*lines, f"checked on: {counts}"])


def check(history: History, *, others: bool = False) -> Verdict:
    """Check P1 to P8.

    Args:
        others: whether clients that nobody recorded may have made changes.
    """
    sweep = _Sweep(history, others=others)
    sweep.log()
    sweep.operations()
    sweep.reads()
    sweep.asks()
    sweep.order()
    sweep.views()
    return Verdict(sweep.violations, {p: sweep.checked[p] for p in PROMISES})


class _Group:
    """One group's log, and what refers to its places."""

    __slots__ = ("authors", "entries", "name", "places", "reads")

    def __init__(self, name: str) -> None:
        self.name = name
        self.entries: list[LogEntry] = []
        self.places: dict[int, LogEntry] = {}
        self.authors: dict[int, Operation] = {}
        # position -> what told its caller that this was the head at some moment of the call
        self.reads: dict[int, list[Operation | Sync]] = {}

    @property
    def head(self) -> int:
        return self.entries[-1].position if self.entries else 0

    def around(self, position: int) -> str:
        """What stands at *position*, in words."""
        entry = self.places.get(position)
        if entry is None:
            return f"nothing stands at {position} of group {self.name!r}, whose head is {self.head}"
        return f"at {position} of group {self.name!r} stands {_name(entry)}"


class _Sweep:
    def __init__(self, history: History, *, others: bool) -> None:
        self._history = history
        self._others = others
        self.violations: list[Violation] = []
        self.checked: Counter[str] = Counter()
        self._groups: dict[str, _Group] = {}
        self._names: dict[str | None, dict[int, LogEntry]] = {}
        self._open: dict[tuple[str | None, int | None], Operation] = {}
        # (client, view) -> (moment, position) of everything that tells where the view was
        self._moments: defaultdict[tuple[str, int], list[tuple[int, int, Record]]]
        self._moments = defaultdict(list)

    def _broken(self, promise: str, text: str, *records: Record | None) -> None:
        found = tuple(record for record in records if record is not None)
        self.violations.append(Violation(promise, text, found))

    def _group(self, name: str) -> _Group:
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = _Group(name)
        return group

    # ------------------------------------------------------------ the log by itself

    def log(self) -> None:
        """P4: the log is one gap-free sequence.  P2: no name stands in it twice.  P5: a client's changes
        stand in the order in which it made them (it makes one at a time)."""
        names = self._names
        latest: dict[tuple[str, str], LogEntry] = {}
        for entry in self._history.log:
            group = self._groups.get(entry.group) or self._group(entry.group)
            if entry.predecessor != group.head or entry.position <= group.head:
                self._broken(
                    "P4",
                    f"entry {entry.position} of group {group.name!r} follows "
                    f"{entry.predecessor}, but stands behind {group.head}",
                    *group.entries[-1:],
                    entry,
                )
            group.entries.append(entry)
            group.places[entry.position] = entry
            of_session = names.get(entry.session)
            if of_session is None:
                of_session = names[entry.session] = {}
            first = of_session.setdefault(entry.seq, entry)
            if first is not entry:
                self._broken("P2", f"{_name(entry)} took effect twice", first, entry)
                continue
            before = latest.get((entry.group, entry.session))
            if before is not None and before.seq > entry.seq:
                text = f"{_name(entry)} stands behind {_name(before)}, which its client made later"
                self._broken("P5", text, before, entry)
            latest[entry.group, entry.session] = entry
        self.checked["P4"] += len(self._history.log)

    # ------------------------------------------------------------ what authors were told

    def operations(self) -> None:
        """P1, P2, P3, P6, and the view of each author at the end of each call for P4."""
        names, groups, moments = self._names, self._groups, self._moments
        for operation in self._history.operations:
            (
                client,
                _,
                view,
                name,
                _,
                ended,
                session,
                seq,
                seen,
                strict,
                told,
                place,
                at,
                chain,
            ) = operation
            entry = None if seq is None else names.get(session, _NONE).get(seq)
            group = groups.get(name) or self._group(name)
            if told == "taken" and entry is not None and entry.position == place:
                pass  # as it should be, and by far the most frequent
            else:
                self._told(operation, entry, group)
            if entry is not None:
                if entry.group != name:
                    text = f"{_name(entry)} was made for group {name!r}"
                    self._broken("P2", text, operation, entry)
                elif group.authors.setdefault(entry.position, operation) is not operation:
                    text = f"two operations have the name {_name(entry)}"
                    self._broken("P2", text, group.authors[entry.position], operation, entry)
                if strict:
                    self.checked["P3"] += 1
                    if entry.predecessor != seen:
                        text = (
                            f"{_name(entry)}, strict on {seen}, was accepted at {entry.position} "
                            f"when the head was {entry.predecessor}"
                        )
                        self._broken("P3", text, operation, entry)
                if entry.failed is not None:
                    self._fell_out(operation, entry)
            if at is not None and ended is not None:
                moments[client, view].append((ended, at, operation))
                if at:
                    held = group.places.get(at)
                    if held is None or (chain is not None and held.chain not in (None, chain)):
                        self._not_a_prefix(operation, group, at, chain)
                if place is not None and at < place:
                    text = f"the answer says {place}, but the author's view stands at {at}"
                    self._broken("P4", text, operation)

        self.checked["P4"] += len(self._history.operations)

    def _told(self, operation: Operation, entry: LogEntry | None, group: _Group) -> None:
        """Whether an answer fits what stands in the log.  Counts all but the plain good case."""
        told, place = operation.told, operation.place
        if told not in TOLD:
            raise HistoryError(f"told {told!r}, which is none of {', '.join(sorted(TOLD))}")
        if told in ("taken", "failed"):
            assert place is not None, operation
            self.checked["P6"] += told == "failed"
            if entry is None:
                text = f"{_name(operation)} was acknowledged at {place}, but {group.around(place)}"
                self._broken("P1", text, operation, group.places.get(place))
            elif entry.position != place:
                text = f"{_name(operation)} was acknowledged at {place}, but stands elsewhere, too"
                self._broken("P2", text, operation, entry)
        elif told in ("refused", "not head"):
            self.checked["P6"] += 1
            if entry is not None:
                text = f"{_name(operation)} was refused, but stands at {entry.position}"
                self._broken("P6", text, operation, entry)
            if told == "not head":
                self._refusal(operation, group)
        elif told == "unknown":
            self._open[operation.session, operation.seq] = operation

    def _refusal(self, operation: Operation, group: _Group) -> None:
        self.checked["P3"] += 1
        place = operation.place
        assert place is not None, operation
        if place == operation.seen:
            text = f"{_name(operation)}, strict on {place}, was refused though that was the head"
            self._broken("P3", text, operation)
        elif place and place not in group.places:
            text = f"{_name(operation)} was refused for a head that is not there: "
            self._broken("P3", text + group.around(place), operation)
        else:
            group.reads.setdefault(place, []).append(operation)

    def _fell_out(self, operation: Operation, entry: LogEntry) -> None:
        """P6: its author was told what everybody sees who folds the log, and a failure changes nothing."""
        self.checked["P6"] += 1
        if operation.told in ("taken", "failed") and (operation.told == "failed") != entry.failed:
            what = "fails" if entry.failed else "does not fail"
            text = f"{_name(entry)} {what} at {entry.position}; its author was told otherwise"
            self._broken("P6", text, operation, entry)
        if entry.failed and entry.changed:
            text = f"{_name(entry)} failed at {entry.position}, and changed something"
            self._broken("P6", text, operation, entry)

    # ------------------------------------------------------------ what readers were shown

    def reads(self) -> None:
        """Syncs take their places in the order, for P5; P4 for each of them."""
        for sync in self._history.syncs:
            group = self._group(sync.group)
            self._moments[sync.client, sync.view].append((sync.ended, sync.at, sync))
            if self._is_prefix(sync, group, sync.at, sync.chain):
                group.reads.setdefault(sync.at, []).append(sync)
        self.checked["P4"] += len(self._history.syncs)

    def _is_prefix(self, record: Record, group: _Group, at: int, chain: str | None) -> bool:
        """P4: whether a view at *at* with *chain* is a prefix of the log."""
        if not at:
            return True
        held = group.places.get(at)
        if held is not None and (chain is None or held.chain in (None, chain)):
            return True
        self._not_a_prefix(record, group, at, chain)
        return False

    def _not_a_prefix(self, record: Record, group: _Group, at: int, chain: str | None) -> None:
        entry = group.places.get(at)
        text = f"a view was at {at}, but {group.around(at)}"
        if entry is not None:
            text += f", and the chain there is {entry.chain}, not {chain}"
        self._broken("P4", text, record, entry)

    # ------------------------------------------------------------ outcomes

    def asks(self) -> None:
        """P7, and P2's retention."""
        expired: dict[tuple[str, int], Ask] = {}
        for ask in sorted(self._history.asks, key=lambda ask: ask.begun):
            self.checked["P7"] += 1
            name = (ask.session, ask.seq)
            entry = self._names.get(ask.session, _NONE).get(ask.seq)
            if ask.verdict == "expired":
                self._expired(ask)
                expired.setdefault(name, ask)
                continue
            if name in expired and expired[name].ended < ask.begun:
                text = f"{_name(ask)} had expired, and then was {ask.verdict}"
                self._broken("P7", text, expired[name], ask)
            if ask.verdict == "not taken" and entry is not None:
                text = f'the answer for {_name(ask)} was "no", but it stands at {entry.position}'
                self._broken("P7", text, self._open.get(name), ask, entry)
            elif ask.verdict == "taken" and (entry is None or entry.position != ask.place):
                where = "nowhere" if entry is None else f"at {entry.position}"
                text = f'the answer for {_name(ask)} was "at {ask.place}", but it stands {where}'
                self._broken("P7", text, self._open.get(name), ask, entry)

    def _expired(self, ask: Ask) -> None:
        author = self._open.get((ask.session, ask.seq))
        if author is None:
            return  # its author was answered, so it may be forgotten
        self.checked["P2"] += 1
        retention, since = self._history.retention, author.ended or author.begun
        if retention is None or ask.ended - since < retention:
            text = f"the outcome of {_name(ask)} was forgotten within the retention"
            self._broken("P2", text, author, ask)

    # ------------------------------------------------------------ the order

    def order(self) -> None:
        """P5 along each log; P1 and P2 are counted here."""
        known = {operation.session for operation in self._history.operations}
        for group in self._groups.values():
            self._walk(group, known)

    def _walk(self, group: _Group, known: set[str | None]) -> None:
        latest = -1
        latest_record: Record | None = None
        authors, reads = group.authors, group.reads
        latest, latest_record = self._walk_reads(reads.get(0, []), latest, latest_record)
        for entry in group.entries:
            position = entry.position
            author = authors.get(position)
            if author is None:
                if entry.session in known or not self._others:
                    text = f"{_name(entry)} stands at {position}, but nobody submitted it"
                    if self._names[entry.session][entry.seq] is entry:  # else: told as a double
                        self._broken("P2", text, entry)
            else:
                ended = author.ended
                if ended is not None and ended < latest and author.told != "unknown":
                    self._too_late(author, latest_record, f"stands at {position}")
                if author.begun > latest:
                    latest, latest_record = author.begun, author
            if position in reads:
                latest, latest_record = self._walk_reads(reads[position], latest, latest_record)
        self.checked["P1"] += len(authors)
        self.checked["P2"] += len(group.entries)
        self.checked["P5"] += len(authors) + sum(map(len, reads.values()))

    def _walk_reads(
        self, reads: list[Operation | Sync], latest: int, record: Record | None
    ) -> tuple[int, Record | None]:
        """The reads of one place, which have no order among each other."""
        for read in reads:
            if read.ended is not None and read.ended < latest:
                self._too_late(read, record, "shows what was not there yet")
        for read in reads:
            if read.begun > latest:
                latest, record = read.begun, read
        return latest, record

    def _too_late(self, late: Record, early: Record | None, how: str) -> None:
        text = f"this {how}, behind the other, which began after this had returned"
        self._broken("P5", text, late, early)

    # ------------------------------------------------------------ views

    def views(self) -> None:
        """P4 over time, and P8."""
        finals: dict[str, list[State]] = {}
        digests: dict[tuple[str, int], tuple[str, Record]] = {}
        for group, at in {(state.group, state.at) for state in self._history.states}:
            entry = self._group(group).places.get(at)
            if entry is not None and entry.digest is not None:
                digests[group, at] = (entry.digest, entry)
        for state in self._history.states:
            self.checked["P4"] += 1
            self._moments[state.client, state.view].append((state.time, state.at, state))
            self._is_prefix(state, self._group(state.group), state.at, state.chain)
            if state.digest is not None:
                promise = "P8" if state.final else "P4"
                place = (state.group, state.at)
                digest, other = digests.setdefault(place, (state.digest, state))
                if digest != state.digest:
                    text = f"two folds up to {state.at} of group {state.group!r} differ"
                    self._broken(promise, text, other, state)
            if state.final:
                finals.setdefault(state.group, []).append(state)
        for name, states in finals.items():
            head = self._group(name).head
            for state in states:
                self.checked["P8"] += 1
                if state.at != head:
                    text = f"at the end a view stands at {state.at}, and {head} is the head"
                    self._broken("P8", text, state)
        for moments in self._moments.values():
            self._forward(moments)

    def _forward(self, moments: list[tuple[int, int, Record]]) -> None:
        moments.sort(key=itemgetter(0))
        position, before = 0, None
        for _, at, record in moments:
            if at < position:
                self._broken("P4", f"a view went back from {position} to {at}", before, record)
            position, before = at, record


def _name(record: Operation | Ask | LogEntry) -> str:
    """The name as ``OutcomeUnknown`` writes it."""
    return f"{record.session}-{record.seq}"


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status is 0 when all is well, 1 for a violation, 2 for no history."""
    parser = argparse.ArgumentParser(
        prog="python -m score.testing.check",
        description="Check recorded histories, with the final logs, for the promises P1 to P8. Exit "
        "status: 0 all kept, 1 at least one violated, 2 the files cannot be read.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="JSON lines; joined into one")
    parser.add_argument(
        "--others", action="store_true", help="clients that were not recorded made changes, too"
    )
    options = parser.parse_args(arguments)
    # Millions of tuples that live to the end: looking through them for cycles is half of the time.
    gc.disable()
    begun, processor = time.perf_counter(), time.process_time()
    try:
        history = read_history(*options.files)
        read = time.perf_counter()
        verdict = check(history, others=options.others)
    except (HistoryError, OSError) as error:
        print(f"score.testing.check: {error}", file=sys.stderr)
        return 2
    finally:
        gc.enable()
    done = time.perf_counter()
    print(verdict)
    print(
        f"{len(history.operations):,} operations, {len(history.log):,} entries: "
        f"{read - begun:.1f} s to read, {done - read:.1f} s to check "
        f"({time.process_time() - processor:.1f} s of processor time)"
    )
    return 0 if verdict.ok else 1


if __name__ == "__main__":
    sys.exit(main())
