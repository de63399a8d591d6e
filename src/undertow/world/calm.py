"""Calm scenes: one to five things of one material each, side by side on a quiet ground or in front of a photograph.

Where the other scenes ask what belongs together, these ask what is called what: colours, textures, shapes, sizes and
places are plain to see, and each object is told from the others by a few words.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, UInt8
from numpy.random import Generator

from undertow.world.camera import random_sensor
from undertow.world.captions import describe
from undertow.world.materials import NAMES, Material, name_of, near, procedural_material
from undertow.world.placing import compose
from undertow.world.scene import Scene
from undertow.world.shapes import KINDS, random_shape
from undertow.world.things import Path, Pose, random_thing

# How far a surface's colour may be from the colour that it is called by.
SPREAD = 0.06


def calm_scene(
    seed: int,
    size: tuple[int, int],
    photograph: UInt8[np.ndarray, "h w 3"] | None = None,
    radius: tuple[float, float] = (0.1, 0.32),
) -> Scene:
    """Returns the calm scene of `seed`; the same arguments give the same scene.

    Args:
        seed: Decides everything in it.
        size: (height, width) of its pictures in pixels.
        photograph: What is behind the objects, at least half as large again as the picture; a quiet surface without.
        radius: Smallest and largest radius of an object as a share of the shorter side.
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
    placed = compose(random, things, size, 1)
    shadow = (0.1 * short, 0.2 * short, float(random.uniform(0.1, 0.4)) if random.random() < 0.5 else 0.0)
    camera = Path(Pose(whole[1] / 2, whole[0] / 2, 1.0, 0.0))
    sensor = replace(random_sensor(random), blur=0.4)
    return Scene(size, background, placed, camera, sensor, shadow, describe(random, placed, size), seed)


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
