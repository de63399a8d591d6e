"""Video that comes once: pipes, standard input, cameras, open files; what arrives is what the file holds."""

import io
import itertools
import logging
import os
import signal
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from undertow.base import VideoError
from undertow.video import Video, is_stream, open_stream
from undertow.video.container import open_device
from undertow.video.live import camera_name
from undertow.video.pipe import Pipe
from undertow.video.streams import EncodedStream, stream_of

OPEN = {"x264-params": "open-gop=1:keyint=10:min-keyint=10:bframes=3:b-adapt=0:scenecut=0"}
FILES = {
    "open.mkv": {"options": OPEN},
    "open.ts": {"options": OPEN},
    "film.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "film.y4m": {"codec": "wrapped_avframe"},
    "film.mjpeg": {"codec": "mjpeg", "pixels": "yuvj420p"},
    "bare.h264": {"options": {"x264-params": "bframes=3:b-adapt=0"}},
    "film.gif": {"codec": "gif", "pixels": "gray"},
    "film.nut": {"codec": "ffv1"},
}


@contextmanager
def feeding(data: bytes) -> Iterator[io.FileIO]:
    """The reading end of a pipe into which a thread writes, as another program would."""
    end, other = os.pipe()

    def write() -> None:
        try:
            with open(other, "wb", buffering=0) as file:
                for place in range(0, len(data), 5000):
                    file.write(data[place : place + 5000])
        except BrokenPipeError:
            pass

    thread = threading.Thread(target=write)
    thread.start()
    with io.FileIO(end) as file:
        yield file
    thread.join()


def streamed(data: bytes) -> list[tuple[Fraction, np.ndarray]]:
    with feeding(data) as file, Video(stream_of(Pipe(file, "the pipe"))) as video:
        return [(frame.time, frame.image) for frame in video]


def same(found, expected) -> None:
    assert [time for time, _ in found] == [time for time, _ in expected]
    for (_, image), (_, other) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(image, other)


@pytest.mark.parametrize("name", FILES)
def test_a_pipe_gives_the_frames_and_times_of_the_file(clips, name):
    path = clips.make(name, **FILES[name])
    with Video(path) as video:
        expected = [(frame.time, frame.image) for frame in video]
    assert len(expected) == 40
    same(streamed(path.read_bytes()), expected)


@pytest.mark.parametrize("flags", ["faststart", "frag_keyframe+empty_moov+default_base_moof"])
def test_an_mp4_with_its_index_in_front(clips, flags):
    path = clips.remux(clips.make("film.mp4", options=OPEN), "front.mp4", lambda _, packet: packet, movflags=flags)
    assert [clips.number_in(image) for _, image in streamed(path.read_bytes())] == list(range(40))


@pytest.mark.parametrize("name", ["film.mp4", "film.mov"])
def test_an_mp4_with_its_index_at_the_end(clips, name):
    with pytest.raises(VideoError, match=r"the pipe is an mp4 with its index at the end, .* \+faststart or as mkv"):
        streamed(clips.make(name).read_bytes())


def test_nobody_waits_for_the_index_of_a_live_mp4():
    """The order is known from what has come, however little that is."""
    end, other = os.pipe()
    with io.FileIO(end) as file, io.FileIO(other, "wb") as writer:
        writer.write(b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x08mdat")
        with pytest.raises(VideoError, match="index at the end"):
            stream_of(Pipe(file, "the pipe"))


def test_a_clip_cut_at_an_open_group_begins_with_its_keyframe(clips):
    whole, keys = clips.make("whole.ts", options=OPEN), []

    def from_second_key(number, packet):
        keys.extend([number] if packet.is_keyframe else [])
        return packet if len(keys) > 1 else None

    path = clips.remux(whole, "cut.ts", from_second_key)
    with Video(path) as video:
        expected = [(frame.time, frame.image) for frame in video]
    assert len(expected) in (30, 31)
    same(streamed(path.read_bytes()), expected)


def test_joined_broadcasts_go_on(clips):
    data = clips.make("one.ts", 20).read_bytes()
    found = streamed(data + data)
    assert [clips.number_in(image) for _, image in found] == [*range(20), *range(20)]
    times = [time for time, _ in found]
    assert times == sorted(set(times))


def test_a_frame_without_a_time_is_shown_after_the_one_before(clips):
    """A broadcast may lose one; as a file, all its frames are then counted."""
    data = bytearray(clips.make("film.ts", 9, options={"x264-params": "bframes=0"}).read_bytes())
    place = -1
    for _ in range(5):
        place = data.index(b"\0\0\x01\xe0", place + 1)
    # Seven bytes into a packet's header, two bits say which time stamps follow.
    data[place + 7] &= 0x3F
    times = [time for time, _ in streamed(bytes(data))]
    assert len(times) == 9
    assert [after - before for before, after in itertools.pairwise(times)] == [Fraction(1, 25)] * 8


@pytest.mark.parametrize(("name", "codec"), [("tail.mkv", "libx264"), ("tail.ts", "libx264"), ("tail.gif", "gif")])
def test_a_cut_stream_ends_there(clips, caplog, name, codec):
    path = clips.make(name, 60, codec=codec, pixels="gray" if codec == "gif" else "yuv420p")
    with caplog.at_level(logging.WARNING):
        numbers = [clips.number_in(image) for _, image in streamed(clips.cut(path, 0.6).read_bytes())]
    assert numbers[:-3] == list(range(len(numbers) - 3)) and 15 < len(numbers) < 58
    # An mpeg-ts tells neither how long it is nor how large its last packet.
    if name != "tail.ts":
        assert [record.message for record in caplog.records] == [
            "the pipe seems to be cut short; going on with the frames it had"
        ]


def test_damaged_frames_of_a_stream_are_left_out(clips, caplog):
    whole = clips.make("whole.mkv", 20, codec="mjpeg", pixels="yuvj420p")

    def noise(number, packet):
        return clips.with_data(packet, b"\x55" * packet.size) if number in (7, 11) else packet

    path = clips.remux(whole, "hole.mkv", noise)
    with caplog.at_level(logging.WARNING):
        found = streamed(path.read_bytes())
    assert [clips.number_in(image) for _, image in found] == [n for n in range(20) if n not in (7, 11)]
    assert found[7][0] == Fraction(8, 25)
    assert [record.message for record in caplog.records] == [
        "frame 7 of the pipe is damaged; such frames are left out",
        "the pipe: damaged frames were left out: 7, 11",
    ]
    with feeding(path.read_bytes()) as file, Video(stream_of(Pipe(file, "the pipe"))) as video:
        assert [frame.index for frame in video] == [n for n in range(20) if n not in (7, 11)]


def test_what_is_no_video(clips, tmp_path):
    for data, message in (
        (b"", "nothing came through the pipe; pipe a video in"),
        (b"A text is not a film.\n" * 300, r"the pipe is not a video that can be read \("),
        (np.random.default_rng(0).bytes(9000), r"the pipe is not a video that can be read \("),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nreal.mp4\n", "the pipe is not a video"),
    ):
        with pytest.raises(VideoError, match=message):
            streamed(data)
    nothing = clips.remux(
        clips.make("whole.mkv", 5, codec="mjpeg", pixels="yuvj420p"),
        "none.mkv",
        lambda _, packet: clips.with_data(packet, b"\x55" * packet.size),
    )
    with pytest.raises(VideoError, match="the pipe holds no frame that can be decoded"):
        streamed(nothing.read_bytes())


def test_a_named_pipe(clips, tmp_path):
    data, fifo = clips.make("film.mkv", 9).read_bytes(), tmp_path / "my pipe"
    os.mkfifo(fifo)
    assert is_stream(fifo) and not is_stream(clips.folder / "film.mkv")
    with pytest.raises(VideoError, match="is neither a file nor a folder"):
        Video(fifo)
    thread = threading.Thread(target=fifo.write_bytes, args=(data,))
    thread.start()
    with open_stream(str(fifo), fps=10, cache_frames=4) as video:
        assert (video.again, video.frame_count, video.fps, video.fingerprint()) == (False, None, 10, "stream")
        assert [frame.time for frame in video] == [Fraction(number, 10) for number in range(9)]
        assert video.frame_count == 9
        with pytest.raises(VideoError, match=r"frame 0 of .*my pipe' has gone by"):
            next(video.frames([0]))
        assert video.index_of_time(0.85) == 8
        with pytest.raises(VideoError, match=r"no frame at 0.9 s; .* goes from 0 s to 0.9 s"):
            video.index_of_time(0.9)
    thread.join()


def test_a_file_can_be_read_as_a_stream(clips):
    path = clips.folder / "dump.rgb"
    path.write_bytes(b"".join(clips.numbered(number).tobytes() for number in range(6)))
    with open_stream(path, raw="64x48@25") as video:
        assert [clips.number_in(frame.image) for frame in video] == list(range(6))
    with pytest.raises(VideoError, match=r"nothing.rgb' does not exist"):
        open_stream(clips.folder / "nothing.rgb")
    with pytest.raises(VideoError, match="is a folder"):
        open_stream(clips.folder)


def test_open_files_are_read_once(clips):
    path = clips.make("film.mkv", 9)
    for source in (path.open("rb"), io.BytesIO(path.read_bytes())):
        with Video(source) as video:
            assert not video.again
            assert [clips.number_in(frame.image) for frame in video] == list(range(9))
        assert source.closed
    with path.open("r", encoding="latin-1") as text, pytest.raises(VideoError, match="the file was opened as text"):
        Video(text)


@contextmanager
def standard_input(file: int | None) -> Iterator[None]:
    """Puts an open file (or none at all) in the place of standard input."""
    kept = os.dup(0)
    try:
        os.close(0) if file is None else os.dup2(file, 0)
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def test_standard_input(clips):
    with feeding(clips.make("film.mkv", 9).read_bytes()) as file, standard_input(file.fileno()):
        with open_stream("-") as video:
            assert [clips.number_in(frame.image) for frame in video] == list(range(9))
        os.fstat(0)  # It is not ours to close.
    with (
        open(os.devnull, "rb") as file,
        standard_input(file.fileno()),
        pytest.raises(VideoError, match="nothing came through standard input; pipe a video in, or give a file"),
    ):
        open_stream("-", raw="1x1")
    terminals = os.openpty()
    with standard_input(terminals[1]), pytest.raises(VideoError, match="standard input is the terminal; pipe a video"):
        open_stream("-")
    for terminal in terminals:
        os.close(terminal)
    with standard_input(None), pytest.raises(VideoError, match="there is no standard input; give a file"):
        open_stream("-")


def test_interrupting_a_stream_that_does_not_come(clips, interruptible):
    """FFmpeg's callbacks would swallow it."""
    data = clips.make("film.ts", 40).read_bytes()
    end, other = os.pipe()
    with io.FileIO(end) as file, io.FileIO(other, "wb") as writer:
        writer.write(data[: 188 * 20])
        timer = threading.Timer(0.3, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            list(Video(file))
        timer.join()


def test_memory_does_not_grow_with_the_stream(clips):
    def peak(count: int) -> int:
        pictures = [clips.numbered(number, 120, 160) for number in range(count)]
        data = clips.make("long.mkv", pictures, codec="mjpeg", pixels="yuvj420p").read_bytes()
        with feeding(data) as file, Video(stream_of(Pipe(file, "the pipe")), cache_frames=3) as video:
            tracemalloc.start()
            assert sum(1 for _ in video) == count
            memory = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return memory

    peak(5)
    assert peak(150) < peak(20) + 120 * 160 * 3


def test_a_camera_begins_at_zero():
    """FFmpeg's test picture comes the way cameras do."""
    reel = open_device("lavfi", "testsrc=size=64x48:rate=25,setpts=PTS+1000/TB", "camera 'test'")
    with Video(EncodedStream(reel, camera=True)) as camera:
        frames = list(camera.frames(range(5)))
        assert [frame.time for frame in frames] == [Fraction(number, 25) for number in range(5)]
        assert camera.frame_count is None and not camera.again
        assert frames[0].image.std() > 20


@pytest.mark.skipif(not sys.platform.startswith("linux") or Path("/dev/video63").exists(), reason="another system")
def test_cameras_that_are_none():
    assert is_stream("camera:0") and is_stream("-")
    for camera in ("camera:63", "camera:/dev/video63", "camera:/dev/null"):
        with pytest.raises(VideoError, match=r"camera '.*' cannot be opened \(.*\); connect one, or name another"):
            open_stream(camera)
    with pytest.raises(VideoError, match="a camera's frames are not raw"):
        open_stream("camera:0", raw="640x480")


def test_every_system_calls_its_cameras_otherwise():
    there = {"dshow": ["Front", "Back"]}.__getitem__
    assert camera_name("0", "linux", there) == ("v4l2", "/dev/video0")
    assert camera_name("/dev/video2", "linux", there) == ("v4l2", "/dev/video2")
    assert camera_name("1", "darwin", there) == ("avfoundation", "1:none")
    assert camera_name("1", "win32", there) == ("dshow", "video=Back")
    assert camera_name("Front", "win32", there) == ("dshow", "video=Front")
    with pytest.raises(VideoError, match="there is no camera 2, 2 were found"):
        camera_name("2", "win32", there)
    with pytest.raises(VideoError, match="cameras cannot be opened on plan9"):
        camera_name("0", "plan9", there)


def test_an_encrypted_video(clips):
    path = clips.folder / "locked.mp4"
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "76a6" * 8, "encryption_kid": "a7e6" * 8}
    clips.remux(clips.make("film.mp4", 5), "locked.mp4", lambda _, packet: packet, movflags="faststart", **key)
    with av.open(str(path)) as container:
        assert next(container.demux(video=0)).has_sidedata("encryption_info")
    with pytest.raises(VideoError, match=r"locked.mp4' is encrypted; give a copy without protection"):
        Video(path)
    with pytest.raises(VideoError, match="the pipe is encrypted"):
        streamed(path.read_bytes())
