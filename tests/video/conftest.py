"""Clips made on the spot, in which every frame shows its own number."""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import films
import numpy as np
import pytest

HEIGHT, WIDTH = 48, 64


def numbered(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Returns the picture of a number at the size that these tests have."""
    return films.numbered(number, height, width)


def decoded(path: Path) -> Iterator[tuple[Fraction, np.ndarray]]:
    """The reference: time and picture of every frame, by decoding the whole file with PyAV's own loop."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.pts * frame.time_base, frame.to_ndarray(format="rgb24")


class Clips:
    """What the tests of this folder share: clips in the folder of one test."""

    numbered = staticmethod(numbered)
    number_in = staticmethod(films.number_in)
    decoded = staticmethod(decoded)

    def __init__(self, folder: Path):
        self.folder = folder

    def make(
        self,
        name: str,
        frames: int | Sequence[np.ndarray] = 40,
        *,
        codec: str = "libx264",
        pixels: str = "yuv420p",
        group: int = 10,
        rate: Fraction | int = 25,
        stamps: Sequence[int] | None = None,
        tick: Fraction | None = None,
        source: str = "rgb24",
        rotation: tuple[int, bool] | None = None,
        options: dict[str, str] | None = None,
    ) -> Path:
        """Encodes numbered (or given) pictures and returns the path."""
        path = self.folder / name
        pictures = [numbered(number) for number in range(frames)] if isinstance(frames, int) else frames
        with films.scheduled_as_before(), av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate, options=options or {})
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt = pixels
            stream.codec_context.gop_size = group
            # Encoders that start many threads for a tiny picture are slow.
            stream.codec_context.thread_count = 1
            if tick is not None:
                stream.codec_context.time_base = stream.time_base = tick
            if rotation is not None:
                stream.set_display_rotation(rotation[0], hflip=rotation[1])
            for number, picture in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(picture, source)
                frame.pts = number if stamps is None else stamps[number]
                if tick is not None:
                    frame.time_base = tick
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    def remux(
        self, source: Path, name: str, change: Callable[[int, av.Packet], av.Packet | None], **options: str
    ) -> Path:
        """Copies packets into another file, each through a function that may change it, or drop it with `None`."""
        path = self.folder / name
        with av.open(str(source)) as before, av.open(str(path), "w", options=options) as after:
            stream = after.add_stream_from_template(before.streams.video[0])
            packets = [packet for packet in before.demux(video=0) if packet.size]
            for number, packet in enumerate(packets):
                if (changed := change(number, packet)) is not None:
                    changed.stream = stream
                    after.mux(changed)
        return path

    @staticmethod
    def with_data(packet: av.Packet, data: bytes) -> av.Packet:
        """The packet with other content."""
        fresh = av.Packet(data)
        fresh.pts, fresh.dts, fresh.duration = packet.pts, packet.dts, packet.duration
        fresh.time_base, fresh.is_keyframe = packet.time_base, packet.is_keyframe
        return fresh

    def cut(self, source: Path, part: float) -> Path:
        """Copies the beginning of a file; of an mp4 with its index in front, the index and a part of the pictures."""
        path = source.with_stem(f"{source.stem}-cut")
        data = source.read_bytes()
        front = data.index(b"mdat") if b"mdat" in data and data.index(b"moov") < data.index(b"mdat") else 0
        path.write_bytes(data[: front + int((len(data) - front) * part)])
        return path


@pytest.fixture
def clips(tmp_path: Path) -> Clips:
    return Clips(tmp_path)
