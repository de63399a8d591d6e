"""Whatever bytes are in a file: frames come out, or one sentence; never anything else."""

import io
import logging
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from undertow.base import VideoError
from undertow.video import Video

FILMS = {
    "film.mp4": ("libx264", "yuv420p"),
    "film.mkv": ("libx264", "yuv420p"),
    "film.ts": ("libx264", "yuv420p"),
    "film.avi": ("mjpeg", "yuvj420p"),
    "film.gif": ("gif", "gray"),
}
IMAGES = ("0.png", "0.jpg", "0.tiff", "0.bmp")
CHANGES = st.lists(
    st.tuples(
        # Headers decide, and come first.
        st.one_of(st.integers(0, 63), st.integers(0, 511), st.integers(0, 8191)),
        st.sampled_from(["set", "fill", "cut out", "double", "end"]),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("originals")
    picture = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    for name, (codec, pixels) in FILMS.items():
        with av.open(str(folder / name), "w", options={"movflags": "faststart"} if "mp4" in name else {}) as container:
            stream = container.add_stream(codec, rate=25)
            stream.height, stream.width, stream.pix_fmt = 16, 24, pixels
            stream.codec_context.thread_count = 1
            for number in range(4):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(picture, number, 1), "rgb24")))
            container.mux(stream.encode(None))
    for name in IMAGES:
        Image.fromarray(picture).save(folder / name)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def changed(data: bytes, changes: list[tuple[int, str, bytes]]) -> bytes:
    new = bytearray(data)
    for place, kind, value in changes:
        place %= max(1, len(new))
        if kind == "set":
            new[place : place + len(value)] = value
        elif kind == "fill":
            new[place : place + 8 * len(value)] = value[:1] * 8 * len(value)
        elif kind == "cut out":
            del new[place : place + len(value)]
        elif kind == "double":
            new[place:place] = new[place : place + 8 * len(value)]
        elif kind == "end":
            del new[place:]
    return bytes(new)


def look(source: Path | io.BytesIO) -> None:
    try:
        with Video(source) as video:
            frames = list(islice(video, 20))
            assert frames and {frame.image.shape for frame in frames} == {(video.height, video.width, 3)}
            times = [frame.time for frame in frames]
            assert times == sorted(times)
            if video.again:
                np.testing.assert_array_equal(video[0], frames[0].image)
    except VideoError as error:
        assert str(error) and "\n" not in str(error)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*FILMS, *IMAGES])
def test_changed_files(originals, tmp_path, name):
    logging.getLogger("undertow.video").setLevel(logging.ERROR)

    @settings(max_examples=25, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(CHANGES)
    def attempt(changes):
        data = changed(originals[name], changes)
        (tmp_path / name).write_bytes(data)
        look(tmp_path / name)
        look(tmp_path if name in IMAGES else io.BytesIO(data))

    attempt()
    logging.getLogger("undertow.video").setLevel(logging.NOTSET)
