"""Rotation, colour, alpha, depth and odd sizes: what kind of file it was cannot be seen in the frames."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from undertow.video import Video

# Every way a camera can be held or mirrored, and what shows the picture upright again.
TURNS = {
    (0, True): lambda image: image[:, ::-1],
    (90, False): lambda image: np.rot90(image, 1),
    (180, False): lambda image: image[::-1, ::-1],
    (-90, False): lambda image: np.rot90(image, -1),
}


# EXIF's orientation, and what shows the picture upright again.
ORIENTATIONS = {
    1: lambda image: image,
    3: lambda image: image[::-1, ::-1],
    6: lambda image: np.rot90(image, -1),
    8: lambda image: np.rot90(image, 1),
}


def gradient(height: int, width: int) -> np.ndarray:
    """Different in every corner, smooth enough for halved chroma."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 3, y * 3, 100 + x + y], -1).astype(np.uint8)


@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_rotation_is_applied(clips, turn):
    stored = gradient(30, 50)
    path = clips.make("turned.mp4", [stored] * 3, options={"qp": "0"}, pixels="yuv444p", rotation=turn)
    upright = TURNS[turn](stored)
    with Video(path) as video:
        assert (video.height, video.width) == upright.shape[:2]
        assert video[2].flags.c_contiguous
        np.testing.assert_allclose(video[2], upright, atol=3)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_video_of_photographs_is_turned_as_their_exif_says(clips, orientation):
    """PyAV raises at frames with EXIF when asked for their display matrix."""
    stored, exif = gradient(32, 48), Image.Exif()
    exif[0x0112] = orientation
    path = clips.folder / "photographs.mjpeg"
    with path.open("wb") as file:
        for _ in range(3):
            Image.fromarray(stored).save(file, "jpeg", exif=exif, quality=95)
    upright = ORIENTATIONS[orientation](stored)
    with Video(path) as video:
        assert len(video) == 3
        np.testing.assert_allclose(video[2], upright, atol=12)
        assert video[2].flags.c_contiguous and (video.height, video.width) == upright.shape[:2]


@pytest.mark.parametrize("size", [(33, 47), (35, 17), (64, 48), (1, 1)])
@pytest.mark.parametrize("pixels", ["yuv420p", "yuv420p10le", "yuv422p10le", "yuva420p", "bgra", "gbrp12le"])
def test_any_size_and_pixel_format(clips, size, pixels):
    picture = gradient(*size)
    with Video(clips.make("some.mkv", [picture] * 2, codec="ffv1", pixels=pixels)) as video:
        assert (video.height, video.width) == size
        assert video[1].dtype == np.uint8
        np.testing.assert_allclose(video[1], picture, atol=4)


@pytest.mark.parametrize("pixels", ["gray", "gray10le", "gray16le"])
def test_grey_becomes_three_equal_channels(clips, pixels):
    ramp = np.repeat(np.arange(0, 256, 5, dtype=np.uint8)[None, :, None], 3, 2).repeat(9, 0)
    with Video(clips.make("grey.mkv", [ramp] * 2, codec="ffv1", pixels=pixels)) as video:
        image = video[0]
    assert (image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all()
    np.testing.assert_allclose(image, ramp, atol=1)


def test_ten_bits_are_rounded_to_eight(clips):
    levels = np.arange(0, 1024, 4, dtype=np.uint16)[None].repeat(8, 0)
    path = clips.make("ten.mkv", [levels], codec="ffv1", pixels="gray10le", source="gray10le")
    with Video(path) as video:
        np.testing.assert_allclose(video[0][..., 1], levels * (255 / 1023), atol=1)


def test_alpha_is_dropped_and_colours_stay(clips):
    picture = np.dstack([gradient(20, 24), np.full((20, 24), 7, np.uint8)])
    path = clips.make("clear.mov", [picture] * 2, codec="qtrle", pixels="argb", source="rgba")
    with Video(path) as video:
        np.testing.assert_array_equal(video[1], picture[..., :3])


@pytest.mark.parametrize(("tag", "red", "blue"), [(1, 0.2126, 0.0722), (5, 0.299, 0.114), (2, 0.299, 0.114)])
@pytest.mark.parametrize(("full", "low", "high"), [(1, 16, 235), (2, 0, 255)])
def test_colours_follow_the_tags_of_the_file(clips, tag, red, blue, full, low, high):
    rng = np.random.default_rng(0)
    luma, chroma = rng.integers(60, 200, (16, 16)), rng.integers(100, 156, (2, 16, 16))
    planes = np.stack([luma, *chroma]).astype(np.uint8)
    path = clips.folder / "tagged.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = 16, 16, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = tag, full
        frame = av.VideoFrame.from_ndarray(planes, "yuv444p")
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    # ITU-R BT.601 and BT.709, from their luma coefficients.
    y = (luma - low) * 255 / (high - low)
    u, v = (chroma - 128) * 255 / (224 if full == 1 else 255)
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    g = (y - red * r - blue * b) / (1 - red - blue)
    with Video(path) as video:
        np.testing.assert_allclose(video[0], np.clip(np.stack([r, g, b], -1), 0, 255), atol=1.6)


def test_gif_frames_build_on_one_another(clips):
    pictures = []
    for number in range(12):
        picture = np.full((30, 40, 3), 30, np.uint8)
        picture[5:20, 3 * number : 3 * number + 4] = (200, 50, 20 * number)
        pictures.append(picture)
    path = clips.folder / "moving.gif"
    images = [Image.fromarray(picture) for picture in pictures]
    images[0].save(path, save_all=True, append_images=images[1:], duration=[50, 100, 30] * 4, loop=0)
    assert path.stat().st_size < 12 * 30 * 40, "frames hold only what changes"
    with Video(path, cache_frames=1) as video:
        assert [frame.time for frame in video][:5] == [Fraction(time, 100) for time in (0, 5, 15, 18, 23)]
        for index in (11, 0, 7, 8, 3):
            np.testing.assert_allclose(video[index], pictures[index], atol=4)


def test_webm_and_gif_by_ffmpeg(clips):
    for name, codec, pixels in (("clip.webm", "libvpx-vp9", "yuva420p"), ("clip.gif", "gif", "gray")):
        with Video(clips.make(name, 15, codec=codec, pixels=pixels)) as video:
            assert [clips.number_in(frame.image) for frame in video] == list(range(15))
            assert video.fps == 25


@pytest.mark.parametrize("name", ["both.h264", "both.ts", "both.mjpeg"])
def test_frames_of_another_size_are_scaled_to_that_of_the_first(clips, caplog, name):
    codec, pixels = ("mjpeg", "yuvj420p") if name.endswith("mjpeg") else ("libx264", "yuv420p")
    parts = [
        clips.make(f"{height}.{name}", [clips.numbered(n, height, width) for n in numbers], codec=codec, pixels=pixels)
        for height, width, numbers in ((48, 64, range(12)), (96, 128, range(12, 24)))
    ]
    path = clips.folder / name
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with Video(path) as video, Video(io.BytesIO(path.read_bytes())) as stream:
        for each in (video, stream):
            frames = list(each)
            assert [clips.number_in(frame.image) for frame in frames] == list(range(24))
            assert {frame.image.shape for frame in frames} == {(48, 64, 3)}
            assert "frame 12 of" in caplog.text and "is 128x96 but the first is 64x48" in caplog.text
            caplog.clear()
