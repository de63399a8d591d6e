"""Films for the sweep of faults: small clips of every kind, each frame showing its number as light and dark bars."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from zlib import crc32

import av
import numpy as np

HEIGHT, WIDTH = 64, 96
# SVT-AV1 tells about itself otherwise.
os.environ.setdefault("SVT_LOG", "0")
# Encoders by a short name: PyAV's name, pixel format, options.
CODECS: dict[str, tuple[str, str, dict[str, str]]] = {
    "h264": ("libx264", "yuv420p", {"x264-params": "bframes=2:b-adapt=0:scenecut=0"}),
    "h264-plain": ("libx264", "yuv420p", {"x264-params": "bframes=0"}),
    "h264-open": ("libx264", "yuv420p", {"x264-params": "open-gop=1:bframes=3:b-adapt=0:scenecut=0"}),
    "h264-refresh": ("libx264", "yuv420p", {"x264-params": "intra-refresh=1:keyint=12"}),
    "h264-mbaff": ("libx264", "yuv420p", {"x264-params": "tff=1:bframes=2:b-adapt=0"}),
    "h264-slices": ("libx264", "yuv420p", {"x264-params": "slices=4:bframes=0"}),
    "hevc": ("libx265", "yuv420p", {"x265-params": "bframes=2:b-adapt=0:log-level=none:pools=1"}),
    "hevc-open": ("libx265", "yuv420p", {"x265-params": "open-gop=1:bframes=3:b-adapt=0:log-level=none:pools=1"}),
    "av1": ("libsvtav1", "yuv420p", {"preset": "12", "svtav1-params": "lp=1"}),
    "vp8": ("libvpx", "yuv420p", {"deadline": "realtime", "cpu-used": "8"}),
    "vp8-hidden": ("libvpx", "yuv420p", {"auto-alt-ref": "1", "lag-in-frames": "12", "cpu-used": "4"}),
    "vp9": ("libvpx-vp9", "yuv420p", {"deadline": "realtime", "cpu-used": "8"}),
    "vp9-hidden": ("libvpx-vp9", "yuv420p", {"auto-alt-ref": "1", "lag-in-frames": "12", "cpu-used": "5"}),
    "mpeg4": ("mpeg4", "yuv420p", {"b": "2M"}),
    "mpeg4-b": ("mpeg4", "yuv420p", {"b": "2M", "bf": "2"}),
    "mpeg2": ("mpeg2video", "yuv420p", {"b": "4M"}),
    "mpeg2-b": ("mpeg2video", "yuv420p", {"b": "4M", "bf": "2"}),
    "mpeg2-fields": ("mpeg2video", "yuv420p", {"b": "4M", "bf": "2", "flags": "+ildct+ilme"}),
    "mpeg1": ("mpeg1video", "yuv420p", {"b": "4M"}),
    "mjpeg": ("mjpeg", "yuvj420p", {}),
    "prores": ("prores_ks", "yuv422p10le", {}),
    "dnxhd": ("dnxhd", "yuv422p", {"profile": "dnxhr_sq"}),
    "dv": ("dvvideo", "yuv420p", {}),
    "ffv1": ("ffv1", "yuv420p", {}),
    "huffyuv": ("huffyuv", "yuv422p", {}),
    "flv1": ("flv", "yuv420p", {"b": "2M"}),
    "h263": ("h263", "yuv420p", {"b": "2M"}),
    "wmv2": ("wmv2", "yuv420p", {"b": "2M"}),
    "gif": ("gif", "gray", {}),
    "apng": ("apng", "rgb24", {}),
    "raw": ("rawvideo", "yuv420p", {}),
    "frames": ("wrapped_avframe", "yuv420p", {}),
}


def numbered(number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Returns a picture with eight bars, the bits of a number, under a texture that moves on from frame to frame.

    No lossy codec makes one number out of another, and a frame decoded from wrong references looks wrong.
    """
    bits = (number >> np.arange(8)) & 1
    bars = bits[np.arange(width) * 8 // width] * 180
    texture = np.random.default_rng(0).integers(0, 70, (height, width))
    return np.repeat((bars + np.roll(texture, number, 1))[..., None], 3, 2).astype(np.uint8)


def number_in(image: np.ndarray) -> int:
    """Returns the number that a picture of `numbered` shows."""
    width = image.shape[1]
    centres = (np.arange(8) * 2 + 1) * width // 16
    return int(((image[:, centres].mean((0, 2)) > 125) << np.arange(8)).sum())


@contextmanager
def scheduled_as_before() -> Iterator[None]:
    """Gives this thread back the scheduling that it had, which SVT-AV1 makes real-time where the process may.

    Threads of a real-time process that wait for each other in loops keep the one they wait for off the processor.
    """
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, priority)


class Films:
    """Makes films in a folder, each once."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def make(
        self,
        codec: str,
        container: str,
        numbers: Iterable[int] = range(24),
        *,
        size: tuple[int, int] = (HEIGHT, WIDTH),
        rate: Fraction | int = 25,
        group: int = 8,
        stamps: Sequence[int] | None = None,
        tick: Fraction = Fraction(1, 1000),
        sound: bool = False,
        **options: str,
    ) -> Path:
        """Returns a film of numbered pictures; `stamps` (in ticks) replace even times."""
        numbers = list(numbers)
        about = (codec, container, numbers, size, rate, group, stamps, tick, sound, options)
        path = self.folder / f"{crc32(repr(about).encode()):08x}.{container}"
        if path.exists():
            return path
        name, pixels, extra = CODECS[codec]
        with scheduled_as_before(), av.open(str(path), "w", options=options) as file:
            stream = file.add_stream(name, rate=rate, options=extra)
            stream.height, stream.width, stream.pix_fmt = *size, pixels
            stream.codec_context.gop_size = group
            # Encoders that start many threads for a tiny picture are slow.
            stream.codec_context.thread_count = 1
            tone = file.add_stream("mp2" if container in ("ts", "mpg") else "flac", rate=16000) if sound else None
            if stamps is not None:
                stream.codec_context.time_base = stream.time_base = tick
            for place, number in enumerate(numbers):
                frame = av.VideoFrame.from_ndarray(numbered(number, *size), "rgb24")
                frame.pts = place if stamps is None else stamps[place]
                if stamps is not None:
                    frame.time_base = tick
                file.mux(stream.encode(frame))
                if tone is not None:
                    beep = av.AudioFrame.from_ndarray(np.full((1, 640), number, np.int16), "s16", "mono")
                    beep.sample_rate, beep.pts = 16000, place * 640
                    file.mux(tone.encode(beep))
            file.mux(stream.encode(None))
            if tone is not None:
                file.mux(tone.encode(None))
        return path

    def remux(
        self, source: Path, name: str, change: Callable[[int, av.Packet], av.Packet | None], **options: str
    ) -> Path:
        """Returns a copy made of packets that went through a function, which may change or drop them."""
        path = self.folder / name
        with av.open(str(source)) as before, av.open(str(path), "w", options=options) as after:
            stream = after.add_stream_from_template(before.streams.video[0])
            packets = [packet for packet in before.demux(video=0) if packet.size]
            for number, packet in enumerate(packets):
                if (changed := change(number, packet)) is not None:
                    changed.stream = stream
                    after.mux(changed)
        return path

    def joined(self, name: str, *parts: Path) -> Path:
        """Returns files one after the other, as `cat` joins them."""
        path = self.folder / name
        path.write_bytes(b"".join(part.read_bytes() for part in parts))
        return path

    def several(self, name: str, *sources: Path) -> Path:
        """Returns a file with the video streams of several files, in this order."""
        path = self.folder / name
        with av.open(str(path), "w") as after:
            opened = [av.open(str(source)) for source in sources]
            streams = [after.add_stream_from_template(each.streams.video[0]) for each in opened]
            for each, stream in zip(opened, streams, strict=True):
                for packet in each.demux(video=0):
                    if packet.size:
                        packet.stream = stream
                        after.mux(packet)
                each.close()
        return path

    def fields(self, name: str, numbers: Sequence[int] = range(16), *, group: int = 4, reorder: bool = False) -> Path:
        """Returns bare H.264 in which every picture is two field packets; with `reorder`, pairs change places."""
        path = self.folder / name
        path.write_bytes(b"".join(field for pair in field_pairs(numbers, group, reorder) for field in pair))
        return path


def retimed(path: Path, change: Callable[[int, int], int | None]) -> Path:
    """Changes the time stamps in an mpeg-ts or mpeg file, in place, and returns it.

    Args:
        path: The file.
        change: Returns what a stamp (its packet's number, its ticks of 1/90000 s) becomes; `None` takes it out.
    """
    data, place, count = bytearray(path.read_bytes()), -1, 0
    while (place := data.find(b"\0\0\x01\xe0", place + 1)) >= 0:
        # Seven bytes into a packet's header, two bits say which stamps follow: 33 bits each, in three groups.
        for at in range(place + 9, place + 9 + 5 * (0, 0, 1, 2)[data[place + 7] >> 6], 5):
            stamp = int.from_bytes(data[at : at + 5], "big")
            ticks = (stamp >> 33 & 7) << 30 | (stamp >> 17 & 0x7FFF) << 15 | stamp >> 1 & 0x7FFF
            new = change(count, ticks)
            if new is None:
                data[place + 7] &= 0x3F
                break
            groups = (new >> 30 & 7) << 33 | (new >> 15 & 0x7FFF) << 17 | (new & 0x7FFF) << 1
            kept = stamp & ~(7 << 33 | 0x7FFF << 17 | 0x7FFF << 1)
            data[at : at + 5] = (kept | groups).to_bytes(5, "big")
        count += 1
    path.write_bytes(data)
    return path


def with_data(packet: av.Packet, data: bytes) -> av.Packet:
    """Returns a packet with other content."""
    fresh = av.Packet(data)
    fresh.pts, fresh.dts, fresh.duration = packet.pts, packet.dts, packet.duration
    fresh.time_base, fresh.is_keyframe = packet.time_base, packet.is_keyframe
    return fresh


def field_pairs(numbers: Sequence[int], group: int, reorder: bool) -> list[tuple[bytes, bytes]]:
    """Returns numbered pictures as H.264 (ITU-T H.264, 7.3), the first with its parameter sets.

    Every picture is a pair of intra fields without prediction or compression, so that no encoder is needed.
    """
    pairs = []
    for at, place in enumerate(decoding_order(len(numbers), group, reorder)):
        luma = np.clip(numbered(numbers[place])[..., 0], 16, 235).astype(np.uint8)
        start = at // group * group
        top, bottom = (_field(luma[odd::2], at - start, place - start, bool(odd), at // group) for odd in (0, 1))
        pairs.append((_parameters(reorder) + top if at == start else top, bottom))
    return pairs


def decoding_order(count: int, group: int, reorder: bool) -> list[int]:
    """Returns which picture comes when: 0 2 1 4 3 of a group of five if they are reordered."""
    order = list(range(count))
    for start in range(0, count, group) if reorder else ():
        for at in range(start + 1, min(start + group, count) - 1, 2):
            order[at], order[at + 1] = order[at + 1], order[at]
    return order


def _parameters(reorder: bool) -> bytes:
    """Returns the sequence and picture parameter sets: fields allowed, no compression of any kind."""
    sequence = f"{77:08b}{0:08b}{30:08b}" + _ue(0) + _ue(0) + _ue(0) + _ue(4) + _ue(4) + "0"
    sequence += _ue(WIDTH // 16 - 1) + _ue(HEIGHT // 32 - 1) + "0" + "0" + "1" + "0"
    # Only how many pictures may come out of order, of all that could be said.
    restriction = "1" + _ue(0) + _ue(0) + _ue(10) + _ue(10) + _ue(2 if reorder else 0) + _ue(4)
    sequence += "1" + "00000000" + restriction
    picture = _ue(0) + _ue(0) + "0" + "0" + _ue(0) + _ue(0) + _ue(0) + "0" + "00" + _ue(0) * 3 + "1" + "0" + "0"
    return _unit(0x67, sequence + "1") + _unit(0x68, picture + "1")


def _field(luma: np.ndarray, at: int, place: int, bottom: bool, group: int) -> bytes:
    """Returns one field as a slice of raw macroblocks; `at` counts in the order decoded, `place` in that shown."""
    first = at == 0 and not bottom
    bits = _ue(0) + _ue(7) + _ue(0) + f"{at % 16:04b}" + "1" + str(int(bottom))
    bits += _ue(group % 2) if first else ""
    bits += f"{(2 * place + bottom) % 256:08b}" + ("00" if first else "0") + _ue(0) + _ue(1)
    grey = bytes([128]) * 128
    data = bytearray()
    for row in range(0, luma.shape[0], 16):
        for column in range(0, WIDTH, 16):
            bits += _ue(25)
            bits += "0" * (-len(bits) % 8)
            data += int(bits, 2).to_bytes(len(bits) // 8, "big") + luma[row : row + 16, column : column + 16].tobytes()
            data += grey
            bits = ""
    return _unit(0x65 if first else 0x61, "1", bytes(data))


def _unit(kind: int, bits: str, data: bytes = b"") -> bytes:
    """Returns a NAL unit, with the bytes that keep start codes out of its content."""
    bits += "0" * (-len(bits) % 8)
    content, zeros = bytearray(), 0
    for byte in data + int(bits, 2).to_bytes(len(bits) // 8, "big"):
        if zeros == 2 and byte <= 3:
            content.append(3)
            zeros = 0
        content.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return b"\0\0\0\1" + bytes([kind]) + bytes(content)


def _ue(value: int) -> str:
    """Returns an unsigned number in Exp-Golomb code."""
    bits = f"{value + 1:b}"
    return "0" * (len(bits) - 1) + bits
