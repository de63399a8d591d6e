from dataclasses import replace

import numpy as np

from undertow.world import make_family_scene
from undertow.world.placing import compose, outside, reach


def test_reach_is_how_far_a_thing_extends():
    for seed in range(6):
        scene = make_family_scene("deformation", seed, 90, 160)
        for thing, pose in zip(scene.things, scene.placed(0.0), strict=True):
            rows, columns = np.nonzero(replace(scene, things=(thing,)).labels(0.0))
            far = np.hypot(columns + 0.5 - pose.x, rows + 0.5 - pose.y).max()
            assert far - 1 <= reach(thing) < 1.8 * far + 2


def test_outside_is_out_of_view():
    random = np.random.default_rng(0)
    scene = make_family_scene("plain", 4, 90, 160)
    thing = scene.things[0]
    for _ in range(20):
        x, y = outside(random, thing, scene.size)
        start = replace(thing.path.start, x=x, y=y)
        away = replace(scene, things=(replace(thing, path=replace(thing.path, start=start)),))
        assert not away.labels(0.0).any()


def test_things_that_find_no_room_shrink_together():
    scene = make_family_scene("plain", 2, 90, 160)
    large = replace(
        scene.things[0], path=replace(scene.things[0].path, start=replace(scene.things[0].path.start, radius=40.0))
    )
    placed = compose(np.random.default_rng(1), [large] * 4, scene.size, 48)
    radii = {thing.path.start.radius for thing in placed}
    assert len(radii) == 1 and radii.pop() < 40
    for i, one in enumerate(placed):
        for other in placed[:i]:
            gap = np.hypot(one.path.start.x - other.path.start.x, one.path.start.y - other.path.start.y)
            assert gap >= reach(one) + reach(other)
