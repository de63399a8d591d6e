"""Broken videos and images: frames or a VideoError come out, soon and in bounded memory.

    python fuzz/fuzz_video.py --seconds 60

The first byte of an input says which kind of file the rest is. An input that ends the process lies in the folder that
is printed at the start.
"""

import io
import logging
import tempfile
import time
import warnings
from itertools import islice
from pathlib import Path

import av
import numpy as np
from loop import instrumented, main
from PIL import Image

from undertow.base import VideoError

with instrumented("undertow.video", "PIL.Image", "PIL.ImageFile", "PIL.PngImagePlugin", "PIL.TiffImagePlugin"):
    import undertow.video.file  # noqa: F401 - so that it is instrumented too
    from undertow.video import Video

FOLDER = Path(tempfile.mkdtemp(prefix="undertow-fuzz-"))
# Seconds and frames that one way of reading may take.
PATIENCE, MOST_FRAMES = 5, 40
FILMS = {
    "film.mp4": ("libx264", "yuv420p"),
    "film.mov": ("mjpeg", "yuvj420p"),
    "film.mkv": ("libx264", "yuv420p"),
    "film.webm": ("libvpx-vp9", "yuv420p"),
    "film.avi": ("mpeg4", "yuv420p"),
    "film.ts": ("libx264", "yuv420p"),
    "film.gif": ("gif", "gray"),
    "film.apng": ("apng", "rgb24"),
    "film.y4m": ("wrapped_avframe", "yuv420p"),
    "film.mjpeg": ("mjpeg", "yuvj420p"),
    "film.h264": ("libx264", "yuv420p"),
    "film.flv": ("flv", "yuv420p"),
    "film.nut": ("ffv1", "yuv420p"),
}
IMAGES = {
    "0.png": ("PNG", {}),
    "0.jpg": ("JPEG", {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"}),
    "0.tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "0.webp": ("WEBP", {}),
    "0.bmp": ("BMP", {}),
    "0.ppm": ("PPM", {}),
}
NAMES = [*FILMS, *IMAGES]


def target(data: bytes) -> None:
    """Reads one input as a file, and as a stream or among other frames."""
    name = NAMES[data[0] % len(NAMES)] if data else NAMES[0]
    path = FOLDER / name
    path.write_bytes(data[1:])
    second = FOLDER / "1.png"
    if name in IMAGES:
        second.write_bytes((FOLDER.with_suffix(".seeds") / "1.png").read_bytes())
    try:
        for source in (path, FOLDER if name in IMAGES else io.BytesIO(data[1:])):
            begin = time.monotonic()
            try:
                with Video(source, fps=25 if name in IMAGES else None) as video:
                    look(video)
            except VideoError as error:
                assert "\n" not in str(error) and len(str(error)) < 600, f"not a sentence: {error}"
            seconds = time.monotonic() - begin
            assert seconds < PATIENCE, f"'{name}' took {seconds:.1f} s"
    finally:
        path.unlink()
        second.unlink(missing_ok=True)


def look(video: Video) -> None:
    """Checks frames from the beginning, and some out of order."""
    shape, times = (video.height, video.width, 3), []
    for frame in islice(video, MOST_FRAMES):
        assert frame.image.shape == shape and frame.image.dtype == np.uint8
        times.append(frame.time)
    assert times == sorted(times)
    if video.again:
        assert video.frame_count
        for index in (min(video.frame_count, 200) - 1, 0):
            frame = video.frame(index)
            assert frame.image.shape == shape
            # Times closer than a microsecond are taken for one.
            assert abs(video.time_of(video.index_of_time(frame.time)) - frame.time) < 1e-6


def picture(number: int) -> np.ndarray:
    """Returns one of a row of pictures, 32x24 pixels."""
    y, x = np.mgrid[:24, :32]
    return np.stack([x * 8, y * 8, (x + y + number * 9) % 256], -1).astype(np.uint8)


def seeds() -> list[bytes]:
    """Returns a small whole file of every kind."""
    folder = FOLDER.with_suffix(".seeds")
    folder.mkdir()
    for name, (codec, pixels) in FILMS.items():
        options = {"movflags": "faststart"} if name[-3:] in ("mp4", "mov") else {}
        with av.open(str(folder / name), "w", options=options) as container:
            stream = container.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 32, 24, pixels
            stream.codec_context.gop_size, stream.codec_context.thread_count = 4, 1
            for number in range(8):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), "rgb24")))
            container.mux(stream.encode(None))
    for name, (form, extra) in IMAGES.items():
        Image.fromarray(picture(0)).save(folder / name, form, **extra)
    Image.fromarray(picture(1)).save(folder / "1.png")
    files = [bytes([number]) + (folder / name).read_bytes() for number, name in enumerate(NAMES)]
    # Headers decide, and they are but a small part.
    return files + [data[:512] for data in files]


if __name__ == "__main__":
    # What is said about damage is not of interest here.
    logging.disable()
    warnings.simplefilter("ignore")
    print(FOLDER, flush=True)
    main(target, seeds())
