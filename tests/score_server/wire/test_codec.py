"""The codec: plain values, and one typed error for everything else."""

from __future__ import annotations

import datetime
import math
import struct
import time
from decimal import Decimal
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from score_server.wire import codec
from score_server.wire.codec import (
    ENCODE_DEPTH_MAX,
    DecodeError,
    EncodeError,
    decode,
    decode_columns,
    decode_each_loosely,
    decode_loosely,
    encode,
    encode_loosely,
    encode_with_pairs,
    utf8_length,
)

from .golden import PAYLOAD, PAYLOAD_PLAIN
from .profile import foreign_calls

FUZZ = settings(derandomize=True, max_examples=300, deadline=None)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=20)
    | st.binary(max_size=20)
)
PLAIN = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=6), max_leaves=30)


def typed(value: object) -> object:
    """*value* with every item's type and a float's sign, which == does not see."""
    if isinstance(value, list):
        return [typed(item) for item in value]
    return type(value), value, str(value)


def nested(depth: int, core: bytes = b"\x00") -> bytes:
    return b"\x81" * depth + core


# ---------------------------------------------------------------- what is plain


@FUZZ
@given(PLAIN)
def test_decoding_is_the_inverse_of_encoding(value: object) -> None:
    data = encode(value)  # type: ignore[arg-type]
    assert typed(decode(data, depth_max=30)) == typed(value)


def test_a_payload_is_these_bytes() -> None:
    assert encode(PAYLOAD_PLAIN) == PAYLOAD  # type: ignore[arg-type]
    assert decode(PAYLOAD, depth_max=2) == PAYLOAD_PLAIN


@pytest.mark.parametrize(
    ("plain", "encoded"),
    [
        (None, "f6"), (False, "f4"), (True, "f5"), (0, "00"), (23, "17"), (24, "1818"),
        (-1, "20"), (-25, "3818"), (256, "190100"), (2**63 - 1, "1b7fffffffffffffff"),
        (-(2**63), "3b7fffffffffffffff"), (1.5, "fb3ff8000000000000"),
        (-0.0, "fb8000000000000000"), (math.inf, "f97c00"), ("é", "62c3a9"), (b"\x00", "4100"),
        ([], "80"), ([[]], "8180"),
    ],
)  # fmt: skip
def test_an_encoding_is_these_bytes(plain: object, encoded: str) -> None:
    assert encode(plain).hex() == encoded  # type: ignore[arg-type]
    assert typed(decode(bytes.fromhex(encoded), depth_max=1)) == typed(plain)


def test_nan_is_one_value() -> None:
    assert encode(math.nan).hex() == "f97e00"
    for data in ("f97e00", "fa7fc00000", "fb7ff8000000000000"):
        value = decode(bytes.fromhex(data), depth_max=0)
        assert isinstance(value, float)
        assert math.isnan(value)


@pytest.mark.parametrize(
    ("encoded", "plain"),
    [
        ("1800", 0), ("1b0000000000000001", 1), ("3900ff", -256), ("580161", b"a"),
        ("780161", "a"), ("980100", [0]), ("9b000000000000000100", [0]), ("f93c00", 1.0),
        ("fa3fc00000", 1.5),
    ],
)  # fmt: skip
def test_longer_heads_and_shorter_floats_are_accepted(encoded: str, plain: object) -> None:
    assert typed(decode(bytes.fromhex(encoded), depth_max=1)) == typed(plain)


def test_depth_counts_the_arrays_around_an_item() -> None:
    assert decode(b"\x80", depth_max=0) == []
    assert decode(nested(3), depth_max=3) == [[[0]]]
    assert decode(nested(3, b"\x80"), depth_max=3) == [[[[]]]]
    for core in (b"\x00", b"\x80"):
        with pytest.raises(DecodeError, match="depth"):
            decode(nested(4, core), depth_max=3)


@FUZZ
@given(PLAIN)
def test_encodings_are_those_of_cbor2(value: object) -> None:
    assert encode(value) == cbor2.dumps(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 23, 24, 25, 255, 256, 257, 65_535, 65_536])
def test_encodings_of_any_length_are_those_of_cbor2(count: int) -> None:
    numbers = list(range(-count // 2, count // 2 + 1))
    for value in (
        "a" * count, "é" * count, bytes(count), numbers, [""] * count, [[]] * count, [*numbers, numbers, "a" * count],
        [["key", number] for number in numbers], [1.5] * count, [None] * count, [True] * count, [[numbers]],
    ):  # fmt: skip
        assert encode(value) == cbor2.dumps(value)  # type: ignore[arg-type]


SCALARS: list[object] = [
    None, True, False, 0, 23, 255, 256, -1, 2**63 - 1, -(2**63), 1.5, math.nan, math.inf, "", "a", "é" * 300, b"", bytes(300),
]  # fmt: skip


CHANGES: list[object] = [
    *SCALARS, SCALARS, [SCALARS] * 20, [1, [8, 0, 0, "n", 1]], [[]], list(range(300)), [[1]] * 300,
]  # fmt: skip


@pytest.mark.parametrize("value", CHANGES, ids=lambda value: f"{value!r:.30}")
def test_cbor2_calls_no_python(value: object) -> None:
    """For each list that it encodes it asks an abstract class, in Python, and PyO3 drops what is raised
    there (cbor2 6.3.0): a Ctrl-C that is pending then would be lost, and a blocking call wait on."""
    data = encode_loosely(value)  # type: ignore[arg-type]
    assert foreign_calls(lambda: encode_loosely(value)) == []  # type: ignore[arg-type]
    assert foreign_calls(lambda: decode_loosely(data, depth_max=3)) == []
    assert foreign_calls(lambda: decode_each_loosely([data] * 3, depth_max=3)) == []


PAIRS: list[dict[object, object]] = [
    {}, {"a": 1}, {"ä": "ö", 1: None, -5: 1.5, "b": b"x", 2**63 - 1: True},
    {f"key {i}": i for i in range(12)}, {f"key {i}": -i for i in range(300)}, {i: str(i) for i in range(70_000)},
]  # fmt: skip


@pytest.mark.parametrize("pairs", PAIRS, ids=lambda value: f"{value!r:.30}")
def test_pairs_are_encoded_as_the_array_of_them(pairs: dict[object, object]) -> None:
    for before in ([], [6, 0, 0]):
        flat = [*before, *(item for pair in pairs.items() for item in pair)]
        assert encode_with_pairs(before, pairs) == cbor2.dumps(flat)
    assert foreign_calls(lambda: encode_with_pairs([6, 0, 0], pairs)) == []


def test_pairs_with_a_text_that_has_no_encoding_are_refused() -> None:
    for pairs in ({"\ud800": 1}, {"a": "\ud800"}):
        with pytest.raises(EncodeError, match="UTF-8"):
            encode_with_pairs([], pairs)  # type: ignore[arg-type]


def test_a_ctrl_c_while_a_map_or_a_tag_is_refused_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(codec, "_refuse_map", interrupted)
    monkeypatch.setattr(codec, "_refuse_tag", interrupted)
    monkeypatch.setitem(codec._REFUSALS, "object_hook", interrupted)
    for refused in (b"\xa0", b"\xc1\x01"):
        for data in (refused, b"\x82" + encode("x" * 5000) + refused):
            with pytest.raises(KeyboardInterrupt):
                decode_loosely(data, depth_max=2)
            with pytest.raises(KeyboardInterrupt):
                decode_each_loosely([b"\x00", data], depth_max=2)
    with pytest.raises(KeyboardInterrupt):
        decode_columns([b"\xa0", b"\x00"], b"", 1)


def test_a_call_of_python_from_inside_cbor2_would_be_seen() -> None:
    assert set(foreign_calls(lambda: cbor2.dumps([1]))) == {"abc.__instancecheck__"}


# ---------------------------------------------------------------- what is refused

REFUSED = {
    "nothing": "", "map": "a0", "map of ints": "a10102", "map of texts": "a1616101",
    "map in an array": "81a0", "undefined": "f7", "undefined in an array": "8401f78002",
    "simple 0": "e0", "simple 19": "f3", "simple 255": "f8ff", "simple 32": "f820",
    "simple in two bytes below 32": "f818", "indefinite array": "9fff", "indefinite text": "7fff",
    "indefinite bytes": "5fff", "indefinite map": "bfff", "break": "ff", "break in an array": "81ff",
    "two values": "0000", "a value and a half": "0019", "uint 2^63": "1b8000000000000000",
    "uint 2^64-1": "1bffffffffffffffff", "nint -2^63-1": "3b8000000000000000",
    "large in an array": "82001bffffffffffffffff", "bad UTF-8": "61ff", "half a character": "61c3",
    "lone surrogate": "63eda080", "overlong UTF-8": "62c080", "huge array": "9bffffffffffffffff",
    "huge array 2": "9b7fffffffffffffff00", "huge text": "7bffffffffffffffff61",
    "huge bytes": "5b7fffffffffffffff61", "2 GiB bytes": "5a7fffffff", "short array": "8200",
    "reserved 1c": "1c", "reserved 5d": "5d", "reserved fc": "fc", "indefinite integer": "1f",
    "cut off head": "1a0000", "cut off float": "fb00",
}  # fmt: skip
# Dates, bignums, decimals, shared values and cycles, strings by reference, regular expressions, MIME,
# rationals, IP addresses, UUIDs, sets, self-described, complex, and numbers nobody has registered.
TAGS = [
    *(0, 1, 2, 3, 4, 5, 6, 21, 24, 25, 28, 29, 30, 32, 35, 36, 37, 52, 54, 100, 256, 258, 260),
    *(261, 1004, 43000, 55799, 2**16, 2**32, 2**64 - 1),
]
CONTENTS = ["f6", "00", "80", "4101", "490100000000000000ff", "6161", "820102", "a0", "c000"]


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_plain_is_one_typed_error(case: str) -> None:
    with pytest.raises(DecodeError):
        decode(bytes.fromhex(REFUSED[case]), depth_max=8)


@pytest.mark.parametrize("tag", TAGS)
def test_no_tag_has_a_meaning(tag: int) -> None:
    head = cbor2.dumps(cbor2.CBORTag(tag, 0))[:-1]
    for content in CONTENTS:
        for data in (head, head + bytes.fromhex(content), b"\x81" + head + bytes.fromhex(content)):
            with pytest.raises(DecodeError):
                decode(data, depth_max=8)


def test_a_map_is_refused_at_its_first_key_unless_that_is_text() -> None:
    for key in ("00", "f6", "fb3ff0000000000000", "80"):
        with pytest.raises(DecodeError, match="map key must be"):
            decode(bytes.fromhex("ba7fffffff" + key), depth_max=8)


def test_a_shared_value_makes_no_cycle() -> None:
    with pytest.raises(DecodeError, match="tags are not allowed"):
        decode(bytes.fromhex("d81c81d81d00"), depth_max=8)


def test_what_is_wrong_far_into_long_data_is_found() -> None:
    padding = b"\x59\x20\x00" + bytes(8192)
    assert decode(b"\x82" + padding + b"\x01", depth_max=1) == [bytes(8192), 1]
    for bad in ("f7", "1bffffffffffffffff", "e0"):
        with pytest.raises(DecodeError):
            decode(b"\x82" + padding + bytes.fromhex(bad), depth_max=1)


def test_bytes_that_only_look_suspect_are_plain() -> None:
    for value in ("日本", b"\xf7\x1b", [2**40, -(2**40)], "\x1b", ";"):
        assert decode(encode(value), depth_max=1) == value  # type: ignore[arg-type]


def test_loosely_means_that_numbers_and_simple_values_are_left_to_the_caller() -> None:
    assert decode_loosely(bytes.fromhex("1bffffffffffffffff"), depth_max=0) == 2**64 - 1
    assert decode_loosely(b"\xf7", depth_max=0) is cbor2.undefined
    with pytest.raises(DecodeError, match="1 bytes follow the value"):
        decode_loosely(b"\x00\x00", depth_max=0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "not: dict"), ((1,), "not: tuple"), ([{1: 2}], "not: dict"), ({1}, "not: set"),
        (2**63, "64 bits"), ([-(2**63) - 1], "64 bits"), (2**64, "64 bits"),
        (Decimal(1), "not: Decimal"), (bytearray(b"a"), "not: bytearray"),
        (datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), "not: datetime"),
        (object(), "not: object"), ("\ud800", "no encoding in UTF-8"),
        (cbor2.undefined, "not: UndefinedType"),
    ],
)  # fmt: skip
def test_what_is_not_plain_is_not_encoded(value: object, text: str) -> None:
    with pytest.raises(EncodeError, match=text):
        encode(value)  # type: ignore[arg-type]


def test_a_cycle_is_not_encoded() -> None:
    cycle: list[object] = []
    cycle += [cycle, cycle]
    with pytest.raises(EncodeError, match="nested deeper than 100"):
        encode(cycle)  # type: ignore[arg-type]


def test_what_stands_in_two_places_is_encoded_twice() -> None:
    shared = [1]
    assert decode(encode([shared, shared]), depth_max=2) == [[1], [1]]  # type: ignore[list-item]


def test_what_is_too_deep_is_not_encoded() -> None:
    value: list[object] = []
    for _ in range(ENCODE_DEPTH_MAX):
        value = [value]
    encode(value)  # type: ignore[arg-type]
    with pytest.raises(EncodeError, match="nested deeper than 100"):
        encode([value])  # type: ignore[list-item]
    for _ in range(10_000):
        value = [value]
    with pytest.raises(EncodeError):
        encode(value)  # type: ignore[arg-type]


def test_the_length_of_text_is_its_bytes() -> None:
    assert utf8_length("abc") == 3
    assert utf8_length("aé日") == 6
    assert utf8_length("\ud800") == -1


# ---------------------------------------------------------------- hostile bytes


def outcome(data: bytes) -> object:
    try:
        return decode(data, depth_max=8)
    except DecodeError as error:
        return error


@FUZZ
@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_a_plain_value_or_that_error(data: bytes) -> None:
    value = outcome(data)
    if not isinstance(value, DecodeError):
        assert repr(decode(encode(value), depth_max=8)) == repr(value)  # type: ignore[arg-type]


@FUZZ
@given(
    st.lists(st.sampled_from("00 17 18 1b 20 3b 40 41 58 60 61 80 81 82 9a 9f a0 a1 bf c0 c2 c4 d8 1c "
                             "1d 23 24 f4 f6 f7 f8 f9 fb ff 02 00".split()), max_size=40)
)  # fmt: skip
def test_bytes_that_mean_something_are_a_plain_value_or_that_error(heads: list[str]) -> None:
    outcome(bytes.fromhex("".join(heads)))


@FUZZ
@given(PLAIN, st.data())
def test_a_prefix_of_a_value_is_that_error(value: object, data: st.DataObject) -> None:
    encoded = encode(value)  # type: ignore[arg-type]
    cut = data.draw(st.integers(0, len(encoded) - 1))
    assert isinstance(outcome(encoded[:cut]), DecodeError)


def collisions(count: int) -> bytes:
    """A map whose keys are integers with one hash (2^61-1 is 0 again)."""
    keys = b"".join(b"\x1b" + struct.pack(">Q", i * (2**61 - 1)) + b"\x00" for i in range(8))
    return b"\xb9" + struct.pack(">H", count) + (keys * count)[: count * 10]


ADVERSARIES = {
    "colliding integer keys": collisions(4000),
    "bignum keys": b"\xb9\x0f\xa0" + b"\xc2\x49\x01" + bytes(8) + b"\x00",
    "maps of maps": b"\xa1\x61a" * 20_000,
    "text keys": b"\xb9\x27\x10" + b"".join(b"\x65%05d\x00" % i for i in range(10_000)),
    "nested arrays": nested(100_000),
    "nested tags": b"\xc6" * 100_000,
    "nested shared values": b"\xd8\x1c" * 50_000,
    "many empty arrays": b"\x9a\x00\x01\x86\xa0" + b"\x80" * 100_000,
    "many empty texts": b"\x9a\x00\x01\x86\xa0" + b"\x60" * 100_000,
    "many halves": b"\x99\x75\x30" + b"\xf9\x3c\x00" * 30_000,
    "many large integers": b"\x99\x27\x10" + (b"\x1b" + b"\x7f" * 8) * 10_000,
    "many undefined": b"\x9a\x00\x01\x86\xa0" + b"\xf7" * 100_000,
    "a bignum": b"\xc2\x5a\x00\x01\x86\xa0" + b"\xff" * 100_000,
    "a decimal with a huge exponent": b"\xc4\x82\x1b" + b"\x7f" * 8 + b"\x01",
    "a regular expression": b"\xd8\x23\x78\x1e" + b"(((((a*)*)*)*)*)*" + b"b" * 13,
    "huge array": b"\x9b\x00\x00\x00\xff" + bytes(4) + b"\x80" * 100_000,
    "huge text": b"\x7b\x00\x00\x00\xff" + bytes(4) + b"a" * 100_000,
}


@pytest.mark.parametrize("name", ADVERSARIES)
def test_an_adversary_costs_linear_time_and_no_other_exception(name: str) -> None:
    data = ADVERSARIES[name]
    began = time.process_time()
    outcome(data)
    # 0.1 s for 100 kB is ten times what the slowest of these takes; quadratic would be minutes.
    assert time.process_time() - began < 1.0


# ---------------------------------------------------------------- many at a time, and without a look


@FUZZ
@given(st.lists(PLAIN, max_size=6))
def test_many_items_are_what_each_of_them_is(values: list[object]) -> None:
    encoded = [encode(value) for value in values]  # type: ignore[arg-type]
    found = decode_each_loosely(encoded, depth_max=ENCODE_DEPTH_MAX)
    assert typed(found) == typed(values)


@pytest.mark.parametrize(
    "spoiled",
    [
        ["", "00"], ["00", ""], ["0000", "00"], ["00", "0000"], ["", "0000"], ["0000", ""],
        ["8200", "00"], ["00", "8200"], ["51", "00"], ["00", "51"], ["8101", "81"], ["a0", "00"], ["c100", "00"],
        ["9fff", "00"], ["818100", "00"], ["83", "00"], ["00", "5820"],
    ],
)  # fmt: skip
def test_items_that_do_not_end_where_their_bytes_do_are_none(spoiled: list[str]) -> None:
    assert decode_each_loosely([bytes.fromhex(one) for one in spoiled], depth_max=1) is None


@FUZZ
@given(st.binary(max_size=5), st.lists(st.tuples(LEAVES, LEAVES), min_size=1, max_size=5))
def test_columns_are_what_stands_behind_the_same_beginning(
    begin: bytes, rows: list[tuple[Any, Any]]
) -> None:
    encoded = [begin + encode(left) + encode(right) for left, right in rows]
    found = decode_columns(encoded, begin, 2)
    assert typed(found) == typed([list(column) for column in zip(*rows, strict=True)])
    assert foreign_calls(lambda: decode_columns(encoded, begin, 2)) == []
    if begin:
        assert decode_columns([*encoded, encoded[0][1:]], begin, 2) is None
        assert (
            decode_columns([bytes([encoded[0][0] ^ 1]) + encoded[0][1:], *encoded], begin, 2)
            is None
        )


@pytest.mark.parametrize(
    "spoiled",
    [
        "", "82", "8201", "82010203", "8201f4a0", "82018100", "8201a0", "8201c100", "82015f40ff",
        "820151", "82015820", "8301 02", "8101 02", "82011b", "820162c3c3",
    ],
)  # fmt: skip
def test_what_is_made_otherwise_has_no_columns(spoiled: str) -> None:
    good = bytes.fromhex("820102")
    assert decode_columns([good] * 3, good[:1], 2) == [[1] * 3, [2] * 3]
    for at in range(3):
        encoded = [good] * 3
        encoded[at] = bytes.fromhex(spoiled)
        assert decode_columns(encoded, good[:1], 2) is None


def test_columns_end_where_the_bytes_of_each_do() -> None:
    items = [bytes.fromhex("8201") + encode("x" * 20), bytes.fromhex("820102")]
    whole = b"".join(items)
    for cut in range(len(whole) + 1):
        expected = cut == len(items[0])
        assert (decode_columns([whole[:cut], whole[cut:]], b"\x82", 2) is not None) is expected


@pytest.mark.parametrize("data", ["", "0000", "00f6", "8200", "51", "5820", "83", "a0", "818100"])
@pytest.mark.parametrize("around", [0, 5000])
def test_short_data_and_long_end_at_their_last_byte(data: str, around: int) -> None:
    spoiled = bytes.fromhex(data)
    if around:  # a text of so many bytes in front
        spoiled = b"\x82" + encode("x" * around) + spoiled
    with pytest.raises(DecodeError):
        decode_loosely(spoiled, depth_max=1 + bool(around))


@FUZZ
@given(PLAIN)
def test_without_a_look_the_encoding_is_the_same(value: object) -> None:
    assert encode_loosely(value) == encode(value)  # type: ignore[arg-type]


def test_a_lone_surrogate_is_noticed_without_a_look_as_well() -> None:
    for value in ("\ud800", ["\ud800"], [""] * 30 + ["\ud800"]):
        with pytest.raises(EncodeError, match="UTF-8"):
            encode_loosely(value)  # type: ignore[arg-type]
