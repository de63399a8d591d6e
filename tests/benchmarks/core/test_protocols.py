import pytest

from undertow.base import SettingsError
from undertow.benchmarks.core.sample import get_protocol


def test_full_shows_every_frame() -> None:
    assert list(get_protocol("full").frames(5)) == [0, 1, 2, 3, 4]
    assert get_protocol("full").tokens is None


@pytest.mark.parametrize(("count", "shown", "last"), [(7, 3, 6), (8, 3, 6), (90, 30, 87), (104, 30, 87)])
def test_lab_shows_every_third_frame_thirty_at_most(count: int, shown: int, last: int) -> None:
    frames = get_protocol("lab").frames(count)
    assert (len(frames), frames[0], frames[1], frames[-1]) == (shown, 0, 3, last)
    assert get_protocol("lab").tokens == 1600


def test_unknown_protocol() -> None:
    with pytest.raises(SettingsError, match="'quick' is not one of full, lab"):
        get_protocol("quick")
