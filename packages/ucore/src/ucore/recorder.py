"""Batches: several changes recorded first, and applied as one.

``with m.batch() as b:`` gives a recorder that has the mutators of *m*'s kind and returns nothing
from them; ``b.results`` tells afterwards what each gave.  ``b[k]`` is a recorder for the container
at ``k``: one of the view's, or one that the batch has put there.

How a batch names its own containers: by the ordinals that the reader of the update will count, so
the recorder counts them in the same order.  What it knows about keys and indices is the view's
content with the batch's own changes on it; an operation that names an index makes the whole batch
strict, so what it knows is then what is true where the batch lands.

Leaves that are put into one map, each under another key, or appended to one list, one after the other
with nothing in between, become one operation: it does the same, has no other result than they have,
can fail only where the first of them would, and costs a fifth at everybody who applies it.  As long as
they are natives, such a map's are kept as the dict that they are, and if the batch is nothing else, its
update is made of that (``Update.putting``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Final, Generic, Self, SupportsIndex, TypeVar, cast

from . import codes, plan
from .base import Node, NodeId, Strict
from .change import stored_key
from .plan import INTENT, Plan
from .primitives import QUICK_KEYS, flat
from .registry import INT_MAX, INT_MIN, NATIVE_TYPES, container_kind, short
from .tree import Tree
from .types import Spec
from .updatable import Update

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

_GONE: Final = object()


class _Made:
    """A container that the batch itself makes: which one, and what the batch puts into it."""

    __slots__ = ("content", "kind", "ordinal", "spec")

    def __init__(self, kind: str, ordinal: int, spec: Spec) -> None:
        self.kind = kind
        self.ordinal = ordinal
        self.spec = spec
        self.content: dict[Any, Any] | list[Any] = {} if kind == "map" else []


class _Log:
    """What one batch has recorded, shared by its recorders."""

    def __init__(self, tree: Tree) -> None:
        self.position = tree.position  # the view that indices are about
        self.ops: list[list[Any]] = []
        # For each of them: how many changes it was recorded as, and what is made of its result.
        self.sizes: list[int] = []
        self.finish: list[Callable[[Any], Any]] = []
        # What the last operation stores, so that it can store the next leaf as well: natives that stand before its
        # text, or else whose latest leaf.
        self.growing: dict[Any, Any] | Recorder | None = None
        # Operations that may have become several's: which, that code, the arguments of each, and natives that at the
        # end come before those in its text.
        self.grown: list[tuple[int, int, int, dict[Any, Any]]] = []
        # The same natives, where putting them is all that the batch does.
        self.puts: dict[Any, Any] | None = None
        self.strict = False
        self.ordinal = 0
        self.over = False
        self.results: list[Any] | None = None
        self.recorders: dict[NodeId, Recorder] = {}

    def add(self, target: NodeId, planned: Plan, finish: Callable[[Any], Any] | None) -> None:
        if self.over:
            raise RuntimeError("the batch is over; begin another")
        self.ops.append([planned.code, *target, *planned.arguments])
        self.sizes.append(1)
        self.finish.append(finish or _as_it_is)
        self.growing = None
        self.strict = self.strict or planned.last != INTENT

    def add_leaf(self, recorder: Recorder, one: int, several: int, arguments: list[Any]) -> None:
        """As ``add`` of the operation *one*; if the last was added so as well, both become *several*."""
        if self.growing is recorder:
            self.ops[-1] += arguments
        else:
            self.add(recorder._target, Plan(one, arguments), None)
            self.growing = recorder
            self.grown.append((len(self.ops) - 1, several, len(arguments), {}))

    def add_pairs(self, target: NodeId, pairs: dict[Any, Any]) -> None:
        """As ``add`` of what puts *pairs*, natives: also those that get there while it is ``growing``."""
        self.add(target, Plan(codes.PUT, []), None)
        self.growing = pairs
        self.grown.append((len(self.ops) - 1, codes.PUT_MANY, 2, pairs))

    def end(self) -> None:
        """Take no more in."""
        self.over = True
        self.growing = None
        for at, several, width, pairs in self.grown:
            op = self.ops[at]
            if len(self.ops) == 1 and len(op) == 3 and len(pairs) > 1:
                self.puts = pairs
            op[3:3] = flat(pairs)
            self.sizes[at] = (len(op) - 3) // width
            if self.sizes[at] > 1:
                op[0] = several

    def update(self) -> Update:
        """All of it, after the end."""
        if self.puts is not None:
            return Update.putting(tuple(self.ops[0][1:3]), self.puts)
        return Update(self.ops)

    def index(self, failed: int) -> int:
        """Which of the recorded changes failed when this operation of the update did."""
        return sum(self.sizes[:failed])

    def show(self, results: list[Any]) -> None:
        """Tell what each of the recorded changes gave."""
        self.results = []
        for size, finish, result in zip(self.sizes, self.finish, results, strict=True):
            self.results += [finish(result)] * size

    def made(self, value: Any, spec: Spec) -> Any:
        """What stands in the recorder's picture for *value*: a ``_Made``, or itself.

        Counts as the update's reader does: outer before inner, in the order of the text.
        """
        kind = container_kind(type(value))
        if kind is None:
            return value
        self.ordinal += 1
        made = _Made(kind, self.ordinal, spec.child(kind))
        if kind == "map":
            made.content = {k: self.made(v, made.spec.value) for k, v in dict.items(value)}
        else:
            items = value._items if kind == "stack" else list.__iter__(value)
            made.content = [self.made(v, made.spec.value) for v in items]
        return made

    def recorder(self, entry: Any) -> Recorder:
        """The recorder of a nested container; TypeError for a leaf."""
        if isinstance(entry, Node):
            target, kind, spec, content = entry._id, entry._kind_, entry._spec, entry._raw()
        elif isinstance(entry, _Made):
            target, kind, spec, content = (0, entry.ordinal), entry.kind, entry.spec, entry.content
        else:
            raise TypeError(
                f"a batch records changes and does not read; {short(entry)} is in the structure itself"
            )
        if target not in self.recorders:
            self.recorders[target] = _RECORDERS[kind](self, target, spec, content)
        return self.recorders[target]


def _as_it_is(result: Any) -> Any:
    return result


def _first(result: Any) -> Any:
    return result[0]


class Recorder:
    """Records the changes of one container in a batch."""

    __slots__ = ("_log", "_spec", "_target")

    def __init__(self, log: _Log, target: NodeId, spec: Spec, content: Any) -> None:
        self._log = log
        self._target = target
        self._spec = spec
        self._look_at(content)

    def _look_at(self, content: Any) -> None:
        raise NotImplementedError

    def _add(self, planned: Plan, finish: Callable[[Any], Any] | None = None) -> None:
        self._log.add(self._target, planned, finish)

    @property
    def results(self) -> list[Any]:
        """After the block: what each operation gave, in order; containers it removed as plain builtins."""
        if self._log.results is None:
            raise RuntimeError("the results are there when the batch has been applied")
        return self._log.results


class MapRecorder(Recorder, Generic[K, V]):
    """A map's mutators, recorded; ``b[k]`` is the recorder of the container at *k*."""

    __slots__ = ("_base", "_over", "_pairs", "_quick")

    def _look_at(self, content: dict[Any, Any]) -> None:
        self._base = content
        # Types of values that can stand under a text without being checked any further.
        spec = self._spec
        self._quick = NATIVE_TYPES & spec.value.exact if str in spec.key.exact else frozenset()
        self._over: dict[Any, Any] = {}
        # What an operation of the log's puts on top of that; while the log says so, it can put more.
        self._pairs: dict[Any, Any] = {}

    def _entry(self, key: Any) -> Any:
        found = self._pairs.get(key, self)
        if found is self:
            found = self._over.get(key, self)
        return dict.get(self._base, key, _GONE) if found is self else found

    def _settle(self) -> None:
        """Whatever else gets into that operation is going to stand behind these."""
        log, pairs = self._log, self._pairs
        self._over.update(pairs)
        self._pairs = {}
        if log.growing is pairs:
            log.growing = self

    def _add(self, planned: Plan, finish: Callable[[Any], Any] | None = None) -> None:
        self._settle()
        super()._add(planned, finish)

    def __getitem__(self, key: K) -> V:
        entry = self._entry(key)
        if entry is _GONE:
            raise KeyError(key)
        return cast("V", self._log.recorder(entry))

    def __setitem__(self, key: K, value: V) -> None:
        text: Any = key
        plain: Any = value
        kind = type(value)
        pairs = self._pairs
        # What comes to the same below, without the calls: batches are mostly many of these.
        if (
            type(text) is str
            and kind in self._quick
            and self._log.growing is pairs
            and text not in pairs
            and text.isascii()
            and (INT_MIN <= plain <= INT_MAX if kind is int else kind is not str or plain.isascii())
        ):
            pairs[text] = plain
            return
        if not isinstance(value, Recorder):
            self._put(key, value)
        elif self[key] is not value:  # Python does that after every b[k] += [x]
            raise TypeError("a recorder cannot be stored; store a dict or a list")

    def _put(self, key: K, value: V) -> None:
        log, spec, over = self._log, self._spec, self._over
        arguments = [plan.plain_key(spec, key), plan.plain_value(spec, value, key)]
        if container_kind(type(value)) is not None:
            self._add(Plan(codes.PUT, arguments))
            over[key] = log.made(value, spec.value)
            return
        # PUT_MANY has each key once.
        native = type(key) in QUICK_KEYS and arguments[0] is key and arguments[1] is value
        if native and log.growing is not self:
            if log.growing is not self._pairs or key in self._pairs:
                self._settle()
                log.add_pairs(self._target, self._pairs)
            self._pairs[key] = value
            return
        self._settle()
        if key in over:
            log.growing = None
        log.add_leaf(self, codes.PUT, codes.PUT_MANY, arguments)
        over[key] = value

    def __delitem__(self, key: K) -> None:
        self.pop(key)

    def pop(self, key: K, *default: Any) -> None:
        """As ``dict.pop``; the value is among ``results``."""
        planned = self._removal(key)
        if not default:
            if planned is None:
                raise KeyError(key)
            self._add(planned._replace(code=codes.DELETE))
            return
        [instead] = default
        if planned is not None:
            self._add(planned, lambda result: result[1] if result[0] else instead)

    def discard(self, key: K) -> None:
        planned = self._removal(key)
        if planned is not None:
            self._add(planned, _first)

    def _removal(self, key: Any) -> Plan | None:
        """What removes *key*, which from now on is gone here; None when it cannot be there."""
        self._settle()
        held = self._base if self._over.get(key, _GONE) is _GONE else self._over
        planned = plan.discard(held, key)
        if planned is not None:
            # A key that cannot be stored, but equals a stored one, must not stand for it here.
            as_it_is = planned.arguments[0] is key or key not in held
            self._over[key if as_it_is else stored_key(held, key)] = _GONE
        return planned

    def popitem(self) -> None:
        """The last item where the batch lands; ``results`` tells which."""
        self._add(Plan(codes.POP_ITEM, []))

    def clear(self) -> None:
        self._add(Plan(codes.CLEAR, []))
        self._base, self._over = {}, {}

    def setdefault(self, key: K, default: V = None) -> None:  # type: ignore[assignment]
        """As ``dict.setdefault``; ``b[key]`` is then the recorder of the container there."""
        self._add(plan.set_default(self._spec, key, default))
        made = self._log.made(default, self._spec.value)
        if self._entry(key) is _GONE:
            self._over[key] = made

    def update(self, *args: Any, **kwargs: Any) -> None:
        content: dict[Any, Any] = dict(*args, **kwargs)
        planned = plan.put_many(self._spec, content)
        if planned is not None:
            self._add(planned)
            for key, value in content.items():
                self._over[key] = self._log.made(value, self._spec.value)

    def __ior__(self, other: Any) -> Self:
        self.update(other)
        return self

    def increment(self, key: K, by: int | float = 1) -> None:
        self._add(plan.increment(self._spec, key, by))
        self._over[key] = by


class _ListRecorder(Recorder, Generic[T]):
    """What a vec's and a stack's recorder share: the picture of the elements."""

    __slots__ = ("_base", "_items", "_whole")

    def _look_at(self, content: list[Any]) -> None:
        self._base = content
        # The elements as the batch leaves them; a copy only once that is needed.  Until then
        # it holds what was appended.
        self._items: list[Any] = []
        self._whole = False

    def _length(self) -> int:
        return len(self._items) + (0 if self._whole else len(self._base))

    def _picture(self) -> list[Any]:
        if not self._whole:
            self._items = [*list.__iter__(self._base), *self._items]
            self._whole = True
        return self._items

    def _push(self, value: Any) -> None:
        log, spec = self._log, self._spec
        arguments = [plan.plain_value(spec, value, self._length())]
        if container_kind(type(value)) is not None:
            self._add(Plan(codes.APPEND, arguments))
            self._items.append(log.made(value, spec.value))
            return
        log.add_leaf(self, codes.APPEND, codes.EXTEND, arguments)
        self._items.append(value)

    def extend(self, values: Iterable[T]) -> None:
        content = list(values)
        planned = plan.extend(self._spec, content)
        if planned is not None:
            self._add(planned)
            self._items += [self._log.made(value, self._spec.value) for value in content]

    def _pop_last(self) -> None:
        self._add(Plan(codes.POP, []))
        if self._items or self._picture():
            self._items.pop()

    def clear(self) -> None:
        self._add(Plan(codes.CLEAR, []))
        self._items, self._whole = [], True


class VecRecorder(_ListRecorder[T]):
    """A list's mutators, recorded; ``b[i]`` is the recorder of the container at *i*."""

    __slots__ = ()

    def append(self, value: T) -> None:
        self._push(value)

    def __iadd__(self, values: Iterable[T]) -> Self:
        self.extend(values)
        return self

    def __getitem__(self, index: SupportsIndex) -> T:
        length = self._length()
        at = plan.position(index, length, "list index out of range")
        if self._whole or at < len(self._base):
            entry = (self._items if self._whole else self._base)[at]
        else:
            entry = self._items[at - len(self._base)]
        return cast("T", self._log.recorder(entry))

    def insert(self, index: SupportsIndex, value: T) -> None:
        planned = plan.insert(self._spec, index, value, self._length())
        self._add(planned)
        self._picture().insert(planned.arguments[0], self._log.made(value, self._spec.value))

    def pop(self, index: SupportsIndex = -1) -> None:
        """As ``list.pop``; the value is among ``results``."""
        planned = plan.pop(index, self._length())
        if planned.code == codes.POP:
            self._pop_last()
            return
        self._add(planned, _first)
        del self._picture()[planned.arguments[0]]

    def remove(self, value: T) -> None:
        """The first element equal to *value*, a leaf, in the view with the batch's changes."""
        planned = plan.remove(self._picture(), value)
        self._add(planned)
        del self._picture()[planned.arguments[0]]

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, Recorder):
            if self[index] is value:
                return  # Python does this after every b[i] += [x]
            raise TypeError("a recorder cannot be stored; store a dict or a list")
        if isinstance(index, slice) and isinstance(value, Iterable):
            value = list(value)
        planned = plan.set_item(self._spec, index, value, self._length())
        if planned is None:
            return
        self._add(planned)
        if not isinstance(index, slice):
            self._picture()[index] = self._log.made(value, self._spec.value)
            return
        # Containers are counted in the order of the text, which a negative step turns round.
        turned = planned.code == codes.STRIDE_SET and (index.step or 1) < 0
        values = value[::-1] if turned else value
        made = [self._log.made(item, self._spec.value) for item in values]
        self._picture()[index] = made[::-1] if turned else made

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        planned = plan.delete_item(index, self._length())
        if planned is not None:
            self._add(planned)
            del self._picture()[index]

    def __imul__(self, times: SupportsIndex) -> Self:
        items = self._leaves("repeat")
        planned = plan.repeat(self._spec, items, times)
        if planned is not None:
            self._add(planned)
            items *= times.__index__()
        return self

    def reverse(self) -> None:
        planned = plan.reverse(self._length())
        if planned is not None:
            self._add(planned)
            self._picture().reverse()

    def sort(self, *, key: Callable[[T], Any] | None = None, reverse: bool = False) -> None:
        items = self._leaves("sort")
        planned = plan.sort(items, key, reverse)
        if planned is not None:
            self._add(planned)
            items[:] = [items[i] for i in planned.arguments]

    def _leaves(self, what: str) -> list[Any]:
        """The elements, which must not be containers: what is in these is not known here."""
        items = self._picture()
        if any(isinstance(item, _Made | Node) for item in items):
            raise TypeError(f"a batch cannot {what} a list of containers; do it outside the batch")
        return items


class StackRecorder(_ListRecorder[T]):
    """A stack's mutators, recorded."""

    __slots__ = ()

    def push(self, value: T) -> None:
        self._push(value)

    def pop(self) -> None:
        """The top where the batch lands; the value is among ``results``."""
        self._pop_last()


_RECORDERS: Final[dict[str, type[Recorder]]] = {
    "map": MapRecorder,
    "vec": VecRecorder,
    "stack": StackRecorder,
}

R = TypeVar("R", bound=Recorder)


class Batch(Generic[R]):
    """The context manager that ``batch()`` returns.

    When the block ends, what was recorded is applied as one update: all of it or nothing.  An
    operation that fails raises its error, which then has the attribute ``operation``, its index.
    Nothing is applied when the block raises.
    """

    __slots__ = ("_log", "_node")

    def __init__(self, node: Any, recorder: type[R]) -> None:  # noqa: ARG002
        self._node = node
        self._log: _Log | None = None

    def __enter__(self) -> R:
        if self._log is not None:
            raise RuntimeError("a batch is used once; call batch() again")
        tree = self._node._begin()
        self._log = _Log(tree)
        return cast("R", self._log.recorder(self._node))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        log = self._log
        assert log is not None
        log.end()
        if kind is not None:
            return
        if not log.ops:
            log.results = []
            return
        tree = self._node._begin()
        if log.strict and tree.position != log.position:
            raise RuntimeError(
                "the structure was changed while a batch that names positions in lists was open; "
                "nothing of the batch was applied: repeat it, and leave the structure alone meanwhile"
            )
        strict = Strict(None, None) if log.strict else None
        applied = tree.submit(log.update(), strict)
        if applied.failure is not None:
            index, failure = log.index(applied.failure.index), applied.failure.error
            failure.operation = index
            failure.add_note(f"operation {index} of the batch failed, so nothing was changed")
            raise failure
        log.show(applied.results)
