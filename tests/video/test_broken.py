"""Files that are no video, or not all of one, each with one sentence about it."""

import io
import logging
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from undertow.base import VideoError
from undertow.video import Clip, DamagedFrame, Video


class Once(io.RawIOBase):
    """Bytes that cannot be read again."""

    def __init__(self, data: bytes):
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return self._data.readinto(buffer)


def sound(path: Path, codec: str) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), "s16", "mono")
        frame.sample_rate, frame.pts = 16000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_missing_empty_and_other_paths(tmp_path):
    with pytest.raises(VideoError, match=r"nothing.mp4' does not exist; give"):
        Video(tmp_path / "nothing.mp4")
    (tmp_path / "zero.mp4").touch()
    with pytest.raises(VideoError, match=r"zero.mp4' is empty \(0 bytes\)"):
        Video(str(tmp_path / "zero.mp4"))
    with pytest.raises(VideoError, match="null' is neither a file nor a folder"):
        Video("/dev/null")


@pytest.mark.parametrize("name", ["notes.txt", "notes.mp4", "list.m3u8", "noise.mkv"])
def test_other_files_are_not_videos(tmp_path, clips, name):
    clips.make("real.mp4", 2)
    texts = {
        "list.m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nreal.mp4\n#EXT-X-ENDLIST\n",
        "noise.mkv": np.random.default_rng(0).bytes(5000),
    }
    (tmp_path / name).write_bytes(texts.get(name, b"A text is not a film.\n" * 200))
    with pytest.raises(VideoError, match=rf"{name}' is not a video that can be read .*; give an mp4"):
        Video(tmp_path / name)


def test_a_suffix_does_not_matter(tmp_path, clips):
    shutil.copy(clips.make("real.mp4", 5), tmp_path / "film.dat")
    assert len(Video(tmp_path / "film.dat")) == 5


@pytest.mark.parametrize(("name", "codec"), [("song.wav", "pcm_s16le"), ("song.mka", "flac"), ("song.m4a", "alac")])
def test_sound_is_not_a_video(tmp_path, name, codec):
    with pytest.raises(VideoError, match=rf"{name}' holds only sound; give a video"):
        Video(sound(tmp_path / name, codec))


def test_a_cover_picture_is_not_a_video(tmp_path, clips):
    song = sound(tmp_path / "song.m4a", "alac")
    cover = clips.make("cover.mp4", 1, codec="mjpeg", pixels="yuvj420p")
    with av.open(str(song)) as tune, av.open(str(cover)) as picture, av.open(str(tmp_path / "both.mp4"), "w") as both:
        streams = [both.add_stream_from_template(each.streams[0]) for each in (tune, picture)]
        streams[1].disposition = av.stream.Disposition.attached_pic
        for each, stream in zip((picture, tune), reversed(streams), strict=True):
            for packet in each.demux():
                if packet.size:
                    packet.stream = stream
                    both.mux(packet)
    with pytest.raises(VideoError, match="holds only sound"):
        Video(tmp_path / "both.mp4")


def test_an_unknown_codec(clips):
    path = clips.make("strange.mp4", 3)
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC"))
    with pytest.raises(VideoError, match=r"strange.mp4' (has a video format that|holds no frame that) can"):
        Video(path)


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("tail.mp4", "libx264", "yuv420p"),
        ("tail.mkv", "libx264", "yuv420p"),
        ("tail.webm", "libvpx-vp9", "yuv420p"),
        ("tail.gif", "gif", "gray"),
        ("tail.avi", "mjpeg", "yuvj420p"),
    ],
)
def test_a_cut_file_gives_the_frames_it_has(clips, caplog, name, codec, pixels):
    whole = clips.make(
        name, 60, codec=codec, pixels=pixels, options={"x264-params": "bframes=2"} if codec == "libx264" else {}
    )
    if name == "tail.mp4":
        whole = clips.remux(whole, "index-first.mp4", lambda _, packet: packet, movflags="faststart")
    with Video(clips.cut(whole, 0.6)) as video, caplog.at_level(logging.WARNING):
        numbers = [clips.number_in(frame.image) for frame in video]
        count = len(video)
        assert clips.number_in(video[count - 1]) == numbers[-1]
    # The last group of pictures may have lost a frame in the middle with its end.
    assert numbers[:-3] == list(range(count - 3)) and 15 < count < 58
    assert numbers == sorted(set(numbers))
    assert [record.message for record in caplog.records] == [
        f"'{whole.with_stem(whole.stem + '-cut')}' seems to be cut short; going on with the {count} frames it has"
    ]


def test_without_its_index_an_mp4_cannot_be_read(clips):
    path = clips.cut(clips.make("tail.mp4", 60), 0.5)
    with pytest.raises(VideoError, match=r"tail-cut.mp4' is not a video that can be read \(Invalid data"):
        Video(path)


def test_whole_files_give_no_warning(clips, caplog):
    for name, codec in (("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx-vp9"), ("a.gif", "gif")):
        with Video(clips.make(name, 7, codec=codec, pixels="gray" if codec == "gif" else "yuv420p")) as video:
            assert len(video) == 7
    assert not caplog.records


def with_sound(clips, name: str) -> Path:
    """25 frames, and three times as much sound."""
    path = clips.folder / name
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=25)
        tone = container.add_stream("flac" if name.endswith("mkv") else "mp2", rate=16000, layout="mono")
        picture.height, picture.width, picture.pix_fmt = 48, 64, "yuv420p"
        for number in range(75):
            if number < 25:
                frame = av.VideoFrame.from_ndarray(clips.numbered(number), "rgb24")
                frame.pts = number
                container.mux(picture.encode(frame))
            beep = av.AudioFrame.from_ndarray(np.full((1, 640), number, np.int16), "s16", "mono")
            beep.sample_rate, beep.pts = 16000, number * 640
            container.mux(tone.encode(beep))
        container.mux(picture.encode(None))
        container.mux(tone.encode(None))
    return path


def test_sound_beside_the_picture_is_passed_over(clips, caplog):
    with Video(with_sound(clips, "both.mkv")) as video:
        assert [clips.number_in(frame.image) for frame in video] == list(range(25))
        assert clips.number_in(video[3]) == 3
    assert not caplog.records


def test_sound_that_begins_in_the_middle_is_passed_over(clips):
    """PyAV raises at the end if more streams have turned up since it opened a pipe."""
    silent = clips.make("silent.ts", 250)
    data = silent.read_bytes() + with_sound(clips, "both.ts").read_bytes()
    with Video(Once(data)) as video:
        assert [clips.number_in(frame.image) for frame in video] == [*range(250), *range(25)]


def damaged(clips, name: str, *broken: int) -> Path:
    """A clip in which every frame stands alone and some are noise."""
    whole = clips.make("whole.mkv", 20, codec="mjpeg", pixels="yuvj420p")

    def noise(number, packet):
        return clips.with_data(packet, b"\x55" * packet.size) if number in broken else packet

    return clips.remux(whole, name, noise)


def test_a_damaged_frame_is_named(clips):
    with Video(damaged(clips, "hole.mkv", 7)) as video:
        assert len(video) == 20
        with pytest.raises(VideoError, match=r"frame 7 of .*hole.mkv' is damaged"):
            video.frame(7)
        assert clips.number_in(video[8]) == 8
        assert clips.number_in(video[6]) == 6
        with pytest.raises(VideoError, match="frame 7 of"):
            list(video)


def test_frames_that_cannot_be_decoded_at_the_end_are_left_out(clips, caplog):
    with Video(damaged(clips, "end.mkv", 18, 19)) as video:
        assert [clips.number_in(frame.image) for frame in video] == list(range(18))
        assert len(video) == 18
        with pytest.raises(VideoError, match="has no frame 18; it has 18 frames, 0 to 17"):
            video.frame(18)
    assert [record.message.split("'")[-1] for record in caplog.records] == [
        " ends early: only 18 of its 20 frames can be decoded"
    ]


def test_nothing_decodable(clips):
    with pytest.raises(VideoError, match=r"none.mkv' holds no frame that can be decoded"):
        Video(damaged(clips, "none.mkv", *range(20)))


def test_what_can_be_decoded_before_the_first_keyframe_counts(clips, caplog):
    """FFmpeg plays it too; everything from the keyframe on is noise."""
    whole = clips.make("whole.flv", 20, group=10, codec="flv")

    def spoil(number, packet):
        packet = clips.with_data(packet, b"\x55" * packet.size) if number >= 10 else packet
        packet.is_keyframe = number == 10
        return packet

    path = clips.remux(whole, "spoilt.flv", spoil)
    with Video(path) as video:
        assert [clips.number_in(frame.image) for frame in video] == list(range(10))
        assert len(video) == 10
    assert [record.message.split("'")[-1] for record in caplog.records] == [
        " ends early: its last 10 frames cannot be decoded"
    ]


def test_damaged_frames_are_left_out_on_request(clips, caplog):
    with Video(damaged(clips, "holes.mkv", 7, 11, 12), skip_damaged=True) as video:
        frames = list(video)
        good = [number for number in range(20) if number not in (7, 11, 12)]
        assert [frame.index for frame in frames] == [clips.number_in(frame.image) for frame in frames] == good
        assert (len(video), video.damaged, list(video.numbers)) == (20, [7, 11, 12], good)
        clip = Clip(video, 5, 15, 2)
        assert list(clip.numbers) == [frame.index for frame in clip] == [5, 9, 13]
        assert clip.frame_count == 3
        with pytest.raises(DamagedFrame, match="frame 11 of"):
            video.frame(11)
    assert [record.message.split("'")[-1] for record in caplog.records] == [": damaged frames are left out: 7, 11-12"]


def test_after_a_damaged_frame_reading_goes_on_without_a_jump(clips):
    with Video(damaged(clips, "hole.mkv", 7)) as video:
        assert [clips.number_in(video[number]) for number in range(7)] == list(range(7))
        for _ in range(2):
            with pytest.raises(DamagedFrame, match="with --skip-damaged"):
                video.frame(7)
        assert [clips.number_in(video[number]) for number in range(8, 20)] == list(range(8, 20))
        assert video._source.seeks == 0


def test_damaged_images_of_a_folder_are_left_out_on_request(clips):
    for number in range(5):
        Image.fromarray(clips.numbered(number)).save(clips.folder / f"{number}.png")
    for name, size in (("0.png", 50), ("3.png", 400)):
        path = clips.folder / name
        path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DamagedFrame, match=r"0.png' cannot be read as a frame .* with --skip-damaged"):
        Video(clips.folder)
    with Video(clips.folder, skip_damaged=True) as video:
        assert [frame.name for frame in video] == ["1", "2", "4"]
        assert (len(video), video.damaged) == (5, [0, 3])
