"""Rows made in haste.

A ``NamedTuple`` is made by a function in Python, which takes longer than all else about a short row: 0.25 us in
place of 0.08.  For one change a server makes a dozen of them.
"""

from __future__ import annotations

new = tuple.__new__
"""``new(Kind, (a, b, c))`` is ``Kind(a, b, c)``, with all fields given; nothing counts them."""
