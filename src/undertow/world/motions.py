"""Claims of what happens over a clip: moving, turning, growing, entering, leaving and coming back."""

from collections.abc import Sequence

import numpy as np

from undertow.world.claims import LEAST, Claim, Ranking, Verdict, between, both
from undertow.world.facts import Facts

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
