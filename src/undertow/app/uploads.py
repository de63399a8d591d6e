"""Clips that are dropped on the page: streamed to a folder, a block at a time, and never more than was announced."""

import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from undertow.base import SettingsError, inside

# Left free on the disk.
SPARE = 2**30
_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")


async def receive(blocks: AsyncIterator[bytes], name: str, length: int, folder: Path) -> Path:
    """Writes an upload and returns its path; nothing stays of one that does not arrive whole.

    Args:
        blocks: What arrives.
        name: What the file is called where it comes from; only letters, digits and a suffix are kept of it.
        length: Number of bytes that were announced.
        folder: Where it goes.

    Raises:
        SettingsError: if there is no room, or another number of bytes arrives.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if length + SPARE > shutil.disk_usage(folder).free:
        raise SettingsError(f"the clip has {length // 2**20} MB, and there is no room for it in '{folder}'")
    path = free_path(folder, name)
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("xb") as file:
            async for block in blocks:
                if file.tell() + len(block) > length:
                    raise SettingsError("more arrives than was announced; send the clip again")
                file.write(block)
            if file.tell() != length:
                raise SettingsError("less arrived than was announced; send the clip again")
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def free_path(folder: Path, name: str) -> Path:
    """Returns a path in a folder that is not taken, called as like a name as is safe."""
    plain = name.replace("\\", "/").rpartition("/")[2]
    stem, _, last = plain.rpartition(".")
    suffix = f".{last.lower()}" if stem and _SUFFIX.fullmatch(f".{last.lower()}") else ""
    kept = re.sub(r"[^A-Za-z0-9_-]+", "-", stem if suffix else plain).strip("-")[:80] or "clip"
    for number in range(1, 10**6):
        path = inside(folder, kept if number == 1 else f"{kept}-{number}", suffix=suffix, single=True, links=False)
        if not path.exists() and not path.with_name(f".{path.name}.part").exists():
            return path
    raise SettingsError(f"'{folder}' has too many clips called {kept}; move some away")
