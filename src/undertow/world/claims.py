"""Claims: what words say of every layer of a scene, as yes, no, or too close to call.

An expression is unambiguous only if its claims are clearly true of the target and one of them clearly false of every
other layer, so each measure has a margin in which a claim is neither.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from undertow.world.facts import Facts

Verdict = bool | None
# Fewer visible pixels than this are neither seen nor unseen.
LEAST = 30
RELATIONS = ("to the left of", "to the right of", "above", "below", "near", "far from", "in front of", "behind")


@dataclass(frozen=True)
class Claim:
    """Words and, for each layer, whether they are true of it.

    `slot` says where the words stand: "size", "texture" or "colour" before the noun, "noun", or "clause" after it.
    `kind` is what is spoken of.
    """

    kind: str
    slot: str
    words: str
    holds: tuple[Verdict, ...]


@dataclass(frozen=True)
class Ranking:
    """A superlative: the layer with the highest score by at least `margin`; a score of None takes no part.

    A score that is not a number is unclear, and no superlative is given where it takes part.
    """

    kind: str
    words: str
    scores: tuple[float | None, ...]
    margin: float

    def first(self, layers: Sequence[int]) -> int | None:
        """Returns which of `layers` clearly has the highest score, None if none has or only one takes part."""
        scored = [(score, layer) for layer in layers if (score := self.scores[layer]) is not None]
        if len(scored) < 2 or any(np.isnan(score) for score, _ in scored):
            return None
        (best, layer), (second, _) = sorted(scored, reverse=True)[:2]
        return layer if best - second >= self.margin else None


def between(value: float, no: float, yes: float) -> Verdict:
    """Returns True on the side of `yes`, False on the side of `no`, None between them."""
    if (value - yes) * (yes - no) >= 0:
        return True
    return False if (value - no) * (no - yes) >= 0 else None


def both(first: Verdict, second: Verdict) -> Verdict:
    """Returns whether two claims hold together: one clear no is enough for no."""
    if first is False or second is False:
        return False
    return None if first is None or second is None else True


def shown(facts: Facts) -> Verdict:
    """Returns whether a layer is in the first picture."""
    return True if facts.seen[0] >= LEAST else None if facts.seen[0] else False


def looks_claims(facts: Sequence[Facts]) -> list[Claim]:
    """Returns claims of shape, texture and colour; a colour or texture of a minor part makes them unclear."""
    claims = []
    for kind in dict.fromkeys(each.looks.kind for each in facts):
        claims.append(Claim("shape", "noun", kind, tuple(each.looks.kind == kind for each in facts)))
    for word in dict.fromkeys(each.looks.texture for each in facts if each.looks.texture):
        holds = tuple(_main(each.looks.texture, each.looks.textures, word) for each in facts)
        claims.append(Claim("texture", "texture", word, holds))
    for word in dict.fromkeys(each.looks.colour for each in facts if each.looks.colour):
        holds = tuple(_main(each.looks.colour, each.looks.colours, word) for each in facts)
        claims.append(Claim("colour", "colour", word, holds))
    return claims


def _main(main: str | None, all_parts: frozenset[str], word: str) -> Verdict:
    return True if main == word else None if word in all_parts else False


def size_claims(facts: Sequence[Facts], size: tuple[int, int]) -> list[Claim]:
    """Returns "small" and "large", of things in the first picture."""
    shares = [float(each.radius[0]) / min(size) for each in facts]
    limits = {"small": (0.19, 0.155), "large": (0.24, 0.28)}
    there = [shown(each) for each in facts]
    return [
        Claim("size", "size", word, tuple(both(t, between(s, *ends)) for t, s in zip(there, shares, strict=True)))
        for word, ends in limits.items()
    ]


def place_claims(facts: Sequence[Facts], size: tuple[int, int]) -> list[Claim]:
    """Returns where things are in the first picture, such as "on the left"."""
    height, width = size
    spots = [(each.centre[0] / width, each.centre[1] / height) for each in facts]
    measures: dict[str, tuple[Callable[[float, float], float], float, float]] = {
        "on the left": (lambda x, y: x, 0.48, 0.38),
        "on the right": (lambda x, y: x, 0.52, 0.62),
        "at the top": (lambda x, y: y, 0.48, 0.36),
        "at the bottom": (lambda x, y: y, 0.52, 0.64),
        "in the middle": (lambda x, y: max(abs(x - 0.5), abs(y - 0.5)), 0.24, 0.15),
    }
    return [
        Claim(
            "position",
            "clause",
            words,
            tuple(both(shown(f), between(measure(*spot), no, yes)) for f, spot in zip(facts, spots, strict=True)),
        )
        for words, (measure, no, yes) in measures.items()
    ]


def relation_claims(facts: Sequence[Facts], anchor: int, name: str, size: tuple[int, int]) -> list[Claim]:
    """Returns how things of the first picture stand to layer `anchor`, which is called `name` there."""
    height, width = size
    ax, ay = facts[anchor].centre
    reach = float(facts[anchor].radius[0])

    def front(index: int, hides: bool) -> Verdict:
        near, far = (index, anchor) if hides else (anchor, index)
        overlap = facts[near].over.get(far, 0)
        return True if overlap >= LEAST else None if overlap else False

    def sides(index: int) -> dict[str, Verdict]:
        x, y = facts[index].centre
        distance = float(np.hypot(x - ax, y - ay)) / (reach + float(facts[index].radius[0]))
        return {
            "to the left of": between((ax - x) / width, 0.01, 0.06),
            "to the right of": between((x - ax) / width, 0.01, 0.06),
            "above": between((ay - y) / height, 0.01, 0.08),
            "below": between((y - ay) / height, 0.01, 0.08),
            "near": between(distance, 2.4, 1.5),
            "far from": between(distance, 2.4, 4.0),
            "in front of": front(index, hides=True),
            "behind": front(index, hides=False),
        }

    tables = [{} if index == anchor else sides(index) for index in range(len(facts))]
    return [
        Claim(
            "relation",
            "clause",
            f"{words} {name}",
            tuple(both(shown(f), table.get(words, False)) for f, table in zip(facts, tables, strict=True)),
        )
        for words in RELATIONS
    ]


def rankings(facts: Sequence[Facts], size: tuple[int, int]) -> list[Ranking]:
    """Returns the superlatives of the first picture: place, size and brightness."""
    height, width = size

    def scores(measure: Callable[[Facts], float]) -> tuple[float | None, ...]:
        found: list[float | None] = []
        for each in facts:
            there = shown(each)
            found.append(measure(each) if there else None if there is False else float("nan"))
        return tuple(found)

    return [
        Ranking("position", "leftmost", scores(lambda f: -f.centre[0] / width), 0.05),
        Ranking("position", "rightmost", scores(lambda f: f.centre[0] / width), 0.05),
        Ranking("position", "highest", scores(lambda f: -f.centre[1] / height), 0.06),
        Ranking("position", "lowest", scores(lambda f: f.centre[1] / height), 0.06),
        Ranking("size", "largest", scores(lambda f: float(np.log(f.seen[0]))), 0.35),
        Ranking("size", "smallest", scores(lambda f: -float(np.log(f.seen[0]))), 0.35),
        Ranking("light", "brightest", scores(lambda f: f.brightness), 0.08),
        Ranking("light", "darkest", scores(lambda f: -f.brightness), 0.08),
    ]
