"""Clips of a photograph, as a camera that moves smoothly would film it, with exact correspondences.

The camera's path is a smooth curve in the space of what tells two views of a pair apart: position, scale, rotation and
corners. Figures and rounded pieces cut from other photographs lie on top and follow curves of their own, the later ones
in front; exposure and colours drift.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8
from numpy.random import Generator

from undertow.world.families import FIRST_VALIDATION_SEED
from undertow.world.figures import random_figure
from undertow.world.photographs import Photograph, read_photograph
from undertow.world.view_pairs import READ_AT, VERSION, PairSettings
from undertow.world.views import (
    PIECE,
    TONES,
    Surface,
    Views,
    coverage,
    cut_texture,
    develop,
    in_front,
    make_ground,
    paint,
    piece_map,
    project,
    quadrilateral,
    rounded,
    texture_grid,
)


@dataclass(frozen=True)
class ViewClipSettings:
    """How a clip of a photograph moves.

    Attributes:
        frames: Number of views.
        views: How far apart the first and the last one are at speed 1, and the size of all.
        speed: Least and largest factor of a clip's deviations; pieces have a speed of their own.
        reach: Least and largest side of a piece, as a share of a view's.
        figures: Share of pieces that are figures, as varied as real things; the others are rounded.
    """

    frames: int = 10
    views: PairSettings = field(default_factory=lambda: PairSettings(size=144, exposure=0.15))
    speed: tuple[float, float] = (0.1, 0.8)
    reach: tuple[float, float] = (0.2, 0.7)
    figures: float = 0.6


def make_view_clip(
    random: Generator,
    photograph: UInt8[np.ndarray, "h w 3"],
    others: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    settings: ViewClipSettings = ViewClipSettings(),
) -> Views:
    """Returns views of `photograph` that follow each other, with pieces of `others` in front of it."""
    views, frames = settings.views, range(settings.frames)
    background = _background(random, photograph, settings)
    surfaces = in_front(
        random, background, others, views.pieces, lambda other: _piece(random, other, background, settings)
    )
    tones, noise = views.exposure / TONES * _curves(random, settings.frames, 5), random.uniform(0, views.noise)
    images = [develop(random, paint(surfaces, frame, views.size), tones[frame], noise) for frame in frames]
    return Views(np.stack(images), surfaces)


def _curves(random: Generator, frames: int, count: int) -> Float[np.ndarray, "frames count"]:
    """Returns cubic Bézier curves between points of the standard normal law."""
    t = np.linspace(0, 1, frames)[:, None]
    weights = np.concatenate([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1)
    return weights @ random.standard_normal((4, count))


def _speed(random: Generator, settings: ViewClipSettings) -> float:
    low, high = np.log(settings.speed)
    return float(np.exp(random.uniform(low, high)))


def _background(random: Generator, photograph: np.ndarray, settings: ViewClipSettings) -> Surface:
    """Returns the photograph, seen along a path."""
    views, speed = settings.views, _speed(random, settings)
    ground = make_ground(random, photograph, views.window, views.size)
    corners = random.uniform(*views.perspective) * _curves(random, settings.frames, 8).reshape(-1, 4, 2)
    turns, growths, *shifts = (
        np.array([views.turn, views.scale] + 2 * [views.shift]) * _curves(random, settings.frames, 4)
    ).T
    maps = [
        ground.through(quadrilateral(speed * offsets, speed * turn, speed * growth, speed * shift))
        for offsets, turn, growth, shift in zip(corners, turns, growths, np.stack(shifts, axis=1), strict=True)
    ]
    return Surface(ground.texture, None, np.stack(maps))


def _piece(random: Generator, other: np.ndarray, background: Surface, settings: ViewClipSettings) -> Surface:
    """Returns a piece of another photograph, which goes its own way over the background."""
    views, speed = settings.views, _speed(random, settings)
    texture = cut_texture(random, other)
    if random.random() < settings.figures:
        # A figure reaches a little beyond its radius.
        u, v = texture_grid()
        cover = coverage(random_figure(random).distance(1.25 * u, 1.25 * v) / 1.25)
    else:
        cover = rounded(random)
    place, reach = random.uniform(0, views.size, (1, 2)), views.size * random.uniform(*settings.reach)
    middle, turned = settings.frames // 2, random.normal(0, 0.5)
    maps = []
    for frame, (turn, growth, *way) in enumerate(_curves(random, settings.frames, 4)):
        carried = project(np.linalg.inv(background.maps[frame]) @ background.maps[middle], place)[0]
        zoom = PIECE / (reach * np.exp(speed * views.scale * growth))
        centre = carried + speed * views.size * views.shift * np.array(way)
        maps.append(piece_map(centre, zoom, turned + speed * views.turn * turn))
    return Surface(texture, cover, np.stack(maps))


def held_out_clips(
    photographs: Sequence[Photograph], count: int, settings: ViewClipSettings = ViewClipSettings()
) -> Iterator[tuple[str, Views]]:
    """Yields the names of `count` held-out photographs among these, or of all, and a clip of each; always the same.

    Pieces in front are cut from the two held-out photographs that come next.

    Raises:
        SettingsError: if a file is not a picture.
    """
    kept = [photograph for photograph in photographs if photograph.held_out]
    for number in range(0, len(kept), max(1, len(kept) // count))[:count]:
        # Other draws than those of the photograph's pair.
        random = np.random.default_rng((FIRST_VALIDATION_SEED, VERSION, kept[number].seed, 7))
        read = [read_photograph(kept[(number + step) % len(kept)].path, READ_AT) for step in range(3)]
        yield kept[number].path.stem, make_view_clip(random, read[0], read[1:], settings)
