"""The canvas shows exactly the frame that was asked for, whatever the clip: its number is in the pixels of each."""

from fractions import Fraction

import av
import numpy as np
import pytest

from browsing import SQUARE, opened, shows

# Of each clip: codec, size, number of frames, presentation times in milliseconds, options, and frames to ask for.
CLIPS = {
    "variable rate": ("ffv1", (32, 128), 40, lambda n: n * n * 7 + n % 3, {}, (0, 39, 1, 17, 38, 20)),
    "B-frames": ("libx264", (32, 128), 60, lambda n: n * 40, {"x264-params": "bframes=3"}, (59, 1, 31, 29, 2)),
    "an hour": ("libx264", (16, 128), 3600, lambda n: n * 1000, {"x264-params": "keyint=250"}, (3599, 1801, 7, 3598)),
    "4K": ("libx264", (2160, 3840), 4, lambda n: n * 40, {"preset": "ultrafast"}, (3, 0, 2)),
}  # fmt: skip


def coded(number: int, size: tuple[int, int]) -> np.ndarray:
    """A grey frame with its number in squares along the upper edge."""
    image = np.full((*size, 3), 120, np.uint8)
    for bit in range(16):
        image[:SQUARE, bit * SQUARE : (bit + 1) * SQUARE] = 235 if number >> bit & 1 else 16
    return image


def write(path, codec, size, count, time, options):
    """Writes a film whose frames carry their numbers, at given times."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = size
        stream.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(coded(number, size))
            frame.pts, frame.time_base = time(number), Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    for name, (codec, size, count, time, options, _) in CLIPS.items():
        write(folder / f"{name}.mkv", codec, size, count, time, options)
    return folder


def test_every_frame_asked_for_is_the_frame_that_is_shown(films, tmp_path):
    pytest.importorskip("fastapi", reason="needs the extra app")
    from undertow.app import Workspace

    workspace = Workspace(lambda task: None)
    for name in CLIPS:
        workspace.open(films / f"{name}.mkv", tmp_path / name)
    with opened(workspace) as page:
        for clip, (name, (_, size, count, time, _, asked)) in enumerate(CLIPS.items()):
            if clip:
                page.get_by_label("Clip", exact=True).select_option(str(clip))
            shows(page, 0)
            assert page.evaluate("[canvas.height, canvas.width]") == list(size), name
            for number in asked:
                box = page.locator("#timeline").bounding_box()
                page.keyboard.press("Home" if number < count / 2 else "End")
                near = 0 if number < count / 2 else count - 1
                if abs(number - near) > 20:
                    page.mouse.click(box["x"] + 70 + (box["width"] - 70) * (number + 0.5) / count, box["y"] + 3)
                    found = int(page.locator("#time").text_content().split(" ")[0])
                    assert abs(found - number) <= count / (box["width"] - 70) + 1
                    near = found
                for _ in range(abs(number - near)):
                    page.keyboard.press("ArrowRight" if number > near else "ArrowLeft")
                shows(page, number)
                assert f"{time(number) / 1000:.3f} s" in page.locator("#time").text_content()
        assert page.trouble == []
