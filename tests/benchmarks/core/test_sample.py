from pathlib import Path

import numpy as np
import pytest

from undertow.base import SettingsError
from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.core.methods import baseline_method
from undertow.benchmarks.core.outcomes import read_outcomes
from undertow.benchmarks.core.runner import run_benchmark
from undertow.benchmarks.core.sample import choose_shard, get_protocol
from undertow.benchmarks.masks.sample import MaskSample
from undertow.engines import parse_shard


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


def samples(lengths: list[int]) -> list[MaskSample]:
    return [
        MaskSample(
            dataset="davis-folders", name=f"clip-{number}", video=Path("nowhere"), size=(480, 854),
            frames=tuple(map(str, range(length))), masks={}, ids=(1,),
        )
        for number, length in enumerate(lengths)
    ]  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
def test_shards_are_a_split_of_all_samples_that_order_does_not_change(count: int) -> None:
    every = samples(np.random.default_rng(0).integers(20, 200, 30).tolist())
    protocol = get_protocol("full")
    shards = [choose_shard(every, protocol, (number, count)) for number in range(1, count + 1)]
    names = [each.name for shard in shards for each in shard]
    assert sorted(names) == sorted(each.name for each in every)
    again = [choose_shard(every[::-1], protocol, (number, count)) for number in range(1, count + 1)]
    assert [{each.name for each in shard} for shard in again] == [{each.name for each in shard} for shard in shards]
    loads = [sum(len(each.frames) for each in shard) for shard in shards]
    longest = max(len(each.frames) for each in every)
    assert max(loads) - min(loads) <= longest


def test_text_of_a_shard() -> None:
    assert parse_shard("1/8") == (1, 8) and parse_shard(" 8/8 ") == (8, 8)
    for text, message in [("8", "'8'; give a number and a count, such as 1/8"), ("0/4", "0/4; number the shards from")]:
        with pytest.raises(SettingsError, match=message):
            parse_shard(text)


def test_shards_that_share_a_folder_make_the_whole_benchmark(folders: Path, tmp_path: Path, contents) -> None:
    every, methods = open_dataset("davis", folders), [baseline_method("copy"), baseline_method("dis")]
    for number in (1, 2, 3):
        run_benchmark(every, methods, tmp_path / "parts", shard=(number, 3))
    run_benchmark(every, methods, tmp_path / "whole")
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert len(read_outcomes(tmp_path / "parts")) == 4
    assert run_benchmark(every, methods, tmp_path / "parts", shard=(3, 3)) == []
