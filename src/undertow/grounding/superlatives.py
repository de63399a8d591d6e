"""What a sentence says that a thing is most of all, such as "the largest boat", and how far a part of a picture is it.

That is a comparison, and a small model that answers with masks hardly compares: it marks several things, and the one
that is meant no higher than others. But of the parts that it marks, size and light can be measured. ("The leftmost
boat" is no such comparison: places the model knows, and to measure them among what it marks makes it worse.)
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, UInt8

from undertow.grounding.words import Expression, is_within_phrase

Most = Literal["large", "small", "bright", "dark"]

_WORDS: dict[str, Most] = {
    "largest": "large", "biggest": "large", "smallest": "small", "tiniest": "small",
    "brightest": "bright", "darkest": "dark",
}  # fmt: skip
# "The second largest" and "anything but the largest" are others.
_BUT = (
    "second", "third", "fourth", "fifth", "2nd", "3rd", "4th", "5th", "next", "almost", "nearly",
    "not", "no", "non", "never", "neither", "nor", "but", "except", "excepting", "excluding", "without",
)  # fmt: skip
# Luma of red, green and blue (ITU-R BT.601).
_LUMA = np.array([0.299, 0.587, 0.114])


def superlative_of(expression: Expression) -> Most | None:
    """Returns what one thing is said to be most of all; `None` if nothing, or more than one such word is said.

    >>> from undertow.grounding.words import parse_expression
    >>> superlative_of(parse_expression("the smallest of the dogs"))
    'small'
    >>> superlative_of(parse_expression("the dog beside the smallest tree"))
    """
    words = [word.text for word in expression.words]
    said = [place for place, word in enumerate(words) if word in _WORDS]
    if expression.plural or len(said) != 1:
        return None
    (place,) = said
    if any(word in _BUT or word.endswith("n't") for word in words[:place]) or not is_within_phrase(expression, place):
        return None
    return _WORDS[words[place]]


def how_far(most: Most, image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]) -> float:
    """Returns how large, small, bright or dark a part of a picture is; more is more.

    Args:
        most: What is said.
        image: The picture.
        mask: The part, which is not empty.
    """
    if most in ("large", "small"):
        return float(mask.sum()) * (1 if most == "large" else -1)
    return float(image[mask].mean(0) @ _LUMA) * (1 if most == "bright" else -1)
