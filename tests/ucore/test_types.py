"""Type parameters: what they let pass, what they refuse, and how aliases behave as classes do.

Types are written here in every way that Python allows, the old ones too.
"""
# ruff: noqa: UP006, UP007, UP045

from __future__ import annotations

import collections
import copy
import dataclasses
import math
import pickle
import typing
from collections import OrderedDict, abc
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NewType, Optional, Protocol, TypedDict, TypeVar, Union

import pytest

from ucore.errors import MalformedUpdateError, SkeletonError, WrongTypeError
from ucore.registry import DEPTH_MAX
from ucore.types import (
    ANY,
    Alias,
    alias,
    bare,
    decode_skeleton,
    merge_skeletons,
    spec_of_class,
)

T = TypeVar("T")


# Containers as types.py knows them: by two class attributes and nothing else.
class UMap(dict[Any, Any]):
    _kind_ = "map"
    _arity_ = 2
    __slots__ = ("_spec", "seen")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.seen = self._spec  # known before __init__ runs
        super().__init__(*args, **kwargs)

    def __class_getitem__(cls, params: Any) -> Any:
        return alias(cls, params)

    @classmethod
    def load(cls, content: dict[Any, Any]) -> Any:
        made = bare(cls)
        dict.update(made, content)
        return made

    @staticmethod
    def twice(x: int) -> int:
        return 2 * x


class UVec(list[Any]):
    _kind_ = "vec"
    _arity_ = 1
    __slots__ = ("_spec",)

    def __class_getitem__(cls, params: Any) -> Any:
        return alias(cls, params)


class UStack:
    _kind_ = "stack"
    _arity_ = 1
    __slots__ = ("_items", "_spec")

    def __init__(self, items: abc.Iterable[Any] = ()) -> None:
        self._items = list(items)

    def __class_getitem__(cls, params: Any) -> Any:
        return alias(cls, params)


class SMap(UMap):
    """A generic subclass, as score's is."""


class Todo(UMap[int, list[str]]):
    """A user's: its parameters are fixed."""


class TodoToo(Todo):
    pass


class Colour(Enum):
    RED = 1


class Size(IntEnum):
    S = 1


@dataclasses.dataclass(frozen=True)
class Box(typing.Generic[T]):
    item: T


UserId = NewType("UserId", int)


def spec(form: Any) -> Any:
    return alias(UVec, form).spec.value


# ---------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("form", "values"),
    [
        (Any, [None, 1, object(), [{}]]),
        (object, [None, 1, object(), [{}]]),
        (None, [None]),
        (int, [1, True, Size.S, 2**100]),
        (bool, [True]),
        (float, [1.0, 1, True, math.nan]),
        (complex, [1j, 1.0, 1, True]),
        (str, ["a"]),
        (date, [date(2024, 1, 1), datetime(2024, 1, 1)]),
        (Colour, [Colour.RED]),
        (Enum, [Colour.RED, Size.S]),
        (UserId, [1, True]),
        (Annotated[int, "unit"], [1]),
        (Annotated[UserId | None, "unit"], [1, None]),
        (Optional[str], ["a", None]),
        (int | str, [1, "a", True]),
        (Union[int, Any], [1, "a", []]),
        (Literal[1, "a", None], [1, "a", None]),
        (Literal[Colour.RED], [Colour.RED]),
        (tuple, [(), (1, "a")]),
        (tuple[()], [()]),
        (tuple[int, ...], [(), (1,), (1, True)]),
        (tuple[int, str], [(1, "a")]),
        (tuple[tuple[float, ...], Any], [((1, 2.0), [])]),
        (typing.Tuple, [(1, "a")]),
        (typing.Tuple[int, ...], [(1,)]),
        (frozenset, [frozenset({1})]),
        (frozenset[int | str], [frozenset(), frozenset({1, "a"})]),
        (Box[int], [Box(1), Box("not looked into")]),
        (list, [[], [1, "a"], UVec([1])]),
        (list[int], [[], [1, True], UVec([1])]),
        (typing.List[int], [[1]]),
        (typing.List, [["a"]]),
        (UVec, [[1]]),
        (UVec[int], [[1], UVec([1])]),
        (dict, [{}, {"a": []}, UMap[int, int]({1: 1})]),
        (dict[str, float], [{}, {"a": 1}, UMap[Any, Any](a=1.0)]),
        (dict[str, Any], [{"a": object()}]),
        (dict[Any, str], [{1: "a"}]),
        (typing.Dict[str, int], [{"a": 1}]),
        (UMap[str, list[int]], [{"a": [1]}]),
        (SMap[str, int], [{"a": 1}]),
        (UStack[int], [UStack([1])]),
        (UStack, [UStack([1])]),
        (list[int] | dict[str, int] | None, [[1], {"a": 1}, None]),
        (dict[str, list[int] | None] | str, [{"a": [1], "b": None}, "a"]),
        (UMap[str, int] | None, [None, {"a": 1}]),
        (None | UMap[str, int], [None, {"a": 1}]),
        # Passes by the static rules; that it cannot be stored is encode's to say.
        (dict[str, int], [OrderedDict(a=1)]),
        (list, [type("L", (list,), {})([1])]),
    ],
)  # fmt: skip
def test_what_the_static_rules_let_pass_passes(form: Any, values: list[Any]) -> None:
    for value in values:
        spec(form).check(value)
        alias(UMap, (str, form)).spec.check({"k": value})
        alias(UVec, form).spec.check([value])


@pytest.mark.parametrize(
    ("form", "value", "path", "words"),
    [
        (int, "a", "v", "'a' of type str is not int"),
        (int, 1.0, "v", "float is not int"),
        (int, None, "v", "NoneType is not int"),
        (bool, 1, "v", "is not bool"),
        (float, "1", "v", "is not float"),
        (float, Decimal(1), "v", "is not float"),
        (complex, "1", "v", "is not complex"),
        (None, 0, "v", "is not None"),
        (str, b"a", "v", "is not str"),
        (Colour, 1, "v", "is not Colour"),
        (int | str, 1.0, "v", r"is not int \| str"),
        (int | str, [], "v", "is not int"),
        (Literal[1], True, "v", r"True of type bool is not Literal\[1\]"),
        (Literal["a"], "b", "v", "is not Literal"),
        (tuple, [1], "v", "is not tuple"),
        (tuple[int, ...], (1, "a"), "v", r"is not tuple\[int, ...\]"),
        (tuple[int, ...], [1], "v", "is not tuple"),
        (tuple[int, str], (1,), "v", r"is not tuple\[int, str\]"),
        (tuple[int, str], (1, 2), "v", "is not tuple"),
        (tuple[()], (1,), "v", r"is not tuple\[\(\)\]"),
        (frozenset[int], frozenset({"a"}), "v", r"is not frozenset\[int\]"),
        (frozenset[int], (1,), "v", "is not frozenset"),
        (list[int], [1, "a"], "v[1]", "is not int"),
        (list[int], (1,), "v", r"of type tuple is not list\[int\]"),
        (list[int], UStack([1]), "v", "is not list"),
        (list[list[int]], [[1], [1, None]], "v[1][1]", "is not int"),
        (dict[str, int], {"a": 1, "b": "c"}, "v['b']", "is not int"),
        (dict[str, int], {"a": 1, 2: 3}, "v<key 2>", "is not str"),
        (dict[str, Any], {2: 3}, "v<key 2>", "is not str"),
        (dict[Any, str], {2: 3}, "v[2]", "is not str"),
        (dict[str, int], [1], "v", r"is not dict\[str, int\]"),
        (dict, [1], "v", "is not dict$"),
        (UStack[int], [1], "v", r"is not UStack\[int\]; wrap it: UStack\(...\)"),
        (UStack[int], UStack([1, "a"]), "v[1]", "is not int"),
        (dict[str, list[int] | str], {"a": [1, b""]}, "v['a'][1]", "is not int"),
        (list[int] | str, {}, "v", r"is not list\[int\] \| str"),
        (list[int], type("L", (list,), {})(["a"]), "v[0]", "is not int"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_with_its_place(
    form: Any, value: Any, path: str, words: str
) -> None:
    with pytest.raises(WrongTypeError, match=words) as caught:
        spec(form).check(value, "v")
    assert caught.value.path == path


def test_what_lies_about_its_class_is_not_believed() -> None:
    class Liar:
        __class__ = int  # type: ignore[assignment]

    assert isinstance(Liar(), int)
    with pytest.raises(WrongTypeError, match="Liar is not int"):
        spec(int).check(Liar())


def test_what_fits_at_a_glance_does_so_without_a_call() -> None:
    assert spec(int).exact == {int, bool}
    assert spec(float | None).exact == {float, int, bool, type(None)}
    assert spec(tuple[int]).exact == spec(list[int]).exact == frozenset()


def test_a_place_without_parameters_takes_anything() -> None:
    ANY.check(object())
    assert ANY.key is ANY.value is ANY
    assert spec(int).key is spec(int).value is ANY


# ---------------------------------------------------------------- kinds


@pytest.mark.parametrize(
    ("form", "kind", "skeleton"),
    [
        (Any, "any", None),
        (int, "leaf", "leaf"),
        (int | None, "leaf", "leaf"),
        (tuple[int, ...], "leaf", "leaf"),
        (frozenset[int], "leaf", "leaf"),
        (Literal[1], "leaf", "leaf"),
        (list[int] | None, "any", None),
        (list, "vec", ["vec", None]),
        (list[int], "vec", ["vec", "leaf"]),
        (UStack[Any], "stack", ["stack", None]),
        (dict[str, list[UStack[int]]], "map", ["map", ["vec", ["stack", "leaf"]]]),
    ],
)  # fmt: skip
def test_kind_and_skeleton(form: Any, kind: str, skeleton: Any) -> None:
    assert spec(form).kind == kind
    assert spec(form).skeleton() == skeleton
    assert decode_skeleton(spec(form).skeleton()) == skeleton


def test_a_container_stored_here_obeys_the_alternative_of_its_kind() -> None:
    both = spec(list[int] | dict[str, str] | None)
    assert repr(both) == "list[int] | dict[str, str] | None"
    assert repr(both.child("vec")) == "list[int]"
    assert repr(both.child("map").key) == "str"
    assert both.child("stack") is ANY
    only = spec(list[int])
    assert only.child("vec") is only
    assert only.child("map") is ANY
    assert ANY.child("map") is ANY
    assert spec(int).child("map") is ANY


def test_a_maps_parameters_are_its_key_and_value() -> None:
    whole = alias(UMap, (int, list[str])).spec
    assert [repr(s) for s in (whole, whole.key, whole.value)] == [
        "dict[int, list[str]]",
        "int",
        "list[str]",
    ]
    items = whole.value
    assert items.key is ANY
    assert repr(items.value) == "str"


# ---------------------------------------------------------------- what is refused when written


class Interface(Protocol):
    x: int


class Row(TypedDict):
    x: int


class MyList(list[int]):
    pass


def recursive() -> Any:
    class TypeAliasType:  # what ``type Json = list[Json]`` makes, from Python 3.12
        __value__: Any

    found = TypeAliasType()
    found.__value__ = found
    return found


DEEP: Any = int
for _ in range(DEPTH_MAX + 2):
    DEEP = list[DEEP]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("int", "'int' is a forward reference"),
        (list["int"], "forward reference"),
        (Optional["int"], "forward reference"),
        (T, "~T is a type variable"),
        (list[T], "type variable"),
        (set, r"a set cannot be stored; use frozenset\[T\], or dict\[T, None\]"),
        (set[int], r"use frozenset\[T\]"),
        (abc.Sequence[int], r"use list\[T\] or tuple"),
        (typing.Sequence, r"use list\[T\] or tuple"),
        (abc.Mapping[str, int], r"use dict\[K, V\]"),
        (abc.MutableMapping, r"use dict\[K, V\]"),
        (abc.Hashable, "use object"),
        (abc.Sized, "Sized is an interface"),
        (abc.Callable[[int], int], "Callable is an interface"),
        (Interface, "Interface is an interface; name a concrete type"),
        (Row, r"Row is a dict at run time; use dict\[str, object\]"),
        (OrderedDict, r"a OrderedDict cannot be stored; use dict\[K, V\]"),
        (collections.defaultdict[str, int], r"use dict\[K, V\]"),
        (collections.deque, r"use list\[T\]"),
        (MyList, r"a MyList cannot be stored; use list\[T\]"),
        (bytearray, "use bytes"),
        (1, "1 cannot be checked at run time"),
        ([1], r"\[1\] cannot be checked"),
        (..., "cannot be checked"),
        (typing.LiteralString, "cannot be checked"),
        (typing.Never, "cannot be checked"),
        (typing.Unpack[tuple[int, ...]], "cannot be checked"),
        (tuple[int, *tuple[str, ...]], r"write tuple\[T, ...\]"),
        (tuple[list[int], ...], r"list\[int\] cannot stand in a tuple.*use tuple or frozenset"),
        (tuple[int, UVec], "cannot stand in a tuple"),
        (frozenset[UMap[int, int]], "cannot stand in a frozenset"),
        (tuple[int | list[int], ...], "cannot stand in a tuple"),
        (dict[list[int], int], "cannot stand in a key"),
        (dict[tuple[dict, int], int], "cannot stand in a tuple"),
        (list[int] | list[str], "two containers of one kind"),
        (UMap[int, int] | dict[str, str], "two containers of one kind"),
        (Todo, r"comes back as its base and not as a Todo; name that: UMap\[int, list\[str\]\]"),
        (TodoToo, "not as a TodoToo"),
        (recursive(), "nest deeper than 64 or recur; use Any"),
        (DEEP, "nest deeper than 64"),
    ],
)  # fmt: skip
def test_what_cannot_be_checked_is_refused_when_it_is_written(form: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words) as caught:
        UMap[int, form]
    assert str(caught.value).startswith("UMap[int, ")


def test_a_named_alias_means_what_it_names() -> None:
    class TypeAliasType:
        __value__ = list[int]

    assert repr(spec(TypeAliasType())) == "list[int]"


@pytest.mark.parametrize(
    ("cls", "params", "words"),
    [
        (UMap, int, r"UMap takes 2 type parameters, UMap\[KEY, VALUE\], not 1"),
        (UMap, (int, int, int), "not 3"),
        (UVec, (int, int), r"UVec takes 1 type parameters, UVec\[ITEM\], not 2"),
        (UVec, (), "not 0"),
        (
            Todo,
            (int, int),
            r"Todo has its type parameters already: it is a UMap\[int, list\[str\]\]",
        ),
    ],
)
def test_the_number_of_parameters_is_checked(cls: Any, params: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        cls[params]


# ---------------------------------------------------------------- aliases


def test_calling_an_alias_makes_an_instance_that_knows_it_before_init() -> None:
    made = UMap[str, int](a=1)
    assert type(made) is UMap
    assert made == {"a": 1}
    assert repr(made.seen) == "dict[str, int]"


def test_a_class_method_on_an_alias_makes_an_instance_that_knows_it() -> None:
    made = UMap[str, int].load({"a": 1})
    assert type(made) is UMap
    assert repr(made._spec) == "dict[str, int]"
    assert UMap.load({})._spec is ANY
    assert repr(Todo.load({})._spec) == "dict[int, list[str]]"
    assert type(TodoToo.load({})) is TodoToo


def test_an_alias_forwards_other_attributes_and_no_dunders() -> None:
    assert UMap[str, int].twice(2) == 4
    assert UMap[str, int]._arity_ == 2
    with pytest.raises(AttributeError, match="nothing"):
        UMap[str, int].nothing
    with pytest.raises(AttributeError, match=r"UMap\[str, int\] has no attribute '__len__'"):
        UMap[str, int].__len__


def test_a_subclass_of_an_alias_has_its_spec_and_so_have_those_below() -> None:
    assert Todo.__bases__ == (UMap,)
    for cls in (Todo, TodoToo):
        assert repr(spec_of_class(cls)) == "dict[int, list[str]]"
    assert spec_of_class(UMap) is spec_of_class(SMap) is ANY


def test_an_alias_may_stand_beside_other_generic_bases() -> None:
    class Mixed(Box[int], UVec[str]):
        pass

    assert repr(spec_of_class(Mixed)) == "list[str]"


def test_aliases_are_equal_by_their_parts() -> None:
    a = UMap[str, list[int]]
    assert a == UMap[str, list[int]]
    assert hash(a) == hash(UMap[str, list[int]])
    assert a != UMap[str, list[str]]
    assert a != SMap[str, list[int]]
    assert a != dict[str, list[int]]
    assert (a.__origin__, a.__args__, a.__parameters__) == (UMap, (str, list[int]), ())


def test_an_alias_reads_as_it_was_written() -> None:
    assert repr(UMap[str, UVec[int | None]]) == "UMap[str, UVec[int | None]]"
    assert repr(UVec[None]) == "UVec[None]"
    assert repr(UVec[type(None)]) == "UVec[None]"


def test_an_alias_can_be_pickled_and_copied() -> None:
    a = UMap[str, UVec[int]]
    for again in (pickle.loads(pickle.dumps(a)), copy.copy(a), copy.deepcopy(a)):
        assert type(again) is Alias
        assert again == a
        assert repr(again.spec) == "dict[str, list[int]]"


def test_an_alias_is_a_type_to_typing() -> None:
    a = UMap[str, int]
    assert typing.get_args(a | None) == (a, type(None))
    assert typing.get_args(None | a) == (type(None), a)
    assert typing.get_args(Optional[a]) == (a, type(None))
    assert list[a].__args__ == (a,)

    def function(x: a) -> None: ...

    assert typing.get_type_hints(function, localns={"a": a}) == {"x": a, "return": type(None)}


def test_isinstance_with_an_alias_says_what_to_use() -> None:
    with pytest.raises(TypeError, match=r"isinstance\(\) with UVec\[int\]: use UVec"):
        isinstance([], UVec[int])
    with pytest.raises(TypeError, match=r"issubclass\(\) with UVec\[int\]: use UVec"):
        issubclass(list, UVec[int])


# ---------------------------------------------------------------- skeletons


@pytest.mark.parametrize(
    ("a", "b", "merged"),
    [
        (None, None, None),
        (None, "leaf", "leaf"),
        (["map", None], None, ["map", None]),
        (["map", None], ["map", "leaf"], ["map", "leaf"]),
        (["map", ["vec", None]], ["map", ["vec", "leaf"]], ["map", ["vec", "leaf"]]),
        ("leaf", "leaf", "leaf"),
    ],
)
def test_skeletons_merge_both_ways(a: Any, b: Any, merged: Any) -> None:
    assert merge_skeletons(a, b) == merge_skeletons(b, a) == merged


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (["map", None], ["vec", None],
         "the structure was declared as a map of anything and is asked for as a list of anything"),
        (["map", ["vec", "leaf"]], ["map", ["stack", None]],
         "each value of the structure was declared as a list of plain values and is asked for as a stack"),
        (["map", ["vec", "leaf"]], ["map", ["vec", ["map", "leaf"]]],
         "each value of each value of the structure was declared as plain values"),
        ("leaf", ["map", None], "as plain values and is asked for as a map of anything"),
    ],
)  # fmt: skip
def test_skeletons_that_part_say_where_and_how(a: Any, b: Any, words: str) -> None:
    with pytest.raises(SkeletonError, match=words):
        merge_skeletons(a, b)
    with pytest.raises(SkeletonError, match="group 'x'"):
        merge_skeletons(b, a, "group 'x'")


def deep(levels: int) -> Any:
    found: Any = None
    for _ in range(levels):
        found = ["map", found]
    return found


@pytest.mark.parametrize(
    "plain",
    [0, True, "map", b"leaf", [], ["leaf"], ["map"], ["map", 1], ["set", None], ["map", None, None],
     [b"map", None], [["map"], None], ("map", None), ["map", ["vec", "x"]], {}, deep(DEPTH_MAX), deep(10**5)],
    ids=lambda plain: repr(plain)[:30] if not isinstance(plain, list) else None,
)  # fmt: skip
def test_a_malformed_skeleton_is_one_typed_error(plain: Any) -> None:
    with pytest.raises(MalformedUpdateError, match="is not a skeleton"):
        decode_skeleton(plain)


def test_the_deepest_skeleton_is_taken() -> None:
    assert decode_skeleton(deep(DEPTH_MAX - 1)) == deep(DEPTH_MAX - 1)
