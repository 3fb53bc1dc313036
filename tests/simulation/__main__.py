"""``python -m tests.simulation``: see ``search``."""

from __future__ import annotations

import sys

from .search import main

if __name__ == "__main__":
    sys.exit(main())
