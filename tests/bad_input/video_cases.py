"""Videos that are none, or not whole."""

import io
import os
import struct
import wave
import zlib
from pathlib import Path

import numpy as np

from .kitchen import Case, Kitchen, picture


def sound(kitchen: Kitchen, name: str) -> Path:
    """A file with sound only."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(3200))
    return kitchen.at(name, buffer.getvalue())


def png(width: int, height: int, body: bytes = b"") -> bytes:
    """A PNG whose header claims a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def folder_with(kitchen: Kitchen, name: str, content: bytes, count: int = 4) -> Path:
    """A folder of good frames and another file among them."""
    folder = kitchen.frames(count=count)
    (folder / name).write_bytes(content)
    return folder


def empty_folder(kitchen: Kitchen) -> Path:
    (kitchen.folder / "empty").mkdir()
    return kitchen.folder / "empty"


def folder_of_texts(kitchen: Kitchen) -> Path:
    return kitchen.at("texts/readme.txt", "no image").parent


def two_sizes(kitchen: Kitchen) -> Path:
    folder = kitchen.frames()
    kitchen.image("frames/00003.png", picture(3, 32, 24))
    return folder


def twins(kitchen: Kitchen) -> Path:
    folder = kitchen.frames()
    kitchen.image("frames/00001.jpg", picture(1))
    return folder


def directory(kitchen: Kitchen, name: str) -> Path:
    (kitchen.folder / name).mkdir()
    return kitchen.folder / name


def loop(kitchen: Kitchen) -> Path:
    path = kitchen.folder / "loop.mp4"
    path.symlink_to(path)
    return path


def pipe(kitchen: Kitchen) -> Path:
    path = kitchen.folder / "nothing.png"
    os.mkfifo(path)
    return path


def animation(kitchen: Kitchen) -> Path:
    from PIL import Image

    folder = kitchen.frames()
    images = [Image.fromarray(picture(number)) for number in range(2)]
    images[0].save(folder / "00003.png", save_all=True, append_images=images[1:])
    return folder


def other_codec(data: bytes) -> bytes:
    return data.replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC")


CASES = [
    Case("the video does not exist", lambda k: k.track(video=k.folder / "no.mp4"), "'<tmp>/no.mp4' does not exist"),
    Case("the video has 0 bytes", lambda k: k.track(video=k.at("zero.mp4")), "is empty (0 bytes)"),
    Case(
        "the video is cut off before its index",
        lambda k: k.track(video=k.spoilt("cut.mp4", lambda data: data[: len(data) // 3])),
        "cut.mp4'",
    ),
    Case("the first 4 kB are zeros", lambda k: k.track(video=k.at("zeros.mp4", bytes(4096))), "zeros.mp4' is not a"),
    Case(
        "a text named .mp4", lambda k: k.track(video=k.at("notes.mp4", "A text.\n" * 99)), "notes.mp4' is not a video"
    ),
    Case("a playlist", lambda k: k.track(video=k.at("list.m3u8", "#EXTM3U\nhttp://127.0.0.1/a.ts\n")), "list.m3u8'"),
    Case("only sound", lambda k: k.track(video=sound(k, "song.wav")), "holds only sound"),
    Case("only sound, named .mp4", lambda k: k.track(video=sound(k, "song.mp4")), "holds only sound"),
    Case("an unknown codec", lambda k: k.track(video=k.spoilt("strange.mp4", other_codec)), "strange.mp4'"),
    Case(
        "all pictures are noise",
        lambda k: k.track(video=k.spoilt("noise.mp4", lambda data: noise_pictures(data))),
        "noise.mp4'",
    ),
    Case("an empty folder", lambda k: k.track(video=empty_folder(k)), "holds no files"),
    Case("a folder without images", lambda k: k.track(video=folder_of_texts(k)), "1 files but no images"),
    Case("a folder named x.mp4", lambda k: k.track(video=directory(k, "x.mp4")), "holds no files"),
    Case(
        "a text named .png among the frames",
        lambda k: k.track(video=folder_with(k, "00002.png", b"no image")),
        "00002.png' cannot be read as a frame (not an image)",
    ),
    Case(
        "a frame with 0 bytes",
        lambda k: k.track(video=folder_with(k, "00000.png", b"")),
        "00000.png' cannot be read as a frame",
    ),
    Case(
        "a frame cut off in the middle of the folder",
        lambda k: k.track(video=folder_with(k, "00002.png", (k.frames() / "00001.png").read_bytes()[:200])),
        "00002.png' cannot be read as a frame",
        leaves=("out",),
    ),
    Case("frames of two sizes", lambda k: k.track(video=two_sizes(k)), "is 32x24 but the first frame is 64x48"),
    Case("two frames of one name", lambda k: k.track(video=twins(k)), "two frames of one name"),
    Case("an animation among the frames", lambda k: k.track(video=animation(k)), "is an animation"),
    Case(
        "a PNG that claims 60000x60000 pixels",
        lambda k: k.track(video=folder_with(k, "00000.png", png(60000, 60000))),
        "00000.png' cannot be read as a frame",
    ),
    Case("a device", lambda k: k.track(video="/dev/null"), "'/dev/null'"),
    Case("a link to itself", lambda k: k.track(video=loop(k)), "loop.mp4'"),
    Case("a path under a file", lambda k: k.track(video=k.clip / "frames"), "clip.mp4/frames'"),
    Case("a name of 300 letters", lambda k: k.track(video=k.folder / ("a" * 300 + ".mp4")), "aaa"),
    Case("no name at all", lambda k: k.track(video=""), "folder '.' holds"),
]


def noise_pictures(data: bytes) -> bytes:
    """The clip with its pictures replaced by noise, its index as it was."""
    start = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4 if data.index(b"moov") > start else len(data)
    return data[:start] + np.random.default_rng(0).bytes(end - start) + data[end:]
