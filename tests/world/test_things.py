from dataclasses import replace

import numpy as np
import pytest

from undertow.world import Path, Pose, Wave, make_scene
from undertow.world.materials import procedural_material
from undertow.world.shapes import random_shape
from undertow.world.things import random_thing


@pytest.fixture
def thing():
    random = np.random.default_rng(3)
    materials = tuple(procedural_material(random, np.full((3, 3), 0.5, np.float32)) for _ in range(3))
    return random_thing(random, random_shape(random, "blob"), materials, Path(Pose(30, 25, 12, 0.4)), bend=0.3)


def test_object_coordinates_go_there_and_back(thing):
    points = np.random.default_rng(0).uniform(0, 60, (50, 2))
    pose = Pose(31.3, 24.1, 11.0, 0.7, phase=1.9)
    there = thing.to_object(points, pose)
    assert np.abs(thing.to_picture(there, pose) - points).max() < 1e-9


def test_object_coordinates_are_those_that_are_drawn(thing):
    pose = Pose(31.3, 24.1, 11.0, 0.7, phase=1.9)
    window, _, u, v = thing.cover((50, 60), pose)
    y, x = np.mgrid[window] + 0.5
    assert np.abs(thing.to_object(np.stack([x, y], axis=2), pose) - np.stack([u, v], axis=2)).max() < 1e-5


def test_area_counts_the_whole_thing_wherever_it_is(thing):
    inside = (thing.cover((50, 60), Pose(30.25, 25.5, 9.0, 0.4))[1] >= 0.5).sum()
    assert thing.area(Pose(30.25, 25.5, 9.0, 0.4)) == inside
    assert thing.area(Pose(-70.75, 925.5, 9.0, 0.4)) == inside


def test_shares_of_materials_add_up(thing):
    assert thing.shares().shape == (3,) and np.isclose(thing.shares().sum(), 1)
    assert replace(thing, materials=thing.materials[:1], parts=()).shares().tolist() == [1.0]


def test_waves_start_at_zero_and_may_come_back():
    path = Path(Pose(10, 10, 5, 0), waves=(Wave((20.0, 0.0, 0.0, 0.0), 2 * np.pi / 40, np.pi / 2),))
    assert path.at(0.0) == path.start
    assert np.isclose(path.at(20.0).x, 10 - 40) and np.isclose(path.at(40.0).x, 10)


def test_things_of_the_default_world_have_no_waves():
    assert all(thing.path.waves == () for thing in make_scene(4).things)
