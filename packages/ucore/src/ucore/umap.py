"""``UMap``: a dict whose every change is an update."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast, overload

from . import codes, plan
from .base import ABSENT, CONTAINERS, SLOTS, Node
from .map_overlay import MapOverlay
from .node import Container
from .recorder import Batch, MapRecorder
from .transaction import Transaction, run
from .tree import Tree
from .types import alias
from .updatable import Update

K = TypeVar("K")
V = TypeVar("V")
D = TypeVar("D")
R = TypeVar("R")


class UMap(Container, dict[K, V]):
    """A dict that is a series of updates: ``UMap({...})``, ``UMap[str, int](a=1)``.

    Reading is dict's own.  Every mutator checks its arguments, makes one small ``Update`` and
    applies it.  A dict or list that is stored is copied, as a UMap or UVec.
    """

    __slots__ = SLOTS
    _kind_: ClassVar[str] = "map"
    _arity_: ClassVar[int] = 2

    @classmethod
    def fromkeys(cls, iterable: Iterable[Any], value: Any = None, /) -> Any:
        """A new map with these keys, each with a copy of *value*."""
        return cls(dict.fromkeys(iterable, value))

    def _raw(self) -> dict[object, object]:
        return self  # type: ignore[return-value]  # not cast(): it is asked at each operation

    def _elements(self) -> Iterable[object]:
        return dict.values(self)

    # ------------------------------------------------------------ mutators

    def _put_many(self, tree: Tree, content: dict[Any, Any]) -> None:
        """Put *content*, which nobody else holds, in one update."""
        if not plan.are_native_pairs(self._spec, content):
            self._do(tree, plan.put_each(self._spec, content))
            return
        applied = tree.submit(Update.putting(self._id, content), None)
        if applied.failure is not None:
            raise applied.failure.error

    def __setitem__(self, key: K, value: V) -> None:
        tree = self._begin()
        if isinstance(value, Node) and dict.get(self, key) is value:
            return  # Python does this after every m[k] += [x]
        self._do(tree, plan.put(self._spec, key, value))

    def __delitem__(self, key: K) -> None:
        tree = self._begin()
        self._do(tree, plan.delete(self, key))

    @overload
    def pop(self, key: K, /) -> V: ...
    @overload
    def pop(self, key: K, default: V, /) -> V: ...
    @overload
    def pop(self, key: K, default: D, /) -> V | D: ...
    def pop(self, key: K, default: Any = ABSENT, /) -> Any:
        """Remove *key* and return its value as a plain builtin; KeyError, or *default*."""
        tree = self._begin()
        if default is ABSENT:
            return self._do(tree, plan.delete(self, key))
        found, value = self._do(tree, plan.discard(self, key)) or (False, None)
        return value if found else default

    def popitem(self) -> tuple[K, V]:
        """Remove and return the last (key, value); KeyError when empty."""
        return cast("tuple[K, V]", self._do(self._begin(), plan.Plan(codes.POP_ITEM, [])))

    def discard(self, key: K) -> bool:
        """Remove *key* if it is there; whether it was."""
        tree = self._begin()
        found, _ = self._do(tree, plan.discard(self, key)) or (False, None)
        return cast("bool", found)

    def increment(self, key: K, by: int | float = 1) -> V:
        """Add *by* to the number at *key*, a missing one counting from 0; the new value."""
        return cast("V", self._do(self._begin(), plan.increment(self._spec, key, by)))

    def batch(self) -> Batch[MapRecorder[K, V]]:
        """``with m.batch() as b:`` records changes on *b* and applies them as one at the end."""
        return Batch(self, MapRecorder)

    def transaction(self) -> Transaction[MapOverlay[K, V]]:
        """``with m.transaction() as t:`` reads and changes *t*, and applies that as one at the end.

        *t* is a MutableMapping that shows its own changes; nothing shows here before the end, and
        nothing at all if the block raises.  A shared structure raises ConflictError at the end if
        anybody changed it meanwhile.  See ``Transaction``.
        """
        return Transaction(self, MapOverlay)

    def run_transaction(self, function: Callable[[MapOverlay[K, V]], R]) -> R:
        """``function(t)`` in a transaction, and what it returns.

        A shared structure runs it again, on a new *t*, whenever somebody else was first, until the
        client's deadline; so it should do nothing but read and change *t*.
        """
        return run(self, self.transaction, function)

    if TYPE_CHECKING:
        # To checkers, __init__, setdefault, update and |= are dict's own, with its signatures.

        def copy(self) -> dict[K, V]: ...

    else:

        def __class_getitem__(cls, params):
            return alias(cls, params)

        def __init__(self, *args, **kwargs):
            content = dict(*args, **kwargs)
            tree = self._attach(None)
            self._put_many(tree, content)

        def setdefault(self, key, default=None, /):
            """The value of *key*, which is *default* if there was none: a container comes live."""
            return self._do(self._begin(), plan.set_default(self._spec, key, default))

        def update(self, *args, **kwargs):
            """As ``dict.update``, in one update: all or nothing."""
            tree = self._begin()
            self._put_many(tree, dict(*args, **kwargs))

        def __ior__(self, other, /):
            self.update(other)
            return self


CONTAINERS["map"] = UMap
