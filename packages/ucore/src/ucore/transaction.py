"""``Transaction``: reads and changes on an overlay, applied as one update at the end.

Rules
-----
- While it is open the structure itself stands still: whoever would change it or move its view is
  refused (``Tree.in_transaction``), so what the overlay shows is true of one place in the order.
- At the end there is one update, which is good for exactly that place: ``Strict(None, None)``.
- Who only read also learns at the end whether that was the latest (``Owner.confirm``).  Otherwise a
  decision not to change anything ("nothing in stock") could rest for ever on an old view.
- The tree knows its open transaction weakly: one that was interrupted on its way out, at a line at
  which nobody could take the guard off, does not lock the structure.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, TypeVar, cast

from .base import Strict
from .errors import TransactionError
from .overlay import Overlay, Work
from .tree import Tree
from .updatable import Update

O = TypeVar("O", bound=Overlay)  # noqa: E741
R = TypeVar("R")


class Transaction(Generic[O]):
    """The context manager that ``transaction()`` returns; used once.

    The block gets *t*, a separate mapping, sequence or stack that shows its own changes, nested ones
    too.  When it ends, all of them become one change, accepted only if nothing else has changed since.
    Changing the structure itself in the block raises TransactionError, which names *t*.
    """

    __slots__ = ("__weakref__", "_node", "_tree", "_work")

    def __init__(self, node: Any, overlay: type[O]) -> None:  # noqa: ARG002
        self._node = node
        self._tree: Tree | None = None
        self._work: Work | None = None

    def begin(self) -> O:
        """Open it; *t*.  For those to whom ``with`` is of no use; then ``commit`` or ``abandon``."""
        if self._work is not None:
            raise RuntimeError("a transaction is used once; call transaction() again")
        tree = self._tree = self._node._begin()
        work = self._work = Work(tree)
        overlay = work.overlay_of(self._node, None)
        tree.transaction = weakref.ref(self)
        return cast("O", overlay)

    @property
    def changes(self) -> int:
        """How many operations the transaction has recorded so far."""
        return len(self._work.ops) if self._work is not None else 0

    def abandon(self) -> None:
        """End it without a trace.  Idempotent; harmless after ``commit``."""
        tree, work = self._tree, self._work
        if tree is None or work is None:
            return
        if tree.transaction is not None and tree.transaction() is self:
            tree.transaction = None
        if work.closed is None:
            work.closed = "it is over"

    def commit(self) -> None:
        """End it: apply what was recorded, or make sure that what was read was the latest.

        Raises:
            ConflictError: (a shared structure) somebody else changed it meanwhile; nothing was
                changed by this transaction, and the view now holds what they did.
            LocalDivergenceError: a container was changed behind ucore's back.
        """
        work = self._work
        if work is None:
            raise RuntimeError("the transaction was not begun")
        try:
            work.check()
        finally:
            self.abandon()
        tree = self._node._begin()
        if tree.position != work.position:
            raise TransactionError("the structure was changed past its open transaction")
        for node_id in work.opened:
            tree.verify(tree.nodes[node_id])
        if work.ops:
            _apply(tree, work)
        elif tree.owner is not None:
            tree.owner.confirm()

    def __enter__(self) -> O:
        return self.begin()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.abandon()


def _apply(tree: Tree, work: Work) -> None:
    applied = tree.submit(Update(work.ops), Strict(None, None))
    if applied.failure is not None:
        index, failure = applied.failure
        failure.operation = index  # type: ignore[attr-defined]
        failure.add_note(f"operation {index} of the transaction failed, so nothing was changed")
        raise failure


def run(node: Any, begin: Callable[[], Transaction[Any]], function: Callable[[Any], R]) -> R:
    """``run_transaction`` of every container: *begin* makes a transaction on *node*."""
    owner = node._begin().owner
    if owner is not None:
        return cast("R", owner.run_transaction(begin, function))
    with begin() as overlay:
        return function(overlay)
