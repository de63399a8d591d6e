import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.core.manifest import Manifest, Means, Measured, device_name, read_manifest
from undertow.benchmarks.core.methods import Method, baseline_method
from undertow.benchmarks.core.runner import run_benchmark
from undertow.benchmarks.core.sample import get_protocol


def test_it_says_what_was_measured_with_what_and_when(folders: Path, tmp_path: Path) -> None:
    samples, out = open_dataset("davis", folders), tmp_path / "out"
    run_benchmark(samples, [baseline_method("dis")], out, root=folders, split="all", threads=1)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["format"] == "undertow benchmark manifest 1"
    assert (manifest["dataset"], manifest["task"], manifest["rules"]) == ("davis-folders", "masks", "davis-2017")
    assert (manifest["root"], manifest["split"], manifest["protocol"]["name"]) == (str(folders), "all", "full")
    assert manifest["methods"]["dis"]["settings"] == dict(baseline_method("dis").settings)
    assert manifest["samples"] == {each.name: each.fingerprint() for each in samples}
    (run,) = manifest["runs"]
    assert (run["status"], run["engine"], run["workers"], run["threads"], run["shard"]) == (
        "finished", "local", 1, 1, None,
    )  # fmt: skip
    assert run["command"] == sys.argv and run["started"] <= run["finished"] and run["devices"] == {"dis": "cpu"}
    assert run["versions"]["torch"] == torch.__version__ and "python" in run["versions"]
    assert not (out / ".lock").exists()


def test_runs_add_up(folders: Path, tmp_path: Path) -> None:
    samples, out = open_dataset("davis", folders), tmp_path / "out"
    run_benchmark(samples[:1], [baseline_method("copy")], out)
    run_benchmark(samples, [baseline_method("dis")], out, shard=(1, 2))
    manifest = read_manifest(out)
    assert list(manifest["methods"]) == ["copy", "dis"] and sorted(manifest["samples"]) == ["one", "two"]
    assert [(run["methods"], run["shard"], run["measured"]) for run in manifest["runs"]] == [
        (["copy"], None, 1),
        (["dis"], "1/2", 1),
    ]
    run_benchmark(samples[1:], [baseline_method("copy")], out, "lab")
    manifest = read_manifest(out)
    assert list(manifest["methods"]) == ["copy"] and list(manifest["samples"]) == ["two"]
    assert manifest["protocol"]["name"] == "lab" and len(manifest["runs"]) == 3


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), "interrupted"), (ValueError("odd"), "failed"), (None, "running")]
)
def test_it_says_how_a_run_ended(folders: Path, tmp_path: Path, error: BaseException | None, status: str) -> None:
    out, seen = tmp_path / "out", []

    def predict(images: object, cues: object) -> object:
        seen.append(read_manifest(out)["runs"][0])
        raise error or KeyboardInterrupt

    method = Method("failing", lambda protocol: predict, {})
    with pytest.raises(BaseException, match="odd" if status == "failed" else None):
        run_benchmark(open_dataset("davis", folders), [method], out)
    if error is None:
        assert (seen[0]["status"], seen[0]["finished"], seen[0]["measured"]) == ("running", None, 2)
    else:
        assert read_manifest(out)["runs"][0]["status"] == status


@pytest.mark.parametrize("content", ["{", "[]", '{"format": "another"}', '"text"'])
def test_a_file_that_is_no_manifest_is_replaced(folders: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/manifest.json").write_text(content)
    assert read_manifest(tmp_path / "out") == {}
    run_benchmark(open_dataset("davis", folders)[:1], [baseline_method("copy")], tmp_path / "out")
    assert len(read_manifest(tmp_path / "out")["runs"]) == 1


def test_no_run_is_lost_when_several_write_at_once(tmp_path: Path) -> None:
    def record(number: int) -> None:
        method = baseline_method("copy", label=f"copy-{number}")
        measured = Measured(
            dataset="davis-2017", task="masks", rules="davis-2017", protocol=get_protocol("full"), methods=[method],
            samples={f"clip-{number}": "digest"},
        )  # fmt: skip
        with Manifest(tmp_path, measured, Means(engine="local", workers=1, threads=1, shard=(number + 1, 8))):
            pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(record, range(8)))
    manifest = read_manifest(tmp_path)
    assert sorted(run["shard"] for run in manifest["runs"]) == [f"{number}/8" for number in range(1, 9)]
    assert {run["status"] for run in manifest["runs"]} == {"finished"}
    assert len(manifest["methods"]) == len(manifest["samples"]) == 8


def test_names_of_devices() -> None:
    assert device_name("cpu") == "cpu"
    assert device_name("cuda:99") == "cuda:99"
