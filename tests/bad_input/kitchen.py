"""Where good and bad input is made: a good clip and mask to start from, and a folder of one's own to spoil them in."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from undertow.masks import write_label_map
from undertow.video import write_video

WIDTH, HEIGHT, FRAMES = 64, 48, 3
FAST = ("--preset", "pixels", "--size", "tokens=192", "--no-overlay", "--threads", "2")


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A textured frame with a bright square that moves to the right."""
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows * 3 % 97, columns * 2 % 89, (rows + columns) % 83], -1).astype(np.uint8)
    image[height // 3 : height // 3 + 16, 8 + 4 * number : 24 + 4 * number] = (230, 40, 30)
    return image


def labels(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """The square of frame 0 as object 1, and a corner as object 2."""
    ids = np.zeros((height, width), np.uint16)
    ids[height // 3 : height // 3 + 16, 8:24] = 1
    ids[-10:, -12:] = 2
    return ids


@dataclass
class Kitchen:
    """One case's folder, and what all cases share (`clip`, `mask`), which nobody may change."""

    folder: Path
    clip: Path
    mask: Path

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def at(self, name: str, content: bytes | str = b"") -> Path:
        """Returns a file of this content."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def image(self, name: str, pixels: np.ndarray, mode: str | None = None, **options: object) -> Path:
        """Returns an image file of these pixels."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        made = Image.fromarray(pixels)
        (made.convert(mode) if mode else made).save(path, **options)
        return path

    def labelled(self, name: str, ids: np.ndarray) -> Path:
        """Returns a mask file of these ids."""
        path = self.folder / name
        write_label_map(path, ids)
        return path

    def frames(self, name: str = "frames", count: int = FRAMES) -> Path:
        """Returns a folder of numbered frames."""
        for number in range(count):
            self.image(f"{name}/{number:05d}.png", picture(number))
        return self.folder / name

    def film(self, name: str, count: int, width: int = WIDTH, height: int = HEIGHT) -> Path:
        """Returns a video of so many frames."""
        path = self.folder / name
        write_video(path, [picture(number, width, height) for number in range(count)], fps=24)
        return path

    def track(self, *more: object, video: object = None, mask: object = None, out: object = None) -> list[object]:
        """Returns the arguments of a good `track` with these changes."""
        return [
            "track", self.clip if video is None else video, "--mask", self.mask if mask is None else mask,
            "--out", self.out if out is None else out, *FAST, *more,
        ]  # fmt: skip

    def spoilt(self, name: str, spoil: Callable[[bytes], bytes]) -> Path:
        """Returns a copy of the good clip after a change to its bytes."""
        return self.at(name, spoil(self.clip.read_bytes()))

    def state(self) -> dict[str, str]:
        """Returns what lies in the folder: a digest of each file, and each folder and link."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            name = str(path.relative_to(self.folder))
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no plain file"
        return found


@dataclass(frozen=True)
class Case:
    """Something done wrong.

    Attributes:
        name: What the user did, for the table.
        make: Makes what the case needs, and returns the arguments of the command line.
        says: A part of the sentence expected.
        code: The exit code expected.
        leaves: Names of what the command may leave in the case's folder beside what was there (a run that was begun).
        lists: Whether the command lists what it found on standard output, as `bench check` does.
    """

    name: str
    make: Callable[[Kitchen], list[object]]
    says: str
    code: int = 2
    leaves: tuple[str, ...] = ()
    lists: bool = False
