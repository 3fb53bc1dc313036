"""The one place where order and durability are decided.

A submission goes through these steps, and nothing goes round them:

1. its name is looked up: a known one gets its first answer again;
2. its conditions are judged, against what is *assigned*;
3. it is assigned the next position, and joins the *open* batch;
4. the open batch is sealed and given to the store when the one before it is decided: what arrived
   while one commit ran is the next commit, so no timer is needed (the caller may let others speak first,
   who have been answered with the one before: ``Core.handle_all``);
5. when the store says durable, and only then, its entries are published and its answers released.

Each batch has a number.  What is judged against something not yet durable carries that thing's
number, and every answer, refusals and repeats included, is held until the batch of its number is
decided.  So nobody ever learns of anything that a crash could take back.

What is done to a group as a whole (a candidate's chunks, trims, its end) takes the same way: assigned, in
the open batch, durable, answered.  A commit's parts happen in a fixed order, entries before trims before
the end of a group; what would need another order waits for the commit (``Group.undecided``).

When a commit fails cleanly (disk full), everything since is taken back, newest first: the open
batch, then the one that failed.  All answers held in them become ``STORE_FULL``, also refusals, for
they were judged against heads that are no more.  Positions are not used again.

Other ways.  Judging against the durable head would need no rollback, but then a strict author could
commit once per sync of the disk, and two of them could both be told yes.  Answering refusals at
once is tempting and wrong: the head that refused may never come to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from ..stores.base import Commit, NewChunk, NewEntry, NewGroup, NewTrim, SessionChange
from ..wire.limits import Limits
from ..wire.messages import (
    CHANNEL_CLOSED,
    NOT_FOLLOWING,
    NOT_HEAD,
    OUT_OF_ORDER,
    OUTCOME_EXPIRED,
    OUTCOME_NO,
    OUTCOME_TAKEN,
    OVERLOADED,
    STORE_FULL,
    STRICT,
    TOO_MANY,
    VOIDED,
    AskOutcome,
    Error,
    Message,
    Outcome,
    Refused,
    SessionOpened,
    Submit,
    Taken,
    TurnGranted,
)
from ..wire.rows import new
from ..wire.runs import Output, SubmitRun, TakenRun
from .few import Few
from .group import Group
from .session import GONE, Record, Refusal, Session
from .turns import Asked

if TYPE_CHECKING:
    from .snapshots import Candidate


class Violation(Exception):
    """The peer asked for what it must not: its connection ends with this error."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class GroupGone(Exception):
    """The name was taken in a group that is gone; the channel is on another one of the same name."""


class Answer(NamedTuple):
    """What *connection* is told once its batch is decided: *message*, behind the entries of
    *channel* up to *needs*; or *instead*, if the batch is rolled back.  None, for what became of
    submissions: they are refused then."""

    connection: int
    channel: int
    message: Output
    needs: int
    instead: Message | None
    size: int = 0  # bytes of the submissions that the answer stands for

    def taken_back(self) -> Iterator[Answer]:
        """The answers to be given instead, as its batch has not happened."""
        message = self.message
        if self.instead is not None:
            yield self._replace(message=self.instead, needs=0)
            return
        assert isinstance(message, Taken | Refused | TakenRun), "nothing else is about submissions"
        size = self.size
        for one in message.each() if isinstance(message, TakenRun) else (message,):
            refused = Refused(one.seq, STORE_FULL, 0)
            yield Answer(self.connection, self.channel, refused, 0, None, size)
            size = 0  # all at once


class Batch:
    """What one commit will hold, what waits for it, and how to take it back."""

    __slots__ = (
        "answers", "born", "chunks", "deleted", "dropped", "ended", "entries", "new_groups", "number",
        "outcomes", "refusals", "rows", "size", "stale", "trims", "undo", "wanted",
    )  # fmt: skip

    def __init__(self, number: int) -> None:
        self.number = number
        self.wanted = False  # somebody waits for it; what merely should be written can wait
        self.size = 0
        self.new_groups: list[Group] = []
        self.entries: dict[Group, list[NewEntry]] = {}
        self.chunks: list[tuple[Group, NewChunk]] = []
        self.trims: list[tuple[Group, NewTrim, Candidate | None]] = []  # what becomes the snapshot
        self.deleted: list[Group] = []
        self.born: list[Session] = []
        self.outcomes: dict[Session, set[int]] = {}
        self.undo: list[tuple[Session, Sequence[int], Record | None]] = []  # what stood there
        self.refusals: list[tuple[Session, int]] = []
        self.answers: list[Answer] = []
        # There from when it is sealed:
        self.rows: list[Session]
        self.dropped: list[tuple[Session, Few[int]]]
        self.ended: list[bytes]
        self.stale: dict[str, None]

    def commit(self, rows: tuple[SessionChange, ...]) -> Commit:
        """What the store is given.  *rows*: of the sessions in ``rows``, as they are now."""
        entries = tuple(chain.from_iterable(self.entries.values()))
        if self._is_plain():
            ended, stale = tuple(self.ended), tuple(self.stale)
            return new(Commit, ((), entries, rows, ended, (), (), stale, ()))
        return Commit(
            tuple(NewGroup(g.name, g.incarnation, g.keep) for g in self.new_groups),
            entries,
            rows,
            tuple(self.ended),
            tuple(chunk for _, chunk in self.chunks),
            tuple(trim for _, trim, _ in self.trims),
            tuple(self.stale),
            tuple(group.name for group in self.deleted),
        )

    def groups(self) -> dict[Group, None]:
        """All that it is about."""
        found = dict.fromkeys(self.entries)
        if not self._is_plain():
            found |= dict.fromkeys(group for group, _ in self.chunks)
            found |= dict.fromkeys(group for group, _, _ in self.trims)
            found |= dict.fromkeys(chain(self.new_groups, self.deleted))
        return found

    def _is_plain(self) -> bool:
        """Whether nothing but entries is about groups, as is mostly so."""
        return not (self.new_groups or self.chunks or self.trims or self.deleted)


class Sequencer:
    """Orders submissions and decides when their answers may be given.  See the module."""

    def __init__(self, sessions: dict[bytes, Session], limits: Limits) -> None:
        self.sessions = sessions
        self.limits = limits
        self.durable = 0  # the number of the last batch that is durable
        self.open = Batch(1)
        self.in_flight: Batch | None = None
        self.held = False  # no commit is to begin
        self.released: list[Answer] = []  # may be given now; the core empties it
        self._touched: dict[Session, None] = {}  # rows that differ from the store's
        self._ended: list[bytes] = []
        self._stale: dict[
            str, None
        ] = {}  # groups whose candidate in the store is nobody's any more

    # ------------------------------------------------------------ sessions

    def touch(self, session: Session, now_ms: int, settled: int = 0) -> None:
        """*session* is in use, and its author has every answer up to *settled*; written with the next
        commit."""
        session.last_used_ms = max(session.last_used_ms, now_ms)
        if settled > session.settled:
            session.settle(settled, self.limits.pinned_max)
        self._touched[session] = None

    def give_birth(self, session: Session, connection: int) -> None:
        """A new session; it is opened when it is durable."""
        self.sessions[session.id] = session
        self.open.born.append(session)
        self._touched[session] = None
        session.number = self._want()
        failed = Error(OVERLOADED, 0, "the store is full: no session can be opened; try later")
        self.answer(connection, SessionOpened(session.id), failed, session.number)

    def end(self, session: Session) -> None:
        """Let *session* go; the store is told with the next commit."""
        del self.sessions[session.id]
        self._touched.pop(session, None)
        self._ended.append(session.id)

    def is_pending(self, session: Session) -> bool:
        return session.number > self.durable

    # ------------------------------------------------------------ submissions

    def submit(
        self, connection: int, session: Session, label: str, group: Group | None,
        message: Submit, now_ms: int,
    ) -> None:  # fmt: skip
        """Judge *message* and assign it its place, or refuse it.  *group* is None when the
        channel has ended with an error.

        Raises:
            Violation: the author broke a rule or a limit; no place has been assigned.
            GroupGone: nothing has happened; end the channel, and submit without a group.
        """
        seq = message.seq
        follows = session.find(message.follows) if message.follows else None
        followed = (follows is not None and follows.position > 0) or (
            0 < message.follows == session.last_taken
        )
        self.touch(session, now_ms, message.settled)
        if session.knows(seq):
            self._repeat(connection, session, group, message)
            return
        if seq <= session.settled:
            raise Violation(OUT_OF_ORDER, f"seq {seq} was declared settled and came again")
        if group is None:
            self._refuse(connection, message, Refusal(CHANNEL_CLOSED, 0, "", 0))
            return
        if (
            session.count() >= self.limits.unsettled_max
            and session.unsettled() >= self.limits.unsettled_max
        ):
            raise Violation(
                TOO_MANY,
                f"{session.unsettled()} submissions are not settled; "
                f"this server keeps {self.limits.unsettled_max}",
            )
        refusal = None
        if message.follows and not followed:
            before = session.refusal(message.follows)
            number = before.number if before else follows.number if follows else 0
            refusal = Refusal(NOT_FOLLOWING, 0, group.name, number)
        elif message.condition == STRICT and message.seen != group.assigned_head:
            refusal = Refusal(NOT_HEAD, group.assigned_head, group.name, group.number)
        if refusal is None:
            self._append(connection, session, label, group, message, now_ms)
        else:
            session.refuse(seq, refusal)
            self._refuse(connection, message, refusal, session)

    def submit_run(
        self, connection: int, session: Session, label: str, group: Group,
        run: SubmitRun, now_ms: int,
    ) -> bool:  # fmt: skip
        """``submit`` all of *run* in one go, with one answer; whether that could be done.

        It cannot if something about one of them has to be judged: a name is known, or there are too many.
        Then none has been assigned its place: submit them one by one.
        """
        seqs = range(run.seq, run.seq + len(run.payloads))
        self.touch(session, now_ms, run.settled)
        room = self.limits.unsettled_max - len(seqs)
        if not session.is_new(seqs) or (session.count() > room and session.unsettled() > room):
            return False
        batch, number = self.open, self._want()
        self._begin(group)
        entries = group.append_run(session.id, run.seq, label, run.payloads, now_ms)
        batch.entries.setdefault(group, []).extend(entries)
        batch.size += sum([len(entry.encoded) for entry in entries])
        group.number = session.number = number
        position, head = entries[0].position, entries[-1].position
        batch.undo.append((session, seqs, None))
        batch.outcomes.setdefault(session, set()).update(seqs)
        session.put_run(seqs, position, group.name, number, run.seen)
        taken = TakenRun(run.seq, position, len(seqs))
        size = sum(map(len, run.payloads))
        self._hold(number, Answer(connection, run.channel, taken, head, None, size))
        return True

    def _repeat(
        self, connection: int, session: Session, group: Group | None, message: Submit
    ) -> None:
        """Answer a known name as it was answered before."""
        record, refusal = session.find(message.seq), session.refusal(message.seq)
        if record is not None and record.position and record.group == GONE and group is not None:
            raise GroupGone
        known = record.group if record else refusal.group if refusal else ""
        if known and group is not None and known != group.name:
            raise Violation(
                OUT_OF_ORDER,
                f"seq {message.seq} was submitted to group {known!r}, now to {group.name!r}",
            )
        if record is None:
            assert refusal is not None
            self._refuse(connection, message, refusal)
        elif record.position:
            self._take(connection, message, record.position, record.number)
        else:
            self._refuse(connection, message, Refusal(VOIDED, 0, "", record.number))

    def _append(
        self, connection: int, session: Session, label: str, group: Group,
        message: Submit, now_ms: int,
    ) -> None:  # fmt: skip
        batch, number, seq = self.open, self._want(), message.seq
        if not group.begun:
            self._begin(group)
        entry = group.append(session.id, seq, label, message.payload, now_ms)
        batch.entries.setdefault(group, []).append(entry)
        batch.size += len(entry.encoded)
        group.number = session.number = number
        batch.undo.append((session, (seq,), None))
        batch.outcomes.setdefault(session, set()).add(seq)
        session.take(seq, entry.position, group.name, number, message.seen)
        self._take(connection, message, entry.position, number)

    def _begin(self, group: Group) -> None:
        """The store is to have a row for it."""
        if not group.begun:
            group.begun = True
            self.open.new_groups.append(group)

    def _record(self, session: Session, seq: int, record: Record) -> None:
        """A lasting outcome, durable with the open batch."""
        self.open.undo.append((session, (seq,), session.find(seq)))
        self.open.outcomes.setdefault(session, set()).add(seq)
        session.put(seq, record)
        session.number = self.open.number
        self._touched[session] = None

    def _take(self, connection: int, message: Submit, position: int, number: int) -> None:
        taken, size = new(Taken, (message.seq, position)), len(message.payload)
        answer = new(Answer, (connection, message.channel, taken, position, None, size))
        self._hold(number, answer)

    def _refuse(
        self, connection: int, message: Submit, refusal: Refusal, session: Session | None = None
    ) -> None:
        """Refuse, behind the entries up to the head that refused.  *session*: where the refusal
        has been noted and must be forgotten if its batch is rolled back."""
        refused = Refused(message.seq, refusal.reason, refusal.head)
        size = len(message.payload)
        answer = Answer(connection, message.channel, refused, refusal.head, None, size)
        batch = self._hold(refusal.number, answer)
        if session is not None and batch is not None:
            batch.refusals.append((session, message.seq))

    def grant_turn(self, asked: Asked, group: Group) -> None:
        """Tell the holder of a turn to go on, behind all that is assigned: it is to see the head."""
        head = group.assigned_head
        granted = TurnGranted(asked.request, head)
        anew = TurnGranted(asked.request, 0)
        self._hold(group.number, Answer(asked.connection, asked.channel, granted, head, anew))

    # ------------------------------------------------------------ groups

    def put_chunk(self, group: Group, chunk: NewChunk) -> int:
        """Write the next chunk of *group*'s candidate; the number of its commit."""
        number = self._want()
        self._begin(group)
        self.open.chunks.append((group, chunk))
        self.open.size += len(chunk.data)
        return number

    def drop_candidate(self, group: Group) -> None:
        """*group* has no candidate any more; the store is told with the next commit."""
        candidate, group.candidate = group.candidate, None
        if candidate is not None and candidate.received:
            self.open.chunks = [row for row in self.open.chunks if row[0] is not group]
            self._stale[group.name] = None

    def trim(self, group: Group, trim: NewTrim) -> int:
        """Let *trim* happen, with the candidate as snapshot if it names one; the number of its commit."""
        number = group.number = self._want()
        candidate = None
        if trim.snapshot is not None:
            candidate, group.candidate = group.candidate, None
            if not group.assigned_head:
                group.undecided = number  # in a commit entries come before trims: none may follow
        self.open.trims.append((group, trim, candidate))
        group.assign_trim(trim)
        return number

    def delete(self, group: Group) -> int:
        """Let *group* be gone; the number of the commit.  What was taken in it stays taken."""
        number = group.undecided = self._want()
        self.drop_candidate(group)
        self.open.deleted.append(group)
        for session in self.sessions.values():
            for seq, record in session.taken_in(group.name):
                self._record(session, seq, record._replace(group=GONE))
        return number

    def hold(self, group: Group) -> int | None:
        """The place behind which *group*'s entries are still needed: an author whose submission is not
        settled is owed all behind what it had seen.

        All sessions are looked through only if that place may be above the floor: who says one right
        ``Trim`` after the other makes nobody wait.
        """
        holder = group.holder
        if holder is not None and self.sessions.get(holder.id) is holder:
            seen = holder.hold(group.name)
            if seen is not None and seen <= group.assigned_floor:
                return seen
        lowest, group.holder = None, None
        for session in self.sessions.values():
            seen = session.hold(group.name)
            if seen is not None and (lowest is None or seen < lowest):
                lowest, group.holder = seen, session
        return lowest

    def answer(
        self, connection: int, message: Message, instead: Message, number: int, size: int = 0
    ) -> None:
        """Tell *connection*, when batch *number* is decided."""
        self._hold(number, Answer(connection, 0, message, 0, instead, size))

    # ------------------------------------------------------------ outcomes

    def ask(self, connection: int, message: AskOutcome) -> None:
        """Answer what became of a name; a "no" is made final first.

        Raises:
            Violation: too many noes are promised in that session already.
        """
        session, seq = self.sessions.get(message.session), message.seq
        record = session.find(seq) if session else None
        if session is None or (record is None and seq <= session.settled):
            self._tell(connection, message, OUTCOME_EXPIRED, 0, 0)
            return
        if record is None:
            if session.voided() >= self.limits.pinned_max:
                raise Violation(TOO_MANY, "too many outcomes of this session have been asked for")
            session.unrefuse(seq)
            record = Record(0, "", self._want(), pinned=True, pin_number=self.open.number)
            self._record(session, seq, record)
        elif not record.pinned:
            record = record._replace(pinned=True, pin_number=self._want())
            self._record(session, seq, record)
        verdict = OUTCOME_TAKEN if record.position else OUTCOME_NO
        self._tell(connection, message, verdict, record.position, record.pin_number)

    def _tell(
        self, connection: int, message: AskOutcome, verdict: int, position: int, number: int
    ) -> None:
        outcome = Outcome(message.request, verdict, position)
        failed = Error(OVERLOADED, 0, "the store is full: the outcome cannot be settled; try later")
        self.answer(connection, outcome, failed, number)

    # ------------------------------------------------------------ durability

    def _want(self) -> int:
        self.open.wanted = True
        return self.open.number

    def _hold(self, number: int, answer: Answer) -> Batch | None:
        """Release *answer* when batch *number* is durable; returns that batch unless it is."""
        if number <= self.durable:
            self.released.append(answer)
            return None
        in_flight = self.in_flight
        batch = in_flight if in_flight and number <= in_flight.number else self.open
        batch.answers.append(answer)
        return batch

    def is_waiting(self) -> bool:
        """Whether somebody waits for a commit that could begin, if it is not held."""
        return self.in_flight is None and self.open.wanted

    def is_free(self) -> bool:
        """Whether a commit may begin."""
        return self.in_flight is None and not self.held

    def seal(self, *, force: bool = False) -> Commit | None:
        """The next commit, if none is outstanding and somebody waits for one (or *force* and
        there is anything to write at all)."""
        batch = self.open
        unwritten = self._touched or self._ended or self._stale
        if self.in_flight or not (batch.wanted or (force and unwritten)):
            return None
        batch.rows = [s for s in self._touched if self.sessions.get(s.id) is s]
        batch.ended = self._ended
        batch.stale = self._stale
        batch.dropped = []
        rows = []
        for session in batch.rows:
            rows.append(session.change(batch.outcomes.get(session, ())))
            if session.dropped:
                batch.dropped.append((session, session.dropped))
                session.dropped = ()
        self._touched, self._ended, self._stale = {}, [], {}
        self.in_flight, self.open = batch, Batch(batch.number + 1)
        return batch.commit(tuple(rows))

    def committed(self) -> Batch:
        """The outstanding commit is durable: publish, then release.  Returns what was in it."""
        batch = self.in_flight
        assert batch is not None, "Committed without an outstanding commit"
        self.in_flight, self.durable = None, batch.number
        for group in batch.new_groups:
            group.stored = True
        for group, entries in batch.entries.items():
            group.publish(entries)
        for group, trim, _ in batch.trims:
            group.publish_trim(trim)
        for group in batch.deleted:
            for session in self.sessions.values():
                session.forget_refusals(group.name)
        self.released += batch.answers
        return batch

    def failed(self) -> tuple[list[Group], list[Session]]:
        """The outstanding commit has not happened: take back everything since, newest first.

        Returns the groups that were rolled back and the sessions that never came to be.
        """
        failed = self.in_flight
        assert failed is not None, "CommitFailed without an outstanding commit"
        groups: dict[Group, None] = {}
        unborn: list[Session] = []
        for batch in (self.open, failed):
            for session, seqs, record in reversed(batch.undo):
                for seq in seqs:
                    session.put(seq, record)
                session.number = 0
            for session, seq in batch.refusals:
                session.unrefuse(seq)
            groups |= batch.groups()
            unborn += batch.born
        for group in groups:
            group.roll_back()
        self._take_back_candidates(failed)
        self._touched |= dict.fromkeys(failed.rows)
        for session, dropped in failed.dropped:
            for seq in dropped:
                session.drop(seq)
        self._ended = failed.ended + self._ended
        for session in unborn:
            self.sessions.pop(session.id, None)
            self._touched.pop(session, None)
        for answer in chain(failed.answers, self.open.answers):
            self.released += answer.taken_back()
        self.in_flight, self.open = None, Batch(self.open.number + 1)
        return list(groups), unborn

    def _take_back_candidates(self, failed: Batch) -> None:
        """A candidate that lost a chunk is lost; one that was whole and did not become the snapshot is
        one still, if who offered it is still there."""
        self._stale |= failed.stale
        holed = {group for group, _ in chain(failed.chunks, self.open.chunks)}
        for group in holed:
            group.candidate = None
            self._stale[group.name] = None
        for group, _, candidate in chain(failed.trims, self.open.trims):
            if candidate is None or group in holed:
                continue
            if group.candidate is None and candidate.owner in group.cursors:
                group.candidate = candidate
            else:
                self._stale[group.name] = None
