"""From masks to kernels, to disk and back, and into tracking."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from undertow.base import CueError, SettingsError, SilentProgress
from undertow.tracking import MaskTracker, track
from undertow.tracking.kernels import with_background
from undertow.tracking.tuning import (
    ObjectKernel,
    TunedKernels,
    TuningSettings,
    read_facts,
    read_kernel,
    starting_conditioning,
    tune,
    write_kernel,
)
from undertow.video import Video

QUICK = TuningSettings(steps=3, rate=0.02, exclude_self=True)


@pytest.fixture(scope="module")
def tuned(tunable, clip, settings):
    return tune(Video(clip[0]), {0: clip[1][0]}, tunable, settings, QUICK)


def maps(results):
    return [result.labels for result in results]


def test_every_object_has_a_kernel_of_its_own(tuned, tunable):
    assert set(tuned.objects) == {1, 2} and len(tuned.conditionings) == 2
    null = tunable.condition("").tensor
    for kernel in tuned.objects.values():
        assert kernel.conditioning.provenance == "learned" and kernel.conditioning.tensor.shape == null.shape
        assert not torch.equal(kernel.conditioning.tensor, null)
    first = tuned.head_weights(tuned.objects[1])
    assert first.shape == (4,) and (first[2:] == 0).all()


def test_a_tuned_clip_is_tracked(tuned, tunable, clip, settings):
    images, truth = clip
    # Three equal frames, on a finer grid than it was learned on: what is given must stay where it is.
    still = np.repeat(images[:1], 3, axis=0)
    results = list(track(still, truth[0], tunable, replace(settings, tokens=960, temperature=0.1), tuned))
    assert np.array_equal(results[0].labels, truth[0])
    for object_id in (1, 2):
        mine, true = results[-1].labels == object_id, truth[0] == object_id
        assert (mine & true).sum() / (mine | true).sum() > 0.4
        assert 0 < results[-1].scores[object_id].mass <= 1 + 1e-5


def test_kernels_that_are_all_one_are_the_untuned_tracker(tunable, clip, settings):
    images, truth = clip
    one = ObjectKernel(tunable.condition(""), torch.full((2,), 0.5))
    expected = tunable.card.sites["tuning"]
    card = tunable.card
    tunable.card = replace(
        card,
        sites={"track": expected},
        temperatures={**card.temperatures, "drift": card.temperatures["drift, tuned"]},
        calibrated=(),
    )
    try:
        untuned = maps(track(images, truth[0], tunable, settings))
    finally:
        tunable.card = card
    # One kernel for all, the same for each, and two that are equal without being one.
    for tuned in (TunedKernels(others=one), TunedKernels({1: one, 2: one}), TunedKernels({1: one, 2: replace(one)})):
        for ours, theirs in zip(maps(track(images, truth[0], tunable, settings, tuned)), untuned, strict=True):
            assert np.array_equal(ours, theirs)


def test_one_object_with_its_own_kernel_is_that_object_alone(tuned, tunable, clip, settings):
    # With one object, background is 1 - m: nothing differs.
    images, truth = clip
    only = np.where(truth[0] == 1, 1, 0).astype(np.uint16)
    own, shared = TunedKernels({1: tuned.objects[1]}), TunedKernels(others=tuned.objects[1])
    for a, b in zip(
        track(images, only, tunable, settings, own), track(images, only, tunable, settings, shared), strict=True
    ):
        assert np.array_equal(a.labels, b.labels) and a.scores == b.scores


def test_background_is_what_no_kernel_claims():
    objects = torch.tensor([[0.7, 0.2, 0.0, 1.0], [0.6, 0.1, 0.0, 1.0]])
    soft = with_background(objects)
    torch.testing.assert_close(soft[0], torch.tensor([0.0, 0.7, 1.0, 0.0]))
    # What kernels claim together may be more than there is; neither object loses by that.
    assert torch.equal(soft[1:], objects)
    assert soft.argmax(0).tolist() == [1, 0, 0, 1]


def test_an_object_without_a_kernel_is_refused(tuned, tunable, clip, settings):
    images, truth = clip
    with pytest.raises(CueError, match="object 2 was not tuned, only 1;"):
        list(track(images, truth[0], tunable, settings, TunedKernels({1: tuned.objects[1]})))


def test_lost_objects_and_state_go_with_kernels(tuned, tunable, clip, settings):
    images, truth = clip
    settings = replace(settings, lost="empty")
    whole = list(track(images, truth[0], tunable, settings, tuned))
    first = MaskTracker(tunable, settings, tuned)
    first.step(images[0], truth[0])
    second = MaskTracker(tunable, settings, tuned)
    second.restore(first.state())
    for image, expected in zip(images[1:], whole[1:], strict=True):
        result = second.step(image)
        assert np.array_equal(result.labels, expected.labels) and result.scores == expected.scores


def test_kept_kernels_are_used_again(tunable, clip, settings, tmp_path, monkeypatch):
    video, masks = Video(clip[0]), {0: clip[1][0]}
    first = tune(video, masks, tunable, settings, QUICK, folder=tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == len(list(tmp_path.glob("*.json"))) == 2
    facts = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert facts["model"] == tunable.fingerprint() and facts["video"] == video.fingerprint() and facts["steps"] == 3
    monkeypatch.setattr("undertow.tracking.tuning.per_object.learn", None)
    again = tune(video, masks, tunable, settings, QUICK, folder=tmp_path)
    for object_id, kernel in first.objects.items():
        assert torch.equal(kernel.conditioning.tensor, again.objects[object_id].conditioning.tensor)
    with pytest.raises(TypeError):  # another mask, other settings: they have to be learned
        tune(video, masks, tunable, settings, replace(QUICK, rate=0.03), folder=tmp_path)


class Impatient(SilentProgress):
    """Presses Ctrl-C after some steps, and counts how many there are to take."""

    def __init__(self, after=None):
        self.after, self.taken = after, []

    def advance(self, units=1, **facts):
        self.taken.append(units)
        if self.after is not None and len(self.taken) == self.after:
            raise KeyboardInterrupt


def test_an_interruption_ends_it_and_the_same_again_goes_on(tunable, clip, settings, tmp_path):
    video, masks = Video(clip[0]), {0: clip[1][0]}
    tuning = replace(QUICK, steps=5)
    with pytest.raises(KeyboardInterrupt):
        tune(video, masks, tunable, settings, tuning, folder=tmp_path, progress=Impatient(after=3))
    paths = sorted(tmp_path.glob("*.safetensors"))
    left = [read_facts(path) for path in paths]
    assert [(facts["interrupted"], facts["steps"]) for facts in left] == [(True, 3)] * 2
    assert all(facts["loss"][1] < facts["loss"][0] for facts in left), "the best so far is what was kept"
    rest = Impatient()
    tune(video, masks, tunable, settings, tuning, folder=tmp_path, progress=rest)
    assert rest.taken == [3, 1, 1], "three steps were there, two are left"
    assert sorted(tmp_path.glob("*.safetensors")) == paths
    for path, before in zip(paths, left, strict=True):
        facts = read_facts(path)
        assert (facts["interrupted"], facts["steps"]) == (False, 5)
        # What it began with is the first candidate, so it cannot have lost anything.
        assert facts["loss"][0] == pytest.approx(before["loss"][1], abs=1e-4)
        assert facts["loss"][1] <= facts["loss"][0]


def test_without_a_folder_an_interruption_returns_the_best_so_far(tunable, clip, settings):
    kernels = tune(Video(clip[0]), {0: clip[1][0]}, tunable, settings, QUICK, progress=Impatient(after=2))
    assert set(kernels.objects) == {1, 2}


def test_wrong_files_are_refused_in_a_sentence(tuned, tunable, tmp_path):
    path, kernel = tmp_path / "k.safetensors", tuned.objects[1]
    good = {"model": tunable.fingerprint()}
    write_kernel(path, kernel, good)
    read = read_kernel(path, tunable)
    assert torch.equal(read.conditioning.tensor, kernel.conditioning.tensor) and read.conditioning.text is None
    assert read_facts(path)["model"] == tunable.fingerprint()

    states = kernel.conditioning.tensor
    cases = [
        (kernel, {"model": "0" * 16}, "was learned for the model 0000000000000000"),
        (
            replace(kernel, conditioning=replace(kernel.conditioning, tensor=states[1:])),
            good,
            "a conditioning of shape",
        ),
        (replace(kernel, conditioning=replace(kernel.conditioning, tensor=states * torch.nan)), good, "NaN"),
        (replace(kernel, head_weights=kernel.head_weights * 2), good, "not shares of one"),
    ]
    for wrong, facts, message in cases:
        write_kernel(path, wrong, facts)
        with pytest.raises(SettingsError, match=message):
            read_kernel(path, tunable)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(SettingsError, match="not a kernel that undertow learned"):
        read_kernel(path, tunable)
    path.write_bytes(b"nonsense")
    with pytest.raises(SettingsError, match="cannot be read as safetensors"):
        read_kernel(path, tunable)
    with pytest.raises(SettingsError, match="cannot be read as safetensors"):
        read_kernel(tmp_path / "absent.safetensors", tunable)


def test_where_a_conditioning_starts(tuned, tunable, tmp_path):
    assert starting_conditioning(tunable) is tunable.condition("")
    assert starting_conditioning(tunable, class_name="dog") is tunable.condition("dog")
    write_kernel(tmp_path / "k.safetensors", tuned.objects[2], {"model": tunable.fingerprint()})
    found = starting_conditioning(tunable, file=tmp_path / "k.safetensors")
    assert torch.equal(found.tensor, tuned.objects[2].conditioning.tensor)
    with pytest.raises(SettingsError, match="a class name or a caption, not both"):
        starting_conditioning(tunable, class_name="dog", caption="a dog")
    with pytest.raises(SettingsError, match="is empty"):
        starting_conditioning(tunable, caption=" ")
    # What ships is for the model that ships, and says so.
    with pytest.raises(SettingsError, match=r"learned for the model|no learned start"):
        starting_conditioning(tunable, amortised=True)


def test_without_steps_one_kernel_serves_all(tunable, clip, settings):
    start = tunable.condition("a dog")
    shared = tune(Video(clip[0]), {0: clip[1][0]}, tunable, settings, TuningSettings(steps=0), start=start)
    assert not shared.objects and shared.conditionings == [start]


def test_objects_may_start_each_from_its_own(tunable, clip, settings):
    starts = {number: starting_conditioning(tunable, caption=text) for number, text in ((1, "a dog"), (2, "a red cup"))}
    asked = (Video(clip[0]), {0: clip[1][0]}, tunable, settings)
    given = tune(*asked, TuningSettings(steps=0), start=starts)
    assert {each: kernel.conditioning.text for each, kernel in given.objects.items()} == {1: "a dog", 2: "a red cup"}
    still = tune(*asked, TuningSettings(steps=1, rate=1e-9, learned="tensor"), start=starts)
    for number, start in starts.items():
        torch.testing.assert_close(still.objects[number].conditioning.tensor, start.tensor.float(), atol=1e-6, rtol=0)
    with pytest.raises(CueError, match="object 2 has no conditioning"):
        tune(*asked, TuningSettings(steps=0), start={1: starts[1]})


def test_streams_are_refused(tunable, clip, settings):
    with pytest.raises(CueError, match="stream"):
        tune(Video(image for image in clip[0]), {0: clip[1][0]}, tunable, settings, QUICK)
