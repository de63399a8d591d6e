import sys
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from undertow.base import SettingsError, WeightsUnavailable
from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.core.methods import baseline_method, make_methods
from undertow.benchmarks.core.runner import run_benchmark
from undertow.benchmarks.core.sample import get_protocol
from undertow.benchmarks.masks.methods import FlowSettings, carry, copy_labels, flow_labels, model_method
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
        topk=5, temperature=0.1, lost="keep", first_labels="nearest", recent=0, size=(64, 48), fit="squash",
        direction="forward",
    )  # fmt: skip
    assert method.name.startswith("mine+keep+topk-5+temperature-0.1+")
    for wrong in ("topk", "topk=", "topk=many", "topk=0", "top=5", "lost=empti", "recent=1.5", "recent=" + "9" * 5000):
        with pytest.raises(SettingsError):
            model_method(model_folder, device="cpu", assignments=[wrong])


def texture(seed: int, height: int, width: int) -> np.ndarray:
    """Colours that vary smoothly and at random, repeating after the given size."""
    y, x = np.mgrid[:height, :width]
    generator = np.random.default_rng(seed)
    waves = np.zeros((height, width, 3))
    for _ in range(14):
        rows, columns = generator.integers(-9, 10, 2)
        phase = generator.random(3) * 2 * np.pi
        waves += np.cos(2 * np.pi * (rows * y / height + columns * x / width)[..., None] + phase)
    return np.clip(128 + 24 * waves, 0, 255).astype(np.uint8)


def rolling(count: int, shift: tuple[int, int]) -> list[np.ndarray]:
    """Images that move as a whole, by (down, right) pixels per frame."""
    image = texture(1, 72, 96)
    return [np.roll(image, (step * shift[0], step * shift[1]), (0, 1)) for step in range(count)]


def jaccard(pred: np.ndarray, true: np.ndarray) -> float:
    return float((pred & true).sum() / (pred | true).sum())


def test_copy_repeats_the_first_map() -> None:
    first = np.eye(4, dtype=np.uint16)
    labels = list(copy_labels(iter([np.zeros((4, 4, 3), np.uint8)] * 3), {0: first}))
    assert len(labels) == 3 and all((each == first).all() for each in labels)


@pytest.mark.parametrize("estimator", ["farneback", "dis"])
@pytest.mark.parametrize("tokens", [None, 60])
def test_flow_carries_labels_along(estimator: Any, tokens: int | None) -> None:
    first = np.zeros((72, 96), np.uint16)
    first[20:44, 20:40], first[30:60, 50:74] = 3, 7
    settings = FlowSettings(estimator=estimator, tokens=tokens)
    results = list(flow_labels(iter(rolling(6, (1, 2))), {0: first}, settings))
    assert len(results) == 6 and (results[0] == first).all()
    for step, labels in enumerate(results):
        assert labels.dtype == np.uint16 and set(np.unique(labels)) == {0, 3, 7}
        for number in (3, 7):
            moved = np.roll(first, (step, 2 * step), (0, 1)) == number
            assert jaccard(labels == number, moved) > (0.85 if tokens is None else 0.75)
    still = jaccard(first == 3, np.roll(first, (5, 10), (0, 1)) == 3)
    assert still < 0.4


def test_working_size_has_the_area_of_the_budget() -> None:
    assert FlowSettings().working_size(480, 854) == (480, 854)
    height, width = FlowSettings(tokens=1600).working_size(480, 854)
    assert height * width == pytest.approx(1600 * 64, rel=0.01) and width / height == pytest.approx(854 / 480, rel=0.01)
    assert FlowSettings(tokens=100000).working_size(480, 854) == (480, 854)


def one_hot() -> np.ndarray:
    soft = np.zeros((2, 6, 10), np.float32)
    soft[1, 2:5, 3:6] = 1
    soft[0] = 1 - soft[1]
    return soft


def field(x: float, y: float = 0.0) -> np.ndarray:
    return np.full((6, 10, 2), (x, y), np.float32)


def test_backward_flow_points_to_where_the_label_is_fetched() -> None:
    carried = carry(one_hot(), backward=field(-2, 1), forward=field(2, -1), settings=FlowSettings(tolerance=0.1))
    np.testing.assert_allclose(carried[1, :5, 2:], one_hot()[1, 1:, :-2])


def test_no_motion_changes_nothing() -> None:
    for fallback in ("doubt", "nearest", "previous"):
        settings = FlowSettings(fallback=fallback)
        np.testing.assert_allclose(carry(one_hot(), backward=field(0), forward=field(0), settings=settings), one_hot())


def test_longer_flows_have_more_slack() -> None:
    settings = FlowSettings(fallback="previous", tolerance=0.5, share=0.1)
    # Gaps of 1 px (squared: 1) against 0.5 + 0.1 * (9 + 4) = 1.8, and against 0.5 + 0.1 * (1 + 0) = 0.6.
    passed = carry(one_hot(), backward=field(-3), forward=field(2), settings=settings)
    failed = carry(one_hot(), backward=field(-1), forward=field(0), settings=settings)
    np.testing.assert_allclose(passed[1, :, 3:], one_hot()[1, :, :-3])
    np.testing.assert_allclose(failed, one_hot())


def inconsistent_left_half() -> dict[str, Any]:
    """No motion, but on the left half the forward flow disagrees."""
    forward = field(0)
    forward[:, :5] = 4
    return {"backward": field(0), "forward": forward}


def test_doubt_hands_a_share_to_the_background() -> None:
    settings = FlowSettings(tolerance=0.5, share=0.0, trust=0.7)
    carried = carry(one_hot(), **inconsistent_left_half(), settings=settings)
    expected = one_hot()[1]
    expected[:, :5] *= 0.7
    np.testing.assert_allclose(carried[1], expected, rtol=1e-6)
    np.testing.assert_allclose(carried.sum(0), 1, rtol=1e-6)
    full = carry(one_hot(), **inconsistent_left_half(), settings=FlowSettings(tolerance=0.5, share=0.0, trust=1.0))
    np.testing.assert_allclose(full, one_hot())


def test_nearest_takes_the_closest_pixel_that_passed() -> None:
    settings = FlowSettings(tolerance=0.5, share=0.0, fallback="nearest")
    carried = carry(one_hot(), **inconsistent_left_half(), settings=settings)
    expected = one_hot()
    expected[:, :, :5] = expected[:, :, 5:6]
    np.testing.assert_allclose(carried, expected)


def test_previous_keeps_the_label_of_the_place() -> None:
    flows = {"backward": field(-1), "forward": field(1)}
    flows["forward"][:, :5] = 6
    settings = FlowSettings(tolerance=0.5, share=0.0, fallback="previous")
    carried = carry(one_hot(), **flows, settings=settings)
    np.testing.assert_allclose(carried[:, :, 1:5], one_hot()[:, :, 1:5])
    np.testing.assert_allclose(carried[:, :, 6:], one_hot()[:, :, 5:-1])


def test_what_comes_from_outside_the_image_is_not_consistent() -> None:
    flows = {"backward": field(-4), "forward": field(4)}
    soft = np.stack([np.zeros((6, 10), np.float32), np.ones((6, 10), np.float32)])
    carried = carry(soft, **flows, settings=FlowSettings(trust=0.5))
    np.testing.assert_allclose(carried[1, :, :4], 0.5)
    np.testing.assert_allclose(carried[1, :, 4:], 1.0)


def test_nothing_consistent_keeps_the_previous_labels() -> None:
    settings = FlowSettings(tolerance=0.5, share=0.0, fallback="nearest")
    np.testing.assert_allclose(carry(one_hot(), backward=field(2), forward=field(2), settings=settings), one_hot())


def test_settings_out_of_range() -> None:
    with pytest.raises(SettingsError, match="trust is 2"):
        FlowSettings(trust=2)
    with pytest.raises(SettingsError, match="tokens is 3"):
        FlowSettings(tokens=3)


def test_without_opencv_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    frames = iter(rolling(2, (0, 0)))
    with pytest.raises(SettingsError, match="pip install opencv-python-headless"):
        list(flow_labels(frames, {0: np.ones((72, 96), np.uint16)}, FlowSettings()))


@pytest.mark.parametrize("carried", [False, True])
def test_an_object_that_joins_later_is_painted_over_what_is_there(carried: bool) -> None:
    first, second = np.zeros((72, 96), np.uint16), np.zeros((72, 96), np.uint16)
    first[20:44, 20:40], second[30:60, 30:74] = 1, 2
    still = iter([np.full((72, 96, 3), 7, np.uint8)] * 4)
    cues = {0: first, 2: second}
    maps = list(flow_labels(still, cues, FlowSettings()) if carried else copy_labels(still, cues))
    joined = np.where(second > 0, 2, first)
    assert (maps[1] == first).all() and (maps[2] == joined).all() and (maps[3] == joined).all()


def test_a_first_mask_is_needed() -> None:
    with pytest.raises(SettingsError, match="no mask of the first frame"):
        list(copy_labels(iter([np.zeros((4, 4, 3), np.uint8)]), {}))
