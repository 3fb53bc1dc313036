"""Examples in README and docs are tests: sybil runs every Python block of each document, in order.

The blocks share one namespace and one real server, whose address is in ``$SCORE_URL``, so an
example says ``score.connect()`` as a user's program would.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

# A shell starts its background jobs with SIGINT ignored, and what they start inherits it: the
# programs of the tests would not see the Ctrl-C that a test sends them.
signal.signal(signal.SIGINT, signal.default_int_handler)


def _start_server(namespace: dict[str, Any]) -> None:
    from score.testing import server

    running = server()
    os.environ["SCORE_URL"] = running.__enter__()
    namespace["__server"] = running


def _stop_server(namespace: dict[str, Any]) -> None:
    client = namespace.pop("client", None)
    if client is not None:
        client.close()
    namespace.pop("__server").__exit__(None, None, None)
    os.environ.pop("SCORE_URL", None)


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "docs/*.md", "packages/*/README.md"],
    setup=_start_server,
    teardown=_stop_server,
).pytest()
