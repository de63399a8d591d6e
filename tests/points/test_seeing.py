"""Tests of what a model saw of a video."""

from contextlib import closing
from fractions import Fraction

import numpy as np
import pytest
import torch

from undertow.base import SilentProgress
from undertow.observing.store import TensorStore
from undertow.points.following import cover
from undertow.points.seeing import SeenVideo
from undertow.points.settings import PointSettings, resolve_points
from undertow.video import Frame

HEIGHT, WIDTH = 48, 64


def frames(count):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, HEIGHT, WIDTH, 3), np.uint8)
    # Numbers of a clip that begins later, and of which every second frame is seen.
    return [Frame(10 + 2 * place, Fraction(place), image, f"{place}") for place, image in enumerate(images)]


def seen_by(backbone, store, count, **settings):
    resolved = resolve_points(PointSettings(preset="points", size=(WIDTH, HEIGHT), **settings), backbone, HEIGHT, WIDTH)
    seen = SeenVideo(backbone, resolved, (HEIGHT, WIDTH), store, None)
    for frame in frames(count):
        seen.show([frame])
    return seen


def test_an_image_model_sees_frames_as_they_come(tiny_like, tmp_path):
    with closing(TensorStore(tmp_path, 1)) as store:
        seen = seen_by(tiny_like, store, 3)
        assert seen.numbers == [10, 12, 14] and seen.forwards == 3
        [(first, last)] = seen.pairs(0, 0, 2)
        assert torch.equal(first.keys, seen.features(-1, -1, 0).keys) and not torch.equal(first.keys, last.keys)
        again = seen_by(tiny_like, store, 3)
        assert again.forwards == 0 and torch.equal(again.features(-1, -1, 2).keys, last.keys)


def test_a_video_model_sees_chunks_when_they_are_asked_for(tiny_video_like):
    length = 16
    chunks = cover(range(length), 0, tiny_video_like.card.chunk)
    with closing(TensorStore(None, 1 << 30)) as store:
        seen = seen_by(tiny_video_like, store, length)
        assert seen.forwards == 0
        for _ in range(2):
            seen.anchor(0, SilentProgress())
            assert seen.forwards == len(chunks)
        for place, time in ((0, 3), (0, length - 1), (length - 2, length - 1)):
            both = [number for number, chunk in enumerate(chunks) if place in chunk and time in chunk]
            pairs = seen.pairs(0, place, time)
            assert len(pairs) == max(1, len(both))
            for number, pair in zip(both, pairs, strict=False):
                for each, there in zip(pair, (place, time), strict=True):
                    assert torch.equal(each.keys, seen.features(0, number, there).keys)


@pytest.mark.parametrize("flow", [False, True])
def test_flow_is_searched_for_only_where_it_carries(tiny_like, tmp_path, flow):
    with closing(TensorStore(tmp_path, 1)) as store:
        seen_by(tiny_like, store, 2, flow=flow)
        assert store.holds("flow_1") is flow
