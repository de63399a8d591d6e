import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from undertow.world import FIRST_BENCHMARK_SEED, FIRST_VALIDATION_SEED, SUITES, WorldClip


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
