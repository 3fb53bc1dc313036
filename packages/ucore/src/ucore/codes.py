"""The numbers of the operations.  A number is never used again for something else.

What each does, and what it needs, is in ``ops.OPERATIONS`` and ``docs/operations.md``.
"""

from __future__ import annotations

from typing import Final

OPS_VERSION: Final = 1

DECLARE: Final = 0

PUT: Final = 1
DELETE: Final = 2
DISCARD: Final = 3
POP_ITEM: Final = 4
SET_DEFAULT: Final = 5
PUT_MANY: Final = 6
CLEAR: Final = 7
INCREMENT: Final = 8
DISCARD_MANY: Final = 9

APPEND: Final = 16
EXTEND: Final = 17
POP: Final = 18
SPLICE: Final = 19
STRIDE_SET: Final = 20
STRIDE_DELETE: Final = 21
STRIDE_INSERT: Final = 22
PERMUTE: Final = 23
REVERSE: Final = 24

# Type numbers of container literals: without an id, and with one (position, ordinal) first.
MAP_LITERAL: Final = 32
VEC_LITERAL: Final = 33
STACK_LITERAL: Final = 34
MAP_NODE: Final = 35
VEC_NODE: Final = 36
STACK_NODE: Final = 37
# The same with an id, by columns: in dumps alone.
MAP_COLUMNS: Final = 38
VEC_COLUMNS: Final = 39
STACK_COLUMNS: Final = 40
