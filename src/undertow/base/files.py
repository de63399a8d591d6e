"""Atomic files: a reader sees the old content or the new, never half of one."""

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which replaces `path` if the block succeeds and is removed if not.

    The temporary file keeps the suffix of `path`, because writers choose their format by it. Missing parent
    folders are made. The data reach the disk before the rename, so that a crash cannot leave an empty file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Short enough to be a name wherever `path` itself is one.
    stem = os.fsdecode(os.fsencode(path.stem)[:200])
    descriptor, name = tempfile.mkstemp(prefix=f".{stem}-", suffix=path.suffix, dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        # mkstemp makes private files; results should have the permissions any new file would have.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path | str, data: bytes) -> None:
    """Writes `data` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path | str, text: str) -> None:
    """Writes `text` to `path` atomically as UTF-8."""
    # A file's name need not be Unicode; what of it is not is written as \udcXX, which JSON reads back as it was.
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path | str, value: Any) -> None:
    """Writes `value` to `path` atomically as indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_tensors(path: Path | str, tensors: "Mapping[str, Tensor]", facts: Mapping[str, str] | None = None) -> None:
    """Writes tensors, and facts about them, to a safetensors file atomically.

    Raises:
        OSError: if the disk is full, or refuses for another reason.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        try:
            save_file(dict(tensors), temporary, None if facts is None else dict(facts))
        except SafetensorError as error:
            # What the system said is in the text only.
            number = re.search(r"\(os error (\d+)\)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
