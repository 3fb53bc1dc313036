"""Values that are a series of small atomic updates: UMap, UVec and UStack."""

__version__ = "0.1.0"
