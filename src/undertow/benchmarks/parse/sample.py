"""Videos whose every pixel has a class: how files say which one, and what a method is given and scored on."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int64, Shaped, UInt8, UInt16
from PIL import Image

from undertow.base import MaskError, atomic_path
from undertow.benchmarks.core.files import read_picture
from undertow.benchmarks.core.sample import Sample
from undertow.masks import VOID, LabelMap, palette
from undertow.metrics.confusion import Averaged
from undertow.video import Video
from undertow.video.folder import FrameFolder

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class LabelCoding:
    """What the pixels of a dataset's label files mean.

    In memory, classes are 0 to n - 1. Each void value keeps a number of its own from 65535 (`VOID`) downwards, because
    the official measure of consistency tells them apart; to everything else they are all one.

    Attributes:
        values: By class, its value in grey and palette files.
        void: Values that stand for no class; the first one is what is written.
        colours: By class and then by void value, its colour in colour files; empty if there are none.
    """

    values: tuple[int, ...]
    void: tuple[int, ...] = ()
    colours: tuple[Colour, ...] = ()

    @property
    def void_numbers(self) -> tuple[int, ...]:
        """What the void values are in memory, `VOID` among them."""
        return tuple(VOID - place for place in range(max(1, len(self.void))))

    def decode(self, pixels: Shaped[np.ndarray, "h w ..."], source: str) -> LabelMap:
        """Returns the class of each pixel.

        Args:
            pixels: Grey or palette values (h, w), or colours (h, w, 3).
            source: What to call the file in an error.

        Raises:
            MaskError: naming a value that is no class of the dataset.
        """
        coloured = pixels.ndim == 3
        if coloured and not self.colours:
            raise MaskError(f"{source} is RGB-coded; save it as a grey or palette PNG with the dataset's own values")
        codes, numbers = self._colour_table if coloured else self._value_table
        found = _packed(pixels) if coloured else pixels
        if not coloured and found.dtype == np.uint8:
            decoded: UInt16[np.ndarray, "h w"] = self._bytes[found]
            stray = self._unknown_bytes[found]
        else:
            places = np.minimum(np.searchsorted(codes, found), len(codes) - 1)
            decoded, stray = numbers[places], codes[places] != found
        if stray.any():
            value = found[stray][0]
            shown = tuple(int(part) for part in pixels[stray][0]) if coloured else int(value)
            raise MaskError(
                f"{source} holds the value {shown}, which is no class of the dataset; {self._advice(coloured)}"
            )
        return decoded

    def encode(self, labels: LabelMap) -> UInt16[np.ndarray, "h w"]:
        """Returns the file values of a map of classes; what is none becomes the first void value.

        Raises:
            MaskError: if a pixel has no class and the dataset has no value for that.
        """
        classes = len(self.values)
        none = labels >= classes
        if none.any() and not self.void:
            raise MaskError("some pixels have no class, and the dataset has no value for that")
        table = np.array([*self.values, self.void[0] if self.void else 0], np.uint16)
        return table[np.where(none, classes, labels)]

    def _advice(self, coloured: bool) -> str:
        """Returns which values there are, in words."""
        if coloured:
            return f"its {len(self.values)} classes have colours of their own"
        known = sorted({*self.values, *self.void})
        if known == list(range(known[0], known[-1] + 1)):
            return f"its values are {known[0]} to {known[-1]}"
        return f"its values are {', '.join(map(str, known[:40]))}"

    @cached_property
    def _numbers(self) -> tuple[int, ...]:
        return (*range(len(self.values)), *(VOID - place for place in range(len(self.void))))

    @cached_property
    def _value_table(self) -> tuple[Int64[np.ndarray, " v"], UInt16[np.ndarray, " v"]]:
        return _table(np.array((*self.values, *self.void), np.int64), self._numbers)

    @cached_property
    def _colour_table(self) -> tuple[Int64[np.ndarray, " v"], UInt16[np.ndarray, " v"]]:
        colours = np.array(self.colours, np.uint8).reshape(1, -1, 3)
        return _table(_packed(colours)[0], self._numbers[: len(self.colours)])

    @cached_property
    def _bytes(self) -> UInt16[np.ndarray, "256"]:
        # Most files have 8 bits, and for those one look-up does.
        table = np.full(256, VOID, np.uint16)
        codes, numbers = self._value_table
        table[codes[codes < 256]] = numbers[codes < 256]
        return table

    @cached_property
    def _unknown_bytes(self) -> Shaped[np.ndarray, "256"]:
        return ~np.isin(np.arange(256), self._value_table[0])


@dataclass(frozen=True, kw_only=True)
class SemanticSample(Sample):
    """A video whose pixels have classes, the truth of some frames being given.

    Attributes:
        labels: Label file of each annotated frame, by frame name.
        classes: Names of the classes, in the order of their numbers.
        coding: How files say which class a pixel has; results are written the same way.
        anchors: Numbers of the frames whose truth a method is given.
        averaged: Which classes mIoU is the mean of, see `undertow.metrics.confusion.SemanticScores.mean_iou`.
        pooled: Whether all samples have the same classes, so that counts are added up over a split before dividing;
            else samples are scored apart and averaged.
        files: The frames, if `video` is a folder that holds those of other samples too.
    """

    task: ClassVar[str] = "parse"
    labels: Mapping[str, Path]
    classes: tuple[str, ...]
    coding: LabelCoding
    anchors: tuple[int, ...] = (0,)
    averaged: Averaged = "in-truth"
    pooled: bool = True
    files: tuple[Path, ...] = ()

    def open(self) -> Video:
        """Returns the frames, to be closed by the caller."""
        return Video(FrameFolder(self.files, f"'{self.name}' in '{self.video}'")) if self.files else super().open()

    @property
    def annotated(self) -> tuple[int, ...]:
        """Numbers of the frames that have labels."""
        return tuple(index for index, name in enumerate(self.frames) if name in self.labels)

    def truth_files(self) -> Iterable[Path]:
        """Returns the label files in the order of their frames."""
        return [self.labels[self.frames[index]] for index in self.annotated]

    def fingerprint(self) -> str:
        """Returns a sha256 hex digest of the frames, the truth, and what the values in it mean."""
        meaning = repr((self.classes, self.coding, self.anchors, self.averaged, self.pooled))
        return hashlib.sha256((super().fingerprint() + meaning).encode()).hexdigest()

    def load_labels(self, index: int) -> LabelMap:
        """Returns the true classes of frame `index`, numbers from 0, void values from 65535 downwards.

        Raises:
            MaskError: if the file cannot be read, is of another size, or holds a value that is no class.
        """
        return self.read(self.labels[self.frames[index]])

    def read(self, path: Path) -> LabelMap:
        """Returns the classes in a label file of this video, an annotation or a prediction."""
        return self.coding.decode(read_values(path, self.size), f"'{path}'")

    def cues(self) -> dict[int, LabelMap]:
        """Returns what a mask predictor is given: at each anchor class c as object c + 1, and void as background."""
        given = {}
        for index in self.anchors:
            labels = self.load_labels(index)
            given[index] = np.where(labels < len(self.classes), labels + np.uint16(1), np.uint16(0))
        return given


def read_values(path: Path, size: tuple[int, int] | None = None) -> Shaped[np.ndarray, "h w ..."]:
    """Returns the values of a label file as they are stored: palette indices, grey of 8 or 16 bits, or colours.

    Nothing is interpreted, unlike a mask that a user paints: in a semantic map 0 is a class like any other.

    Raises:
        MaskError: naming the file, if it is not a readable picture, or not of `size` (height, width).
    """
    image = read_picture(path, size)
    mode, values = image.mode, np.asarray(image)
    if mode == "RGBA":
        return values[..., :3]
    if mode in ("P", "L", "RGB"):
        return values
    if mode == "1":
        return values.astype(np.uint8)
    if mode.startswith("I"):
        return values.astype(np.uint16)
    raise MaskError(f"'{path}' has pixels of type {mode}; save it as a grey or palette PNG")


def write_values(path: Path, values: UInt16[np.ndarray, "h w"]) -> None:
    """Writes label values as a PNG, atomically: a palette of 8 bits where they fit, grey of 16 bits otherwise."""
    if values.max(initial=0) < 256:
        narrow: UInt8[np.ndarray, "h w"] = values.astype(np.uint8)
        image = Image.fromarray(narrow)
        image.putpalette(palette().tobytes())
    else:
        image = Image.fromarray(values)
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def _packed(colours: UInt8[np.ndarray, "h w 3"]) -> Int64[np.ndarray, "h w"]:
    """Returns each colour as one number."""
    red, green, blue = (colours[..., channel].astype(np.int64) for channel in range(3))
    return (red << 16) | (green << 8) | blue


def _table(
    codes: Int64[np.ndarray, " v"], numbers: tuple[int, ...]
) -> tuple[Int64[np.ndarray, " v"], UInt16[np.ndarray, " v"]]:
    """Returns codes in ascending order and the number of each."""
    order = np.argsort(codes)
    return codes[order], np.array(numbers, np.uint16)[order]
