"""The cache: found again by content, bounded, and never a reason to fail."""

import logging
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from undertow.backbones import load
from undertow.observing.cache import Cache
from undertow.observing.observer import Observer
from undertow.observing.settings import FrameSettings, resolve_frames
from undertow.parsing import ParseSettings, parse
from undertow.tracking import TrackSettings, track


def entries(folder):
    return sorted(folder.glob("*/*.safetensors"))


def made(times, value):
    times.append(value)
    return {"x": torch.full((256,), float(value))}


def test_what_was_made_of_the_same_is_found_again(tmp_path):
    times = []
    parts = ["a", 1, torch.arange(6.0).view(2, 3), np.zeros((2, 2), np.uint8)]
    for _ in range(2):
        found = Cache(tmp_path).recall(parts, lambda: made(times, 7))
        assert torch.equal(found["x"], torch.full((256,), 7.0))
    assert times == [7]
    others = (["a", 1, parts[2].view(3, 2), parts[3]], ["a", 1, parts[2], parts[3] + 1], ["a", 2, *parts[2:]])
    for other in others:
        Cache(tmp_path).recall(other, lambda: made(times, 8))
    assert times == [7, 8, 8, 8] and len(entries(tmp_path)) == 4


@pytest.mark.parametrize("damage", [b"", b"no tensors", None])
def test_a_damaged_entry_is_made_again(tmp_path, damage):
    times, cache = [], Cache(tmp_path)
    cache.recall(["a"], lambda: made(times, 1))
    (path,) = entries(tmp_path)
    path.write_bytes(path.read_bytes()[:-9] if damage is None else damage)
    assert float(cache.recall(["a"], lambda: made(times, 2))["x"][0]) == 2
    assert float(cache.recall(["a"], lambda: made(times, 3))["x"][0]) == 2


def test_those_used_least_recently_leave(tmp_path):
    cache, times = Cache(tmp_path, cap=4000), []
    for value in range(3):
        cache.recall([value], lambda value=value: made(times, value))
        for age, path in enumerate(entries(tmp_path)):
            os.utime(path, (age, age))
    oldest = entries(tmp_path)[0]
    # Another process, which has used the oldest since, fills the cache.
    os.utime(oldest)
    Cache(tmp_path, cap=4000).recall(["more"], lambda: made(times, 3))
    left = entries(tmp_path)
    assert oldest in left and sum(path.stat().st_size for path in left) <= 3600


def test_a_cache_that_cannot_be_written_says_so_once(tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    cache, times = Cache(tmp_path / "file" / "cache"), []
    with caplog.at_level(logging.WARNING):
        for value in range(3):
            assert float(cache.recall(["a"], lambda value=value: made(times, value))["x"][0]) == value
    assert len(caplog.records) == 1 and "no longer added to" in caplog.text


def test_a_second_object_runs_neither_network_nor_kernel(tiny_like, tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (6, 32, 48, 3), np.uint8)
    masks = [np.zeros((32, 48), np.uint16) for _ in range(2)]
    masks[0][4:16, 4:20], masks[1][18:30, 24:44] = 1, 2
    plain = TrackSettings(preset="dift", tokens=96)
    kept = TrackSettings(preset="dift", tokens=96, cache=tmp_path)

    def tracked(mask, settings):
        return [result.labels for result in track(images, mask, tiny_like, settings)]

    first = tracked(masks[0], kept)
    assert all(map(np.array_equal, first, tracked(masks[0], plain)))
    before = entries(tmp_path)
    second = tracked(masks[1], kept)
    assert entries(tmp_path) == before and len(before) > 6
    assert all(map(np.array_equal, second, tracked(masks[1], plain)))


def test_masks_that_are_tracked_need_no_further_kernels_to_be_parsed_as_classes(tiny_like, tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (6, 32, 48, 3), np.uint8)
    labels = np.zeros((32, 48), np.uint16)
    labels[4:16, 4:20] = 1
    list(track(images, labels, tiny_like, TrackSettings(tokens=96, cache=tmp_path)))
    before = len(entries(tmp_path))
    plain, kept = (
        [each.labels for each in parse(images, {0: labels}, tiny_like, ParseSettings(tokens=96, cache=folder))]
        for folder in (None, tmp_path)
    )
    # The anchor is also looked at by itself, to go back from.
    assert len(entries(tmp_path)) <= before + 1 and all(map(np.array_equal, plain, kept))


def test_frames_that_are_encoded_apart_are_found_in_any_batch(tiny_like, tmp_path, monkeypatch):
    monkeypatch.setattr("undertow.backbones.adapters.autoencoder.CPU_PIXELS", 1)
    images = list(np.random.default_rng(0).integers(0, 255, (4, 32, 48, 3), np.uint8))
    resolved = resolve_frames(FrameSettings(tokens=96), tiny_like, 32, 48, "track")
    observer = Observer(tiny_like, resolved, cache=Cache(tmp_path))
    observer.encode(images, range(4))
    found = torch.cat([observer.encode(images[start : start + 3], range(3)) for start in (0, 3)])
    assert len(entries(tmp_path)) == 4
    assert torch.equal(found, Observer(tiny_like, resolved).encode(images, range(4)))


def test_latents_are_found_by_whatever_looks_at_the_same_frames(tiny_like, tmp_path):
    images = list(np.random.default_rng(0).integers(0, 255, (2, 32, 48, 3), np.uint8))
    seen = []
    for timestep, again in ((41, False), (201, False), (201, True)):
        settings = FrameSettings(tokens=96, noising="invert", timestep=timestep)
        observer = Observer(tiny_like, resolve_frames(settings, tiny_like, 32, 48, "track"), cache=Cache(tmp_path))
        noisy = observer.noise(observer.encode(images, [0, 1]), [0, 1])
        seen.append((len(entries(tmp_path)), noisy))
        plain = Observer(tiny_like, observer.resolved)
        assert again or torch.equal(noisy, plain.noise(plain.encode(images, [0, 1]), [0, 1]))
    # Clean latents once, inverted ones once for each noise level.
    assert [count for count, _ in seen] == [2, 3, 3] and torch.equal(seen[1][1], seen[2][1])


# Another process tracks a clip with a cache. Not a fork of this one: a fork lacks the threads of its libraries.
RUN = """
import os, signal, sys
from pathlib import Path
import numpy as np
import torch
from undertow.backbones import load
from undertow.tracking import TrackSettings, track
given, cache, threads, deadly = sys.argv[1:]
torch.set_num_threads(int(threads))
model = load("tiny", sites="track")
if deadly == "deadly":
    type(model).observe = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
given = np.load(given)
settings = TrackSettings(tokens=96, cache=Path(cache))
for plain, found in zip(given["plain"], track(given["images"], given["mask"], model, settings), strict=True):
    assert np.array_equal(plain, found.labels)
"""


@pytest.fixture
def tracked(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (6, 32, 48, 3), np.uint8)
    mask = np.zeros((32, 48), np.uint16)
    mask[4:16, 4:20] = 1
    model = load("tiny", sites="track")

    def here(cache):
        return np.stack([each.labels for each in track(images, mask, model, TrackSettings(tokens=96, cache=cache))])

    plain = here(None)
    np.savez(tmp_path / "given.npz", images=images, mask=mask, plain=plain)

    def elsewhere(cache, manner="harmless"):
        numbers = str(tmp_path / "given.npz"), str(cache), str(torch.get_num_threads()), manner
        return subprocess.Popen([sys.executable, "-c", RUN, *numbers])

    return plain, here, elsewhere


def test_runs_on_one_cache_at_the_same_time_are_runs_without(tracked, tmp_path):
    plain, here, elsewhere = tracked
    running = [elsewhere(tmp_path / "cache") for _ in range(2)]
    assert [each.wait() for each in running] == [0, 0]
    before = entries(tmp_path / "cache")
    assert np.array_equal(plain, here(tmp_path / "cache"))
    assert entries(tmp_path / "cache") == before and not list(tmp_path.glob("cache/*/.*"))


@pytest.mark.skipif(os.name == "nt", reason="the signal is of other systems")
def test_what_was_kept_before_a_kill_between_two_stages_is_found(tracked, tmp_path, monkeypatch):
    plain, here, elsewhere = tracked
    assert elsewhere(tmp_path / "cache", "deadly").wait() == -signal.SIGKILL
    # The latents of the first batch were kept; its network was never run.
    encoded, kind = [], type(load("tiny", sites="track"))
    encode = kind.encode
    monkeypatch.setattr(kind, "encode", lambda self, *given: encoded.append(1) or encode(self, *given))
    assert len(entries(tmp_path / "cache")) == 1
    assert np.array_equal(plain, here(tmp_path / "cache")) and len(encoded) == 1
