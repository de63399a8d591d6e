"""What pages of the documentation tell people to write, so that tests run exactly that."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def files_of(page: str) -> dict[str, str]:
    """Returns the content of each file that a page names right before a block: `path`:, an empty line, the block."""
    found = re.findall(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S)
    assert found
    return dict(found)


def blocks_of(page: str) -> list[str]:
    """Returns the blocks of Python of a page, in order."""
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S)
