from dataclasses import replace

import pytest

from undertow.world import Path, make_family_scene, scene_facts
from undertow.world.claims import Ranking, between, both, looks_claims, relation_claims


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
