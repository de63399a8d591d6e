"""Which films the sweep of faults looks at: containers, codecs, time stamps, joins, fields, cuts, damage, sizes."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
from films import Films, decoding_order, retimed, with_data

Film = Callable[[Films], Path]
PLAIN = {
    "mp4": "h264 h264-plain h264-open h264-refresh h264-mbaff h264-slices hevc hevc-open av1 vp9 mpeg4-b mpeg2-b mjpeg",
    "mov": "h264 prores mjpeg",
    "mkv": "h264 h264-open h264-mbaff hevc av1 vp8 vp9 mpeg4-b mpeg2-b mpeg2-fields ffv1 prores",
    "webm": "vp8 vp8-hidden vp9 vp9-hidden av1",
    "ts": "h264 h264-open h264-mbaff h264-refresh hevc hevc-open mpeg2 mpeg2-b mpeg2-fields",
    "mpg": "mpeg1 mpeg2-b mpeg2-fields",
    "avi": "mpeg4 mpeg4-b h264 h264-plain mjpeg ffv1 huffyuv raw",
    "flv": "flv1 h264",
    "wmv": "wmv2",
    "mxf": "mpeg2-b",
    "nut": "ffv1 h264",
    "gif": "gif",
    "apng": "apng",
    "y4m": "frames",
    "h264": "h264 h264-mbaff",
    "hevc": "hevc",
    "m2v": "mpeg2-b",
    "m1v": "mpeg1",
    "m4v": "mpeg4-b",
    "mjpeg": "mjpeg",
    "ivf": "vp8 vp9 av1",
    "obu": "av1",
}


def pairs(text: str) -> list[tuple[str, str]]:
    """Returns the containers and codecs in a text such as "ts:h264 mkv:vp8"."""
    return [(container, codec) for container, codec in (pair.split(":") for pair in text.split())]


def films() -> dict[str, Film]:
    """Returns every film by its name."""
    found: dict[str, Film] = {}
    for container, codecs in PLAIN.items():
        for codec in codecs.split():
            # The raw format called m4v is what ffmpeg writes only if it is asked for by name.
            found[f"{container} {codec}"] = lambda f, c=container, k=codec: f.make(k, c)
    found |= {
        "mp4 h264 fragmented": lambda f: f.make("h264", "mp4", movflags="frag_keyframe+empty_moov"),
        "mp4 h264 index first": lambda f: f.make("h264", "mp4", movflags="faststart"),
        "dv": lambda f: f.make("dv", "dv", range(5), size=(576, 720)),
        "3gp h263": lambda f: f.make("h263", "3gp", size=(96, 128)),
        "mxf dnxhd": lambda f: f.make("dnxhd", "mxf", range(8), size=(144, 256)),
        "vfr mkv": lambda f: f.make("h264", "mkv", stamps=[n * n for n in range(24)]),
        "vfr mp4": lambda f: f.make("h264", "mp4", stamps=[n * n * 3 for n in range(24)]),
    }
    return found | stamps() | joins() | fields() | cuts() | damages() | shapes()


def stamps() -> dict[str, Film]:
    """Returns films whose time stamps are not what they should be."""

    def again(codec: str, container: str, change: Callable[[int, av.Packet], None], **options: str) -> Film:
        def made(f: Films) -> Path:
            def changed(number: int, packet: av.Packet) -> av.Packet:
                change(number, packet)
                return packet

            source = f.make(codec, "mp4" if codec == "h264" else container)
            return f.remux(source, f"{change.__name__}-{codec}.{container}", changed, **options)

        return made

    def later(packet: av.Packet, ticks: int) -> None:
        packet.pts += ticks
        packet.dts = packet.pts if packet.dts is None else packet.dts + ticks

    def repeated(number: int, packet: av.Packet) -> None:
        packet.pts = packet.dts = packet.duration * (number // 2)

    def unmoved(number: int, packet: av.Packet) -> None:
        packet.pts = packet.dts = packet.duration * number

    def zero(number: int, packet: av.Packet) -> None:
        packet.pts = packet.dts = 0

    def leaping(number: int, packet: av.Packet) -> None:
        later(packet, packet.duration * 1000 * (number // 12))

    def swapped(number: int, packet: av.Packet) -> None:
        packet.dts = packet.duration * number
        packet.pts = packet.duration * (number ^ 1) + 2 * packet.duration

    def wrapped(number: int, packet: av.Packet) -> None:
        later(packet, (1 << 33) - 6 * packet.duration)

    def late(number: int, packet: av.Packet) -> None:
        later(packet, 9 * packet.duration)

    def edited(number: int, packet: av.Packet) -> None:
        later(packet, -9 * packet.duration)

    found: dict[str, Film] = {}
    for kind, change, where in (
        ("repeated", repeated, "mkv:h264-plain mkv:vp9 webm:vp8 mkv:mjpeg flv:flv1"),
        (
            "without offsets",
            unmoved,
            "mkv:h264 mp4:h264 ts:h264 flv:h264 mkv:hevc ts:hevc mkv:mpeg4-b ts:mpeg2-b nut:h264",
        ),
        ("zero", zero, "mkv:h264-plain mkv:vp8"),
        ("leaping", leaping, "mkv:h264 mp4:h264 ts:h264 flv:h264"),
        ("swapped", swapped, "mkv:h264-plain mp4:h264-plain ts:h264-plain mkv:vp8 mkv:mjpeg"),
        ("wrapped", wrapped, "ts:h264 ts:mpeg2-b mpg:mpeg2-b"),
        ("late", late, "mkv:h264 mp4:h264-open ts:h264 mov:h264"),
    ):
        for container, codec in pairs(where):
            options = {"mpegts_copyts": "1"} if kind == "wrapped" and container == "ts" else {}
            found[f"{kind} {container} {codec}"] = again(codec, container, change, **options)
    found["edited mp4 h264-open"] = again("h264-open", "mp4", edited, avoid_negative_ts="disabled")
    found["edited mov hevc"] = again("hevc", "mov", edited, avoid_negative_ts="disabled")

    def patched(name: str, codec: str, container: str, change: Callable[[int, int], int | None]) -> None:
        found[f"{name} {container} {codec}"] = lambda f: retimed(
            f.joined(f"{name}-{codec}.{container}", f.make(codec, container)), change
        )

    patched("some untimed", "h264", "ts", lambda at, ticks: None if at % 5 == 2 else ticks)
    patched("all untimed", "h264-plain", "ts", lambda at, ticks: None)
    for codec in ("h264-plain", "mpeg2", "hevc"):
        patched("pairs of a time", codec, "ts", lambda at, ticks: ticks // 7200 * 7200)
        patched("backwards", codec, "ts", lambda at, ticks: ticks + 90000 - 20000 * (at % 4 == 3))
        patched("falling back", codec, "ts", lambda at, ticks: ticks + 90000 - 40000 * (at > 13))
    return found


def joins() -> dict[str, Film]:
    """Returns recordings joined as `cat` does it."""
    found: dict[str, Film] = {}
    for container, codec in pairs(
        "ts:h264 ts:hevc ts:mpeg2-b ts:h264-open mpg:mpeg2-b flv:h264 flv:flv1 h264:h264 m2v:mpeg2-b "
        "m4v:mpeg4-b mjpeg:mjpeg mkv:h264 webm:vp8 hevc:hevc ts:mpeg2-fields ts:h264-mbaff"
    ):

        def made(f: Films, c: str = container, k: str = codec) -> Path:
            parts = [f.make(k, c, range(start, start + 24)) for start in (0, 24)]
            return f.joined(f"join-{k}.{c}", *parts)

        found[f"join {container} {codec}"] = made
    found["join short ts h264"] = lambda f: f.joined(
        "short.ts", *(f.make("h264", "ts", range(n, n + 3)) for n in range(0, 30, 3))
    )
    found["join three ts, middle again"] = lambda f: f.joined(
        "three.ts", f.make("h264", "ts"), f.make("h264", "ts", range(24, 48)), f.make("h264", "ts")
    )
    found["join ts with sound"] = lambda f: f.joined("sound.ts", *(f.make("h264", "ts", sound=True) for _ in range(2)))
    found["join ts codecs"] = lambda f: f.joined("rates.ts", f.make("h264", "ts"), f.make("h264", "ts", rate=50))
    return found


def fields() -> dict[str, Film]:
    """Returns interlaced films whose fields are packets of their own, or share one."""

    def boxed(container: str, *, both: bool, reorder: bool, second: bool = True) -> Film:
        """In a container, the two fields as one packet or as two, the second of which may have no time."""

        def made(f: Films) -> Path:
            bare = f.fields(f"bare-{reorder}.h264", reorder=reorder)
            path = f.folder / f"fields-{both}-{reorder}-{second}.{container}"
            with av.open(str(bare)) as file, av.open(str(path), "w") as after:
                stream = after.add_stream_from_template(file.streams.video[0])
                data = [bytes(packet) for packet in file.demux(video=0) if packet.size]
                for at, place in enumerate(decoding_order(len(data) // 2, 4, reorder)):
                    pair = data[2 * at : 2 * at + 2]
                    for odd, each in enumerate([b"".join(pair)] if both else pair):
                        packet = av.Packet(each)
                        packet.stream, packet.time_base = stream, Fraction(1, 50)
                        packet.dts = 50 + 2 * at + odd
                        packet.pts = packet.dts + 2 * (place - at + reorder)
                        packet.duration = 1 + both
                        packet.is_keyframe = at % 4 == 0 and not odd
                        after.mux(packet)
            return path if second else retimed(path, lambda at, ticks: None if at % 2 else ticks)

        return made

    found: dict[str, Film] = {
        "field bare": lambda f: f.fields("bare.h264"),
        "field bare reordered": lambda f: f.fields("bare-r.h264", reorder=True),
        "field bare joined": lambda f: f.joined(
            "bare-j.h264", f.fields("bare.h264"), f.fields("bare-2.h264", range(16, 32))
        ),
    }
    for container in ("ts", "mkv", "mp4", "nut"):
        for both in (False, True):
            for reorder in (False, True):
                name = f"field {container} {'both in one' if both else 'two packets'}{' reordered' * reorder}"
                found[name] = boxed(container, both=both, reorder=reorder)
    found["field ts second untimed"] = boxed("ts", both=False, reorder=False, second=False)
    found["field ts joined"] = lambda f: f.joined(
        "fields-joined.ts", *(boxed("ts", both=False, reorder=False)(f) for _ in range(2))
    )
    return found


def cuts() -> dict[str, Film]:
    """Returns films that begin or end in the middle."""
    found: dict[str, Film] = {}
    for container, codec in pairs(
        "ts:h264 ts:h264-open ts:hevc-open ts:mpeg2-b mpg:mpeg2-b mkv:h264 mkv:vp8 mkv:mpeg4-b "
        "mp4:h264-open flv:h264 nut:h264"
    ):
        for first in (3, 8):

            def begun(f: Films, c: str = container, k: str = codec, n: int = first) -> Path:
                return f.remux(f.make(k, c), f"from{n}-{k}.{c}", lambda at, packet: packet if at >= n else None)

            found[f"from packet {first} {container} {codec}"] = begun
    for container, codec in pairs(
        "ts:h264 ts:mpeg2-b mpg:mpeg2-b mkv:h264 webm:vp9 avi:mjpeg avi:mpeg4-b flv:h264 gif:gif m2v:mpeg2-b"
    ):

        def ended(f: Films, c: str = container, k: str = codec) -> Path:
            data = f.make(k, c).read_bytes()
            path = f.folder / f"ended-{k}.{c}"
            path.write_bytes(data[: len(data) * 2 // 3])
            return path

        found[f"ended early {container} {codec}"] = ended
    return found


def damages() -> dict[str, Film]:
    """Returns films with pictures that cannot be decoded."""
    found: dict[str, Film] = {}
    for container, codec in pairs(
        "mkv:mjpeg mkv:h264 mkv:h264-plain mp4:h264 ts:h264 mkv:vp8 mkv:vp9 avi:mpeg4 mkv:hevc"
    ):
        for broken in ((5,), (0, 1), (8, 9, 10)):

            def spoilt(f: Films, c: str = container, k: str = codec, b: tuple[int, ...] = broken) -> Path:
                def noise(at: int, packet: av.Packet) -> av.Packet:
                    kept = bytes(packet)[: 6 if c == "ts" else 0]
                    return with_data(packet, kept.ljust(packet.size, b"\x55")) if at in b else packet

                return f.remux(f.make(k, c), f"spoilt-{b}-{k}.{c}", noise)

            found[f"damaged {broken} {container} {codec}"] = spoilt
    for codec in ("h264", "hevc", "mpeg2-b", "h264-mbaff"):

        def lost(f: Films, k: str = codec) -> Path:
            data = f.make(k, "ts").read_bytes()
            blocks = [data[at : at + 188] for at in range(0, len(data), 188)]
            path = f.folder / f"lost-{k}.ts"
            path.write_bytes(b"".join(block for at, block in enumerate(blocks) if at % 17 != 12))
            return path

        found[f"blocks lost ts {codec}"] = lost
    return found


def shapes() -> dict[str, Film]:
    """Returns films of several sizes or streams, and with headers that lie."""
    found: dict[str, Film] = {}
    for container, codec in pairs("ts:h264 webm:vp8 mjpeg:mjpeg m2v:mpeg2-b h264:h264 ts:hevc"):

        def resized(f: Films, c: str = container, k: str = codec) -> Path:
            small, large = f.make(k, c, range(12)), f.make(k, c, range(12, 24), size=(128, 192))
            if c != "webm":
                return f.joined(f"resized-{k}.{c}", small, large)
            path = f.folder / f"resized-{k}.{c}"
            with av.open(str(path), "w") as after, av.open(str(small)) as one, av.open(str(large)) as two:
                stream = after.add_stream_from_template(one.streams.video[0])
                for start, part in ((0, one), (480, two)):
                    for packet in part.demux(video=0):
                        if packet.size:
                            packet.stream, packet.pts, packet.dts = stream, packet.pts + start, packet.dts + start
                            after.mux(packet)
            return path

        found[f"resized {container} {codec}"] = resized
    for container in ("mp4", "mkv", "ts"):
        found[f"two streams {container}"] = lambda f, c=container: f.several(
            f"two.{c}", f.make("h264", c, range(100, 124), size=(32, 48)), f.make("h264", c)
        )
        found[f"with sound {container}"] = lambda f, c=container: f.make("h264", c, sound=True)
    for count in (0, 5, 9999):

        def lying(f: Films, n: int = count) -> Path:
            data = bytearray(f.make("mjpeg", "avi").read_bytes())
            # The number of frames stands in the main and in the stream header.
            for place in (data.index(b"avih") + 24, data.index(b"strh") + 40):
                data[place : place + 4] = n.to_bytes(4, "little")
            path = f.folder / f"lying-{n}.avi"
            path.write_bytes(data)
            return path

        found[f"avi says {count} frames"] = lying

    def dropped(f: Films) -> Path:
        return f.remux(f.make("mjpeg", "avi"), "dropped.avi", lambda at, packet: None if at in (5, 6, 20) else packet)

    return found | {"avi with dropped frames": dropped}
