"""The sans-IO core of the server: the order of each group, sessions, cursors."""

from __future__ import annotations

from .core import Core

__all__ = ["Core"]
