from dataclasses import replace

import numpy as np
import pytest

from undertow.world import CLASSES, Sensor, make_family_scene, point_tracks, scene_facts, semantic_map, visibility
from undertow.world.captions import TEXTURES
from undertow.world.scene import Scene
from undertow.world.truth import looks_of

HARD = ("deformation", "camera", "occlusion", "crossing", "mixed", "leaves")


def bare(scene: Scene) -> Scene:
    """The scene without anything that changes the colour of a surface over time."""
    return replace(scene, sensor=Sensor(), shadow=(0.0, 0.0, 0.0), flicker=0.0, exposure=None)


def centres(scene: Scene) -> np.ndarray:
    height, width = scene.size
    y, x = np.mgrid[2:height:7, 2:width:7]
    return np.stack([x.ravel() + 0.5, y.ravel() + 0.5], axis=1)


@pytest.mark.parametrize("family", HARD)
def test_tracked_places_keep_their_colour(family):
    scene = bare(make_family_scene(family, 3, 90, 160))
    points = centres(scene)
    first, later = scene.picture(0.0), scene.picture(17.0)
    tracks, visible = point_tracks(scene, points, [0.0, 17.0])
    seen = visible[:, 1]
    assert seen.mean() > 0.3
    start = first.image[tuple(points[seen].astype(int).T[::-1])].astype(float)
    place = tracks[seen, 1]
    # The nearest pixel is up to half a pixel away, so look for the colour in the 3 x 3 around.
    padded = np.pad(later.image.astype(float), ((1, 1), (1, 1), (0, 0)), mode="edge")
    row, column = (place[:, 1].astype(int) + 1, place[:, 0].astype(int) + 1)
    around = np.stack([padded[row + i, column + j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
    error = np.abs(around - start).mean(axis=2).min(axis=0)
    stays = later.image[tuple(points[seen].astype(int).T[::-1])].astype(float)
    assert np.percentile(error, 90) < 12
    moved = np.hypot(*(place - points[seen]).T) > 4
    if moved.sum() > 20:
        unmoved = np.abs(stays - start).mean(axis=1)[moved].mean()
        assert error[moved].mean() < 0.4 * unmoved, "standing still would not explain the colours"


@pytest.mark.parametrize("family", HARD)
def test_tracks_there_and_back_return_to_the_start(family):
    scene = make_family_scene(family, 5, 90, 160)
    points = centres(scene)
    tracks, visible = point_tracks(scene, points, [0.0, 20.0])
    assert np.abs(tracks[:, 0] - points).max() < 1e-3 and visible[:, 0].all()
    seen = visible[:, 1]
    back, visible_back = point_tracks(scene, tracks[seen, 1], [0.0], start=20.0)
    assert np.abs(back[:, 0] - points[seen]).max() < 1e-2 and visible_back.all()


def test_a_visible_point_shows_its_own_label_and_a_hidden_one_another():
    scene = make_family_scene("occlusion", 2, 90, 160)
    points = centres(scene)
    labels = scene.labels(0.0)
    own = labels[tuple(points.astype(int).T[::-1])]
    tracks, visible = point_tracks(scene, points, range(0, 48, 6))
    hidden = 0
    for index, time in enumerate(range(0, 48, 6)):
        place = np.floor(tracks[:, index]).astype(int)
        inside = ((place >= 0) & (place < (160, 90))).all(axis=1)
        assert not visible[~inside, index].any()
        surfaces = scene.surfaces(float(time))
        for point in np.nonzero(inside & (own > 0))[0]:
            shown = surfaces[place[point, 1], place[point, 0]]
            assert visible[point, index] == (shown == own[point])
            hidden += int(shown > len(scene.things))
    assert hidden > 0, "some points pass behind an occluder"


def test_points_outside_the_picture_are_refused():
    scene = make_family_scene("plain", 2, 60, 80)
    with pytest.raises(ValueError, match="80 x 60"):
        point_tracks(scene, np.array([[80.0, 3.0]]), [0.0])


def test_background_beyond_the_canvas_is_not_visible():
    scene = make_family_scene("plain", 2, 60, 80)
    start = replace(scene.camera.start, x=25.0)
    scene = replace(scene, things=(), camera=replace(scene.camera, start=start, velocity=(0.0,) * 5, waves=()))
    _, visible = point_tracks(scene, np.array([[5.0, 30.0], [60.0, 30.0]]), [0.0])
    assert visible[:, 0].tolist() == [False, True]


def test_semantic_maps_know_objects_occluders_and_ground():
    scene = make_family_scene("occlusion", 2, 90, 160)
    picture = scene.picture(24.0)
    classes = semantic_map(scene, picture)
    assert classes.dtype == np.uint16 and CLASSES[0] == "ground"
    assert (classes[picture.surfaces == 0] == 0).all()
    for number, layer in enumerate(scene.layers, start=1):
        assert {CLASSES[c] for c in np.unique(classes[picture.surfaces == number])} <= {layer.shape.kind}
    assert ((picture.labels == 0) & (classes > 0)).any(), "occluders have a class but no label"


def test_visibility_counts_what_is_hidden_and_what_is_outside():
    scene = make_family_scene("reentry", 1, 90, 160)
    seen, share, inside = visibility(scene, range(48))
    assert seen.shape == share.shape == inside.shape == (len(scene.things), 48)
    assert (share[:, 0] > 0.99).all() and (seen[:, 20:28] == 0).all() and (inside[:, 20:28] == 0).all()
    crossing = make_family_scene("crossing", 11, 90, 160)
    seen, share, inside = visibility(crossing, range(0, 48, 3))
    assert share[0].min() < 0.8 and (inside[0] - seen[0]).max() > 100, "the first object is partly hidden"
    assert (share[1] > 0.97).all(), "the second one never is"


def test_surfaces_without_paint_equal_those_of_pictures():
    for family in HARD:
        scene = make_family_scene(family, 7, 64, 96)
        picture = scene.picture(13.0)
        assert np.array_equal(picture.surfaces, scene.surfaces(13.0))
        assert np.array_equal(picture.labels, scene.labels(13.0))
        assert np.array_equal(picture.labels, np.where(picture.surfaces > len(scene.things), 0, picture.surfaces))


def test_facts_agree_with_pictures():
    scene = make_family_scene("occlusion", 2, 90, 160)
    facts = scene_facts(scene, frames=20)
    labels = scene.picture(13.0).labels
    picture = scene.picture(0.0)
    assert [each.label for each in facts] == [*range(1, len(scene.things) + 1), *[0] * (len(facts) - len(scene.things))]
    for each in facts[: len(scene.things)]:
        assert each.seen[13] == (labels == each.label).sum() <= each.inside[13]
        rows, columns = np.nonzero(picture.labels == each.label)
        assert np.allclose(each.centre, (columns.mean() + 0.5, rows.mean() + 0.5))
        assert np.isclose(each.brightness, picture.image[rows, columns].mean() / 255)


def test_layers_that_are_never_seen_have_no_facts():
    scene = make_family_scene("entrances", 1, 90, 160)
    assert len(scene_facts(scene, frames=1)) < len(scene_facts(scene)) == len(scene.things)


def test_looks_name_what_prevails():
    for seed in range(5):
        for thing in make_family_scene("plain", seed, 90, 160).things:
            looks, shares = looks_of(thing), thing.shares()
            assert looks.kind == thing.shape.kind
            main = TEXTURES[thing.materials[int(np.argmax(shares))].kind]
            if shares.max() > 0.6:
                assert looks.texture == main and looks.colour in looks.colours
            if len(shares) > 1 and np.ptp(shares) < 0.1 and len({m.kind for m in thing.materials}) == len(shares):
                assert looks.texture is None
