"""Things that change what they are: they grow, melt, split, fade and spread, while others beside them stay as they are.

What is asked for is not one outline that moves. A thing that falls apart is all of its parts, one that melts is what
stands and what runs out of it; while something fades, nobody can say from which frame on it is not there any more,
and such pixels are void.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from jaxtyping import UInt16
from numpy.random import Generator

from undertow.world.calm import calm_scene
from undertow.world.families import FIRST_BENCHMARK_SEED, WorldClip
from undertow.world.materials import name_of
from undertow.world.scene import Picture, Scene
from undertow.world.shapes import random_shape
from undertow.world.things import Path, Pose, Thing, random_thing

VOID = 255
# Of a thing that fades, pixels that show it less than this are void, until nearly nothing is left.
SURE, GONE = 0.5, 0.1


@dataclass(frozen=True)
class ProcessScene(Scene):
    """A scene whose first things, `parts` of them, are one object, with label 1, that changes; others have 2 and more.

    Attributes:
        parts: How many things the object is made of.
        verb: What it does, as in "the red object that melts".
        colour: What its colour is called.
    """

    parts: int = 1
    verb: str = ""
    colour: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """What the object may be called."""
        return f"the object that {self.verb}", f"the {self.colour} object that {self.verb}"

    def picture(self, time: float = 0.0) -> Picture:
        """Returns the photograph and its truth; its labels are those of `labels`."""
        return replace(super().picture(time), labels=self.labels(time))

    def labels(self, time: float = 0.0) -> UInt16[np.ndarray, "h w"]:
        """Returns which object each pixel shows; 255 where nobody can say."""
        surfaces = self.surfaces(time)
        labels = np.where(surfaces > self.parts, surfaces - self.parts + 1, surfaces > 0).astype(np.uint16)
        if any(pose.opacity < 1 for pose in self.placed(time)):
            seen = self.alpha(time)[: self.parts].sum(0)
            labels[(seen > GONE) & (seen < SURE)] = VOID
        return labels


def _grows(random: Generator, thing: Thing, frames: int) -> tuple[Thing, ...]:
    start = replace(thing.path.start, radius=0.35 * thing.path.start.radius)
    return (replace(thing, path=Path(start, (0, 0, float(np.log(4) / frames), 0, 0))),)


def _melts(random: Generator, thing: Thing, frames: int) -> tuple[Thing, ...]:
    """What stands sinks and shrinks; a flat pool below it grows."""
    pose = thing.path.start
    standing = Path(pose, (0, 0.7 * pose.radius / frames, -float(np.log(3.5) / frames), 0, 0))
    flat = replace(random_shape(random, "blob"), squeeze=0.3)
    pool = random_thing(
        random,
        flat,
        thing.materials[:1],
        Path(
            Pose(pose.x, pose.y + 0.85 * pose.radius, 0.25 * pose.radius, 0.0),
            (0, 0, float(np.log(6) / frames), 0, 0),
        ),
    )
    return pool, replace(thing, path=standing)


def _splits(random: Generator, thing: Thing, frames: int) -> tuple[Thing, ...]:
    """Three pieces, one in front of the others at first, go apart after a third of the clip."""
    pose, first = thing.path.start, float(random.uniform(0, 6.28))
    pieces = []
    for index in range(3):
        angle = first + index * 2 * np.pi / 3
        push = 1.6 * pose.radius / frames
        path = Path(
            replace(pose, radius=0.7 * pose.radius),
            (float(np.cos(angle)) * push, float(np.sin(angle)) * push, 0, float(random.normal(0, 0.02)), 0),
        )
        pieces.append(replace(thing, path=path))
    return tuple(pieces)


def _fades(random: Generator, thing: Thing, frames: int) -> tuple[Thing, ...]:
    return (replace(thing, path=replace(thing.path, fading=(0.25 * frames, 0.9 * frames))),)


def _spreads(random: Generator, thing: Thing, frames: int) -> tuple[Thing, ...]:
    """Drops run out of one place and grow."""
    pose = thing.path.start
    drops = []
    for index in range(7):
        angle, pace = index * 2.4 + float(random.normal(0, 0.3)), float(random.uniform(0.6, 1.1)) * pose.radius / frames
        start = Pose(pose.x, pose.y, 0.2 * pose.radius, float(random.uniform(0, 6.28)))
        velocity = (float(np.cos(angle)) * pace, float(np.sin(angle)) * pace, float(np.log(3.2) / frames), 0.0, 0.0)
        drops.append(random_thing(random, random_shape(random, "blob"), thing.materials[:1], Path(start, velocity)))
    return tuple(drops)


PROCESSES: Mapping[str, tuple[str, Callable[[Generator, Thing, int], Sequence[Thing]]]] = MappingProxyType(
    {
        "grow": ("grows", _grows),
        "melt": ("melts", _melts),
        "split": ("falls apart", _splits),
        "fade": ("fades", _fades),
        "spread": ("spreads", _spreads),
    }
)


def process_scene(name: str, seed: int, height: int = 270, width: int = 480, frames: int = 48) -> ProcessScene:
    """Returns a scene in which one object changes and at least one other does not.

    Args:
        name: A name of `PROCESSES`.
        seed: Decides everything in the scene.
        height: Picture height in pixels.
        width: Picture width in pixels.
        frames: How long the change takes.

    Raises:
        ValueError: if no process has that name.
    """
    if name not in PROCESSES:
        raise ValueError(f"process '{name}' is not one of {', '.join(PROCESSES)}")
    verb, change = PROCESSES[name]
    random = np.random.default_rng((seed, 37))
    calm = calm_scene(seed, (height, width), radius=(0.16, 0.24))
    attempt = 0
    while len(calm.things) < 2:
        attempt += 1
        calm = calm_scene(seed + 10_000 * attempt, (height, width), radius=(0.16, 0.24))
    chosen, *others = calm.things
    parts = tuple(change(random, chosen, frames))
    colour = name_of(chosen.materials[0].colour)
    scene = {each: getattr(calm, each) for each in Scene.__dataclass_fields__}
    return ProcessScene(
        **scene | {"things": (*parts, *others), "seed": seed}, parts=len(parts), verb=verb, colour=colour
    )


@dataclass(frozen=True)
class ProcessClip(WorldClip):
    """One clip of `world-process`; its family is the name of a process."""

    def scene(self) -> ProcessScene:
        """Returns the clip's scene."""
        return process_scene(self.family, self.seed, self.height, self.width, self.frames)


PROCESS_CLIPS = tuple(
    ProcessClip(f"{name}-{number:02d}", name, FIRST_BENCHMARK_SEED + 5000 + 10 * place + number)
    for place, name in enumerate(PROCESSES)
    for number in range(2)
)
