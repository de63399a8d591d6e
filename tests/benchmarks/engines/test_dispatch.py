import json
from pathlib import Path

import pytest

from undertow.base import JsonProgress, MemoryBudgetError, SettingsError
from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.core.methods import Method, baseline_method
from undertow.benchmarks.core.runner import run_benchmark
from undertow.benchmarks.core.sample import get_protocol
from undertow.benchmarks.core.units import MeasureUnit
from undertow.engines import Advanced, Finished, Loaded, UnitFailed, perform


@pytest.mark.parametrize(
    ("error", "raised", "message", "code"),
    [
        (SettingsError("no such thing"), SettingsError, "^'bad' on 'two': no such thing$", 2),
        (TypeError("odd"), UnitFailed, r"^'bad' on 'two' failed \(TypeError: odd\)", 1),
        (MemoryError(), MemoryBudgetError, "^'bad' on 'two': memory ran out; use fewer workers", 4),
    ],
)
def test_a_unit_that_fails_is_named_and_the_others_are_kept(
    unreliable, folders: Path, tmp_path: Path, error: Exception, raised: type, message: str, code: int
) -> None:
    out, samples = tmp_path / "out", open_dataset("davis", folders)
    bad = Method("bad", unreliable.Fails(error), {})
    with pytest.raises(raised, match=message) as caught:
        run_benchmark(samples, [bad, baseline_method("copy")], out)
    assert caught.value.exit_code == code
    assert "unreliable.py" in str(caught.value.__cause__)
    kept = sorted(str(path.relative_to(out)) for path in out.glob("*/*.json"))
    assert kept == ["bad/one.json", "copy/one.json", "copy/two.json"]


def test_all_that_failed_are_named(unreliable, folders: Path, tmp_path: Path) -> None:
    methods = [Method(name, unreliable.Fails(ValueError("odd")), {}) for name in ("first", "second")]
    with pytest.raises(UnitFailed, match=r"'first' on 'two' failed .* also failed: 'second' on 'two'$"):
        run_benchmark(open_dataset("davis", folders), methods, tmp_path / "out")


def test_a_model_that_cannot_be_loaded_is_not_loaded_again_for_every_sample(
    unreliable, folders: Path, tmp_path: Path
) -> None:
    (tmp_path / "tries").mkdir()
    method = Method("bad", unreliable.NeverLoads(str(tmp_path / "tries")), {})
    with pytest.raises(OSError, match="Input/output error") as caught:
        run_benchmark(open_dataset("davis", folders), [method], tmp_path / "out")
    assert caught.value.filename == "weights" and caught.value.__notes__ == ["also failed: 'bad' on 'two'"]
    assert len(list((tmp_path / "tries").iterdir())) == 1


def test_progress_ends_at_its_total_whatever_fails(
    unreliable, folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    method = Method("bad", unreliable.Fails(ValueError("odd")), {})
    with pytest.raises(UnitFailed):
        run_benchmark(open_dataset("davis", folders), [method], tmp_path / "out", progress=JsonProgress())
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (events[0]["total"], events[-1]["done"], events[-1]["failed"]) == (13, 13, "'bad' on 'two'")


def test_many_steps_are_told_in_few_messages(folders: Path, tmp_path: Path) -> None:
    sample = open_dataset("davis", folders)[0]
    unit = MeasureUnit(baseline_method("copy"), sample, get_protocol("full"), "davis-2017", "", tmp_path / "out")
    rare, often = (list(perform(unit, Loaded(), every)) for every in (3600, 0))
    assert [type(message) for message in rare] == [Advanced, Finished]
    assert rare[0].steps == unit.length == 6
    assert [message.steps for message in often[:-1]] == [1] * 6
    assert rare[0].facts["sequence"] == "one" and rare[1].outcome.frames == often[-1].outcome.frames


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "spark"}, "engine 'spark' is not one of local, ray"),
        ({"workers": 0}, "workers is 0; give 1 to 4096"),
        ({"threads": 0}, "threads is 0; give 1 or more"),
        ({"shard": (3, 2)}, "shard is 3/2; number the shards from 1/2 to 2/2"),
    ],
)
def test_bad_options_are_refused(folders: Path, tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        run_benchmark(open_dataset("davis", folders), [baseline_method("copy")], tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_method_that_cannot_travel_is_refused_before_anything_starts(folders: Path, tmp_path: Path) -> None:
    inner = Method("inner", lambda protocol: lambda images, cues: iter(()), {})
    with pytest.raises(SettingsError, match=r"'inner' cannot be sent to a worker process .* or use one worker"):
        run_benchmark(open_dataset("davis", folders), [inner], tmp_path / "out", workers=2)


def test_what_a_killed_process_left_half_written_is_removed(folders: Path, tmp_path: Path) -> None:
    sample, out = open_dataset("davis", folders)[0], tmp_path / "out"
    unit = MeasureUnit(baseline_method("copy"), sample, get_protocol("full"), "davis-2017", "", out, keep=True)
    list(perform(unit, Loaded()))
    stale = [out / "copy/.one-abcd_123.json", out / "results/copy/one/.00003-abcd_123.png"]
    others = [out / "copy/.one-more-abcd_123.json", out / "copy/one.json", out / "results/copy/one/00003.png"]
    stale.append(out / "results/copy/.one-abcd_123.npz")
    for clear in (unit.clear, lambda: run_benchmark([sample], [baseline_method("copy")], out, keep=True)):
        for path in [*stale, others[0]]:
            path.touch()
        clear()
        assert [path for path in stale if path.exists()] == [] and all(path.exists() for path in others)
