"""What holds for every source: numbers, times, the cache, and one sentence for each mistake."""

import tracemalloc
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from undertow.base import VideoError
from undertow.video import Video


def counted(number: int, height: int = 4, width: int = 6) -> np.ndarray:
    return np.full((height, width, 3), number % 256, np.uint8)


ARRAY = np.stack([counted(number) for number in range(9)])


@pytest.mark.parametrize(
    "source",
    [
        ARRAY,
        ARRAY[..., 0],
        ARRAY[..., :1],
        np.concatenate([ARRAY, 0 * ARRAY[..., :1]], -1),
        list(ARRAY),
        tuple(ARRAY[..., 0]),
        [Image.fromarray(image) for image in ARRAY],
    ],
    ids=["rgb", "grey", "grey axis", "alpha", "list", "grey tuple", "pillow"],
)
def test_frames_in_memory(source):
    with Video(source, fps=10) as video:
        assert (len(video), video.height, video.width, video.fps) == (9, 4, 6, 10)
        for index in (8, 0, np.int64(5)):
            frame = video.frame(index)
            assert (frame.index, frame.time, frame.name) == (index, Fraction(int(index), 10), f"{index:05d}")
            np.testing.assert_array_equal(frame.image, ARRAY[index])
            frame.image[:] = 255
            np.testing.assert_array_equal(video[index], ARRAY[index])
        assert [frame.index for frame in video] == list(range(9))


def test_a_generator_is_read_once_and_in_order():
    taken = []

    def frames():
        for number in range(30):
            taken.append(number)
            yield counted(number)

    video = Video(frames(), cache_frames=4)
    assert taken == [0] and video.frame_count is None and video.fps is None
    assert video[10][0, 0, 0] == 10 and taken[-1] == 10
    assert [int(video[index][0, 0, 0]) for index in (7, 8, 9, 10, 7)] == [7, 8, 9, 10, 7]
    with pytest.raises(
        VideoError, match="frame 6 of the stream has gone by, 11 were read and the last 4 are kept; read"
    ):
        video.frame(6)
    with pytest.raises(VideoError, match="frame 0 of the stream has gone by"):
        next(iter(video))
    with pytest.raises(VideoError, match="the length of the stream is not known"):
        len(video)
    with pytest.raises(VideoError, match="the stream has no frame 30; it has 30 frames, 0 to 29"):
        video.frame(30)
    assert (len(video), video.frame_count, video.fingerprint()) == (30, 30, "stream")
    assert int(video[29][0, 0, 0]) == 29


def test_a_stream_can_be_listed_and_drawn_into_one_array():
    canvas = counted(0)

    def frames():
        for number in range(5):
            canvas[:] = number
            yield canvas

    video = Video(frames())
    assert [int(frame.image[0, 0, 0]) for frame in list(video)] == list(range(5))
    assert [int(video[index][0, 0, 0]) for index in range(5)] == list(range(5))


@pytest.mark.parametrize("kind", ["generator", "file"])
def test_memory_does_not_grow_with_the_video(clips, kind):
    def frames(count: int) -> Iterator[np.ndarray]:
        return (counted(number, 200, 200) for number in range(count))

    def peak(count: int) -> int:
        source = frames(count) if kind == "generator" else clips.make(f"{count}.mp4", list(frames(count)))
        video = Video(source, cache_frames=3)
        tracemalloc.start()
        assert sum(1 for _ in video) == count
        memory = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return memory

    one = 200 * 200 * 3
    peak(5)
    assert peak(300) < peak(20) + one
    assert one < peak(20) < 8 * one


def test_the_cache_of_a_file_is_bounded(clips):
    with Video(clips.make("long.mp4", 60), cache_frames=5) as video:
        for index in [*range(60), 3, 59, 30]:
            video.frame(index)
            assert len(video._cache) <= 5


def test_frames_that_do_not_exist(clips):
    for video in (Video(ARRAY), Video(clips.make("nine.mp4", 9))):
        for index in (-1, 9, 1000):
            for ask in (video.frame, video.__getitem__, video.name_of):
                with pytest.raises(VideoError, match=rf"has no frame {index}; it has 9 frames, 0 to 8"):
                    ask(index)
    with pytest.raises(VideoError, match="the stream has no frame -1; frames are counted from 0"):
        Video(iter(ARRAY)).frame(-1)
    with pytest.raises(TypeError):
        Video(ARRAY)[1:3]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (ARRAY[0], r"array of shape \(4, 6, 3\) is not a video"),
        (ARRAY[0, 0], r"array of shape \(6, 3\) is not a video"),
        (ARRAY[:0], "has no frames"),
        ([], "has no frames"),
        (iter([]), "ended before its first frame"),
        (ARRAY.astype(np.float32), "frame 0 of the array has values of type float32; give uint8"),
        ([ARRAY[0], "frame.png"], "frame 1 of the list has"),
        ([ARRAY[0], np.zeros((4, 7, 3), np.uint8)], "frame 1 of the list is 7x4 but the first frame is 6x4"),
        (np.zeros((3, 4, 6, 2), np.uint8), r"frame 0 of the array has shape \(4, 6, 2\)"),
        (np.zeros((3, 0, 6, 3), np.uint8), "frame 0 of the array has shape"),
        (7, "of type int is not a video"),
        (b"film.mp4", "of type bytes is not a video"),
        (None, "of type NoneType is not a video"),
        (Image.new("RGB", (4, 4)), "of type Image is not a video"),
    ],
)
def test_things_that_are_no_videos(source, message):
    with pytest.raises(VideoError, match=message):
        Video(source)


def test_a_stream_with_frames_of_two_sizes():
    video = Video(iter([counted(0), counted(1), counted(2, 5, 6)]))
    with pytest.raises(VideoError, match="frame 2 of the stream is 6x5 but the first frame is 6x4"):
        list(video)


@pytest.mark.parametrize("fps", [0, -1, "fast", float("nan"), float("inf"), "1/0"])
def test_rates_that_are_none(fps):
    with pytest.raises(VideoError, match="frame rate"):
        Video(ARRAY, fps=fps)


def test_a_cache_of_nothing():
    with pytest.raises(VideoError, match="cache_frames is 0"):
        Video(ARRAY, cache_frames=0)


def test_times_and_frames():
    for video in (Video(ARRAY, fps=30), Video(iter(ARRAY), fps=30)):
        for index in range(9):
            assert video.index_of_time(Fraction(index, 30)) == index
            assert video.index_of_time(index / 30) == index
            assert video.index_of_time(round(index / 30 + 0.02, 3)) == index
        for seconds in (-0.1, Fraction(-1)):
            with pytest.raises(VideoError, match="no frame at -"):
                video.index_of_time(seconds)
    with pytest.raises(VideoError, match=r"no frame at 0.3 s; the array goes from 0 s to 0.3 s"):
        Video(ARRAY, fps=30).index_of_time(Fraction(9, 30))


def test_fingerprints(clips):
    array = Video(ARRAY).fingerprint()
    assert len(array) == 64
    assert array == Video(list(ARRAY)).fingerprint() == Video(ARRAY[..., 0]).fingerprint()
    assert array != Video(ARRAY[::-1]).fingerprint()
    assert array != Video(ARRAY.reshape(9, 6, 4, 3)).fingerprint()
    path = clips.make("film.mp4", 3)
    before = Video(path).fingerprint()
    copy = path.rename(path.with_name("other.mov"))
    assert before == Video(copy).fingerprint() != array
    copy.write_bytes(copy.read_bytes() + b"\0")
    assert before != Video(copy).fingerprint()


def test_a_closed_video_says_so(clips):
    with Video(clips.make("film.mp4", 3)) as video:
        video.frame(1)
    with pytest.raises(VideoError, match=r"film.mp4' has been closed; open it again"):
        video.frame(1)


def test_what_a_video_is_can_be_printed(clips):
    path = clips.make("film.mp4", 3, rate=Fraction(30000, 1001))
    assert repr(Video(path)) == f"<Video '{path}', 64x48, 30000/1001 frames per second>"
    assert repr(Video(ARRAY)) == "<Video the array, 6x4, frame rate unknown>"
