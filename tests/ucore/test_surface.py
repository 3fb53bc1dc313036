"""No name of dict or list is forgotten: each has a role, and UMap and UVec do what it says."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ucore import UMap, UVec
from ucore.surface import DICT_SURFACE, LIST_SURFACE, Role, _table

CASES = [(UMap, dict, DICT_SURFACE), (UVec, list, LIST_SURFACE)]


def ours(cls: type, builtin: type) -> set[str]:
    """The names that *cls* or a base of its own defines, above the builtin."""
    return {n for base in cls.__mro__ if base not in (builtin, object) for n in vars(base)}


@pytest.mark.parametrize(("builtin", "table"), [case[1:] for case in CASES])
def test_every_name_is_classified(builtin: type, table: Mapping[str, Role]) -> None:
    unknown = set(dir(builtin)) - set(table)
    assert not unknown, f"new in this Python: give {unknown} a role in ucore/surface.py"


@pytest.mark.parametrize(("builtin", "table"), [case[1:] for case in CASES])
def test_no_name_is_made_up(builtin: type, table: Mapping[str, Role]) -> None:
    assert not set(table) - set(dir(builtin))


@pytest.mark.parametrize(("cls", "builtin", "table"), CASES)
def test_every_mutator_is_overridden(cls: type, builtin: type, table: Mapping[str, Role]) -> None:
    mutators = {name for name, role in table.items() if role is Role.MUTATOR}
    assert not mutators - ours(cls, builtin)


@pytest.mark.parametrize(("cls", "builtin", "table"), CASES)
def test_no_read_is_overridden(cls: type, builtin: type, table: Mapping[str, Role]) -> None:
    reads = {name for name, role in table.items() if role is Role.READ}
    assert not reads & ours(cls, builtin)


@pytest.mark.parametrize(("cls", "builtin", "table"), CASES)
def test_a_constructor_that_fills_is_overridden(
    cls: type, builtin: type, table: Mapping[str, Role]
) -> None:
    # dict.__init__ and list.__init__ change what is there already.
    assert table["__init__"] is Role.CONSTRUCTOR
    assert "__init__" in ours(cls, builtin)


def test_values_are_plain_builtins() -> None:
    m, v = UMap({"a": 1}), UVec([1])
    assert [type(x) for x in (m | {}, {} | m, m.copy())] == [dict] * 3
    assert [type(x) for x in (v.__add__([]), v * 2, 2 * v, v.copy(), v[:])] == [list] * 5


def test_a_name_in_two_rows_is_noticed() -> None:
    with pytest.raises(AssertionError, match="two rows"):
        _table({Role.READ: "get"}, {Role.MUTATOR: "get"})
