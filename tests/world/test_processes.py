"""Things that change: all of their parts are one object, what nobody can see is void, and others stay as they are."""

import numpy as np
import pytest

from undertow.world.processes import PROCESS_CLIPS, PROCESSES, VOID, process_scene
from undertow.world.things import Path, Pose


def area(scene, time):
    return int((scene.labels(time) == 1).sum())


@pytest.mark.parametrize("name", PROCESSES)
def test_one_object_changes_and_the_others_do_not(name):
    scene = process_scene(name, 3, 90, 160, frames=12)
    first, last = scene.labels(0.0), scene.labels(11.0)
    assert first.max() == 1 + len(scene.things) - scene.parts >= 2
    picture = scene.picture(11.0)
    assert np.array_equal(picture.labels, last) and picture.image.shape == (90, 160, 3)
    assert np.array_equal(process_scene(name, 3, 90, 160, frames=12).picture(11.0).image, picture.image)
    # Others can be covered, and are otherwise where they were.
    moved = (first > 1) & (last != first) & (last != 1) & (last != VOID)
    assert not moved.any()


def test_what_becomes_of_objects():
    sizes = {
        name: [area(process_scene(name, 3, 90, 160, frames=12), t) for t in (0.0, 6.0, 12.0)] for name in PROCESSES
    }
    assert sizes["grow"][0] < sizes["grow"][1] < sizes["grow"][2]
    assert sizes["spread"][0] < sizes["spread"][1] < sizes["spread"][2]
    assert sizes["split"][2] > 1.5 * sizes["split"][0]
    assert sizes["fade"][0] > 0 and sizes["fade"][2] == 0
    scene = process_scene("melt", 3, 90, 160, frames=12)
    heights = [np.flatnonzero((scene.labels(t) == 1).any(1)).mean() for t in (0.0, 12.0)]
    assert heights[1] > heights[0] and sizes["melt"][2] > 0


def test_nobody_can_say_when_a_faded_thing_is_gone():
    scene = process_scene("fade", 3, 90, 160, frames=12)
    assert VOID not in scene.labels(2.0)
    void = scene.labels(8.5) == VOID
    assert void.sum() > 0.8 * area(scene, 0.0)
    assert VOID not in scene.labels(12.0)


def test_transparency_runs_from_one_time_to_the_other():
    path = Path(Pose(0, 0, 1, 0), fading=(2.0, 6.0))
    assert [path.at(time).opacity for time in (0.0, 2.0, 4.0, 6.0, 9.0)] == [1, 1, 0.5, 0, 0]


def test_names():
    assert len({clip.name for clip in PROCESS_CLIPS}) == len({clip.seed for clip in PROCESS_CLIPS}) == 10
    assert all(clip.scene().texts[0].startswith("the object that") for clip in PROCESS_CLIPS[::2])
    with pytest.raises(ValueError, match="is not one of grow"):
        process_scene("boil", 1)
