"""Staging: events put into a scene on purpose, such as look-alikes, occluders, leaving and returning, or camera shake.

Everything is said in paths, waves and layers, so the truth about a staged scene stays exact.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from undertow.world.camera import Exposure
from undertow.world.materials import Material, natural_colours, procedural_material
from undertow.world.placing import compose, outside, reach
from undertow.world.shapes import Shape, random_shape
from undertow.world.things import Path, Pose, Thing, Wave, random_thing


@dataclass(frozen=True)
class Staging:
    """Which events a scene has. Shares are of its objects; the first object never enters late.

    Args:
        frames: Length of the clip that events are laid out in.
        composed: Whether objects start side by side in full view and do not drift out of it.
        look_alikes: Smallest and largest number of near copies of the first object, placed close to it.
        enter: Share of objects that start out of view and come in.
        leave: Share of objects that go out of view for good.
        reenter: Share of objects that go out of view and come back.
        dash: Share of objects that move to and fro fast.
        occluders: Smallest and largest number of layers in front; objects then walk through the picture behind them.
        bend: Deformation of every object, in object units.
        pan: How far the camera swings, as a share of the shorter side.
        shake: Amplitude of camera shake, as a share of the shorter side.
        light: Largest change of log-exposure.
        camouflage: Share of objects that are covered with materials of the background.
    """

    frames: int = 48
    composed: bool = False
    look_alikes: tuple[int, int] = (0, 0)
    enter: float = 0.0
    leave: float = 0.0
    reenter: float = 0.0
    dash: float = 0.0
    occluders: tuple[int, int] = (0, 0)
    bend: float = 0.0
    pan: float = 0.0
    shake: float = 0.0
    light: float = 0.0
    camouflage: float = 0.0


@dataclass(frozen=True)
class Staged:
    """What staging makes of a scene; `seen` are the objects that a caption of time 0 may speak of."""

    things: tuple[Thing, ...]
    occluders: tuple[Thing, ...]
    camera: Path
    exposure: Exposure | None
    seen: tuple[Thing, ...]


def stage(
    random: Generator,
    staging: Staging,
    things: tuple[Thing, ...],
    camera: Path,
    size: tuple[int, int],
    materials: Sequence[Material],
) -> Staged:
    """Returns the scene's parts after all events of `staging`.

    The camera's path is over the canvas, `size` is the picture's (height, width), and the background is made of
    `materials`.
    """
    if staging.camouflage:
        things = tuple(
            _camouflaged(random, thing, materials) if random.random() < staging.camouflage else thing
            for thing in things
        )
    things += _look_alikes(random, staging, things[0])
    if staging.composed:
        camera = replace(camera, velocity=_calm(camera.velocity, 0.1 * min(size) / staging.frames))
        end = camera.at(staging.frames)
        shift = ((camera.start.x - end.x) * end.radius, (camera.start.y - end.y) * end.radius)
        things = compose(random, things, size, staging.frames, shift, near=staging.look_alikes[1])
    if staging.bend:
        things = tuple(_bent(random, thing, staging.bend) for thing in things)
    occluders: list[Thing] = []
    if staging.occluders[1]:
        things = tuple(_walking(random, thing, i, len(things), size, staging.frames) for i, thing in enumerate(things))
        count = int(random.integers(staging.occluders[0], staging.occluders[1] + 1))
        occluders = [_occluder(random, things[i % len(things)], i, size, staging.frames) for i in range(count)]
    seen, moved = [], []
    for index, thing in enumerate(things):
        act = _role(random, staging, first=index == 0)
        acted = replace(thing, path=act(random, thing, size, staging.frames)) if act else thing
        moved.append(acted)
        if act is not _enter:
            seen.append(acted)
    return Staged(
        tuple(moved),
        tuple(occluders),
        replace(camera, waves=_camera_waves(random, staging, size)),
        _exposure(random, staging) if staging.light else None,
        tuple(seen),
    )


def _calm(velocity: tuple[float, ...], limit: float) -> tuple[float, float, float, float, float]:
    """Returns a camera velocity of at most `limit` pixels per frame and a zoom that stays on the canvas."""
    x, y, zoom = (float(np.clip(v, -bound, bound)) for v, bound in zip(velocity, (limit, limit, 0.001), strict=False))
    return (x, y, zoom, velocity[3], velocity[4])


def _camouflaged(random: Generator, thing: Thing, materials: Sequence[Material]) -> Thing:
    """Returns the thing covered with materials of the background."""
    chosen = random.permutation(len(materials))[: len(thing.materials)]
    return replace(thing, materials=tuple(materials[int(index)] for index in chosen))


def _look_alikes(random: Generator, staging: Staging, first: Thing) -> tuple[Thing, ...]:
    """Returns near copies of the first object: shape, materials and texture placement are the same."""
    low, high = staging.look_alikes
    copies = []
    for _ in range(int(random.integers(low, high + 1)) if high else 0):
        start = first.path.start
        turn, distance = random.uniform(0, 6.28), random.uniform(2.2, 3.0) * start.radius
        pose = Pose(
            start.x + float(np.cos(turn) * distance),
            start.y + float(np.sin(turn) * distance),
            start.radius * float(np.exp(random.normal(0, 0.08))),
            float(random.uniform(0, 6.28)),
            float(random.uniform(0, 6.28)),
        )
        # A similar but not parallel motion, so that neither place nor motion alone gives the copy away.
        x, y, grow, turning, phase = first.path.velocity
        velocity = (x + float(random.normal(0, 0.5)), y + float(random.normal(0, 0.5)), grow, -turning, phase)
        copies.append(replace(first, path=replace(first.path, start=pose, velocity=velocity)))
    return tuple(copies)


def _bent(random: Generator, thing: Thing, bend: float) -> Thing:
    """Returns a thing that waves while it moves."""
    path = thing.path
    phase = float(random.choice([-1, 1]) * random.uniform(0.15, 0.35))
    path = replace(path, velocity=(*path.velocity[:4], phase), sway=(*path.sway[:2], 0.12, path.sway[3]))
    return replace(thing, bend=bend * float(random.uniform(0.75, 1.25)), path=path)


_Act = Callable[[Generator, Thing, tuple[int, int], int], Path]


def _role(random: Generator, staging: Staging, first: bool) -> _Act | None:
    """Returns what an object does on purpose, drawn by the shares of `staging`."""
    draw = random.random()
    for share, act in (
        (0.0 if first else staging.enter, _enter),
        (staging.leave, _leave),
        (staging.reenter, _reenter),
        (staging.dash, _dash),
    ):
        if draw < share:
            return act
        draw -= share
    return None


def _enter(random: Generator, thing: Thing, size: tuple[int, int], frames: int) -> Path:
    """Returns a path from out of view to where the thing was placed, reached at the end of the clip."""
    x, y = outside(random, thing, size)
    start, arrival = thing.path.start, frames * float(random.uniform(0.7, 1.0))
    return _going(thing.path, replace(start, x=x, y=y), ((start.x - x) / arrival, (start.y - y) / arrival))


def _leave(random: Generator, thing: Thing, size: tuple[int, int], frames: int) -> Path:
    """Returns a path out of view, complete after 50 to 85 % of the clip."""
    x, y = outside(random, thing, size)
    start, gone = thing.path.start, frames * float(random.uniform(0.5, 0.85))
    return _going(thing.path, start, ((x - start.x) / gone, (y - start.y) / gone))


def _going(path: Path, start: Pose, velocity: tuple[float, float]) -> Path:
    """Returns a path straight from `start`, turning as before but neither swaying in place nor growing."""
    _, _, _, turning, phase = path.velocity
    return replace(
        path, start=start, velocity=(*velocity, 0.0, turning, phase), sway=(0.0, 0.0, 0.0, path.sway[3]), waves=()
    )


def _reenter(random: Generator, thing: Thing, size: tuple[int, int], frames: int) -> Path:
    """Returns a path that swings out of view and back, out for 40 to 45 % of it."""
    x, y = outside(random, thing, size)
    start = thing.path.start
    further = float(random.uniform(1.25, 1.5)) / 2
    swing = ((start.x - x) * further, (start.y - y) * further, 0.0, 0.0)
    rate = 2 * np.pi / (frames * float(random.uniform(0.9, 1.1)))
    return replace(_going(thing.path, start, (0.0, 0.0)), waves=(Wave(swing, float(rate), np.pi / 2),))


def _dash(random: Generator, thing: Thing, size: tuple[int, int], frames: int) -> Path:
    """Returns a path to and fro through the picture, up to a fifth of it per frame, always in view."""
    start, waves = thing.path.start, []
    for axis, place in enumerate((start.x, start.y)):
        half = size[1 - axis] / 2
        room = max(half - reach(thing), abs(place - half), 1.0)
        amplitude = max(room * float(random.uniform(0.7, 1.0)), abs(place - half))
        phase = float(np.arcsin((place - half) / amplitude))
        move = [0.0, 0.0, 0.0, 0.0]
        move[axis] = amplitude
        waves.append(Wave(tuple(move), float(random.uniform(0.25, 0.45)), phase))  # type: ignore[arg-type]
    return replace(_going(thing.path, start, (0.0, 0.0)), waves=tuple(waves))


def _walking(random: Generator, thing: Thing, index: int, count: int, size: tuple[int, int], frames: int) -> Thing:
    """Returns the thing on a walk from one side of the picture to the other, in a row of its own."""
    height, width = size
    side = 1 if (index + int(random.integers(2))) % 2 else -1
    middle = (index + float(random.uniform(0.4, 0.6))) / count * height
    y = float(np.clip(middle, min(reach(thing), height / 2), max(height - reach(thing), height / 2)))
    x, way = (0.5 - 0.33 * side) * width, 0.66 * side * width
    start = replace(thing.path.start, x=x, y=y)
    return replace(thing, path=_going(thing.path, start, (way / frames, 0.0)))


def _occluder(random: Generator, thing: Thing, index: int, size: tuple[int, int], frames: int) -> Thing:
    """Returns a layer that hides `thing` around the middle of the clip: a standing trunk, or a moving blob."""
    height = size[0]
    middle = thing.path.at(frames * float(random.uniform(0.4, 0.6)))
    palette = natural_colours(random, 3)
    materials = tuple(procedural_material(random, palette) for _ in range(2))
    if index % 2 == 0:
        thickness = float(random.uniform(0.8, 1.3)) * thing.path.start.radius / height
        trunk = Shape("bar", np.zeros(7, np.float32), np.zeros(7, np.float32), 0, thickness, 0.0)
        pose = Pose(middle.x, height / 2, float(height), np.pi / 2 + float(random.normal(0, 0.08)))
        return random_thing(random, trunk, materials, Path(pose))
    # The blob starts above or below the picture and comes by just when the thing does.
    radius = 1.3 * thing.path.start.radius
    speed = float(random.choice([-1, 1])) * (height / 2 + 2 * radius) / (frames / 2)
    pose = Pose(middle.x, middle.y - speed * frames / 2, radius, float(random.uniform(0, 6.28)))
    path = Path(pose, (0.0, speed, 0.0, float(random.normal(0, 0.02)), 0.0))
    return random_thing(random, random_shape(random, "blob"), materials, path)


def _camera_waves(random: Generator, staging: Staging, size: tuple[int, int]) -> tuple[Wave, ...]:
    """Returns a slow swing of the camera and three fast ones per axis, in canvas pixels."""
    waves = []
    if staging.pan:
        turn, far = random.uniform(0, 6.28), staging.pan * min(size)
        move = (float(np.cos(turn)) * far, float(np.sin(turn)) * far, 0.0, 0.0)
        waves.append(Wave(move, float(random.uniform(0.08, 0.16))))
    for _ in range(3 if staging.shake else 0):
        x, y = (float(v) for v in random.normal(0, staging.shake * min(size) / 3**0.5, 2))
        waves.append(Wave((x, y, 0.0, 0.0), float(random.uniform(0.7, 2.4)), float(random.uniform(0, 6.28))))
    return tuple(waves)


def _exposure(random: Generator, staging: Staging) -> Exposure:
    """Returns a change of light that reaches its extreme within the clip."""
    # Brightening is the lesser change, since it burns out what darkening only dims.
    gain = staging.light * float(random.choice([-1.0, 0.5])) * float(random.uniform(0.7, 1.0))
    warm = staging.light * float(random.uniform(-0.3, 0.3))
    rate = np.pi / (staging.frames * float(random.uniform(0.9, 1.6)))
    return Exposure(gain, (warm, 0.0, -warm), float(rate))
