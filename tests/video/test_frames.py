import hashlib
from fractions import Fraction

import numpy as np

from undertow.video import Frame, FramesDigest


def frame(pixels: np.ndarray, index: int = 0) -> Frame:
    return Frame(index, Fraction(index), pixels, f"{index:05d}")


def digest(*pictures: np.ndarray) -> str:
    running = FramesDigest()
    for index, picture in enumerate(pictures):
        running.update(frame(picture, index))
    assert running.count == len(pictures)
    return running.hexdigest()


def test_what_is_hashed():
    picture = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    assert digest(picture) == hashlib.sha256(b"6x4" + bytes(range(72))).hexdigest()
    assert digest() == hashlib.sha256().hexdigest()


def test_order_size_and_every_value_count():
    one, two = np.zeros((4, 6, 3), np.uint8), np.ones((4, 6, 3), np.uint8)
    other = one.copy()
    other[3, 5, 2] = 1
    digests = [digest(one, two), digest(two, one), digest(one), digest(one, one), digest(one.reshape(6, 4, 3)),
               digest(other)]  # fmt: skip
    assert len(set(digests)) == len(digests)


def test_numbers_and_memory_layout_do_not_count():
    picture = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    late = FramesDigest()
    late.update(frame(np.asfortranarray(picture), 7))
    assert late.hexdigest() == digest(picture)


def test_it_runs_on():
    pictures = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3), np.uint8)
    running = FramesDigest()
    for number, picture in enumerate(pictures, 1):
        running.update(frame(picture))
        assert running.hexdigest() == digest(*pictures[:number])
    branch = running.copy()
    branch.update(frame(pictures[0]))
    assert (running.count, branch.count) == (3, 4)
    assert running.hexdigest() == digest(*pictures) != branch.hexdigest()
