"""Captions: full sentences about what a scene shows, from a small closed vocabulary."""

from collections.abc import Sequence

from numpy.random import Generator

from undertow.world import shapes
from undertow.world.materials import NAMES, name_of
from undertow.world.things import Thing

TEXTURES = {
    "cloudy": "cloudy",
    "grained": "grainy",
    "striped": "striped",
    "wavy": "wavy",
    "checked": "checked",
    "dotted": "dotted",
    "cracked": "cracked",
    "plain": "plain",
    "natural": "natural",
}
# Words that came later, for expressions of `undertow.world.expressions`. A tokenizer numbers words in this order.
LATER = (
    "the that which moves moving stands still turns turning grows shrinks goes enters leaves returns comes back up "
    "down fast slowly quickly from largest smallest bigger smaller leftmost rightmost highest lowest above below "
    "behind front between next same other first second third darkest brightest object background it its with without "
    "while then near far towards away"
)
COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven")


def phrase(thing: Thing, size: tuple[int, int]) -> str:
    """Returns a noun phrase for a thing, such as "large striped red disc"; `size` is the picture's (height, width)."""
    share = thing.path.start.radius / min(size)
    adjective = "small " if share < 0.17 else "large " if share > 0.27 else ""
    material = thing.materials[0]
    return f"{adjective}{TEXTURES[material.kind]} {name_of(material.colour)} {thing.shape.kind}"


def place(thing: Thing, size: tuple[int, int]) -> str:
    """Returns where a thing stands at time 0, such as "on the left" or "in the middle"."""
    x, y = thing.path.start.x / size[1], thing.path.start.y / size[0]
    if max(abs(x - 0.5), abs(y - 0.5)) < 0.17:
        return "in the middle"
    if abs(x - 0.5) > abs(y - 0.5):
        return "on the left" if x < 0.5 else "on the right"
    return "at the top" if y < 0.5 else "at the bottom"


def describe(random: Generator, things: Sequence[Thing], size: tuple[int, int]) -> str:
    """Returns one full sentence about the scene, worded in one of several ways."""
    same = [thing for thing in things if thing.shape is things[0].shape]
    first = things[0]
    if len(same) > 1 and random.random() < 0.7:
        return f"there are {COUNTS[min(len(same), 7)]} {phrase(first, size)} shapes."
    if len(things) > 1 and random.random() < 0.6:
        second = things[1]
        side = "left" if first.path.start.x < second.path.start.x else "right"
        relation = f"to the {side} of" if random.random() < 0.6 else "and"
        return f"a {phrase(first, size)} {relation} a {phrase(second, size)}."
    if random.random() < 0.5:
        return f"a {phrase(first, size)} is {place(first, size)}."
    return f"the picture shows a {phrase(first, size)} {place(first, size)}."


def vocabulary_words() -> list[str]:
    """Returns every word and mark that captions and expressions can use, each once; new ones are only ever appended."""
    frame = "there are shapes a is to the left right of and picture shows on in at middle top bottom small large . ,"
    return list(dict.fromkeys([*frame.split(), *COUNTS, *TEXTURES.values(), *NAMES, *shapes.KINDS, *LATER.split()]))
