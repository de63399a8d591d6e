"""Written videos play in browsers and read back as they were: pictures, colours, times."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from undertow.base import VideoError
from undertow.video import Video, VideoWriter, write_video


def boxes(path: Path) -> list[str]:
    """The top-level boxes of an mp4 file, in order."""
    data, place, names = path.read_bytes(), 0, []
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        names.append(data[place + 4 : place + 8].decode())
        place += size
    return names


def test_files_play_in_browsers(clips):
    path = clips.folder / "made" / "film.mp4"
    with VideoWriter(path, fps=Fraction(30000, 1001), width=64, height=48) as writer:
        for number in range(20):
            writer.write(clips.numbered(number))
    assert [name for name in boxes(path) if name in ("moov", "mdat")] == ["moov", "mdat"]
    with av.open(str(path)) as container:
        (stream,) = container.streams
        context = stream.codec_context
        assert (context.name, context.codec_tag, context.pix_fmt) == ("h264", "avc1", "yuv420p")
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        assert stream.average_rate == Fraction(30000, 1001)
        assert container.duration * stream.average_rate / av.time_base == pytest.approx(20, abs=0.01)
    with Video(path) as video:
        assert [clips.number_in(frame.image) for frame in video] == list(range(20))
        assert [frame.time for frame in video] == [Fraction(1001 * index, 30000) for index in range(20)]


def test_colours_survive(clips):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 100, 50), (128, 128, 128), (255, 255, 255), (0, 0, 0)]
    picture = np.array(colours, np.uint8)[None].repeat(16, 0).repeat(16, 1)
    write_video(clips.folder / "colours.mp4", [picture] * 2, 25)
    seen = Video(clips.folder / "colours.mp4")[1][8, 8::16]
    np.testing.assert_allclose(seen, colours, atol=4)


@pytest.mark.parametrize("size", [(33, 47), (1, 1), (32, 47), (33, 48)])
def test_odd_sizes_are_padded_by_repeating_the_edge(clips, size):
    height, width = size
    y, x = np.mgrid[:height, :width]
    picture = np.stack([x * 4, y * 4, 60 + x + y], -1).astype(np.uint8)
    write_video(clips.folder / "odd.mp4", [picture] * 2, 25)
    with Video(clips.folder / "odd.mp4") as video:
        assert (video.height, video.width) == (height + height % 2, width + width % 2)
        np.testing.assert_allclose(video[0][:height, :width], picture, atol=9)
        np.testing.assert_allclose(video[0][-1, :width].astype(int), picture[-1], atol=9)
        np.testing.assert_allclose(video[0][:height, -1].astype(int), picture[:, -1], atol=9)


@pytest.mark.parametrize(
    "times",
    [
        [Fraction(index**2, 1000) for index in range(25)],
        [Fraction(1001 * index, 24000) for index in range(25)],
        [Fraction(index, 15360) * 511 for index in range(25)],
        [Fraction(90003 * index, 90000) + 3 for index in range(25)],
        [Fraction(index - 5, 30) for index in range(25)],
        [Fraction(index, 7) for index in range(25)],
    ],
    ids=["varying", "ntsc", "mp4 ticks", "late", "negative", "sevenths"],
)
def test_times_survive_exactly(clips, times):
    path = clips.folder / "timed.mp4"
    with VideoWriter(path, fps=Fraction(7), width=64, height=48) as writer:
        for number, time in enumerate(times):
            writer.write(clips.numbered(number), time)
    with Video(path) as video:
        assert [frame.time for frame in video] == [time - times[0] for time in times]
        assert [clips.number_in(frame.image) for frame in video] == list(range(25))


def test_a_video_written_from_a_video_keeps_its_times(clips):
    stamps = [0, 40, 50, 170, 171, 500]
    source = clips.make("varying.mkv", 6, stamps=stamps, tick=Fraction(1, 1000))
    with Video(source) as video:
        write_video(clips.folder / "copy.mp4", video, video.fps)
    with Video(clips.folder / "copy.mp4") as copy:
        assert [frame.time for frame in copy] == [Fraction(stamp, 1000) for stamp in stamps]
        assert [clips.number_in(frame.image) for frame in copy] == list(range(6))


def test_any_picture_can_be_written(clips):
    grey = clips.numbered(5)[..., 0]
    write_video(clips.folder / "grey.mov", [grey, np.dstack([clips.numbered(6), grey])], 10)
    assert [clips.number_in(frame.image) for frame in Video(clips.folder / "grey.mov")] == [5, 6]


def test_a_failed_block_leaves_the_old_file(clips):
    path = clips.folder / "film.mp4"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), VideoWriter(path, fps=25, width=64, height=48) as writer:
        writer.write(clips.numbered(0))
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert list(clips.folder.iterdir()) == [path]


def test_nothing_is_seen_before_the_end(clips):
    path = clips.folder / "film.mp4"
    writer = VideoWriter(path, fps=25, width=64, height=48)
    writer.write(clips.numbered(0))
    assert not path.exists()
    writer.close()
    writer.close()
    assert [file.name for file in clips.folder.iterdir()] == ["film.mp4"]
    with pytest.raises(VideoError, match=r"frame 1 for .* comes too late"):
        writer.write(clips.numbered(1))


def test_mistakes(clips):
    path = clips.folder / "film.mp4"
    with pytest.raises(VideoError, match=r"film.avi' does not end in .mp4, .m4v, .mov"):
        VideoWriter(path.with_suffix(".avi"), fps=25, width=64, height=48)
    with pytest.raises(VideoError, match="0x48 pixels cannot be written"):
        VideoWriter(path, fps=25, width=0, height=48)
    with pytest.raises(VideoError, match="20000x48 pixels cannot be written; give 1 to 16384"):
        VideoWriter(path, fps=25, width=20000, height=48)
    with pytest.raises(VideoError, match="frame rate 0 is not positive"):
        VideoWriter(path, fps=0, width=64, height=48)
    (clips.folder / "folder.mp4").mkdir()
    with pytest.raises(VideoError, match="is a folder"):
        VideoWriter(clips.folder / "folder.mp4", fps=25, width=64, height=48)
    (clips.folder / "file").touch()
    with (
        pytest.raises(VideoError, match="cannot be written"),
        VideoWriter(clips.folder / "file" / "film.mp4", fps=25, width=64, height=48) as writer,
    ):
        writer.write(clips.numbered(0))
    with pytest.raises(VideoError, match="no frame was written"), VideoWriter(path, fps=25, width=64, height=48):
        pass
    with pytest.raises(VideoError, match="there is no frame to write"):
        write_video(path, [], 25)
    for frames, message in {
        ((1, 0), (1, 0)): "frame 1 for .* is at 0 s, not after",
        ((1, 0), (1, None)): "frame 1 for .* has no time unlike the first",
        ((1, None), (1, 0)): "frame 1 for .* has a time unlike the first",
        ((1, None), (2, None)): "frame 1 for .* is 128x96 but the video is 64x48",
    }.items():
        with pytest.raises(VideoError, match=message), VideoWriter(path, fps=25, width=64, height=48) as writer:
            for scale, time in frames:
                writer.write(clips.numbered(1, 48 * scale, 64 * scale), None if time is None else Fraction(time))
    assert not path.exists()
