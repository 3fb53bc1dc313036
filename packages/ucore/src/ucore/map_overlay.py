"""A transaction's map: what was put, removed and added, over the content that was there.

An order of its own: as in a dict, a value that is replaced keeps its place, and a key that is
removed and put again goes to the end.  Nothing here costs more than what it touches, but for
``popitem`` in a loop, which takes the rest over once.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, MutableMapping, ValuesView
from itertools import chain
from typing import Any, Self, TypeVar, cast

from . import codes, plan
from .base import ABSENT
from .map_ops import incremented
from .overlay import OVERLAYS, Overlay, stored
from .plan import Plan

K = TypeVar("K")
V = TypeVar("V")


class _Keys(KeysView[K]):
    __slots__ = ()
    _mapping: MapOverlay[K, Any]

    def __reversed__(self) -> Iterator[K]:
        return reversed(self._mapping)


class _Items(ItemsView[K, V]):
    __slots__ = ()
    _mapping: MapOverlay[K, V]

    def __reversed__(self) -> Iterator[tuple[K, V]]:
        return ((key, self._mapping[key]) for key in reversed(self._mapping))


class _Values(ValuesView[V]):
    __slots__ = ()
    _mapping: MapOverlay[Any, V]

    def __reversed__(self) -> Iterator[V]:
        return (self._mapping[key] for key in reversed(self._mapping))


class MapOverlay(Overlay, MutableMapping[K, V]):
    """A transaction's map.  It reads, and raises, as the dict does that the map would be."""

    # What the map shows: *base* without *gone* and with *put* instead of the values there, and
    # behind it *new*.  A key of *put* is in *base*, and counts only while it is not in *gone*.
    __slots__ = ("_base", "_gone", "_new", "_put", "_turn")
    _name_ = "map"
    __hash__ = None  # type: ignore[assignment]

    def _show(self, raw: dict[Any, Any]) -> None:
        self._base = raw
        self._new: dict[Any, Any] = {}
        self._put: dict[Any, Any] = {}
        self._gone: dict[Any, None] = {}
        self._turn = 0  # counts the changes of the keys, for iterators

    def _fill(self, value: Any) -> None:
        self._show({})
        for key, item in dict.items(value):
            self._new[key] = self._made(item)

    # ------------------------------------------------------------ entries

    def _entry(self, key: Any) -> Any:
        found = self._new.get(key, ABSENT)
        if found is ABSENT and key not in self._gone:
            found = self._put.get(key, ABSENT)
            if found is ABSENT:
                found = dict.get(self._base, key, ABSENT)
        return found

    def _set(self, key: Any, value: Any) -> None:
        """Show *value*, which was just stored, at *key*."""
        old = self._entry(key)
        value = self._made(value)
        if old is ABSENT:
            self._turn += 1
            self._new[key] = value
            return
        self._bury(old)
        (self._new if key in self._new else self._put)[key] = value

    def _drop(self, key: Any) -> None:
        """Show nothing at *key*, where something is."""
        self._bury(self._entry(key))
        self._turn += 1
        if key in self._new:
            del self._new[key]
        else:
            self._gone[key] = None

    def _keys(self) -> Iterator[Any]:
        gone = self._gone
        base = dict.__iter__(self._base)
        return chain((key for key in base if key not in gone) if gone else base, self._new)

    def _keys_reversed(self) -> Iterator[Any]:
        base = (key for key in dict.__reversed__(self._base) if key not in self._gone)
        return chain(reversed(self._new), base)

    def _walk(self, keys: Iterator[Any], turn: int) -> Iterator[Any]:
        for key in keys:
            yield key
            self._look()
            if self._turn != turn:
                raise RuntimeError("dictionary changed size during iteration")

    # ------------------------------------------------------------ reading

    def __getitem__(self, key: K) -> V:
        self._look()
        entry = self._entry(key)
        if entry is ABSENT:
            raise KeyError(key)
        return cast("V", self._seen(entry))

    def get(self, key: K, default: Any = None, /) -> Any:
        self._look()
        entry = self._entry(key)
        return default if entry is ABSENT else self._seen(entry)

    def __contains__(self, key: object) -> bool:
        self._look()
        return self._entry(key) is not ABSENT

    def __len__(self) -> int:
        self._look()
        return dict.__len__(self._base) - len(self._gone) + len(self._new)

    def __iter__(self) -> Iterator[K]:
        self._look()
        return self._walk(self._keys(), self._turn)

    def __reversed__(self) -> Iterator[K]:
        self._look()
        return self._walk(self._keys_reversed(), self._turn)

    def keys(self) -> KeysView[K]:
        return _Keys(self)

    def items(self) -> ItemsView[K, V]:
        return _Items(self)

    def values(self) -> ValuesView[V]:
        return _Values(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return len(self) == len(other) and dict(self) == dict(other)

    def __or__(self, other: Any) -> dict[Any, Any]:
        if not isinstance(other, dict | MapOverlay):
            return NotImplemented
        return dict(self) | dict(other)

    def __ror__(self, other: Any) -> dict[Any, Any]:
        if not isinstance(other, dict):
            return NotImplemented
        return dict(other) | dict(self)

    def _text(self) -> str:
        return repr(dict(self))

    def copy(self) -> dict[K, V]:
        self._look()
        return {key: self._plain(self._entry(key)) for key in self._keys()}

    def _detached(self) -> dict[Any, Any]:
        return {key: self._value(self._entry(key)) for key in self._keys()}

    # ------------------------------------------------------------ mutators

    def __setitem__(self, key: K, value: V) -> None:
        self._change()
        if isinstance(value, Overlay) and self._known(self._entry(key)) is value:
            return  # Python does this after every t[k] += [x]
        value = stored(value)
        self._record(plan.put(self._spec, key, value))
        self._set(key, value)
        self._shown()

    def __delitem__(self, key: K) -> None:
        self.pop(key)

    def pop(self, key: K, default: Any = ABSENT, /) -> Any:
        """Remove *key* and return its value as a plain builtin; KeyError, or *default*."""
        self._change()
        entry = self._entry(key)
        if entry is ABSENT:
            if default is ABSENT:
                raise KeyError(key)
            return default
        value = self._plain(entry)
        self._record(plan.delete(cast("dict[Any, Any]", self), key))
        self._drop(key)
        self._shown()
        return value

    def discard(self, key: K) -> bool:
        """Remove *key* if it is there; whether it was."""
        return self.pop(key, self) is not self

    def popitem(self) -> tuple[K, V]:
        """Remove and return the last (key, value); KeyError when empty."""
        self._change()
        if not self._new and self._gone:
            # One look at the end of the base is cheap; a loop must not pass over all that is gone.
            self._new = {key: self._entry(key) for key in self._keys()}
            self._base, self._put, self._gone = {}, {}, {}
        key = next(self._keys_reversed(), ABSENT)
        if key is ABSENT:
            raise KeyError("popitem(): dictionary is empty")
        return cast("K", key), self.pop(cast("K", key))

    def clear(self) -> None:
        self._change()
        if not len(self):
            return
        self._record(Plan(codes.CLEAR, []))
        for overlay in self._below:
            overlay._removed = True
        turn = self._turn
        self._show({})
        self._turn = turn + 1
        self._shown()

    def setdefault(self, key: K, default: V = None, /) -> V:  # type: ignore[assignment]
        """The value of *key*, which is *default* if there was none."""
        self._change()
        default = stored(default)
        planned = plan.set_default(self._spec, key, default)
        if self._entry(key) is ABSENT:
            self._record(planned)
            self._set(key, default)
            self._shown()
        return self[key]

    def update(self, *args: Any, **kwargs: Any) -> None:
        """As ``dict.update``, all or nothing."""
        self._change()
        content = {key: stored(value) for key, value in dict(*args, **kwargs).items()}
        planned = plan.put_many(self._spec, content)
        if planned is None:
            return
        self._record(planned)
        for key, value in content.items():
            self._set(key, value)
        self._shown()

    def __ior__(self, other: Any) -> Self:
        self.update(other)
        return self

    def increment(self, key: K, by: int | float = 1) -> V:
        """Add *by* to the number at *key*, a missing one counting from 0; the new value."""
        self._change()
        planned = plan.increment(self._spec, key, by)
        new = incremented(key, self._known(self._entry(key)), by)
        self._record(planned)
        self._set(key, new)
        self._shown()
        return cast("V", new)


OVERLAYS["map"] = MapOverlay
