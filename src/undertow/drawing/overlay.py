"""Label maps over images: a tint, a contour that shows on any ground, hatching for void.

A map of objects leaves the background as it is. A map of classes has none: 0 is a class like any other and has a colour
of its own. It is drawn as a tint of every pixel, as outlines only, or beside the frame.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int32, Shaped, UInt8
from PIL import Image, ImageDraw

from undertow.base import MaskError
from undertow.drawing.heat import oklab_to_srgb
from undertow.drawing.lettering import lettering
from undertow.drawing.panels import GAP, INK, PAPER, Picture, legend
from undertow.masks import VOID, LabelMap, object_colour, object_ids

CONTOUR = 2
HATCH = 8


def overlay(
    image: UInt8[np.ndarray, "height width 3"], labels: LabelMap, *, alpha: float = 0.5, outline: bool = True
) -> UInt8[np.ndarray, "height width 3"]:
    """Returns a copy of an RGB image with every object tinted in its DAVIS colour.

    The outline is two pixels wide and lies inside the object: dark outside, the lightened colour inside, so that one
    of them contrasts with whatever is around. Void is hatched in grey, background is left as it is.

    Args:
        image: The frame.
        labels: Its label map, of the same size.
        alpha: Share of the tint, from 0 (invisible) to 1 (opaque).
        outline: Whether to draw contours.

    Raises:
        MaskError: if the sizes differ.
    """
    if image.shape[:2] != labels.shape:
        raise MaskError(f"labels of shape {labels.shape} do not fit an image of shape {image.shape[:2]}")
    result = image.copy()
    edge = border(labels, 1) if outline else None
    rim = border(labels, CONTOUR) if outline else None
    for object_id in object_ids(labels):
        inside = labels == object_id
        colour = np.array(object_colour(object_id))
        result[inside] = np.rint((1 - alpha) * image[inside] + alpha * colour)
        if edge is not None and rim is not None:
            result[inside & rim] = np.rint(0.4 * colour + 0.6 * 255)
            result[inside & edge] = np.rint(0.3 * colour)
    void = labels == VOID
    if void.any():
        hatch = _hatched(void)
        result[hatch] = np.rint((1 - alpha) * image[hatch] + alpha * 230)
    return result


def _hatched(area: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Returns the pixels of an area that lie on slanting lines."""
    rows, columns = (np.arange(length) for length in area.shape)
    return area & ((rows[:, None] + columns) % HATCH < 2)


def border(labels: LabelMap, width: int) -> Bool[np.ndarray, "h w"]:
    """Returns the pixels within `width` steps (to the four sides) of a pixel with another label."""
    sides = ((0, 1), (0, -1), (1, 1), (1, -1))
    near = np.zeros(labels.shape, bool)
    for axis, step in sides:
        near |= labels != _neighbour(labels, axis, step)
    for _ in range(width - 1):
        near = near | np.logical_or.reduce([_neighbour(near, axis, step) for axis, step in sides])
    return near


def _neighbour(values: Shaped[np.ndarray, "h w"], axis: int, step: int) -> Shaped[np.ndarray, "h w"]:
    """Returns each pixel's neighbour one step along an axis; at the border it is the pixel itself."""
    return np.take(values, np.clip(np.arange(values.shape[axis]) + step, 0, values.shape[axis] - 1), axis)


View = Literal["overlay", "contours", "sidebyside"]
Colour = tuple[int, int, int]

# Consecutive classes are this far apart in hue, the most irregular of angles, and differ in lightness and chroma, in
# the order in which the first 24 colours are farthest apart.
_TURN = 137.508
_LEVELS = ((0.56, 0.15), (0.68, 0.17), (0.84, 0.13), (0.63, 0.09), (0.5, 0.12), (0.72, 0.16), (0.78, 0.07))
# A region smaller than this share of the picture is not worth a word of its own.
NAMED = 0.01


def class_colour(number: int) -> Colour:
    """Returns the colour a class is drawn in unless somebody chose another.

    The DAVIS palette is made for one bright object on a frame; of a frame that is tinted all over, its dark half would
    leave little. These colours are light, and spread over hues in OKLab.
    """
    lightness, chroma = _LEVELS[number % len(_LEVELS)]
    hue = np.deg2rad(250 + _TURN * number)
    lab = np.array([[lightness, chroma * np.cos(hue), chroma * np.sin(hue)]])
    red, green, blue = (round(255 * float(value)) for value in oklab_to_srgb(lab)[0].clip(0, 1))
    return red, green, blue


@cache
def class_palette() -> UInt8[np.ndarray, "256 3"]:
    """Returns the colours of the first 256 classes, for palette PNGs of class maps; 255, which is void, is black."""
    table = np.array([class_colour(number) for number in range(256)], np.uint8)
    table[255] = 0
    table.flags.writeable = False
    return table


@dataclass(frozen=True)
class ClassView:
    """How the class maps of one video are drawn: one size, one legend and the same colours in every frame.

    Attributes:
        ids: Classes of the legend, in order.
        names: What a class is called; its number if it has no name.
        colours: What a class is drawn in, if not in `class_colour`.
        view: "overlay" tints every pixel and draws thin outlines, "contours" draws outlines on the frame as it is,
            "sidebyside" shows the frame beside the tinted map.
        alpha: Share of the tint, from 0 to 1.
        words: Whether large regions are named where they are.
    """

    ids: tuple[int, ...]
    names: Mapping[int, str] = field(default_factory=dict)
    colours: Mapping[int, Colour] = field(default_factory=dict)
    view: View = "overlay"
    alpha: float = 0.55
    words: bool = True

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Returns (height, width) of the picture that `draw` makes of a frame of that size."""
        across = 2 * width + GAP if self.view == "sidebyside" else width
        return height + len(self._legend(across)), across

    def draw(self, image: UInt8[np.ndarray, "h w 3"], labels: LabelMap) -> Picture:
        """Returns the picture of a frame with the legend below it; void is hatched, or has no outline.

        Raises:
            MaskError: if the sizes differ.
        """
        if image.shape[:2] != labels.shape:
            raise MaskError(f"labels of shape {labels.shape} do not fit an image of shape {image.shape[:2]}")
        if self.view == "contours":
            shown = self._outlined(image, labels)
        else:
            shown = self._tinted(image, labels)
            if self.view == "sidebyside":
                gap = np.full((len(image), GAP, 3), PAPER, np.uint8)
                shown = np.concatenate([image, gap, shown], axis=1)
        return np.concatenate([shown, self._legend(shown.shape[1])])

    def _tinted(self, image: UInt8[np.ndarray, "h w 3"], labels: LabelMap) -> Picture:
        """Returns the frame with every pixel tinted, region borders darkened, void hatched and regions named."""
        colours = self._table[labels].astype(np.float32)
        shown = (1 - self.alpha) * image + self.alpha * colours
        shown[border(labels, 1)] *= 0.45
        void = labels >= VOID
        shown[void] = image[void]
        hatch = _hatched(void)
        shown[hatch] = (1 - self.alpha) * image[hatch] + self.alpha * 230
        return self._named(np.rint(shown).astype(np.uint8), labels)

    def _outlined(self, image: UInt8[np.ndarray, "h w 3"], labels: LabelMap) -> Picture:
        """Returns the frame, a little dimmed, with a line of each region's colour along the inside of its border."""
        shown = np.rint(0.8 * image).astype(np.uint8)
        line = border(labels, 2) & (labels < VOID)
        shown[line] = self._table[labels[line]]
        return self._named(shown, labels)

    def _named(self, picture: Picture, labels: LabelMap) -> Picture:
        """Returns the picture with the name of each class in the middle of its largest region."""
        if not self.words:
            return picture
        canvas = Image.fromarray(picture)
        draw = ImageDraw.Draw(canvas)
        size = int(np.clip(labels.shape[0] / 28, 9, 26))
        for number, (x, y) in named_places(labels, self.ids).items():
            font, text = lettering(self.names.get(number, str(number)), size)
            stroke = max(1, size // 7)
            # A name longer than its region is moved inwards, so that the picture's edge does not cut it.
            half = draw.textlength(text, font) / 2 + stroke + 1
            middle = float(np.clip(x, half, max(half, labels.shape[1] - half)))
            draw.text((middle, y), text, PAPER, font, anchor="mm", stroke_width=stroke, stroke_fill=INK)
        return np.asarray(canvas)

    def _legend(self, width: int) -> Picture:
        """Returns the strip that names all classes; the same for every frame, so that the picture keeps its size."""
        return self._strips.setdefault(
            width, legend(self.ids, width, names=self.names, colours={n: self._colour(n) for n in self.ids})
        )

    def _colour(self, number: int) -> Colour:
        return self.colours.get(number, class_colour(number))

    @cached_property
    def _strips(self) -> dict[int, Picture]:
        return {}

    @cached_property
    def _table(self) -> UInt8[np.ndarray, "65536 3"]:
        table = np.zeros((VOID + 1, 3), np.uint8)
        for number in self.ids:
            table[number] = self._colour(number)
        return table


def named_places(labels: LabelMap, ids: Iterable[int], steps: int = 96) -> dict[int, tuple[int, int]]:
    """Returns a pixel (x, y) well inside each class that is large enough to carry its name.

    The place is the one farthest from the class's border and from the picture's, on a coarse grid: unlike a centre of
    mass it cannot lie outside. The grid has `steps` cells along the longer side.
    """
    stride = max(1, -(-max(labels.shape) // steps))
    coarse = labels[stride // 2 :: stride, stride // 2 :: stride]
    depth = _depths(coarse)
    places = {}
    for number in ids:
        inside = coarse == number
        if np.count_nonzero(inside) >= NAMED * coarse.size:
            row, column = np.unravel_index(int(np.argmax(np.where(inside, depth, -1))), coarse.shape)
            places[number] = (int((column + 0.5) * stride), int((row + 0.5) * stride))
    return places


def _depths(labels: LabelMap) -> Int32[np.ndarray, "h w"]:
    """Returns how many steps each cell is from one of another label or outside of the map, up to 15."""
    framed = np.pad(labels, 1, constant_values=VOID)
    near = border(framed, 1)
    depth = np.zeros(framed.shape, np.int32)
    for _ in range(15):
        depth += ~near
        grown = near.copy()
        grown[1:] |= near[:-1]
        grown[:-1] |= near[1:]
        grown[:, 1:] |= near[:, :-1]
        grown[:, :-1] |= near[:, 1:]
        near = grown
    return depth[1:-1, 1:-1]
