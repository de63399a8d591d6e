"""Films of every kind against plain decoding; the whole sweep is benchmarks/faults/videos.py."""

import av
import pytest
from films import Films
from kinds import films
from videos import check

ALL = films()
OFTEN = [name for at, name in enumerate(ALL) if name.startswith(("field", "join")) or at % 5 == 0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    av.logging.set_level(None)
    return Films(tmp_path_factory.mktemp("films"))


@pytest.mark.parametrize("name", OFTEN)
def test_no_frame_is_wrong(folder, name):
    assert check(ALL[name], folder) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ALL if name not in OFTEN])
def test_no_frame_of_the_rest_is_wrong(folder, name):
    assert check(ALL[name], folder) == []
