"""Frames byte for byte: what two implementations must agree on, and this one must not change.

``docs/protocol.md`` shows the same bytes (``test_protocol_document.py`` compares).  A change here is a
change of the protocol: add rows, never edit one (once there is a release).
"""

from __future__ import annotations

from score_server.wire.entry import Entry
from score_server.wire.limits import Limits
from score_server.wire.messages import (
    GROUP_REPLACED,
    INTENT,
    KEPT,
    MALFORMED,
    NOT_HEAD,
    OUTCOME_TAKEN,
    STRICT,
    TRIM_DONE,
    AskOutcome,
    AskTurn,
    Bye,
    Credit,
    DeleteGroup,
    EndTurn,
    Entries,
    Error,
    GroupDeleted,
    GroupPage,
    Hello,
    Join,
    Joined,
    Leave,
    ListGroups,
    Message,
    OfferSnapshot,
    OpenSession,
    Outcome,
    Ping,
    Pong,
    PutSnapshot,
    Refused,
    Resume,
    SessionOpened,
    SnapshotChunk,
    SnapshotInfo,
    SnapshotKept,
    Submit,
    Sync,
    Synced,
    Taken,
    Trim,
    Trimmed,
    TurnGranted,
    WantSnapshot,
    Welcome,
)

SESSION = bytes(range(0x10))
INCARNATION = bytes(range(0x10, 0x20))
CHAIN = bytes(range(0x20, 0x30))
DIGEST = bytes(range(0x30, 0x50))
PAYLOAD_PLAIN = [1, [1, 0, 0, "apples", 3]]
PAYLOAD = bytes.fromhex("820185010000666170706c657303")
ENTRY = Entry(1, 0, 1_790_000_000_000, SESSION, 1, "till", PAYLOAD)
ENTRY_BYTES = bytes.fromhex(
    "8701001b000001a0c4506c0050000102030405060708090a0b0c0d0e0f016474696c6c4e82018501"
    "0000666170706c657303"
)
# The chain at that entry: BLAKE2b-128 over INCARNATION and ENTRY_BYTES.
ENTRY_CHAIN = bytes.fromhex("a72d5acddf6f7148e9ef623f08e6296e")

# Each message alone in its frame.
GOLDEN: dict[str, tuple[Message, str]] = {
    "hello": (
        Hello(1, "till", [], None),
        "0000000b818501016474696c6c80f6",
    ),
    "open_session_new": (
        OpenSession(None),
        "00000004818202f6",
    ),
    "open_session_again": (
        OpenSession(SESSION),
        "0000001481820250000102030405060708090a0b0c0d0e0f",
    ),
    "join_fresh": (
        Join(1, "stock", None),
        "0000000c818503016573746f636bf6f4",
    ),
    "join_resume": (
        Join(2, "stock", Resume(INCARNATION, 1, CHAIN)),
        (
            "0000002f818503026573746f636b8350101112131415161718191a1b1c1d1e1f0150202122232425"
            "262728292a2b2c2d2e2ff4"
        ),
    ),
    "join_keep": (
        Join(3, "stock", None, True),
        "0000000c818503036573746f636bf6f5",
    ),
    "leave": (
        Leave(1),
        "0000000481820401",
    ),
    "submit": (
        Submit(1, 1, 0, 0, INTENT, 0, PAYLOAD),
        "000000188188050101000000004e820185010000666170706c657303",
    ),
    "submit_strict": (
        Submit(1, 300, 299, 70_000, STRICT, 298, PAYLOAD),
        "000000228188050119012c19012b1a000111700119012a4e820185010000666170706c657303",
    ),
    "sync": (
        Sync(1, 7),
        "000000058183060107",
    ),
    "credit": (
        Credit(1, 65_536),
        "00000009818307011a00010000",
    ),
    "ask_outcome": (
        AskOutcome(8, SESSION, 1),
        "000000168184080850000102030405060708090a0b0c0d0e0f01",
    ),
    "ping": (
        Ping(9),
        "0000000481820909",
    ),
    "list_groups": (
        ListGroups(10, ""),
        "0000000581830a0a60",
    ),
    "bye": (
        Bye(1),
        "0000000481820b01",
    ),
    "ask_turn": (
        AskTurn(1, 11),
        "0000000581830c010b",
    ),
    "offer_snapshot": (
        OfferSnapshot(1, 12, 1, CHAIN, 9, DIGEST),
        (
            "0000003a81870d010c0150202122232425262728292a2b2c2d2e2f09582030313233343536373839"
            "3a3b3c3d3e3f404142434445464748494a4b4c4d4e4f"
        ),
    ),
    "put_snapshot": (
        PutSnapshot(1, 13, 0, b"snapshot!"),
        "0000001081850e010d0049736e617073686f7421",
    ),
    "trim": (
        Trim(1, 14, 1, DIGEST),
        (
            "0000002881850f010e015820303132333435363738393a3b3c3d3e3f404142434445464748494a4b"
            "4c4d4e4f"
        ),
    ),
    "delete_group": (
        DeleteGroup(15, "stock"),
        "0000000a8183100f6573746f636b",
    ),
    "end_turn": (
        EndTurn(1),
        "0000000481821101",
    ),
    "welcome": (
        Welcome(1, "score-server 0.1", 1_790_000_000_000, [], Limits()),
        (
            "0000005d81861841017073636f72652d73657276657220302e311b000001a0c4506c00808f1a0080"
            "00001a0040000018ff1910001904001904001904001a000186a01a000151800a1a010000001901f4"
            "1920001b00000001000000001a00040000"
        ),
    ),
    "session_opened": (
        SessionOpened(SESSION),
        "000000158182184250000102030405060708090a0b0c0d0e0f",
    ),
    "joined": (
        Joined(1, INCARNATION, 0, 0, None),
        "00000019818618430150101112131415161718191a1b1c1d1e1f0000f6",
    ),
    "joined_snapshot": (
        Joined(1, INCARNATION, 1, 1, SnapshotInfo(CHAIN, 9, DIGEST)),
        (
            "0000004d818618430150101112131415161718191a1b1c1d1e1f0101835020212223242526272829"
            "2a2b2c2d2e2f095820303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e"
            "4f"
        ),
    ),
    "entries": (
        Entries(1, [ENTRY_BYTES]),
        (
            "0000003a81831844018158328701001b000001a0c4506c0050000102030405060708090a0b0c0d0e"
            "0f016474696c6c4e820185010000666170706c657303"
        ),
    ),
    "taken": (
        Taken(1, 1),
        "00000006818318450101",
    ),
    "refused": (
        Refused(300, NOT_HEAD, 70_001),
        "0000000d8184184619012c011a00011171",
    ),
    "synced": (
        Synced(7, 1),
        "00000006818318470701",
    ),
    "outcome": (
        Outcome(8, OUTCOME_TAKEN, 1),
        "0000000781841848080101",
    ),
    "pong": (
        Pong(9),
        "000000058182184909",
    ),
    "group_page": (
        GroupPage(10, [["stock", INCARNATION, 3, 2, 2, 50, 9, False]], False),
        ("000000268184184a0a81886573746f636b50101112131415161718191a1b1c1d1e1f030202183209f4f4"),
    ),
    "turn_granted": (
        TurnGranted(11, 1),
        "00000006818318500b01",
    ),
    "want_snapshot": (
        WantSnapshot("stock"),
        "0000000a818218516573746f636b",
    ),
    "snapshot_chunk": (
        SnapshotChunk(1, 0, b"snapshot!"),
        "0000001081841852010049736e617073686f7421",
    ),
    "trimmed": (
        Trimmed(14, TRIM_DONE, 1),
        "00000007818418530e0001",
    ),
    "snapshot_kept": (
        SnapshotKept(13, KEPT, 9),
        "00000007818418540d0009",
    ),
    "group_deleted": (
        GroupDeleted(15, True),
        "00000006818318550ff5",
    ),
    "error_channel": (
        Error(GROUP_REPLACED, 2, "another history"),
        "000000168184186007026f616e6f7468657220686973746f7279",
    ),
    "error_connection": (
        Error(MALFORMED, 0, "an empty frame"),
        "000000158184186001006e616e20656d707479206672616d65",
    ),
}

# Two messages in one frame.
BATCH: tuple[list[Message], str] = ([Ping(1), Ping(2)], "0000000782820901820902")
