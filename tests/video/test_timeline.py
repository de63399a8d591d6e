"""What packets promise, and what decoding finds."""

from contextlib import closing
from fractions import Fraction

import pytest

from undertow.video.container import open_file
from undertow.video.timeline import by_decoding, by_packets

CLOSED = {"x264-params": "bframes=3:b-adapt=0:scenecut=0"}
PLAIN = {"x264-params": "bframes=0"}


def both(path, interlaced=False):
    with closing(open_file(path)) as reel:
        promised = by_packets(reel, interlaced=interlaced)
    with closing(open_file(path)) as reel:
        return promised, by_decoding(reel)


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts", "film.flv"])
def test_packets_promise_what_decoding_finds(clips, name):
    promised, found = both(clips.make(name, options=CLOSED))
    assert len(promised) == len(found) == 40 and found.decoded and not promised.decoded
    assert promised.numbers.tolist() == found.numbers.tolist() != list(range(40))
    assert promised.starts.tolist() == found.starts.tolist()
    assert [promised.time(index) for index in range(40)] == [found.time(index) for index in range(40)]
    assert [start.first for start in promised.starts_before(25)] == [20, 10]
    assert [start.first for start in promised.starts_before(5)] == [0]


def test_what_packets_cannot_promise(clips):
    whole = clips.make("whole.mkv", options=CLOSED)
    plain = clips.make("plain.mkv", options=PLAIN)

    def changed(source, change):
        return both(clips.remux(source, "changed.mkv", change))

    def repeated(_, packet):
        packet.pts = packet.dts = packet.pts // 100 * 100
        return packet

    def unmoved(number, packet):
        packet.pts = packet.dts = 40 * number
        return packet

    for source, change in ((plain, repeated), (whole, unmoved)):
        promised, found = changed(source, change)
        assert promised is None
        assert len(found) == 40
        times = [found.time(index) for index in range(40)]
        assert times == sorted(set(times))
    promised, found = changed(plain, lambda number, packet: packet if number > 2 else None)
    assert promised is None and len(found) == len(list(clips.decoded(clips.folder / "changed.mkv")))
    assert both(whole, interlaced=True)[0] is None


def test_a_cut_timeline(clips):
    promised, found = both(clips.make("film.mp4", 12, options=PLAIN))
    for timeline in (promised, found):
        short = timeline.cut(5)
        assert len(short) == 5 and short.number(4) == 4 and short.number(5) == -1 and short.number(99) == -1
        assert short.time(4) == Fraction(4, 25)
