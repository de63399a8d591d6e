"""What the operating system refuses, as a sentence that says what to do, and how lack of memory is known."""

import errno
import os
from pathlib import Path

# What the system says no to, as half a sentence about the file, and what to do.
_REFUSALS = {
    errno.ENOSPC: ("the disk is full", "free some space or choose another --out, and run the command again"),
    errno.EDQUOT: ("your disk quota is used up", "free some space or choose another --out, and run the command again"),
    errno.EFBIG: ("a file would grow beyond the limit set here", "raise the limit (ulimit -f) or choose another --out"),
    errno.EACCES: ("permission is denied", "change the permissions or choose another path"),
    errno.EPERM: ("the system does not permit it", "change the permissions or choose another path"),
    errno.EROFS: ("the file system is read-only", "choose a path that can be written to"),
    errno.ENOENT: ("there is no such file or folder", "check the path"),
    errno.EEXIST: ("something else has that name", "choose another path"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "choose another path"),
    errno.EISDIR: ("it is a folder", "give a file"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
    errno.ELOOP: ("its links lead in a circle", "give a path without the loop"),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n) and run the command again"),
    errno.EIO: ("the disk or the connection to it fails", "check the device and run the command again"),
}


def refusal(error: OSError) -> str:
    """Returns what the system refused, where, and what to do."""
    reason = (error.strerror or "the system refused").lower()
    what, remedy = _REFUSALS.get(error.errno or 0, (reason, "check the path and run the command again"))
    if not isinstance(error.filename, str | bytes):
        return f"{what} ({reason}); {remedy}"
    path = Path(os.fsdecode(error.filename))
    # Files are written under hidden temporary names; the folder is what the user knows.
    shown = path.parent if path.name.startswith(".") else path
    return f"'{shown}' cannot be used: {what}; {remedy}"


def out_of_memory(error: BaseException) -> bool:
    """Returns whether Python, torch or the system says that memory ran out; torch on a CPU has no class for it."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # Not by class, as torch is not loaded before a command needs it.
    return isinstance(error, MemoryError) or (
        type(error).__name__ == "OutOfMemoryError" or "memory: you tried to allocate" in str(error)
    )
