"""The checker of this folder's cases, checked: each kind of violation, planted, is seen."""

from __future__ import annotations

import json

import pytest

from .ledger import acknowledged, check, read, unknown

ADA = [
    ["try", 1, "value"], ["ok", 1, None],
    ["try", 2, "count"], ["ok", 2, 1],
    ["try", 3, "value"], ["no", 3, "StoreFullError"],
    ["try", 4, "count"], ["unknown", 4, "token"],
    ["try", 5, "value"], ["unknown", 5, "token"], ["outcome", 5, "taken"],
    ["try", 6, "count"], ["ok", 6, 4],
    ["try", 7, "value"],
]  # fmt: skip
BEN = [
    ["try", 1, "value"], ["ok", 1, None],
    ["try", 2, "count"], ["ok", 2, 3],
    ["try", 3, "value"], ["unknown", 3, "token"], ["outcome", 3, "not taken"],
]  # fmt: skip
VALUES = ["ben:1", "ada:1", "ada:5"]


def lines(records: list[list[object]]) -> list[str]:
    return [json.dumps(record) + "\n" for record in records]


def checked(values: list[str], total: int, ada: list[list[object]] | None = None) -> None:
    check({"ada": lines(ADA if ada is None else ada), "ben": lines(BEN)}, values, total)


def changed(old: list[object], new: list[object]) -> list[list[object]]:
    assert old in ADA
    return [new if record == old else record for record in ADA]


def test_what_keeps_every_promise_passes() -> None:
    tries = check({"ada": lines(ADA), "ben": lines(BEN)}, VALUES, 4)
    assert (acknowledged(tries), unknown(tries)) == (6, 2)
    checked([*VALUES, "ada:7"], 4)  # the killed client's last one was taken


def test_a_torn_last_line_is_as_good_as_none() -> None:
    assert read("ada", ['["try", 1, "value"]\n', '["ok", 1']).told == {1: "unknown"}


@pytest.mark.parametrize(
    ("values", "total", "text"),
    [
        (["ben:1", "ada:5"], 4, "'ada:1' (ok) is there 0 times"),
        ([*VALUES, "ada:1"], 4, "'ada:1' (ok) is there 2 times"),
        (["ben:1", "ada:1"], 4, "'ada:5' (ok) is there 0 times"),
        ([*VALUES, "ada:3"], 4, "'ada:3' (no) is there 1 times"),
        ([*VALUES, "ben:3"], 4, "'ben:3' (no) is there 1 times"),
        ([*VALUES, "ada:7", "ada:7"], 4, "'ada:7' (unknown) is there 2 times"),
        ([*VALUES, "cleo:1"], 4, "'cleo:1' is there, but nobody tried it"),
        ([*VALUES, "ada:2"], 4, "'ada:2' is there, but nobody tried it"),
        (["ben:1", "ada:5", "ada:1"], 4, "the values of 'ada' stand in the order [5, 1]"),
        (VALUES, 2, "the total is 2, but 3 counts were acknowledged"),
        (VALUES, 5, "the total is 5, but 3 counts were acknowledged and 1 are unknown"),
        (VALUES, 3, "a count returned 4 of 3"),
    ],
)
def test_a_planted_violation_is_named(values: list[str], total: int, text: str) -> None:
    with pytest.raises(AssertionError) as caught:
        checked(values, total)
    assert text in str(caught.value)


def test_a_total_that_two_were_told_is_named() -> None:
    with pytest.raises(AssertionError, match="2 counts returned 3"):
        checked(VALUES, 4, changed(["ok", 6, 4], ["ok", 6, 3]))


def test_totals_that_decrease_are_named() -> None:
    with pytest.raises(AssertionError, match="'ada' was told totals that decrease"):
        checked(VALUES, 5, changed(["ok", 2, 1], ["ok", 2, 5]))
