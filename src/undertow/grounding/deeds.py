"""What a sentence says that a thing does, such as "the disc that moves up", and how far a track of masks does it.

A small model that answers with masks hardly knows motion, but masks that are tracked show it. So the words before the
verb say what may be meant, and the verb is held against the tracks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool

from undertow.grounding.words import parse_expression

Deed = Literal["left", "right", "up", "down", "go", "stay", "grow", "shrink", "enter", "leave"]

# Verbs as they follow "that", and as they follow a noun.
_VERBS: dict[Deed, str] = {
    "go": "moves goes walks runs drives rides flies swims slides drifts heads travels "
    "moving going walking running driving riding flying swimming sliding drifting heading travelling traveling",
    "up": "rises climbs rising climbing",
    "down": "falls drops sinks falling dropping sinking",
    "stay": "stands stays standing staying",
    "grow": "grows growing",
    "shrink": "shrinks shrinking",
    "enter": "enters appears arrives entering appearing arriving",
    "leave": "leaves exits disappears vanishes leaving exiting disappearing vanishing",
}
_DEEDS: dict[str, Deed] = {verb: deed for deed, verbs in _VERBS.items() for verb in verbs.split()}
_WAYS: dict[str, Deed] = {
    "left": "left", "leftwards": "left", "right": "right", "rightwards": "right",
    "up": "up", "upwards": "up", "down": "down", "downwards": "down",
}  # fmt: skip
_PRONOUNS = ("that", "which", "who")
# Words between what a thing is called and its verb.
_BETWEEN = (*_PRONOUNS, "that's", "who's", "is", "are", "was", "were", "quickly", "slowly")
# A way of this share of the picture, or a change of a radius by this factor, is done for sure.
FAR, NEAR, FACTOR = 0.2, 0.1, 1.22
# Less of the picture than this counts as nothing.
LEAST = 5e-4


@dataclass(frozen=True)
class Said:
    """A sentence taken apart.

    Attributes:
        phrase: What the thing is called, such as "the disc".
        deed: What it does.
    """

    phrase: str
    deed: Deed


def said_of(text: str) -> Said | None:
    """Returns what a sentence says that one thing does; `None` if it says nothing of which tracks could tell.

    >>> said_of("the red disc that moves to the left")
    Said(phrase='the red disc', deed='left')
    >>> said_of("the leaves on the left")
    """
    expression = parse_expression(text)
    words = [word.text.replace("’", "'") for word in expression.words]
    for place, word in enumerate(words):
        if word not in _DEEDS or not (word.endswith("ing") or words[place - 1 : place] in [[p] for p in _PRONOUNS]):
            continue
        called, after = place, words[place + 1 :]
        while called and words[called - 1] in _BETWEEN:
            called -= 1
        if not any(each.role == "kept" for each in expression.words[:called]):
            # "The walking man": he may do something else, too.
            continue
        # "That leaves and comes back" is more than one deed, and how slow is slow no track tells.
        if expression.plural or "back" in after or "slowly" in words[called:]:
            return None
        phrase = expression.text[: expression.words[called - 1].end]
        deed = _DEEDS[word]
        if deed == "stay" and "still" not in after:
            return None
        ways = [_WAYS[words[at]] for at in range(place + 1, len(words)) if _is_way(words, at)]
        if deed == "go" and not ways and word not in ("moves", "moving"):
            # Whoever walks may be followed by the camera.
            return None
        return Said(phrase, ways[0] if deed == "go" and ways else deed)
    return None


def _is_way(words: Sequence[str], place: int) -> bool:
    """Returns whether a word says where to; "from the left", "his left hand" and "down the road" do not."""
    word, before, earlier = words[place], words[place - 1], words[place - 2]
    if word not in _WAYS or (word in ("up", "down") and words[place + 1 : place + 2] in (["the"], ["a"])):
        return False
    if before == "the":
        return earlier in ("to", "toward", "towards")
    return before not in ("from", "on", "at", "in", "his", "her", "its", "their")


def does(deed: Deed, masks: Sequence[Bool[np.ndarray, "h w"]]) -> float:
    """Returns how far a track does what is said, from -1 (the opposite) to 1.

    Args:
        deed: What is said.
        masks: Of one thing, in the order of frames that reach from the start of a clip to its end.
    """
    height, width = masks[0].shape
    areas = [int(mask.sum()) for mask in masks]
    seen = [place for place, area in enumerate(areas) if area > LEAST * height * width]
    if not seen:
        return 0.0
    first, last = seen[0], seen[-1]
    if deed == "enter":
        return 1.0 if first > 0 else -1.0
    if deed == "leave":
        return 1.0 if last < len(masks) - 1 else -1.0
    if deed in ("grow", "shrink"):
        grown = 0.5 * math.log(areas[last] / areas[first]) / math.log(FACTOR)
        return _within(grown if deed == "grow" else -grown)
    (y0, x0), (y1, x1) = (np.argwhere(masks[place]).mean(0) / (height, width) for place in (first, last))
    across, down = float(x1 - x0), float(y1 - y0)
    if deed in ("go", "stay"):
        far = math.hypot(across, down)
        return _within(2 * far / FAR - 1) if deed == "go" else _within(1 - 2 * far / NEAR)
    return _within({"left": -across, "right": across, "up": -down, "down": down}[deed] / NEAR)


def _within(value: float) -> float:
    return min(max(value, -1.0), 1.0)
