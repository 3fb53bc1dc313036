"""An update's text is read completely or refused: nothing else gets through."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ucore import (
    CannotApplyError,
    MalformedUpdateError,
    SkeletonError,
    UMap,
    UnknownTypeError,
    Update,
    UStack,
    codes,
)
from ucore.change import Literal
from ucore.ops import OPERATIONS, Reader, _read_one, _read_simple, put_step, read

GOOD: list[list[Any]] = [
    [codes.DECLARE, ["map", "leaf"]],
    [codes.PUT, 0, 0, "k", 1],
    [codes.PUT, 3, 1, [2, 1], [33, [32, "a", [34]], None]],
    [codes.PUT, 0, 0, "k", [36, 1, 2, [37, 1, 3, b""]]],
    [codes.DELETE, 0, 2, 1.5],
    [codes.DISCARD, 0, 0, "ä"],
    [codes.POP_ITEM, 0, 0],
    [codes.SET_DEFAULT, 0, 0, None, True],
    [codes.PUT_MANY, 0, 0],
    [codes.PUT_MANY, 0, 0, "k", 1, "l", [33]],
    [codes.CLEAR, 0, 0],
    [codes.INCREMENT, 0, 0, "k", -0.5],
    [codes.INCREMENT, 0, 0, "k", [1, b"\x01" + bytes(8)]],
    [codes.DISCARD_MANY, 0, 0, "k", "k"],
    [codes.APPEND, 0, 0, "ä"],
    [codes.APPEND, 0, 0, "a"],
    [codes.EXTEND, 0, 0, 1, [33]],
    [codes.POP, 0, 0],
    [codes.SPLICE, 0, 0, 0, 0],
    [codes.SPLICE, 0, 0, 1, 2, 3],
    [codes.STRIDE_SET, 0, 0, 1, 2, 3],
    [codes.STRIDE_DELETE, 0, 0, 1, 2, 3],
    [codes.STRIDE_INSERT, 0, 0, 1, 2, 3, 4],
    [codes.PERMUTE, 0, 0, 1, 0],
    [codes.REVERSE, 0, 0],
]

BAD: list[Any] = [
    None,
    (),
    [],
    ["1"],
    [True, 0, 0, "k", 1],
    [99, 0, 0],
    [-1],
    [codes.PUT],
    [codes.PUT, 0, 0, "k"],
    [codes.PUT, 0, 0, "k", 1, 2],
    [codes.PUT, -1, 0, "k", 1],
    [codes.PUT, 1, 0, "k", 1],
    [codes.PUT, 0, True, "k", 1],
    [codes.PUT, 0, 2**63, "k", 1],
    [codes.PUT, 0, 0, [33], 1],
    [codes.PUT, 0, 0, float("nan"), 1],
    [codes.PUT, 0, 0, "k", 2**63],
    [codes.PUT, 0, 0, "k", "\ud800"],
    [codes.PUT, 0, 0, "k", (1,)],
    [codes.PUT, 0, 0, "k", {}],
    [codes.PUT, 0, 0, "k", []],
    [codes.PUT, 0, 0, "k", [True]],
    [codes.PUT, 0, 0, "k", [2, [33]]],
    [codes.PUT, 0, 0, "k", [32, "a"]],
    [codes.PUT, 0, 0, "k", [32, "a", 1, "a", 2]],
    [codes.PUT, 0, 0, "k", [32, 1, 1, True, 2]],
    [codes.PUT, 0, 0, "k", [35, 1]],
    [codes.PUT, 0, 0, "k", [35, 0, 1]],
    [codes.PUT, 0, 0, "k", [35, 1, 0]],
    [codes.PUT, 0, 0, "k", [35, 1, "1"]],
    [codes.PUT, 0, 0, "k", [36, 1, 1, [36, 1, 1]]],
    [codes.PUT_MANY, 0, 0, "k"],
    [codes.PUT_MANY, 0, 0, "k", 1, "k", 2],
    [codes.INCREMENT, 0, 0, "k", True],
    [codes.INCREMENT, 0, 0, "k", "1"],
    [codes.INCREMENT, 0, 0, "k", [2, [1, b"\x01" + bytes(3000)]]],  # its repr raises
    [codes.DISCARD_MANY, 0, 0, [33]],
    [codes.POP, 0, 0, 1],
    [codes.POP],
    [codes.SPLICE, 0, 0, 0],
    [codes.SPLICE, 0, 0, -1, 0],
    [codes.SPLICE, 0, 0, 0, 1.0],
    [codes.EXTEND, 0],
    [codes.STRIDE_SET, 0, 0, 0, 1],
    [codes.STRIDE_SET, 0, 0, 0, 0, 1],
    [codes.STRIDE_SET, 0, 0, "0", 1, 1],
    [codes.STRIDE_DELETE, 0, 0, 0, 0, 1],
    [codes.STRIDE_DELETE, 0, 0, 0, 1, 0],
    [codes.STRIDE_DELETE, 0, 0, 0, 1, None],
    [codes.STRIDE_INSERT, 0, 0, 0, 1],
    [codes.PERMUTE, 0, 0, 0, 0],
    [codes.PERMUTE, 0, 0, 1, 2],
    [codes.PERMUTE, 0, 0, "0"],
    [codes.DECLARE],
    [codes.DECLARE, ["heap", None]],
    [codes.DECLARE, 0, 0, None],
]


@pytest.mark.parametrize("op", GOOD, ids=repr)
def test_what_is_well_formed_is_read(op: list[Any]) -> None:
    [step] = read([op])
    operation = OPERATIONS[op[0]]
    assert step[:2] == (operation.run, operation.kinds)
    assert step[2] == ((0, 0) if op[0] == codes.DECLARE else (op[1], op[2]))


def test_every_operation_is_among_the_examples() -> None:
    assert {op[0] for op in GOOD} == set(OPERATIONS)


@pytest.mark.parametrize("op", BAD, ids=ascii)
def test_what_is_malformed_is_refused(op: Any) -> None:
    with pytest.raises(MalformedUpdateError):
        read([op])


def test_the_refusal_names_the_operation() -> None:
    with pytest.raises(MalformedUpdateError, match=r"^SPLICE: a splice needs"):
        read([[codes.SPLICE, 0, 0, 0, -1]])
    with pytest.raises(MalformedUpdateError, match="code 99"):
        read([[99, 0, 0]])


def test_the_quick_way_to_read_is_silent_or_right() -> None:
    last = 2**63 - 1
    places = [
        (0, 0),
        (3, 1),
        (0, 5),
        (last, last),
        (1, 0),
        (-1, 1),
        (0, -1),
        (last + 1, 1),
        (1, last + 1),
    ]
    places += [(False, 0), (0, False), (0.0, 0), (1, 1.0)]
    values = [
        "v",
        "ä",
        "\ud800",
        5,
        last,
        last + 1,
        -last - 2,
        True,
        None,
        0.5,
        b"",
        [33],
        [2, 1],
        (),
    ]
    forms = [[code, *at] for code in (*OPERATIONS, True, 16.0, 99, "1") for at in places]
    texts = [[*form, value] for form in forms for value in values]
    texts += [[*form, key, value] for form in forms for key in ("k", "ä", 1) for value in values]
    taken = 0
    for op in [*texts, *GOOD, *BAD]:
        step = _read_simple(op)
        taken += step is not None
        if step is not None:
            assert repr(step) == repr(_read_one(Reader(), op))
    assert taken == 4 * (3 * 7 + 3) + 3


def test_an_unknown_type_is_told_apart_from_a_malformed_one() -> None:
    with pytest.raises(UnknownTypeError) as caught:
        read([[codes.PUT, 0, 0, "k", [33, [32, "a", [4711, 1]]]]])
    assert caught.value.type_id == 4711


def test_ordinals_are_counted_over_the_whole_text_before_anything_runs() -> None:
    steps = read(
        [
            [codes.PUT, 0, 0, "a", [33, [32, "x", [33]], [34]]],
            [codes.PUT, 0, 0, "b", [36, 5, 5, [33]]],
        ]
    )
    outer = steps[0][3][1]
    assert (outer.ident, outer.content[0].ident, outer.content[1].ident) == (1, 2, 4)
    assert outer.content[0].content["x"].ident == 3
    restored = steps[1][3][1]
    assert (restored.ident, restored.content[0].ident) == ((5, 5), 5)
    assert [step[4] for step in steps] == [(), ((5, 5),)]
    assert [step[5] for step in steps] == [3, 2]


def test_a_declaration_that_does_not_fit_is_a_failure() -> None:
    tree = UMap()._tree
    tree.apply(Update([[codes.DECLARE, ["map", "leaf"]]]), 1)
    applied = tree.apply(Update([[codes.DECLARE, ["map", ["vec", None]]]]), 2)
    assert applied.failure is not None
    assert isinstance(applied.failure.error, SkeletonError)
    assert tree.skeleton == ["map", "leaf"]


def test_clear_is_for_every_kind() -> None:
    m = UMap[str, Any](m={"a": 1}, v=[1], s=UStack([1]))
    m.apply(Update([[codes.CLEAR, *m[key]._id] for key in m]))
    assert m == {"m": {}, "v": [], "s": UStack()}
    m.apply(Update([[codes.CLEAR, 0, 0]]))
    assert m == {}


def test_nesting_is_bounded() -> None:
    plain: Any = [33]
    for _ in range(63):
        plain = [33, plain]
    assert type(Reader().value(plain)) is Literal
    with pytest.raises(MalformedUpdateError, match="64 deep"):
        Reader().value([33, plain])


plains = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=12,
)  # fmt: skip
ops = st.sampled_from(GOOD) | st.lists(
    st.sampled_from([*OPERATIONS, 32, 33, 35, 0, 1]) | plains, max_size=7
)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.lists(ops, max_size=3))
def test_whatever_strangers_send_applies_or_fails_or_is_refused(text: list[Any]) -> None:
    m = UMap[Any, Any](k=[1, 2], n=1)
    tree = m._tree
    before = m.dump()
    try:
        update = Update.from_plain([1, *text])
    except CannotApplyError:
        return
    applied = tree.apply(update, 2, inverse=True, effects=[])
    if applied.failure is None:
        assert applied.inverse is not None
        m.apply(Update.from_plain(applied.inverse.to_plain()))
    assert m == UMap.load(before)
    tree.audit()


def test_the_step_of_a_dict_is_what_reading_its_text_gives() -> None:
    op = [codes.PUT_MANY, 3, 1, "k", 1, 2, "l"]
    assert read([op]) == [put_step((3, 1), {"k": 1, 2: "l"})]
    assert read([op])[0][3] == ({"k": 1, 2: "l"}, False)
    for nested in ([33], [32, "a", [34]]):
        assert read([[codes.PUT_MANY, 0, 0, "k", nested]])[0][3][1]
