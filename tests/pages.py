"""The blocks of code on the pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from programs import PAGES, ROOT

DOCS = [page.relative_to(ROOT) for page in sorted((ROOT / "docs").glob("*.md"))]
ALL_PAGES = [*(page for page in PAGES if page not in DOCS), *DOCS]
BLOCK = re.compile(r"(?:<!-- ([^>]+) -->\n)?```(\w*)\n(.*?)\n```", re.DOTALL)


class Block(NamedTuple):
    """A block of code: what the comment above it says, its language, and the code."""

    mark: str
    language: str
    code: str


def blocks(page: Path) -> list[Block]:
    """Return the blocks of code on a page."""
    return [Block(*found) for found in BLOCK.findall((ROOT / page).read_text("utf-8"))]


def snippet(name: str) -> str:
    """Return the code below the mark `name`, which only one block of all pages has."""
    (code,) = (block.code for page in ALL_PAGES for block in blocks(page) if block.mark == name)
    return code
