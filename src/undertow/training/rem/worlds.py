"""Procedural clips with expressions: of looks and places, and many of motion, entrance, relation, groups and nothing.

An item is a function of its number alone. Its seeds are far from those of every other training, of validation and of
benchmarks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
from numpy.random import Generator

from undertow.training.rem.data import Item
from undertow.world import FAMILIES, FIRST_VALIDATION_SEED, Expression, Scene, scene_expressions, scene_facts
from undertow.world.shapes import KINDS

FIRST_REM_SEED = 500_000_000
MOVING = frozenset({"motion", "entrance"})
# What expressions are drawn from first, so that they are not all about colours.
EVENTS = MOVING | {"relation", "group"}


@dataclass(frozen=True)
class World:
    """Clips of the procedural world, as a `Source`.

    Attributes:
        count: Number of clips.
        frames: Frames of a clip.
        size: (height, width) of the pictures.
        first: Seed of the first clip.
        families: Kinds of scene, drawn alike.
        spacings: Times between frames, in the world's frames, of which a clip draws one.
        expressions: Most expressions of a clip.
        events: Share of the expressions that are about motion, entrance, relation or a group, if there are any.
        absent: Share of the clips that also have an expression of what is not there.
        name: Of the source.
    """

    count: int = 2000
    frames: int = 9
    size: tuple[int, int] = (64, 96)
    first: int = FIRST_REM_SEED
    families: tuple[str, ...] = ("plain", "plain", "entrances", "leaves", "fast", "look-alikes")
    spacings: tuple[float, ...] = (1.0, 2.0, 3.0)
    expressions: int = 5
    events: float = 0.45
    absent: float = 0.5
    name: str = "world"
    clips: bool = True
    draws: int = 1

    def __len__(self) -> int:
        """Returns the number of clips."""
        return self.count

    def problems(self) -> Iterator[str]:
        """Yields nothing: clips are drawn, not read."""
        return iter(())

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
        spacing = float(random.choice(self.spacings))
        length = ceil(spacing * (self.frames - 1)) + 1
        world = replace(family.settings, height=self.size[0], width=self.size[1], leaves=60)
        if family.name != "leaves":
            # Events happen within the clip.
            world = replace(world, staging=replace(world.staging, frames=max(12, length)))
        scene = family.build(seed, world)
        expressions = scene_expressions(scene, 12, length)
        chosen = self._chosen(random, expressions)
        if not chosen or random.random() < self.absent:
            chosen.append(_absent(random, scene, length))
        return scene, tuple(spacing * frame for frame in range(self.frames)), chosen

    def _chosen(self, random: Generator, expressions: Sequence[Expression]) -> list[Expression]:
        order = [expressions[int(i)] for i in random.permutation(len(expressions))]
        events = [each for each in order if EVENTS & set(each.kinds)]
        plain = [each for each in order if each not in events]
        wanted = round(self.events * self.expressions)
        chosen = events[:wanted] + plain[: self.expressions - min(wanted, len(events))]
        return (chosen + events[wanted:])[: self.expressions]


def _absent(random: Generator, scene: Scene, length: int) -> Expression:
    """Returns an expression of a shape that nothing in the scene has."""
    shapes = {each.looks.kind for each in scene_facts(scene, length)}
    kind = str(random.choice([each for each in KINDS if each not in shapes]))
    colour = str(random.choice(["", "red", "blue", "green", "white", "black", "yellow"]))
    return Expression(" ".join(word for word in ("the", colour, kind) if word), (), ("shape",))
