"""What a transaction hands out: a structure as it would be if the transaction took effect now.

Rules
-----
- An overlay is a ``MutableMapping`` or ``MutableSequence`` of its own, never a dict or list: C code
  that takes a builtin at its word (``json``, ``heapq``, ``dict | x``) would read the content of the
  base class, which is empty, and be wrong without a word.  So it is refused, and ``copy()`` gives
  builtins.
- Every change is written down as an operation (``Work.ops``) by the same ``plan`` functions that the
  containers use, and shown in the overlay.  The operations, applied where the transaction began,
  give what the overlay shows; that is the law which the tests check against dict and list.
- Nothing is copied at the beginning.  A map shows its base through what was put, removed and added; a
  list is copied, its elements are not, when it is changed for the first time.
- Overlays of nested containers are made when they are looked at, one for each container.  A stored
  value becomes overlays at once, numbered as the update's reader will count them.
- A removed container's overlay can be read and not changed, as a handle.
- When the transaction is over, or if the structure has moved in spite of the guard, an overlay
  refuses everything: what it would show is not so.

Rejected: comparing before and after at the end (it costs the whole of every touched container, and
cannot tell a moved element from a new one); a copied structure (costs it all).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Final, NoReturn

from .base import Node, NodeId
from .change import builtin
from .errors import StaleHandleError, TransactionError
from .plan import Plan
from .registry import DEPTH_MAX, container_kind
from .tree import Tree
from .types import Spec

OVERLAYS: Final[dict[str, type[Overlay]]] = {}
"""kind -> the class of its overlays; filled by the modules that have them."""

TORN: Final = "one of its changes was interrupted half-way"


class Work:
    """What one transaction has done so far, shared by its overlays.

    *closed* says why they can be used no more; ``None`` while they can.
    """

    __slots__ = ("closed", "opened", "ops", "ordinal", "position", "tree")

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.position = tree.position
        self.ops: list[list[Any]] = []
        self.opened: dict[NodeId, Overlay] = {}
        self.ordinal = 0
        self.closed: str | None = None

    def usable(self) -> bool:
        return self.closed is None and self.tree.position == self.position

    def check(self) -> None:
        """Raise TransactionError unless what the overlays show is so."""
        if self.closed is not None:
            raise TransactionError(
                f"this transaction cannot be used any more: {self.closed}; "
                "take what you need out of it with .copy() before it ends"
            )
        if self.tree.position != self.position:
            raise TransactionError(
                "the structure was changed past its open transaction; begin another one"
            )

    def overlay_of(self, node: Node, parent: Overlay | None) -> Overlay:
        """The overlay of a container that was there when the transaction began."""
        overlay = self.opened.get(node._id)
        if overlay is None:
            overlay = OVERLAYS[node._kind_](self, node._id, node._spec, parent)
            overlay._show(node._raw())
            self.opened[node._id] = overlay
        return overlay

    def made(self, value: Any, spec: Spec, parent: Overlay) -> Any:
        """What stands in an overlay for a *value* that was just stored: an overlay, or itself.

        Counts as the update's reader does: outer before inner, in the order of the text.
        """
        kind = container_kind(type(value))
        if kind is None:
            return value
        self.ordinal += 1
        overlay = OVERLAYS[kind](self, (0, self.ordinal), spec.child(kind), parent)
        overlay._fill(value)
        return overlay


class Overlay:
    """What the overlays of all kinds have in common."""

    __slots__ = ("__weakref__", "_below", "_parent", "_removed", "_spec", "_target", "_work")
    _name_: ClassVar[str]

    def __init__(self, work: Work, target: NodeId, spec: Spec, parent: Overlay | None) -> None:
        self._work = work
        self._target = target
        self._spec = spec
        self._parent = parent
        self._below: list[Overlay] = []
        self._removed = False
        if parent is not None:
            parent._below.append(self)

    @abstractmethod
    def _show(self, raw: Any) -> None:
        """Show the content of a live container."""

    @abstractmethod
    def _fill(self, value: Any) -> None:
        """Show the content of a value that was just stored."""

    @abstractmethod
    def _detached(self) -> Any:
        """The content as a value to store elsewhere: stacks stay stacks."""

    @abstractmethod
    def copy(self) -> Any:
        """A plain builtin, all the way down; it has nothing to do with the transaction."""

    # ------------------------------------------------------------ entries

    def _seen(self, entry: Any) -> Any:
        """What the user gets for an entry: overlays for containers."""
        return self._work.overlay_of(entry, self) if isinstance(entry, Node) else entry

    def _known(self, entry: Any) -> Any:
        """The entry's overlay, if it has one; else the entry itself."""
        return self._work.opened.get(entry._id, entry) if isinstance(entry, Node) else entry

    def _plain(self, entry: Any) -> Any:
        entry = self._known(entry)
        # A container without an overlay has none below it either.
        return entry.copy() if isinstance(entry, Overlay) else builtin(entry)

    def _value(self, entry: Any) -> Any:
        entry = self._known(entry)
        return entry._detached() if isinstance(entry, Overlay) else entry

    def _bury(self, entry: Any) -> None:
        """*entry* is no longer part of this container."""
        entry = self._known(entry)
        if isinstance(entry, Overlay):
            entry._removed = True

    # ------------------------------------------------------------ reading and changing

    def _look(self) -> None:
        """Every read's first line."""
        self._work.check()

    def _change(self) -> Work:
        """Every mutator's first line."""
        self._work.check()
        overlay: Overlay | None = self
        while overlay is not None:
            if overlay._removed:
                raise StaleHandleError(
                    f"this {overlay._name_} was removed from its structure in this transaction; "
                    "it can be read, not changed"
                )
            overlay = overlay._parent
        return self._work

    def _record(self, planned: Plan) -> None:
        """Write the operation down; ``_shown`` has to follow when the overlay shows it."""
        work = self._work
        work.closed = TORN
        work.ops.append([planned.code, *self._target, *planned.arguments])

    def _shown(self) -> None:
        self._work.closed = None

    def _made(self, value: Any) -> Any:
        return self._work.made(value, self._spec.value, self)

    @abstractmethod
    def _text(self) -> str:
        """What ``repr`` of the builtin would say."""

    def __repr__(self) -> str:
        return (
            self._text()
            if self._work.usable()
            else f"<{self._name_} of a transaction that is over>"
        )

    # ------------------------------------------------------------ not a builtin

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self.copy()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("what a transaction hands out cannot be pickled; pickle its .copy()")


def stored(value: Any, depth: int = 0) -> Any:
    """*value*, with what the overlays in it show in their place."""
    if isinstance(value, Overlay):
        value._look()
        return value._detached()
    if depth < DEPTH_MAX:  # deeper, and values that contain themselves, are refused elsewhere
        if type(value) is dict:
            return {key: stored(item, depth + 1) for key, item in value.items()}
        if type(value) is list:
            return [stored(item, depth + 1) for item in value]
    return value
