"""Recording what a real program does: a ``Recorder`` around its ``score.Client``.

    with score.connect(url) as client, Recorder(client, "run/ada.jsonl", "ada") as recorder:
        stock = SMap[str, int](client, "stock")
        stock.increment("apples")
        recorder.state(stock)

It stands where structures meet their client: ``Client.submit``, ``Client.sync`` and ``Client.outcome`` are
covered by its own of the same names on that one object, and the session tells it each name that it gives.  A
client without one is not touched and pays nothing.

Each record is one unbuffered write, and a change's *call* is written before its bytes can leave, so that the
file of a program that was killed lacks nothing that others may have seen.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from itertools import count
from os import PathLike
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary

from score_server.wire import messages as wire
from ucore.base import Applied
from ucore.tree import Tree

from ..client import Client, Outcome
from ..replica import Replica
from ..session import Session, Submission, parse_token
from ..structures import Shared
from .history import Ask, Operation, Record, State, Sync, Told, to_line


class _NamingSession(Session):
    """A session that tells *recorder* the names that it gives and takes back."""

    __slots__ = ("_recorder",)

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def name(self, group: str, seen: int, condition: int, payload: bytes) -> Submission:
        pending = super().name(group, seen, condition, payload)
        self._recorder.named(pending)
        return pending

    def withdraw(self) -> None:
        pending = self.pending
        super().withdraw()
        if pending is not None and self.pending is None:
            self._recorder.withdrawn()


class _Call:
    """A submission that is being made."""

    __slots__ = ("begun", "number", "replica", "seen", "seq", "session", "strict", "view")

    def __init__(self, number: int, view: int, replica: Replica, strict: bool) -> None:
        self.begun = time.monotonic_ns()
        self.number, self.view, self.replica, self.strict = number, view, replica, strict
        self.seen = replica.position
        self.session: str | None = None
        self.seq: int | None = None

    def operation(self, told: Told, place: int | None = None) -> Operation:
        """What there is to say of it now."""
        replica = self.replica
        known = told != "unknown"
        return Operation(
            "", self.number, self.view, replica.group, self.begun, time.monotonic_ns(),
            self.session, self.seq, self.seen, self.strict, told, place,
            # A view whose call failed may be anywhere on its way: nobody has been shown it.
            replica.position if known and told != "unsent" else None,
            chain_of(replica) if known else None,
        )  # fmt: skip


class Recorder:
    """Writes what *client* does to the file *path*, behind what is there; *name* is the client's in the
    history, and unique there.  One for a client, made before its first change; ``close`` ends the recording.
    """

    def __init__(self, client: Client, path: str | PathLike[str], name: str) -> None:
        if client._session.id is not None:
            raise ValueError("a recording begins before its client's first change")
        self._client = client
        self._name = name
        self._file: int | None = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self._numbers, self._view_numbers = count(1), count(1)
        self._views: WeakKeyDictionary[Replica, int] = WeakKeyDictionary()
        self._here = threading.local()
        client._session = _NamingSession(self)
        # On the object, so that every other client keeps the methods of the class.
        vars(client).update(submit=self._submit, sync=self._sync, outcome=self._outcome)

    def close(self) -> None:
        """Record no more; the client goes on.  Idempotent."""
        if self._file is not None:
            for name in ("submit", "sync", "outcome"):
                del vars(self._client)[name]
            file, self._file = self._file, None
            os.close(file)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def state(self, structure: Shared, *, final: bool = False) -> None:
        """Record what *structure* holds now; *final*: nobody changes anything any more, and it was synced."""
        replica = structure._view.replica
        self._write(
            State(
                self._name,
                self._view(replica),
                replica.group,
                time.monotonic_ns(),
                replica.position,
                chain_of(replica),
                digest(replica.tree),
                final,
            )
        )

    # ------------------------------------------------------------ in the client's place

    def _submit(
        self, replica: Replica, payload: bytes, condition: int, *more: Any, **options: Any
    ) -> Applied | wire.Refused:
        strict = condition == wire.STRICT
        call = self._here.call = _Call(next(self._numbers), self._view(replica), replica, strict)
        try:
            answer = Client.submit(self._client, replica, payload, condition, *more, **options)
        except BaseException:
            # Without a name nothing has left; with one, the answer is what is missing.
            self._note(call.operation("unsent" if call.seq is None else "unknown"))
            raise
        if not isinstance(answer, wire.Refused):
            # The server sends no further than the answer, so the view stands at the change; were
            # that wrong, the checker would find another name there.
            told: Told = "taken" if answer.failure is None else "failed"
            self._note(call.operation(told, replica.position))
        elif answer.reason == wire.NOT_HEAD:
            self._note(call.operation("not head", answer.head))
        else:
            self._note(call.operation("refused"))
        return answer

    def _sync(self, replica: Replica) -> None:
        begun = time.monotonic_ns()
        Client.sync(self._client, replica)
        ended, at, view = time.monotonic_ns(), replica.position, self._view(replica)
        self._write(Sync(self._name, view, replica.group, begun, ended, at, chain_of(replica)))

    def _outcome(self, token: str) -> Outcome:
        begun = time.monotonic_ns()
        outcome = Client.outcome(self._client, token)
        session, seq = parse_token(token)
        ended = time.monotonic_ns()
        self._write(Ask(self._name, begun, ended, session.hex(), seq, *outcome))
        return outcome

    # ------------------------------------------------------------ names

    def named(self, pending: Submission) -> None:
        """This thread's call has got a name; its bytes have not left yet."""
        call, session = self._here.call, self._client._session.id
        assert session is not None
        call.session, call.seq, call.seen = session.hex(), pending.seq, pending.seen
        self._note(call.operation("unknown"), call=True)

    def withdrawn(self) -> None:
        """The name was not used, and will be somebody else's."""
        call = self._here.call
        call.session = call.seq = None

    # ------------------------------------------------------------ the file

    def _view(self, replica: Replica) -> int:
        number = self._views.get(replica)
        if number is None:
            number = self._views[replica] = next(self._view_numbers)
        return number

    def _note(self, operation: Operation, *, call: bool = False) -> None:
        ended = None if call else operation.ended
        self._write(operation._replace(client=self._name, ended=ended), call=call)

    def _write(self, record: Record, *, call: bool = False) -> None:
        if self._file is not None:
            os.write(self._file, to_line(record, call=call).encode())


def chain_of(replica: Replica) -> str | None:
    """The chain at the replica's position as text; None before the first change."""
    return replica._chain.hex() if replica.position and not replica.suspect else None


def digest(tree: Tree) -> str:
    """Equal for equal content with equal node ids, in equal order."""
    return hashlib.blake2b(repr(tree.dump()[3]).encode(), digest_size=16).hexdigest()
