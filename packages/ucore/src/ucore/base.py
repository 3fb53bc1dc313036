"""The records and the bare node class that the modules of ucore share.

Rules
-----
- A *node* is a container inside a structure: the root or a nested one.  Its id is the pair
  (position of the change that made it, ordinal inside that change); the root is ``(0, 0)``.
- A node's content is changed by ``Tree.apply`` alone, and by nothing else in this package.
- A removed node keeps its content, its id and its tree: it can be read, and an update that
  brings its id back (undo, replay) fills the same object again, so that handles live on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from .transaction import Transaction
    from .tree import Tree
    from .types import Spec
    from .updatable import Update

NodeId = tuple[int, int]
ROOT_ID: Final[NodeId] = (0, 0)


class _Absent:
    """The type of ``ABSENT``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"

    def __reduce__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()
"""Stands where there is no value, since None is one."""


class Node:
    """What every container is: its place in a tree, and how its content is reached.

    The slots are declared by the concrete classes, because Python cannot lay out two bases
    that both have slots (``dict`` counts as one).
    """

    _kind_: ClassVar[str]
    _arity_: ClassVar[int]

    if TYPE_CHECKING:
        _tree: Tree | None
        _id: NodeId
        _spec: Spec
        _count: int  # what len() must be, unless somebody went past the overrides
        _depth: int  # the root's is 1
    else:  # a checker would refuse the attributes for which subclasses make room
        __slots__ = ()

    def _raw(self) -> dict[object, object] | list[object]:
        """The object to which the builtin's own methods are applied."""
        raise NotImplementedError

    def _elements(self) -> Iterable[object]:
        """The values in it, nested nodes among them."""
        raise NotImplementedError


SLOTS = ("__weakref__", "_count", "_depth", "_id", "_spec", "_tree")

CONTAINERS: Final[dict[str, type[Node]]] = {}
"""kind -> the class that nested containers of this kind get; filled by the container modules."""


class OpFailure(NamedTuple):
    """Operation number *index* failed with *error*, and the whole update changed nothing."""

    index: int  # type: ignore[assignment]  # tuple has a method of that name
    error: Exception


class Applied(NamedTuple):
    """What applying an update gave: one result for each operation, unless one failed.

    It is not to be changed, its list of results neither.
    """

    results: list[object]
    failure: OpFailure | None
    inverse: Update | None


NOTHING_GIVEN: Final = Applied([None], None, None)
"""What one operation without a result gave, which is what most changes are."""


class Effect(NamedTuple):
    """One elementary change.

    *kind* is ``"put"`` or ``"delete"`` (maps; *old* or *new* is ``ABSENT`` where there was or is
    nothing), ``"set"``, ``"insert"`` or ``"remove"`` (vecs and stacks; *key* is the index at that
    moment) or ``"reorder"`` (*key* 0, *old* and *new* None).  Containers are plain copies.
    """

    node: Node
    kind: str
    key: object
    old: object
    new: object


def note(
    effects: list[Effect], node: Node, kind: str, key: object, old: object, new: object
) -> None:
    """Add an ``Effect``; *old* and *new* are leaves, ``ABSENT`` or plain copies."""
    # What a NamedTuple's own constructor does, in half the time: a watch has one for every change.
    effects.append(tuple.__new__(Effect, (node, kind, key, old, new)))


class Strict(NamedTuple):
    """Why a submission depends on what its author has seen.

    The elements of the node up to index *last* must be as seen; *last* None: the whole node;
    *node_id* None: everything, so that it is never sent a second time.
    """

    node_id: NodeId | None
    last: int | None


OPEN_TRANSACTION: Final = (
    "a transaction on this structure is open: change `t`, which it handed out (`with m.transaction() "
    "as t:`, or the argument of run_transaction's function), and not the structure until it is over"
)
"""What somebody is told who changes a structure, or begins a second transaction, meanwhile."""

R = TypeVar("R")


class Owner(Protocol):
    """Who brings a tree's updates into an order (``score``); a value alone has none."""

    def enter(self) -> None:
        """Called first by every mutator: check the thread, rebuild what was interrupted."""
        ...

    def submit(self, update: Update, strict: Strict | None) -> Applied:
        """Order *update*, apply it, and return what ``Tree.apply`` gave; None: an intent."""
        ...

    def confirm(self) -> None:
        """Raise unless the order still ends where the tree stands: nobody else changed anything."""
        ...

    def run_transaction(
        self, begin: Callable[[], Transaction[Any]], function: Callable[[Any], R]
    ) -> R:
        """Run *function* on what a transaction from *begin* hands out, again while others are first."""
        ...
