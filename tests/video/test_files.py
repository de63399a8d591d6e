"""Every frame of a file is the right one, in whatever order frames are asked for."""

import os
import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from undertow.base import VideoError
from undertow.video import Video
from undertow.video.file import VideoFile

DATA = Path(os.environ.get("UNDERTOW_DATA", Path(__file__).parents[2].parent / "shared" / "data"))

# B-frames in a pyramid, and groups of pictures that lean on the one before.
OPEN = {"x264-params": "open-gop=1:keyint=10:min-keyint=10:bframes=3:b-adapt=0:scenecut=0"}
CLOSED = {"x264-params": "bframes=3:b-adapt=0:scenecut=0"}
OPEN_HEVC = {"x265-params": "open-gop=1:keyint=10:min-keyint=10:bframes=3:b-adapt=0:scenecut=0:log-level=none:pools=1"}
# Keyframes are only marked as such: the picture is refreshed column by column.
REFRESHED = {"x264-params": "intra-refresh=1:keyint=12"}
FILES = {
    "closed.mp4": ("libx264", CLOSED),
    "closed.mkv": ("libx264", CLOSED),
    "open.mp4": ("libx264", OPEN),
    "open.mov": ("libx264", OPEN),
    "open.mkv": ("libx264", OPEN),
    "open.ts": ("libx264", OPEN),
    "hevc.mp4": ("libx265", OPEN_HEVC),
    "vp9.webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
    "vp8.webm": ("libvpx", {"deadline": "realtime", "cpu-used": "8"}),
    "lossless.mkv": ("ffv1", {}),
    "motion.avi": ("mjpeg", {}),
}


def seeks(video: Video) -> int:
    assert isinstance(video._source, VideoFile)
    return video._source.seeks


@pytest.mark.parametrize("name", FILES)
def test_any_order_gives_the_frames_of_plain_decoding(clips, name):
    codec, options = FILES[name]
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = clips.make(name, codec=codec, options=options, pixels=pixels, group=9)
    expected = list(clips.decoded(path))
    assert [clips.number_in(image) for _, image in expected] == list(range(40))
    order = [random.Random(name).randrange(40) for _ in range(12)] + [39, 38, 37, 0, 1, 12, 39, 20, 19, 10, 9]
    with Video(path, cache_frames=2) as video:
        assert len(video) == 40
        for index in order:
            frame = video.frame(index)
            assert (frame.index, frame.time, frame.name) == (index, expected[index][0], f"{index:05d}")
            assert clips.number_in(frame.image) == index
            np.testing.assert_allclose(frame.image, expected[index][1], atol=6)
    with Video(path) as video:
        in_a_row = {frame.index: frame.image for frame in video}
    with Video(path, cache_frames=1) as video:
        for index in order:
            np.testing.assert_array_equal(video[index], in_a_row[index])


@pytest.mark.parametrize(
    ("name", "codec", "options"), [("blind.mpg", "mpeg2video", {"bf": "2"}), ("refreshed.mkv", "libx264", REFRESHED)]
)
def test_a_seek_that_misleads_is_noticed(clips, name, codec, options):
    """One container has no index and makes up stamps after a seek, one stream has keyframes that are none."""
    texture = np.random.default_rng(0).integers(0, 60, (96, 128, 3))
    pictures = [(2 * number + np.roll(texture, number, 1)).astype(np.uint8) for number in range(60)]
    path = clips.make(name, pictures, codec=codec, options=options, group=9 if codec == "mpeg2video" else 12)
    with Video(path) as video:
        in_a_row = [frame.image for frame in video]
    with Video(path, cache_frames=1) as video:
        for index in reversed(range(len(in_a_row))):
            np.testing.assert_array_equal(video[index], in_a_row[index], err_msg=str(index))


@pytest.mark.parametrize("name", ["open.mp4", "closed.mkv", "vp9.webm"])
def test_reading_on_does_not_seek(clips, name):
    codec, options = FILES[name]
    path = clips.make(name, codec=codec, options=options)
    with Video(path) as video:
        assert [clips.number_in(frame.image) for frame in video] == list(range(40))
        assert seeks(video) == 0
        assert [clips.number_in(frame.image) for frame in video] == list(range(40))
        assert seeks(video) == 1
    with Video(path) as video:
        assert [clips.number_in(video[index]) for index in range(0, 40, 3)] == list(range(0, 40, 3))
        assert seeks(video) == 0


@pytest.mark.parametrize(("name", "options"), [("long.mp4", CLOSED), ("long.mkv", OPEN), ("long.ts", OPEN)])
def test_a_jump_decodes_from_the_keyframe_and_not_from_the_beginning(clips, name, options):
    path = clips.make(name, 100, options=options)
    with Video(path, cache_frames=100) as video:
        assert clips.number_in(video[95]) == 95
        assert seeks(video) == 1
        assert sorted(video._cache) in ([*range(89, 96)], [*range(90, 96)])


def test_stepping_back_decodes_a_group_once(clips):
    path = clips.make("back.mp4", 40, group=40, options=CLOSED)
    with Video(path, cache_frames=16) as video:
        assert [clips.number_in(video[index]) for index in range(39, -1, -1)] == list(range(39, -1, -1))
        assert seeks(video) == 3


def test_a_caller_may_draw_on_a_frame(clips):
    with Video(clips.make("drawn.mp4", 3)) as video:
        video[1][:] = 77
        assert clips.number_in(video[1]) == 1


def test_ntsc_rate_is_exact(clips):
    with Video(clips.make("ntsc.mp4", 12, rate=Fraction(30000, 1001))) as video:
        assert video.fps == Fraction(30000, 1001)
        assert [frame.time for frame in video] == [Fraction(1001 * index, 30000) for index in range(12)]


@pytest.mark.parametrize("name", ["varying.mkv", "varying.mp4"])
def test_variable_frame_times_are_exact(clips, name):
    stamps = [index * index * 10 for index in range(20)]
    path = clips.make(name, 20, stamps=stamps, tick=Fraction(1, 1000), options=CLOSED)
    with Video(path) as video:
        assert [frame.time for frame in video] == [Fraction(stamp, 1000) for stamp in stamps]
        assert [clips.number_in(video[index]) for index in (19, 3, 11)] == [19, 3, 11]
        assert video.index_of_time(Fraction(160, 1000)) == 4
        assert video.index_of_time(0.2499) == 4
        assert video.index_of_time(0.25) == 5


def test_given_rate_replaces_the_times_of_a_file(clips):
    with Video(clips.make("retimed.mp4", 5), fps=10) as video:
        assert video.fps == 10
        assert [frame.time for frame in video] == [Fraction(index, 10) for index in range(5)]


def test_an_edit_list_hides_frames_that_others_need(clips):
    whole = clips.make("whole.mp4", options=OPEN)

    def earlier(_, packet):
        packet.pts -= 512 * 17
        packet.dts -= 512 * 17
        return packet

    path = clips.remux(whole, "edited.mp4", earlier, avoid_negative_ts="disabled")
    expected = [(time, clips.number_in(image)) for time, image in clips.decoded(path)]
    assert expected[0] == (0, 17)
    with Video(path, cache_frames=1) as video:
        assert [(frame.time, clips.number_in(frame.image)) for frame in video] == expected
        assert [clips.number_in(video[index]) for index in (22, 0, 5, 2)] == [39, 17, 22, 19]


@pytest.mark.parametrize("shift", [0, 512 * 30])
def test_a_file_may_begin_after_zero(clips, shift):
    whole = clips.make("whole.mov", options=CLOSED)

    def later(_, packet):
        packet.pts += shift
        packet.dts += shift
        return packet

    path = clips.remux(whole, "later.mov", later, use_editlist="0" if shift == 0 else "1")
    begin = next(clips.decoded(path))[0]
    assert begin > 0
    with Video(path, cache_frames=1) as video:
        assert video.frame(0).time == begin
        assert [clips.number_in(video[index]) for index in (31, 4, 39, 0)] == [31, 4, 39, 0]
        assert video.index_of_time(video.frame(7).time) == 7
        assert video.index_of_time(float(video.frame(8).time)) == 8
        with pytest.raises(VideoError, match="no frame at 0 s"):
            video.index_of_time(0)


@pytest.mark.parametrize("name", ["cut.mkv", "cut.mp4", "cut.ts"])
def test_a_clip_cut_at_an_open_group_begins_with_its_keyframe(clips, name):
    whole = clips.make(f"whole{Path(name).suffix}", options=OPEN)
    keys = []

    def from_second_key(number, packet):
        if packet.is_keyframe:
            keys.append(number)
        return packet if len(keys) > 1 else None

    path = clips.remux(whole, name, from_second_key)
    with Video(path, cache_frames=1) as video:
        numbers = [clips.number_in(frame.image) for frame in video]
        assert numbers == list(range(numbers[0], 40))
        assert numbers[0] in (9, 10)
        assert [clips.number_in(video[index]) for index in (len(video) - 1, 0, 12)] == [39, numbers[0], numbers[0] + 12]


def test_hidden_vp8_frames_do_not_count(clips):
    whole = clips.make("whole.webm", codec="libvpx", group=99, options={"deadline": "realtime", "cpu-used": "8"})

    def hide_two(number, packet):
        data = bytearray(bytes(packet))
        if number in (6, 20):
            data[0] &= ~0x10
        return clips.with_data(packet, bytes(data))

    path = clips.remux(whole, "hidden.webm", hide_two)
    shown = [index for index in range(40) if index not in (6, 20)]
    with Video(path) as video:
        assert len(video) == 38
        assert [clips.number_in(frame.image) for frame in video] == shown
        assert clips.number_in(video[6]) == 7


@pytest.mark.parametrize("name", ["bare.h264", "reordered.avi"])
def test_files_without_time_stamps_are_counted(clips, name):
    path = clips.make(name, options=CLOSED)
    with Video(path, cache_frames=1) as video:
        assert len(video) == 40
        assert [clips.number_in(frame.image) for frame in video] == list(range(40))
        assert [clips.number_in(video[index]) for index in (30, 7)] == [30, 7]
        assert video.frame(7).time == Fraction(7, 25)


def test_frame_count_does_not_come_from_the_header(clips):
    path = clips.make("lying.avi", codec="mjpeg", pixels="yuvj420p")
    data = path.read_bytes()
    # The frame count stands in the main and in the stream header; the second is 32 bytes into `strh`.
    for place in (data.index(b"avih") + 8 + 16, data.index(b"strh") + 8 + 32):
        assert int.from_bytes(data[place : place + 4], "little") == 40
        data = data[:place] + (44).to_bytes(4, "little") + data[place + 4 :]
    path.write_bytes(data)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 44
    with Video(path) as video:
        assert len(video) == len(list(video)) == 40


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["bedroom.mp4", "apple.mp4", "cat.mp4"])
def test_real_clips(clips, name):
    path = DATA / "clips" / name
    if not path.exists():
        pytest.skip(f"{path} is not there; set UNDERTOW_DATA")
    expected = [(time, image[::8, ::8].astype(int)) for time, image in clips.decoded(path)]
    with Video(path, cache_frames=2) as video:
        assert len(video) == len(expected)
        for index in (len(video) - 1, 17, 16, 40, 0):
            frame = video.frame(index)
            errors = [np.abs(frame.image[::8, ::8] - image).mean() for _, image in expected]
            assert frame.time == expected[index][0]
            assert errors[index] == min(errors) < 2
