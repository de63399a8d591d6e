"""Folders of frames: images in the order people count, with a warning where numbers are missing."""

import hashlib
import logging
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from undertow.base import VideoError
from undertow.video.frames import RGB, DamagedFrame, as_rgb, check_pixels, check_same_size
from undertow.video.source import Source

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})
# What is opened, whatever its suffix says: among the formats Pillow knows, some start other programs.
_FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP", "GIF")
# Of these, what comes after the first picture would be lost; a JPEG has but a thumbnail there.
_SEVERAL = ("PNG", "WEBP", "TIFF", "GIF")


class FrameFolder(Source):
    """The images of a folder as frames, in natural order (2 before 10), upright by their EXIF orientation.

    Hidden files and files that are no images are passed over. Images are read when asked for; only their headers are
    read beforehand, so that a file of another size is found before work begins and not hours into it.
    """

    def __init__(self, paths: Sequence[Path], label: str, *, skip_damaged: bool = False):
        """Takes image files that are in order; with `skip_damaged`, damage matters only when a file is asked for.

        Raises:
            VideoError: naming the file, if one cannot be read, or its size or name is not as it must be.
        """
        self.label = label
        self._paths = tuple(paths)
        self.gaps = missing_numbers([path.stem for path in paths])
        if self.gaps:
            log.warning(
                "%s has gaps: %s missing; its %d frames are counted without", label, ", ".join(self.gaps), len(paths)
            )
        names: dict[str, Path] = {}
        for path in paths:
            if (other := names.setdefault(path.stem, path)) != path:
                raise VideoError(f"{label} has two frames of one name, '{other.name}' and '{path.name}'; remove one")
        for path in paths:
            try:
                self.height, self.width = _read(path).shape[:2]
                break
            except DamagedFrame:
                if not skip_damaged or path == paths[-1]:
                    raise
        for path in paths:
            try:
                size = _stored_size(path)
            except DamagedFrame:
                if not skip_damaged:
                    raise
                continue
            # Whether EXIF turns the image is only known later, so either way round will do here.
            if sorted(size) != sorted((self.width, self.height)):
                raise VideoError(
                    f"'{path}' is {size[0]}x{size[1]} but the first frame is {self.width}x{self.height}; "
                    "make all frames of a video one size"
                )

    @classmethod
    def open(cls, folder: Path, *, skip_damaged: bool = False) -> "FrameFolder":
        """Returns the frames of a folder; see `FrameFolder`.

        Raises:
            VideoError: if it holds no image.
        """
        try:
            files = [path for path in folder.iterdir() if not path.name.startswith(".") and not path.is_dir()]
            paths = sorted((path for path in files if path.suffix.lower() in IMAGE_SUFFIXES), key=natural_key)
            odd = [path for path in paths if not path.is_file()]
        except OSError as error:
            raise VideoError(f"folder '{folder}' cannot be read ({error.strerror}); check its permissions") from error
        if odd:
            what = "a link to nothing" if odd[0].is_symlink() else "not a file"
            raise VideoError(f"'{odd[0]}' is {what}, so that a frame would be missing; replace it or take it out")
        if not paths:
            found = f"{len(files)} files but no images" if files else "no files"
            raise VideoError(f"folder '{folder}' holds {found}; give one with frames as jpg or png")
        return cls(paths, f"folder '{folder}'", skip_damaged=skip_damaged)

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self._paths)

    def read(self, index: int, keep: int) -> list[tuple[int, RGB]]:
        """Returns frame `index` alone; see `Source.read`."""
        path = self._paths[index]
        image = _read(path)
        check_same_size(image, self.height, self.width, f"'{path}'")
        return [(index, image)]

    def damaged(self) -> Sequence[int]:
        """Returns the numbers of the images that cannot be read, by reading all."""
        damaged = []
        for index, path in enumerate(self._paths):
            try:
                _read(path)
            except DamagedFrame:
                damaged.append(index)
        return damaged

    def name(self, index: int) -> str:
        """Returns the stem of the image file."""
        return self._paths[index].stem

    def fingerprint(self) -> str:
        """Returns the SHA-256 over the names and bytes of all images, in order; the folder's own name is left out.

        Raises:
            VideoError: if an image can no longer be read.
        """
        digest = hashlib.sha256()
        for path in self._paths:
            try:
                data = path.read_bytes()
            except OSError as error:
                raise VideoError(f"'{path}' can no longer be read ({error.strerror}); put it back") from error
            digest.update(os.fsencode(path.name) + f"\0{len(data)}\0".encode())
            digest.update(data)
        return digest.hexdigest()


def natural_key(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Returns what to sort file names by, so that numbers in them count as numbers: 2 before 10."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in parts], path.name


def missing_numbers(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the numbers that a series of names skips, ranges as first-last, padded like the names.

    The number is the last one in a name. A series may count in steps (every fifth frame): what counts as one step is
    the greatest common divisor of all differences. Names of several series, or without numbers, have no gaps.
    """
    matches = [re.fullmatch(r"(.*?)(\d+)(\D*)", name) for name in names]
    found = [match for match in matches if match]
    if len(found) < len(names) or len({(match[1], match[3]) for match in found}) > 1:
        return ()
    numbers = [int(match[2]) for match in found]
    step = math.gcd(*(after - before for before, after in pairwise(numbers)))
    digits = min(len(match[2]) for match in found)
    gaps = []
    for before, after in pairwise(numbers):
        if after - before > step:
            first, last = f"{before + step:0{digits}d}", f"{after - step:0{digits}d}"
            gaps.append(first if first == last else f"{first}-{last}")
    return tuple(gaps)


def _read(path: Path) -> RGB:
    """Returns an image file as RGB, upright."""
    with _opened(path) as picture:
        return as_rgb(ImageOps.exif_transpose(picture), f"'{path}'")


def _stored_size(path: Path) -> tuple[int, int]:
    """Returns (width, height) from the header of an image file, before EXIF orientation."""
    with _opened(path) as picture:
        return picture.size


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Gives an image whose pixels have not been read; whatever goes wrong meanwhile is the file's fault."""
    try:
        # Opened here, because Pillow leaves the file open if it fails.
        with path.open("rb") as file, Image.open(file, formats=_FORMATS) as picture:
            check_pixels(*picture.size, f"'{path}'")
            if picture.format in _SEVERAL and getattr(picture, "n_frames", 1) > 1:
                what = "is an animation" if picture.format != "TIFF" else "has several pages"
                raise VideoError(f"'{path}' {what}, not one frame; convert it to mp4 or to several images")
            yield picture
    except VideoError:
        raise
    # Of a broken file, decoders raise nearly anything.
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DamagedFrame:
    if isinstance(error, UnidentifiedImageError):
        what = "not an image"
    elif isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        what = "far too many pixels"
    else:
        what = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return DamagedFrame(
        f"'{path}' cannot be read as a frame ({what}); replace it, take it out of the folder, or leave such frames out "
        "with --skip-damaged"
    )
