from dataclasses import replace

import numpy as np

from undertow.world import Path, Wave, make_family_scene, scene_facts
from undertow.world.motions import entrance_claims, entrance_order, motion_claims

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
