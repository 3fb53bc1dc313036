"""A view: what stands between a structure's mutators (``ucore``) and the client.

The owner of one tree in ucore's sense: a mutator hands its update over, the view brings it into
the group's order, and the tree moves when the entry comes back.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from score_server.wire import messages as wire
from ucore.base import OPEN_TRANSACTION, Applied, OpFailure, Strict
from ucore.codes import DECLARE
from ucore.primitives import Plain
from ucore.transaction import Transaction
from ucore.tree import Tree
from ucore.types import merge_skeletons
from ucore.updatable import Update

from .client import Client, checked_name
from .errors import (
    ClosedError,
    ConflictError,
    DivergedError,
    NotTakenError,
    OpenTransactionError,
    ServerError,
    StoreFullError,
    WrongThreadError,
)
from .forks import PROCESS
from .payload import encode_update
from .replica import Replica
from .snapshot import Progress, empty, encode_dump
from .transactions import run_transaction

R = TypeVar("R")

logger = logging.getLogger("score")


class View:
    """The owner of one structure's tree.  See ``ucore.tree.Owner``."""

    def __init__(self, client: Client, group: str, skeleton: Plain) -> None:
        if not isinstance(client, Client):
            raise TypeError(
                f"the first argument is a score.Client (from score.connect()), not {client!r}"
            )
        self.client = client
        self.group = checked_name(group)
        self._skeleton = skeleton
        self._own()
        self.closed = False
        self.is_contended = False
        """Others were first when this view made a change in a transaction; see ``run_transaction``."""
        self.replica: Replica

    def open(
        self,
        tree: Tree,
        keep_history: bool = False,
        progress: Callable[[Progress], object] | None = None,
    ) -> None:
        """Join the group and load its state; the arguments are those of ``SMap``.

        Raises:
            SkeletonError: the group holds another kind of structure.
        """
        self.replica = Replica(self.group, tree, keep=keep_history)
        self.replica.progress = progress
        self.client.sync(self.replica)
        self.replica.progress = None
        merge_skeletons(tree.skeleton, self._skeleton, f"group {self.group!r}")

    # ------------------------------------------------------------ ucore's owner

    def enter(self) -> None:
        """Before a mutator looks at anything: is this the moment and the thread for it?"""
        self._check()
        if self.replica.suspect:
            self.client.sync(self.replica)

    def submit(self, update: Update, strict: Strict | None) -> Applied:
        """Bring *update* into the order and apply it.

        Raises:
            ConflictError: a strict change relied on what others changed first.
            ScoreError: see ``Client.submit``.
        """
        replica = self.replica
        declared = self._declaring(update)
        payload = encode_update(declared)
        if strict is None:
            answer = self.client.submit(replica, payload, wire.INTENT, declared)
        elif strict.node_id is None:
            # It relies on everything, so whatever came first is a conflict: nothing is to be noted or tried again.
            answer = self.client.submit(replica, payload, wire.STRICT, declared)
        else:
            replica.note_effects()
            try:
                with self.client.as_one_call():
                    answer = self._submit_strict(declared, payload, strict)
            finally:
                replica.stop_noting_effects()
        if isinstance(answer, wire.Refused):
            raise self._refusal(answer)
        return answer if declared is update else _without_first(answer)

    def _submit_strict(
        self, update: Update, payload: bytes, strict: Strict
    ) -> Applied | wire.Refused:
        refusals = 0
        while True:
            if refusals > 1:  # twice is bad luck; from then on others are too many
                self.client.take_turn(self.replica)
                if self.replica.conflicts_with(strict):
                    self.client.end_turn(self.replica)
                    raise self._conflict("this place or one before it")
            answer = self.client.submit(self.replica, payload, wire.STRICT, update)
            if not isinstance(answer, wire.Refused) or answer.reason != wire.NOT_HEAD:
                return answer
            if self.replica.failure is not None:
                raise self.replica.failure
            if self.replica.conflicts_with(strict):
                raise self._conflict("this place or one before it")
            refusals += 1

    def _conflict(self, what: str) -> ConflictError:
        return ConflictError(
            f"group {self.group!r}: somebody else changed {what} first; nothing was "
            "changed. The view now holds what they did: look again, then decide again"
        )

    def catch_up(self) -> bool:
        """Bring the view up to date; whether that moved it."""
        position = self.replica.position
        self.client.sync(self.replica)
        return self.replica.position != position

    def take_turn(self) -> bool:
        """Wait in line until the group waits for this view, which is then up to date; whether that moved it."""
        position = self.replica.position
        self.client.take_turn(self.replica)
        return self.replica.position != position

    def end_turn(self) -> None:
        """Give a turn back that was not used."""
        self.client.end_turn(self.replica)

    def confirm(self) -> None:
        """The end of a transaction that only read: was that the latest?

        Raises:
            ConflictError: it was not.
        """
        if self.catch_up():
            raise self._conflict("the structure")

    def run_transaction(
        self, begin: Callable[[], Transaction[Any]], function: Callable[[Any], R]
    ) -> R:
        """See ``transactions.run_transaction``."""
        return run_transaction(self, begin, function)

    def _declaring(self, update: Update) -> Update:
        """*update*, led by a declaration of this view's nesting where the group lacks it."""
        declared = self.replica.tree.skeleton
        if declared == self._skeleton or merge_skeletons(declared, self._skeleton) == declared:
            return update
        return Update([[DECLARE, self._skeleton], *update.ops])

    def _refusal(self, answer: wire.Refused) -> Exception:
        if answer.reason == wire.NOT_HEAD:
            return self.replica.failure or self._conflict("the structure")
        if answer.reason == wire.STORE_FULL:
            return StoreFullError(
                f"the server's disk is full; the change of group {self.group!r} was not made. "
                "Try again when there is room"
            )
        if answer.reason == wire.VOIDED:
            return NotTakenError(
                f"somebody asked for the outcome of this change of group {self.group!r} while it was on "
                "its way, and was told that it was not taken, which is final; make it again"
            )
        return ServerError(
            f"the server refused a change of group {self.group!r} (reason {answer.reason})"
        )

    # ------------------------------------------------------------ the structure's own methods

    def sync(self) -> None:
        """Bring the view up to date; see ``Shared.sync``."""
        self._check()
        tree = self.replica.tree
        if not self.replica.suspect:
            # Nested containers are compared when a change touches them.
            if tree.debug:
                tree.verify_all()
            tree.verify(tree.root)
        self.client.sync(self.replica)

    def verify(self) -> None:
        """Compare the view with what the server has; see ``Shared.verify``."""
        self._check()
        replica = self.replica
        with self.client.as_one_call() as deadline, self.client.another() as client:
            with client.until(deadline):
                while True:
                    self.client.sync(replica)
                    fresh = Replica(self.group, empty(replica.tree), until=replica.position)
                    client.sync(fresh)
                    if fresh.position == replica.position:  # else there is a later snapshot by now
                        break
            if encode_dump(fresh.tree) == encode_dump(replica.tree):
                return
            text = (
                f"group {self.group!r}: at change {replica.position} the content of this view is not what the "
                "server's changes make of it"
            )
            logger.error("%s; loading it again", text)
            replica.reset()
            self.client.sync(replica)
        raise DivergedError(
            f"{text}. It has been loaded again and is right now; whatever was decided by it before may not be. "
            "Either something wrote past the structure's methods (list.append(v, x), heapq), or score or "
            "this machine is wrong"
        )

    def check(self) -> None:
        """Raise unless the structure may be used here and now."""
        self._check()

    def close(self) -> None:
        self.closed = True

    def _own(self) -> None:
        self._thread, self._generation = threading.get_ident(), PROCESS.generation

    def _check(self) -> None:
        if self.closed or self.client.closed:
            what = "structure" if self.closed else "client"
            raise ClosedError(
                f"the {what} of group {self.group!r} is closed; its content can be read, not changed"
            )
        tree = self.replica.tree
        if tree.transaction is not None and tree.in_transaction():
            raise OpenTransactionError(f"group {self.group!r}: {OPEN_TRANSACTION}")
        if threading.get_ident() != self._thread:
            if PROCESS.generation == self._generation:
                raise WrongThreadError(
                    f"group {self.group!r}: a structure belongs to the thread that made it; make "
                    "another one on the same client in this thread"
                )
            self._own()  # after fork, by whichever thread of the child comes first


def _without_first(applied: Applied) -> Applied:
    """What the update's own operations gave, without the declaration in front of them."""
    failure = applied.failure
    if failure is None:
        return applied._replace(results=applied.results[1:])
    if failure.index == 0:
        return applied._replace(failure=OpFailure(0, failure.error))
    return applied._replace(failure=failure._replace(index=failure.index - 1))
