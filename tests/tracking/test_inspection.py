from dataclasses import replace

import numpy as np
import pytest

from undertow.base import CueError
from undertow.drawing import inspection_sheet
from undertow.tracking import TrackSettings, inspect
from undertow.video import Video
from undertow.world import crossing_scene


@pytest.fixture(scope="module")
def video():
    scene = crossing_scene(height=96, width=160, frames=24)
    return Video(np.stack([scene.picture(float(t)).image for t in range(3)]))


def test_one_head_needs_no_mixture(video, tiny_like):
    seen = inspect(video, (40.0, 60.0), 0, 2, tiny_like, TrackSettings(tokens=240, radius=3))
    assert [title.split(",")[0] for title, _ in seen.maps] == ["head 0", "drift", "dift", "pixels"]


def test_maps_are_distributions_over_the_other_frame(video, tiny_like, monkeypatch):
    # Two places side by side are two heads.
    (site,) = tiny_like.card.sites["track"]
    other = replace(site, path=site.path.replace("down_blocks", "up_blocks"))
    monkeypatch.setattr(tiny_like, "card", replace(tiny_like.card, sites={"track": (site, other)}))
    seen = inspect(video, (40.0, 60.0), 0, 2, tiny_like, TrackSettings(tokens=240, radius=3))
    titles = [title for title, _ in seen.maps]
    assert titles[:3] == ["head 0", "head 1", "heads mixed"]
    assert [t.split(",")[0] for t in titles[3:]] == ["drift", "dift", "pixels"]
    for title, weights in seen.maps:
        assert weights.shape == (12, 20) and weights.min() >= 0
        assert weights.sum() == pytest.approx(1, abs=1e-4), title
    assert seen.cell == (7, 5)
    for _, weights in seen.maps[3:]:
        rows, columns = np.nonzero(weights)
        assert len(rows) <= 15 and np.abs(rows - 7).max() <= 3 and np.abs(columns - 5).max() <= 3
    sheet = inspection_sheet(seen.source, seen.target, seen.at, seen.maps, width=120)
    assert sheet.dtype == np.uint8 and sheet.shape[2] == 3 and sheet.shape[1] > 3 * 120


def test_a_pixel_sees_itself_in_its_own_frame(video, tiny_like):
    seen = inspect(video, (90.0, 50.0), 1, 1, tiny_like, TrackSettings(tokens=240, noising="clean"))
    for title, weights in seen.maps[2:]:
        assert np.unravel_index(weights.argmax(), weights.shape) == seen.cell, title


@pytest.mark.parametrize("at", [(160.0, 10.0), (-1.0, 10.0), (10.0, 96.0)])
def test_a_pixel_outside_is_refused(video, tiny_like, at):
    with pytest.raises(CueError, match="160x96"):
        inspect(video, at, 0, 1, tiny_like)
