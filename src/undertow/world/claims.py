"""Claims: what words say of every layer of a scene, as yes, no, or too close to call.

An expression is unambiguous only if its claims are clearly true of the target and one of them clearly false of every
other layer, so each measure has a margin in which a claim is neither.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from undertow.world.truth import Facts

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


SIDES = ("left", "right", "top", "bottom")


def motion_claims(facts: Sequence[Facts], size: tuple[int, int]) -> list[Claim]:
    """Returns how layers move in the picture between the first and the last frame of the clip."""
    tables = [_motion(each, size) for each in facts]
    words = dict.fromkeys(word for table in tables for word in table)
    return [Claim("motion", "clause", f"that {each}", tuple(table[each] for table in tables)) for each in words]


def _motion(facts: Facts, size: tuple[int, int]) -> dict[str, Verdict]:
    """Returns what one layer does; unclear where it is hardly ever seen."""
    height, width = size
    short = min(size)
    dx, dy = facts.places[-1] - facts.places[0]
    away = float(np.hypot(*(facts.places - facts.places[0]).T).max()) / short
    step = float(np.hypot(*np.diff(facts.places, axis=0).T).mean()) / short
    turn = float(np.ptp(facts.angle))
    grown = float(facts.radius[-1] / facts.radius[0])
    still = both(both(between(away, 0.06, 0.03), between(turn, 0.5, 0.25)), between(abs(np.log(grown)), 0.15, 0.07))
    verdicts = {
        "moves to the left": between(-dx / width, 0.04, 0.12),
        "moves to the right": between(dx / width, 0.04, 0.12),
        "moves up": between(-dy / height, 0.05, 0.15),
        "moves down": between(dy / height, 0.05, 0.15),
        "moves quickly": between(step, 0.02, 0.035),
        "moves slowly": both(between(step, 0.008, 0.005), between(away, 0.03, 0.06)),
        "stands still": still,
        "turns": between(turn, 0.4, 1.0),
        "grows": between(grown, 1.1, 1.25),
        "shrinks": between(grown, 0.91, 0.8),
    }
    watched = float((facts.seen >= LEAST).mean()) >= 0.4
    return {words: verdict if watched or verdict is False else None for words, verdict in verdicts.items()}


def entrance_claims(facts: Sequence[Facts], size: tuple[int, int]) -> list[Claim]:
    """Returns which layers come into the picture, leave it, or come back."""
    tables = []
    for each in facts:
        enters, leaves, returns = _enters(each), _leaves(each), _returns(each)
        came_from = {side: both(enters, _side(each, side, size)) for side in SIDES}
        tables.append(
            {
                "enters": enters,
                **{f"enters from the {side}": verdict for side, verdict in came_from.items()},
                "leaves the picture": leaves,
                "leaves and comes back": returns,
                "returns": returns,
            }
        )
    words = dict.fromkeys(word for table in tables for word in table)
    return [Claim("entrance", "clause", f"that {each}", tuple(table[each] for table in tables)) for each in words]


def entrance_order(facts: Sequence[Facts]) -> list[Ranking]:
    """Returns the order of entering; it ranks only layers that enter, and by at least three frames."""
    frames = tuple(float(np.argmax(each.inside > 0)) if _enters(each) else None for each in facts)
    entering = sorted(frame for frame in frames if frame is not None)
    if any(_enters(each) is None for each in facts) or len(entering) < 2 or np.diff(entering).min() < 3:
        return []
    names = ("first", "second", "third")[: len(entering)]
    return [
        # Each place in the order is a ranking of its own: nearest to that place's frame.
        Ranking("entrance", name, tuple(None if f is None else -abs(f - frame) for f in frames), 3.0)
        for name, frame in zip(names, entering, strict=False)
    ]


def _enters(facts: Facts) -> Verdict:
    if facts.inside[0]:
        return False
    most = facts.seen.max()
    return True if most >= LEAST else None if most else False


def _leaves(facts: Facts) -> Verdict:
    """Tells whether a layer that was seen is out of the picture later; a corner left behind is unclear."""
    there = np.nonzero(facts.seen >= LEAST)[0]
    if not there.size:
        return False
    least = facts.inside[there[0] :].min()
    return True if least == 0 else None if least < LEAST else False


def _returns(facts: Facts) -> Verdict:
    """Tells whether a layer was seen, was out of the picture for two frames or more, and was seen again."""
    there = np.nonzero(facts.seen >= LEAST)[0]
    if not there.size:
        return False
    out = facts.inside[there[0] : there[-1] + 1] < LEAST
    if not out.any():
        return False
    gone = facts.inside[there[0] : there[-1] + 1] == 0
    return True if (gone[1:] & gone[:-1]).any() else None


def _side(facts: Facts, side: str, size: tuple[int, int]) -> Verdict:
    """Tells whether a layer first shows at one side of the picture; unclear near corners."""
    x, y = facts.places[int(np.argmax(facts.inside > 0))]
    depths = {"left": x, "right": size[1] - x, "top": y, "bottom": size[0] - y}
    own = depths.pop(side)
    return between(min(depths.values()) - own, 0.0, 0.1 * min(size))
