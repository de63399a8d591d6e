"""Calm scenes: one to five things of one material each, side by side on a quiet ground or in front of a photograph.

Where the other scenes ask what belongs together, these ask what is called what: colours, textures, shapes, sizes and
places are plain to see, and each object is told from the others by a few words. In a clip, each thing stands still or
does one thing that words describe: it moves, turns, grows, shrinks, comes in or leaves.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, UInt8
from numpy.random import Generator

from undertow.world.camera import random_sensor
from undertow.world.captions import describe
from undertow.world.materials import NAMES, Material, name_of, near, procedural_material
from undertow.world.placing import compose, outside, reach
from undertow.world.scene import Scene
from undertow.world.shapes import KINDS, random_shape
from undertow.world.things import Path, Pose, Thing, random_thing

# How far a surface's colour may be from the colour that it is called by.
SPREAD = 0.06
# What a thing does in a clip; each is drawn alike.
DEEDS = ("stand", "stand", "move", "move", "move", "move", "turn", "grow", "shrink", "enter", "leave")
# Share of the clips in which two things look alike, so that only a place or a deed tells them apart.
TWINS = 0.4


def calm_scene(
    seed: int,
    size: tuple[int, int],
    photograph: UInt8[np.ndarray, "h w 3"] | None = None,
    radius: tuple[float, float] = (0.1, 0.32),
    frames: int | None = None,
) -> Scene:
    """Returns the calm scene of `seed`; the same arguments give the same scene.

    Args:
        seed: Decides everything in it.
        size: (height, width) of its pictures in pixels.
        photograph: What is behind the objects, at least half as large again as the picture; a quiet surface without.
        radius: Smallest and largest radius of an object as a share of the shorter side.
        frames: Frames in which the things do what they do; `None` if all stand still for ever.
    """
    random = np.random.default_rng((seed, 29))
    height, width = size
    short = min(size)
    whole = (int(height * 1.5), int(width * 1.5))
    ground = str(random.choice(list(NAMES)))
    background = _cut(random, photograph, whole) if photograph is not None else _quiet(random, ground, whole)
    things = []
    for _ in range(int(random.integers(1, 6))):
        share = float(np.exp(random.uniform(*np.log(radius))))
        pose = Pose(
            float(random.uniform(0.1, 0.9)) * width,
            float(random.uniform(0.1, 0.9)) * height,
            share * short,
            float(random.uniform(0, 6.28)),
        )
        others = [name for name in NAMES if photograph is not None or name != ground]
        material = _named(random, str(random.choice(others)))
        things.append(random_thing(random, random_shape(random, str(random.choice(KINDS))), (material,), Path(pose)))
    # Deeds draw from a generator of their own: the scene at time 0 is that of a picture, but for twins and newcomers.
    deeds = np.random.default_rng((seed, 37))
    if frames is not None and deeds.random() < TWINS:
        things.insert(0, things[0])
    placed = compose(random, things, size, 1)
    if frames is not None:
        placed = tuple(_doing(deeds, thing, size, frames) for thing in placed)
    shadow = (0.1 * short, 0.2 * short, float(random.uniform(0.1, 0.4)) if random.random() < 0.5 else 0.0)
    camera = Path(Pose(whole[1] / 2, whole[0] / 2, 1.0, 0.0))
    sensor = replace(random_sensor(random), blur=0.4)
    return Scene(size, background, placed, camera, sensor, shadow, describe(random, placed, size), seed)


def _doing(random: Generator, thing: Thing, size: tuple[int, int], frames: int) -> Thing:
    """Returns a thing that does one of `DEEDS` in so many frames, at a constant rate."""
    start, span = thing.path.start, np.array([size[1], size[0]])
    here = there = np.array([start.x, start.y])
    grown = turned = 0.0
    match str(random.choice(DEEDS)):
        case "move":
            # Mostly along one axis, as people say where something goes.
            angle = float(random.integers(4)) * np.pi / 2 + float(random.normal(0, 0.25))
            room = np.minimum(reach(thing), span / 2)
            way = random.uniform(0.2, 0.6) * np.array([np.cos(angle), np.sin(angle)]) * span
            # A way that would lead out of the picture is gone the other way.
            there = np.clip(here + np.where((here + way < room) | (here + way > span - room), -way, way), 0, span)
        case "turn":
            turned = float(random.choice((-1, 1)) * random.uniform(1.2, 3.0))
        case "grow":
            grown = float(random.uniform(0.3, 0.6))
        case "shrink":
            grown = -float(random.uniform(0.3, 0.6))
        case "enter":
            here = np.array(outside(random, thing, size))
        case "leave":
            there = np.array(outside(random, thing, size))
    steps = max(1, frames - 1)
    x, y = ((there - here) / steps).tolist()
    path = Path(replace(start, x=float(here[0]), y=float(here[1])), (x, y, grown / steps, turned / steps, 0.0))
    return replace(thing, path=path)


def _named(random: Generator, name: str) -> Material:
    """Returns a material whose mean has a colour of that name."""
    for _ in range(20):
        colour = near(random, np.array(NAMES[name], dtype=np.float32), SPREAD)
        material = procedural_material(random, colour[None])
        if name_of(material.colour) == name:
            break
    return material


def _quiet(random: Generator, name: str, size: tuple[int, int]) -> Float[np.ndarray, "h w 3"]:
    """Returns a surface of one material whose contrast is low."""
    material = _named(random, name)
    flat = replace(material, tile=material.colour + (material.tile - material.colour) * random.uniform(0.0, 0.4))
    scale, angle = random.uniform(0.3, 1.0), random.uniform(0, 6.28)
    y, x = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32) * np.float32(scale)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return flat.sample(cos * x + sin * y, cos * y - sin * x).astype(np.float32)


def _cut(
    random: Generator, photograph: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]
) -> Float[np.ndarray, "h w 3"]:
    y, x = (int(random.integers(have - want + 1)) for have, want in zip(photograph.shape, size, strict=False))
    return photograph[y : y + size[0], x : x + size[1]].astype(np.float32) / 255
