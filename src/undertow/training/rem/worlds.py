"""Procedural clips and pictures with expressions: of looks and places, motion, entrance, relation, groups and nothing.

An item is a function of its number alone. Its seeds are far from those of every other training, of validation and of
benchmarks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy.random import Generator

from undertow.training.rem.data import Item
from undertow.world import FAMILIES, FIRST_VALIDATION_SEED, Expression, Scene, scene_expressions, scene_facts
from undertow.world.calm import calm_scene
from undertow.world.photographs import read_photograph
from undertow.world.shapes import KINDS

FIRST_REM_SEED = 500_000_000
MOVING = frozenset({"motion", "entrance"})
# What expressions are drawn from first, so that they are not all about colours.
EVENTS = MOVING | {"relation", "group"}
FAMILIES_SEEN = (*("plain",) * 3, "entrances", "leaves", "fast", "look-alikes", "occlusion", "light", "camera")


class _Drawn:
    """What is drawn as it is asked for: so many items, and nothing on disk that could be wrong."""

    count: int

    def __len__(self) -> int:
        """Returns the number of items."""
        return self.count

    def problems(self) -> Iterator[str]:
        """Yields nothing: items are drawn, not read."""
        return iter(())


@dataclass(frozen=True)
class World(_Drawn):
    """Clips of the procedural world, as a `Source`.

    Attributes:
        count: Number of clips.
        frames: Frames of a clip.
        size: (height, width) of the pictures.
        first: Seed of the first clip.
        families: Kinds of scene, drawn alike.
        spacing: Most frames of the world from one of a clip to the next; each number is drawn alike.
        expressions: Most expressions of a clip.
        events: Share of the expressions that are about motion, entrance, relation or a group, if there are any.
        absent: Share of the clips that also have an expression of what is not there.
        photographs: What half of the calm scenes are in front of; none for quiet grounds alone.
        name: Of the source.
    """

    count: int = 2000
    frames: int = 9
    size: tuple[int, int] = (64, 96)
    first: int = FIRST_REM_SEED
    families: tuple[str, ...] = FAMILIES_SEEN
    spacing: int = 3
    expressions: int = 5
    events: float = 0.45
    absent: float = 0.5
    photographs: tuple[Path, ...] = ()
    name: str = "world"
    clips: bool = True
    draws: int = 1

    def item(self, number: int, draw: int = 0) -> Item:
        """Returns a clip; there is one draw of each."""
        scene, times, chosen = self.scene(number)
        pictures = [scene.picture(time) for time in times]
        labels = np.stack([picture.labels for picture in pictures])
        masks = np.stack([np.isin(labels, each.labels) for each in chosen])
        still = tuple(not MOVING & set(each.kinds) for each in chosen)
        return Item(np.stack([each.image for each in pictures]), tuple(each.text for each in chosen), masks, still)

    def scene(self, number: int) -> tuple[Scene, tuple[float, ...], list[Expression]]:
        """Returns the scene of a clip, the times of its frames, and its expressions.

        Raises:
            ValueError: if the number is so high that its seed is held out for something else.
        """
        seed = self.first + number
        if self.first < FIRST_VALIDATION_SEED <= seed:
            raise ValueError("training seeds must stay below the held-out ones")
        random = np.random.default_rng((seed, 31))
        family = FAMILIES[str(random.choice(self.families))]
        spacing = int(random.integers(1, self.spacing + 1))
        length = spacing * (self.frames - 1) + 1
        world = replace(family.settings, height=self.size[0], width=self.size[1], leaves=60)
        if family.name != "leaves":
            # Events happen within the clip.
            world = replace(world, staging=replace(world.staging, frames=max(12, length)))
        behind = _behind(random, self.photographs, self.size) if family.name == "calm" else None
        scene = family.build(seed, world) if behind is None else calm_scene(seed, self.size, behind, frames=length)
        expressions = scene_expressions(scene, 12, length)
        chosen = _chosen(random, expressions, self.expressions, self.events)
        if not chosen or random.random() < self.absent:
            chosen.append(_absent(random, scene, length))
        return scene, tuple(float(spacing * frame) for frame in range(self.frames)), chosen


@dataclass(frozen=True)
class Calm(_Drawn):
    """Pictures of calm scenes, some of them in front of photographs, as a `Source`.

    Attributes:
        count: Number of pictures.
        size: (height, width) of the pictures.
        photographs: What half of the scenes are in front of; none for quiet grounds alone.
        first: Seed of the first picture.
        expressions: Most expressions of a picture.
        absent: Share of the pictures that also have an expression of what is not there.
        name: Of the source.
    """

    count: int = 2000
    size: tuple[int, int] = (64, 96)
    photographs: tuple[Path, ...] = ()
    first: int = FIRST_REM_SEED + 10**7
    expressions: int = 5
    absent: float = 0.5
    name: str = "calm"
    clips: bool = False
    draws: int = 1

    def item(self, number: int, draw: int = 0) -> Item:
        """Returns a picture; there is one draw of each."""
        scene, chosen = self.scene(number)
        picture = scene.picture(0.0)
        masks = np.stack([np.isin(picture.labels, each.labels)[None] for each in chosen])
        return Item(picture.image[None], tuple(each.text for each in chosen), masks, (True,) * len(chosen))

    def scene(self, number: int) -> tuple[Scene, list[Expression]]:
        """Returns the scene of a picture and its expressions."""
        random = np.random.default_rng((self.first + number, 31))
        behind = _behind(random, self.photographs, self.size)
        scene = calm_scene(self.first + number, self.size, behind)
        expressions = [each for each in scene_expressions(scene, 12, 2) if not MOVING & set(each.kinds)]
        chosen = _chosen(random, expressions, self.expressions, 0.3)
        if not chosen or random.random() < self.absent:
            chosen.append(_absent(random, scene, 2))
        return scene, chosen


def _behind(random: Generator, photographs: Sequence[Path], size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"] | None:
    """Returns a photograph for half of the scenes, if there are any."""
    if not photographs or random.random() >= 0.5:
        return None
    shorter = int(max(size) * random.uniform(1.5, 2.5))
    return read_photograph(photographs[int(random.integers(len(photographs)))], shorter)


def _chosen(random: Generator, expressions: Sequence[Expression], most: int, events: float) -> list[Expression]:
    """Returns at most so many expressions, a share of them of events if there are as many, moving things first."""
    order = [expressions[int(i)] for i in random.permutation(len(expressions))]
    happening = [each for each in order if EVENTS & set(each.kinds)]
    happening.sort(key=lambda each: not MOVING & set(each.kinds))
    plain = [each for each in order if each not in happening]
    wanted = round(events * most)
    chosen = happening[:wanted] + plain[: most - min(wanted, len(happening))]
    return (chosen + happening[wanted:])[:most]


def _absent(random: Generator, scene: Scene, length: int) -> Expression:
    """Returns an expression of a shape that nothing in the scene has."""
    shapes = {each.looks.kind for each in scene_facts(scene, length)}
    kind = str(random.choice([each for each in KINDS if each not in shapes]))
    colour = str(random.choice(["", "red", "blue", "green", "white", "black", "yellow"]))
    return Expression(" ".join(word for word in ("the", colour, kind) if word), (), ("shape",))
