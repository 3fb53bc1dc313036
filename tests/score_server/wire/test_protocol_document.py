"""``docs/protocol.md`` says what the code does: bytes, tables, fields, codes and limits."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

import pytest

from score_server.wire import messages, states
from score_server.wire.entry import SNAPSHOT_DIGEST_BYTES
from score_server.wire.fields import ENTRIES_MAX, FEATURES_MAX, GROUPS_MAX, TEXT_BYTES_MAX
from score_server.wire.limits import HELLO_FRAME_BYTES_MAX, Limits
from score_server.wire.messages import CODES, MESSAGES

from .golden import BATCH, ENTRY_BYTES, ENTRY_CHAIN, GOLDEN, PAYLOAD

TEXT = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text("utf-8")
BLOCK = re.compile(r"<!-- golden: (\w+) -->\n```text\n(.*?)```", re.S)
# Pairs of hexadecimal digits with one space between them; a comment stands two spaces further on.
HEX_LINE = re.compile(r" *([0-9a-f]{2}(?: [0-9a-f]{2})*)(?:  .*)?")


def hexadecimal(block: str) -> str:
    found = []
    for line in block.splitlines():
        match = HEX_LINE.fullmatch(line)
        assert match, f"not a line of bytes: {line!r}"
        found.append(match[1].replace(" ", ""))
    return "".join(found)


def section(title: str) -> str:
    """The text from the heading that ends in *title* to the next heading."""
    match = re.search(rf"^#+ [\d.]+ {re.escape(title)}\n(.*?)(?=^#|\Z)", TEXT, re.M | re.S)
    assert match, f"no section {title!r}"
    return match[1]


def rows(text: str) -> list[list[str]]:
    """The cells of every row of every table in *text*, without the tables' heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]
    rules = [index for index, row in enumerate(cells) if set(row[0]) == {"-"}]
    heads = {index - 1 for index in rules}
    return [row for index, row in enumerate(cells) if index not in heads and index not in rules]


EXAMPLES = {
    "payload": PAYLOAD.hex(),
    "entry": ENTRY_BYTES.hex(),
    "chain": ENTRY_CHAIN.hex(),
    "batch": BATCH[1],
} | {name: encoded for name, (_, encoded) in GOLDEN.items()}


def test_every_golden_frame_is_shown_byte_for_byte() -> None:
    shown = {name: hexadecimal(block) for name, block in BLOCK.findall(TEXT)}
    assert shown == EXAMPLES


@pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.__name__)
def test_every_message_has_a_section_with_its_code_and_its_fields(kind: type) -> None:
    assert f"\n### {CODES[kind]} {kind.__name__}\n" in TEXT
    table = rows(section(kind.__name__))[: len(kind._fields)]
    assert [row[0] for row in table] == list(kind._fields)
    assert all(row[1] for row in table)


def test_no_section_is_about_a_message_that_does_not_exist() -> None:
    headings = re.findall(r"^### (\d+) (\w+)$", TEXT, re.M)
    assert {int(code): name for code, name in headings} == {
        code: kind.__name__ for code, kind in MESSAGES.items()
    }


@pytest.mark.parametrize(
    ("title", "table", "state"),
    [
        ("The connection", states.CONNECTION, states.ConnectionState),
        ("The session", states.SESSION, states.SessionState),
        ("A channel", states.CHANNEL, states.ChannelState),
    ],
)
def test_the_tables_of_states_are_the_codes(
    title: str, table: dict[tuple[Enum, type], Enum], state: type[Enum]
) -> None:
    shown = {}
    for before, kinds, after in rows(section(title)):
        for name in kinds.split(", "):
            kind = states.Ending if name == "Error (0)" else getattr(messages, name)
            shown[state[before], kind] = state[after]
    assert shown == table


NUMBERED = ["Refused", "Outcome", "Trimmed", "SnapshotKept", "Errors"]


@pytest.mark.parametrize("title", NUMBERED)
def test_numbers_and_their_names_are_the_codes(title: str) -> None:
    numbered = [row for row in rows(section(title)) if row[0].isdigit()]
    assert numbered
    for number, name, *_ in numbered:
        assert getattr(messages, name) == int(number)


def test_every_error_code_reason_and_verdict_is_listed() -> None:
    names = {
        name for name, value in vars(messages).items()
        if name.isupper() and isinstance(value, int)
    } - {"PROTOCOL_VERSION", "INTENT", "STRICT"}  # fmt: skip
    listed = {row[1] for title in NUMBERED for row in rows(section(title)) if row[0].isdigit()}
    assert listed == names


def test_the_limits_and_their_defaults_stand_in_their_order() -> None:
    shown = [(row[0], int(row[1])) for row in rows(section("Limits"))]
    assert shown == list(Limits()._asdict().items())


def test_the_fixed_limits_are_stated() -> None:
    assert f"until `Welcome` it is at most {HELLO_FRAME_BYTES_MAX} bytes" in TEXT
    assert f"text, 0 to {TEXT_BYTES_MAX} bytes" in TEXT
    assert f"array of 0 to {FEATURES_MAX} texts" in TEXT
    assert f"array of 1 to {ENTRIES_MAX} entries" in TEXT
    assert f"array of 0 to {GROUPS_MAX} [name" in TEXT
    assert f"and {GROUPS_MAX} for each `ListGroups`" in TEXT
    assert f"`frame_items_max` is at least {1 + ENTRIES_MAX}" in TEXT
    assert f"| digest | {SNAPSHOT_DIGEST_BYTES} bytes |" in TEXT
    assert TEXT.startswith("# The protocol\n\nVersion 1.")
