"""Paths that lead nowhere, names of every kind, and files that claim to be more than they are."""

import io
import os
import socket
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from undertow.base import VideoError
from undertow.video import Video


@contextmanager
def as_nobody() -> Iterator[None]:
    """The superuser may read everything, whatever the permissions; these tests may be run as one."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def png(width: int, height: int) -> bytes:
    """A file whose header promises more than comes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_very_short_files(clips, count):
    for name, codec in (("short.mp4", "libx264"), ("short.webm", "libvpx-vp9")):
        with Video(clips.make(name, count, codec=codec)) as video:
            assert [clips.number_in(frame.image) for frame in video] == list(range(count)) and len(video) == count


def test_paths_that_lead_nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    (tmp_path / "link.mp4").symlink_to(tmp_path / "nothing.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "film.mp4").touch()
    for name, message in {
        "loop.mp4": r"loop.mp4' cannot be read \(Too many levels of symbolic links\); give",
        "link.mp4": r"link.mp4' is a link to a file that does not exist; give",
        "pipe.mp4": "pipe.mp4' is neither a file nor a folder",
        "socket.mp4": "socket.mp4' is neither a file nor a folder",
        "folder.mp4": "folder '.*folder.mp4' holds no files",
        "film.mp4/film.mp4": "film.mp4' does not exist",
        "x" * 300: r"x' cannot be read \(File name too long\)",
        "a\0b.mp4": r"cannot be read \(embedded null byte\)",
    }.items():
        with pytest.raises(VideoError, match=message):
            Video(tmp_path / name)


@pytest.mark.parametrize("name", ["my film.mp4", "ünï 帧 😀.mp4", "%03d [x].mp4", "http:film.mp4", "\udcff\udcfe.mp4"])
def test_names_are_only_names(clips, monkeypatch, name):
    path = clips.make("film.mp4", 3).rename(clips.folder / name)
    with Video(path) as video:
        assert [clips.number_in(frame.image) for frame in video] == [0, 1, 2]
        assert len(video.fingerprint()) == 64
    monkeypatch.chdir(clips.folder)
    assert len(Video(name)) == 3


def test_what_may_not_be_read(clips, tmp_path):
    for name in ("frames", "locked"):
        (tmp_path / name).mkdir()
    for path in (clips.make("film.mp4", 2), tmp_path / "frames" / "0.png"):
        path.write_bytes(png(2, 2)) if path.suffix == ".png" else None
        path.chmod(0)
    (tmp_path / "locked").chmod(0)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o777 == 0o700:  # pytest's own folders
            folder.chmod(0o755)
    with as_nobody():
        for name, message in {
            "film.mp4": r"film.mp4' cannot be read \(Permission denied\); check",
            "frames": r"0.png' cannot be read as a frame \(Permission denied\)",
            "locked": r"folder '.*locked' cannot be read \(Permission denied\)",
            "locked/film.mp4": r"film.mp4' cannot be read \(Permission denied\)",
        }.items():
            with pytest.raises(VideoError, match=message):
                Video(tmp_path / name)


def test_what_is_taken_away_while_it_is_read(clips, tmp_path):
    (tmp_path / "frames").mkdir()
    image = tmp_path / "frames" / "0.png"
    Image.new("RGB", (4, 4)).save(image)
    file = clips.make("film.mp4", 2)
    folder, film = Video(image.parent), Video(file)
    image.unlink()
    file.unlink()
    for video, message in ((folder, r"0.png' can"), (film, r"film.mp4' can")):
        with pytest.raises(VideoError, match=message):
            list(video)
        with pytest.raises(VideoError, match=message + r" no longer be read \(No such file"):
            video.fingerprint()


@pytest.mark.parametrize("size", [(60000, 60000), (2**31 - 1, 2**31 - 1), (11000, 11000), (9000, 9000), (0, 5)])
def test_an_image_that_claims_to_be_huge(tmp_path, size):
    (tmp_path / "bomb.png").write_bytes(png(*size))
    with warnings.catch_warnings(), pytest.raises(VideoError, match=r"bomb.png' (cannot be read|has 11000x11000)"):
        # As users have it: here it is an error.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        Video(tmp_path / "bomb.png")


def test_a_video_that_claims_to_be_huge(tmp_path):
    head = b"YUV4MPEG2 W12000 H12000 F25:1 Ip A1:1 C420jpeg\nFRAME\n"
    (tmp_path / "bomb.y4m").write_bytes(head + bytes(9000))
    for source in (tmp_path / "bomb.y4m", io.BytesIO(head + bytes(9000))):
        with pytest.raises(VideoError, match=r"the picture of .* has 12000x12000 pixels, more than the 89 million"):
            Video(source)


def test_a_frame_that_claims_to_be_huge(clips):
    whole = clips.make("whole.mkv", 5, codec="mjpeg", pixels="yuvj420p")

    def huge(number, packet):
        data = bytearray(bytes(packet))
        if number == 3:
            place = data.index(b"\xff\xc0") + 5
            data[place : place + 4] = b"\xff\xdc" * 2
        return clips.with_data(packet, bytes(data))

    with (
        Video(clips.remux(whole, "huge.mkv", huge)) as video,
        pytest.raises(VideoError, match=r"frame 3 of .* damaged"),
    ):
        list(video)


def test_images_under_other_names(tmp_path):
    picture = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    picture.save(tmp_path / "photo.png", "bmp")
    assert len(Video(tmp_path / "photo.png")) == 1
    picture.save(tmp_path / "photo.mp4", "bmp")
    with pytest.raises(VideoError, match=r"photo.mp4' is not a video"):
        Video(tmp_path / "photo.mp4")
    # Pillow would have another program draw this one.
    (tmp_path / "page.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    with pytest.raises(VideoError, match=r"page.png' cannot be read as a frame \(not an image\)"):
        Video(tmp_path / "page.png")
    picture.save(tmp_path / "pages.tif", save_all=True, append_images=[picture])
    with pytest.raises(VideoError, match=r"pages.tif' has several pages, not one frame"):
        Video(tmp_path / "pages.tif")
