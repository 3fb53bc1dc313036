"""What is true in a simulated run, and the promises that everything is held against.

The truth is what has become durable, told by the disk itself.  It is folded by a second implementation
(``fold.py``).  Promises are numbered as in issue 3 and ``docs/simulation.md``; a broken one is a
``Violation``, raised at the first step that shows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from score_server.stores.base import Commit
from score_server.wire.entry import Entry, decode_entry
from score_server.wire.messages import (
    NOT_FOLLOWING,
    STRICT,
    Entries,
    Joined,
    Message,
    Refused,
    SessionOpened,
    SnapshotChunk,
    Submit,
    Taken,
)

from .group_log import Broken, Log
from .served import Channel

if TYPE_CHECKING:
    from .world import World

Name = tuple[bytes, int]
# What a mutator told its caller, and how that is found in the results of the fold.
Answer = tuple[Callable[[list[Any]], Any], Any] | None

PROMISES = {
    "P1": "an acknowledged change survives",
    "P2": "a submission takes effect at most once, and its outcome can be learned",
    "P3": "a strict change was accepted when its seen id was the head",
    "P4": "every replica is the fold of a gap-free prefix, and answers are those of the fold",
    "P5": "what returned before another began stands before it",
    "P6": "what was refused never takes effect; a failed intent changes nothing",
    "P7": "an unknown outcome resolves to exactly one answer",
    "P8": "once faults stop and each client has synced, all replicas are equal",
    "asks": "snapshots are asked for where a log has grown long, and then made",
    "rests": "who makes snapshots rests in between, and not for longer than it may",
    "protocol": "nobody breaks the protocol, nothing raises what is not documented",
}


def BEFORE(results: list[Any]) -> Any:
    """Marks an ``Answer`` that is a judgement of the content that the change was applied to."""
    return results


class Violation(AssertionError):
    """A promise was broken.  *promise* is a key of ``PROMISES``."""

    def __init__(self, promise: str, text: str) -> None:
        super().__init__(f"{promise} ({PROMISES[promise]}): {text}")
        self.promise = promise
        self.text = text
        self.world: World | None = None  # the run


@dataclass
class Call:
    """One call of a client's program: what it was, and what it was told."""

    number: int
    client: str
    what: str
    group: str
    floor: int
    names: list[Name] = field(default_factory=list)  # the submissions made for it, in order
    state: str = "running"  # done, failed, nothing, unknown, died
    token: str | None = None
    # For the history checker: moments by ``Oracle.tick``, which view it was on, and where that was then.
    begun: int = 0
    ended: int | None = None
    view: int = 0
    at: int | None = None
    is_sync: bool = False
    era: int = 0  # how many backups had been restored
    deletions: int = 0  # how often the group had been deleted


class Oracle:
    """All that was promised, and all that is so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.clock_ms = 0
        self.retention_ms = 0
        self.forgets = False  # outcomes may go before the retention, for want of room
        # An answer may be judged later than it was given, and a connection be fenced between.
        self.answers_wait = False
        self.logs: dict[str, Log] = {}
        self.where: dict[Name, tuple[str, int]] = {}
        self.log_of: dict[Name, Log] = {}
        self.submissions: dict[Name, Submit] = {}
        self.noes: set[Name] = set()
        self.ever_durable: set[bytes] = set()  # sessions
        self.last_used_ms: dict[bytes, int] = {}
        self.calls: list[Call] = []
        # A restored backup is another history: what was promised before it is void, and views of the
        # old one stay what they are until their programs join again.
        self.era = 0
        # What was replaced so, and what was deleted: views of it may still be there.
        self.past: list[Log] = []
        self.known: dict[bytes, Log] = {}  # incarnation -> its log, deleted or not
        self.deletions: Counter[str] = Counter()
        self.imports = 0
        self.spoilt: set[str] = (
            set()
        )  # groups whose snapshots have ever rotted unnoticed by the store
        self.unsettled: dict[bytes, dict[int, tuple[str, int]]] = {}  # -> what it had seen where
        self.channels: dict[tuple[int, int], Channel] = {}
        self.asked: list[tuple[int, Name, str, int | None]] = []
        self._moment = 0
        self.acknowledged: dict[str, int] = {}
        self.incarnations: dict[str, bytes] = {}
        self.burnt: set[tuple[bytes, int]] = set()  # positions of commits that failed
        self.holders: dict[bytes, int] = {}  # session -> its newest connection
        self.verdicts: dict[str, tuple[str, int | None]] = {}

    def fail(self, promise: str, text: str) -> NoReturn:
        raise Violation(promise, text)

    def log(self, group: str) -> Log:
        """The group as it is; one that is not is empty."""
        return self.logs.get(group) or Log(group)

    @contextmanager
    def _judging(self) -> Iterator[None]:
        try:
            yield
        except Broken as broken:
            self.fail(broken.promise, broken.text)

    # ------------------------------------------------------------ the server and its disk

    def submitted(self, session: bytes, message: Submit) -> None:
        """The server has read a submission."""
        first = self.submissions.setdefault((session, message.seq), message)
        if (first.payload, first.condition) != (message.payload, message.condition):
            self.fail("P2", f"seq {message.seq} was sent again with another content")

    def server_starts(self) -> None:
        """What only a server's memory knows is forgotten."""
        self.burnt.clear()
        self.holders.clear()
        self.channels.clear()

    def restored(self) -> None:
        """The disk's content has been replaced by a backup, which will be told as if it were new."""
        self.era += 1
        self.past += self.logs.values()
        self.logs = {}
        self.known.clear()
        self.unsettled.clear()
        self.where.clear()
        self.noes.clear()
        self.verdicts.clear()
        self.acknowledged.clear()
        self.last_used_ms.clear()

    def write_failed(self, batch: Commit) -> None:
        """A commit has failed cleanly."""
        incarnations = self.incarnations | _incarnations(batch)
        for new in batch.entries:
            self.burnt.add((incarnations[new.group], new.position))

    def durable(self, batch: Commit) -> None:
        """A commit cannot be lost any more."""
        for change in batch.sessions:
            self.ever_durable.add(change.session)
            self.last_used_ms[change.session] = max(
                change.last_used_ms, self.last_used_ms.get(change.session, 0)
            )
        self.incarnations |= _incarnations(batch)
        with self._judging():
            self._take_in(batch)

    def _take_in(self, batch: Commit) -> None:
        for name, incarnation, keep in batch.new_groups:
            log = self.logs[name] = self.known[incarnation] = Log(name, incarnation, keep=keep)
            log.begun = self.tick()
        for new in batch.entries:
            self._append(new.group, decode_entry(new.encoded), new.encoded)
        for name in batch.dropped_candidates:
            self.log(name).drop_candidate()
        for chunk in batch.chunks:
            self.logs[chunk.group].take_chunk(chunk)
        for change in batch.sessions:
            owed = self.unsettled.setdefault(change.session, {})
            self.unsettled[change.session] = {n: o for n, o in owed.items() if n > change.settled}
        for session in batch.ended_sessions:
            self.unsettled.pop(session, None)
        for trim in batch.trims:
            log = self.logs[trim.group]
            log.trim(trim, self._hold(trim.group))
            self.imports += log.base > 0
        for name in batch.deleted_groups:
            self.past.append(self.logs.pop(name))
            self.deletions[name] += 1
            self.acknowledged.pop(name, None)
            for owed in self.unsettled.values():
                for seq in [seq for seq, (group, _) in owed.items() if group == name]:
                    del owed[seq]
        for change in batch.sessions:
            owed = self.unsettled.setdefault(change.session, {})
            for outcome in change.outcomes:
                if outcome.position and outcome.group and outcome.seq > change.settled:
                    owed[outcome.seq] = outcome.group, outcome.seen
        for session in batch.ended_sessions:
            self.unsettled.pop(session, None)

    def _hold(self, group: str) -> int | None:
        """The least that the author of something that was taken before had seen."""
        owed = [o for session in self.unsettled.values() for o in session.values()]
        return min((seen for name, seen in owed if name == group), default=None)

    def _append(self, group: str, entry: Entry, encoded: bytes) -> None:
        log = self.logs[group]
        name, position = (entry.session, entry.seq), entry.position
        if entry.predecessor != log.head or position <= log.head:
            self.fail("P4", f"{group} {position} follows {entry.predecessor}, not {log.head}")
        if (self.incarnations[group], position) in self.burnt:
            self.fail("P4", f"{group} {position} is used again after a commit that failed")
        if name in self.where:
            self.fail("P2", f"{_text(name)} stands at {self.where[name]} and at {group} {position}")
        if name in self.noes:
            self.fail("P7", f"{_text(name)} was declared not taken, and is now {group} {position}")
        message = self.submissions.get(name)
        if message is None:
            self.fail("P2", f"{group} {position} was submitted by nobody ({_text(name)})")
        if message.payload != entry.payload:
            self.fail("P4", f"{group} {position} is not what was submitted")
        if message.condition == STRICT and message.seen != log.head:
            self.fail("P3", f"{group} {position} had seen {message.seen}, the head was {log.head}")
        if message.follows and (entry.session, message.follows) not in self.where:
            self.fail("P3", f"{group} {position} follows seq {message.follows}, which is not taken")
        log.append(entry, encoded, self.now)
        self.where[name] = (group, position)
        self.log_of[name] = log

    def answered(self, session: bytes | None, connection: int, message: Message) -> None:
        """The server sends *message* on *connection*."""
        if isinstance(message, SessionOpened):
            self.holders[message.session] = connection
        if isinstance(message, Taken | Refused) and session is not None:
            if self.holders[session] != connection and not self.answers_wait:
                self.fail("P2", f"connection {connection} is answered, though fenced: {message}")
        if isinstance(message, Taken):
            assert session is not None
            place = self.where.get((session, message.seq))
            if place is None or place[1] != message.position:
                self.fail("P1", f"{message} is said, but what is durable is {place}")
        elif isinstance(message, Joined | SnapshotChunk | Entries):
            with self._judging():
                self._served(connection, message)
        elif isinstance(message, Refused) and message.reason == NOT_FOLLOWING:
            assert session is not None
            follows = self.submissions[session, message.seq].follows
            if (session, follows) in self.where:
                self.fail("P3", f"seq {message.seq} refused although {follows} was taken")

    def _served(self, connection: int, message: Joined | SnapshotChunk | Entries) -> None:
        place = connection, message.channel
        if isinstance(message, Joined):
            known = self.known.get(message.incarnation)
            self.channels[place] = Channel(known, message, is_prompt=not self.answers_wait)
            return
        channel = self.channels[place]
        log = self.known.get(channel.incarnation)
        if log is None:
            self.fail("P1", f"{message} is sent, and nothing of that group is durable")
        if log is not self.logs.get(log.group) and not self.answers_wait:
            self.fail("P6", f"{message} is sent of a group that was deleted")
        if isinstance(message, SnapshotChunk):
            channel.chunk(log, message)
        else:
            channel.entries(log, message)

    # ------------------------------------------------------------ calls

    def begin(self, client: str, what: str, group: str) -> Call:
        call = Call(len(self.calls), client, what, group, self.acknowledged.get(group, 0))
        call.begun, call.era = self.tick(), self.era
        call.deletions = self.deletions[group]
        self.calls.append(call)
        return call

    def tick(self) -> int:
        """The next moment."""
        self._moment += 1
        return self._moment

    def is_of_now(self, call: Call) -> bool:
        """Whether the group of *call* is the one that it was when that began."""
        return (call.era, call.deletions) == (self.era, self.deletions[call.group])

    def note_acknowledged(self, call: Call, position: int, incarnation: bytes | None) -> None:
        """A call on a structure is over; its view stands at *position* of *incarnation*."""
        call.at, call.ended = position, self.tick()
        log = self.known.get(incarnation or b"")
        if log is not None and log.gone is not None and log.gone < call.begun:
            self.fail("P6", f"{self.tell(call)} ended at {position} of a group that was deleted")
        if not self.is_of_now(call):
            return
        if position < call.floor:
            self.fail("P5", f"{self.tell(call)} ended at {position}, before {call.floor}")
        if position > self.acknowledged.get(call.group, 0):
            self.acknowledged[call.group] = position

    def trimmed(self, call: Call, position: int, digest: bytes | None, floor: int) -> None:
        """Somebody was told that there is a snapshot at *position*, and that the floor is *floor*."""
        log = self.logs.get(call.group)
        if log is None or not self.is_of_now(call):
            return
        found = log.snapshots.get(position)
        if found is None or (digest is not None and found.state.digest != digest):
            self.fail(
                "P1", f"{self.tell(call)}: its snapshot of {position} is not durable: {found}"
            )
        if floor > log.floor:
            self.fail("P1", f"{self.tell(call)} was told of the floor {floor}, it is {log.floor}")

    def deleted(self, call: Call, *, existed: bool) -> None:
        """Somebody was told that the group is gone."""
        call.ended = self.tick()
        if call.era != self.era:
            return
        log = self.logs.get(call.group)
        if existed and self.is_of_now(call):
            self.fail("P1", f"{self.tell(call)}: the group is still there")
        if not existed and log is not None and log.begun < call.begun:
            self.fail(
                "P6", f"{self.tell(call)}: was told that there is no group; it is at {log.head}"
            )
        for gone in self.past:
            if gone.group == call.group and gone.gone is None and gone is not log:
                gone.gone = call.ended

    def taken(self, call: Call) -> list[tuple[str, int]]:
        return [self.where[name] for name in call.names if name in self.where]

    def done(
        self, call: Call, answer: Answer, error: str | None, position: int,
        incarnation: bytes | None = None,
    ) -> None:  # fmt: skip
        """A mutator has returned *answer*, or raised *error*, the failure where it landed."""
        call.state = "failed" if error else "done"
        if not call.names or call.era != self.era:
            return  # nothing had to be sent, or its history is no more
        taken = self.taken(call)
        if not taken:
            self.fail("P1", f"{self.tell(call)} was acknowledged and is not durable")
        if len(taken) > 1:
            self.fail("P2", f"{self.tell(call)} took effect {len(taken)} times: {taken}")
        at = taken[0][1]
        log = next(self.log_of[name] for name in call.names if name in self.where)
        if at <= call.floor and self.is_of_now(call):
            self.fail("P5", f"{self.tell(call)} stands at {at}, before {call.floor}")
        if at > position:
            self.fail("P4", f"{self.tell(call)} stands at {at}, its view at {position}")
        self.note_acknowledged(call, position, incarnation)
        folded = log.folded[at]
        if folded.failure != error:
            self.fail("P6", f"{self.tell(call)} at {at}: told {error}, the fold {folded.failure}")
        if error is None and answer is not None:
            extract, told = answer
            if extract is BEFORE:
                before = log.contents_before(at)
                if not told(before):
                    self.fail("P3", f"{self.tell(call)} was meant for another state than {before}")
            elif told != extract(folded.results):
                self.fail("P4", f"{self.tell(call)} returned {told}, the fold {folded.results}")

    def nothing(self, call: Call, error: str) -> None:
        """A call has raised an error that says that nothing was changed."""
        call.state = "nothing"
        call.what += f" [{error}]"
        self.check_nothing(call)

    def check_nothing(self, call: Call) -> None:
        taken = self.taken(call)
        if taken and call.era == self.era:
            self.fail("P6", f"{self.tell(call)} said nothing was changed; it stands at {taken}")

    def resolved(self, call: Call, name: Name, verdict: str, position: int | None) -> None:
        """Somebody was told what became of *name*, a submission of *call*."""
        token = token_of(name)
        if call.era != self.era:
            return
        self.asked.append((self.tick(), name, verdict, position))
        before = self.verdicts.get(token)
        if verdict == "expired":
            if name[0] not in self.ever_durable:
                self.fail("P2", f"{token}: its session has never been durable")
            if name[0] not in self.last_used_ms:
                return  # issued in a history that is no more
            unused_ms = self.clock_ms - self.last_used_ms[name[0]]
            # Who has had an answer may have declared it settled, and then it is forgotten.
            open_still = call.state in ("unknown", "died") and name == call.names[-1]
            if self.forgets:
                return
            if (open_still or before is not None) and unused_ms < self.retention_ms:
                self.fail("P2", f"{token} expired after {unused_ms} of {self.retention_ms} ms")
            return
        if before is not None and before != (verdict, position):
            self.fail("P7", f"{token}: {before} first, now {(verdict, position)}")
        self.verdicts[token] = (verdict, position)
        place = self.where.get(name)
        if verdict == "taken":
            if place is None or place[1] != position:
                self.fail("P7", f"{token}: said to be taken at {position}, is at {place}")
        else:
            if place is not None:
                self.fail("P7", f"{token}: said not to be taken, stands at {place}")
            self.noes.add(name)

    def tell(self, call: Call) -> str:
        names = ", ".join(map(_text, call.names))
        return f"call {call.number} of {call.client}: {call.what} ({call.state}; {names})"

    # ------------------------------------------------------------ replicas

    def check_view(
        self,
        group: str,
        incarnation: bytes | None,
        position: int,
        content: Any,
        nodes: Any,
        where: str,
    ) -> None:
        """A replica stands at *position* of *incarnation*, and holds *content*."""
        now = self.logs.get(group)
        if position == 0:
            logs = [Log(group)]
        else:
            logs = [log for log in (*self.past, now) if log and log.incarnation == incarnation]
        logs = [log for log in logs if position in log.contents]
        if any(log.contents[position] == content and nodes == log.nodes[position] for log in logs):
            return
        if not logs:
            head = now.head if now else 0
            self.fail("P4", f"{where} of {group} stands at {position}; durable head {head}")
        fold = logs[-1].contents[position]
        if content != fold:
            self.fail(
                "P4", f"{where} of {group} at {position} holds {content!r}, the fold gives {fold!r}"
            )
        self.fail("P4", f"{where} of {group} at {position} has other nodes than the fold")

    def check_watch(
        self, log: Log, start: int, told: list[tuple[int, bool]], where: str
    ) -> list[int]:
        """What a watch behind *start* was *told*, each change or, True, that the view was loaded anew;
        the positions of changes that it was not told of."""
        missing = log.changes_after(start)
        for position, is_reload in told:
            if is_reload:
                if position not in log.snapshots or position <= start:
                    self.fail("P4", f"{where} was told to have been loaded anew at {position}")
                missing = [change for change in missing if change > position]
            elif not missing or missing.pop(0) != position:
                changes = log.changes_after(start)
                self.fail("P4", f"{where} was told of {told}; the changes were {changes}")
            start = position
        return missing

    def last_word(self) -> None:
        """At the end: what was said during the run must still be so."""
        for call in self.calls:
            if len(self.taken(call)) > 1 and call.era == self.era:
                self.fail("P2", f"{self.tell(call)} took effect twice: {self.taken(call)}")
            if call.state == "nothing":
                self.check_nothing(call)


def _incarnations(batch: Commit) -> dict[str, bytes]:
    return {group[0]: group[1] for group in batch.new_groups}


def _text(name: Name) -> str:
    return f"{name[0].hex()[:6]}-{name[1]}"


def token_of(name: Name) -> str:
    """The text by which ``Client.outcome`` asks for *name*."""
    return f"{name[0].hex()}-{name[1]}"
