from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from undertow.base import SettingsError, WeightsUnavailable
from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.core.methods import baseline_method, make_methods
from undertow.benchmarks.core.runner import run_benchmark
from undertow.benchmarks.core.sample import get_protocol
from undertow.benchmarks.masks.methods import FlowSettings, flow_method, model_method
from undertow.tracking import TrackSettings, track
from undertow.video import Video


@pytest.fixture(scope="module")
def model_folder(tiny_like, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model as files, the way a user's own would lie there."""
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


def test_every_baseline_and_every_model_with_every_preset(model_folder: Path) -> None:
    names = [method.name for method in make_methods([model_folder], ["drift", "pixels"], ["copy", "dis"])]
    assert names == ["copy", "dis", "mine+drift", "mine+pixels"]
    assert [method.name for method in make_methods([model_folder])] == ["mine"]
    kept = make_methods([model_folder], ["drift"], settings=TrackSettings(lost="keep"))
    assert [method.name for method in kept] == ["mine+drift+keep"]


def test_a_model_runs_as_track_does(model_folder: Path, folders: Path, tmp_path: Path) -> None:
    sequence = open_dataset("davis", folders)[1]
    settings = TrackSettings(tokens=48, radius=2)
    method = model_method(model_folder, "pixels", settings, device="cpu", dtype="float32")
    predict = method.make_predictor(get_protocol("full"))
    with Video(sequence.video) as video:
        images = [video[index] for index in range(len(video))]
    predicted = list(predict(iter(images), {0: sequence.load_mask(0)}))
    with Video(sequence.video) as video:
        tracked = track(video, sequence.load_mask(0), model_folder, replace(settings, preset="pixels"))
        for labels, result in zip(predicted, tracked, strict=True):
            np.testing.assert_array_equal(labels, result.labels)
    (outcome,) = run_benchmark([sequence], [method], tmp_path / "out")
    assert outcome.method == "mine+pixels" and len(outcome.seconds) == 7


def test_the_protocols_tokens_apply_unless_a_size_is_given(model_folder: Path) -> None:
    seen = []
    for settings in (None, TrackSettings(tokens=100), TrackSettings(size=(64, 48))):
        method = model_method(model_folder, settings=settings, device="cpu")
        used = method.make_predictor(get_protocol("lab")).settings
        seen.append((used.tokens, used.size))
    assert seen == [(1600, None), (100, None), (None, (64, 48))]


def test_a_refiner_is_part_of_what_is_measured(model_folder: Path, folders: Path) -> None:
    plain, guided = (
        model_method(model_folder, settings=TrackSettings(refine=refine), device="cpu") for refine in ("none", "guided")
    )
    assert guided.name == f"{plain.name}+guided" and guided.settings["refiner"]["refine"] == "guided"
    same = {"refiner": None, "refine": None}
    assert {**guided.settings, **same} == {**plain.settings, **same}
    with open_dataset("davis", folders)[1].open() as video:
        images = [frame.image for frame in video]
    cues = open_dataset("davis", folders)[1].cues()
    maps = [list(each.make_predictor(get_protocol("lab"))(iter(images), cues)) for each in (plain, guided)]
    assert len(maps[0]) == len(maps[1]) and any((one != two).any() for one, two in zip(*maps, strict=True))


def test_settings_change_with_options_and_weights(model_folder: Path, tiny_like) -> None:
    first = model_method(model_folder, "pixels").settings
    assert model_method(model_folder, "pixels").settings == first
    assert model_method(model_folder, "latents").settings != first
    assert model_method(model_folder, "pixels", TrackSettings(topk=3)).settings != first
    weight = next(tiny_like.autoencoder.module.parameters())
    before = weight.detach().clone()
    with torch.no_grad():
        weight.add_(0.01)
    tiny_like.autoencoder.module.save_pretrained(model_folder / "vae")
    assert model_method(model_folder, "pixels").settings != first
    with torch.no_grad():
        weight.copy_(before)
    tiny_like.autoencoder.module.save_pretrained(model_folder / "vae")
    assert model_method(model_folder, "pixels").settings == first


def test_absent_weights_are_noticed_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsUnavailable, match="empty has no"):
        make_methods([tmp_path / "empty"], baselines=["copy"])
    with pytest.raises(SettingsError, match="no model is called 'enormous'; give one of tiny"):
        make_methods(["enormous"])


def test_baselines_take_settings_for_sweeps() -> None:
    swept = flow_method(FlowSettings(estimator="dis", trust=0.5), label="dis-0.5")
    assert swept.name == "dis-0.5" and swept.settings["trust"] == 0.5
    assert swept.settings != baseline_method("dis").settings
    assert baseline_method("farneback").settings["estimator"] == "farneback"


def test_unknown_baselines() -> None:
    with pytest.raises(SettingsError, match="'raft' is not one of copy, farneback, dis"):
        baseline_method("raft")


def test_methods_travel_between_processes(model_folder: Path) -> None:
    for method in make_methods([model_folder], ["pixels"], ["copy", "farneback", "dis"], device="cpu"):
        assert ForkingPickler.loads(bytes(ForkingPickler.dumps(method))) == method


def test_a_baseline_of_another_task_is_known_by_name_and_kept_from_these_samples(folders: Path, tmp_path: Path) -> None:
    method = baseline_method("still")
    assert (method.task, dict(method.settings)) == ("points", {"baseline": "still"})
    with pytest.raises(SettingsError, match="method 'still' does 'points', but the dataset asks for 'masks'"):
        run_benchmark(open_dataset("davis", folders), [baseline_method("copy"), method], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_setting_can_be_assigned(model_folder: Path) -> None:
    given = ["topk=5", "temperature=0.1", "lost=keep", "first-labels=nearest", "recent=0", "size=64,48", "fit=squash"]
    method = model_method(model_folder, device="cpu", assignments=given)
    used = method.make_predictor(get_protocol("lab")).settings
    assert used == TrackSettings(
        topk=5, temperature=0.1, lost="keep", first_labels="nearest", recent=0, size=(64, 48), fit="squash"
    )
    assert method.name.startswith("mine+keep+topk-5+temperature-0.1+")
    for wrong in ("topk", "topk=", "topk=many", "topk=0", "top=5", "lost=empti", "recent=1.5", "recent=" + "9" * 5000):
        with pytest.raises(SettingsError):
            model_method(model_folder, device="cpu", assignments=[wrong])
