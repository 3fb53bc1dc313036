"""What UMap, UVec and UStack have in common beside their mutators.

How a mutator works: the owner is asked in (it may rebuild the tree), the handle is checked, the
arguments become plain forms, and one update goes to the tree.  Nothing is changed before the update
is complete, and nothing is changed by any other way than ``Tree.apply``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, Self

from . import codes
from .base import OPEN_TRANSACTION, SLOTS, Node, Owner, Strict
from .change import builtin
from .errors import InterruptedUpdateError, StaleHandleError, TransactionError
from .plan import INTENT, Plan
from .tree import Tree
from .types import ANY, Spec, bare, spec_of_class
from .updatable import Update

__all__ = ["SLOTS", "Container", "recording"]

_LENGTHS = (dict.__len__, list.__len__)


class Container(Node):
    """A node with the methods that do not depend on its kind."""

    if TYPE_CHECKING:
        _class_spec_: Spec
    else:  # __slots__ as in Node; __new__ would hide the builtins' signatures from checkers
        __slots__ = ()
        _class_spec_ = ANY

        def __new__(cls, *_arguments, **_options):
            self = super().__new__(cls)
            self._tree = None
            self._spec = cls._class_spec_
            return self

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if getattr(cls, "__len__", None) not in _LENGTHS and issubclass(cls, dict | list):
            raise TypeError(
                f"{cls.__qualname__} has a __len__ of its own, but that of its base is how a change made past "
                "ucore is noticed; give this one another name"
            )
        cls._class_spec_ = spec_of_class(cls)

    # ------------------------------------------------------------ for mutators

    def _attach(self, owner: Owner | None) -> Tree:
        """Make this new, empty container the root of a tree; *owner* orders its updates."""
        if self._tree is not None:
            raise TypeError(
                f"{type(self).__name__}.__init__ was called a second time; make a new one, "
                "or change this one with its own methods"
            )
        return Tree(self, owner)

    def _begin(self) -> Tree:
        """Every mutator's first line: may this container be changed now?"""
        tree = self._tree
        if tree is None:
            raise TypeError(f"{type(self).__name__}.__init__ was not called")
        if tree.owner is not None:
            tree.owner.enter()
        if tree.transaction is not None and tree.in_transaction():
            raise TransactionError(OPEN_TRANSACTION)
        if tree.interrupted:
            raise InterruptedUpdateError(
                "an update was interrupted half-way; load the value again from a dump"
            )
        if tree.nodes.get(self._id) is not self:
            raise StaleHandleError(
                f"this {type(self).__name__} was removed from its structure; "
                "it can be read, not changed"
            )
        tree.verify(self)
        if tree.debug:
            tree.verify_all()
        return tree

    def _do(self, tree: Tree, plan: Plan | None, by_content: bool = False) -> Any:
        """Bring a planned operation into the order; its result, or its error raised.

        *by_content*: what was planned depends on what is in the elements, those that are containers too.
        """
        if plan is None:
            return None
        update = Update([[plan.code, *self._id, *plan.arguments]])
        strict = None if plan.last == INTENT else Strict(self._id, plan.last)
        if by_content and any(isinstance(element, Node) for element in self._elements()):
            strict = Strict(None, None)  # a change inside an element is not one of this node
        applied = tree.submit(update, strict)
        if applied.failure is not None:
            raise applied.failure.error
        return applied.results[0]

    # ------------------------------------------------------------ for users

    def clear(self) -> None:
        """Remove everything."""
        self._do(self._begin(), Plan(codes.CLEAR, []))

    def copy(self) -> Any:
        """A plain builtin, all the way down; it has nothing to do with this structure."""
        return builtin(self)

    def __copy__(self) -> Any:
        return builtin(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return builtin(self)

    def apply(self, update: Update) -> Update:
        """Apply an update that was made elsewhere; returns the one that takes it back.

        Raises what the failing operation raises (and has changed nothing then), CannotApplyError
        for an update this program cannot read, TypeError on a container that is not the root of a
        structure of its own.
        """
        tree = self._own_root("apply an update to")
        position = tree.position
        applied = tree.apply(update, position + 1, inverse=True)
        if applied.failure is not None:
            tree.position = position
            raise applied.failure.error
        assert applied.inverse is not None
        return applied.inverse

    def _own_root(self, what: str) -> Tree:
        tree = self._begin()
        if tree.root is not self:
            raise TypeError(f"cannot {what} a container inside another; use the outermost one")
        if tree.owner is not None:
            raise TypeError(f"cannot {what} a shared structure; its updates come from its owner")
        return tree

    def dump(self) -> list[Any]:
        """The content with its node ids, as a plain form, for ``load``."""
        if self._tree is None or self._tree.root is not self:
            raise TypeError("cannot dump a container inside another; use .copy(), or the outermost")
        return self._tree.dump()

    @classmethod
    def load(cls, plain: object) -> Self:
        """The container that was dumped.  Raises CannotApplyError."""
        self: Self = bare(cls)  # an alias's own spec, too
        self._attach(None).load(plain)
        return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        tree = self._tree
        if tree is None or tree.root is not self or tree.owner is not None:
            raise TypeError(
                f"cannot pickle a {type(self).__name__} that is part of a shared or larger structure; "
                "pass the url and the group's name, or a .copy()"
            )
        return _unpickled, (type(self), self._spec, tree.dump())

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"pickle a {type(self).__name__} with protocol 2 or later")


def _unpickled(cls: type[Container], spec: Spec, plain: object) -> Container:
    self = cls.__new__(cls)
    self._spec = spec
    self._attach(None).load(plain)
    return self


@contextmanager
def recording(value: Container) -> Iterator[list[Update]]:
    """Collect the updates that *value*'s whole structure goes through in the block, in order.

    Updates that failed are not among them.
    """
    tree = value._begin()
    updates: list[Update] = []
    tree.recordings.append(updates)
    try:
        yield updates
    finally:
        # By identity: two recordings may be equal.
        tree.recordings[:] = [r for r in tree.recordings if r is not updates]
