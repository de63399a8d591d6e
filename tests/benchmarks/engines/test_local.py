import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from undertow.base import JsonProgress, MaskError, MemoryBudgetError
from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.core.methods import Method, baseline_method
from undertow.benchmarks.core.outcomes import read_outcomes
from undertow.benchmarks.core.runner import run_benchmark, score_folder
from undertow.benchmarks.masks.methods import model_method
from undertow.tracking import TrackSettings


def test_two_workers_do_what_one_does(
    small_model: Path, folders: Path, tmp_path: Path, contents, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = open_dataset("davis", folders)
    settings = TrackSettings(tokens=48, radius=2)
    methods = [
        baseline_method("copy"),
        baseline_method("dis"),
        model_method(small_model, "dift", settings, device="cpu", dtype="float32"),
    ]
    threads = torch.get_num_threads()
    run_benchmark(samples, methods, tmp_path / "one", keep=True, threads=1)
    assert torch.get_num_threads() == threads
    run_benchmark(samples[:1], methods[:2], tmp_path / "two", keep=True, threads=1)
    left = {path: path.stat().st_mtime_ns for path in (tmp_path / "two").glob("*/one.json")}
    environment = dict(os.environ)
    outcomes = run_benchmark(
        samples, methods, tmp_path / "two", keep=True, workers=2, threads=1, progress=JsonProgress()
    )
    assert [(each.method, each.sequence) for each in outcomes] == [
        (method.name, sample.name) for method in methods for sample in samples
    ]
    expected = contents(tmp_path / "one")
    assert len(expected) == 3 * (2 + 13) and contents(tmp_path / "two") == expected
    assert {path: path.stat().st_mtime_ns for path in left} == left, "what was finished was measured again"
    assert dict(os.environ) == environment
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["done"] == events[0]["total"] == 39
    (*_, run) = json.loads((tmp_path / "two/manifest.json").read_text())["runs"]
    assert (run["workers"], run["threads"], run["stored"], run["measured"]) == (2, 1, 2, 4)


@pytest.mark.slow
def test_a_killed_worker_loses_its_sample_only_and_that_is_tried_again(
    unreliable, folders: Path, tmp_path: Path, contents
) -> None:
    samples, tries = open_dataset("davis", folders), tmp_path / "tries"
    tries.mkdir()
    fatal = Method("fatal", unreliable.Killed(str(tries), times=2), {"of": "killed"})
    run_benchmark(samples, [fatal, baseline_method("copy")], tmp_path / "out", workers=2, threads=1)
    assert len(list(tries.iterdir())) == 2
    unhurt = Method("fatal", unreliable.Killed(str(tries), times=0), {"of": "killed"})
    run_benchmark(samples, [unhurt, baseline_method("copy")], tmp_path / "alone", threads=1)
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


@pytest.mark.slow
def test_what_kills_its_worker_every_time_is_named_and_the_others_are_kept(
    unreliable, folders: Path, tmp_path: Path
) -> None:
    samples, tries, out = open_dataset("davis", folders), tmp_path / "tries", tmp_path / "out"
    tries.mkdir()
    methods = [
        Method("fatal", unreliable.Killed(str(tries), times=99), {}),
        Method("bad", unreliable.Fails(ValueError("odd")), {}),
        baseline_method("copy"),
    ]
    message = (
        r"^'fatal' on 'two' failed 3 times: the process .* was killed \(SIGKILL\), .* also failed: 'bad' on 'two'$"
    )
    with pytest.raises(MemoryBudgetError, match=message):
        run_benchmark(samples, methods, out, workers=2, threads=1)
    assert len(list(tries.iterdir())) == 3
    kept = sorted((each.method, each.sequence) for each in read_outcomes(out))
    assert kept == [("bad", "one"), ("copy", "one"), ("copy", "two"), ("fatal", "one")]
    assert json.loads((out / "manifest.json").read_text())["runs"][0]["status"] == "failed"


@pytest.mark.slow
def test_scoring_with_two_workers_is_scoring_with_one(folders: Path, tmp_path: Path) -> None:
    samples = open_dataset("davis", folders)
    run_benchmark(samples, [baseline_method("dis")], tmp_path / "out", keep=True)
    results = tmp_path / "out/results/dis"
    one, two = (score_folder(results, samples, workers=count) for count in (1, 2))
    assert [each.sequence for each in two] == ["one", "two"]
    for first, second in zip(one, two, strict=True):
        for unit, scores in first.series.items():
            assert {name: values.tolist() for name, values in scores.items()} == {
                name: values.tolist() for name, values in second.series[unit].items()
            }
    (results / "two/00004.png").unlink()
    with pytest.raises(MaskError, match=r"^the prediction for frame '00004' of 'two' is missing"):
        score_folder(results, samples, workers=2)


INTERRUPTED = """
import sys, time
from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.core.methods import Method, baseline_method
from undertow.benchmarks.core.runner import run_benchmark
from undertow.base import JsonProgress
import slow

if __name__ == "__main__":
    methods = [baseline_method("copy"), Method("slow", slow.make, {})]
    samples = open_dataset("davis", sys.argv[1])
    run_benchmark(samples, methods, sys.argv[2], workers=2, threads=1, progress=JsonProgress())
"""
SLOW = """
import time

def make(protocol):
    return predict

def predict(images, cues):
    for _ in images:
        time.sleep(0.25 if cues[0].max() == 1 else 60)
        yield cues[0]
"""


@pytest.mark.slow
def test_an_interrupt_ends_all_workers_and_leaves_what_is_finished(folders: Path, tmp_path: Path) -> None:
    import psutil

    program = tmp_path / "programs"
    program.mkdir()
    (program / "slow.py").write_text(SLOW)
    (program / "main.py").write_text(INTERRUPTED)
    command = [sys.executable, str(program / "main.py"), str(folders), str(tmp_path / "out")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if '"slow", "sequence": "one"' in line:
            break
    while not (tmp_path / "out/slow/one.json").is_file():
        time.sleep(0.05)
    workers = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: all processes hear it
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGINT and errors.count("KeyboardInterrupt") == 1, errors
    psutil.wait_procs(workers, timeout=30)
    assert not [worker for worker in workers if worker.is_running()]
    kept = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert kept == ["manifest.json", "one.json", "one.json", "two.json"]
    assert json.loads((tmp_path / "out/manifest.json").read_text())["runs"][0]["status"] == "interrupted"
