"""What to do about results that are not where they are looked for, judged by what lies there instead."""

from pathlib import Path

import numpy as np
from PIL import Image


def file_remedy(path: Path) -> str:
    """Returns what to do about a result's file that is missing, for the end of a message."""
    folder = path.parent
    if path.is_symlink():
        return f"it is a link to '{path.readlink()}', which is not there; copy the file"
    if path.is_dir():
        return "there is a folder of that name; replace it by the file"
    if (folder / "masks" / path.name).is_file():
        return f"copy the files of '{folder / 'masks'}' to '{folder}'"
    files = sorted(each.name for each in folder.iterdir() if each.is_file()) if folder.is_dir() else []
    for name in files:
        stem, _, suffix = name.rpartition(".")
        if stem == path.stem:
            same = suffix.lower() == "png"
            return f"there is '{name}'; {f'name it {path.name}' if same else 'save it as PNG, without loss'}"
        if stem.isdecimal() and path.stem.isdecimal() and int(stem) == int(path.stem):
            return f"there is '{name}'; name results as the frames are, {path.name}"
    return "add it"


def folder_remedy(folder: Path, name: str, usual: str) -> str:
    """Returns what to do about a sample's folder that is missing from a folder of results.

    Args:
        folder: the folder that was given.
        name: the sample's name.
        usual: how results lie, if nothing better can be said.
    """
    near = [folder.resolve().parent, *sorted(each for each in folder.iterdir() if each.is_dir())]
    for other in near:
        if (other / name).exists():
            return f"give '{other}', which holds it"
    return f"give a folder of {usual}"


def holds_frames(folder: Path, frames: tuple[str, ...]) -> bool:
    """Tells whether a folder has a result of any of these frames."""
    return any((folder / f"{frame}.png").is_file() for frame in frames)


def is_black_and_white(path: Path) -> bool:
    """Tells whether a file is black and white without saying which object white is: no palette, no ids.

    A file that cannot be read is not; whoever reads it says so.
    """
    try:
        with Image.open(path) as image:
            if image.mode not in ("1", "L", "I", "I;16"):
                return False
            values = np.unique(np.asarray(image))
    except (OSError, SyntaxError, ValueError):
        return False
    white = {"1": 1, "L": 255}.get(image.mode, 65535)
    return set(values.tolist()) <= {0, white} and white in values
