"""Words that say what is to be segmented: samples of a video (or image) and expressions, and where their truth lies."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from jaxtyping import Bool, Integer

from undertow.base import MaskError, SettingsError
from undertow.benchmarks.core.files import read_picture
from undertow.benchmarks.core.sample import Sample
from undertow.masks import decode_rle

# A mask has two, and one of a few ids has a few; what has more is soft.
MOST_SHADES = 16
Mask = Bool[np.ndarray, "h w"]
Stack = Bool[np.ndarray, "n h w"]
Size = tuple[int, int]


class Truth(Protocol):
    """The annotation of one frame, decoded when it is asked for."""

    def masks(self, size: Size) -> tuple[Stack, Mask | None]:
        """Returns one mask per object asked for, and the pixels that do not count (`None`: all do).

        Raises:
            UndertowError: naming the file or entry, if it cannot be read or is not of this size (height, width).
        """

    def digest(self) -> bytes:
        """Returns a digest of everything that decides the masks."""


@dataclass(frozen=True)
class FileTruth:
    """Masks in a file of labels, whose values are taken as they are.

    Attributes:
        path: A grey or palette PNG.
        values: For each object the values that it has in the file; an empty tuple is everything not 0 and not ignored.
        ignore: Values of pixels that do not count.
    """

    path: Path
    values: tuple[tuple[int, ...], ...] = ((),)
    ignore: tuple[int, ...] = ()

    def masks(self, size: Size) -> tuple[Stack, Mask | None]:
        """Returns the masks; see `Truth`."""
        labels = read_values(self.path, size)
        void = np.isin(labels, self.ignore) if self.ignore else None
        anything = labels > 0 if void is None else (labels > 0) & ~void
        return np.stack([np.isin(labels, own) if own else anything for own in self.values]), void

    def digest(self) -> bytes:
        """Returns a digest of the file and of what is taken from it."""
        facts = repr((self.path.stem, self.values, self.ignore)).encode()
        return hashlib.sha256(facts + self.path.read_bytes()).digest()


@dataclass(frozen=True)
class RunTruth:
    """The union of some masks in COCO's run lengths; of none, an empty mask.

    Attributes:
        rles: Run lengths, see `decode_rle`.
        source: Where they come from, for messages.
    """

    rles: tuple[Mapping[str, Any], ...]
    source: str

    def masks(self, size: Size) -> tuple[Stack, Mask | None]:
        """Returns the one mask; see `Truth`."""
        union = np.zeros(size, bool)
        for rle in self.rles:
            try:
                mask = decode_rle(rle)
            except (MaskError, AttributeError) as error:
                raise MaskError(f"{self.source}: {error}") from error
            if mask.shape != tuple(size):
                found, wanted = (f"{width}x{height}" for height, width in (mask.shape, size))
                raise MaskError(f"{self.source}: the mask is {found} but the frame {wanted}; fetch it again")
            union |= mask
        return union[None], None

    def digest(self) -> bytes:
        """Returns a digest of the run lengths."""
        return hashlib.sha256(json.dumps(self.rles, sort_keys=True, default=str).encode()).digest()


@dataclass(frozen=True)
class PolygonTruth:
    """The union of polygons, filled exactly as COCO's own tool fills them.

    Attributes:
        polygons: Numbers x, y, x, y, ... in pixels, one tuple for each.
        source: Where they come from, for messages.
    """

    polygons: tuple[tuple[float, ...], ...]
    source: str

    def masks(self, size: Size) -> tuple[Stack, Mask | None]:
        """Returns the one mask; see `Truth`.

        Raises:
            SettingsError: if pycocotools is not installed; its rounding cannot be had otherwise.
            MaskError: if a polygon has fewer than three corners, or corners that are not numbers.
        """
        for polygon in self.polygons:
            if len(polygon) < 6 or len(polygon) % 2 or not np.isfinite(np.array(polygon, np.float64)).all():
                raise MaskError(
                    f"{self.source} has a polygon of {len(polygon)} numbers; give x, y of 3 corners or more"
                )
        try:
            from pycocotools import mask as coco
        except ImportError as error:
            raise SettingsError("masks given as polygons need pycocotools; run: pip install pycocotools") from error
        runs = coco.frPyObjects([list(polygon) for polygon in self.polygons], *size)
        return decode_rle(coco.merge(runs))[None], None

    def digest(self) -> bytes:
        """Returns a digest of the polygons."""
        return hashlib.sha256(repr(self.polygons).encode()).digest()


@dataclass(frozen=True, kw_only=True)
class ReferSample(Sample):
    """A video, or one image, and what is said of it.

    Attributes:
        texts: The expressions to be answered, one mask each; more than one only where a dataset scores them together.
        truth: Annotation of each annotated frame, by frame name.
        image: Whether it is one image, whose result is a file instead of a folder.
        objects: How many objects the truth has, for rules that match objects and expressions; 0 where each expression
            is scored alone.
        annotator: Which of the annotators' expressions these are, where the dataset is averaged over them.
        category: The class that the expression names, for rules that average over classes.
        exhaustive: Whether all instances of the class are annotated.
        private: Whether the truth is kept by a server, so that there is nothing to score.
        kinds: What the expression speaks of, such as "colour" and "position", where the dataset says so.
        chance: How often an object chosen at random would be the right one; 0 where it is not known.
    """

    task: ClassVar[str] = "refer"
    texts: tuple[str, ...]
    truth: Mapping[str, Truth] = field(default_factory=dict)
    image: bool = False
    objects: int = 0
    annotator: int | None = None
    category: str = ""
    exhaustive: bool = True
    private: bool = False
    kinds: tuple[str, ...] = ()
    chance: float = 0.0

    @property
    def annotated(self) -> tuple[int, ...]:
        """Numbers of the frames that have an annotation."""
        return tuple(index for index, name in enumerate(self.frames) if name in self.truth)

    def load(self, index: int) -> tuple[Stack, Mask | None]:
        """Returns the true masks of frame `index` and the pixels that do not count."""
        return self.truth[self.frames[index]].masks(self.size)

    def truth_files(self) -> Iterable[Path]:
        """Returns the annotation files in the order of their frames, each once."""
        files = (truth.path for _, truth in sorted(self.truth.items()) if isinstance(truth, FileTruth))
        return list(dict.fromkeys(files))

    def fingerprint(self) -> str:
        """Returns a sha256 hex digest of the frames, the expressions and the truth."""
        with self.open() as video:
            digest = hashlib.sha256(video.fingerprint().encode())
        digest.update(repr((self.texts, self.objects, self.annotator, self.category, self.exhaustive)).encode())
        if self.kinds:
            digest.update(repr((self.kinds, self.chance)).encode())
        for name, truth in sorted(self.truth.items()):
            digest.update(name.encode() + truth.digest())
        return digest.hexdigest()


def read_values(path: Path, size: Size, *, colour: bool = False) -> Integer[np.ndarray, "h w"]:
    """Returns the values of a grey, palette or one-bit PNG as they are stored.

    Args:
        path: The file.
        size: (height, width) it must have, judged by its header.
        colour: Whether an RGB file is read too, as the largest of its channels.

    Raises:
        MaskError: naming the file, if it is missing, damaged, no PNG, of another kind or of another size.
    """
    source = f"mask '{path}'"
    image = read_picture(path, size)
    values, black = np.asarray(image), (image.getpalette() or [0, 0, 0])[:3] == [0, 0, 0]
    if colour and not black:
        raise MaskError(f"{source} has a palette whose entry 0 is not black; save it as a grey PNG, 0 and 255")
    if values.ndim == 3 and colour:
        if values.shape[2] in (2, 4) and values[..., -1].min(initial=255) < 255:
            raise MaskError(f"{source} is transparent in places; save it as a grey PNG, 0 and 255")
        values = values[..., :1] if values.shape[2] == 2 else values[..., :3]
        values = values.max(-1)
    if values.ndim != 2 or values.dtype.kind not in "bui":
        raise MaskError(f"{source} is {image.mode}-coded; save it as an 8-bit grey or palette PNG")
    return values.astype(np.uint8) if values.dtype == bool else values


def read_mask(path: Path, size: Size) -> Mask:
    """Returns where the mask file of one expression is not black.

    Raises:
        MaskError: naming the file and what is wrong with it; probabilities and soft edges, of which everything above 0
            would be the mask, are refused.
    """
    values = read_values(path, size, colour=True)
    shades = np.unique(values)
    if len(shades) > MOST_SHADES:
        raise MaskError(
            f"mask '{path}' has {len(shades)} shades of grey, and everything not black would be the mask; "
            "save it black and white, at your own threshold"
        )
    mask: Mask = values > 0
    return mask
