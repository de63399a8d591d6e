"""The page stands by itself: nothing to fetch, nothing to run, and what names hold is shown as text."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from undertow.benchmarks.core.datasets import get_dataset, open_dataset
from undertow.benchmarks.core.methods import baseline_method
from undertow.benchmarks.core.outcomes import Outcome
from undertow.benchmarks.core.runner import run_benchmark
from undertow.benchmarks.report.charts import curve
from undertow.benchmarks.report.tables import PUBLISHED, published_table
from undertow.benchmarks.report.writing import worst_frames, write_report

VOID = {"meta", "img", "br", "path", "use", "rect", "line", "circle"}


class Tree(HTMLParser):
    """Checks that every element that is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def outcome(method: str, sequence: str, values: list[float], dataset: str = "davis-2017") -> Outcome:
    return Outcome(
        method=method,
        dataset=dataset,
        rules="davis-2017",
        protocol="full",
        sequence=sequence,
        frames=tuple(f"{index:05d}" for index in range(len(values))),
        series={"1": {"J": np.array(values), "F": np.array(values)}},
    )


def page(outcomes: list[Outcome], out: Path, **options: object) -> str:
    write_report(outcomes, out, **options)
    return (out / "report.html").read_text()


def test_the_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    text = page([outcome(m, s, [0.9, 0.4, 0.7]) for m in ("a", "b") for s in ("x", "y")], tmp_path)
    tree = Tree()
    tree.feed(text)
    assert tree.open == [] and "script" not in tree.seen and "link" not in tree.seen
    # Namespaces are names, not addresses that are fetched.
    addresses = set(re.findall(r'(?:src|href)="([^"#]+)"', text))
    assert not [each for each in addresses if not each.startswith("data:")]
    assert tree.seen.count("svg") == 3 and "prefers-color-scheme: dark" in text and "width=device-width" in text


def test_pictures_in_a_page_share_no_names(tmp_path: Path) -> None:
    text = page([outcome("a", s, [0.9, 0.4, 0.7]) for s in ("x", "y")], tmp_path)
    names = re.findall(r'\bid="([^"]+)"', text)
    assert len(names) == len(set(names))
    assert {name for name in re.findall(r'(?:url\(#|href="#)([^")]+)', text)} <= set(names)


def test_names_are_text(tmp_path: Path) -> None:
    text = page([outcome("a", "<b>&x</b>", [0.5, 0.5, 0.5])], tmp_path)
    assert "<b>&x" not in text and "&lt;b&gt;&amp;x&lt;/b&gt;" in text


def test_published_rows_are_marked_and_sourced(tmp_path: Path) -> None:
    text = page([outcome("a", "x", [0.5, 0.5, 0.5])], tmp_path)
    assert 'class="published"' in text and "arXiv 2511.19936" in text and "not measured by this program" in text
    assert published_table([outcome("a", "x", [0.5], dataset="world-easy")]) is None
    for dataset, rows in PUBLISHED.items():
        get_dataset(dataset)
        assert all(row.source and all(0 <= value <= 100 for value in row.figures.values()) for row in rows)


def test_the_worst_frames_are_apart() -> None:
    first = outcome("a", "x", [0.9, 0.2, 0.1, 0.3, 0.9, 0.9, 0.9, 0.5, 0.9, 0.9])
    second = outcome("a", "y", [0.4] + [1.0] * 9)
    found = [(frame.sequence, frame.frame, frame.score) for frame in worst_frames([first, second], most=3)]
    assert found == [
        ("x", "00002", pytest.approx(0.1)),
        ("y", "00000", pytest.approx(0.4)),
        ("x", "00007", pytest.approx(0.5)),
    ]


def test_frames_on_which_an_object_does_not_count_are_left_out_of_the_curve() -> None:
    one = outcome("a", "x", [0.5, 0.5, 0.5])
    both = {**one.series, "2": {"J": np.array([np.nan, 1.0, np.nan]), "F": np.array([np.nan, 0.0, np.nan])}}
    late = Outcome(
        method="a", dataset="davis-2017", rules="r", protocol="p", sequence="x", frames=one.frames, series=both
    )
    assert curve(late) == pytest.approx([0.5, 0.5, 0.5])
    nothing = {"1": {"J": np.full(3, np.nan), "F": np.full(3, np.nan)}}
    empty = replace(one, series=nothing)
    assert np.isnan(curve(empty)).all() and worst_frames([empty]) == []


def test_pictures_are_shown_only_where_the_data_may_be(folders: Path, tmp_path: Path) -> None:
    samples = open_dataset("davis", folders)
    outcomes = run_benchmark(samples, [baseline_method("copy")], tmp_path / "out", keep=True)
    assert "data:image" not in page(outcomes, tmp_path / "out", samples=samples)


def test_an_unfinished_confusion_matrix_has_a_chart(tmp_path: Path) -> None:
    from undertow.benchmarks.report.charts import as_svg, draw_confusion

    sparse = {"rows": [0, 0, 1, 1, 1], "columns": [0, 1, 0, 1, 3], "counts": [8, 2, 1, 8, 1]}
    one = replace(
        outcome("a", "x", [0.5], dataset="camvid"),
        task="parse",
        totals={"confusion": sparse},
        facts={"classes": ["sky", "road", "never seen"], "pooled": True},
    )
    text = as_svg(draw_confusion([one]), "c")
    assert "sky" in text and "road" in text and "never seen" not in text and ">80<" in text.replace("\n", "")
    assert draw_confusion([outcome("a", "x", [0.5])]) is None
