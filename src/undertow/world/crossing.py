"""The demonstration clip: two objects made of the same colours cross each other in front of a busy background."""

import numpy as np

from undertow.world.camera import Sensor
from undertow.world.captions import describe
from undertow.world.materials import procedural_material, random_palette
from undertow.world.scene import Scene, WorldSettings, dead_leaves
from undertow.world.shapes import random_shape
from undertow.world.things import Path, Pose, random_thing


def crossing_scene(seed: int = 11, height: int = 270, width: int = 480, frames: int = 48) -> Scene:
    """Returns a scene in which object 1 goes right and object 2 goes left, and object 2 passes in front.

    Both are painted from one palette, turn, sway and change size a little; they meet in the middle of the clip.

    Args:
        seed: Decides shapes, materials and background.
        height: Picture height in pixels.
        width: Picture width in pixels.
        frames: Number of frames in which they change places.
    """
    random = np.random.default_rng(seed)
    settings = WorldSettings(height=height, width=width, leaves=140)
    palette, colours = random_palette(random), random_palette(random)
    background = dead_leaves(random, settings, [procedural_material(random, palette) for _ in range(7)])
    things = []
    for side in (-1, 1):
        radius = 0.19 * height
        x, y = (0.5 + 0.3 * side) * width, (0.5 - 0.08 * side) * height
        start = Pose(x, y, radius, float(random.uniform(0, 6.28)))
        speed = -side * 0.6 * width / frames
        sway = (0.0, 0.05 * height, 0.08, 0.25)
        path = Path(start, (speed, 0.0, 0.0, float(random.normal(0, 0.012)), 0.1), sway, 0.16)
        materials = tuple(procedural_material(random, colours) for _ in range(3))
        things.append(random_thing(random, random_shape(random, "blob"), materials, path, bend=0.12))
    camera = Path(
        Pose(background.shape[1] / 2, background.shape[0] / 2, 1.0, 0.0), (0.35, 0.1, 0.0, 0.0, 0.0), rate=0.2
    )
    sensor = Sensor(blur=0.5, noise=0.012, quality=90, falloff=(0.15, 0.7, 0.7))
    size = (height, width)
    shadow = (0.15 * height, 0.2 * height, 0.35)
    return Scene(size, background, tuple(things), camera, sensor, shadow, describe(random, things, size), seed, 0.03)
