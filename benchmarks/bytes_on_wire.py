"""Bytes on the wire for setting one key, whatever the size and the depth of the structure.

    python benchmarks/bytes_on_wire.py            the table in README.md (1,000,000 entries)
    python benchmarks/bytes_on_wire.py --large N  with another size

A real client talks to a real server through a relay that counts.  Each case has a server of
its own and reaches its size in the same number of changes, so that ids, which are written as
short as CBOR can, have the same width: what is compared is size and depth alone.
"""

from __future__ import annotations

import argparse
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import score
from score.testing import server

FILLS = 16  # changes that fill the structure
DEPTHS = (1, 6)


class Relay:
    """Forwards one connection at a time and counts its bytes in each direction."""

    def __init__(self, host: str, port: int) -> None:
        self.sent = self.received = 0
        self._upstream = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            upstream = socket.create_connection(self._upstream)
            for source, sink, name in ((client, upstream, "sent"), (upstream, client, "received")):
                sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pump, args=(source, sink, name), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, name: str) -> None:
        try:
            while data := source.recv(65536):
                setattr(self, name, getattr(self, name) + len(data))
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        self._listener.close()


@contextmanager
def relayed_client() -> Iterator[tuple[score.Client, Relay]]:
    with server() as url:
        host, port = url.removeprefix("score://").rsplit(":", 1)
        relay = Relay(host, int(port))
        with score.connect(f"score://127.0.0.1:{relay.port}") as client:
            yield client, relay
        relay.close()


def measure(entries: int, depth: int) -> tuple[int, int]:
    """Bytes (sent, received) by one ``m["key"] = 7`` in a map of *entries* at *depth*."""
    with relayed_client() as (client, relay):
        root = score.SMap[str, object](client, "group")
        nested: dict[str, object] = {}
        for _ in range(depth - 2):
            nested = {"inner": nested}
        root["outer"] = nested  # the same change in every case, used or not
        node: Any = root
        if depth > 1:
            node = node["outer"]
            while node:
                node = node["inner"]
        share = max(1, entries // FILLS)
        for fill in range(FILLS):
            low = fill * share if entries > 1 else 0
            node.update({f"entry {i}": i for i in range(low, low + share)})
        node["key"] = 1  # the key is there, as it is for most writes
        sent, received = relay.sent, relay.received
        node["key"] = 7
        return relay.sent - sent, relay.received - received


def table(large: int) -> str:
    lines = [
        "| setting one key in a map of | at depth | bytes sent | bytes received |",
        "|---|---|---|---|",
    ]
    for depth in DEPTHS:
        for entries in (1, large):
            sent, received = measure(entries, depth)
            what = "1 entry" if entries == 1 else f"{entries:,} entries"
            lines.append(f"| {what} | {depth} | {sent} | {received} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", type=int, default=1_000_000, metavar="N")
    print(table(parser.parse_args().large))
