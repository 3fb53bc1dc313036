"""Write the Python examples of README and docs out as modules, for the type checkers.

    python tests/repo/snippets.py OUT_FOLDER

The blocks of one document continue each other, as they do when they are executed, so a
document becomes one module.  Blocks that sybil skips (``<!-- skip: next -->``) and blocks that
misuse a type on purpose (``<!-- not typed: why -->``) are left out.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(
    r"(<!--\s*(?:not typed:|skip: next)[^>]*-->\s*)?^```python\n(.*?)^```", re.M | re.S
)


def documents() -> list[Path]:
    """Every Markdown file whose Python blocks are examples for users."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return found + sorted((ROOT / "packages").glob("*/README.md"))


def module_of(document: Path) -> str:
    """The document's examples as the text of one module ('' when it has none)."""
    blocks = [code for skip, code in BLOCK.findall(document.read_text("utf-8")) if not skip]
    return "\n".join(blocks)


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for document in documents():
        if text := module_of(document):
            parts = document.relative_to(ROOT).with_suffix("").parts
            name = "_".join(parts).replace("-", "_").lower()
            (out / f"{name}.py").write_text(text, "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
