"""An update is its plain form: it comes back, compares and is refused as one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ucore import (
    MalformedUpdateError,
    UMap,
    UnknownTypeError,
    Updatable,
    Update,
    UpgradeNeededError,
    UStack,
    UVec,
    codes,
)

OPS: list[Any] = [[codes.PUT, 0, 0, "a", [33, 1]], [codes.APPEND, 0, 1, 2]]


def test_an_update_comes_back_from_its_plain_form() -> None:
    update = Update(OPS)
    assert update.to_plain() == [1, *OPS]
    again = Update.from_plain(update.to_plain())
    assert again == update
    assert hash(again) == hash(update)
    assert again.ops == OPS
    assert again.version == 1
    assert repr(again) == f"Update({OPS!r})"


def test_it_cannot_be_given_other_contents() -> None:
    update = Update(OPS)
    for name in ("ops", "version", "other"):
        with pytest.raises(AttributeError):
            setattr(update, name, [])


def test_equal_means_the_same_plain_form() -> None:
    assert Update([[codes.PUT, 0, 0, "a", 1]]) != Update([[codes.PUT, 0, 0, "a", True]])
    assert Update([]) != []
    nan = float("nan")
    assert Update([[codes.PUT, 0, 0, "a", nan]]) == Update([[codes.PUT, 0, 0, "a", float("nan")]])


def test_its_steps_are_read_once_and_late_for_what_was_made_here() -> None:
    update = Update([[codes.PUT, 0, 0, "a"]])
    with pytest.raises(MalformedUpdateError):
        _ = update.steps
    good = Update(OPS)
    assert good.steps is good.steps


@settings(derandomize=True, deadline=None)
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8")) | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.binary()
        | st.text(st.characters(codec="utf-8")),
    )
)  # fmt: skip
def test_what_is_put_as_a_dict_is_what_its_text_says(content: dict[Any, Any]) -> None:
    update = Update.putting((0, 0), content)
    assert update.puts == ((0, 0), content)
    text = Update.from_plain(update.to_plain())
    assert repr(text.steps) == repr(update.steps)
    assert text.steps[0][0] is update.steps[0][0]
    assert text == update
    assert hash(text) == hash(update)
    assert repr(text) == repr(update)
    assert text.puts is None


def test_a_dict_of_natives_is_put_as_such() -> None:
    update = Update.putting((3, 1), {"a": 1, 2: None})
    assert update.ops == [[codes.PUT_MANY, 3, 1, "a", 1, 2, None]]
    assert update.ops is update.ops
    assert Update(OPS).puts is None


@pytest.mark.parametrize(
    ("plain", "error"),
    [
        (None, MalformedUpdateError),
        ((1,), MalformedUpdateError),
        ([], MalformedUpdateError),
        ([True], MalformedUpdateError),
        (["1"], MalformedUpdateError),
        ([2, ["whatever it says"]], UpgradeNeededError),
        ([0], UpgradeNeededError),
        ([1, [codes.PUT]], MalformedUpdateError),
        ([1, [codes.APPEND, 0, 0, [99]]], UnknownTypeError),
    ],
)
def test_what_is_no_update_is_refused_up_front(plain: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Update.from_plain(plain)


def test_the_containers_are_updatable() -> None:
    for value in (UMap(), UVec(), UStack()):
        assert isinstance(value, Updatable)
    assert not isinstance({}, Updatable)
