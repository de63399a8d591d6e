"""Placing: where objects stand so that each can be seen, and where out of view begins."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from undertow.world.things import Thing

TRIALS = 60
# Objects keep this share of the shorter side between each other and to the picture's border.
GAP = 0.02


def reach(thing: Thing) -> float:
    """Returns how far from its centre a thing extends at time 0, in pixels, along its longest radius."""
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False, dtype=np.float32)
    # Walk inwards along each ray; outlines reach at most about twice the nominal radius.
    radii = np.linspace(2.0, 0.1, 39, dtype=np.float32)[:, None]
    inside = thing.shape.distance(radii * np.cos(angle), radii * np.sin(angle)) >= 0
    longest = float(radii[inside.any(axis=1)].max(initial=0.1))
    return (longest + thing.bend) * thing.path.start.radius


def outside(random: Generator, thing: Thing, size: tuple[int, int]) -> tuple[float, float]:
    """Returns a place (x, y) where the thing is just out of view, beyond the nearer of left and right, or any border.

    Three in four take the nearer side, so that the way is short; the rest any border.
    """
    height, width = size
    start, far = thing.path.start, 1.3 * reach(thing)
    borders = [(-far, start.y), (width + far, start.y), (start.x, -far), (start.x, height + far)]
    if random.random() < 0.75:
        return borders[0] if start.x < width / 2 else borders[1]
    return borders[int(random.integers(4))]


def compose(
    random: Generator,
    things: Sequence[Thing],
    size: tuple[int, int],
    frames: int,
    shift: tuple[float, float] = (0.0, 0.0),
    near: int = 0,
) -> tuple[Thing, ...]:
    """Returns the things placed side by side in full view, with drifts that end in view.

    All are made smaller until there is room for all in a picture of (height, width) `size`. `shift` is how far (x, y)
    the camera has moved things by the end of the clip, in pixels, and the last things, `near` of them, are placed as
    close to the first as room allows.
    """
    attempts = 0
    while (placed := _placed(random, things, size, near)) is None:
        attempts += 1
        if attempts % 4 == 0:
            things = [_smaller(thing) for thing in things]
    return tuple(_drifting(thing, size, frames, shift) for thing in placed)


def _placed(random: Generator, things: Sequence[Thing], size: tuple[int, int], near: int) -> list[Thing] | None:
    """Returns the things at random places that do not touch, or None if no place was found for one of them."""
    placed: list[Thing] = []
    for index, thing in enumerate(things):
        spots = _spots(random, thing, size)
        room = _room(spots, thing, placed, size)
        if room.max() < 0:
            return None
        close = index >= max(1, len(things) - near)
        best = _closest(spots, room, placed[0]) if close else int(np.argmax(room))
        start = replace(thing.path.start, x=float(spots[best, 0]), y=float(spots[best, 1]))
        placed.append(replace(thing, path=replace(thing.path, start=start)))
    return placed


def _spots(random: Generator, thing: Thing, size: tuple[int, int]) -> Float[np.ndarray, "n 2"]:
    """Returns places (x, y) at which the whole thing is in view, or the middle if it is too large for any."""
    far = reach(thing) + GAP * min(size)
    low = np.minimum(far, np.array([size[1], size[0]]) / 2)
    return random.uniform(low, np.array([size[1], size[0]]) - low, (TRIALS, 2))


def _room(
    spots: Float[np.ndarray, "n 2"], thing: Thing, placed: Sequence[Thing], size: tuple[int, int]
) -> Float[np.ndarray, "n"]:
    """Returns the distance in pixels between the thing at each spot and the nearest thing already placed."""
    room = np.full(len(spots), 0.1 * min(size))
    for other in placed:
        distance = np.hypot(*(spots - (other.path.start.x, other.path.start.y)).T)
        room = np.minimum(room, distance - reach(thing) - reach(other) - GAP * min(size))
    return room


def _closest(spots: Float[np.ndarray, "n 2"], room: Float[np.ndarray, "n"], other: Thing) -> int:
    """Returns the free spot nearest to `other`."""
    distance = np.hypot(*(spots - (other.path.start.x, other.path.start.y)).T)
    return int(np.argmin(np.where(room >= 0, distance, np.inf)))


def _smaller(thing: Thing) -> Thing:
    """Returns the thing at 90 % of its size, its texture shrunk with it."""
    start = replace(thing.path.start, radius=0.9 * thing.path.start.radius)
    return replace(thing, path=replace(thing.path, start=start), texels=0.9 * thing.texels)


def _drifting(thing: Thing, size: tuple[int, int], frames: int, shift: tuple[float, float]) -> Thing:
    """Returns the thing with its drift shortened so that it ends in view, `shift` included."""
    path, span = thing.path, np.array([size[1], size[0]])
    low = np.minimum(reach(thing), span / 2)
    spot = np.array([path.start.x, path.start.y])
    end = np.clip(spot + np.array(path.velocity[:2]) * frames, low - shift, span - low - shift)
    x, y = (float(v) for v in (end - spot) / frames)
    grow = float(np.clip(path.velocity[2], -0.3 / frames, 0.2 / frames))
    far = 0.04 * min(size)
    sway_x, sway_y = (float(np.clip(v, -far, far)) for v in path.sway[:2])
    return replace(
        thing, path=replace(path, velocity=(x, y, grow, *path.velocity[3:]), sway=(sway_x, sway_y, *path.sway[2:]))
    )
