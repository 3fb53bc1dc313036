"""What is true in a simulated run, and the promises that everything is held against.

The truth is what has become durable, told by the disk itself.  It is folded by a second implementation
(``fold.py``).  Promises are numbered as in issue 3 and ``docs/simulation.md``; a broken one is a
``Violation``, raised at the first step that shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from score_server.stores.base import Commit
from score_server.wire.entry import Entry, decode_entry
from score_server.wire.messages import (
    NOT_FOLLOWING,
    STRICT,
    Entries,
    Message,
    Refused,
    SessionOpened,
    Submit,
    Taken,
)

from .fold import MAP, STACK, VEC, Fold, Folded, plain

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
    "protocol": "nobody breaks the protocol, nothing raises what is not documented",
}

KINDS = {"m": MAP, "v": VEC, "s": STACK}


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


class Log:
    """The durable entries of one group, and what they mean."""

    def __init__(self, group: str) -> None:
        kind = KINDS[group[0]]
        self.fold = Fold(kind)
        self.entries: list[Entry] = []
        self.encoded: list[bytes] = []
        self.folded: dict[int, Folded] = {}
        self.durable_at: dict[int, float] = {}
        empty = plain(self.fold.root)
        self.contents: dict[int, Any] = {0: empty}
        self.nodes: dict[int, frozenset[tuple[int, int]]] = {0: frozenset({(0, 0)})}

    def contents_before(self, position: int) -> Any:
        """The content that the entry at *position* was applied to."""
        before = [p for p in self.contents if p < position]
        return self.contents[max(before)]

    @property
    def head(self) -> int:
        return self.entries[-1].position if self.entries else 0


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
        self.submissions: dict[Name, Submit] = {}
        self.noes: set[Name] = set()
        self.ever_durable: set[bytes] = set()  # sessions
        self.last_used_ms: dict[bytes, int] = {}
        self.calls: list[Call] = []
        # A restored backup is another history: what was promised before it is void, and views of the
        # old one stay what they are until their programs join again.
        self.era = 0
        self.old_logs: list[dict[str, Log]] = []
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
        return self.logs.setdefault(group, Log(group))

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

    def restored(self) -> None:
        """The disk's content has been replaced by a backup, which will be told as if it were new."""
        self.era += 1
        self.old_logs.append(self.logs)
        self.logs = {}
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
        for new in batch.entries:
            self._append(new.group, decode_entry(new.encoded), new.encoded)

    def _append(self, group: str, entry: Entry, encoded: bytes) -> None:
        log = self.log(group)
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
        folded = log.fold.apply(entry.payload, position)
        log.entries.append(entry)
        log.encoded.append(encoded)
        log.folded[position] = folded
        log.durable_at[position] = self.now
        log.contents[position], log.nodes[position] = folded.content, folded.nodes
        self.where[name] = (group, position)

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
        elif isinstance(message, Entries):
            for encoded in message.entries:
                entry = decode_entry(encoded)
                if (entry.session, entry.seq) not in self.where:
                    self.fail("P1", f"entry {entry.position} is sent and not durable")
        elif isinstance(message, Refused) and message.reason == NOT_FOLLOWING:
            assert session is not None
            follows = self.submissions[session, message.seq].follows
            if (session, follows) in self.where:
                self.fail("P3", f"seq {message.seq} refused although {follows} was taken")

    # ------------------------------------------------------------ calls

    def begin(self, client: str, what: str, group: str) -> Call:
        call = Call(len(self.calls), client, what, group, self.acknowledged.get(group, 0))
        call.begun, call.era = self.tick(), self.era
        self.calls.append(call)
        return call

    def tick(self) -> int:
        """The next moment."""
        self._moment += 1
        return self._moment

    def note_acknowledged(self, call: Call, position: int) -> None:
        """A call on a structure is over; its view stands at *position*."""
        call.at, call.ended = position, self.tick()
        if call.era != self.era:
            return
        if position < call.floor:
            self.fail("P5", f"{self.tell(call)} ended at {position}, before {call.floor}")
        if position > self.acknowledged.get(call.group, 0):
            self.acknowledged[call.group] = position

    def taken(self, call: Call) -> list[tuple[str, int]]:
        return [self.where[name] for name in call.names if name in self.where]

    def done(self, call: Call, answer: Answer, error: str | None, position: int) -> None:
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
        if at <= call.floor:
            self.fail("P5", f"{self.tell(call)} stands at {at}, before {call.floor}")
        if at > position:
            self.fail("P4", f"{self.tell(call)} stands at {at}, its view at {position}")
        self.note_acknowledged(call, position)
        folded = self.log(call.group).folded[at]
        if folded.failure != error:
            self.fail("P6", f"{self.tell(call)} at {at}: told {error}, the fold {folded.failure}")
        if error is None and answer is not None:
            extract, told = answer
            if extract is BEFORE:
                before = self.log(call.group).contents_before(at)
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
            if open_still and unused_ms < self.retention_ms:
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

    def check_view(self, group: str, position: int, content: Any, nodes: Any, where: str) -> None:
        """A replica stands at *position* and holds *content*."""
        log = self.log(group)
        if any(
            group in logs
            and logs[group].contents.get(position) == content
            and nodes in (None, logs[group].nodes[position])
            for logs in self.old_logs
        ):
            return
        if position not in log.contents:
            self.fail("P4", f"{where} of {group} stands at {position}; durable head {log.head}")
        if content != log.contents[position]:
            self.fail(
                "P4",
                f"{where} of {group} at {position} holds {content!r}, the fold gives "
                f"{log.contents[position]!r}",
            )
        if nodes is not None and nodes != log.nodes[position]:
            self.fail("P4", f"{where} of {group} at {position} has other nodes than the fold")

    def changes_after(self, group: str, position: int) -> list[int]:
        """The positions behind *position* of entries that changed something."""
        log = self.log(group)
        return [
            entry.position
            for entry in log.entries
            if entry.position > position and log.folded[entry.position].changed
        ]

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
