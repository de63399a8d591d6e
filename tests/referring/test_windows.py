"""Windows cover every frame once, whole where the video is long enough, and go on where a run was cut."""

import torch
from hypothesis import given
from hypothesis import strategies as some

from undertow.referring.windows import crossfade, windows


@given(count=some.integers(0, 60), length=some.integers(1, 17), data=some.data())
def test_every_frame_is_fresh_once_and_windows_are_whole(count, length, data):
    overlap = data.draw(some.integers(0, length // 2))
    found = list(windows(range(count), length, overlap))
    assert [frame for window in found for frame in window.fresh] == list(range(count))
    for number, window in enumerate(found):
        frames = window.frames
        assert frames == list(range(frames[0], frames[0] + len(frames)))
        assert len(frames) == min(length, count) and window.shared == (overlap if number else 0)
    # Cut after any window, the rest is the same.
    for number in range(1, len(found)):
        done = sum(len(window.fresh) for window in found[:number])
        rest = list(windows(range(done, count), length, overlap, range(max(0, done - length), done)))
        assert rest == found[number:]


def test_scores_fade_from_one_window_to_the_next():
    faded = crossfade(torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1))
    assert faded.flatten().tolist() == [0.25, 0.5, 0.75]
