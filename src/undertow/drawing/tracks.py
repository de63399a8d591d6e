"""Tracks of points over pictures: dots with tails on every frame, and all paths on one."""

import colorsys
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Picture = UInt8[np.ndarray, "h w 3"]

TAIL = 12
DARK = (16, 16, 20)


def point_colours(places: Float[np.ndarray, "q 2"], size: tuple[int, int]) -> list[Colour]:
    """Returns a colour for each point: hue by where it begins from left to right, lightness from top to bottom.

    Neighbours look alike and what moves apart can be distinguished. Places are (x, y) of each point where it was asked
    for, the size is the picture's (height, width).
    """
    height, width = size
    found = []
    for x, y in places:
        hue, light = 0.85 * min(max(x / width, 0.0), 1.0), 0.68 - 0.2 * min(max(y / height, 0.0), 1.0)
        red, green, blue = colorsys.hls_to_rgb(hue, light, 0.95)
        found.append((round(255 * red), round(255 * green), round(255 * blue)))
    return found


def draw_tracks(
    image: Picture,
    tracks: Float[np.ndarray, "q t 2"],
    visibility: Bool[np.ndarray, "q t"],
    time: int,
    colours: Sequence[Colour],
    *,
    tail: int = TAIL,
) -> Picture:
    """Returns a copy of a frame with every point on it, and where it was on the frames before.

    A point that is seen is a filled dot with a dark rim; one that is hidden is a small open ring, of which no tail is
    drawn. Tails grow thinner and darker with age, and have gaps where the point was hidden. Tracks are (x, y) of all
    points on all frames in pixels; `time` is the number of the frame and `tail` the length of tails in frames.
    """
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    radius = _radius(image.shape[:2], len(tracks))
    # PIL's pixel centres are whole numbers.
    places = tracks - 0.5
    first = max(0, time - tail)
    for age in range(first, time):
        share = (age - first + 1) / (time - first)
        width = max(1, round(radius * share))
        for point in np.flatnonzero(visibility[:, age] & visibility[:, age + 1] & visibility[:, time]).tolist():
            shade = _mixed(colours[point], DARK, 0.75 * (1 - share))
            draw.line([*places[point, age], *places[point, age + 1]], fill=shade, width=width)
    for point in np.argsort(visibility[:, time], kind="stable").tolist():
        _dot(draw, places[point, time], radius, colours[point], seen=bool(visibility[point, time]))
    return np.asarray(canvas)


def draw_trajectories(
    image: Picture,
    tracks: Float[np.ndarray, "q t 2"],
    visibility: Bool[np.ndarray, "q t"],
    colours: Sequence[Colour],
    starts: Sequence[int],
) -> Picture:
    """Returns a frame, greyed, with the whole path of every point: dark at its beginning, full at its end.

    Where a point is hidden its path is left out. A rimmed dot marks where it was asked for. Tracks are (x, y) of all
    points on all frames in pixels; `starts` are the frames on which points were asked for.
    """
    grey = np.repeat((0.5 * image.mean(-1, keepdims=True) + 90), 3, axis=-1)
    canvas = Image.fromarray(grey.astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    radius = _radius(image.shape[:2], len(tracks))
    places, length = tracks - 0.5, tracks.shape[1]
    for age in range(length - 1):
        share = (age + 1) / (length - 1)
        for point in np.flatnonzero(visibility[:, age] & visibility[:, age + 1]).tolist():
            shade = _mixed(colours[point], DARK, 0.7 * (1 - share))
            draw.line([*places[point, age], *places[point, age + 1]], fill=shade, width=max(1, radius - 1))
    for point, start in enumerate(starts):
        _dot(draw, places[point, start], radius, colours[point], seen=True)
    return np.asarray(canvas)


def _dot(draw: ImageDraw.ImageDraw, place: Float[np.ndarray, "2"], radius: int, colour: Colour, *, seen: bool) -> None:
    x, y = place
    if seen:
        draw.ellipse([x - radius - 1, y - radius - 1, x + radius + 1, y + radius + 1], fill=DARK)
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)
    else:
        small = max(1, radius - 1)
        draw.ellipse([x - small - 1, y - small - 1, x + small + 1, y + small + 1], outline=DARK)
        draw.ellipse([x - small, y - small, x + small, y + small], outline=_mixed(colour, (255, 255, 255), 0.3))


def _radius(size: tuple[int, ...], count: int) -> int:
    """Returns the radius of dots: a hundred-and-sixtieth of the shorter side, less where points are many."""
    side = min(size) / 110
    crowded = (size[0] * size[1] / max(count, 1)) ** 0.5 / 6
    return max(1, round(min(side, crowded)))


def _mixed(colour: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round((1 - share) * own + share * its) for own, its in zip(colour, other, strict=True))
    return red, green, blue
