import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from undertow.world import WorldSettings, crossing_scene, make_scene
from undertow.world.captions import vocabulary_words
from undertow.world.materials import KINDS, _structure, public_domain_photographs

SMALL = WorldSettings(height=64, width=96, leaves=15)
# Training data and published numbers rest on these: caption and coarse brightness of two pictures of each seed.
SHOWN = json.loads((Path(__file__).parent / "shown.json").read_text())["scenes"]


def test_same_seed_gives_the_same_pictures_and_another_seed_does_not():
    first, again, other = (make_scene(seed, SMALL).picture(3.0) for seed in (5, 5, 6))
    assert np.array_equal(first.image, again.image) and np.array_equal(first.labels, again.labels)
    assert not np.array_equal(first.image, other.image)


def test_pictures_have_the_size_and_types_promised():
    picture = make_scene(1, SMALL).picture()
    assert picture.image.shape == (64, 96, 3) and picture.image.dtype == np.uint8
    assert picture.labels.shape == (64, 96) and picture.labels.dtype == np.uint16


@pytest.mark.parametrize("seed", SHOWN)
def test_what_a_seed_shows_never_changes(seed, coarse):
    scene = make_scene(int(seed), SMALL)
    caption, first, later = SHOWN[seed]
    assert scene.caption == caption
    np.testing.assert_allclose(coarse(scene.picture(0.0).image), first, atol=0.1)
    np.testing.assert_allclose(coarse(scene.picture(7.0).image), later, atol=0.1)


def test_labels_name_only_objects_of_the_scene():
    for seed in range(10):
        scene = make_scene(seed, SMALL)
        assert set(np.unique(scene.picture().labels)) <= set(range(len(scene.things) + 1))


def test_a_label_covers_exactly_what_its_object_changed():
    # Without camera effects, a pixel can differ from the bare background only where an object (or its shadow) is.
    scene = make_scene(3, SMALL)
    bare = type(scene)(**{**vars(scene), "things": (), "sensor": type(scene.sensor)(), "flicker": 0.0})
    full = type(scene)(**{**vars(scene), "sensor": type(scene.sensor)(), "shadow": (0.0, 0.0, 0.0), "flicker": 0.0})
    difference = (bare.picture().image != full.picture().image).any(axis=2)
    labels = full.picture().labels
    assert labels.any()
    edge = np.zeros_like(difference)
    edge[1:] |= labels[1:] != labels[:-1]
    edge[:-1] |= labels[1:] != labels[:-1]
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    # Edges are soft by half a pixel; away from them the background is untouched.
    assert not (difference & (labels == 0) & ~edge).any()
    assert difference[labels > 0].mean() > 0.9


def test_objects_move_with_their_path():
    scene = crossing_scene(frames=48, height=135, width=240)
    centres = []
    for time in (0.0, 47.0):
        labels = scene.picture(time).labels
        centres.append([np.argwhere(labels == i).mean(axis=0)[1] for i in (1, 2)])
    (a0, b0), (a1, b1) = centres
    assert a0 < b0 and a1 > b1, "the two objects change places"


def test_crossing_hides_part_of_the_first_object():
    scene = crossing_scene(height=135, width=240)
    areas = [int((scene.picture(float(t)).labels == 1).sum()) for t in range(0, 48, 4)]
    assert min(areas[3:9]) < 0.8 * areas[0]


@pytest.mark.parametrize("kind", KINDS)
def test_structures_repeat_without_a_seam(kind):
    field = _structure(np.random.default_rng(0), kind, 64)
    assert np.isfinite(field).all() and np.abs(field).max() < 5
    inner = np.abs(np.diff(field, axis=0)).max() + 1e-3
    seam = np.abs(field[0] - field[-1]).max()
    assert seam <= 1.5 * inner


def test_captions_use_only_the_vocabulary():
    words = set(vocabulary_words())
    for seed in range(40):
        caption = make_scene(seed, WorldSettings(height=32, width=32, leaves=1)).caption
        assert caption.endswith(".")
        assert set(caption[:-1].split()) <= words, caption


def test_colours_are_natural_like():
    from undertow.world.materials import natural_colours

    colours = natural_colours(np.random.default_rng(0), 20_000)
    centred = colours - colours.mean(axis=0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    assert abs(axes[0] @ np.ones(3) / 3**0.5) > 0.98, "the first principal axis is luminance"
    assert values[0] > 2 * values[1]


def test_photographs_are_a_choice_and_change_the_materials():
    pytest.importorskip("skimage")
    assert all(p.ndim == 3 and p.shape[2] == 3 for p in public_domain_photographs())
    plain = make_scene(2, SMALL)
    natural = make_scene(2, WorldSettings(height=64, width=96, leaves=15, photographs=1.0))
    assert not np.array_equal(plain.picture().image, natural.picture().image)
    assert all(m.kind == "natural" for thing in natural.things for m in thing.materials)


def test_the_world_needs_no_video_library_and_no_model():
    code = "import sys, undertow.world; sys.exit(any(m in sys.modules for m in ('av', 'torch', 'diffusers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
