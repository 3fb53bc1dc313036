"""The announced limits."""

from __future__ import annotations

import re

from score_server.wire.entry import ENTRY_OVERHEAD_BYTES_MAX
from score_server.wire.fields import ENTRIES_MAX, GROUPS_MAX
from score_server.wire.limits import HELLO_FRAME_BYTES_MAX, Limits


def test_a_change_and_its_entry_fit_into_a_frame() -> None:
    limits = Limits()
    entry = limits.change_bytes_max + limits.name_bytes_max + ENTRY_OVERHEAD_BYTES_MAX
    # The heads of an Entries message in its frame: array, array, code, channel, array, byte string.
    assert entry + 5 + 1 + 2 + 5 + 1 + 5 <= limits.frame_bytes_max


def test_a_chunk_fits_into_a_frame() -> None:
    # The heads of a PutSnapshot in its frame: array, array, code, channel, two numbers, byte string.
    assert Limits().snapshot_chunk_bytes_max + 5 + 1 + 1 + 5 + 9 + 9 + 5 <= Limits().frame_bytes_max


def test_the_longest_list_fits_into_a_frame() -> None:
    assert 1 + max(ENTRIES_MAX, GROUPS_MAX) <= Limits().frame_items_max


def test_a_hello_fits_before_limits_are_known() -> None:
    assert 2 * Limits().name_bytes_max < HELLO_FRAME_BYTES_MAX


def test_each_limit_names_its_unit_or_counts() -> None:
    for name in Limits._fields:
        assert re.search(r"_(bytes_max|max|s|ms)$", name), name


def test_the_order_on_the_wire_never_changes() -> None:
    assert Limits._fields[:15] == (
        "frame_bytes_max", "change_bytes_max", "name_bytes_max", "connections_max", "channels_max",
        "unsettled_max", "pinned_max", "sessions_max", "retention_s", "hello_timeout_s",
        "credit_bytes_max", "turn_lease_ms", "frame_items_max", "snapshot_bytes_max",
        "snapshot_chunk_bytes_max",
    )  # fmt: skip
