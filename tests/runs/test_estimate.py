"""Estimates: formulas against real tensors, budgets that do not fit, absurd sizes, streams, and the command."""

import gc
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from undertow import cli
from undertow.affinity import compute_affinity
from undertow.base import MemoryBudgetError, SettingsError
from undertow.base.memory import PeakMeter, process_memory, release_memory
from undertow.masks import write_label_map
from undertow.runs import estimate as module
from undertow.runs import execute
from undertow.runs.budget import parse_memory, shown_memory
from undertow.runs.estimate import check_budget, estimate
from undertow.runs.plan import Plan
from undertow.tracking import MaskTracker, TrackSettings, resolve
from undertow.tracking.appearance import told_apart
from undertow.tracking.cues import given_masks
from undertow.tracking.memory import Reference
from undertow.tracking.origins import laid_out
from undertow.tracking.task import TASK
from undertow.tracking.work import Load, appearance_bytes, kernel_bytes, track_work
from undertow.video import Clip, Video
from undertow.world import crossing_scene

HEIGHT, WIDTH, FRAMES = 64, 96, 5


@pytest.fixture(scope="module")
def clip():
    """Returns the images of a short clip and the mask of the first, with two objects."""
    scene = crossing_scene(height=HEIGHT, width=WIDTH, frames=24)
    pictures = [scene.picture(float(t)) for t in range(FRAMES)]
    return np.stack([picture.image for picture in pictures]), pictures[0].labels


def load(resolved, **changes):
    return Load(**{"resolved": resolved, "size": (480, 854), "frames": 100, "objects": 2, "anchors": 1} | changes)


def stand_in_masks(count, video):
    """Returns a mask of the first frame with so many objects in a row."""
    labels = np.zeros((video.height, video.width), np.uint16)
    labels[: video.height // 3] = np.arange(video.width) * count // video.width + 1
    return {video.start: labels}


def asked(images, objects=2):
    """Returns a clip and cues of so many objects."""
    video = Clip(Video(images))
    return video, given_masks(video, stand_in_masks(objects, video))


@pytest.mark.parametrize("preset", ["drift", "dift", "dino", "crw", "pixels", "latents"])
def test_references_are_as_large_as_the_formulas_say(tiny_like, clip, preset):
    images, mask = clip
    settings = TrackSettings(preset=preset, tokens=24, recent=2)
    tracker = MaskTracker(tiny_like, settings)
    for index, image in enumerate(images):
        tracker.step(image, mask if index == 0 else None)
    alive = tracker._state.memory.references()
    said = load(resolve(settings, tiny_like, HEIGHT, WIDTH), size=(HEIGHT, WIDTH), frames=FRAMES)
    assert len(alive) == said.references == 3
    # The storage, not the view: a key that kept its whole batch alive would show here.
    assert {each.keys.untyped_storage().nbytes() for each in alive} == {said.keys}
    assert {each.labels.nbytes for each in alive} == {said.labels}


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_kernel_takes_what_its_formula_says(tiny_like, threads):
    torch.set_num_threads(threads)
    # Cosines are of prepared copies of all references: with wide keys these stand out from the allocator's noise.
    resolved = resolve(TrackSettings(preset="dift", tokens=1152, radius=6), tiny_like, 480, 854)
    resolved = replace(resolved, sites=tuple(replace(site, head_dim=2048) for site in resolved.sites))
    plan = load(resolved, objects=200, frames=9)
    keys = torch.randn(1, plan.tokens, 2048)
    said = kernel_bytes(plan, threads)
    # Code is loaded on first use, and is no part of it.
    compute_affinity(keys[:, :64], [keys[:, :64]], (8, 8), resolved.kernel).apply(torch.rand(1, 2, 64))
    # What earlier tests have freed would be used again, unseen.
    gc.collect()
    release_memory()
    with PeakMeter() as meter:
        affinity = compute_affinity(keys, [keys] * plan.references, resolved.grid, resolved.kernel)
        affinity.apply(torch.rand(plan.references, 201, plan.tokens))
    # Less where the allocator lets the second half use what the first has left.
    assert 0.6 * said < meter.peak - meter.before < 1.35 * said


def test_telling_objects_apart_takes_no_more_than_its_formula_says(tiny_like):
    plan = load(resolve(TrackSettings(preset="flow", tokens=8160), tiny_like, 480, 854), objects=20)
    grid, radius = plan.resolved.grid, plan.resolved.kernel.radius
    labels = torch.rand(21, plan.tokens).softmax(0)
    labels[0] = 0.0
    keys, colours = torch.randn(1, plan.tokens, plan.channels), torch.rand(plan.tokens, 3)
    frame = Reference(0, keys, labels, torch.ones(21).bool(), torch.zeros(2, 21), colours=colours)
    told_apart(frame, [frame], grid, radius)
    gc.collect()
    release_memory()
    with PeakMeter() as meter:
        told_apart(frame, [frame] * plan.references, grid, radius)
    assert 0.3 * appearance_bytes(plan) < meter.peak - meter.before < 1.2 * appearance_bytes(plan)
    assert appearance_bytes(load(resolve(TrackSettings(preset="dift"), tiny_like, 480, 854))) == 0


def test_short_videos_have_few_references(tiny_like):
    resolved = resolve(TrackSettings(preset="drift", tokens=96), tiny_like, HEIGHT, WIDTH)
    assert [load(resolved, frames=frames).references for frames in (1, 2, 5, 100, None)] == [1, 2, 5, 8, 8]
    assert load(resolved, anchors=3).references == 10


@pytest.mark.parametrize(
    ("recent", "padded", "references"), [(2, False, 6), (2, True, 6), (8, False, 11), (16, False, 18)]
)
def test_frames_of_long_ago_are_counted(tiny_like, clip, recent, padded, references):
    images, mask = clip
    settings = TrackSettings(preset="flow", tokens=24, recent=recent, padded=padded)
    tracker, resolved = MaskTracker(tiny_like, settings), resolve(settings, tiny_like, HEIGHT, WIDTH)
    most, held = 0, 0
    for index in range(24):
        tracker.step(images[index % FRAMES], mask if index == 0 else None)
        memory = tracker._state.memory
        alive = [*memory.references(), *laid_out(memory, resolved.grid)]
        # What the next frame would be compared with is what a video that ends here holds.
        said = load(resolved, size=(HEIGHT, WIDTH), frames=index + 1)
        assert len(alive) <= said.references if padded else len(alive) == said.references
        most = max(most, len(alive))
        # Those that are laid out are kept as they were, too.
        held = max(held, len({each.keys.data_ptr() for each in (*alive, *memory.distant)}))
        assert held <= said.references + said.later
    full = load(resolved, size=(HEIGHT, WIDTH), frames=None)
    assert full.references == most == references and full.warm <= 34
    assert held == references + full.later
    assert {each.keys.nbytes for each in alive} == {full.keys}
    assert {each.colours.nbytes for each in alive} == {full.colours}


def test_more_of_anything_never_takes_less(tiny_like):
    def peak(height=270, width=480, objects=2, views=("overlay.mp4",), **options):
        video, given = asked(np.broadcast_to(np.uint8(0), (100, height, width, 3)), objects)
        return Plan.of(TASK, video, given, tiny_like, TrackSettings(**options), views).peak

    usual = peak()
    assert min(peak(objects=50), peak(height=1080, width=1920), peak(tokens=9216), peak(batch=32)) > usual
    assert peak(height=1080, width=1920, views=()) < peak(height=1080, width=1920)


@pytest.mark.parametrize(
    ("noising", "preset", "passes"),
    [("clean", "drift", 1), ("noise", "drift", 1), ("invert", "drift", 4), ("invert", "pixels", 0)],
)
def test_passes_are_counted(tiny_like, clip, noising, preset, passes):
    settings = TrackSettings(noising=noising, timestep=41, preset=preset, tokens=24)
    video, given = asked(clip[0])
    found = estimate(TASK, video, given, tiny_like, settings, trial=False)
    assert found.passes_per_frame == passes and found.passes == passes * FRAMES
    # What is counted is calls of the network itself.
    calls = []
    hook = tiny_like.denoiser.conv_in.register_forward_hook(lambda *_: calls.append(1))
    MaskTracker(tiny_like, settings).step(clip[0][0], clip[1])
    hook.remove()
    assert len(calls) == passes


def test_a_measured_estimate_is_whole_and_plain(tiny_like, clip, tmp_path, monkeypatch):
    # However busy this machine is.
    monkeypatch.setattr(module, "PATIENCE", math.inf)
    video = Clip(Video(clip[0]))
    given = given_masks(video, {0: clip[1]})
    settings = TrackSettings(tokens=96)
    found = estimate(TASK, video, given, tiny_like, settings, views=TASK.views)
    assert (found.frames, found.size, found.labels) == (FRAMES, (HEIGHT, WIDTH), 2)
    assert found.measured_at == 1 and found.memory == max(found.phases.values())
    assert found.memory > process_memory() * 0.5 and all(size >= 0 for size in found.parts.values())
    assert found.parts["weights of the denoiser"] == sum(p.nbytes for p in tiny_like.denoiser.parameters())
    assert found.seconds == pytest.approx(FRAMES * found.seconds_per_frame) and found.seconds > 0
    assert json.loads(json.dumps(found.as_dict()))["grid"] == list(found.grid)
    # Nothing was taken from the video, and the disk is of the right size.
    out = execute(TASK, tmp_path / "out", video, given, tiny_like, settings, views=TASK.views).path
    real = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    assert found.disk == pytest.approx(real, rel=0.3)


def test_a_stream_has_no_total_and_loses_no_frame(tiny_like, clip):
    video = Video(iter(clip[0]))
    found = estimate(TASK, video, given_masks(Clip(video), {0: clip[1]}), tiny_like, TrackSettings(tokens=24))
    assert found.frames is None and found.seconds is None and found.passes is None
    assert found.seconds_per_frame > 0 and found.disk > 0
    assert [frame.index for frame in video] == list(range(FRAMES))


@pytest.mark.parametrize("views", [TASK.views, ()])
@pytest.mark.parametrize("tokens", [1024, 9216])
def test_the_option_named_is_real_and_fits(tiny_like, tokens, views):
    video, given = asked(np.zeros((3, 240, 426, 3), np.uint8))
    found = estimate(TASK, video, given, tiny_like, TrackSettings(tokens=tokens), trial=False, views=views)
    check_budget(found, found.memory)
    smaller = dict(found.plan.smaller())
    least = min(plan.peak for plan in smaller.values())
    for share in (0.9, 0.5, 0.1):
        budget = int(least + share * (found.memory - least))
        with pytest.raises(MemoryBudgetError) as caught:
            check_budget(found, budget)
        text = str(caught.value)
        assert caught.value.exit_code == 4
        assert f"needs about {shown_memory(found.memory)} where --max-memory allows {shown_memory(budget)}" in text
        named = text.split("`")[1]
        plan, words = smaller[named], named.split()
        assert plan.peak <= budget
        assert plan.settings.batch == (int(words[words.index("--batch") + 1]) if "--batch" in words else 4)
        assert ("--views" in words) == (plan.views != views)
        if "--size" in words:
            assert f"tokens={plan.settings.tokens}" in words


def test_what_would_not_fit_is_foreseen_without_being_tried(tiny_like):
    video, given = asked(np.zeros((4, 180, 320, 3), np.uint8))
    estimate(TASK, video, given, tiny_like, TrackSettings(tokens=96))
    release_memory()
    budget = process_memory() + 200 * 10**6
    with PeakMeter() as meter:
        found = estimate(TASK, video, given, tiny_like, TrackSettings(tokens=25600), max_memory=budget)
    assert found.measured_at < 0.3
    assert meter.peak < budget < found.memory - 200 * 10**6
    with pytest.raises(MemoryBudgetError):
        check_budget(found, budget)


def test_where_nothing_fits_the_least_is_named(tiny_like, clip):
    video, given = asked(clip[0], 1)
    found = estimate(TASK, video, given, tiny_like, TrackSettings(tokens=96), trial=False)
    with pytest.raises(MemoryBudgetError, match=r"even `.*` would need about .*give more memory"):
        check_budget(found, 10**6)


@pytest.mark.parametrize(
    "settings",
    [
        TrackSettings(size=(100000, 100000)),
        TrackSettings(size=(10**9, 10**9)),
        TrackSettings(tokens=10**9),
        TrackSettings(tokens=10**400),
        TrackSettings(batch=10**9),
    ],
)
def test_absurd_sizes_are_refused_before_anything_is_allocated(tiny_like, settings):
    video = Clip(Video(iter([np.zeros((480, 854, 3), np.uint8)])))
    given = given_masks(video, stand_in_masks(2, video))
    with PeakMeter() as meter, pytest.raises(MemoryBudgetError, match="would need about"):
        estimate(TASK, video, given, tiny_like, settings)
    assert meter.peak - meter.before < 50 * 10**6


def test_frames_and_places_are_counted(tiny_like, clip):
    video, given = asked(clip[0], 3)
    work = track_work(resolve(TrackSettings(tokens=96), tiny_like, HEIGHT, WIDTH), tiny_like, video, given)
    assert work.labels == 3 and work.warm == FRAMES and math.prod(work.grid) == 96
    assert [phase.name for phase in work.phases] == ["observe", "propagate", "decide"]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GB", 8 * 10**9),
        ("8 gb", 8 * 10**9),
        ("8g", 8 * 10**9),
        ("512MiB", 512 * 2**20),
        ("512Mi", 512 * 2**20),
        ("2e9", 2 * 10**9),
        ("2E9B", 2 * 10**9),
        ("1.5T", 1_500_000_000_000),
        (".5K", 500),
        (" 100 ", 100),
    ],
)
def test_sizes_are_read(text, size):
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "GB", "8 XB", "-8GB", "0", "0.1", "nan", "inf", "1e999", "8GBs", "8,5GB", "٣GB"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(SettingsError, match="8GB, 512MiB"):
        parse_memory(text)


def test_sizes_are_shown():
    assert [shown_memory(size) for size in (0, 640e6, 2.005e9, 99.9e9, 250e9, 6.1e12)] == [
        "0 MB", "640 MB", "2.00 GB", "99.90 GB", "250 GB", "6.10 TB"
    ]  # fmt: skip


def run(capsys, monkeypatch, *arguments):
    """Runs the command line in this process, and returns exit code, standard output and standard error."""
    monkeypatch.setattr("sys.argv", ["undertow", *map(str, arguments)])
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = stop.code or 0
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_command(clip, tmp_path, capsys, monkeypatch):
    from PIL import Image

    frames = tmp_path / "frames"
    frames.mkdir()
    for index, image in enumerate(clip[0]):
        Image.fromarray(image).save(frames / f"{index:05d}.png")
    write_label_map(tmp_path / "first.png", clip[1])
    asked = (frames, "--size", "tokens=96", "--threads", "2", "--dtype", "float32", "--mask", tmp_path / "first.png")
    code, out, _ = run(capsys, monkeypatch, "estimate", "track", *asked)
    assert code == 0 and all(word in out for word in ("tokens", "peak memory", "per frame", "disk", "weights"))
    code, out, err = run(capsys, monkeypatch, "track", "--estimate", *asked, "--json", "--max-memory", "20MB")
    said = json.loads(out)
    assert code == 4 and said["labels"] == 2 and said["frames"] == FRAMES
    text = " ".join(err.split())
    assert text.startswith("error: track needs about") and "--max-memory allows 20 MB" in text
    code, _, err = run(capsys, monkeypatch, "estimate", "track", *asked, "--max-memory", "much")
    assert code == 2 and "much" in err
    code, _, err = run(capsys, monkeypatch, "estimate", "track", *asked[:-2])
    assert code == 2 and "no mask was given" in err
