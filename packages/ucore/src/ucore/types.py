"""Type parameters at run time: ``UMap[int, list[str]]`` as something that checks what is put in.

Rules
- A value is checked where it enters, by the rules of the static checkers: a bool is an int, an int
  passes as a float (and is stored unchanged), a subclass passes as its base, ``X | None`` takes
  None, ``Any`` and ``object`` take anything.  Whether it can be stored is not asked here.
- ``list[T]`` and ``UVec[T]`` mean the same container, as do ``dict[K, V]`` and ``UMap[K, V]``.
- What cannot be checked is refused when the parameters are written, not when a value comes: type
  variables, forward references, interfaces such as ``Sequence``, two lists in one union.
- Nesting alone is shared between programs (a *skeleton*); types of leaves may differ.

An alias of our own, and not ``types.GenericAlias``: that one sets ``__orig_class__`` after ``__init__``,
too late for checking the first content, and fails to on a class with ``__slots__``.

Containers are told by their class attribute ``_kind_``, so that this module knows no node class.
"""

from __future__ import annotations

import collections
import types
import typing
from collections import abc
from collections.abc import Callable, Iterable
from typing import Annotated, Any, ForwardRef, Literal, NewType, TypeVar, Union

from ucore.errors import MalformedUpdateError, SkeletonError, WrongTypeError
from ucore.registry import DEPTH_MAX, NATIVE_TYPES, Plain, Refusal, container_kind, short

__all__ = [
    "ANY", "Alias", "Spec", "alias", "bare", "decode_skeleton", "merge_skeletons", "spec_of_class",
]  # fmt: skip


# ---------------------------------------------------------------- specs


class Spec:
    """What is allowed at one place; this class itself is ``ANY``, the others narrow it.  Immutable.

    *kind*: ``"leaf"``, ``"map"``, ``"vec"``, ``"stack"``; ``"any"`` when it is not fixed to one.
    *exact*: types whose instances fit without a look at the value (for loops that are in a hurry).
    *key*, *value*: of a container, what its keys and its values or items may be; elsewhere ``ANY``.
    """

    __slots__ = ("_text", "exact", "key", "kind", "value")

    kind: str
    exact: frozenset[type]
    key: Spec
    value: Spec

    def __init__(
        self, kind: str, text: str, exact: frozenset[type], key: Spec | None, value: Spec | None
    ) -> None:
        self.kind = kind
        self.exact = exact
        self._text = text
        self.key = key or self  # None only for ANY, which is its own
        self.value = value or self

    def __repr__(self) -> str:
        return self._text

    def check(self, value: object, path: str = "") -> None:
        """Raise WrongTypeError, with the place below *path*, unless *value* fits, all the way down."""
        if type(value) in self.exact:
            return
        try:
            self.look(value)
        except Refusal as refusal:
            raise WrongTypeError(refusal.message, refusal.path(path)) from None

    def look(self, value: Any) -> None:
        """Raise Refusal unless *value* fits."""
        if not self.fits(value):
            raise Refusal(f"{short(value)} of type {type(value).__qualname__} is not {self}")

    def fits(self, value: Any) -> bool:  # noqa: ARG002
        """Whether *value* fits, without saying why not; containers answer in :meth:`look`."""
        return True

    def child(self, kind: str) -> Spec:
        """What a container of *kind* that is stored here has to obey; ``ANY`` when nothing is said."""
        return self if self.kind == kind else ANY

    def skeleton(self) -> Plain:
        """The nesting alone: None (unknown), "leaf", or [kind, the skeleton of its values]."""
        return "leaf" if self.kind == "leaf" else None


ANY = Spec("any", "Any", NATIVE_TYPES, None, None)


class _Narrower(Spec):
    """Whatever is not ``ANY``."""

    __slots__ = ()

    def __init__(
        self,
        kind: str,
        text: str,
        exact: frozenset[type] = frozenset(),
        key: Spec = ANY,
        value: Spec = ANY,
    ) -> None:
        super().__init__(kind, text, exact, key, value)


class _Class(_Narrower):
    """Instances of a class, its subclasses and what the static checkers promote to it."""

    __slots__ = ("_classes",)

    def __init__(self, cls: type) -> None:
        self._classes = (cls, *_PROMOTED.get(cls, ()))
        # bool stands here only for speed: it is a subclass of int.
        exact = {*self._classes, *((bool,) if int in self._classes else ())}
        super().__init__("leaf", _name(cls), frozenset(exact))

    def fits(self, value: Any) -> bool:
        return issubclass(type(value), self._classes)


class _Tuple(_Narrower):
    """``tuple[X, Y]``, or ``tuple[X, ...]`` when *every* is given."""

    __slots__ = ("_every", "_items")

    def __init__(self, items: tuple[Spec, ...], every: Spec | None) -> None:
        inside = f"{every}, ..." if every else ", ".join(map(str, items)) or "()"
        super().__init__("leaf", f"tuple[{inside}]")
        self._items = items
        self._every = every

    def fits(self, value: Any) -> bool:
        if not issubclass(type(value), tuple):
            return False
        if self._every:
            return _all_fit(self._every, tuple.__iter__(value))
        if len(value) != len(self._items):
            return False
        for spec, item in zip(self._items, tuple.__iter__(value), strict=True):
            if type(item) not in spec.exact and not spec.fits(item):
                return False
        return True


class _FrozenSet(_Narrower):
    __slots__ = ("_every",)

    def __init__(self, every: Spec) -> None:
        super().__init__("leaf", f"frozenset[{every}]")
        self._every = every

    def fits(self, value: Any) -> bool:
        if not issubclass(type(value), frozenset):
            return False
        return _all_fit(self._every, frozenset.__iter__(value))


def _all_fit(spec: Spec, items: Iterable[object]) -> bool:
    exact = spec.exact
    return all(type(item) in exact or spec.fits(item) for item in items)


class _Literal(_Narrower):
    """One of these values, with its exact type: True is not Literal[1]."""

    __slots__ = ("_values",)

    def __init__(self, values: tuple[object, ...]) -> None:
        super().__init__("leaf", f"Literal[{', '.join(map(repr, values))}]")
        self._values = values

    def fits(self, value: Any) -> bool:
        return any(type(value) is type(v) and value == v for v in self._values)


class _Union(_Narrower):
    """One of several; at most one container of each kind, so that a node knows which it is."""

    __slots__ = ("_containers", "_leaves")

    def __init__(self, alternatives: list[Spec]) -> None:
        self._leaves = [a for a in alternatives if a.kind == "leaf"]
        self._containers = {a.kind: a for a in alternatives if a.kind != "leaf"}
        exact = frozenset[type]().union(*(a.exact for a in alternatives))
        kind = "any" if self._containers else "leaf"
        super().__init__(kind, " | ".join(map(str, alternatives)), exact)

    def look(self, value: Any) -> None:
        kind = _kind_of(value)
        if kind in self._containers:
            self._containers[kind].look(value)
        else:
            super().look(value)

    def fits(self, value: Any) -> bool:
        return any(a.fits(value) for a in self._leaves)

    def child(self, kind: str) -> Spec:
        return self._containers.get(kind, ANY)


class _Container(_Narrower):
    __slots__ = ()

    def __init__(self, kind: str, parameters: tuple[Spec, ...]) -> None:
        name = {"map": "dict", "vec": "list", "stack": "UStack"}[kind]
        inside = f"[{', '.join(map(str, parameters))}]" if parameters else ""
        key, value = (ANY, ANY, *parameters)[-2:]
        # A vec's or stack's single parameter is that of its items.
        super().__init__(kind, name + inside, key=key, value=value)

    def look(self, value: Any) -> None:
        if _kind_of(value) != self.kind:
            advice = "; wrap it: UStack(...)" if self.kind == "stack" else ""
            name = type(value).__qualname__
            raise Refusal(f"{short(value)} of type {name} is not {self}{advice}")
        if self.kind == "map":
            self._look_at_items(value)
        elif self.value is not ANY:
            self._look_at_elements(value._items if self.kind == "stack" else value)

    def _look_at_items(self, value: dict[Any, Any]) -> None:
        spec, keys, values = self.value, self.key.exact, self.value.exact
        anything = spec is ANY
        if anything and self.key is ANY:
            return
        any_key = self.key is ANY
        for key, item in dict.items(value):
            if not any_key and type(key) not in keys:
                try:
                    self.key.look(key)
                except Refusal as refusal:
                    refusal.steps.append(f"<key {short(key)}>")
                    raise
            if not anything and type(item) not in values:
                try:
                    spec.look(item)
                except Refusal as refusal:
                    refusal.steps.append(f"[{short(key)}]")
                    raise

    def _look_at_elements(self, items: list[Any]) -> None:
        spec, exact = self.value, self.value.exact
        for index, item in enumerate(list.__iter__(items)):
            if type(item) not in exact:
                try:
                    spec.look(item)
                except Refusal as refusal:
                    refusal.steps.append(f"[{index}]")
                    raise

    def skeleton(self) -> Plain:
        return [self.kind, self.value.skeleton()]


def _kind_of(value: object) -> str | None:
    """The kind of container that *value* passes as; a subclass of dict or list passes too."""
    cls = type(value)
    if kind := container_kind(cls):
        return kind
    # Static checkers let them pass; that they cannot be stored is said by encode.
    return "map" if issubclass(cls, dict) else "vec" if issubclass(cls, list) else None


# PEP 484's numeric tower; bool comes with int.
_PROMOTED: dict[type, tuple[type, ...]] = {float: (int,), complex: (float, int)}


# ---------------------------------------------------------------- reading annotations

_INSTEAD: dict[type, str] = {
    set: "frozenset[T], or dict[T, None]",
    abc.Set: "frozenset[T]",
    abc.MutableSet: "frozenset[T], or dict[T, None]",
    abc.Sequence: "list[T] or tuple[T, ...]",
    abc.MutableSequence: "list[T]",
    abc.Collection: "list[T] or tuple[T, ...]",
    abc.Iterable: "list[T] or tuple[T, ...]",
    abc.Mapping: "dict[K, V]",
    abc.MutableMapping: "dict[K, V]",
    abc.Hashable: "object",
    collections.deque: "list[T]",
    bytearray: "bytes",
    memoryview: "bytes",
}


def _name(form: Any) -> str:
    """As it is written in annotations."""
    if form is type(None):
        return "None"
    return form.__qualname__ if isinstance(form, type) else repr(form)


def _spec(form: Any, depth: int = 0, leaf: str = "") -> Spec:
    """The Spec of an annotation; *leaf* names the immutable thing that it stands in, if any."""
    if depth > DEPTH_MAX:
        raise TypeError(f"type parameters nest deeper than {DEPTH_MAX} or recur; use Any")
    if form is Any or form is object:
        return ANY
    if form is None:
        return _Class(type(None))
    if isinstance(form, str | ForwardRef):
        raise TypeError(
            f"{form!r} is a forward reference, which cannot be looked up; name the type itself"
        )
    if isinstance(form, TypeVar):
        raise TypeError(
            f"{form} is a type variable, which says nothing at run time; name a type or Any"
        )
    if getattr(form, "__unpacked__", False):
        raise TypeError(f"{form} cannot be checked at run time; write tuple[T, ...]")
    if isinstance(form, Alias):
        return _container(form.spec, leaf)
    if isinstance(form, NewType):
        return _spec(form.__supertype__, depth + 1, leaf)
    if type(form).__name__ == "TypeAliasType":  # ``type X = ...``, from Python 3.12
        return _spec(form.__value__, depth + 1, leaf)
    origin = typing.get_origin(form)
    if origin is None:
        return _spec_of_plain_class(form, leaf)
    if origin is Annotated:
        return _spec(form.__origin__, depth + 1, leaf)
    if not hasattr(form, "__args__"):  # typing.List and its like, without parameters
        return _spec_of_plain_class(origin, leaf)
    arguments = typing.get_args(form)
    if origin is Literal:
        return _Literal(arguments)
    if origin is Union or origin is types.UnionType:
        return _spec_of_union(form, [_spec(a, depth + 1, leaf) for a in arguments])
    if origin is tuple:
        return _spec_of_tuple(arguments, depth + 1)
    if origin is frozenset:
        return _FrozenSet(_spec(arguments[0], depth + 1, "a frozenset"))
    if origin is dict or origin is list:
        return _container(_parametrised(container_kind(origin) or "", arguments, depth + 1), leaf)
    return _spec_of_plain_class(origin, leaf)


def _parametrised(kind: str, arguments: tuple[Any, ...], depth: int) -> Spec:
    if kind == "map":
        key, value = arguments
        return _Container(kind, (_spec(key, depth, "a key"), _spec(value, depth)))
    return _Container(kind, (_spec(arguments[0], depth),))


def _container(spec: Spec, leaf: str) -> Spec:
    if leaf:
        raise TypeError(
            f"{spec} cannot stand in {leaf}, which is immutable; use tuple or frozenset"
        )
    return spec


def _spec_of_union(form: Any, alternatives: list[Spec]) -> Spec:
    if ANY in alternatives:
        return ANY
    kinds = [a.kind for a in alternatives if a.kind != "leaf"]
    if len(set(kinds)) < len(kinds):
        raise TypeError(
            f"{form}: two containers of one kind cannot be told apart at run time; "
            "merge them, as in list[int | str]"
        )
    return _Union(alternatives)


def _spec_of_tuple(arguments: tuple[Any, ...], depth: int) -> Spec:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return _Tuple((), _spec(arguments[0], depth, "a tuple"))
    return _Tuple(tuple(_spec(a, depth, "a tuple") for a in arguments), None)


def _spec_of_plain_class(form: Any, leaf: str) -> Spec:
    """The Spec of a class without parameters; pointed words for what is often tried."""
    if not isinstance(form, type):
        raise TypeError(f"{form!r} cannot be checked at run time; name a type, or Any")
    if form in _INSTEAD:
        raise TypeError(f"a {form.__qualname__} cannot be stored; use {_INSTEAD[form]}")
    if typing.is_typeddict(form):
        raise TypeError(f"{form.__qualname__} is a dict at run time; use dict[str, object]")
    if form.__module__ == "collections.abc" or getattr(form, "_is_protocol", False):
        raise TypeError(f"{form.__qualname__} is an interface; name a concrete type, or object")
    if kind := container_kind(form):
        if spec_of_class(form) is not ANY:
            raise TypeError(
                f"what is stored comes back as its base and not as a {form.__qualname__}; "
                f"name that: {_bound_alias(form)}"
            )
        return _container(_Container(kind, ()), leaf)
    for base, name in ((dict, "dict[K, V]"), (list, "list[T]")):
        if issubclass(form, base):
            raise TypeError(f"a {form.__qualname__} cannot be stored; use {name}")
    return _Class(form)


# ---------------------------------------------------------------- skeletons


def decode_skeleton(plain: object) -> Plain:
    """*plain* if it is a skeleton; MalformedUpdateError otherwise."""
    at = plain
    for _ in range(DEPTH_MAX):
        if at is None or (type(at) is str and at == "leaf"):
            return plain  # type: ignore[return-value]
        if type(at) is not list or len(at) != 2 or type(at[0]) is not str:
            break
        if at[0] not in ("map", "vec", "stack"):
            break
        at = at[1]
    raise MalformedUpdateError(f"{short(plain)} is not a skeleton")


def merge_skeletons(a: Plain, b: Plain, path: str = "") -> Plain:
    """What both declare together; None fits anything.

    *a* is what was declared before and *b* what is asked for.  Raises SkeletonError that says where
    they part, below *path*, and how each reads.
    """
    if a is None or a == b:
        return b
    if b is None:
        return a
    if isinstance(a, list) and isinstance(b, list) and a[0] == b[0]:
        return [a[0], merge_skeletons(a[1], b[1], f"each value of {path or 'the structure'}")]
    raise SkeletonError(
        f"{path or 'the structure'} was declared as {_in_words(a)} and is asked for as {_in_words(b)}; "
        "use the type parameters that it was made with"
    )


def _in_words(skeleton: Plain) -> str:
    if skeleton is None:
        return "anything"
    if isinstance(skeleton, list):
        name = {"map": "a map", "vec": "a list", "stack": "a stack"}[str(skeleton[0])]
        return f"{name} of {_in_words(skeleton[1])}"
    return "plain values"


# ---------------------------------------------------------------- aliases


class Alias:
    """A container class with its type parameters: ``UMap[int, list[str]]``.

    Calling it makes an instance that knows them before ``__init__`` runs.  A class method called on
    it (``UMap[str, int].load(plain)``) gets the alias as its *cls*; :func:`bare` makes the instance.
    It can be a base class, a type argument and part of a union.
    """

    __slots__ = ("__args__", "__origin__", "spec")

    __origin__: type
    __args__: tuple[Any, ...]
    spec: Spec  # of the whole container
    __parameters__ = ()  # asked for by typing: no type variable is left

    def __init__(self, origin: type, arguments: tuple[Any, ...], spec: Spec) -> None:
        self.__origin__ = origin
        self.__args__ = arguments
        self.spec = spec

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        made = bare(self)
        made.__init__(*args, **kwargs)
        return made

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type]:
        # Python leaves the alias itself in __orig_bases__, where spec_of_class finds it.
        return (self.__origin__,)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"{self!r} has no attribute {name!r}")
        found = getattr(self.__origin__, name)
        if isinstance(found, types.MethodType) and found.__self__ is self.__origin__:
            return types.MethodType(found.__func__, self)
        return found

    def __eq__(self, other: object) -> bool:
        if type(other) is not Alias:
            return NotImplemented
        return (self.__origin__, self.__args__) == (other.__origin__, other.__args__)

    def __hash__(self) -> int:
        return hash((self.__origin__, self.__args__))

    def __repr__(self) -> str:
        inside = ", ".join(_name(a) for a in self.__args__)
        return f"{self.__origin__.__qualname__}[{inside}]"

    def __or__(self, other: Any) -> Any:
        return Union[self, other]  # noqa: UP007

    def __ror__(self, other: Any) -> Any:
        return Union[other, self]  # noqa: UP007

    def __instancecheck__(self, instance: object) -> bool:
        raise TypeError(f"isinstance() with {self!r}: use {self.__origin__.__qualname__}")

    def __subclasscheck__(self, subclass: type) -> bool:
        raise TypeError(f"issubclass() with {self!r}: use {self.__origin__.__qualname__}")

    def __reduce__(self) -> tuple[Callable[..., Alias], tuple[type, tuple[Any, ...]]]:
        return alias, (self.__origin__, self.__args__)


def alias(cls: type, params: Any) -> Alias:
    """``cls[params]`` for a container class; TypeError says what is wrong with the parameters."""
    arguments = params if isinstance(params, tuple) else (params,)
    name = cls.__qualname__
    if bound := _bound_alias(cls):
        raise TypeError(f"{name} has its type parameters already: it is a {bound}")
    arity: int = cls._arity_  # type: ignore[attr-defined]
    if len(arguments) != arity:
        example = "[KEY, VALUE]" if arity == 2 else "[ITEM]"
        raise TypeError(
            f"{name} takes {arity} type parameters, {name}{example}, not {len(arguments)}"
        )
    try:
        spec = _parametrised(cls._kind_, arguments, 0)  # type: ignore[attr-defined]
    except TypeError as error:
        shown = ", ".join(_name(a) for a in arguments)
        raise TypeError(f"{name}[{shown}]: {error}") from None
    return Alias(cls, arguments, spec)


def _bound_alias(cls: type) -> Alias | None:
    """The alias that *cls* or one of its bases inherits from."""
    for ancestor in cls.__mro__:
        for base in ancestor.__dict__.get("__orig_bases__", ()):
            if isinstance(base, Alias):
                return base
    return None


def spec_of_class(cls: type) -> Spec:
    """The spec that ``class Todo(UMap[int, str])`` or a class below it stands for; else ``ANY``."""
    bound = _bound_alias(cls)
    return bound.spec if bound else ANY


def bare(cls: type | Alias) -> Any:
    """A new instance of a container class, or of an alias, whose ``__init__`` has not run.

    Its ``_spec`` is set.
    """
    origin: Any = cls.__origin__ if isinstance(cls, Alias) else cls
    made = origin.__new__(origin)
    made._spec = cls.spec if isinstance(cls, Alias) else spec_of_class(cls)
    return made
