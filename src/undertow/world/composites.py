"""Composites: figures filled with photographs, on the ground of another photograph, with the exact mask of each.

What an object and its ground look like is real; where the object ends is known. Light, focus and edges differ from
object to object, and some have the colours of what they cover, so that colour alone does not tell them apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy.random import Generator

from undertow.world.camera import random_sensor
from undertow.world.figures import Figure, random_figure


@dataclass(frozen=True)
class CompositeSettings:
    """What composites are made of. Shares are of objects.

    Attributes:
        height: Picture height in pixels.
        width: Picture width in pixels.
        objects: Smallest and largest number of objects.
        radius: Smallest and largest object radius as a share of the shorter side.
        several: Share that shows two or three photographs, as a dressed person shows several materials.
        ground: Share cut from the photograph that is the ground.
        matched: Share that takes on the colours of what it covers.
        shadows: Share that casts a shadow.
        defocused: Share of pictures whose ground is out of focus.
    """

    height: int = 320
    width: int = 320
    objects: tuple[int, int] = (1, 5)
    radius: tuple[float, float] = (0.1, 0.42)
    several: float = 0.45
    ground: float = 0.15
    matched: float = 0.35
    shadows: float = 0.4
    defocused: float = 0.3


@dataclass(frozen=True)
class Composite:
    """A picture, the number of the object that each pixel shows, and which of its photographs, both 0 on the ground."""

    image: UInt8[np.ndarray, "h w 3"]
    objects: UInt8[np.ndarray, "h w"]
    parts: UInt8[np.ndarray, "h w"]


def make_composite(
    random: Generator,
    ground: UInt8[np.ndarray, "a b 3"],
    others: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    settings: CompositeSettings = CompositeSettings(),
) -> Composite:
    """Returns objects cut from `others` in front of a part of `ground`; later ones are in front of earlier ones."""
    size = settings.height, settings.width
    canvas = _cut(random, ground, size, random.uniform(0.6, 1.0))
    if random.random() < settings.defocused:
        canvas = cv2.GaussianBlur(canvas, (0, 0), random.uniform(0.7, 3.0))
    objects, parts = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    low, high = np.log(settings.radius)
    for number in range(1, int(random.integers(settings.objects[0], settings.objects[1] + 1)) + 1):
        radius = float(np.exp(random.uniform(low, high))) * min(size)
        count = int(random.integers(2, 4)) if random.random() < settings.several else 1
        sources = [others[int(random.integers(len(others)))] for _ in range(count)]
        if random.random() < settings.ground:
            sources[0] = ground
        _paint(random, (canvas, objects, parts), number, radius, sources, settings)
    return Composite(random_sensor(random).develop(canvas, random), objects, parts)


def _cut(
    random: Generator, photograph: UInt8[np.ndarray, "a b 3"], size: tuple[int, int], share: float
) -> Float[np.ndarray, "h w 3"]:
    """Returns a window of a photograph, as large as it can be times `share`, at another size and in [0, 1]."""
    scale = share * min(photograph.shape[0] / size[0], photograph.shape[1] / size[1])
    tall, wide = (max(2, int(side * scale)) for side in size)
    top, left = (
        int(random.integers(have - want + 1)) for have, want in zip(photograph.shape, (tall, wide), strict=False)
    )
    window = photograph[top : top + tall, left : left + wide]
    if random.random() < 0.5:
        window = window[:, ::-1]
    how = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(window), size[::-1], interpolation=how).astype(np.float32) / 255


def _paint(
    random: Generator,
    picture: tuple[Float[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"], UInt8[np.ndarray, "h w"]],
    number: int,
    radius: float,
    sources: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    settings: CompositeSettings,
) -> None:
    """Paints one object into the picture, the numbers of objects and those of parts, all in place."""
    canvas, objects, parts = picture
    height, width = objects.shape
    x, y = random.uniform(0.05, 0.95) * width, random.uniform(0.05, 0.95) * height
    reach, figure, angle = 1.5 * radius, random_figure(random), random.normal(0, 0.35)
    top, bottom = max(0, int(y - reach)), min(height, int(y + reach) + 1)
    left, right = max(0, int(x - reach)), min(width, int(x + reach) + 1)
    v, u = (np.mgrid[top:bottom, left:right].astype(np.float32) + 0.5 - np.array([y, x])[:, None, None]) / radius
    u, v = np.cos(angle) * u + np.sin(angle) * v, np.cos(angle) * v - np.sin(angle) * u
    depth = figure.distance(u, v) * radius
    cover = np.clip(depth / random.uniform(0.8, 2.5) + 0.5, 0, 1)[..., None]
    if cover.sum() < 20:
        return
    window = (slice(top, bottom), slice(left, right))
    if random.random() < settings.shadows:
        _shade(random, canvas[window], figure, u, v)
    # Without a pixel to sample, a part repeats the texture before it.
    textures = [_cut(random, source, depth.shape, _share(random, source, depth.shape)) for source in sources]
    owner, colour = np.ones(depth.shape, np.uint8), textures[0]
    for index, texture in enumerate(textures[1:], start=2):
        wave = np.sin(random.normal(0, 2) * u + random.normal(0, 2) * v + random.uniform(0, 6.28))
        edge = np.clip(wave * 0.5 * radius + 0.5, 0, 1)[..., None]
        colour = colour * (1 - edge) + texture * edge
        owner[wave >= 0] = index
    inside = depth >= 0
    if random.random() < settings.matched and inside.any():
        colour = _matched(colour, canvas[window], inside, random.uniform(0.5, 1.0))
    lit = random.normal(1, 0.12) + random.normal(0, 0.15) * u + random.normal(0, 0.15) * v
    colour = np.clip(colour * np.clip(lit, 0.3, 1.7)[..., None] * np.exp(random.normal(0, 0.04, 3)), 0, 1)
    if random.random() < 0.15:
        colour = cv2.GaussianBlur(colour.astype(np.float32), (0, 0), random.uniform(0.7, 2.0))
    canvas[window] = canvas[window] * (1 - cover) + colour * cover
    objects[window][inside], parts[window][inside] = number, owner[inside]


def _share(random: Generator, source: UInt8[np.ndarray, "a b 3"], size: tuple[int, ...]) -> float:
    """Returns a share of a photograph by which its texture is neither much enlarged nor shrunk beyond recognition."""
    whole = min(source.shape[0] / size[0], source.shape[1] / size[1])
    return float(np.clip(random.uniform(0.5, 2.0) / whole, 0.05, 1.0))


def _shade(random: Generator, patch: Float[np.ndarray, "y x 3"], figure: Figure, u: np.ndarray, v: np.ndarray) -> None:
    """Darkens a patch where a figure's soft shadow falls."""
    x, y, soft = random.normal(0, 0.15), random.uniform(0.02, 0.3), random.uniform(0.05, 0.25)
    cover = np.clip(figure.distance(u - np.float32(x), v - np.float32(y)) / soft + 0.5, 0, 1)
    patch *= 1 - np.float32(random.uniform(0.2, 0.6)) * cover[..., None]


def _matched(
    colour: Float[np.ndarray, "y x 3"], ground: Float[np.ndarray, "y x 3"], inside: np.ndarray, share: float
) -> Float[np.ndarray, "y x 3"]:
    """Returns colours whose mean and contrast are moved to those of the ground they cover, by `share` of the way."""
    own, other = colour[inside], ground[inside]
    contrast = np.clip((other.std(0) + 0.02) / (own.std(0) + 0.02), 0.4, 2.5)
    moved = (colour - own.mean(0)) * contrast + other.mean(0)
    return colour + share * (moved - colour)
