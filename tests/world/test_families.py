import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from undertow.backbones import get_card
from undertow.backbones.weights.locating import embedded_folder
from undertow.world import (
    FAMILIES,
    FIRST_BENCHMARK_SEED,
    FIRST_VALIDATION_SEED,
    SUITES,
    TRACKING_FAMILIES,
    WorldClip,
    make_family_scene,
    make_scene,
)


@pytest.mark.parametrize("family", FAMILIES)
def test_families_are_deterministic_and_show_something(family):
    first, again = (make_family_scene(family, 9, 48, 64) for _ in range(2))
    assert np.array_equal(first.picture(5.0).image, again.picture(5.0).image)
    assert first.labels(0.0).any() and FAMILIES[family].about.endswith(".")


def test_unknown_families_are_named():
    with pytest.raises(ValueError, match="look-alikes"):
        make_family_scene("dogs", 1)


def test_the_default_family_is_what_training_draws():
    family, plain = make_family_scene("leaves", 5, 160, 160), make_scene(5)
    assert np.array_equal(family.picture(3.0).image, plain.picture(3.0).image)


def test_names_and_keys_agree():
    assert all(name == family.name for name, family in FAMILIES.items())
    assert set(FAMILIES) >= {"leaves", "look-alikes", "occlusion", "reentry", "fast", "light", "camouflage", "crossing"}


def test_recipes_draw_from_the_families_that_the_shipped_weights_saw():
    recipe = json.loads((embedded_folder(get_card("tiny-video")) / "training.json").read_text())["recipe"]
    assert tuple(recipe["validation"]["families"]) == ("leaves", *TRACKING_FAMILIES[1:])


def test_seeds_are_apart_from_training_and_validation():
    seeds = [clip.seed for clips in SUITES.values() for clip in clips]
    assert len(set(seeds)) == len(seeds) and min(seeds) >= FIRST_BENCHMARK_SEED == 2_000_000_000
    assert 1_000_000_000 == FIRST_VALIDATION_SEED < FIRST_BENCHMARK_SEED


scene_of = cache(WorldClip.scene)

# If these change, pictures of benchmark worlds have changed: raise VERSION in undertow/benchmarks/core/worlds.py too.
SHOWN = json.loads((Path(__file__).parent / "shown.json").read_text())["clips"]


@pytest.mark.parametrize("name", SHOWN)
def test_benchmark_clips_never_change_unnoticed(name, coarse):
    clip = next(clip for clips in SUITES.values() for clip in clips if clip.name == name)
    scene, (first, last) = scene_of(clip), SHOWN[name]
    np.testing.assert_allclose(coarse(scene.picture(0.0).image), first, atol=0.1)
    np.testing.assert_allclose(coarse(50.0 * scene.labels(47.0)), last, atol=0.1)


def test_suites_are_twelve_clips_each_and_names_say_what_is_hard():
    for clips in SUITES.values():
        assert len(clips) == 12 and len({clip.name for clip in clips}) == 12
        for clip in clips:
            assert (clip.frames, clip.height, clip.width) == (48, 270, 480)
            assert clip.name.startswith(clip.family)
    assert {clip.family for clip in SUITES["world-hard"]} >= {"look-alikes", "occlusion", "reentry", "fast", "light"}


def test_every_object_of_a_benchmark_clip_is_visible_on_frame_0():
    for clips in SUITES.values():
        for clip in clips:
            scene = scene_of(clip)
            areas = np.bincount(scene.labels(0.0).ravel(), minlength=len(scene.things) + 1)[1:]
            assert 1 <= len(areas) <= 3 and areas.min() >= 400, clip.name
            materials = [m for layer in scene.layers for m in layer.materials]
            assert all(material.kind != "natural" for material in materials), "no extra package is needed"
