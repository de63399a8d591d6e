import contextlib
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import undertow.tracking
from undertow.base import CueError, MaskError, SettingsError, VideoError
from undertow.base.options import assigned
from undertow.masks import soft_one_hot
from undertow.tracking import MaskTracker, TrackSettings, resolve, track
from undertow.video import Video
from undertow.world import WorldSettings, crossing_scene, make_scene

FRAMES = 6


@pytest.fixture(scope="module")
def clip():
    scene = crossing_scene(seed=11, height=96, width=160, frames=24)
    pictures = [scene.picture(float(t)) for t in range(FRAMES)]
    return np.stack([p.image for p in pictures]), [p.labels for p in pictures]


def overlap(a, b):
    return (a & b).sum() / max(1, (a | b).sum())


SMALL = TrackSettings(preset="pixels", tokens=960, radius=4, recent=3, direction="forward")


def test_pixels_follow_two_objects(clip, tiny_like):
    images, truth = clip
    results = list(track(images, truth[0], tiny_like, SMALL))
    assert [r.index for r in results] == list(range(FRAMES))
    for object_id in (1, 2):
        assert overlap(results[-1].labels == object_id, truth[-1] == object_id) > 0.5
        still = overlap(truth[0] == object_id, truth[-1] == object_id)
        assert overlap(results[-1].labels == object_id, truth[-1] == object_id) > still


@pytest.mark.parametrize("preset", ["drift", "dift", "flow", "dino", "crw", "pixels", "latents"])
def test_every_preset_tracks_a_still_picture(preset, clip, tiny_like):
    # Three equal frames: whatever the kernel, the answer may blur but must stay where it is.
    images, truth = clip
    settings = TrackSettings(preset=preset, tokens=960, radius=3, noising="clean")
    results = list(track(np.repeat(images[:1], 3, axis=0), truth[0], tiny_like, settings))
    assert overlap(results[-1].labels > 0, truth[0] > 0) > 0.6


def test_given_masks_come_out_exactly(clip, tiny_like):
    images, truth = clip
    results = list(track(images, {0: truth[0], 3: truth[3]}, tiny_like, SMALL))
    assert np.array_equal(results[0].labels, truth[0]) and np.array_equal(results[3].labels, truth[3])


def test_step_and_track_are_one_engine(clip, tiny_like):
    images, truth = clip
    settings = TrackSettings(tokens=960, batch=1)
    tracker = MaskTracker(tiny_like, settings)
    stepped = [tracker.step(image, truth[0] if i == 0 else None) for i, image in enumerate(images)]
    for a, b in zip(stepped, track(images, truth[0], tiny_like, settings), strict=True):
        assert np.array_equal(a.labels, b.labels) and a.scores == b.scores


def test_an_object_joins_late_and_the_first_goes_on(clip, tiny_like):
    images, truth = clip
    first = np.where(truth[0] == 1, 1, 0).astype(np.uint16)
    second = np.where(truth[2] == 2, 2, 0).astype(np.uint16)
    results = list(track(images, {0: first, 2: second}, tiny_like, SMALL))
    assert 2 not in results[1].scores and set(results[2].scores) == {1, 2}
    assert np.array_equal(results[2].labels == 2, second == 2)
    assert overlap(results[2].labels == 1, truth[2] == 1) > 0.5, "the first object is still there"
    for object_id in (1, 2):
        assert overlap(results[-1].labels == object_id, truth[-1] == object_id) > 0.4


def test_a_corrected_object_goes_on_as_if_it_began_there(clip, tiny_like):
    images, truth = clip
    # Both objects in the wrong place at first: by the third frame every reference is wrong.
    wrong = np.roll(truth[0], 40, axis=1)
    corrected = list(track(images, {0: wrong, 3: truth[3]}, tiny_like, SMALL))[4:]
    fresh = list(track(Video(images[3:]), truth[3], tiny_like, SMALL))[1:]
    for ours, theirs in zip(corrected, fresh, strict=True):
        assert np.array_equal(ours.labels, theirs.labels)


def test_correcting_one_object_leaves_the_other_alone(clip, tiny_like):
    images, truth = clip
    only = np.where(truth[3] == 1, 1, 0).astype(np.uint16)
    plain = list(track(images, truth[0], tiny_like, SMALL))
    corrected = list(track(images, {0: truth[0], 3: only}, tiny_like, SMALL))
    for before, after, true in zip(plain[4:], corrected[4:], truth[4:], strict=True):
        assert overlap(before.labels == 2, after.labels == 2) > 0.9
        assert overlap(after.labels == 1, true == 1) >= overlap(before.labels == 1, true == 1) - 0.02


def test_frames_before_the_first_mask_are_empty(clip, tiny_like):
    images, truth = clip
    results = list(track(images, {2: truth[2]}, tiny_like, SMALL))
    assert not results[0].labels.any() and not results[0].scores
    assert np.array_equal(results[2].labels, truth[2])


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_none_is_refused(tiny_like, temperature):
    with pytest.raises(SettingsError, match=f"^temperature is {temperature}; give a number above 0$"):
        MaskTracker(tiny_like, TrackSettings(temperature=temperature))
    with pytest.raises(SettingsError, match=f"^temperature is {temperature}; give a number above 0$"):
        assigned(TrackSettings(), [f"temperature={temperature}"])


def test_soft_labels_stay_a_partition(clip, tiny_like):
    images, truth = clip
    tracker = MaskTracker(tiny_like, SMALL)
    for index, image in enumerate(images):
        tracker.step(image, truth[0] if index == 0 else None)
    for reference in tracker._state.memory.references():
        torch.testing.assert_close(reference.labels.sum(0), torch.ones(reference.labels.shape[1]))


def test_first_labels_are_area_averages(clip, tiny_like):
    images, truth = clip
    tracker = MaskTracker(tiny_like, SMALL)
    tracker.step(images[0], truth[0])
    (anchor,) = tracker._state.memory.references()
    expected = soft_one_hot(truth[0], [1, 2], tracker.resolved.grid).flatten(1)
    torch.testing.assert_close(anchor.labels, expected)


def test_memory_holds_frame_zero_and_the_recent_ones(clip, tiny_like):
    images, truth = clip
    tracker = MaskTracker(tiny_like, SMALL)
    for index, image in enumerate(images):
        tracker.step(image, truth[0] if index == 0 else None)
    assert [r.index for r in tracker._state.memory.references()] == [0, 3, 4, 5]


def test_batch_size_does_not_change_the_frames_seen(clip, tiny_like):
    images, truth = clip
    one, four = (
        [r.labels for r in track(images, truth[0], tiny_like, TrackSettings(tokens=960, batch=batch))]
        for batch in (1, 4)
    )
    assert np.mean([np.mean(a == b) for a, b in zip(one, four, strict=True)]) > 0.999


def test_generators_and_one_frame_work(clip, tiny_like):
    images, truth = clip
    (only,) = track(images[:1], truth[0], tiny_like, SMALL)
    assert np.array_equal(only.labels, truth[0])
    stream = (image for image in images)
    assert len(list(track(Video(stream), truth[0], tiny_like, SMALL))) == FRAMES


def test_frames_before_a_failure_of_their_source_are_tracked(clip, tiny_like):
    images, truth = clip

    def camera():
        yield from images[:4]
        raise OSError("unplugged")

    seen = []
    with pytest.raises(OSError, match="unplugged"):
        for result in track(Video(camera()), truth[0], tiny_like, TrackSettings(tokens=60, batch=3)):
            seen.append(result.index)
    assert seen == [0, 1, 2, 3]


def test_masks_are_arrays_tensors_or_images(clip, tiny_like):
    images, truth = clip
    expected = MaskTracker(tiny_like, TrackSettings(tokens=60)).step(images[0], truth[0])
    for mask in (torch.from_numpy(truth[0].astype(np.int64)), Image.fromarray(truth[0].astype(np.uint8))):
        tracker = MaskTracker(tiny_like, TrackSettings(tokens=60))
        assert (tracker.step(images[0], mask).labels == expected.labels).all()
        tracker.teach(mask)


def test_window_scales_with_the_grid(tiny_like):
    card = tiny_like.card
    whole = resolve(TrackSettings(tokens=card.window_grid[0] * card.window_grid[1]), tiny_like, 480, 854)
    quarter = resolve(TrackSettings(tokens=card.window_grid[0] * card.window_grid[1] // 4), tiny_like, 480, 854)
    assert whole.kernel.radius == card.window_radius
    assert quarter.kernel.radius == round(card.window_radius / 2)


def test_bad_input_is_one_clear_error(clip, tiny_like):
    images, truth = clip
    tracker = MaskTracker(tiny_like, SMALL)
    with pytest.raises(CueError, match="no mask"):
        tracker.step(images[0])
    with pytest.raises(MaskError):
        MaskTracker(tiny_like, SMALL).step(images[0], truth[0][:50])
    with pytest.raises(MaskError, match="no object"):
        MaskTracker(tiny_like, SMALL).step(images[0], np.zeros_like(truth[0]))
    with pytest.raises(CueError, match="frame 99"):
        list(track(images, {99: truth[0]}, tiny_like, SMALL))
    tracker = MaskTracker(tiny_like, SMALL)
    tracker.step(images[0], truth[0])
    with pytest.raises(VideoError, match="160x90"):
        tracker.step(images[1][:90])
    with pytest.raises(SettingsError, match="topk"):
        TrackSettings(topk=0)
    with pytest.raises(SettingsError, match="preset"):
        list(track(images, truth[0], tiny_like, TrackSettings(preset="nonsense")))


def test_void_pixels_are_kept_and_not_tracked(clip, tiny_like):
    images, truth = clip
    mask = truth[0].copy()
    mask[:4] = 65535
    results = list(itertools.islice(track(images, mask, tiny_like, SMALL), 2))
    assert np.array_equal(results[0].labels, mask)
    assert not (results[1].labels == 65535).any()


def test_scores_say_how_sure(clip, tiny_like):
    images, truth = clip
    results = list(track(images, truth[0], tiny_like, TrackSettings(preset="drift", tokens=960)))
    assert results[0].scores[1].margin == 1.0 and results[0].scores[1].area == int((truth[0] == 1).sum())
    for result in results[1:]:
        for object_id, score in result.scores.items():
            assert score.area == int((result.labels == object_id).sum())
            assert 0 <= score.margin <= 1 and 0 <= score.mass <= 1 + 1e-5


def test_worlds_are_tracked_by_colour_better_than_by_repeating_the_mask(tiny_like):
    scene = make_scene(1_000_000_003, WorldSettings(height=96, width=160, leaves=30, objects=(1, 2), copies=0.0))
    pictures = [scene.picture(float(t)) for t in (0, 3, 6, 9)]
    results = list(track(np.stack([p.image for p in pictures]), pictures[0].labels, tiny_like, SMALL))
    assert overlap(results[-1].labels > 0, pictures[-1].labels > 0) > 0.4


def snapshot(tracker):
    return {name: tensor.clone() for name, tensor in tracker.state().items()} if tracker.ids else None


def same(one, other):
    return one is other is None or (one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one))


@pytest.mark.parametrize("first", [True, False])
def test_an_interruption_at_any_line_of_a_step_leaves_the_tracker_as_it_was(clip, tiny_like, first):
    images, truth = clip
    lines = set()
    folder = str(Path(undertow.tracking.__file__).parent)

    def interrupt_at(wanted):
        def trace(frame, event, _):
            if not frame.f_code.co_filename.startswith(folder) or frame.f_code.co_name == "guarded":
                return None if frame.f_code.co_name != "guarded" else trace
            place = (frame.f_code.co_filename, frame.f_lineno)
            if event == "line" and wanted is None:
                lines.add(place)
            if event == "line" and place == wanted:
                raise KeyboardInterrupt
            return trace

        return trace

    def prepared():
        tracker = MaskTracker(tiny_like, SMALL)
        if not first:
            tracker.step(images[0], truth[0])
            tracker.step(images[1])
        return tracker, (0 if first else 2), truth[0] if first else truth[2]

    def stepped(tracker, index, mask, wanted):
        sys.settrace(interrupt_at(wanted))
        try:
            return tracker.step(images[index], mask)
        finally:
            sys.settrace(None)

    stepped(*prepared(), None)
    assert len(lines) > 100
    tracker, index, mask = prepared()
    before = snapshot(tracker)
    for place in sorted(lines):
        with contextlib.suppress(KeyboardInterrupt):
            stepped(tracker, index, mask, place)
            raise AssertionError(f"{place} was not reached")
        assert same(snapshot(tracker), before), place
    assert np.array_equal(tracker.step(images[index], mask).labels, prepared()[0].step(images[index], mask).labels)


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (np.zeros((96, 160, 3), np.float32), "frame 0 has values of type float32; give uint8"),
        (np.zeros((96, 160, 5), np.uint8), "frame 0 has shape"),
        ("picture.png", "frame 0"),
    ],
)
def test_a_refused_first_step_fixes_nothing(clip, tiny_like, image, sentence):
    images, truth = clip
    tracker = MaskTracker(tiny_like, SMALL)
    with pytest.raises(VideoError, match=sentence):
        tracker.step(image, truth[0])
    with pytest.raises(CueError, match="frame 0 has no mask"):
        tracker.step(images[0])
    with pytest.raises(MaskError):
        tracker.step(images[0][:48], truth[0])
    strided = np.asfortranarray(images[0])[:, ::-1]
    assert np.array_equal(tracker.step(strided, truth[0][:, ::-1]).labels, truth[0][:, ::-1])


def test_an_object_can_be_removed(clip, tiny_like):
    images, truth = clip
    tracker = MaskTracker(tiny_like, SMALL)
    tracker.step(images[0], truth[0])
    tracker.step(images[1])
    with pytest.raises(CueError, match=r"object 9 is not tracked \(tracked are 1, 2\)"):
        tracker.remove_object(9)
    tracker.remove_object(1)
    result = tracker.step(images[2])
    only = list(track(images[:3], np.where(truth[0] == 2, 2, 0).astype(np.uint16), tiny_like, SMALL))[-1]
    assert set(result.scores) == {2} and overlap(result.labels == 2, only.labels == 2) > 0.8
    tracker.remove_object(2)
    with pytest.raises(CueError, match="frame 3 has no mask and no object is tracked"):
        tracker.step(images[3])
    assert set(tracker.step(images[3], truth[3]).scores) == {1, 2}


def test_what_is_taught_is_checked(clip, tiny_like):
    images, truth = clip
    tracker = MaskTracker(tiny_like, SMALL)
    with pytest.raises(SettingsError, match="before its first frame"):
        tracker.teach(truth[0])
    tracker.step(images[0], truth[0])
    with pytest.raises(MaskError, match="the label map of frame 0"):
        tracker.teach(truth[0][:10])
