import csv
import io
import sys
from pathlib import Path

import numpy as np
import pytest

from undertow.base import SettingsError
from undertow.benchmarks.core.outcomes import Outcome
from undertow.benchmarks.report.tables import Table, difference_table, method_table, metrics_csv, sequence_table
from undertow.benchmarks.report.writing import markdown_report, write_report


def outcome(method: str, sequence: str, *objects: tuple[float, float], pace: float | None = 0.5) -> Outcome:
    """Constant (J, F) per object over four scored frames."""
    return Outcome(
        method=method,
        dataset="davis-2017",
        rules="davis-2017",
        protocol="full: every frame",
        sequence=sequence,
        frames=tuple("abcd"),
        series={str(n): {"J": np.full(4, j), "F": np.full(4, f)} for n, (j, f) in enumerate(objects, start=1)},
        seconds=() if pace is None else (pace,) * 6,
    )


# J&F of copy: 0.3 and 0.525; of drift: 0.8 and 0.65.
OUTCOMES = [
    outcome("copy", "bear", (0.4, 0.2)),
    outcome("copy", "cats", (0.5, 0.3), (0.6, 0.7)),
    outcome("drift", "bear", (0.9, 0.7), pace=1.5),
    outcome("drift", "cats", (0.5, 0.5), (0.7, 0.9), pace=1.5),
]


def cells(table: Table) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.markdown().splitlines()]


def test_csv_has_a_row_per_method_sequence_and_object() -> None:
    rows = list(csv.DictReader(io.StringIO(metrics_csv(OUTCOMES))))
    assert [(row["method"], row["sequence"], row["object"]) for row in rows] == [
        ("copy", "bear", "1"),
        ("copy", "cats", "1"),
        ("copy", "cats", "2"),
        ("drift", "bear", "1"),
        ("drift", "cats", "1"),
        ("drift", "cats", "2"),
    ]
    names = ("J_mean", "J_recall", "J_decay", "F_mean", "F_recall", "F_decay", "J&F", "seconds_per_frame", "frames")
    assert [float(rows[3][name]) for name in names] == pytest.approx([0.9, 1, 0, 0.7, 1, 0, 0.8, 1.5, 4])


def test_an_unmeasured_pace_is_left_blank() -> None:
    scored = [outcome("folder", "bear", (0.5, 0.5), pace=None)]
    assert next(csv.DictReader(io.StringIO(metrics_csv(scored))))["seconds_per_frame"] == ""
    assert cells(method_table(scored))[2][8] == "-"


def test_methods_average_over_objects() -> None:
    header, _, copy, drift = cells(method_table(OUTCOMES))
    assert header[:3] == ["method", "J&F", "J"]
    # J of copy: (0.4 + 0.5 + 0.6) / 3; F: (0.2 + 0.3 + 0.7) / 3. Recall counts values above one half.
    assert copy == ["copy", "45.0", "50.0", "33.3", "0.0", "40.0", "33.3", "0.0", "0.500", "2", "3"]
    assert drift[1] == "70.0" and drift[8] == "1.500"


def test_an_unfinished_method_shows_it() -> None:
    assert cells(method_table(OUTCOMES[:3]))[3][9] == "**1 of 2**"


def test_sequences_average_over_their_objects_and_mark_the_best() -> None:
    assert cells(sequence_table(OUTCOMES))[2:] == [["bear", "30.0", "**80.0**"], ["cats", "52.5", "**65.0**"]]
    assert cells(sequence_table(OUTCOMES[:3]))[3] == ["cats", "**52.5**", "-"]


def test_differences_are_paired_by_sequence() -> None:
    (row,) = cells(difference_table(OUTCOMES, "copy"))[2:]
    assert row == ["drift", "+31.2", "+12.5 to +50.0", "2 of 2"]
    (row,) = cells(difference_table(OUTCOMES, "drift"))[2:]
    assert row[:2] == ["copy", "-31.2"] and row[3] == "0 of 2"
    (row,) = cells(difference_table(OUTCOMES[:3], "copy"))[2:]
    assert row == ["drift", "+50.0", "-", "1 of 1"]


def test_tables_are_well_formed() -> None:
    for table in (method_table(OUTCOMES), sequence_table(OUTCOMES), difference_table(OUTCOMES, "copy")):
        lines = table.markdown().splitlines()
        assert len({line.count("|") for line in lines}) == 1 and len({len(line) for line in lines}) == 1


def test_report_names_dataset_protocol_and_reference(tmp_path: Path) -> None:
    text = write_report(OUTCOMES, tmp_path, reference="drift")
    assert text == (tmp_path / "report.md").read_text()
    assert "# davis-2017" in text and "full: every frame" in text and "Difference from drift" in text
    assert (tmp_path / "metrics.csv").read_text() == metrics_csv(OUTCOMES)
    assert "Difference" not in markdown_report(OUTCOMES[:2])
    for name in ("over_time.png", "sequences.png"):
        assert f"({name})" in text and (tmp_path / name).is_file()


def test_without_matplotlib_the_report_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "No plots: plots need matplotlib; run: pip install" in write_report(OUTCOMES, tmp_path)
    assert not (tmp_path / "over_time.png").exists() and (tmp_path / "metrics.csv").is_file()


def test_bad_requests() -> None:
    with pytest.raises(SettingsError, match="'best' is not one of copy, drift"):
        markdown_report(OUTCOMES, reference="best")
    with pytest.raises(SettingsError, match="no outcomes"):
        markdown_report([])
