"""Tests of comparisons."""

import numpy as np
import pytest

from undertow.grounding.superlatives import how_far, superlative_of
from undertow.grounding.words import parse_expression


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("the largest object", "large"),
        ("the smallest person in a red coat", "small"),
        ("the biggest of the dogs", "large"),
        ("the tiniest one", "small"),
        ("the brightest", "bright"),
        ("The DARKEST car", "dark"),
        # Others than the one that is most so, or several.
        ("the second largest dog", None),
        ("not the largest dog", None),
        ("everything except the largest dog", None),
        ("anything but the largest dog", None),
        ("never the largest dog", None),
        ("no largest dog", None),
        ("the non largest dog", None),
        ("the dog which isn't the largest", None),
        ("the two largest dogs", None),
        ("one of the largest dogs", None),
        # Another thing is compared.
        ("the dog beside the smallest tree", None),
        ("the dog whose largest spot is white", None),
        # Two comparisons, or none.
        ("the largest darkest car", None),
        # Places are known without measuring.
        ("the leftmost object", None),
        ("the large dog on the left", None),
        ("the forest", None),
    ],
)
def test_what_is_said_to_be_most_of_all(text, wanted):
    assert superlative_of(parse_expression(text)) == wanted


def test_parts_are_measured_as_they_are_compared():
    image = np.full((20, 30, 3), 60, np.uint8)
    near, far = np.zeros((2, 20, 30), bool)
    near[2:6, 3:9] = True
    far[11:19, 20:29] = True
    image[far] = (90, 40, 200)
    for most in ("small", "dark"):
        assert how_far(most, image, near) > how_far(most, image, far)
    for most in ("large", "bright"):
        assert how_far(most, image, far) > how_far(most, image, near)
    # Green is brighter than blue.
    image[near], image[far] = (0, 200, 0), (0, 0, 250)
    assert how_far("bright", image, near) > how_far("bright", image, far)
