"""Where a joining replica may go on."""

from __future__ import annotations

from ..wire.messages import Resume
from .group import Group

AFRESH = b"afresh"
NEVER = b""  # equal to no chain


def stand(group: Group, resume: Resume | None) -> bytes | None:
    """The chain that a replica must hold to go on from *resume*; None: the store knows.

    ``NEVER`` if nothing it holds would do, ``AFRESH`` if it has to begin anew: it holds nothing, or so
    little that what it would need next is gone.
    """
    if resume is None or resume.position == 0:
        return AFRESH
    if resume.incarnation != group.incarnation or resume.position > group.durable_head:
        return NEVER
    if resume.position < group.floor:
        return AFRESH
    return group.known_chain(resume.position)
