"""Calm scenes: the same seed gives the same scene, and what is said of colours is true of the pixels."""

import numpy as np

from undertow.world import scene_expressions
from undertow.world.calm import calm_scene
from undertow.world.materials import NAMES, name_of


def test_a_seed_is_a_scene_and_objects_do_not_touch_the_border():
    for seed in range(6):
        one, other = (calm_scene(seed, (64, 96)).picture(0.0) for _ in range(2))
        assert np.array_equal(one.image, other.image) and np.array_equal(one.labels, other.labels)
        border = np.concatenate([one.labels[0], one.labels[-1], one.labels[:, 0], one.labels[:, -1]])
        assert not border.any() and 1 <= len(np.unique(one.labels)) - 1 <= 5


def test_objects_have_the_colours_they_are_called_by_and_the_ground_another():
    alike = []
    for seed in range(8):
        scene = calm_scene(seed, (64, 96))
        ground = name_of(scene.background.mean(axis=(0, 1)))
        for thing in scene.things:
            (material,) = thing.materials
            called = name_of(material.colour)
            assert called in NAMES
            alike.append(called == ground)
    assert np.mean(alike) < 0.2


def test_a_photograph_may_be_behind():
    photograph = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    scene = calm_scene(1, (64, 96), photograph)
    cut = (scene.background * 255).round().astype(np.uint8)
    assert any(
        np.array_equal(cut, photograph[y : y + 96, x : x + 144]) for y in range(120 - 96 + 1) for x in range(160 - 143)
    )


def test_in_a_clip_things_do_what_is_said_of_them():
    moved = 0
    for seed in range(12):
        scene = calm_scene(seed, (72, 128), frames=9)
        labels = np.stack([scene.labels(float(time)) for time in range(9)])
        for said in scene_expressions(scene, 12, 9):
            sideways = [word for word in ("left", "right") if f"moves to the {word}" in said.text]
            if sideways and (masks := np.isin(labels, said.labels))[[0, -1]].any((1, 2)).all():
                first, last = (np.nonzero(mask)[1].mean() for mask in masks[[0, -1]])
                assert (last > first) == (sideways == ["right"])
                moved += 1
            if said.text == "the object that enters":
                assert not np.isin(labels[0], said.labels).any() and np.isin(labels, said.labels).any()
    assert moved >= 3
