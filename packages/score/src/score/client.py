"""``Client``: one program's connection to a server, whatever happens to the socket below it.

Who owns what: the client owns the link (a socket and its conversation) and the session; a structure owns
its replica, and lends it for the length of a call.  Calls take turns under one lock, each in its caller's
thread, so a view moves only in a call of its owner.

Anything that leaves a call otherwise than by its answer (a deadline, Ctrl-C, a lost connection) drops
the link, whose state is then unknown; the next call makes a new one and resumes.  A submission that had been
sent by then is settled first: the server is asked what became of it, and a "no" is made final there.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Literal, NamedTuple, TypeVar, cast
from weakref import ref

from score_server.wire import messages as wire
from score_server.wire.codec import utf8_length
from ucore.base import Applied
from ucore.errors import LocalDivergenceError
from ucore.updatable import Update

from .blocking import Address, Deadline, Link, OperatingSystem, Surroundings, backoff_delays
from .conversation import ConnectionLost, SessionLost
from .errors import (
    ChangeTooLargeError,
    ClosedError,
    ConnectionFailed,
    DeadlineExceeded,
    GroupReplacedError,
    InvalidNameError,
    OutcomeUnknown,
    ScoreError,
    ServerError,
    SessionExpiredError,
    UsageError,
)
from .forks import PROCESS
from .replica import Replica
from .session import Session, parse_token

S = TypeVar("S")
T = TypeVar("T")

logger = logging.getLogger("score")

DEFAULT_TIMEOUT_S = 30.0
# Whose change, its payload, its condition, the position that its author judged by (None: where the view is
# when it gets its name), and what the payload says, if that is known.
Proposal = tuple[Replica, bytes, int, int | None, Update | None]

GOODBYE_S_MAX = 1.0  # closing is a courtesy: the server copes with clients that just vanish


class Group(NamedTuple):
    """A group on the server.

    Attributes:
        name: its name.
        position: the id of its latest durable change.
        floor: changes up to this one are in the snapshot alone; 0 if the log has them all.
        snapshot_position: the change that the snapshot holds everything up to; 0 without one.
        snapshot_bytes: the snapshot's size; 0 without one.
        tail_bytes: about the size of the log behind the snapshot.
        keep_history: nothing of its log is ever trimmed.
    """

    name: str
    position: int
    floor: int
    snapshot_position: int
    snapshot_bytes: int
    tail_bytes: int
    keep_history: bool


class Outcome(NamedTuple):
    """What became of a change.

    Attributes:
        verdict: "taken" (it stands in the group's order, once), "not taken" (and it never will be), or
            "expired" (nobody remembers).
        position: its id where it was taken, else None.
    """

    verdict: Literal["taken", "not taken", "expired"]
    position: int | None


class _Own(threading.local):
    """What belongs to the calling thread alone.

    Attributes:
        deadlines: those of the blocks that it is in.  Held weakly: a block that Ctrl-C ended at the wrong
            line leaves none behind.
    """

    deadlines: tuple[ref[Deadline], ...] = ()

    def moments(self) -> list[float]:
        """When the blocks end that end at all."""
        found = [held() for held in self.deadlines]
        return [d.at for d in found if d is not None and d.at is not None]


class _Until:
    """The block of ``Client.until``: a class, as a generator's context manager takes twice the calls."""

    __slots__ = ("_deadline", "_own")

    def __init__(self, own: _Own, deadline: Deadline) -> None:
        self._own = own
        self._deadline = deadline

    def __enter__(self) -> Deadline:
        self._own.deadlines += (ref(self._deadline),)
        return self._deadline

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        own, ended = self._own, (None, self._deadline)
        own.deadlines = tuple([held for held in own.deadlines if held() not in ended])


class Client:
    """A connection to a server.  Made by ``score.connect``; a context manager; thread-safe."""

    def __init__(
        self,
        url: str | None,
        timeout: float | None,
        name: str | None,
        wait: float,
        around: Surroundings | None = None,
    ) -> None:
        """See ``score.connect``; *around* is for simulations."""
        self._around = around or OperatingSystem()
        self._address = Address(url)
        self._label = _label(name)
        self._timeout = timeout
        self._own = _Own()
        self._on_close: Callable[[], None] | None = None
        self.closed = False
        self._random = self._around.random()
        self._link: Link | None
        self._begin_anew()
        usual = self.deadline_after(timeout)
        if usual.at is None:
            self._timeout = None  # what is as good as for ever, too
        first = usual if wait == 0 else self.deadline_after(wait)
        self._link = self._connect(first, patient=wait > 0)

    def _begin_anew(self) -> None:
        """No link, no session: at the start, and in a child after ``fork``."""
        self._generation = PROCESS.generation
        self._lock = threading.RLock()
        self._in_call = False
        self._link = None
        self._session = Session()

    # ------------------------------------------------------------ the user's methods

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._address.url

    @property
    def name(self) -> str:
        """The label that stands beside this client's changes."""
        return self._label

    @property
    def timeout(self) -> float | None:
        """Seconds that each blocking call may take; None for ever."""
        return self._timeout

    def ping(self) -> float:
        """Seconds for one round trip to the server."""

        def step(link: Link, deadline: Deadline) -> float:
            token = link.conversation.next_number()
            begun = self._around.monotonic()
            link.conversation.send(wire.Ping(token))
            link.ask(("ping", token), deadline)
            return self._around.monotonic() - begun

        return self.perform(step)

    def groups(self) -> list[Group]:
        """The groups that hold something, or once did, by name."""

        def step(link: Link, deadline: Deadline) -> list[Group]:
            found: list[Group] = []
            more = True
            while more:
                number = link.conversation.next_number()
                after = found[-1].name if found else ""
                link.conversation.send(wire.ListGroups(number, after))
                page = cast(wire.GroupPage, link.ask(("request", number), deadline))
                found += [_group(row) for row in page.groups]
                more = page.more and bool(page.groups)
            return found

        return self.perform(step)

    def delete(self, name: str) -> bool:
        """Remove the group *name* with all that it holds, durably and for good; whether there was one.

        (If the connection was lost meanwhile, the group may have been removed by this call and the answer be
        False.)  Whoever uses the group gets ``GroupDeletedError``, or ``GroupReplacedError`` where that was not
        connected at the moment; joining it again makes a new one.
        """

        def step(link: Link, deadline: Deadline) -> bool:
            number = link.conversation.next_number()
            link.conversation.send(wire.DeleteGroup(number, group))
            return cast(wire.GroupDeleted, link.ask(("request", number), deadline)).existed

        group = checked_name(name)
        return self.perform(step)

    def outcome(self, token: str) -> Outcome:
        """What became of the change that an ``OutcomeUnknown`` was raised for, here or elsewhere.

        The answer "not taken" is final: from then on the change cannot take effect any more.

        Raises:
            InvalidNameError: *token* is not the token of an ``OutcomeUnknown``.
        """
        session, seq = parse_token(token)
        return self.perform(lambda link, deadline: _ask_outcome(link, session, seq, deadline))

    @contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """In this block, in this thread, all calls together take at most *seconds*.

        Replaces the client's *timeout*, and bounds ``wait_for`` and watches as well; an inner block never extends an outer one.
        """
        with self.until(self.deadline_after(seconds)):
            yield

    def close(self) -> None:
        """End the connection; structures on it can be read, not changed.  Idempotent."""
        if self.closed:
            return
        self.closed = True
        # A thread that is in a call now, and for long, drops the link at its end (``_in_turn``).
        mine = self._link is not None and PROCESS.generation == self._generation
        if mine and self._lock.acquire(timeout=GOODBYE_S_MAX):
            try:
                self._say_goodbye()
            finally:
                self._drop()
                self._lock.release()
        if self._on_close is not None:
            self._on_close()

    def _say_goodbye(self) -> None:
        """A courtesy: the server copes with clients that just vanish."""
        if self._link is None or self._session.pending is not None:
            return
        try:
            self._link.conversation.bye(self._session.settled)
            self._link.flush(self.deadline_after(GOODBYE_S_MAX))
        except Exception:
            logger.debug("no orderly goodbye to %s", self.url, exc_info=True)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<score.Client {self.url}{' (closed)' if self.closed else ''}>"

    def __reduce__(self) -> str:
        raise TypeError(
            "a Client cannot be pickled: pass its url, and connect in the other process"
        )

    # ------------------------------------------------------------ for structures

    def as_one_call(self) -> _Until:
        """All calls in this block, in this thread, share the deadline that one of them would have."""
        return _Until(self._own, self._deadline())

    def sync(self, replica: Replica) -> None:
        """Bring *replica* up to what was durable when the server got the question."""
        self._catch_up(replica, wire.Sync)

    def take_turn(self, replica: Replica) -> None:
        """Wait in line until *replica*'s group waits for this client; it is then up to date.

        The turn ends with the next submission of *replica*, with ``end_turn``, or with its lease.
        """
        self._catch_up(replica, wire.AskTurn)

    def _catch_up(self, replica: Replica, question: type[wire.Sync] | type[wire.AskTurn]) -> None:
        """Ask *question* on *replica*'s channel; every entry up to its answer comes before it."""

        def step(link: Link, deadline: Deadline) -> None:
            channel = join(link, replica, deadline)
            number = link.conversation.next_number()
            link.conversation.send(question(channel, number))
            link.ask(("request", number), deadline, channel)

        self.perform(step)
        if replica.failure is not None:
            raise replica.failure

    def end_turn(self, replica: Replica) -> None:
        """Give a turn back without a submission.  A courtesy, and so without errors: its lease would
        end it as well, and what went wrong before is what the caller has to hear of."""

        def step(link: Link, deadline: Deadline) -> None:
            channel = link.conversation.channel_of(replica)
            if channel is not None:
                link.conversation.send(wire.EndTurn(channel))
                link.flush(deadline)

        with suppress(ScoreError):
            self.perform(step)

    def submit(
        self, replica: Replica, payload: bytes, condition: int, update: Update | None = None
    ) -> Applied | wire.Refused:
        """Bring a change into the order, exactly once; what applying it gave, or the refusal.

        *update*: what *payload* says, if it is at hand.

        Raises:
            OutcomeUnknown: sent, but not answered (by the deadline, or for the reason in ``__cause__``).
            DeadlineExceeded: not even sent by the deadline.
            ScoreError: others, by culprit; nothing was changed, unless they say so.
        """
        deadline = self._deadline()
        seen = (
            replica.position if condition == wire.STRICT else None
        )  # by its author, who judged then
        proposal = (replica, payload, condition, seen, update)
        return self._in_turn(self._submit_named, proposal, deadline)

    def _submit_named(self, proposal: Proposal, deadline: Deadline) -> Applied | wire.Refused:
        """Name *proposal*, and wait for its answer."""
        session = self._session
        try:
            return self._persist(self._submit_on, proposal, deadline)
        except (
            DeadlineExceeded,
            ServerError,
            GroupReplacedError,
            LocalDivergenceError,
            ClosedError,
        ) as error:
            # Whatever went wrong after the bytes had left: the answer is what is missing.
            if session.pending is not None and session.pending.sent:
                raise OutcomeUnknown(session.token(), proposal[0].group) from error
            raise
        finally:
            if session.pending is not None:
                session.withdraw()

    def _submit_on(
        self, proposal: Proposal, link: Link, deadline: Deadline
    ) -> Applied | wire.Refused:
        replica, payload, condition, seen, update = proposal
        session, conversation = self._session, link.conversation
        if replica.failure is not None and session.pending is None:
            raise replica.failure
        change_bytes_max = conversation.limits.change_bytes_max
        if len(payload) > change_bytes_max:
            raise ChangeTooLargeError(len(payload), change_bytes_max)
        identity = conversation.session or self._open_session(link, deadline)
        channel = join(link, replica, deadline)
        pending = session.pending or session.name(
            replica.group, replica.tree.position if seen is None else seen, condition, payload
        )
        seq = pending.seq
        replica.expect(identity, seq, payload, update)
        conversation.send(pending.message(channel))
        pending.sent = True  # before the bytes leave, so that an interrupt errs on the safe side
        answer = link.ask(("submit", seq), deadline, channel)
        if isinstance(answer, wire.Taken):
            if replica.tree.position < answer.position:
                ended = conversation.error_on(channel)
                if ended is not None:
                    raise ended  # the entry does not come on this channel any more
            applied = replica.own(
                answer.position
            )  # first: what it gave may be lost, the outcome is not
            session.answered()
            return applied
        refused = cast(wire.Refused, answer)
        if refused.reason == wire.CHANNEL_CLOSED:
            error = conversation.error_on(channel)
            if not isinstance(error, ConnectionLost):  # else the same name again, once it is cured
                session.answered()
            if error is not None:
                raise error
        session.answered()
        return refused

    def another(self) -> Client:
        """A client of its own, connected to the same server, for which it waits as long as a call may; its
        user closes it."""
        return Client(self.url, self._timeout, self._label, self._timeout or 0, self._around)

    def open_link(self, deadline: Deadline, features: Sequence[str] = ()) -> Link:
        """A further connection, for a watch; its owner closes it.  Tries until *deadline*."""
        if self.closed:
            raise self._closed_error()
        return self._connect(deadline, patient=True, features=features)

    def deadline_within(self, seconds: float | None) -> Deadline:
        """As ``deadline_after``, but no later than the ``deadline`` blocks around it allow."""
        own = self.deadline_after(seconds).at
        moments = self._own.moments() if own is None else [own, *self._own.moments()]
        return Deadline(min(moments, default=None), self._around.monotonic)

    def deadline_after(self, seconds: float | None) -> Deadline:
        """The moment *seconds* from now, by this client's clock; None is never."""
        return Deadline.after(seconds, self._around.monotonic)

    # ------------------------------------------------------------ calls

    def until(self, deadline: Deadline) -> _Until:
        """All calls in this block, in this thread, end at *deadline* at the latest."""
        return _Until(self._own, deadline)

    def _deadline(self) -> Deadline:
        """Of a call that begins now."""
        clock = self._around.monotonic
        if self._own.deadlines and (moments := self._own.moments()):
            return Deadline(min(moments), clock)
        return Deadline(None if self._timeout is None else clock() + self._timeout, clock)

    def _in_turn(self, work: Callable[[S, Deadline], T], subject: S, deadline: Deadline) -> T:
        """Do *work* with *subject* in this thread's turn on the link, with no submission left open."""
        if self.closed:
            raise self._closed_error()
        if PROCESS.generation != self._generation:
            self._begin_anew()  # the parent's socket and session stay the parent's
        left = deadline.remaining()
        lock = self._lock
        try:
            if not lock.acquire(timeout=-1 if left is None else left):
                raise DeadlineExceeded(
                    "the deadline passed while another thread used this client; nothing was changed "
                    "(a thread that needs its own pace makes its own client)"
                )
            if self.closed:  # by another thread, while this one waited
                raise self._closed_error()
            # Still said after a call that an error ended, so who says it has to be looked for.
            if self._in_call and _is_under_way(Client._in_turn, self):
                raise _call_within_call()
            self._in_call = True
            if self._session.pending is not None:
                self._settle(deadline)
            result = work(subject, deadline)
            self._in_call = False
            return result
        finally:
            # An RLock knows whether this thread holds it, so that no Ctrl-C can come between taking
            # it and having noted so.
            try:
                lock.release()
            except RuntimeError:
                pass  # it was not taken
            else:
                if self.closed:  # meanwhile, by another thread, which could not wait
                    self._drop()  # type: ignore[unreachable]

    def perform(self, step: Callable[[Link, Deadline], T]) -> T:
        """One call: *step* on the link, by the deadline of this moment; again from its beginning, on a new
        link, if the link was lost."""
        return self._in_turn(self._perform, step, self._deadline())

    def _perform(self, step: Callable[[Link, Deadline], T], deadline: Deadline) -> T:
        return self._persist(_do, step, deadline)

    def _persist(self, step: Callable[[S, Link, Deadline], T], subject: S, deadline: Deadline) -> T:
        """Do *step* with *subject* on a link, on a new one after each that is lost, until *deadline*."""
        delays: Iterator[float] | None = None
        while True:
            try:
                if self.closed:
                    raise self._closed_error()
                link = self._link
                if link is None:
                    link = self._link = self._connect(deadline, patient=True)
                return step(subject, link, deadline)
            except ConnectionLost as lost:
                self._drop()
                logger.warning("connection to %s lost (%s); connecting again", self.url, lost)
                delays = delays or self.delays()
                self.pause(next(delays), deadline)
            except SessionLost as error:
                self._drop()
                pending = self._session.pending
                self._session.expired()
                if pending is not None and pending.sent:
                    raise SessionExpiredError(
                        f"the server no longer knows this client's session ({error}); whether the "
                        f"last change of group {pending.group!r} took effect cannot be learned"
                    ) from error
            except BaseException:
                self._drop()
                raise

    def _settle(self, deadline: Deadline) -> None:
        """Learn what became of a submission that an earlier call had to leave open."""
        self._session.withdraw()
        pending, identity = self._session.pending, self._session.id
        if pending is None:
            return
        if identity is None:  # the session expired, and an interrupt kept that from being noted
            self._session.answered()
            return
        outcome = self._persist(
            _do,
            lambda link, deadline: _ask_outcome(link, identity, pending.seq, deadline),
            deadline,
        )
        logger.info("the change of group %r left open before: %s", pending.group, outcome.verdict)
        self._session.answered()

    def _open_session(self, link: Link, deadline: Deadline) -> bytes:
        link.conversation.send(wire.OpenSession(self._session.id))
        opened = cast(wire.SessionOpened, link.ask(("session", 0), deadline))
        self._session.id = opened.session
        return opened.session

    # ------------------------------------------------------------ the link

    def _connect(self, deadline: Deadline, *, patient: bool, features: Sequence[str] = ()) -> Link:
        delays = self.delays()
        failed: ConnectionFailed | None = None
        while True:
            try:
                if failed is not None:
                    self.pause(next(delays), deadline)
                return Link(self._around, self._address, self._label, deadline, features)
            except ConnectionLost as error:
                failed = ConnectionFailed(
                    f"{error}; is the address right, and is a score-server running there? (start one "
                    f"there with: score-server --listen {self._address} --store sqlite:///FILE)"
                )
                if not patient:
                    raise failed from error
                logger.debug("%s", error)
            except DeadlineExceeded as error:
                if failed is None:
                    raise
                raise DeadlineExceeded(f"{failed}; nothing was changed") from error

    def delays(self) -> Iterator[float]:
        """Seconds to pause before each further attempt to connect."""
        return backoff_delays(self._random)

    def pause(self, seconds: float, deadline: Deadline) -> None:
        """Wait *seconds*, or until *deadline*."""
        left = deadline.remaining()
        self._around.sleep(seconds if left is None else min(seconds, left))

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def _closed_error(self) -> ClosedError:
        return ClosedError(f"the client of {self.url} is closed; score.connect() makes a new one")


def _do(step: Callable[[Link, Deadline], T], link: Link, deadline: Deadline) -> T:
    return step(link, deadline)


def join(link: Link, replica: Replica, deadline: Deadline) -> int:
    """*replica*'s channel on *link*: the one it has, or a new one from where it stands."""
    conversation = link.conversation
    suspect = replica.suspect
    # Perhaps a watch is applying something at this very moment, further out.
    if (suspect or replica.receiving) and any(_is_under_way(m, replica) for m in _APPLYING):
        raise _call_within_call()
    if suspect:
        replica.reset()
    channel = conversation.channel_of(replica)
    if channel is not None:
        conversation.check(channel)
    else:
        channel = conversation.join(replica)
        link.ask(("joined", channel), deadline, channel)
    return channel


_APPLYING = (Replica.receive_all, Replica.receive_chunk)


def _is_under_way(method: Callable[..., object], subject: object) -> bool:
    """Whether *method* of *subject* runs in this thread, further out than who asks."""
    code = method.__code__
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code is code and frame.f_locals.get("self") is subject:
            return True
        frame = frame.f_back
    return False


def _call_within_call() -> UsageError:
    return UsageError(
        "this was called in the middle of another call of the same client in this thread (by a signal handler, "
        "a __del__, a log handler or the like); nothing was changed. Note there what is to be done and do it "
        "after that call, or use another client and its own structures"
    )


def checked_name(group: str) -> str:
    """*group*, if it can be a group's name.

    Raises:
        TypeError, InvalidNameError: it cannot.
    """
    if not isinstance(group, str):
        raise TypeError(f"a group's name is text, not {group!r}")
    try:
        size = len(group.encode())
    except UnicodeEncodeError:
        raise InvalidNameError(f"{group!r} is not a group's name: lone surrogates") from None
    if not 1 <= size <= 255:
        raise InvalidNameError(f"a group's name has 1 to 255 bytes; {group[:40]!r}... has {size}")
    return group


def _group(row: list[object]) -> Group:
    name, _, head, floor, place, tail, size, keep = cast(
        "tuple[str, bytes, int, int, int, int, int, bool]", row
    )
    return Group(name, head, floor, place, size, tail, keep)


def _ask_outcome(link: Link, session: bytes, seq: int, deadline: Deadline) -> Outcome:
    number = link.conversation.next_number()
    link.conversation.send(wire.AskOutcome(number, session, seq))
    answer = cast(wire.Outcome, link.ask(("request", number), deadline))
    if answer.verdict == wire.OUTCOME_TAKEN:
        return Outcome("taken", answer.position)
    return Outcome("not taken" if answer.verdict == wire.OUTCOME_NO else "expired", None)


def _label(name: str | None) -> str:
    if name is None:
        return f"pid {os.getpid()}"
    if not isinstance(name, str) or not 0 <= utf8_length(name) <= 255:
        raise InvalidNameError(f"name={name!r}: a client's label is text of up to 255 bytes")
    return name


def connect(
    url: str | None = None,
    *,
    timeout: float | None = DEFAULT_TIMEOUT_S,
    name: str | None = None,
    wait: float = 0,
) -> Client:
    """Connect to a server.

    Args:
        url: ``score://host:port``; None for ``$SCORE_URL``, and without that
            ``score://127.0.0.1:7737``.
        timeout: seconds that each blocking call may take, connecting again included; None for ever.
        name: a label of up to 255 bytes that stands beside this client's changes in the log.
        wait: seconds to keep trying if the server is not there yet; 0 fails at once.

    Raises:
        ConnectionFailed: nobody listens there.
        DeadlineExceeded: nobody did for *wait* seconds, or the server did not answer in time.
        InvalidUrlError, InvalidNameError, ProtocolError, ServerBusyError: as named.
    """
    return Client(url, timeout, name, wait)
