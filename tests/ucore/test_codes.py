"""The numbers are what they have always been, and each is used once."""

from __future__ import annotations

from ucore import codes
from ucore.ops import OPERATIONS

OPERATION_NUMBERS = {
    "DECLARE": 0, "PUT": 1, "DELETE": 2, "DISCARD": 3, "POP_ITEM": 4, "SET_DEFAULT": 5, "PUT_MANY": 6,
    "CLEAR": 7, "INCREMENT": 8, "DISCARD_MANY": 9, "APPEND": 16, "EXTEND": 17, "POP": 18, "SPLICE": 19,
    "STRIDE_SET": 20, "STRIDE_DELETE": 21, "STRIDE_INSERT": 22, "PERMUTE": 23, "REVERSE": 24,
}  # fmt: skip
LITERAL_NUMBERS = {
    "MAP_LITERAL": 32, "VEC_LITERAL": 33, "STACK_LITERAL": 34,
    "MAP_NODE": 35, "VEC_NODE": 36, "STACK_NODE": 37,
    "MAP_COLUMNS": 38, "VEC_COLUMNS": 39, "STACK_COLUMNS": 40,
}  # fmt: skip


def test_the_numbers_have_not_changed() -> None:
    found = {name: value for name, value in vars(codes).items() if name.isupper()}
    assert found == {"OPS_VERSION": 1} | OPERATION_NUMBERS | LITERAL_NUMBERS


def test_every_operation_has_one_row_under_its_own_name() -> None:
    assert {op.name: code for code, op in OPERATIONS.items()} == OPERATION_NUMBERS
