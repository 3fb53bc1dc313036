"""Fields: types and ranges, the same for what is sent and for what comes."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from score_server.wire.fields import (
    CHANNEL_MAX,
    ENTRIES_MAX,
    FEATURES_MAX,
    FIELDS,
    GROUPS_MAX,
    POSITION_MAX,
    TEXT_BYTES_MAX,
    FieldError,
    VersionError,
    encode_message,
    read_count,
    read_message,
)
from score_server.wire.limits import Limits
from score_server.wire.messages import (
    CODES,
    DeleteGroup,
    Entries,
    Error,
    GroupDeleted,
    GroupPage,
    Hello,
    Join,
    Joined,
    Message,
    OfferSnapshot,
    OpenSession,
    Outcome,
    Ping,
    PutSnapshot,
    Refused,
    Resume,
    SnapshotChunk,
    SnapshotInfo,
    SnapshotKept,
    Submit,
    Trim,
    Trimmed,
    WantSnapshot,
    Welcome,
)

from .golden import CHAIN, DIGEST, GOLDEN, INCARNATION, SESSION
from .profile import foreign_calls

TOP = POSITION_MAX
FUZZ = settings(derandomize=True, max_examples=200, deadline=None)


def read(data: bytes) -> Message:
    message, at = read_message(data, 0)
    assert at == len(data)
    return message


def raw(message: Message) -> bytes:
    """The message's bytes, unchecked."""
    return cbor2.dumps([CODES[type(message)], *message])


SUBMIT = Submit(1, 1, 0, 0, 0, 0, b"")
# What each kind of field just allows, and what it just does not.
GOOD: list[Message] = [
    *(message for message, _ in GOLDEN.values()),
    Ping(0), Ping(23), Ping(24), Ping(255), Ping(256), Ping(65_535), Ping(65_536), Ping(0x01020304), Ping(2**32 - 1), Ping(2**32), Ping(TOP),
    Join(CHANNEL_MAX, "é" * 100, None), Join(1, "g" * TEXT_BYTES_MAX, None),
    Join(1, "g", Resume(INCARNATION, TOP, CHAIN)),
    Hello(1, "", ["f"] * FEATURES_MAX, None), Hello(1, "", ["f" * 255], None),
    SUBMIT._replace(condition=1, payload=bytes(70_000)),
    Entries(1, [b"e"] * ENTRIES_MAX), GroupPage(0, [["a", INCARNATION, 0, 0, 0, 0, 0, False]] * GROUPS_MAX, True), GroupPage(0, [], True),
    GroupPage(0, [["a", INCARNATION, 0, 0, 0, 0, 0, False], ["b", INCARNATION, TOP, 0, 0, 0, 0, False]], False),
    Error(65_535, 0, ""), Refused(1, 5, 0), Outcome(0, 2, 0), Trimmed(0, 3, 0), SnapshotKept(0, 4, 0),
    OfferSnapshot(1, 0, TOP, CHAIN, TOP, DIGEST), PutSnapshot(1, 0, TOP, bytes(300_000)), Trim(1, 0, TOP, DIGEST),
    Joined(1, INCARNATION, TOP, TOP, SnapshotInfo(CHAIN, TOP, DIGEST)),
    GroupPage(0, [["a", INCARNATION, TOP, TOP, TOP, TOP, TOP, True]], False),
    Welcome(1, "", 0, [], Limits(*[TOP] * len(Limits._fields))),
]  # fmt: skip
BAD: list[tuple[Message, str]] = [
    (Ping(-1), "token"), (Ping(TOP + 1), "token"), (Ping(2**64), "token"), (Ping(True), "token"),
    (Ping(1.0), "token"), (Ping(None), "token"), (Ping("1"), "token"), (Ping([]), "token"),
    (Join(0, "g", None), "channel"), (Join(CHANNEL_MAX + 1, "g", None), "channel"),
    (Join(1, "", None), "group"), (Join(1, b"g", None), "group"),
    (Join(1, "g" * (TEXT_BYTES_MAX + 1), None), "group"),
    (Join(1, "é" * 40_000, None), "group"),
    (Join(1, "g", Resume(INCARNATION, 1, CHAIN[1:])), "resume"),
    (Join(1, "g", Resume(INCARNATION, -1, CHAIN)), "resume"),
    (Join(1, "g", [INCARNATION, 1]), "resume"), (Join(1, "g", 1), "resume"),
    (Join(1, "g", [INCARNATION, 1, CHAIN, 1]), "resume"), (Join(1, "g", False), "resume"),
    (Hello(1, "", "ab", None), "features"), (Hello(1, "", [1], None), "features"),
    (Hello(1, "", [""], None), "features"), (Hello(1, "", ["f"] * 65, None), "features"),
    (Hello(1, "", [], b"secret"), "credentials"), (Hello(1, "", [], 0), "credentials"),
    (OpenSession(SESSION[1:]), "session"), (OpenSession(SESSION + b"x"), "session"),
    (OpenSession("s" * 16), "session"),
    (SUBMIT._replace(seq=0), "seq"), (SUBMIT._replace(condition=2), "condition"),
    (SUBMIT._replace(condition=False), "condition"), (SUBMIT._replace(payload=""), "payload"),
    (SUBMIT._replace(settled=-1), "settled"), (SUBMIT._replace(follows=TOP + 1), "follows"),
    (SUBMIT._replace(seen=2**40 * 2**40), "seen"),
    (Entries(1, []), "entries"), (Entries(1, [b""]), "entries"), (Entries(1, ["e"]), "entries"),
    (Entries(1, [b"e"] * (ENTRIES_MAX + 1)), "entries"),
    (GroupPage(0, [["a", INCARNATION, 0, 0, 0, 0, 0, False]] * (GROUPS_MAX + 1), True), "groups"),
    (Entries(1, b"e"), "entries"), (GroupPage(0, [], 1), "more"), (GroupPage(0, [], None), "more"),
    (GroupPage(0, [["a", INCARNATION]], True), "groups"), (GroupPage(0, [1], True), "groups"),
    (Joined(1, INCARNATION, 0, 0, b""), "snapshot"), (Joined(1, b"", 0, 0, None), "incarnation"),
    (Error(0, 0, ""), "code"), (Error(65_536, 0, ""), "code"), (Refused(1, 6, 0), "reason"),
    (Outcome(0, 3, 0), "verdict"), (Welcome(1, "", 0, [], Limits(0)), "limits"),
    (Welcome(1, "", 0, [], [1] * 14), "limits"), (Welcome(1, "", 0, [], [1] * 16), "limits"),
    (Join(1, "g", None, 0), "keep"), (Join(1, "g", None, None), "keep"),
    (GroupPage(0, [["a", INCARNATION, 0, 0, 0, 0, 0, 0]], True), "groups"),
    (GroupPage(0, [["a", INCARNATION, 0, -1, 0, 0, 0, False]], True), "groups"),
    (Joined(1, INCARNATION, 0, 0, [CHAIN, 0, DIGEST]), "snapshot"), (Joined(1, INCARNATION, 0, 0, [CHAIN, 1]), "snapshot"),
    (Joined(1, INCARNATION, 0, 0, [CHAIN, 1, CHAIN]), "snapshot"),
    (OfferSnapshot(1, 0, 0, CHAIN, 1, DIGEST), "position"), (OfferSnapshot(1, 0, 1, DIGEST, 1, DIGEST), "chain"),
    (OfferSnapshot(1, 0, 1, CHAIN, 0, DIGEST), "size"), (OfferSnapshot(1, 0, 1, CHAIN, 1, CHAIN), "digest"),
    (PutSnapshot(1, 0, 0, b""), "data"), (PutSnapshot(1, 0, -1, b"x"), "offset"), (SnapshotChunk(1, 0, b""), "data"),
    (Trim(1, 0, 0, DIGEST), "position"), (DeleteGroup(0, ""), "group"), (WantSnapshot(""), "group"),
    (Trimmed(0, 4, 0), "verdict"), (SnapshotKept(0, 5, 0), "verdict"), (GroupDeleted(0, 1), "existed"),
]  # type: ignore[list-item]  # fmt: skip


@pytest.mark.parametrize("message", GOOD, ids=lambda message: f"{message!r:.50}")
def test_what_is_allowed_passes_both_ways(message: Message) -> None:
    assert encode_message(message) == raw(message)
    again = read(raw(message))
    assert again == message
    assert type(again) is type(message)
    for mine, theirs in zip(again, message, strict=True):
        assert type(mine) is type(theirs)


@pytest.mark.parametrize("message", GOOD, ids=lambda message: f"{message!r:.50}")
def test_no_ctrl_c_is_lost_in_a_message(message: Message) -> None:
    """Where cbor2 encodes a list it would be: see ``test_codec.py``."""
    assert foreign_calls(lambda: encode_message(message)) == []
    data = raw(message)
    assert foreign_calls(lambda: read_message(data, 0)) == []


@pytest.mark.parametrize(("message", "field"), BAD, ids=lambda value: f"{value!r:.50}")
def test_what_is_not_allowed_is_named_both_ways(message: Message, field: str) -> None:
    name = rf"{type(message).__name__}\.{field} must be"
    with pytest.raises(FieldError, match=f"{name} .*, not "):
        encode_message(message)
    with pytest.raises(FieldError, match=name):
        read(raw(message))


def test_an_error_stays_short_and_says_what_was_given() -> None:
    for message, given_ in [
        (Ping(None), "None"), (Ping(-1), "-1"), (Ping("x" * 10**6), "str of length 1000000"),
        (Ping({}), "dict"), (Ping(10**5000), "an integer of 16610 bits"), (Ping(1.5), "1.5"), (Join(1, b"x" * 70_000, None), "bytes of length 70000"),
    ]:  # type: ignore[arg-type]  # fmt: skip
        with pytest.raises(FieldError, match=f", not {given_}$"):
            encode_message(message)


def test_a_lone_surrogate_is_no_text() -> None:
    with pytest.raises(FieldError, match=r"Join\.group"):
        encode_message(Join(1, "\ud800", None))
    with pytest.raises(FieldError, match=r"Join\.group"):
        read(b"\x85\x03\x01\x63\xed\xa0\x80\xf6\xf4")


def test_longer_heads_than_needed_are_read() -> None:
    assert read(b"\x98\x02\x18\x09\x18\x01") == Ping(1)
    assert read(b"\x9b" + bytes(7) + b"\x02\x19\x00\x09\x1b" + bytes(7) + b"\x01") == Ping(1)
    assert read(b"\x82\x09\x19\x00\x01") == read(b"\x82\x09\x1a\x00\x00\x00\x01") == Ping(1)
    assert read(b"\x85\x03\x01\x79\x00\x01g\xf6\xf4") == Join(1, "g", None)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "begins with its code"), (b"\x80", "begins with its code"), (b"\x00", "begins with its code"),
        (b"\xa0", "begins with its code"), (b"\x82\x20", "begins with its code"),
        (b"\x82\xf5\x01", "begins with its code"), (b"\x9f", "begins with its code"),
        (b"\x9c", "begins with its code"), (b"\x99\x00", "begins with its code"),
        (b"\x82\x61\x01", "begins with its code"),
        (b"\x82\x12\x01", "18 is not the code"), (b"\x82\x00\x01", "0 is not the code"),
        (b"\x81\x09", "Ping has 1 fields, not 0"), (b"\x83\x09\x01\x01", "Ping has 1 fields, not 2"),
        (b"\x82\x09", r"Ping\.token is cut off"), (b"\x82\x09\x19\x01", r"Ping\.token is cut off"),
        (b"\x82\x09\x1a\x01\x01", r"Ping\.token is cut off"), (b"\x82\x09\x18", r"Ping\.token is cut off"),
        (b"\x82\x09\x1c", r"Ping\.token must be"), (b"\x82\x09\x1f", r"Ping\.token must be"),
        (b"\x85\x03\x01\x65gro", r"Join\.group is cut off"),
        (b"\x85\x03\x01\x7f\x61g\xff\xf6\xf4", r"Join\.group must be"),
        (b"\x82\x02\x5f\x50", r"OpenSession\.session must be"),
        (b"\x82\x02", r"OpenSession\.session is cut off"),
        (b"\x82\x02\xc2\x41\x00", r"OpenSession\.session must be"),
        (b"\x88\x05\x01\x01\x00\x00\x00\x00\x5b\x7f" + b"\xff" * 7, r"Submit\.payload is cut off"),
        (b"\x88\x05\x01\x01\x00\x00\x00\x00\x5b" + b"\xff" * 8, r"Submit\.payload is cut off"),
        (b"\x83\x18\x44\x01\x9b\x7f" + b"\xff" * 7, r"Entries\.entries must be"), (b"\x83\x18\x44\x01\x99\x10\x00", r"Entries\.entries is cut off"),
        (b"\x83\x18\x44\x01\x9b" + b"\xff" * 8, r"Entries\.entries must be"),
        (b"\x83\x18\x44\x01\x82\x41e\x42e", r"Entries\.entries is cut off"),
        (b"\x83\x18\x44\x01\x81\x58\x19" + bytes(24), r"Entries\.entries is cut off"),
        (b"\x83\x18\x44\x01\x81\x58", r"Entries\.entries is cut off"),
        (b"\x83\x18\x44\x01\x81\x58\x00", r"Entries\.entries must be"), (b"\x83\x18\x44\x01\x81\x61e", r"Entries\.entries must be"),
        (b"\x85\x01\x20\x60\x80\xf6", r"Hello\.version must be"),
        (b"\x85\x01\x61", r"Hello\.version must be"), (b"\x85\x01", r"Hello\.version is cut off"),
    ],
)  # fmt: skip
def test_what_is_no_message_is_one_typed_error(data: bytes, text: str) -> None:
    with pytest.raises(FieldError, match=text):
        read_message(data, 0)


@pytest.mark.parametrize(
    "data", [b"\x81\x01\x02", b"\x89\x01\x02", b"\x85\x18\x41\x1a\x00\x01\x00\x00"]
)
def test_another_version_is_said_before_anything_else_is_read(data: bytes) -> None:
    with pytest.raises(VersionError, match=r"is not spoken here; version 1 is"):
        read_message(data, 0)


@pytest.mark.parametrize(
    ("body", "found"),
    [(b"\x81", (1, 1)), (b"\x98\x18", (24, 2)), (b"\x9a\x00\x01\x00\x00", (65_536, 5))],
)
def test_a_frame_says_how_many_messages_it_holds(body: bytes, found: tuple[int, int]) -> None:
    assert read_count(body) == found


@pytest.mark.parametrize("body", [b"", b"\x80", b"\x00", b"\x9f", b"\x98", b"\xa1", b"\x98\x00"])
def test_a_frame_that_is_no_array_of_messages_is_refused(body: bytes) -> None:
    with pytest.raises(FieldError, match="array of one or more"):
        read_count(body)


def test_every_message_has_a_kind_for_each_field() -> None:
    for kind, fields in FIELDS.items():
        assert len(fields) == len(kind._fields)
    assert set(FIELDS) == set(CODES)


@FUZZ
@given(st.sampled_from(sorted(GOLDEN)), st.data())
def test_mutated_messages_are_messages_or_that_error(name: str, data: st.DataObject) -> None:
    bytes_ = bytearray(raw(GOLDEN[name][0]))
    for _ in range(data.draw(st.integers(1, 3))):
        bytes_[data.draw(st.integers(0, len(bytes_) - 1))] = data.draw(st.integers(0, 255))
    try:
        message, at = read_message(bytes(bytes_), 0)
    except (FieldError, VersionError):
        return
    assert at <= len(bytes_)
    encode_message(message)


@FUZZ
@given(st.binary(max_size=40))
def test_arbitrary_bytes_are_a_message_or_that_error(data: bytes) -> None:
    for prefix in (
        b"",
        b"\x82\x09",
        b"\x85\x01\x01",
        b"\x85\x03\x01",
        b"\x88\x05",
        b"\x83\x18\x44",
    ):
        try:
            message, _ = read_message(prefix + data, 0)
        except (FieldError, VersionError):
            continue
        encode_message(message)


def test_records_are_read_as_records() -> None:
    joined = read(raw(Join(1, "g", Resume(INCARNATION, 1, CHAIN))))
    assert isinstance(joined, Join)
    assert isinstance(joined.resume, Resume)
    welcome = read(raw(Welcome(1, "", 0, [], Limits())))
    assert isinstance(welcome, Welcome)
    assert isinstance(welcome.limits, Limits)
