"""What captions of training pictures say: some of the objects, in any order, each by some of what is true of it.

At use a model reads one expression, such as "the striped disc on the left", and in training captions of everything from
that to all objects. Which object is meant is never said in any other way: no loss reads a mask.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from undertow.world.scene import Scene
from undertow.world.truth import looks_of


@dataclass(frozen=True)
class Mention:
    """What can be said of one object: words, empty where nothing clear is true, and where its middle is.

    `x` and `y` are shares of the picture's width and height, `radius` is one of its shorter side.
    """

    texture: str
    colour: str
    noun: str
    x: float
    y: float
    radius: float

    def mirrored(self) -> "Mention":
        """Returns what is true of the object once left and right have changed places."""
        return Mention(self.texture, self.colour, self.noun, 1 - self.x, self.y, self.radius)


# Fewer pixels than this share of the picture are too few to speak of.
LEAST = 0.003
# As in the claims of `undertow.world.claims`: below and above, nobody would object to the word.
SMALL, LARGE = 0.155, 0.28


def mentions_of(scene: Scene) -> list[Mention]:
    """Returns what can be said of each object that the first picture clearly shows."""
    labels = scene.labels(0.0)
    found = []
    for number, (thing, pose) in enumerate(zip(scene.things, scene.placed(0.0), strict=False), start=1):
        rows, columns = np.nonzero(labels == number)
        if rows.size < LEAST * labels.size:
            continue
        looks = looks_of(thing)
        found.append(
            Mention(
                looks.texture or "",
                looks.colour or "",
                looks.kind,
                float((columns.mean() + 0.5) / scene.size[1]),
                float((rows.mean() + 0.5) / scene.size[0]),
                pose.radius / min(scene.size),
            )
        )
    return found


MOST = 5


def caption_of(random: Generator, mentions: Sequence[Mention], talk: float = 0.5) -> str:
    """Returns a caption of one to five of the objects; empty if there is none to speak of.

    Args:
        random: Draws what is said.
        mentions: What can be said of each object.
        talk: How likely all objects are named, and where each is; the more, the likelier also its looks.
    """
    if not mentions:
        return ""
    full = min(MOST, len(mentions))
    count = full if random.random() < talk else int(random.integers(1, full + 1))
    chosen = [int(index) for index in random.permutation(len(mentions))[:count]]
    article = "the" if random.random() < 0.5 else "a"
    return ", ".join(_phrase(random, mentions, index, article, talk) for index in chosen)


# How often an object is called by what it is the most of, or by where it stands to another one, if that is clear.
SUPERLATIVES, RELATIONS = 0.2, 0.15


def _phrase(random: Generator, mentions: Sequence[Mention], index: int, article: str, talk: float) -> str:
    mention = mentions[index]
    size = "small" if mention.radius < SMALL else "large" if mention.radius > LARGE else ""
    said = [(size, 0.5), (mention.texture, 0.6), (mention.colour, 0.7 + 0.3 * talk)]
    words = [article, *(word for word, chance in said if word and random.random() < chance)]
    most = _superlatives(mentions, index)
    if most and random.random() < SUPERLATIVES:
        words = ["the", str(random.choice(most)), *words[2 if words[1:2] == [size] else 1 :]]
    words.append(mention.noun if random.random() < 0.85 else "object")
    others = [each for place, each in enumerate(mentions) if place != index]
    if others and random.random() < RELATIONS:
        words.append(_relation(mention, others[int(random.integers(len(others)))]))
    elif random.random() < talk:
        words.append(_place(random, mention))
    return " ".join(words).rstrip()


def _superlatives(mentions: Sequence[Mention], index: int) -> list[str]:
    """Returns what an object clearly is the most of among all."""
    measures = {
        "leftmost": [-each.x for each in mentions],
        "rightmost": [each.x for each in mentions],
        "highest": [-each.y for each in mentions],
        "lowest": [each.y for each in mentions],
        "largest": [float(np.log(each.radius)) for each in mentions],
        "smallest": [-float(np.log(each.radius)) for each in mentions],
    }
    return [
        word
        for word, values in measures.items()
        if len(values) > 1 and values[index] - max(values[:index] + values[index + 1 :]) > 0.07
    ]


def _relation(mention: Mention, other: Mention) -> str:
    """Returns where an object stands to another one, by the axis along which they are farther apart."""
    across, down = other.x - mention.x, other.y - mention.y
    if max(abs(across), abs(down)) < 0.1:
        where = "near"
    elif abs(across) > abs(down):
        where = "to the left of" if across > 0 else "to the right of"
    else:
        where = "above" if down > 0 else "below"
    return f"{where} the {other.colour} {other.noun}".replace("  ", " ")


def _place(random: Generator, mention: Mention) -> str:
    """Returns where the object is, by one of the words that are clearly true."""
    true = [
        words
        for words, holds in {
            "on the left": mention.x < 0.4,
            "on the right": mention.x > 0.6,
            "at the top": mention.y < 0.38,
            "at the bottom": mention.y > 0.62,
            "in the middle": max(abs(mention.x - 0.5), abs(mention.y - 0.5)) < 0.15,
        }.items()
        if holds
    ]
    return str(random.choice(true)) if true else ""
