"""Planted bugs of the shell, which only the second layer runs; see ``bugs`` for what a bug is."""

from __future__ import annotations

from typing import Any

from score_server.shell import committer, flag, hub, link, listening, server, sweeper

from .bugs import Bug

H, L, W = hub.Hub, link.Link, sweeper.Swept
T, K = committer.ThreadCommitter, committer.Clerk

_EDITS: dict[str, tuple[tuple[Any, str, str], ...]] = {
    # ---------------------------------------------------------------- the store's thread
    "a commit is reported before it is done": (
        (T._serve, "event = clerk.do(job)",
         "event = Committed() if isinstance(job, StartCommit) else clerk.do(job)"),
        (T._serve, "self._run_soon(self._deliver, event)",
         "self._run_soon(self._deliver, event); isinstance(job, StartCommit) and clerk.do(job)"),
    ),
    "a store that does not wait is not waited for": (
        (committer.InlineCommitter.submit, "return self._clerk.do(job)",
         "return Committed() if isinstance(job, StartCommit) else self._clerk.do(job)"),
    ),
    "a failed sync is taken for a full disk": (
        (K._commit, "except StoreFull as error:", "except StoreError as error:"),
    ),
    "a job for the store's thread is not announced": (
        (T.submit, "self._tickets.put(None)", "len(self._reads) < 2 and self._tickets.put(None)"),
    ),
    # ---------------------------------------------------------------- where all meet
    "the core is not told that a connection has ended": (
        (H.disconnected, "self.handle(Disconnected(number))", "pass"),
    ),
    "nobody flushes what others have caused": ((H._stir, "self._flusher.set()", "pass"),),
    "what an output asks for is forgotten": (
        (H.output, "self._do(effects, self._now_ms())", "pass"),
    ),
    "time does not pass for the core": ((H.tick, "self.handle(Ticked())", "pass"),),
    "a flag that nobody waits for yet is not set": (
        (flag.Flag.set, "self._is_set = True", "self._is_set = self._waiting is not None"),
    ),
    # ---------------------------------------------------------------- one connection
    "what a socket has not taken is lost": (
        (W._send, 'memoryview(data)[sent:] if sent < len(data) else b""', 'b""'),
    ),
    "what a socket has not taken is sent again from its beginning": (
        (W._send, "memoryview(data)[sent:] if sent < len(data)", "data if sent < len(data)"),
    ),
    "nobody waits for room to send the rest": (
        (W._send, "more = bool(self._unsent) or self._hub.has_output(self.number)", "more = False"),
    ),
    "what a stream has not taken is lost": (
        (L.flush, "if rest or self._is_ending", "rest = b''\n        if rest or self._is_ending"),
    ),
    "two tasks write on one stream": (
        (L.flush, "if self._is_writing or self._nursery is None:", "if self._nursery is None:"),
    ),
    "what else came with a message is forgotten": (
        (W.settle, "self._sweeper.unheard.append(self)", "pass"),
    ),
    "whoever was owed too much is never read from again": (
        (W._send, "self._is_paused = False", "pass"),
    ),
    "whoever does not close is waited for": (
        (W._end_in, "self._sweeper.ending[self] = trio.current_time() + seconds", "pass"),
    ),
    "the end of a peer is not noticed": ((W._peer_ended, "self.close()", "pass"),),
    # ---------------------------------------------------------------- beginning and end
    "accepting ends with its first failure": (
        (listening.accept, "await trio.sleep(ACCEPT_RETRY_S)\n            continue", "return"),
    ),
    "a stopping server says no goodbye": (
        (server.Server._end_on_stop, "connections.deadline = trio.current_time() + STOP_S_MAX",
         "connections.cancel()"),
    ),
}  # fmt: skip

SHELL_BUGS = [Bug(name, edits) for name, edits in _EDITS.items()]
