from pathlib import Path

import numpy as np
import pytest
import torch

from undertow.backbones import load
from undertow.base import CueError, SettingsError
from undertow.benchmarks.core.datasets import dataset_of, open_dataset
from undertow.benchmarks.core.methods import baseline_method, make_methods
from undertow.benchmarks.core.runner import run_benchmark
from undertow.benchmarks.core.sample import get_protocol
from undertow.benchmarks.core.task import get_task
from undertow.benchmarks.parse.methods import (
    ColourSettings,
    colour_features,
    colour_labels,
    model_method,
    nearest_shares,
    parse_ways,
)
from undertow.benchmarks.parse.posed import with_anchors
from undertow.masks import VOID
from undertow.parsing import ParseSettings, parse
from undertow.video import Video


@pytest.fixture(scope="module")
def model_folder(tiny_like, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model as files, the way a user's own would lie there."""
    from diffusers import DDIMScheduler

    folder = tmp_path_factory.mktemp("models") / "mine"
    tokenizer, encoder = tiny_like._load_text()
    for name, part in [
        ("unet", tiny_like.denoiser),
        ("vae", tiny_like.autoencoder.module),
        ("text_encoder", encoder),
    ]:
        part.save_pretrained(folder / name)
    tokenizer.save_pretrained(folder / "tokenizer")
    DDIMScheduler(prediction_type="v_prediction", clip_sample=False).save_pretrained(folder / "scheduler")
    return folder


def test_the_nearest_places_vote_as_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    features, known = torch.rand(30, 5, generator=generator), torch.rand(50, 5, generator=generator)
    shares = torch.rand(50, 3, generator=generator)
    found = nearest_shares(features, known, shares, 4)
    for place in range(30):
        nearest = (known - features[place]).square().sum(1).argsort()[:4]
        torch.testing.assert_close(found[place], shares[nearest].mean(0))
    assert nearest_shares(features, known[:2], shares[:2], 4).shape == (30, 3)


def test_features_are_mean_colours_and_places() -> None:
    image = np.zeros((8, 16, 3), np.uint8)
    image[:4, 8:] = (255, 51, 0)
    features = colour_features(image, (2, 2), 0.5).numpy()
    np.testing.assert_allclose(features[:, :3], [[0, 0, 0], [1, 0.2, 0], [0, 0, 0], [0, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(features[:, 3:], [[2, 4], [2, 12], [6, 4], [6, 12]] @ np.eye(2) * 0.5 / 16, atol=1e-6)


def test_colour_follows_what_keeps_its_colour_and_knows_late_anchors() -> None:
    def frame(step: int) -> tuple[np.ndarray, np.ndarray]:
        image, labels = np.full((32, 48, 3), 40, np.uint8), np.ones((32, 48), np.uint16)
        image[8:24, 4 + 3 * step : 20 + 3 * step] = (220, 60, 30)
        labels[8:24, 4 + 3 * step : 20 + 3 * step] = 2
        return image, labels

    settings = ColourSettings(stride=4, position=0.2)
    images = [frame(step)[0] for step in range(5)]
    images[3] = images[3].copy()
    images[3][26:] = images[4][26:] = (20, 200, 20)
    late = frame(3)[1]
    late[26:] = 6
    maps = list(colour_labels(iter(images), {0: frame(0)[1], 3: late}, settings))
    assert (maps[2] == frame(2)[1]).mean() > 0.98
    assert (maps[4][28:] == 6).all() and (maps[4][:24] == frame(4)[1][:24]).mean() > 0.97
    unlabelled = frame(0)[1]
    unlabelled[:] = np.where(unlabelled == 1, 0, unlabelled)
    assert set(np.unique(next(colour_labels(iter(images), {0: unlabelled}, settings)))) == {2}


def test_ways_are_named_by_method_and_quality() -> None:
    assert parse_ways([], []) == []
    assert parse_ways([], ["exact", "turbo"]) == ["exact", "turbo"]
    assert parse_ways(["vidseg", "propagate", "emerdiff"], ["exact"]) == ["exact", "propagate", "emerdiff"]
    assert parse_ways(["vidseg"], [], ["drift"]) == ["turbo", "drift"]
    with pytest.raises(SettingsError, match="--quality 'slow' is not one of"):
        parse_ways([], ["slow"])
    with pytest.raises(SettingsError, match="--method 'magic' is not one of"):
        parse_ways(["magic"], [])


def test_a_model_parses_as_parse_does_with_an_anchor_in_the_middle(
    model_folder: Path, folders: Path, tmp_path: Path
) -> None:
    dataset, task = dataset_of("davis", folders, "parse")
    assert (dataset, task) == ("davis-folders-parse", "parse")
    (sample,) = with_anchors([open_dataset(dataset, folders)[1]], [3])
    assert sample.name == "two-from-003" and sample.anchors == (3,)
    settings = ParseSettings(method="vidseg", tokens=48, batch=3, clusters=4)
    method = model_method(model_folder, settings=settings, label="mine", device="cpu", dtype="float32")
    results = run_benchmark([sample], [method, baseline_method("copy")], tmp_path / "out", keep=True)
    assert [outcome.method for outcome in results] == ["mine", "copy"] and len(results[0].frames) == 6
    anchor = sample.load_labels(3)
    with sample.open() as video:
        parsed = list(parse(video, {3: anchor}, load(model_folder, device="cpu", dtype="float32"), settings))
    for index, result in enumerate(parsed):
        kept = get_task("parse").read(tmp_path / "out/results/mine", sample, index, "all-frames")
        np.testing.assert_array_equal(kept, result.labels)


def test_without_anchors_clusters_are_matched(model_folder: Path, folders: Path, tmp_path: Path) -> None:
    sample = open_dataset("davis-folders-parse", folders)[0]
    settings = ParseSettings(method="vidseg", tokens=48, batch=3, clusters=6)
    method = model_method(model_folder, settings=settings, label="six", device="cpu", dtype="float32")
    (outcome,) = run_benchmark([sample], [method], tmp_path / "out", rules="majority-per-video", keep=True)
    assert len(outcome.frames) == 5
    with sample.open() as video:
        assert max(int(result.labels.max()) for result in parse(video, None, model_folder, settings)) <= 5


def test_methods_of_the_task_have_names_and_settings(model_folder: Path) -> None:
    methods = make_methods([model_folder], ["turbo", "propagate", "drift", None], ["copy", "colour"], task="parse")
    assert [each.name for each in methods] == ["copy", "colour", "mine+turbo", "mine+propagate", "mine+drift", "mine"]
    assert [each.task for each in methods] == ["masks", "parse", "parse", "parse", "masks", "parse"]
    assert methods[2].settings["quality"] == "turbo"
    predictor = methods[2].make_predictor(get_protocol("lab"))
    assert predictor.settings.tokens == 1600 and predictor.both_ways
    with pytest.raises(SettingsError, match="way of parsing 'best' is not one of turbo, exact"):
        make_methods([model_folder], ["best"], task="parse")


def test_anchors_are_moved_to_frames_that_are_shown(folders: Path) -> None:
    samples = open_dataset("davis-folders-parse", folders)
    posed = with_anchors(samples[:1], (0, 4), "lab")
    assert [(each.name, each.anchors, each.pooled) for each in posed] == [
        ("one-from-000", (0,), False),
        ("one-from-003", (3,), False),
    ]
    assert with_anchors(samples, ()) == samples
    with pytest.raises(SettingsError, match="has frame 9, but 'one' has 6 frames"):
        with_anchors(samples, (9,))
    with pytest.raises(SettingsError, match="two frames that are 0 of those that protocol 'lab' shows"):
        with_anchors(samples, (0, 1), "lab")
    with pytest.raises(SettingsError, match="is of task 'masks' and has no anchors"):
        with_anchors(open_dataset("davis", folders), (0,))


def test_void_of_a_cue_is_void_for_the_parser(model_folder: Path) -> None:
    method = model_method(
        model_folder, settings=ParseSettings(method="vidseg", tokens=48, clusters=2), device="cpu", dtype="float32"
    )
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 3), np.uint8)
    cue = np.zeros((48, 64), np.uint16)
    cue[:, 32:] = 3
    maps = list(method.make_predictor(get_protocol("full"))(iter(images), {0: cue}))
    assert all(set(np.unique(labels)) == {3} for labels in maps)
    with pytest.raises(CueError, match="void everywhere"):
        list(parse(Video(images), {0: np.full((48, 64), VOID, np.uint16)}, model_folder))
