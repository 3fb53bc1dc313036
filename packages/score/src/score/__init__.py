"""Shared state for Python programs: dicts, lists and stacks that several processes share."""

__version__ = "0.1.0"
