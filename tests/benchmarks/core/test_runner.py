import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from undertow.base import JsonProgress, MaskError, SettingsError, SilentProgress
from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.core.methods import Method, baseline_method, make_methods
from undertow.benchmarks.core.outcomes import read_outcomes
from undertow.benchmarks.core.runner import run_benchmark
from undertow.benchmarks.core.sample import EvaluationProtocol
from undertow.benchmarks.masks.methods import Predictor
from undertow.benchmarks.report.writing import write_report
from undertow.masks import LabelMap
from undertow.metrics import SequenceEvaluator


class Shifter:
    """Moves the first map right by a pixel per frame, as the true object 1 does, and counts what it is asked for."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.loads = 0
        self.frames = 0
        self.fail_at = fail_at
        self.protocols: list[EvaluationProtocol] = []

    def method(self, name: str = "shift", **settings: Any) -> Method:
        return Method(name, self.make, settings)

    def make(self, protocol: EvaluationProtocol) -> Predictor:
        self.loads += 1
        self.protocols.append(protocol)
        return self.predict

    def predict(self, images: Iterator[np.ndarray], cues: Mapping[int, LabelMap]) -> Iterator[LabelMap]:
        first = cues[0]
        for step, image in enumerate(images):
            assert image.shape == (*first.shape, 3)
            if self.frames == self.fail_at:
                raise KeyboardInterrupt
            self.frames += 1
            yield np.roll(first, step * self.protocols[-1].stride, 1)


def test_scores_are_those_of_the_evaluator(folders: Path, tmp_path: Path) -> None:
    sequences = open_dataset("davis", folders)
    outcomes = run_benchmark(sequences, [Shifter().method(), baseline_method("copy")], tmp_path / "out")
    assert [(each.method, each.sequence) for each in outcomes] == [
        ("shift", "one"),
        ("shift", "two"),
        ("copy", "one"),
        ("copy", "two"),
    ]
    assert outcomes[0].objects[1].region.tolist() == [1.0] * 4
    assert outcomes[0].frames == ("00001", "00002", "00003", "00004") and len(outcomes[0].seconds) == 6
    copied = SequenceEvaluator([1, 2])
    for index in range(7):
        copied.update(sequences[1].load_mask(0), sequences[1].load_mask(index))
    for number, expected in copied.result().items():
        assert outcomes[3].objects[number].region.tolist() == expected.region.tolist()
        assert outcomes[3].objects[number].contour.tolist() == expected.contour.tolist()


def test_files_hold_the_outcomes(folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcomes = run_benchmark(open_dataset("davis", folders), [baseline_method("copy")], out)
    stored = read_outcomes(out)
    for wrote, read in zip(outcomes, stored, strict=True):
        assert (wrote.method, wrote.sequence, wrote.frames) == (read.method, read.sequence, read.frames)
        assert wrote.fingerprint == read.fingerprint and wrote.protocol == read.protocol
        assert read.seconds == pytest.approx(wrote.seconds, abs=1e-6)
        for number, scores in wrote.objects.items():
            assert read.objects[number].region.tolist() == scores.region.tolist()
            assert read.objects[number].contour.tolist() == scores.contour.tolist()


def test_an_interrupted_run_goes_on_where_it_stopped(folders: Path, tmp_path: Path) -> None:
    sequences, out = open_dataset("davis", folders), tmp_path / "out"
    broken = Shifter(fail_at=8)
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(sequences, [broken.method()], out)
    assert [path.name for path in sorted((out / "shift").iterdir())] == ["one.json"]
    rest = Shifter()
    resumed = run_benchmark(sequences, [rest.method()], out)
    assert rest.frames == 7
    whole = run_benchmark(sequences, [Shifter().method()], tmp_path / "whole")
    for first, second in zip(resumed, whole, strict=True):
        assert first.fingerprint == second.fingerprint
        assert {n: s.contour.tolist() for n, s in first.objects.items()} == {
            n: s.contour.tolist() for n, s in second.objects.items()
        }


def test_a_finished_run_loads_no_model(folders: Path, tmp_path: Path) -> None:
    sequences, out = open_dataset("davis", folders), tmp_path / "out"
    run_benchmark(sequences, [Shifter().method()], out)
    again = Shifter()
    run_benchmark(sequences, [again.method()], out)
    assert (again.loads, again.frames) == (0, 0)
    run_benchmark(sequences, [again.method()], out, overwrite=True)
    assert (again.loads, again.frames) == (1, 13)


@pytest.mark.parametrize("change", ["settings", "protocol", "masks", "frames", "file"])
def test_stale_outcomes_are_measured_again(folders: Path, tmp_path: Path, change: str) -> None:
    out = tmp_path / "out"
    run_benchmark(open_dataset("davis", folders), [Shifter().method(level=1)], out)
    protocol = EvaluationProtocol("full")
    if change == "protocol":
        protocol = EvaluationProtocol("full", most_frames=6)
    elif change == "masks":
        (folders / "davis-two/masks/00003.png").unlink()
    elif change == "frames":
        frames = folders / "davis-two/frames"
        (frames / "00004.jpg").write_bytes((frames / "00003.jpg").read_bytes())
    elif change == "file":
        (out / "shift/two.json").write_text('{"format"')
    again = Shifter()
    sequences = open_dataset("davis", folders)
    run_benchmark(sequences, [again.method(level=2 if change == "settings" else 1)], out, protocol)
    assert again.frames == {"settings": 13, "protocol": 12}.get(change, 7)


def test_lab_protocol_reaches_the_method(folders: Path, tmp_path: Path) -> None:
    shifter = Shifter()
    sequences = [each for each in open_dataset("davis", folders) if each.name == "two"]
    (outcome,) = run_benchmark(sequences, [shifter.method()], tmp_path / "out", "lab")
    assert shifter.protocols[0].tokens == 1600 and shifter.frames == 3
    assert outcome.frames == ("00003",) and outcome.objects[1].region.tolist() == [1.0]
    with pytest.raises(SettingsError, match="protocol 'lab' shows 2 annotated frames of 'one'; scoring needs 3"):
        run_benchmark(open_dataset("davis", folders), [shifter.method()], tmp_path / "out", "lab")


def test_frames_without_annotation_are_predicted_but_not_scored(folders: Path, tmp_path: Path) -> None:
    for step in (1, 3):
        (folders / f"davis-two/masks/{step:05d}.png").unlink()
    shifter = Shifter()
    outcome = run_benchmark(open_dataset("davis", folders), [shifter.method()], tmp_path / "out")[1]
    assert shifter.frames == 13
    assert outcome.frames == ("00002", "00004", "00005") and outcome.objects[1].region.tolist() == [1.0] * 3


def test_progress_counts_every_frame(folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sequences = open_dataset("davis", folders)
    for stored in (False, True):
        run_benchmark(sequences, [baseline_method("copy")], tmp_path / "out", progress=JsonProgress())
        events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert events[0] == {"event": "start", "stage": "bench full", "total": 13}
        assert events[-1]["done"] == 13 and len(events) == (3 if stored else 14)


def test_time_to_read_images_is_not_the_methods(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from undertow.benchmarks.core import measuring
    from undertow.benchmarks.core import sample as samples

    now = 0.0

    class SlowVideo(samples.Video):
        def __getitem__(self, index: int) -> np.ndarray:
            nonlocal now
            now += 100
            return super().__getitem__(index)

    def think(images: Iterator[np.ndarray], cues: Mapping[int, LabelMap]) -> Iterator[LabelMap]:
        nonlocal now
        for _ in images:
            now += 2
            yield cues[0]

    monkeypatch.setattr(samples, "Video", SlowVideo)
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: now)
    outcomes = run_benchmark(
        open_dataset("davis", folders), [Method("slow", lambda protocol: think, {})], tmp_path / "out"
    )
    assert outcomes[0].seconds == (2.0,) * 6 and outcomes[1].seconds_per_frame == 2.0


def test_methods_must_answer_every_frame_at_native_size(folders: Path, tmp_path: Path) -> None:
    sequences = open_dataset("davis", folders)

    def short(images: Iterator[np.ndarray], cues: Mapping[int, LabelMap]) -> Iterator[LabelMap]:
        yield cues[0]

    def small(images: Iterator[np.ndarray], cues: Mapping[int, LabelMap]) -> Iterator[LabelMap]:
        yield from (cues[0][::2] for _ in images)

    for predictor, message in [(short, "no label map for frame '00001'"), (small, r"shape \(24, 64\)")]:
        with pytest.raises(MaskError, match=message):
            run_benchmark(sequences, [Method("bad", lambda protocol, p=predictor: p, {})], tmp_path / "out")


def test_names_must_be_unique_and_fit_for_folders(folders: Path, tmp_path: Path) -> None:
    sequences, copy = open_dataset("davis", folders), baseline_method("copy")
    with pytest.raises(SettingsError, match="method 'copy' is given twice"):
        run_benchmark(sequences, [copy, copy], tmp_path)
    with pytest.raises(SettingsError, match="no method to measure"):
        run_benchmark(sequences, [], tmp_path)
    for name in ("", "../up", ".hidden", "a/b"):
        with pytest.raises(SettingsError, match="cannot name a folder"):
            Method(name, lambda protocol: Shifter().predict, {})


def test_flow_beats_copy_and_everything_is_reported(folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    methods = make_methods(baselines=["copy", "farneback", "dis"])
    outcomes = run_benchmark(open_dataset("davis", folders), methods, out, progress=SilentProgress())
    mean = {method.name: [] for method in methods}
    for outcome in outcomes:
        mean[outcome.method].append(outcome.combined)
    assert np.mean(mean["dis"]) > np.mean(mean["copy"]) and np.mean(mean["farneback"]) > np.mean(mean["copy"])
    write_report(read_outcomes(out), out)
    assert (out / "metrics.csv").is_file() and (out / "report.md").is_file()


def test_outcomes_of_different_measurements_do_not_share_a_table(folders: Path, tmp_path: Path) -> None:
    sequences, out = open_dataset("davis", folders), tmp_path / "out"
    run_benchmark(sequences, [baseline_method("copy")], out)
    short = EvaluationProtocol("short", most_frames=5)
    run_benchmark(sequences, [Shifter().method()], out, short)
    with pytest.raises(SettingsError, match=r"mixes davis-folders .* and davis-folders .*; use one folder for each"):
        read_outcomes(out)
    with pytest.raises(SettingsError, match="holds no benchmark outcomes"):
        read_outcomes(tmp_path / "empty")
