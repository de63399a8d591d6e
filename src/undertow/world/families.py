"""Families of scenes, each about one thing that makes tracking hard, and fixed lists of their clips as benchmarks."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from undertow.world.calm import calm_scene
from undertow.world.camera import Sensor
from undertow.world.captions import describe
from undertow.world.materials import procedural_material, random_palette
from undertow.world.scene import Picture, Scene, WorldSettings, dead_leaves, make_scene
from undertow.world.shapes import random_shape
from undertow.world.staging import Staging
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


@dataclass(frozen=True)
class Family:
    """A kind of scene.

    Attributes:
        name: What it is called.
        about: One sentence on what its scenes show.
        settings: What its scenes are made of; height and width are replaced on use.
        build: Makes a scene of a seed and settings.
    """

    name: str
    about: str
    settings: WorldSettings
    build: Callable[[int, WorldSettings], Scene] = make_scene


def _crossing(seed: int, settings: WorldSettings) -> Scene:
    return crossing_scene(seed, settings.height, settings.width, settings.staging.frames)


def _calm(seed: int, settings: WorldSettings) -> Scene:
    return calm_scene(seed, (settings.height, settings.width), frames=settings.staging.frames)


# Two to three objects in full view that move moderately and differ from each other: what other families change.
_PLAIN = WorldSettings(
    leaves=110, objects=(2, 3), copies=0.0, shared_palette=0.0, radius=(0.13, 0.24), staging=Staging(composed=True)
)


def _family(name: str, about: str, *, staging: Staging | None = None, **settings: object) -> Family:
    """Returns a family that differs from the plain one in some settings and is staged as given."""
    staging = replace(staging or Staging(), composed=True)
    return Family(name, about, replace(_PLAIN, staging=staging, **settings))  # type: ignore[arg-type]


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.name: family
        for family in (
            Family("leaves", "What training sees: one to six objects, copies in 40 % of scenes.", WorldSettings()),
            Family("plain", "Two or three different objects that move moderately and stay in view.", _PLAIN),
            _family(
                "look-alikes",
                "An object beside one or two copies of itself, which move much as it does.",
                staging=Staging(look_alikes=(1, 2)),
                objects=(1, 1),
                radius=(0.15, 0.21),
            ),
            _family(
                "occlusion",
                "Objects cross the picture behind a trunk, and often a blob passes in front of them.",
                staging=Staging(occluders=(1, 2)),
                objects=(1, 2),
                radius=(0.14, 0.2),
            ),
            _family(
                "reentry",
                "Objects leave the picture for a third to half of the clip and come back.",
                staging=Staging(reenter=1.0),
                shared_palette=0.5,
                objects=(1, 2),
            ),
            _family(
                "entrances",
                "Objects come into the picture and leave it for good; the first one is there at the start.",
                staging=Staging(enter=0.6, leave=0.4),
                objects=(2, 4),
            ),
            _family(
                "fast",
                "Objects dash to and fro, up to a fifth of the picture per frame.",
                staging=Staging(dash=1.0),
                objects=(1, 2),
                radius=(0.13, 0.2),
            ),
            _family(
                "light",
                "The light changes by up to a factor of 2.5 and its colour drifts.",
                staging=Staging(light=1.0),
                shared_palette=0.5,
            ),
            _family(
                "deformation",
                "Objects wave and swell while they move.",
                staging=Staging(bend=0.34),
                shared_palette=0.5,
                radius=(0.17, 0.25),
            ),
            _family(
                "camera",
                "The camera swings and shakes; objects move on their own as well.",
                staging=Staging(pan=0.15, shake=0.02),
                shared_palette=0.5,
            ),
            _family(
                "camouflage",
                "Objects are made of the materials that the background is made of.",
                staging=Staging(camouflage=1.0),
                shared_palette=1.0,
                objects=(1, 3),
            ),
            _family(
                "mixed",
                "A look-alike, leaving and returning, waving, a shaking camera and changing light at once.",
                staging=Staging(look_alikes=(1, 1), reenter=0.5, bend=0.25, pan=0.08, shake=0.015, light=0.6),
                shared_palette=1.0,
                objects=(1, 1),
                radius=(0.15, 0.22),
            ),
            Family(
                "crossing",
                "Two objects of the same colours change places, one passing in front of the other.",
                _PLAIN,
                _crossing,
            ),
            Family(
                "calm",
                "One to six things of one material each stand still, move, turn, grow, come in or leave.",
                _PLAIN,
                _calm,
            ),
        )
    }
)

# Families about what makes tracking hard, which recipes draw from: `calm` is about words, and came later.
TRACKING_FAMILIES = tuple(name for name in FAMILIES if name != "calm")


def make_family_scene(name: str, seed: int, height: int = 270, width: int = 480) -> Scene:
    """Returns a scene of a family, the same one for the same name, seed and size.

    Args:
        name: A name of `FAMILIES`.
        seed: Decides everything in the scene.
        height: Picture height in pixels.
        width: Picture width in pixels.

    Raises:
        ValueError: if no family has that name.
    """
    if name not in FAMILIES:
        raise ValueError(f"world family '{name}' is not one of {', '.join(FAMILIES)}")
    family = FAMILIES[name]
    return family.build(seed, replace(family.settings, height=height, width=width))


# Training uses seeds below the first, validation those between the two, benchmarks those from the second on.
FIRST_VALIDATION_SEED = 1_000_000_000
FIRST_BENCHMARK_SEED = 2_000_000_000


@dataclass(frozen=True)
class WorldClip:
    """One clip of a benchmark world: its name says what is hard about it, family and seed decide everything."""

    name: str
    family: str
    seed: int
    frames: int = 48
    height: int = 270
    width: int = 480

    def scene(self) -> Scene:
        """Returns the clip's scene."""
        return make_family_scene(self.family, self.seed, self.height, self.width)

    def pictures(self) -> Iterator[Picture]:
        """Yields the clip's pictures in order, at times 0, 1, ..."""
        return self.scene().clip(self.frames)


def _clips(first: int, *families: str) -> tuple[WorldClip, ...]:
    """Returns one clip per family named, with seeds counted from `first`."""
    return tuple(WorldClip(f"{family}-{i:02d}", family, first + i) for i, family in enumerate(families))


SUITES: Mapping[str, tuple[WorldClip, ...]] = MappingProxyType(
    {
        "world-easy": _clips(FIRST_BENCHMARK_SEED, *("plain",) * 12),
        "world-hard": _clips(
            FIRST_BENCHMARK_SEED + 1000,
            *("look-alikes", "look-alikes", "occlusion", "occlusion", "reentry", "reentry"),
            *("fast", "light", "camouflage", "deformation", "camera", "mixed"),
        ),
    }
)
