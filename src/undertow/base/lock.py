"""A lock on a folder that dies with the process that holds it, whatever kills that process."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from undertow.base.errors import SettingsError

LOCK = ".lock"


@contextmanager
def exclusive(folder: Path | str) -> Iterator[None]:
    """Keeps a folder for this process as long as the block lasts.

    The operating system holds the lock, on an open file `.lock` in the folder: nothing is left to clear up after a
    process that was killed.

    Raises:
        SettingsError: if another process (or this one, elsewhere) has the folder.
    """
    path = Path(folder) / LOCK
    handle = path.open("a+", encoding="utf-8")
    try:
        if not (_take(handle) and _still_there(handle, path)):
            raise SettingsError(
                f"another run{_holder(path)} is writing to '{folder}'; wait for it to end, or choose another --out"
            )
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        try:
            yield
        finally:
            if sys.platform == "win32":
                handle.close()  # an open file cannot be removed there
            # Removed while it is held: whoever opened it in the meantime finds that it is gone and gives up.
            path.unlink(missing_ok=True)
    finally:
        handle.close()


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
