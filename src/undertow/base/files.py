"""Atomic files, of which a reader sees the old content or the new, and a lock that dies with its process."""

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from undertow.base.errors import SettingsError
from undertow.base.names import inside

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
    descriptor, name = tempfile.mkstemp(prefix=_prefix(path), suffix=path.suffix, dir=path.parent)
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


def remove_leftovers(path: Path | str) -> None:
    """Removes the temporary files of `path` that a process left which was killed as it wrote."""
    path = Path(path)
    # Exactly as long as temporary names are: those of another file, whose name begins the same, are longer.
    for leftover in path.parent.glob(f"{escape(_prefix(path))}{'?' * 8}{escape(path.suffix)}"):
        leftover.unlink(missing_ok=True)


def _prefix(path: Path) -> str:
    """Returns how the names of the temporary files of a path begin: short enough wherever its own name is."""
    return f".{os.fsdecode(os.fsencode(path.stem)[:200])}-"


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


LOCK = ".lock"
# The locks that this process has: the system does not tell them from those of others.
_held: set[str] = set()


@contextmanager
def exclusive(folder: Path | str, taken: Callable[[str], str] | None = None) -> Iterator[None]:
    """Keeps a folder for this process as long as the block lasts.

    The operating system holds the lock, on an open file `.lock` in the folder: nothing is left to clear up after a
    process that was killed.

    Args:
        folder: The folder, which is there.
        taken: Makes the message of the error out of which process has the folder, such as " (process 12)"; by default
            it is called another run that is writing.

    Raises:
        SettingsError: if another process (or this one, elsewhere) has the folder, or `.lock` is a link.
    """
    # Opened to be written: what a link here leads to would be emptied.
    path = inside(folder, LOCK, links=False)
    handle = path.open("a+", encoding="utf-8")
    try:
        if not (_take(handle) and _still_there(handle, path)):
            process = _holder(path)
            raise SettingsError(_another_run(folder, process) if taken is None else taken(process))
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        name = os.path.realpath(path)
        _held.add(name)
        try:
            yield
        finally:
            _held.discard(name)
            if sys.platform == "win32":
                handle.close()  # an open file cannot be removed there
            # Removed while it is held: whoever opened it in the meantime finds that it is gone and gives up.
            path.unlink(missing_ok=True)
    finally:
        handle.close()


def check_unwritten(folder: Path | str, taken: Callable[[str], str] | None = None) -> None:
    """Raises SettingsError, with the message that `exclusive` would have, if another process has a folder now."""
    path = inside(folder, LOCK, links=False)
    if os.path.realpath(path) in _held:
        return
    try:
        handle = path.open("r+", encoding="utf-8")
    except OSError:
        return
    with handle:
        if not _take(handle):
            process = _holder(path)
            raise SettingsError(_another_run(folder, process) if taken is None else taken(process))


def _another_run(folder: Path | str, process: str) -> str:
    return f"another run{process} is writing to '{folder}'; wait for it to end, or choose another --out"


def _still_there(handle: IO[str], path: Path) -> bool:
    """Returns whether the file that was locked is the one at `path`, not one removed since it was opened."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _holder(path: Path) -> str:
    """Returns which process wrote its number into the lock, for the message."""
    try:
        number = path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
    return f" (process {number})" if number.isdigit() else ""


if sys.platform == "win32":
    import msvcrt

    def _take(handle: IO[str]) -> bool:
        try:
            handle.seek(0)
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _take(handle: IO[str]) -> bool:
        try:
            fcntl.flock(handle.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
