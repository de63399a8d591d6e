import logging
import os
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undertow.base import VideoError
from undertow.video import Video
from undertow.video.folder import missing_numbers, natural_key

DATA = Path(os.environ.get("UNDERTOW_DATA", Path(__file__).parents[2].parent / "shared" / "data"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "frames").mkdir()
    return tmp_path / "frames"


def save(path: Path, value: int | np.ndarray, size: tuple[int, int] = (8, 6), mode: str | None = None, **extra) -> Path:
    pixels = value if isinstance(value, np.ndarray) else np.full((size[1], size[0], 3), value, np.uint8)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **extra)
    return path


def test_frames_come_in_natural_order(folder, caplog):
    for number in (10, 2, 1, 9, 100, 11):
        save(folder / f"shot2_{number}.png", number)
    (folder / ".hidden.png").write_bytes(b"no image")
    (folder / "notes.txt").write_text("no image")
    (folder / "sub.png").mkdir()
    with caplog.at_level(logging.WARNING):
        video = Video(folder)
    assert [frame.name for frame in video] == [f"shot2_{number}" for number in (1, 2, 9, 10, 11, 100)]
    assert [int(frame.image.mean()) for frame in video] == [1, 2, 9, 10, 11, 100]
    assert video.name_of(2) == "shot2_9"
    assert (len(video), video.height, video.width, video.fps) == (6, 6, 8, None)
    assert video.gaps == ["3-8", "12-99"]
    assert [record.message for record in caplog.records] == [
        f"folder '{folder}' has gaps: 3-8, 12-99 missing; its 6 frames are counted without"
    ]


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["00000", "00001", "00003", "00007"], ("00002", "00004-00006")),
        (["00000", "00005", "00010"], ()),
        (["00000", "00005", "00015", "00020"], ("00010",)),
        (["f8.tif", "f9.tif", "f11.tif"], ("10",)),
        (["a", "b"], ()),
        (["a1", "b4"], ()),
        (["7"], ()),
        (["1", "5"], ()),
    ],
)
def test_missing_numbers(names, missing):
    assert missing_numbers(names) == missing


def test_natural_order_of_mixed_names():
    names = ["b1", "a10", "a2", "10", "9", "a2b", "A1", "a02"]
    assert [path.name for path in sorted(map(Path, names), key=natural_key)] == [
        "9", "10", "A1", "a02", "a2", "a2b", "a10", "b1",
    ]  # fmt: skip


def test_times_follow_a_given_rate(folder):
    for number in range(3):
        save(folder / f"{number}.png", number)
    assert [frame.time for frame in Video(folder, fps="30000/1001")] == [Fraction(1001 * n, 30000) for n in range(3)]
    assert [frame.time for frame in Video(folder)] == [Fraction(n, 24) for n in range(3)]
    assert Video(folder, fps=30000 / 1001).fps == Fraction(30000, 1001)


def test_kinds_of_images(folder):
    rng = np.random.default_rng(0)
    colour, alpha = rng.integers(0, 256, (6, 8, 3), np.uint8), rng.integers(0, 256, (6, 8, 1), np.uint8)
    grey = colour[..., :1].repeat(3, 2)
    save(folder / "0.png", colour)
    save(folder / "1.png", np.dstack([colour, alpha]))
    save(folder / "2.png", colour[..., 0])
    save(folder / "3.png", np.dstack([colour[..., 0], alpha]))
    save(folder / "4.png", colour[..., 0].astype(np.uint16) * 257)
    save(folder / "5.bmp", colour)
    save(folder / "6.webp", np.dstack([colour, alpha]), lossless=True, exact=True)
    save(folder / "7.tiff", colour)
    indexed = Image.fromarray(colour[..., 0])
    indexed.putpalette(bytes(value for level in range(256) for value in (level, level, level)))
    indexed.save(folder / "8.png", transparency=int(colour[0, 0, 0]))
    expected = [colour, colour, grey, grey, grey, colour, colour, colour, grey]
    for frame, image in zip(Video(folder), expected, strict=True):
        np.testing.assert_array_equal(frame.image, image, err_msg=frame.name)


def test_sixteen_bits_are_rounded(folder):
    save(folder / "0.png", np.array([[0, 128, 129, 300, 65535]], np.uint16))
    assert Video(folder)[0][0, :, 0].tolist() == [0, 0, 1, 1, 255]


def test_exif_orientation_is_applied(folder):
    stored = np.zeros((20, 40, 3), np.uint8)
    stored[:, :20] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(2):
        save(folder / f"{number}.jpg", stored, exif=exif)
    video = Video(folder)
    assert (video.height, video.width) == (40, 20)
    assert video[1][:20].min() > 250 and video[1][20:].max() < 5


def test_a_turned_image_among_others_is_named(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(folder / "0.jpg", 1)
    save(folder / "1.jpg", 1, exif=exif)
    with Video(folder) as video, pytest.raises(VideoError, match=r"1.jpg' is 6x8 but the first frame is 8x6"):
        video.frame(1)


def test_folders_that_are_no_videos(folder, tmp_path):
    with pytest.raises(VideoError, match=r"frames' holds no files; give one with frames as jpg or png"):
        Video(folder)
    (folder / "a.txt").touch()
    with pytest.raises(VideoError, match="holds 1 files but no images"):
        Video(folder)
    save(folder / "0.png", 1)
    save(folder / "1.png", 1, size=(8, 7))
    with pytest.raises(VideoError, match=r"1.png' is 8x7 but the first frame is 8x6; make all"):
        Video(folder)
    (folder / "1.png").write_bytes(b"not an image at all")
    with pytest.raises(VideoError, match=r"1.png' cannot be read as a frame \(not an image\)"):
        Video(folder)
    (folder / "1.png").unlink()
    save(folder / "0.jpg", 1)
    with pytest.raises(VideoError, match=r"two frames of one name, '0.jpg' and '0.png'"):
        Video(folder)


def test_a_file_that_breaks_off_is_named(folder):
    for number in range(2):
        save(folder / f"{number}.png", np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))
    whole = (folder / "1.png").read_bytes()
    (folder / "1.png").write_bytes(whole[: len(whole) // 2])
    with Video(folder) as video, pytest.raises(VideoError, match=r"1.png' cannot be read as a frame \("):
        video.frame(1)


@pytest.mark.parametrize("kind", ["link", "loop", "pipe"])
def test_a_frame_that_is_no_file_is_not_passed_over(folder, kind):
    for number in range(3):
        save(folder / f"{number}.png", number)
    (folder / "2.png").unlink()
    if kind == "pipe":
        os.mkfifo(folder / "2.png")
    else:
        (folder / "2.png").symlink_to(folder / ("2.png" if kind == "loop" else "nothing.png"))
    with pytest.raises(VideoError, match=r"2.png' is (a link to nothing|not a file), so that a frame would be missing"):
        Video(folder)


def test_a_file_that_is_no_image_among_others_is_named(folder):
    for number in range(3):
        save(folder / f"{number}.png", number)
    for data, what in ((b"", "not an image"), (b"text" * 9, "not an image"), (b"\x89PNG\r\n\x1a\n", "")):
        (folder / "1.png").write_bytes(data)
        with pytest.raises(VideoError, match=rf"1.png' cannot be read as a frame \({what}"):
            Video(folder)


def test_single_images(folder):
    assert len(Video(save(folder / "one.png", 5))) == 1
    images = [Image.fromarray(np.full((6, 8, 3), value, np.uint8)) for value in (0, 200)]
    images[0].save(folder / "two.webp", save_all=True, append_images=images[1:])
    with pytest.raises(VideoError, match=r"two.webp' is an animation, not one frame"):
        Video(folder / "two.webp")
    save(folder / "float.tiff", np.zeros((6, 8), np.float32))
    with pytest.raises(VideoError, match=r"float.tiff' has floating-point pixels"):
        Video(folder / "float.tiff")


def test_fingerprint_is_of_names_and_bytes(folder, tmp_path):
    for number in range(3):
        save(folder / f"{number}.png", number)
    shutil.copytree(folder, tmp_path / "copy")
    before = Video(folder).fingerprint()
    assert before == Video(tmp_path / "copy").fingerprint() and len(before) == 64
    (folder / "notes.txt").touch()
    assert Video(folder).fingerprint() == before
    (folder / "2.png").rename(folder / "3.png")
    assert Video(folder).fingerprint() != before
    save(tmp_path / "copy" / "2.png", 9)
    assert Video(tmp_path / "copy").fingerprint() != before


@pytest.mark.shared_data
def test_real_frames():
    frames = DATA / "davis-cows" / "frames"
    if not frames.is_dir():
        pytest.skip(f"{frames} is not there; set UNDERTOW_DATA")
    with Video(frames) as video:
        assert (len(video), video.width, video.height, video.gaps) == (104, 854, 480, [])
        assert video.name_of(103) == "00103"
        assert video[50].std() > 20
