"""Benchmark worlds with expressions: what is drawn, what is said of it, and that the truth scores best."""

from pathlib import Path

import numpy as np
import pytest

from undertow.base import SettingsError
from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.core.sample import get_protocol
from undertow.benchmarks.core.task import get_task
from undertow.benchmarks.refer import processes, worlds
from undertow.benchmarks.refer.methods import ReferModel
from undertow.benchmarks.refer.sample import ReferSample
from undertow.benchmarks.refer.scoring import PICTURE_KINDS
from undertow.world import WorldClip
from undertow.world.processes import ProcessClip

TASK = get_task("refer")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worlds, "SIZE", (64, 96))
        patch.setattr(worlds, "CALM", 2)
        patch.setattr(worlds, "EACH", 1)
        patch.setattr(worlds, "FAMILIES", ("plain",))
        patch.setattr(
            worlds,
            "VIDEO_SUITES",
            {
                "world-calm": (WorldClip("calm-00", "calm", 7, 3, 64, 96),),
                "world-easy": (WorldClip("plain-00", "plain", 7, 3, 64, 96),),
            },
        )
        yield tmp_path_factory.mktemp("worlds")


def test_pictures_are_drawn_once_and_every_expression_names_something(root: Path) -> None:
    samples = open_dataset("world-refer", root)
    assert {each.name.split("/")[0] for each in samples} <= {"calm-00", "calm-01", "plain-00"}
    for sample in samples:
        assert isinstance(sample, ReferSample) and sample.image and set(sample.kinds) <= set(PICTURE_KINDS)
        (truth,), void = sample.load(0)
        assert truth.any() and not truth.all() and void is None and 0 < sample.chance <= 1
    calm, others = (open_dataset("world-refer", root, split) for split in ("calm", "worlds"))
    assert [each.name for each in (*calm, *others)] == [each.name for each in samples]
    stamps = {path: path.stat().st_mtime_ns for path in root.rglob("*.png")}
    assert [each.texts for each in open_dataset("world-refer", root)] == [each.texts for each in samples]
    assert stamps == {path: path.stat().st_mtime_ns for path in root.rglob("*.png")}


def test_what_is_said_is_varied() -> None:
    name, scene = next(worlds.pictures())
    said = worlds.said_of(scene, 2, PICTURE_KINDS, 8)
    assert name == "calm-00" and 0 < len(said) <= 8 and len({each.text for each in said}) == len(said)
    assert len({kind for each in said for kind in each.kinds}) > 1


def test_the_truth_of_clips_is_that_of_their_frames(root: Path) -> None:
    samples = open_dataset("world-refer-videos", root)
    assert samples and all(len(each.frames) == 3 for each in samples if isinstance(each, ReferSample))
    sample = samples[0]
    assert isinstance(sample, ReferSample)
    calm, others = (open_dataset("world-refer-videos", root, split) for split in ("calm", "worlds"))
    assert [each.name for each in (*calm, *others)] == [each.name for each in samples] and calm and others
    evaluator = TASK.evaluator(sample, "expressions")
    for index in range(3):
        evaluator.update(index, sample.load(index)[0])
    assert np.all(evaluator.result().series["expression"]["J"] == 1)


def test_a_broken_list_is_named(root: Path) -> None:
    samples = open_dataset("world-refer", root)
    path = root / "world-refer" / samples[0].name.split("/")[0] / "expressions.json"
    text = path.read_text()
    try:
        path.write_text(text.replace('"labels"', '"label"'))
        with pytest.raises(SettingsError, match=r"expressions\.json"):
            open_dataset("world-refer", root)
    finally:
        path.write_text(text)


def test_processes_have_two_texts_each_and_void_where_nobody_knows(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    clips = (ProcessClip("fade-00", "fade", 3, 10, 64, 96),)
    monkeypatch.setattr(processes, "PROCESS_CLIPS", clips)
    samples = open_dataset("world-process", tmp_path)
    assert [each.name for each in samples] == ["fade-00/0", "fade-00/1"] and len({each.texts for each in samples}) == 2
    (first,), none = samples[0].load(0)
    (late,), void = samples[0].load(7)
    assert first.any() and not none.any() and void.any() and not (late & void).any()
    evaluator = TASK.evaluator(samples[0], "region")
    for index in range(10):
        (truth,), void = samples[0].load(index)
        # What lies in the void does not count.
        evaluator.update(index, (truth | void)[None])
    assert np.all(evaluator.result().series["expression"]["J"] == 1)


def test_a_model_answers_pictures_and_follows_in_clips(family_folder, root: Path) -> None:
    from undertow.backbones import load
    from undertow.referring import ReferSettings

    backbone = load(family_folder("sd-3-medium") / "card.json", device="cpu", dtype="float32")
    predictor = ReferModel(backbone, ReferSettings(tokens=24))
    assert get_protocol("full").stride == 1
    for name, count in (("world-refer", 1), ("world-refer-videos", 3)):
        sample = open_dataset(name, root)[0]
        with sample.open() as video:
            masks = list(predictor(iter([video[index] for index in range(count)]), sample.texts[0]))  # type: ignore[attr-defined]
        assert len(masks) == count and all(mask.shape == (64, 96) and mask.dtype == bool for mask in masks)
    assert not any(mask.any() for mask in predictor(iter([np.zeros((64, 96, 3), np.uint8)]), "of the"))
