"""What a sentence says that a thing does, such as "the disc that moves up", and how far a track of masks does it.

A small model that answers with masks hardly knows motion, but masks that are tracked show it. So the words before the
verb say what may be meant, and the verb is held against the tracks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from undertow.grounding.verbs import (
    BETWEEN,
    DEEDS,
    Deed,
    contradict,
    is_denied,
    is_done_to_the_picture,
    says_a_deed,
)
from undertow.grounding.words import THINGS, parse_expression

_WAYS: dict[str, Deed] = {
    "left": "left", "leftwards": "left", "right": "right", "rightwards": "right",
    "up": "up", "upwards": "up", "down": "down", "downwards": "down",
}  # fmt: skip
# What is answered to these words stands out, whatever is named.
ANYTHING = "the object"
# A way of this share of the picture, or a change of a radius by this factor, is done for sure.
FAR, NEAR, FACTOR = 0.2, 0.1, 1.22
# Less of the picture than this counts as nothing.
LEAST = 5e-4
# What is at the border (so near, in shares of the sides) with this share of its largest area left, has half left.
BORDER, REST = 0.01, 0.25


@dataclass(frozen=True)
class Said:
    """A sentence taken apart.

    Attributes:
        phrase: What the thing is called, such as "the disc"; "the object" if it is only called a thing.
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
        if not says_a_deed(words, place):
            continue
        called, after = place, words[place + 1 :]
        while called and words[called - 1] in BETWEEN:
            called -= 1
        named = any(each.role == "kept" for each in expression.words[:called])
        if not named and not any(each in THINGS for each in words[:called]):
            # "The walking man": he may do something else, too.
            continue
        # "That leaves and comes back" is more than one deed, and how slow is slow no track tells.
        if expression.plural or "back" in after or "slowly" in words[called:]:
            return None
        if is_denied(words, place) or not is_done_to_the_picture(words, place):
            return None
        phrase = expression.text[: expression.words[called - 1].end] if named else ANYTHING
        deed = DEEDS[word]
        if deed == "stay" and "still" not in after:
            return None
        ways = [_WAYS[words[at]] for at in range(place + 1, len(words)) if _is_way(words, at)]
        if contradict({deed, *ways, *(DEEDS[each] for each in after if each in DEEDS)}):
            return None
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


def does(deed: Deed, masks: Sequence[Bool[np.ndarray, "h w"]], given: int) -> float:
    """Returns how far a track does what is said, from -1 (the opposite) to 1.

    Of the track only what hangs together with the given mask counts: one that lost its thing may go on with another.

    Args:
        deed: What is said.
        masks: Of one thing, in the order of frames that reach from the start of a clip to its end.
        given: Which of them was given.
    """
    height, width = masks[0].shape
    areas = [int(mask.sum()) for mask in masks]
    seen = [area > LEAST * height * width for area in areas]
    if not seen[given]:
        return 0.0
    first = last = given
    while first > 0 and seen[first - 1]:
        first -= 1
    while last < len(masks) - 1 and seen[last + 1]:
        last += 1
    if deed in ("enter", "leave"):
        end, out = (first, first > 0) if deed == "enter" else (last, last < len(masks) - 1)
        border = _at_border(masks[end])
        if out:
            # What is gone from the middle of the picture may be hidden, or lost.
            return 1.0 if border else 0.5
        # Most of it may be outside already: a clip may end, or begin, a little too early.
        return _within(1 - areas[end] / (REST * max(areas[first : last + 1]))) if border else -1.0
    if deed in ("grow", "shrink"):
        grown = 0.5 * np.log(areas[first : last + 1]) / math.log(FACTOR)
        return _done(grown if deed == "grow" else -grown)
    if first == last:
        # One frame shows no way, and neither that there is none.
        return 0.0
    middles = [np.argwhere(mask).mean(0) / (height, width) for mask in masks[first : last + 1]]
    if deed in ("go", "stay"):
        far = math.hypot(*(middles[-1] - middles[0]))
        return _within(2 * far / FAR - 1) if deed == "go" else _within(1 - 2 * far / NEAR)
    down, across = np.stack(middles).T / NEAR
    return _done({"left": -across, "right": across, "up": -down, "down": down}[deed])


def _done(values: Float[np.ndarray, " n"]) -> float:
    """Returns how far values rise from the first to the last, less if they do it by chance and not steadily."""
    way = float(values[-1] - values[0])
    if way == 0:
        return 0.0
    steady = math.copysign(1, way) * float(np.corrcoef(np.arange(len(values)), values)[0, 1])
    return _within(way) * max(0.0, steady)


def _at_border(mask: Bool[np.ndarray, "h w"]) -> bool:
    down, across = (max(1, round(BORDER * side)) for side in mask.shape)
    inner = mask.copy()
    inner[:down] = inner[-down:] = inner[:, :across] = inner[:, -across:] = False
    return bool(inner.sum() < mask.sum())


def _within(value: float) -> float:
    return min(max(value, -1.0), 1.0)
