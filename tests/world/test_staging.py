from dataclasses import replace

import numpy as np

from undertow.world import FAMILIES, Staging, make_family_scene, make_scene, visibility
from undertow.world.materials import procedural_material
from undertow.world.placing import reach
from undertow.world.staging import stage

SIZE = (90, 160)
SEEDS = range(1, 5)


def scene_of(family, seed):
    """A scene of the family with few leaves, which take most of the time to draw."""
    settings = replace(FAMILIES[family].settings, height=SIZE[0], width=SIZE[1], leaves=6)
    return FAMILIES[family].build(seed, settings)


def scenes(family):
    return [scene_of(family, seed) for seed in SEEDS]


def test_staging_is_off_by_default_and_changes_nothing_else():
    settings = FAMILIES["plain"].settings
    plain = make_scene(3, replace(settings, height=64, width=96, staging=Staging()))
    staged = make_scene(3, replace(settings, height=64, width=96, staging=Staging(light=1.0)))
    assert plain.exposure is None and not plain.occluders and staged.exposure is not None
    assert np.array_equal(plain.background, staged.background)
    assert plain.sensor == staged.sensor and plain.camera == staged.camera
    assert np.array_equal(plain.labels(9.0), staged.labels(9.0))


def test_composed_objects_start_apart_in_full_view_and_stay():
    for scene in scenes("plain"):
        _, share, inside = visibility(scene, (0, 24, 47))
        assert (share[:, 0] > 0.99).all()
        full = [thing.area(pose) for thing, pose in zip(scene.things, scene.placed(47.0), strict=True)]
        assert (inside[:, 2] > 0.75 * np.array(full)).all()


def test_look_alikes_share_shape_and_materials_and_stand_near():
    for scene in scenes("look-alikes"):
        first, *copies = scene.things
        assert 1 <= len(copies) <= 2
        for copy in copies:
            assert copy.shape is first.shape and copy.materials is first.materials
            a, b = first.path.start, copy.path.start
            assert reach(first) < np.hypot(a.x - b.x, a.y - b.y) < 0.75 * SIZE[1]
            assert abs(np.log(b.radius / a.radius)) < 0.35


def test_occluders_hide_objects_and_have_no_label():
    for scene in scenes("occlusion"):
        seen, share, _ = visibility(scene, range(48))
        assert scene.occluders and share.min() < 0.3 and (seen[:, 0] > 0.9 * seen.max(axis=1)).any()
        assert scene.labels(24.0).max() <= len(scene.things)


def test_reentering_objects_leave_and_come_back():
    for scene in scenes("reentry"):
        seen, share, _ = visibility(scene, range(48))
        away = (seen == 0).sum(axis=1)
        assert ((away >= 8) & (away <= 28)).all() and (share[:, -1] > 0.5).all()


def test_entrances_come_late_but_never_the_first_object():
    late = gone = 0
    for scene in scenes("entrances"):
        seen, _, inside = visibility(scene, range(48))
        assert seen[0, 0] > 0
        late += int(((seen[:, 0] == 0) & (seen.max(axis=1) > 0)).sum())
        gone += int(((seen[:, 0] > 0) & (inside[:, -1] == 0)).sum())
    assert late >= 4 and gone >= 2


def test_fast_objects_are_fast_and_stay_in_view():
    for scene in scenes("fast"):
        places = np.array([[(pose.x, pose.y) for pose in scene.placed(float(time))] for time in range(48)])
        step = np.hypot(*np.moveaxis(np.diff(places, axis=0), 2, 0))
        assert step.max() > 0.08 * SIZE[0]
        assert (visibility(scene, range(48))[2] > 0).all()


def test_light_changes_the_picture_and_not_the_truth():
    for scene in scenes("light"):
        means = [scene.picture(float(time)).image.mean() for time in range(0, 48, 6)]
        assert max(means) / min(means) > 1.25
        assert np.array_equal(scene.labels(24.0), replace(scene, exposure=None).labels(24.0))


def test_deformation_changes_outlines():
    for scene in scenes("deformation"):
        assert all(thing.bend > 0.2 and abs(thing.path.velocity[4]) >= 0.15 for thing in scene.things)


def test_the_camera_shakes_but_the_view_stays_on_the_canvas():
    for family in ("camera", "mixed"):
        for scene in scenes(family):
            x = np.array([scene.camera.at(float(time)).x for time in range(48)])
            assert np.abs(np.diff(x, 2)).max() > 0.5, "a smooth camera has no such jerks"
            height, width = scene.background.shape[:2]
            for time in range(48):
                pose = scene.camera.at(float(time))
                half = np.array([SIZE[1], SIZE[0]]) / 2 / pose.radius
                assert (np.array([pose.x, pose.y]) - half > -2).all()
                assert (np.array([pose.x, pose.y]) + half < np.array([width, height]) + 2).all()


def test_camouflaged_objects_are_made_of_the_materials_given():
    random = np.random.default_rng(0)
    scene = scene_of("plain", 2)
    ground = [procedural_material(random, np.full((3, 3), 0.4, np.float32)) for _ in range(5)]
    for share, expected in ((1.0, True), (0.0, False)):
        staged = stage(random, Staging(camouflage=share), scene.things, scene.camera, SIZE, ground)
        used = [any(material is each for each in ground) for thing in staged.things for material in thing.materials]
        assert used and all(each is expected for each in used)


def test_camouflage_uses_materials_of_the_background():
    # Every leaf but a few is painted in one of seven materials, so their mean colours are found on the canvas.
    scene = make_family_scene("camouflage", 1, *SIZE)
    colours = [material.colour for thing in scene.things for material in thing.materials]
    assert all(np.abs(scene.background - colour).sum(axis=2).min() < 0.15 for colour in colours)
