"""Two views of a photograph, as a camera that has moved would take them, with exact correspondences.

Each view looks through a quadrilateral of its own, under exposure, gamma, colours and noise of its own. Pieces cut from
other photographs lie on top and move on their own between the views, the later ones in front. `photo_pairs` makes one
pair of each held-out photograph: real pictures and exact truth, from which no model has learnt.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, UInt8
from numpy.random import Generator

from undertow.world.families import FIRST_VALIDATION_SEED
from undertow.world.photographs import Photograph, read_photograph
from undertow.world.views import (
    PIECE,
    TONES,
    Surface,
    Views,
    cut_texture,
    develop,
    in_front,
    make_ground,
    paint,
    piece_map,
    project,
    quadrilateral,
    rounded,
)


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


def make_pair(
    random: Generator,
    photograph: UInt8[np.ndarray, "h w 3"],
    others: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    settings: PairSettings = PairSettings(),
) -> Views:
    """Returns two views of `photograph`, with pieces of `others` in front of it.

    The photograph is resized so that a view spans the wanted share of it.
    """
    background = _background(random, photograph, settings)
    surfaces = in_front(
        random, background, others, settings.pieces, lambda other: _piece(random, other, background, settings)
    )
    views = [paint(surfaces, view, settings.size) for view in (0, 1)]
    images = [
        develop(random, view, settings.exposure / TONES * random.normal(size=5), random.uniform(0, settings.noise))
        for view in views
    ]
    return Views(np.stack(images), surfaces)


def _background(random: Generator, photograph: np.ndarray, settings: PairSettings) -> Surface:
    """Returns the photograph, seen from two places."""
    ground = make_ground(random, photograph, settings.window, settings.size)
    maps = []
    for _ in range(2):
        offsets = random.normal(0, random.uniform(*settings.perspective), (4, 2))
        angle, growth = settings.turn * random.normal(), settings.scale * random.normal()
        maps.append(ground.through(quadrilateral(offsets, angle, growth, settings.shift * random.normal(size=2))))
    return Surface(ground.texture, None, np.stack(maps))


def _piece(random: Generator, other: np.ndarray, background: Surface, settings: PairSettings) -> Surface:
    """Returns a rounded piece of another photograph, which goes its own way between the views."""
    texture, cover = cut_texture(random, other), rounded(random)
    place = random.uniform(0, settings.size, (1, 2))
    carried = project(np.linalg.inv(background.maps[1]) @ background.maps[0], place)
    moved = carried + settings.size * settings.shift * random.normal(size=2)
    reach, turn = settings.size * random.uniform(0.15, 0.4), random.uniform(-np.pi, np.pi)
    maps = []
    for centre in (place[0], moved[0]):
        zoom = PIECE / (reach * np.exp(settings.scale * random.normal()))
        maps.append(piece_map(centre, zoom, turn + settings.turn * random.normal()))
    return Surface(texture, cover, np.stack(maps))


# Raised whenever pairs or points change.
VERSION = 1
POINTS = 96
# Shorter side at which photographs are read, in pixels: the closest views then have about that many.
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
        random = np.random.default_rng((FIRST_VALIDATION_SEED, VERSION, photograph.seed))
        views = make_pair(random, read[0], read[1:], settings)
        points = random.uniform(0, settings.size, (POINTS, 2))
        there, seen = views.correspond(points)
        tracks, visible = np.stack([points, there], axis=1), np.stack([np.ones_like(seen), seen], axis=1)
        yield PhotoPair(photograph.path.stem, views.images, tracks, visible)
        read = [*read[1:], read_photograph(kept[(number + 3) % len(kept)].path, READ_AT)]
