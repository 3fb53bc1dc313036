"""What the ``score`` command does, a module a subject: ``show`` (reading), ``backup`` (export and import),
``compaction`` (snapshots), ``pace`` (leaving the server to others), ``fold`` (a group of whatever kind), ``progress`` (a bar on a terminal).

They are clients like others, and no part of what ``import score`` loads.
"""
