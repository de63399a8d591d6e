"""Files of datasets and benchmarks that lie: names that lead elsewhere, counts without bounds, damaged outcomes."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from undertow import cli
from undertow.base import SettingsError
from undertow.benchmarks.core import pickles
from undertow.benchmarks.core.datasets import check_dataset, open_dataset
from undertow.benchmarks.core.methods import baseline_method
from undertow.benchmarks.core.outcomes import outcome_path, read_outcomes
from undertow.benchmarks.core.pickles import parse_pickle
from undertow.benchmarks.core.runner import run_benchmark
from undertow.benchmarks.masks.sample import MaskSample
from undertow.benchmarks.report.tables import Table
from undertow.benchmarks.report.writing import markdown_report, write_report

NAMES = ["../../evil", "/etc", "..", "a/../../b", "..\\evil", "C:\\evil", "./bear", "bear/", "a\x7fb", "x" * 300]
LISTS = {
    "davis-2017-unsupervised": "ImageSets/2017/val.txt",
    "davis-2016-parse": "ImageSets/2016/val.txt",
    "vspw": "val.txt",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dataset", LISTS)
def test_a_list_that_names_other_folders_is_refused(dataset: str, name: str, layout: Callable[[str], Any]) -> None:
    _, root, split = layout(dataset)
    (root / LISTS[dataset]).write_text(f"{name}\n")
    with pytest.raises(SettingsError, match="names"):
        open_dataset(dataset, root, split)
    assert [each.severity for each in check_dataset(dataset, root, split)] == ["error"]


@pytest.mark.parametrize("name", NAMES)
def test_a_table_of_videos_that_names_other_folders_is_refused(name: str, layout: Callable[[str], Any]) -> None:
    dataset, root, split = layout("youtube-vos-2018")
    path = next(root.glob(f"{split or 'valid'}/meta.json"))
    videos = json.loads(path.read_text())["videos"]
    path.write_text(json.dumps({"videos": dict.fromkeys([name], next(iter(videos.values())))}))
    with pytest.raises(SettingsError, match="names"):
        open_dataset(dataset, root, split)


@pytest.mark.parametrize("count", [-1, 0, 10**9, 1.5, "first", True, None, 1e999, "9" * 5000])
def test_a_table_of_videos_with_other_objects_is_refused(count: object, layout: Callable[[str], Any]) -> None:
    dataset, root, split = layout("youtube-vos-2018")
    path = next(root.glob(f"{split or 'valid'}/meta.json"))
    videos = json.loads(path.read_text())["videos"]
    for facts in videos.values():
        facts["objects"] = {str(count): each for each in facts["objects"].values()}
    path.write_text(json.dumps({"videos": videos}))
    with pytest.raises(SettingsError, match="has object"):
        open_dataset(dataset, root, split)


@pytest.mark.parametrize("name", [*NAMES, "", ".hidden", "a/.b", "a\nb", "\ud800"])
def test_no_sample_has_a_name_that_leads_elsewhere(name: str, tmp_path: Path) -> None:
    facts: dict[str, Any] = {"video": tmp_path, "frames": ("0",), "size": (4, 4), "masks": {}, "ids": (1,)}
    with pytest.raises(SettingsError, match="the name"):
        MaskSample(dataset="mine", name=name, **facts)


def test_odd_names_are_measured_kept_and_shown_as_they_are(folders: Path, tmp_path: Path) -> None:
    names = ["a$\\frac{$", "b|c<b>d", "x" * 245, "*bold*", "\udcff0"]
    for name in names[1:]:
        (folders / f"davis-{name}").symlink_to(folders / "davis-one")
    (folders / "davis-one").rename(folders / f"davis-{names[0]}")
    for name in names[1:]:
        (folders / f"davis-{name}").unlink()
        (folders / f"davis-{name}").symlink_to(folders / f"davis-{names[0]}")
    out = tmp_path / "out"
    samples = open_dataset("davis-folders", folders)
    outcomes = run_benchmark(samples, [baseline_method("copy")], out, keep=True)
    report = write_report(outcomes, out)
    assert "| a\\$\\\\frac{\\$ " in report and "| b\\|c\\<b>d " in report and "| \\*bold\\* " in report
    assert "b|c&lt;b&gt;d" in (out / "report.html").read_text()
    again = {outcome.sequence for outcome in read_outcomes(out)}
    assert again == {sample.name for sample in samples} == {*names, "two"}
    assert all((out / "results/copy" / name / "00000.png").is_file() for name in names)


def test_cells_of_markdown_are_text() -> None:
    table = Table(("a|b", "<1"), (("**7.0**", "<script>"), ("[x](y)", "\\")))
    assert [line.split() for line in table.markdown().splitlines() if "--" not in line] == [
        ["|", "a\\|b", "|", "<1", "|"],
        ["|", "**7.0**", "|", "\\<script>", "|"],
        ["|", "\\[x\\](y)", "|", "\\\\", "|"],
    ]


def test_nothing_is_written_through_a_link(folders: Path, tmp_path: Path) -> None:
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "out"
    elsewhere.mkdir()
    samples, methods = open_dataset("davis", folders), [baseline_method("copy")]
    for link in ("copy", "results/copy/one"):
        (out / link).parent.mkdir(parents=True, exist_ok=True)
        (out / link).symlink_to(elsewhere)
        with pytest.raises(SettingsError, match="is a link"):
            run_benchmark(samples, methods, out, keep=True)
        (out / link).unlink()
    assert not list(elsewhere.iterdir())


@pytest.fixture
def measured(folders: Path, tmp_path: Path) -> Path:
    """The folder of a benchmark."""
    run_benchmark(open_dataset("davis", folders), [baseline_method("copy")], tmp_path / "out", root=folders)
    return tmp_path / "out"


OUTCOMES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no method": lambda facts: facts.pop("method"),
    "a method elsewhere": lambda facts: facts.update(method="../copy"),
    "a method of two": lambda facts: facts.update(method="a/b"),
    "a method that is a number": lambda facts: facts.update(method=7),
    "a sequence elsewhere": lambda facts: facts.update(sequence="/etc"),
    "no sequence": lambda facts: facts.update(sequence=None),
    "another task": lambda facts: facts.update(task="../masks"),
    "other rules": lambda facts: facts.update(rules="best"),
    "no series": lambda facts: facts.update(series=None),
    "series of text": lambda facts: facts.update(series={"1": "good"}),
    "short series": lambda facts: facts["series"]["1"].update(J=[0.5]),
    "deep series": lambda facts: facts["series"]["1"].update(J=[[0.5]] * len(facts["frames"])),
    "words as scores": lambda facts: facts["series"]["1"].update(J=["good"] * len(facts["frames"])),
    "an object that is a word": lambda facts: facts["series"].update(one=facts["series"].pop("1")),
    "no F": lambda facts: facts["series"]["1"].pop("F"),
    "seconds of text": lambda facts: facts.update(seconds=["now"]),
    "frames that are a number": lambda facts: facts.update(frames=7),
    "facts that are a list": lambda facts: facts.update(facts=[1, 2]),
    "a list": lambda facts: facts.clear(),
}


@pytest.mark.parametrize("damage", OUTCOMES.values(), ids=OUTCOMES)
def test_a_damaged_outcome_is_named(damage: Callable[[dict[str, Any]], object], measured: Path) -> None:
    path = outcome_path(measured, "copy", "one")
    facts = json.loads(path.read_text())
    damage(facts)
    path.write_text(json.dumps(facts))
    with pytest.raises(SettingsError) as caught:
        markdown_report(read_outcomes(measured))
    assert "one" in str(caught.value) or "'best'" in str(caught.value) or "task '" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "null", "[" * 100_000, '{"format": 7}', "\udcff", "[1e999]"])
def test_an_outcome_that_is_none_is_named(text: str, measured: Path) -> None:
    outcome_path(measured, "copy", "one").write_text(text, errors="surrogateescape")
    with pytest.raises(SettingsError, match=r"one.json' is not a benchmark outcome"):
        read_outcomes(measured)


@pytest.mark.parametrize(
    "change", [{"runs": 7}, {"runs": [1]}, {"methods": [1]}, {"samples": None}, {"format": 0}, {"root": 7}]
)
def test_a_damaged_manifest_is_written_anew(change: dict[str, Any], measured: Path, folders: Path) -> None:
    path = measured / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    run_benchmark(open_dataset("davis", folders), [baseline_method("copy")], measured, root=folders)
    assert json.loads(path.read_text())["runs"][-1]["status"] == "finished"


def test_a_report_draws_no_world_where_a_manifest_says(measured: Path, tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("one", "two"):
        path = outcome_path(measured, "copy", name)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"dataset": "world-easy"}))
    manifest = json.loads((measured / "manifest.json").read_text())
    manifest["root"] = str(tmp_path / "elsewhere")
    (measured / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(sys, "argv", ["undertow", "bench", "report", "--out", str(measured)])
    cli.main()
    assert (measured / "report.html").is_file() and not (tmp_path / "elsewhere").exists()


def programs() -> Iterator[tuple[str, bytes]]:
    """Yields small pickles that are large once they are read."""
    many = 20_000
    yield "dictionaries", b"(" + b"}" * many + b"l."
    yield "remembered", b"\x80\x04(" + b"}\x94" * many + b"l."
    yield "nested lists", b"(" + b"](e" * many + b"l."
    yield "the same again", b"(}" + b"2" * many + b"l."
    yield "marks", b"(" * many + b"."
    yield "nested tuples", b")" + b"\x85" * many + b"."
    yield "numbers", b"(" + b"K\x01" * many + b"l."
    yield (
        "a full dictionary",
        b"}(" + b"".join(b"J%bN" % number.to_bytes(4, "little") for number in range(many)) + b"u.",
    )
    text = b"X" + (100_000).to_bytes(4, "little") + b"a" * 100_000 + b"q\x01X\x06\x00\x00\x00latin1q\x02"
    yield "encoded texts", b"\x80\x02c_codecs\nencode\nq\x00" + text + b"(" + b"h\x00h\x01h\x02\x86R" * 100 + b"l."
    yield "a text", b"X" + (2_000_000).to_bytes(4, "little") + b"a" * 2_000_000 + b"."


@pytest.mark.parametrize(("name", "program"), list(programs()), ids=[name for name, _ in programs()])
def test_what_a_pickle_takes_is_bounded(name: str, program: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MOST_MEMORY", 1 << 20)
    with pytest.raises(SettingsError, match="its values take more than 1 MB"):
        parse_pickle(program)


@pytest.mark.slow
@pytest.mark.parametrize("unit", [b"}", b"}\x94", b"](e", b"2", b"("])
def test_thirty_megabytes_of_pickle_stay_below_a_gigabyte(unit: bytes) -> None:
    code = (
        "import resource, sys; from undertow.benchmarks.core.pickles import parse_pickle\n"
        f"try: parse_pickle(b'\\x80\\x04(}}' + {unit!r} * ({30_000_000 // len(unit)}) + b'l.')\n"
        "except Exception as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    sentence, peak = done.stdout.splitlines()
    assert "take more than" in sentence and int(peak) < 1_000_000
