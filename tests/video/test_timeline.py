from fractions import Fraction

from undertow.video.timeline import Start, Timeline


def test_packets_in_decoding_order_become_frames_in_the_order_shown():
    timeline = Timeline.of([-20, 20, 0, -10, 10], [Start(-20, -40, 9), Start(20, 0, 7)], Fraction(1, 10))
    assert list(timeline.stamps) == [-20, -10, 0, 10, 20]
    assert [timeline.time(index) for index in (0, 1, 4)] == [-2, -1, 2]
    assert [timeline.number(stamp) for stamp in (-20, 20, 15, 30, None)] == [0, 4, None, None, None]
    assert timeline.starts_before(3) == (Start(-20, -40, 9),)
    assert timeline.starts_before(4) == (Start(20, 0, 7), Start(-20, -40, 9))
    assert timeline.has_start(20, 7) and not timeline.has_start(20, 8) and not timeline.has_start(30, 7)


def test_what_cannot_be_decoded_or_told_apart_does_not_count():
    timeline = Timeline.of([5, 3, 4, 7, 7], [Start(5, 2, 1)], Fraction(1))
    assert list(timeline.stamps) == [5, 7]


def test_keyframes_that_an_edit_list_hides_still_serve():
    timeline = Timeline.of([0, 1, 2], [Start(-3, -3, 1)], Fraction(1))
    assert len(timeline) == 3 and timeline.first_from(-3) == 0
    assert timeline.starts_before(0) == (Start(-3, -3, 1),)


def test_without_stamps_frames_are_counted():
    timeline = Timeline.untimed(4, Fraction(30000, 1001))
    assert timeline.time(3) == Fraction(1001, 10000) and not timeline.timed and not timeline.starts_before(3)
    assert len(timeline.cut(2)) == 2 and not timeline.cut(2).timed
