"""The server of score: an ordered, durable log of opaque changes for each group of clients."""

__version__ = "0.1.0"
