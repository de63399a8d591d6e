"""Referring through video: pivots, several texts, what is kept of it, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest

import undertow as ut
from undertow.base import CueError
from undertow.grounding import Candidate, Sight, WordSettings, parse_expression
from undertow.referring import Finding, ReferSettings
from undertow.referring.explain import explain_page
from undertow.referring.finding import label_maps, pivot_frames
from undertow.referring.job import gather
from undertow.runs import execute, read_cue
from undertow.tasks import TASKS
from undertow.tracking import track
from undertow.video import Clip, Video
from undertow.world import crossing_scene

SETTINGS = ReferSettings(tokens=60, pivots=2, reader="tiny-words")
FRAMES = 5


@pytest.fixture(scope="module")
def images():
    drawn = crossing_scene(height=32, width=48, frames=24)
    return np.stack([drawn.picture(2.0 * index).image for index in range(FRAMES)])


def given(images, model, settings, *texts):
    clip = Clip(Video(images))
    return clip, gather([read_cue("text", text, clip) for text in texts], clip, lambda: model, settings)


def test_pivots_are_spread_and_a_stream_has_one(images):
    assert pivot_frames(Clip(Video(images)), 2) == [1, 3]
    assert pivot_frames(Clip(Video(images), 1, 4), 50) == [1, 2, 3]
    assert pivot_frames(Clip(Video(iter(images))), 3) == [0]


def test_the_clearest_frame_is_kept_and_texts_are_objects(images, tiny_like, caplog):
    _, found = given(images, tiny_like, SETTINGS, "red disc", "left square#7")
    assert "'tiny-words' knows colours, shapes and places of simple things and little else" in caplog.text
    assert [each.object_id for each in found.value.findings] == [1, 7]
    for each in found.value.findings:
        assert each.looked[each.frame] == max(each.looked.values()) and sorted(each.looked) == [1, 3]
        assert each.frame in found.value


def test_a_text_on_a_frame_is_looked_for_there(images, tiny_like):
    _, found = given(images, tiny_like, SETTINGS, "red disc@4")
    assert list(found.value) == [4] and list(found.value.findings[0].looked) == [4]
    _, found = given(images, tiny_like, replace(SETTINGS, paper=True), "red disc")
    assert list(found.value) == [0]


def test_python_and_runs_track_what_was_found_both_ways(images, tiny_like, tmp_path):
    clip, found = given(images, tiny_like, replace(SETTINGS, explain=True), "red disc")
    expected = [each.labels for each in track(clip, found.value, tiny_like, SETTINGS)]
    for result, labels in zip(ut.refer(clip, "red disc", tiny_like, SETTINGS), expected, strict=True):
        assert np.array_equal(result.labels, labels)
    assert (expected[found.value.findings[0].frame] == 1).any()
    run = execute(TASKS["refer"], tmp_path / "run", clip, found, tiny_like, replace(SETTINGS, explain=True))
    assert len(list((run.path / "masks").iterdir())) == FRAMES
    [words] = json.loads((run.path / "words.json").read_text())
    assert words["text"] == "red disc" and words["present"] and words["frame"] == found.value.findings[0].frame
    page = (run.path / "explain.html").read_text()
    assert "counts" in page and "magnet" in page and page.count("<figure>") > 5


def test_what_is_found_nowhere_is_said(images, tiny_like):
    strict = replace(SETTINGS, words=WordSettings(least=1e9))
    with pytest.raises(CueError, match="nothing that was named was found"):
        given(images, tiny_like, strict, "red disc")
    with pytest.raises(CueError, match="no text was given"):
        gather([], Clip(Video(images)), lambda: tiny_like, SETTINGS)
    with pytest.raises(CueError, match="give what the object is called"):
        given(images, tiny_like, SETTINGS, "")


def test_a_disputed_pixel_goes_to_the_higher_score(images, tiny_like):
    _, found = given(images, tiny_like, SETTINGS, "red disc@0")
    [one] = found.value.findings
    low, high = np.zeros((32, 48), bool), np.zeros((32, 48), bool)
    low[:20], high[10:] = True, True

    def finding(number, mask, score):
        return Finding(number, 0, replace(one.sight, candidates=(Candidate(mask, score, 1.0, "x"),)), {0: 1.0})

    maps = label_maps([finding(1, high, 2.0), finding(2, low, 1.0)], (32, 48))
    assert (maps[0][:10] == 2).all() and (maps[0][10:] == 1).all()


def test_names_in_the_page_are_text(images, tiny_like):
    _, found = given(images, tiny_like, SETTINGS, "red disc")
    [one] = found.value.findings
    sight: Sight = replace(one.sight, expression=parse_expression("a <script>alert(1)</script> disc"))
    page = explain_page([replace(one, sight=sight)], {one.frame: images[one.frame]})
    assert "<script>" not in page
