"""Names and counts that files state, which nobody has checked before they come through here.

A list of videos, a table of classes or the journal of a run may come from anyone. A name becomes a path only by
`inside`, and a number decides how much is built only after `whole`.
"""

import os
from numbers import Integral
from pathlib import Path, PureWindowsPath

from undertow.base.errors import SettingsError

# What file systems take, in bytes: a single name, and all of a path that one name may be.
MOST_BYTES, MOST_PATH = 255, 1000
# Digits of a written number; more would be a bound's worth of memory and time by themselves.
MOST_DIGITS = 18


def counted(number: int, noun: str) -> str:
    """Returns a number of things, such as "1 frame" or "2 frames"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def inside(
    folder: Path | str,
    name: object,
    *,
    suffix: str = "",
    source: Path | str | None = None,
    single: bool = False,
    links: bool = True,
) -> Path:
    r"""Returns the path of `name` in `folder`; slashes in the name lead into subfolders.

    Nothing is made or opened, and the path need not exist.

        >>> inside("out", "bear/00000", suffix=".png").as_posix()
        'out/bear/00000.png'
        >>> inside("out", "../bear")
        Traceback (most recent call last):
        undertow.base.errors.SettingsError: the name '../bear' leads out of 'out'; rename it

    Args:
        folder: Where the path has to stay.
        name: The name as a file or a folder's listing has it.
        suffix: Added to the name, such as ".png".
        source: The file that states the name, for the error.
        single: Whether the name has to be one of a file or folder, without slashes.
        links: Whether symbolic links below `folder` may be followed; without, for files that are to be written, they
            are refused.

    Raises:
        SettingsError: if the name is no text, is empty, absolute, too long or not encodable, has control characters or
            a part `.` or `..`, or if a link is in the way.
    """
    problem = _problem(name, suffix, folder)
    if not problem and single and "/" in str(name):
        problem = "has a slash"
    if problem:
        shown = _shown(name)
        if source is None:
            raise SettingsError(f"the name {shown} {problem}; rename it")
        raise SettingsError(f"'{source}' names {shown}, which {problem}; correct it")
    path = Path(folder) / f"{name}{suffix}"
    if not links:
        own = Path(folder)
        for part in path.relative_to(own).parts:
            own /= part
            if own.is_symlink():
                raise SettingsError(f"'{own}' is a link, and nothing is written through links; remove it")
    return path


def whole(value: object, what: str, *, least: int = 0, most: int, source: Path | str | None = None) -> int:
    """Returns a whole number that a file states, as a number or as decimal digits.

        >>> whole("12", "split", least=1, most=64)
        12
        >>> whole(10**9, "split", least=1, most=64)
        Traceback (most recent call last):
        undertow.base.errors.SettingsError: split is 1000000000; give a whole number from 1 to 64

    Args:
        value: The number as it was read.
        what: What it counts, for the error.
        least: The least that is accepted.
        most: The most that is accepted.
        source: The file that states it, for the error.

    Raises:
        SettingsError: if it is no whole number or out of range.
    """
    number = _number(value)
    if number is None or not least <= number <= most:
        found = f"{what} is {_shown(value)}" if source is None else f"'{source}' has {what} {_shown(value)}"
        raise SettingsError(f"{found}; give a whole number from {least} to {most}")
    return number


def printable(text: str) -> str:
    """Returns text as one line in which nothing can move the cursor or colour the terminal, such as a file's name."""
    line = " ".join(part.strip() for part in text.splitlines())
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in line)


def _problem(name: object, suffix: str, folder: Path | str) -> str:
    """Returns what is wrong with a name, as the rest of a sentence; nothing if it can be used."""
    if not isinstance(name, str):
        return "is no text"
    try:
        parts = [os.fsencode(part) for part in f"{name}{suffix}".split("/")]
    except UnicodeEncodeError:
        return "no file can have"
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        return "has control characters"
    # Backslashes separate folders where a zip made here may be unpacked.
    pieces = name.replace("\\", "/").split("/")
    if name.startswith("/") or PureWindowsPath(name).anchor or ".." in pieces:
        return f"leads out of '{folder}'"
    if not name or not all(part and part != "." for part in name.split("/")):
        return "has an empty part"
    if max(map(len, parts)) > MOST_BYTES or sum(map(len, parts)) + len(parts) > MOST_PATH:
        return "is too long for a file"
    return ""


def _number(value: object) -> int | None:
    """Returns a whole number, `None` if a value is none; true and false are no numbers, those of numpy are."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        digits = value.isascii() and value.removeprefix("-").isdecimal() and len(value) <= MOST_DIGITS
        return int(value) if digits else None
    return int(value) if isinstance(value, Integral) else None


def _shown(value: object) -> str:
    """Returns a value for a sentence: short, in one line, with nothing that a terminal would act on."""
    if isinstance(value, int) and value.bit_length() > 4 * MOST_DIGITS:
        return f"a number of {value.bit_length()} bits"
    if not isinstance(value, str | int | float | None):
        return f"a {type(value).__name__}"
    if not isinstance(value, str):
        return str(value)
    text = f"'{value}'" if value[:100].isprintable() else ascii(value[:100])
    return text if len(text) <= 80 else f"{text[:76]}...'"
