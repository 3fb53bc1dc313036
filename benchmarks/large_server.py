"""``score-server`` with another limit of connections, which the command line does not offer.

python -m benchmarks.large_server PORT STORE CONNECTIONS_MAX
"""

from __future__ import annotations

import gc
import sys

import trio

from score_server.config import Address
from score_server.shell.committer import open_committer
from score_server.shell.server import Server
from score_server.stores import open_store
from score_server.wire.limits import Limits

from .machine import allow_open_files


async def serve(port: int, store: str, connections_max: int) -> None:
    committer = open_committer(open_store, store)
    gc.freeze()  # as the product's own start does
    limits = Limits(connections_max=connections_max, sessions_max=10 * connections_max)
    server = Server(committer, limits)
    await server.listen([Address("127.0.0.1", port)])
    await server.serve()


if __name__ == "__main__":
    port, store, connections_max = sys.argv[1:]
    allow_open_files(int(connections_max) + 100)
    trio.run(serve, int(port), store, int(connections_max))
