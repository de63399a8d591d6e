from dataclasses import replace

import numpy as np
import pytest

from undertow.world import Path, Wave, make_family_scene, scene_facts
from undertow.world.claims import (
    Ranking,
    between,
    both,
    entrance_claims,
    entrance_order,
    looks_claims,
    motion_claims,
    relation_claims,
)


@pytest.mark.parametrize(
    ("value", "no", "yes", "verdict"),
    [
        (0.1, 0.2, 0.4, False),
        (0.3, 0.2, 0.4, None),
        (0.5, 0.2, 0.4, True),
        (0.5, 0.4, 0.2, False),
        (0.1, 0.4, 0.2, True),
    ],
)
def test_between_has_a_margin_in_either_direction(value, no, yes, verdict):
    assert between(value, no, yes) is verdict


def test_one_clear_no_is_enough():
    assert both(True, True) is True and both(None, False) is False and both(True, None) is None


def test_a_superlative_needs_a_clear_winner():
    ranking = Ranking("size", "largest", (1.0, 3.0, 2.9, None, float("nan")), 0.5)
    assert ranking.first([0, 1]) == 1
    assert ranking.first([0, 1, 2]) is None, "too close"
    assert ranking.first([1, 3]) is None, "nothing to compare with"
    assert ranking.first([0, 1, 4]) is None, "unclear"


def test_a_minor_part_in_a_colour_makes_the_colour_unclear():
    facts = scene_facts(make_family_scene("plain", 2, 60, 100), frames=3)
    for claim in looks_claims(facts):
        for each, holds in zip(facts, claim.holds, strict=True):
            parts = {"shape": {each.looks.kind}, "texture": each.looks.textures, "colour": each.looks.colours}
            assert (holds is False) == (claim.words not in parts[claim.kind])


def test_front_and_behind_come_from_overlap_in_order():
    scene = make_family_scene("crossing", 11, 90, 160)
    # Both things stand still where they meet.
    things = tuple(replace(thing, path=Path(thing.path.at(24.0))) for thing in scene.things)
    scene = replace(scene, things=things)
    facts = scene_facts(scene, frames=2)
    assert facts[1].over[0] > 30 and 1 not in facts[0].over
    claims = {c.words: c.holds for c in relation_claims(facts, 0, "it", scene.size)}
    assert claims["in front of it"] == (False, True) and claims["behind it"] == (False, False)


SIZE = (60, 100)


def moving(**path):
    """Motion verdicts of a single thing that starts in the middle with the given path."""
    scene = make_family_scene("plain", 3, *SIZE)
    thing = scene.things[0]
    start = replace(thing.path.start, x=50.0, y=30.0, radius=10.0)
    still = Path(scene.camera.start)
    scene = replace(scene, things=(replace(thing, path=Path(start, **path)),), camera=still)
    return {claim.words: claim.holds[0] for claim in motion_claims(scene_facts(scene), SIZE)}


def test_motions_are_told_by_their_direction():
    still = moving()
    assert still["that stands still"] and not any(v for words, v in still.items() if words != "that stands still")
    right = moving(velocity=(0.5, 0.0, 0.0, 0.0, 0.0))
    assert right["that moves to the right"] and right["that moves to the left"] is False
    assert right["that moves up"] is False and right["that stands still"] is False
    assert moving(velocity=(0.0, -0.3, 0.0, 0.0, 0.0))["that moves up"]
    assert moving(velocity=(0.0, 0.0, 0.01, 0.0, 0.0))["that grows"]
    assert moving(velocity=(0.0, 0.0, -0.01, 0.0, 0.0))["that shrinks"]
    assert moving(velocity=(0.0, 0.0, 0.0, 0.05, 0.0))["that turns"]
    assert moving(waves=(Wave((20.0, 0.0, 0.0, 0.0), 0.4),))["that moves quickly"]
    assert moving(velocity=(0.16, 0.0, 0.0, 0.0, 0.0))["that moves to the right"] is None, "too little to say"


def test_order_of_entering():
    facts = scene_facts(make_family_scene("entrances", 1, *SIZE))
    ranks = entrance_order(facts)
    firsts = [rank.first(range(len(facts))) for rank in ranks]
    arrivals = [int(np.argmax(facts[index].inside > 0)) for index in firsts]
    assert [rank.words for rank in ranks] == ["first", "second"] and arrivals[0] + 3 <= arrivals[1]


def test_leaving_and_returning_are_told_apart():
    facts = scene_facts(make_family_scene("reentry", 1, 60, 100))
    claims = {claim.words: claim.holds for claim in entrance_claims(facts, (60, 100))}
    assert all(claims["that leaves and comes back"]) and not any(claims["that enters"])
    gone = [np.argmax(each.inside == 0) for each in facts]
    facts = scene_facts(make_family_scene("reentry", 1, 60, 100), frames=int(max(gone)) + 2)
    claims = {claim.words: claim.holds for claim in entrance_claims(facts, (60, 100))}
    assert all(claims["that leaves the picture"]) and not any(claims["that returns"])
