"""The rows of the table, each a module with ``TITLE`` and ``run(scale) -> Result`` (see ``ROWS``)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from ..results import Result

T = TypeVar("T")

ROWS = {
    1: "durable_set", 2: "memory_set", 3: "writers", 4: "batch", 5: "pipeline", 6: "fan_out",
    7: "local_reads", 8: "join", 9: "wire_bytes", 10: "memory", 11: "growth", 12: "contended",
}  # fmt: skip


class Scale(NamedTuple):
    """How much to do: "quick" shows that it works, "default" is for the table, "full" for the patient."""

    name: str

    def pick(self, quick: T, default: T, full: T) -> T:
        return {"quick": quick, "default": default, "full": full}[self.name]


def run(row: int, scale: Scale) -> Result:
    """Measure one row."""
    found: Result = import_module(f".{ROWS[row]}", __package__).run(scale)
    return found
