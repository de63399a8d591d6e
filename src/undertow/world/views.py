"""Views of photographs: surfaces seen through homographies, later ones in front, with exact correspondences.

The surface behind everything is a whole photograph, mirrored at its borders; the others are pieces cut from others.
`view_pairs` makes two views that are far apart, `view_clips` a clip of many that follow each other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy.random import Generator
from PIL import Image

# Side of a piece's texture in pixels.
PIECE = 96
# By these, deviations of the logarithms of gamma, brightness and the three colours are smaller than the exposure's.
TONES = np.array([1, 1, 3, 3, 3])
UNIT = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])


@dataclass(frozen=True)
class Surface:
    """What one surface shows and how each view sees it.

    Attributes:
        texture: RGB.
        coverage: Where the surface is, in [0, 255]; everywhere if None.
        maps: Of each view, the homography from pixels of the view to pixels of the texture.
    """

    texture: Image.Image
    coverage: Image.Image | None
    maps: Float[np.ndarray, "v 3 3"]

    def covers(self, places: Float[np.ndarray, "n 2"], view: int) -> Bool[np.ndarray, "n"]:
        """Returns whether the surface lies at these places (x, y) of a view, were it the only one."""
        if self.coverage is None:
            return np.ones(len(places), dtype=bool)
        table = np.asarray(self.coverage)
        cell = np.floor(project(self.maps[view], places)).astype(int)
        inside = ((cell >= 0) & (cell < table.shape[::-1])).all(axis=1)
        column, row = np.where(inside[:, None], cell, 0).T
        return inside & (table[row, column] >= 128)


@dataclass(frozen=True)
class Views:
    """Views and the surfaces in them, the one behind everything first."""

    images: UInt8[np.ndarray, "v h w 3"]
    surfaces: tuple[Surface, ...]

    def shown(self, places: Float[np.ndarray, "n 2"], view: int) -> np.ndarray:
        """Returns the number of the surface seen at each place (x, y) of a view."""
        front = np.zeros(len(places), dtype=int)
        for number, surface in enumerate(self.surfaces):
            front[surface.covers(places, view)] = number
        return front

    def correspond(
        self, places: Float[np.ndarray, "n 2"], view: int = 1
    ) -> tuple[Float[np.ndarray, "n 2"], Bool[np.ndarray, "n"]]:
        """Returns where places (x, y) of the first view are in another, in pixels, and whether they show there."""
        front, there = self.shown(places, 0), np.zeros_like(places)
        for number, surface in enumerate(self.surfaces):
            own = front == number
            there[own] = project(np.linalg.inv(surface.maps[view]) @ surface.maps[0], places[own])
        inside = ((there >= 0) & (there < self.images.shape[2:0:-1])).all(axis=1)
        return there, inside & (self.shown(there, view) == front)

    def mask(self, view: int) -> UInt8[np.ndarray, "h w"]:
        """Returns where the pieces are, as 0 and 255."""
        height, width = self.images.shape[1:3]
        y, x = np.mgrid[:height, :width] + 0.5
        return ((self.shown(np.stack([x, y], axis=2).reshape(-1, 2), view) > 0) * np.uint8(255)).reshape(height, width)


def project(homography: Float[np.ndarray, "3 3"], places: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """Returns where a homography takes places (x, y)."""
    moved = np.column_stack([places, np.ones(len(places))]) @ homography.T
    return moved[:, :2] / moved[:, 2:]


def homography(corners: Float[np.ndarray, "4 2"], targets: Float[np.ndarray, "4 2"]) -> Float[np.ndarray, "3 3"]:
    """Returns the homography that takes four corners to four targets."""
    rows = []
    for (x, y), (u, v) in zip(corners, targets, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    return np.append(np.linalg.solve(np.array(rows), targets.reshape(-1)), 1.0).reshape(3, 3)


@dataclass(frozen=True)
class Ground:
    """A photograph behind everything.

    Attributes:
        texture: The photograph, mirrored at its borders for views that look past them.
        zoom: By how much it was resized, in x and y.
        centre: Where views look by themselves, (x, y) in pixels before that.
        span: Width and height of a view in the same pixels.
        side: Of a view, in its own pixels.
    """

    texture: Image.Image
    zoom: Float[np.ndarray, "2"]
    centre: Float[np.ndarray, "2"]
    span: float
    side: int

    def through(self, corners: Float[np.ndarray, "4 2"]) -> Float[np.ndarray, "3 3"]:
        """Returns the map of a view whose corners see these places, in views from the centre."""
        return homography((UNIT + 0.5) * self.side, (self.centre + self.span * corners) * self.zoom)


def make_ground(
    random: Generator, photograph: UInt8[np.ndarray, "h w 3"], window: tuple[float, float], side: int
) -> Ground:
    """Returns a photograph resized so that a view spans a share of its shorter side that lies in `window`."""
    share = random.uniform(*window)
    height, width = photograph.shape[:2]
    span = share * min(height, width)
    margin = min(height, width) // 2
    texture = Image.fromarray(np.pad(photograph, ((margin,) * 2, (margin,) * 2, (0, 0)), mode="reflect"))
    if span > side:
        # Views are sampled bilinearly, which must not skip pixels.
        factor = side / span
        texture = texture.resize((round(texture.width * factor), round(texture.height * factor)), Image.Resampling.BOX)
    zoom = np.array([texture.width, texture.height]) / (width + 2 * margin, height + 2 * margin)
    centre = random.uniform(span / 2, np.maximum(np.array([width, height]) - span / 2, span / 2 + 1e-6))
    return Ground(texture, zoom, centre + margin, span, side)


def quadrilateral(
    offsets: Float[np.ndarray, "4 2"], angle: float, growth: float, shift: Float[np.ndarray, "2"]
) -> Float[np.ndarray, "4 2"]:
    """Returns a unit square around 0 whose corners are moved, then turned, grown by e to the `growth`, and shifted."""
    return (UNIT + offsets) @ rotation(angle).T * np.exp(growth) + shift


def cut_texture(random: Generator, photograph: np.ndarray) -> Image.Image:
    """Returns a square piece of a photograph, shrunk by up to a half."""
    side = min(PIECE * random.uniform(1.0, 2.0), *photograph.shape[:2])
    x, y = random.uniform(0, np.array(photograph.shape[1::-1]) - side + 1e-6)
    return Image.fromarray(photograph).resize((PIECE, PIECE), Image.Resampling.BOX, (x, y, x + side, y + side))


def texture_grid() -> tuple[Float[np.ndarray, "y x"], Float[np.ndarray, "y x"]]:
    """Returns x and y of a piece's pixels, from -1 to 1."""
    y, x = (np.mgrid[:PIECE, :PIECE] + 0.5) / PIECE * 2 - 1
    return x, y


def coverage(distance: Float[np.ndarray, "y x"]) -> Image.Image:
    """Returns how much of each pixel of a piece is within an outline, from distances to it, positive inside."""
    return Image.fromarray((np.clip(distance * PIECE / 2 + 0.5, 0, 1) * 255).astype(np.uint8))


def rounded(random: Generator) -> Image.Image:
    """Returns the coverage of a piece with a rounded outline."""
    u, v = texture_grid()
    angle, edge = np.arctan2(v, u), np.full(u.shape, 0.7)
    for wave in range(2, 6):
        edge += 0.25 / wave * random.normal() * np.cos(wave * angle + random.uniform(0, 2 * np.pi))
    return coverage(np.clip(edge, 0.2, 0.95) - np.hypot(u, v))


def piece_map(centre: Float[np.ndarray, "2"], zoom: float, angle: float) -> Float[np.ndarray, "3 3"]:
    """Returns the map of a view in which the middle of a piece is at `centre`, with `zoom` of its pixels to one."""
    matrix = np.eye(3)
    matrix[:2, :2] = rotation(angle) * zoom
    matrix[:2, 2] = PIECE / 2 - matrix[:2, :2] @ centre
    return matrix


def in_front(
    random: Generator,
    background: Surface,
    others: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    count: tuple[int, int],
    cut: Callable[[UInt8[np.ndarray, "_ _ 3"]], Surface],
) -> tuple[Surface, ...]:
    """Returns a background and, in front of it, so many pieces cut from other photographs, if there are any.

    Args:
        random: Source of all draws.
        background: What lies behind everything.
        others: The other photographs.
        count: Least and largest number of pieces.
        cut: Makes a piece of a photograph.
    """
    pieces = random.integers(count[0], count[1] + 1) if others else 0
    return (background, *(cut(others[int(random.integers(len(others)))]) for _ in range(pieces)))


def paint(surfaces: Sequence[Surface], view: int, side: int) -> UInt8[np.ndarray, "h w 3"]:
    """Returns one view, later surfaces in front."""
    canvas = Image.new("RGB", (side, side))
    for surface in surfaces:
        numbers = surface.maps[view] / surface.maps[view][2, 2]
        how = (side, side), Image.Transform.PERSPECTIVE, tuple(numbers.reshape(-1)[:8])
        drawn = surface.texture.transform(*how, resample=Image.Resampling.BILINEAR)
        if surface.coverage is None:
            canvas = drawn
        else:
            canvas.paste(drawn, mask=surface.coverage.transform(*how, resample=Image.Resampling.BILINEAR))
    return np.asarray(canvas)


def develop(
    random: Generator, image: np.ndarray, tones: Float[np.ndarray, "5"], noise: float
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns a view under its own exposure.

    Args:
        random: Source of the noise.
        image: The view as painted.
        tones: Logarithms of gamma, of brightness and of the three colours.
        noise: Deviation of the noise, of 1.
    """
    gamma, brightness, *colour = np.exp(tones)
    tone = (np.arange(256) / 255)[:, None] ** gamma * brightness * np.array(colour)
    developed = np.take_along_axis(tone, image.reshape(-1, 3), axis=0).reshape(image.shape)
    developed += noise * random.standard_normal(image.shape, dtype=np.float32)
    return (np.clip(developed, 0, 1) * 255 + 0.5).astype(np.uint8)


def rotation(angle: float) -> Float[np.ndarray, "2 2"]:
    """Returns the matrix that turns by an angle in radians, clockwise as seen."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
