"""Two views of a photograph, as a camera that has moved would take them, with exact correspondences.

Each view looks through a quadrilateral of its own, under exposure, gamma, colours and noise of its own. Pieces cut from
other photographs lie on top and move on their own between the views, the later ones in front. `photo_pairs` makes one
pair of each held-out photograph: real pictures and exact truth, from which no model has learnt.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from jaxtyping import Bool, Float, Float64, UInt8
from numpy.random import Generator
from PIL import Image

from undertow.world.families import FIRST_VALIDATION_SEED
from undertow.world.photographs import Photograph, read_photograph

# Side of a piece's texture in pixels.
PIECE = 96


@dataclass(frozen=True)
class PairSettings:
    """How two views of a photograph differ. Lengths are shares of a view's side; deviations are of normal laws.

    Attributes:
        size: Side of a view in pixels.
        window: Least and largest share of the photograph's shorter side that a view spans.
        scale: Deviation of the logarithm of a view's scale.
        turn: Deviation of its rotation, in radians.
        shift: Deviation of its place.
        perspective: Range of the deviation by which each corner is moved.
        pieces: Least and largest number of pieces that move on their own.
        exposure: Deviation of the logarithms of brightness and gamma; a third of it for each colour.
        noise: Largest deviation of the noise, of 1.
    """

    size: int = 160
    window: tuple[float, float] = (0.4, 0.95)
    scale: float = 0.15
    turn: float = 0.15
    shift: float = 0.16
    perspective: tuple[float, float] = (0.05, 0.08)
    pieces: tuple[int, int] = (0, 3)
    exposure: float = 0.2
    noise: float = 0.03


@dataclass(frozen=True)
class Surface:
    """What one surface shows and how each view sees it.

    Attributes:
        texture: RGB.
        coverage: Where the surface is, in [0, 255]; everywhere if None.
        maps: Of both views, the homography from pixels of the view to pixels of the texture.
    """

    texture: Image.Image
    coverage: Image.Image | None
    maps: Float[np.ndarray, "2 3 3"]

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
class ViewPair:
    """Two views and the surfaces in them, the one behind everything first."""

    images: UInt8[np.ndarray, "2 h w 3"]
    surfaces: tuple[Surface, ...]

    def shown(self, places: Float[np.ndarray, "n 2"], view: int) -> np.ndarray:
        """Returns the number of the surface seen at each place (x, y) of a view."""
        front = np.zeros(len(places), dtype=int)
        for number, surface in enumerate(self.surfaces):
            front[surface.covers(places, view)] = number
        return front

    def correspond(self, places: Float[np.ndarray, "n 2"]) -> tuple[Float[np.ndarray, "n 2"], Bool[np.ndarray, "n"]]:
        """Returns where places (x, y) of the first view are in the second, in pixels, and whether they show there."""
        front, there = self.shown(places, 0), np.zeros_like(places)
        for number, surface in enumerate(self.surfaces):
            own = front == number
            there[own] = project(np.linalg.inv(surface.maps[1]) @ surface.maps[0], places[own])
        inside = ((there >= 0) & (there < self.images.shape[2:0:-1])).all(axis=1)
        return there, inside & (self.shown(there, 1) == front)

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


def make_pair(
    random: Generator,
    photograph: UInt8[np.ndarray, "h w 3"],
    others: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    settings: PairSettings = PairSettings(),
) -> ViewPair:
    """Returns two views of `photograph`, with pieces of `others` in front of it.

    The photograph is resized so that a view spans the wanted share of it.
    """
    surfaces = [_background(random, photograph, settings)]
    count = random.integers(settings.pieces[0], settings.pieces[1] + 1) if others else 0
    for _ in range(count):
        surfaces.append(_piece(random, others[int(random.integers(len(others)))], surfaces[0], settings))
    views = [_paint(surfaces, view, settings.size) for view in (0, 1)]
    return ViewPair(np.stack([_develop(random, image, settings) for image in views]), tuple(surfaces))


def _background(random: Generator, photograph: np.ndarray, settings: PairSettings) -> Surface:
    """Returns the photograph, mirrored at its borders for views that look past them."""
    side, share = settings.size, random.uniform(*settings.window)
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
    square = np.array([[0, 0], [side, 0], [side, side], [0, side]], dtype=float)
    maps = []
    for _ in range(2):
        corners = square / side - 0.5
        corners = corners + random.normal(0, random.uniform(*settings.perspective), corners.shape)
        corners = corners @ _turn(settings.turn * random.normal()).T * np.exp(settings.scale * random.normal())
        corners = corners + settings.shift * random.normal(size=2)
        maps.append(homography(square, (centre + margin + span * corners) * zoom))
    return Surface(texture, None, np.stack(maps))


def _piece(random: Generator, other: np.ndarray, background: Surface, settings: PairSettings) -> Surface:
    """Returns a rounded piece of another photograph, which goes its own way between the views."""
    side = min(PIECE * random.uniform(1.0, 2.0), *other.shape[:2])
    x, y = random.uniform(0, np.array(other.shape[1::-1]) - side + 1e-6)
    texture = Image.fromarray(other).resize((PIECE, PIECE), Image.Resampling.BOX, (x, y, x + side, y + side))
    v, u = (np.mgrid[:PIECE, :PIECE] + 0.5) / PIECE * 2 - 1
    angle, edge = np.arctan2(v, u), np.full(u.shape, 0.7)
    for wave in range(2, 6):
        edge += 0.25 / wave * random.normal() * np.cos(wave * angle + random.uniform(0, 2 * np.pi))
    distance = (np.clip(edge, 0.2, 0.95) - np.hypot(u, v)) * PIECE / 2
    coverage = Image.fromarray((np.clip(distance + 0.5, 0, 1) * 255).astype(np.uint8))
    place = random.uniform(0, settings.size, (1, 2))
    carried = project(np.linalg.inv(background.maps[1]) @ background.maps[0], place)
    moved = carried + settings.size * settings.shift * random.normal(size=2)
    reach, turn = settings.size * random.uniform(0.15, 0.4), random.uniform(-np.pi, np.pi)
    maps = []
    for centre in (place[0], moved[0]):
        zoom = PIECE / (reach * np.exp(settings.scale * random.normal()))
        matrix = np.eye(3)
        matrix[:2, :2] = _turn(turn + settings.turn * random.normal()) * zoom
        matrix[:2, 2] = PIECE / 2 - matrix[:2, :2] @ centre
        maps.append(matrix)
    return Surface(texture, coverage, np.stack(maps))


def _paint(surfaces: Sequence[Surface], view: int, side: int) -> UInt8[np.ndarray, "h w 3"]:
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


def _develop(random: Generator, image: np.ndarray, settings: PairSettings) -> UInt8[np.ndarray, "h w 3"]:
    """Returns a view under its own exposure, gamma, colours and noise."""
    gamma, brightness = np.exp(settings.exposure * random.normal(size=2))
    colour = np.exp(settings.exposure / 3 * random.normal(size=3))
    tone = (np.arange(256) / 255)[:, None] ** gamma * brightness * colour
    developed = np.take_along_axis(tone, image.reshape(-1, 3), axis=0).reshape(image.shape)
    developed += random.uniform(0, settings.noise) * random.standard_normal(image.shape, dtype=np.float32)
    return (np.clip(developed, 0, 1) * 255 + 0.5).astype(np.uint8)


def _turn(angle: float) -> Float[np.ndarray, "2 2"]:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


# Raised whenever pairs or points change.
VERSION = 1
POINTS = 96
# Shorter side at which photographs are read, in pixels.
READ_AT = 384
VIEWS = PairSettings(size=256, window=(0.6, 0.95))


@dataclass(frozen=True)
class PhotoPair:
    """A video of two frames with points.

    Attributes:
        name: Of the photograph's file, without its ending.
        frames: The two views, RGB.
        tracks: Where each point is in either view, (x, y) in pixels; not to be read where it is hidden.
        visible: Where it is seen; in the first view always.
    """

    name: str
    frames: UInt8[np.ndarray, "2 h w 3"]
    tracks: Float64[np.ndarray, "q 2 2"]
    visible: Bool[np.ndarray, "q 2"]


def photo_pairs(photographs: Sequence[Photograph], settings: PairSettings = VIEWS) -> Iterator[PhotoPair]:
    """Yields one pair for each held-out photograph among these, in their order; the same on every machine.

    Pieces in front are cut from the two held-out photographs that come next.

    Raises:
        SettingsError: if a file is not a picture.
    """
    kept = [photograph for photograph in photographs if photograph.held_out]
    read = [read_photograph(each.path, READ_AT) for each in kept[:3]]
    for number, photograph in enumerate(kept):
        name = photograph.path.stem
        seed = int(sha256(name.encode()).hexdigest()[:8], 16)
        random = np.random.default_rng((FIRST_VALIDATION_SEED, VERSION, seed))
        views = make_pair(random, read[0], read[1:], settings)
        points = random.uniform(0, settings.size, (POINTS, 2))
        there, seen = views.correspond(points)
        tracks, visible = np.stack([points, there], axis=1), np.stack([np.ones_like(seen), seen], axis=1)
        yield PhotoPair(name, views.images, tracks, visible)
        read = [*read[1:], read_photograph(kept[(number + 3) % len(kept)].path, READ_AT)]
