"""Every name of ``dict`` and ``list``, and what a container that shares itself does about it.

A method that changes a builtin and is not overridden would change one replica and no other, without
a word.  So each name of ``dir(dict)`` and ``dir(list)``, ``object``'s among them, stands here with
its role, and ``tests/ucore/test_surface.py`` fails on a name that does not: a new Python's new
method is noticed before a user finds it.

Python 3.11 to 3.14 have the same names.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


class Role(Enum):
    """What a name does, and so what ``UMap`` and ``UVec`` do about it."""

    READ = "reads the content, or is about the object alone; never overridden, it runs in C"
    MUTATOR = "changes the content; always overridden, it makes an update"
    CONSTRUCTOR = "makes, fills or describes the object or its class; overridden where needed"
    VALUE = (
        "gives a value that is no part of the structure, a plain builtin; overridden where needed"
    )


# What both inherit from object, or share.
_BOTH: dict[Role, str] = {
    Role.READ: """
        __class__ __contains__ __delattr__ __dir__ __eq__ __format__ __ge__ __getattribute__ __getitem__
        __gt__ __hash__ __iter__ __le__ __len__ __lt__ __ne__ __repr__ __reversed__ __setattr__
        __sizeof__ __str__ __subclasshook__
    """,
    Role.MUTATOR: "__delitem__ __setitem__ clear pop",
    Role.CONSTRUCTOR: "__class_getitem__ __doc__ __init__ __init_subclass__ __new__",
    Role.VALUE: "__getstate__ __reduce__ __reduce_ex__ copy",
}

_DICT: dict[Role, str] = {
    Role.READ: "get items keys values",
    Role.MUTATOR: "__ior__ popitem setdefault update",
    Role.CONSTRUCTOR: "fromkeys",
    Role.VALUE: "__or__ __ror__",
}

_LIST: dict[Role, str] = {
    Role.READ: "count index",
    Role.MUTATOR: "__iadd__ __imul__ append extend insert remove reverse sort",
    Role.CONSTRUCTOR: "",
    Role.VALUE: "__add__ __mul__ __rmul__",
}


def _table(*parts: dict[Role, str]) -> Mapping[str, Role]:
    rows = [(name, role) for part in parts for role in part for name in part[role].split()]
    assert len(dict(rows)) == len(rows), "a name stands in two rows"
    return MappingProxyType(dict(rows))


DICT_SURFACE: Mapping[str, Role] = _table(_BOTH, _DICT)
LIST_SURFACE: Mapping[str, Role] = _table(_BOTH, _LIST)
