import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undertow.base import SettingsError, SilentProgress
from undertow.benchmarks.core import worlds
from undertow.benchmarks.core.datasets import DATASETS, open_dataset
from undertow.benchmarks.core.methods import baseline_method
from undertow.benchmarks.core.runner import run_benchmark
from undertow.masks import read_written_map
from undertow.world import SUITES, WorldClip

CLIPS = (WorldClip("plain-00", "plain", 7, 5, 48, 64), WorldClip("reentry-01", "reentry", 8, 48, 48, 64))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Benchmark worlds of two short, small clips."""
    monkeypatch.setattr(worlds, "SUITES", {"world-easy": CLIPS})


def drawings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the clips that are drawn from now on, once per call of `render_clip`."""
    drawn: list[str] = []
    real = worlds.render_clip

    def render(clip: WorldClip, folder: Path, progress: object = None) -> None:
        drawn.append(clip.name)
        real(clip, folder)

    monkeypatch.setattr(worlds, "render_clip", render)
    return drawn


def test_the_names_are_datasets() -> None:
    assert set(SUITES) == {"world-easy", "world-hard"} <= set(DATASETS)


def test_clips_are_drawn_as_folders_hold_them(small: None, tmp_path: Path) -> None:
    sequences = open_dataset("world-easy", tmp_path / "not" / "yet")
    assert [(each.dataset, each.name, each.size) for each in sequences] == [
        ("world-easy", "plain-00", (48, 64)),
        ("world-easy", "reentry-01", (48, 64)),
    ]
    scene = CLIPS[0].scene()
    assert sequences[0].ids == tuple(range(1, len(scene.things) + 1)) and len(sequences[0].frames) == 5
    for time in range(5):
        picture = scene.picture(float(time))
        assert np.array_equal(sequences[0].load_mask(time), picture.labels)
        with Image.open(sequences[0].video / f"{time:05d}.png") as image:
            assert np.array_equal(np.asarray(image), picture.image)
    with Image.open(sequences[0].masks["00000"]) as mask:
        assert mask.mode == "P"


def test_a_complete_clip_is_not_drawn_again(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_dataset("world-easy", tmp_path)
    drawn = drawings(monkeypatch)
    open_dataset("world-easy", tmp_path)
    assert drawn == []
    (tmp_path / "world-easy/reentry-01/masks/00003.png").unlink()
    open_dataset("world-easy", tmp_path)
    assert drawn == ["reentry-01"]


def test_an_interrupted_clip_is_continued(small: None, tmp_path: Path) -> None:
    class Stop(SilentProgress):
        def advance(self, count: int = 1, **facts: object) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        worlds.render_clip(CLIPS[0], tmp_path / "clip", Stop())
    first = tmp_path / "clip/frames/00000.png"
    before = first.stat().st_mtime_ns
    assert not (tmp_path / "clip" / worlds.STAMP).exists()
    worlds.render_clip(CLIPS[0], tmp_path / "clip")
    assert first.stat().st_mtime_ns == before and len(list(first.parent.glob("*.png"))) == 5
    assert json.loads((tmp_path / "clip" / worlds.STAMP).read_text())["seed"] == 7


def test_another_version_or_seed_is_drawn_anew(small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worlds.render_clips("world-easy", CLIPS, tmp_path)
    drawn = drawings(monkeypatch)
    monkeypatch.setattr(worlds, "VERSION", worlds.VERSION + 1)
    worlds.render_clips("world-easy", CLIPS, tmp_path)
    assert drawn == ["plain-00", "reentry-01"]
    other = replace(CLIPS[0], seed=9, frames=3)
    (folder,) = worlds.render_clips("world-easy", (other,), tmp_path)
    assert drawn[2:] == ["plain-00"] and len(list((folder / "frames").iterdir())) == 3
    assert np.array_equal(read_written_map(folder / "masks/00000.png"), other.scene().labels())


def test_objects_that_are_away_for_a_while_can_be_scored(small: None, tmp_path: Path) -> None:
    sequence = open_dataset("world-easy", tmp_path)[1]
    assert any(not sequence.load_mask(index).any() for index in range(48))
    (outcome,) = run_benchmark([sequence], [baseline_method("copy")], tmp_path / "out")
    assert all(np.isfinite(scores.region).all() and scores.region.size == 46 for scores in outcome.objects.values())


def test_a_root_that_cannot_be_written_is_named(small: None, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="plain-00"):
        open_dataset("world-easy", tmp_path / "file")


def test_other_datasets_still_need_their_folder(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        open_dataset("davis", tmp_path / "nowhere")
