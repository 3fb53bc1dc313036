"""Values and changes as text: everything that a structure can hold is shown, whatever is known of it."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from enum import Enum
from uuid import UUID

import pytest

from score.payload import encode_update
from score.tools import show
from score.tools.show import Opaque, operations, table, to_json, value_of
from score_server.wire import codec
from score_server.wire.entry import Entry
from ucore import UMap, UVec
from ucore.node import recording

SESSION = bytes.fromhex("0123456789abcdef") * 2


def entry(payload: bytes, label: str = "ada", time_ms: int = 1_790_000_000_123) -> Entry:
    return Entry(7, 6, time_ms, SESSION, 1, label, payload)


def test_values_are_shown_as_the_builtins_they_stand_for() -> None:
    stored = {
        "map": {1: "one"}, "list": [1, [2, {"x": None}]], "tuple": (1, "a"), "bytes": b"\0\xff",
        "when": dt.datetime(2026, 11, 25, 1, 2, tzinfo=dt.UTC), "cents": Decimal("1.20"),
        "id": UUID(int=5), "huge": 1 << 70, "set": frozenset({"b", "a"}),
    }  # fmt: skip
    m = UMap()
    with recording(m) as updates:
        m["k"] = stored
    plain = updates[0].to_plain()[1][4]  # type: ignore[index]
    assert value_of(plain) == stored
    # The same from a dump, where containers carry ids.
    assert value_of(m.dump()[3]) == {"k": stored}


def test_a_type_that_is_not_registered_here_is_shown_as_what_it_was_made_of() -> None:
    assert value_of([100, "red", 3]) == Opaque([100, "red", 3])
    assert repr(value_of([100, "red", 3])) == "<type 100 of the application: 'red', 3>"
    assert len({Opaque([100, 1]), Opaque([100, 1])}) == 1
    assert value_of([]) == []


def test_names_of_others_stay_on_their_line_and_no_terminal_obeys_them() -> None:
    rude = "ada\x1b[2J\n\x9b"
    assert show.printable("naïve, ada") == "naïve, ada"
    assert show.printable(rude) == r"ada\x1b[2J\n\x9b"
    assert show.printable("bad\udcff") == r"bad\udcff"
    assert r"ada\x1b[2J\n\x9b: " in show.entry_line(entry(b"", label=rude))
    assert table(("group",), [(rude,)])[1] == r"ada\x1b[2J\n\x9b"


def test_operations_are_named_with_their_arguments_and_node() -> None:
    m: UMap[str, object] = UMap()
    with recording(m) as updates:
        m["apples"] = 3
        m["todo"] = ["milk"]
        m["todo"].append("eggs")  # type: ignore[attr-defined]
        m.clear()
    texts = [operations(encode_update(update)) for update in updates]
    assert texts[0] == ["put('apples', 3)"]
    assert texts[1] == ["put('todo', ['milk'])"]
    assert texts[2][0].startswith("append('eggs') in node ")
    assert texts[3] == ["clear()"]


def test_a_change_of_several_operations_names_each() -> None:
    v: UVec[int] = UVec()
    with recording(v) as updates, v.batch() as b:
        b.append(1)
        b.append(2)
        b.reverse()
    assert operations(encode_update(updates[0])) == ["extend(1, 2)", "reverse()"]


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"\xff", "<cannot be read: "),
        (codec.encode([2, "anything"]), "<of another version of the operations: 11 bytes>"),
        (codec.encode([]), "<of another version"),
        (codec.encode([1, [99, 0, 0, "x"]]), "<unknown: [99, 0, 0, 'x']>"),
        (codec.encode([1, "no operation"]), "<unknown: 'no operation'>"),
        (codec.encode([1, [1]]), "<unknown: [1]>"),
        (codec.encode([1, [0, ["map", None]]]), "declare(['map', None])"),
    ],
)
def test_what_is_not_understood_is_shown_as_such(payload: bytes, said: str) -> None:
    assert operations(payload)[0].startswith(said)


def test_an_entry_is_a_line_and_a_line_of_json() -> None:
    payload = codec.encode([1, [1, 0, 0, "apples", 3]])
    assert show.entry_line(entry(payload)) == (
        "       7  2026-09-21T14:13:20.123Z  ada: put('apples', 3)"
    )
    assert "01234567: put" in show.entry_line(entry(payload, label=""))
    assert json.loads(show.entry_json(entry(payload))) == {
        "position": 7,
        "time": "2026-09-21T14:13:20.123Z",
        "label": "ada",
        "session": SESSION.hex(),
        "operations": ["put('apples', 3)"],
    }


def test_a_time_beyond_the_calendar_is_shown_as_a_number() -> None:
    assert show.time_text(2**63 - 1) == "9223372036854775807 ms"


class Colour(Enum):
    RED = 1


def test_json_keeps_what_json_has() -> None:
    value = {"a": [1, 2.5, None, True, "x"], "m": {"x": 1}}
    assert json.loads(to_json(value)) == value


def test_json_gives_keys_and_values_of_other_types_as_text() -> None:
    assert json.loads(to_json({1: "a", 2: "b", None: "c", "x": (1, 2)})) == {
        "1": "a", "2": "b", "null": "c", "x": [1, 2],
    }  # fmt: skip
    assert json.loads(to_json(b"\0\xff")) == "AP8="
    assert json.loads(to_json(Decimal("1.20"))) == "1.20"
    assert json.loads(to_json(frozenset({"b", "a"}))) == ["a", "b"]
    assert json.loads(to_json(Colour.RED)) == "Colour.RED"
    assert json.loads(to_json(Opaque([100, 1]))) == "<type 100 of the application: 1>"


@pytest.mark.parametrize("value", [{1: "a", "1": "b"}, {(1, 2): "a"}, {b"x": "a"}])
def test_a_map_whose_keys_json_cannot_tell_apart_is_a_list_of_pairs(
    value: dict[object, str],
) -> None:
    assert [inner for _, inner in json.loads(to_json(value))] == list(value.values())


def test_the_columns_of_a_table_line_up() -> None:
    assert table(("name", "changes"), [("stock", 1234567), ("a longer name", 5)]) == [
        "name             changes",
        "stock          1,234,567",
        "a longer name          5",
    ]
    assert table(("name", "changes"), []) == ["name  changes"]
