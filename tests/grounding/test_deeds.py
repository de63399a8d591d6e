"""What sentences say of motion, and how far tracks do it."""

from typing import get_args

import numpy as np
import pytest

from undertow.grounding.deeds import FAR, LEAST, NEAR, REST, Said, does, said_of
from undertow.grounding.verbs import Deed

SIZE = (60, 100)


def disc(x, y, radius=8):
    rows, columns = np.indices(SIZE)
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def path(start, end, radii=(8, 8), frames=5):
    steps = np.linspace(0, 1, frames)
    return [disc(*(np.array(start) + t * np.subtract(end, start)), radii[0] + t * (radii[1] - radii[0])) for t in steps]


@pytest.mark.parametrize(
    ("text", "phrase", "deed"),
    [
        ("the red disc that moves to the left", "the red disc", "left"),
        ("The kite which is moving up", "the kite", "up"),
        ("a ball falling", "a ball", "down"),
        ("the star that moves quickly", "the star", "go"),
        ("the man who walks to the right", "the man", "right"),
        ("the small bar that stands still", "the small bar", "stay"),
        ("the bar that grows", "the bar", "grow"),
        ("the blob, which shrinks", "the blob", "shrink"),
        ("the object that enters from the left", "the object", "enter"),
        ("the man on the left who leaves", "the man on the left", "leave"),
        ("the man is walking to the right", "the man", "right"),
        ("the dog that’s moving left", "the dog", "left"),
        ("the butterfly which is quickly rising", "the butterfly", "up"),
        ("the ball that moves from left to right", "the ball", "right"),
        ("the ball that moves from the left", "the ball", "go"),
        ("the hand that moves on the left", "the hand", "go"),
        ("the ball moving down the hill", "the ball", "go"),
        ("the one that grows", "the object", "grow"),
        ("the red thing that grows", "the red thing", "grow"),
        ("the one on the left that moves up", "the one on the left", "up"),
        ("the walking man that leaves", "the walking man", "leave"),
        ("the man with no hat that moves up", "the man with no hat", "up"),
        ("the disc that starts moving left", "the disc", "left"),
        ("the man who leaves the picture", "the man", "leave"),
        ("the bar that grows over time", "the bar", "grow"),
        ("the man climbing the wall", "the man", "up"),
    ],
)
def test_a_deed_and_who_does_it(text, phrase, deed):
    assert said_of(text) == Said(phrase, deed)


@pytest.mark.parametrize(
    "text",
    [
        "the disc on the left",
        "the leaves",
        "the moving car",  # its phrase is not known
        "the man standing on the left",
        "the dog that walks",  # the camera may go with it
        "the disc that moves slowly",
        "the disc that is slowly moving up",
        "the man walking on the left",
        "the car driving down the road",
        "the disc that leaves and comes back",
        "the two discs moving up",
        # The opposite is said, or both.
        "the disc that is not moving",
        "the disc that isn’t moving to the left",
        "the disc that is no longer moving",
        "the disc which stops moving",
        "the man without moving arms",
        "the disc that moves up and down",
        "the disc that moves left, then right",
        "the disc that grows and shrinks",
        "the man who enters and leaves",
        "the disc that stands still and then moves",
        # What is done to another thing is not seen of the thing's own track.
        "the man entering the house",
        "the man who leaves his car",
        "the man who drops a ball",
        "the tree growing on the left",
        "the man who appears to be asleep",
    ],
)
def test_where_no_deed_is_said(text):
    assert said_of(text) is None


def test_a_long_row_of_signs_takes_no_time():
    assert said_of("the disc" + 10000 * "!" + " that moves up") == Said("the disc", "up")
    assert said_of("the disc " + 10000 * "!" + " there moving up").deed == "up"


@pytest.mark.parametrize(
    ("deed", "opposite", "start", "end"),
    [("right", "left", (20, 30), (60, 30)), ("down", "up", (50, 15), (50, 45)), ("go", "stay", (20, 30), (60, 30))],
)
def test_ways(deed, opposite, start, end):
    assert does(deed, path(start, end), 0) == pytest.approx(1, abs=1e-3)
    assert does(opposite, path(start, end), 3) == pytest.approx(-1, abs=1e-3)


def test_a_short_way_counts_in_part():
    way = does("right", path((50, 30), (50 + 50 * NEAR, 30)), 2)
    assert way == pytest.approx(0.5, abs=1e-3) and does("left", path((50, 30), (50 + 50 * NEAR, 30)), 2) == -way
    assert does("go", path((50, 30), (50 + 50 * FAR, 30)), 2) == pytest.approx(0)
    assert does("stay", path((50, 30), (50, 30)), 2) == 1 and does("left", path((50, 30), (50, 30)), 2) == 0


@pytest.mark.parametrize("deed", get_args(Deed))
def test_what_is_lost_at_once_shows_nothing(deed):
    nothing = np.zeros(SIZE, bool)
    if deed not in ("enter", "leave"):
        assert does(deed, [nothing, nothing, disc(50, 30), nothing, nothing], 2) == 0
    assert does(deed, [disc(50, 30), nothing, nothing], 2) == 0


def test_growing_is_measured_on_the_radius():
    assert does("grow", path((50, 30), (50, 30), (8, 16)), 0) == pytest.approx(1, abs=0.01)
    assert does("shrink", path((50, 30), (50, 30), (8, 16)), 0) == pytest.approx(-1, abs=0.01)
    assert does("grow", path((50, 30), (50, 30), (10, 11)), 0) == pytest.approx(np.log(1.1) / np.log(1.22), abs=0.1)


def test_what_is_done_by_fits_and_starts_counts_less():
    steady = path((30, 30), (60, 30), (8, 12))
    for deed in ("right", "grow"):
        whole = does(deed, steady, 2)
        # The first and the last are as before.
        some, none = ([steady[place] for place in order] for order in ((0, 3, 2, 1, 4), (3, 2, 0, 1, 4)))
        assert 0 < does(deed, some, 2) < 0.8 * whole and 0 <= does(deed, none, 2) < 0.3 * whole
    # Two frames are all there is to go by.
    assert does("right", steady[:2], 0) == pytest.approx(0.75, abs=0.01)
    assert does("right", [*steady[::-1], disc(61, 30)], 2) == 0


def test_entering_and_leaving_are_about_the_ends():
    nothing, there = np.zeros(SIZE, bool), disc(50, 30)
    for border in (disc(5, 30), disc(95, 30), disc(50, 5), disc(50, 56)):
        assert does("enter", [nothing, border, there], 1) == 1 and does("enter", [there, border, nothing], 1) == -1
        assert does("leave", [there, border, nothing], 1) == 1 and does("leave", [nothing, border, there], 1) == -1
    # It may be hidden, and not outside.
    assert does("enter", [nothing, there, there], 1) == does("leave", [there, there, nothing], 1) == 0.5
    # Some pixels are nothing.
    speck = nothing.copy()
    speck.flat[: int(LEAST * nothing.size)] = True
    assert does("enter", [speck, there], 1) == 0.5
    assert does("enter", [nothing, nothing], 0) == does("enter", [nothing, there], 0) == 0


def test_most_of_a_thing_may_be_outside_where_a_clip_begins_or_ends():
    way = [(50, 30), (70, 30), (90, 30), (106, 30)]
    leaving = [disc(x, y) for x, y in way]
    assert 0 < leaving[-1].sum() < REST / 2 * leaving[0].sum()
    left = 1 - leaving[-1].sum() / (REST * leaving[0].sum())
    assert does("leave", leaving, 1) == pytest.approx(left) == does("enter", leaving[::-1], 1)
    assert does("leave", leaving[:-1], 1) == does("enter", leaving, 1) == -1
    # In the middle of the picture, what is small is small.
    assert does("leave", [disc(50, 30), disc(50, 30, 3)], 0) == -1
    corner = np.zeros(SIZE, bool)
    corner[0, :20] = True
    assert does("leave", [disc(50, 30), corner], 0) > 0.5


def test_what_a_lost_track_goes_on_with_does_not_count():
    nothing = np.zeros(SIZE, bool)
    left, right = path((50, 30), (30, 30)), path((60, 30), (90, 30), (8, 16))
    lost = [*left, nothing, *right]
    for deed in ("left", "right", "grow", "shrink", "go", "stay"):
        assert does(deed, lost, 2) == does(deed, left, 2), deed
        assert does(deed, lost, 8) == does(deed, right, 2), deed
    assert does("leave", lost, 2) == does("enter", lost, 8) == 0.5
    assert does("enter", lost, 2) == does("leave", lost, 8) == -1
