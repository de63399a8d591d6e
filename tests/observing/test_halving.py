"""Memory that runs out: batches are halved, which is said once, and what cannot be halved fails as before."""

import logging
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from undertow.base import out_of_memory
from undertow.observing.halving import Halving
from undertow.tracking import TrackSettings, track


def refused(size):
    raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} GiB.")


def absurd(size):
    return torch.empty(size << 56)


@contextmanager
def at_most(module, count, refuse):
    """Lets a module have that many frames at once; with more, memory runs out."""
    seen = []

    def hook(_, inputs):
        seen.append(len(inputs[0]))
        if seen[-1] > count:
            refuse(seen[-1])

    handle = module.register_forward_pre_hook(hook)
    try:
        yield seen
    finally:
        handle.remove()


@pytest.mark.parametrize("refuse", [refused, absurd])
@pytest.mark.parametrize("place", ["autoencoder", "denoiser"])
def test_a_batch_that_does_not_fit_is_halved_from_then_on(tiny_like, caplog, refuse, place):
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 48, 3), np.uint8)
    mask = np.zeros((32, 48), np.uint16)
    mask[8:24, 8:24] = 1
    modules = {"autoencoder": tiny_like.autoencoder.module.encoder, "denoiser": tiny_like.denoiser.conv_in}
    settings = TrackSettings(tokens=96, batch=4)
    whole = [result.labels for result in track(images, mask, tiny_like, settings)]
    with at_most(modules[place], 2, refuse) as seen, caplog.at_level(logging.WARNING):
        halves = [result.labels for result in track(images, mask, tiny_like, settings)]
    assert max(seen) == 4 and seen.count(4) < len(seen) // 2
    assert [record.message for record in caplog.records] == [
        "memory ran out for 4 frames at once; fewer go together from here on"
    ]
    assert np.mean([np.mean(a == b) for a, b in zip(whole, halves, strict=True)]) > 0.99


def test_one_frame_that_does_not_fit_fails(tiny_like):
    images, mask = np.zeros((2, 32, 48, 3), np.uint8), np.ones((32, 48), np.uint16)
    with at_most(tiny_like.denoiser.conv_in, 0, refused) as seen, pytest.raises(torch.OutOfMemoryError):
        list(track(images, mask, tiny_like, TrackSettings(tokens=96, batch=4)))
    assert seen[-1] == 1


def test_other_errors_are_not_tried_again():
    def work(some):
        raise ValueError(str(some))

    with pytest.raises(ValueError, match="slice"):
        list(Halving().parts(work, 4))


def test_every_frame_is_done_once_and_in_order():
    def work(some):
        return list(range(7))[some] if some.stop - some.start < 4 else refused(1)

    assert list(Halving().parts(work, 7, together=6)) == [[0, 1, 2], [3, 4, 5], [6]]


def test_what_is_known_as_lack_of_memory():
    with pytest.raises(RuntimeError) as found:
        absurd(4)
    assert out_of_memory(found.value) and out_of_memory(MemoryError()) and not out_of_memory(RuntimeError("no"))
