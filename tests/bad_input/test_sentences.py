"""Every kind of bad input ends in one sentence that says what to do, and in the right exit code; nothing is lost.

docs/bad-input.md is the table of these cases. `UNDERTOW_WRITE_DOCS=1` writes it; without, it must say the same.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from undertow.base import write_text

from . import (
    batch_cases,
    bench_cases,
    mask_cases,
    motion_cases,
    option_cases,
    other_cases,
    output_cases,
    parse_cases,
    point_cases,
    prompt_cases,
    refer_cases,
    video_cases,
)

GROUPS = {
    "Videos": video_cases.CASES,
    "Masks": mask_cases.CASES,
    "Boxes, points, tuning": prompt_cases.CASES,
    "refer": refer_cases.CASES,
    "points": point_cases.CASES,
    "parse": parse_cases.CASES,
    "Settings": option_cases.SETTINGS,
    "Models": option_cases.MODELS,
    "Results": output_cases.CASES,
    "inspect": other_cases.INSPECT,
    "analyze": motion_cases.ANALYZE,
    "generate": motion_cases.GENERATE,
    "bench": other_cases.BENCH,
    "bench check": bench_cases.CHECK,
    "bench score": bench_cases.SCORE,
    "train": other_cases.TRAIN,
    "batch": batch_cases.BATCH,
}
ALL = [(group, case) for group, cases in GROUPS.items() for case in cases]
PAGE = Path(__file__).parents[2] / "docs" / "bad-input.md"
README = PAGE.parents[1] / "README.md"
WRITE = os.environ.get("UNDERTOW_WRITE_DOCS") == "1"
# A sentence says what to do by one of these words, or says what would have been right.
REMEDIES = re.compile(
    r"\b(add|change|check|choose|convert|copy|correct|download|export|free|give|install|leave|lower|make|mark|name|number|paint"
    r"|pass|raise|re-encode|record|remove|replace|run|save|see|shorten|take|tune|use|write)\b"
    r"|is not one of|the nearest is|it has \d+ frames|goes from|would need about|the last frame of|let it"
)
INTRODUCTION = """# Messages and exit codes

For every bad input undertow prints one sentence on standard error that says what it found and what to do. Existing
results are never lost. Exit codes: 2 bad input, 3 weights unavailable, 4 would not fit in memory,
130 interrupted, 1 a failed demonstration or a bug (`UNDERTOW_DEBUG=1` shows where).

The tests in tests/bad_input run each of these {count} cases on the real command line and write this table.
"""


@pytest.fixture(scope="module")
def written() -> Iterator[dict[tuple[str, str], str]]:
    """Collects the table's rows, and writes the page if asked to and all are there."""
    rows: dict[tuple[str, str], str] = {}
    yield rows
    if WRITE and len(rows) == len(ALL):
        parts = [INTRODUCTION.format(count=len(ALL))]
        for group, cases in GROUPS.items():
            head = f"\n## {group}\n\n| what was done | exit code | message |\n|---|---|---|\n"
            parts.append(head + "".join(rows[group, case.name] + "\n" for case in cases))
        write_text(PAGE, "".join(parts))


@pytest.fixture(scope="module")
def page() -> set[str]:
    """The rows of the page as it is."""
    return {without_asides(line) for line in PAGE.read_text().splitlines()} if PAGE.exists() else set()


@pytest.mark.parametrize(("group", "case"), ALL, ids=[f"{group}-{case.name}" for group, case in ALL])
def test_one_sentence(group, case, kitchen, run, pantry, written, page):
    arguments = case.make(kitchen)
    before = kitchen.state()
    code, out, err = run(*arguments)
    text = err.replace(str(kitchen.folder), "<tmp>").replace(str(pantry), "<tmp>")
    assert code == case.code, text
    assert re.fullmatch(r"error: [^\n]+\n", text), text
    assert case.says in text
    assert REMEDIES.search(text), f"what to do? {text}"
    assert bool(out) == case.lists

    after = kitchen.state()
    assert {name: after.get(name) for name in before} == before
    new = [name for name in after if name not in before]
    assert all(Path(name).parts[0] in case.leaves for name in new), new
    assert not [name for name in new if Path(name).name.startswith(".") and "journal" not in name]

    row = f"| {case.name} | {code} | {shortened(text.removeprefix('error: ').strip())} |"
    written[group, case.name] = row
    assert WRITE or without_asides(row) in page, "docs/bad-input.md says otherwise: run with UNDERTOW_WRITE_DOCS=1"


def test_the_page_has_all_cases_and_no_others():
    if WRITE:
        pytest.skip("the page is written when all cases have run")
    assert len(ALL) == len(set((group, case.name) for group, case in ALL)) >= 60
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "| exit code |" not in line]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [case.name for _, case in ALL]
    assert f" {len(ALL)} kinds of bad input" in README.read_text()


def shortened(sentence: str) -> str:
    """Returns a sentence for a table: what repeats one letter without end is cut; bars and brackets mean themselves."""
    cut = re.sub(r"(.)\1{19,}", r"\1\1\1...", sentence)
    return cut.replace("|", "\\|").replace("][", "]&#91;").replace("<", "&lt;").replace(">", "&gt;")


def without_asides(row: str) -> str:
    """Returns a row without what differs from machine to machine.

    That is what stands in parentheses, where libraries are quoted, how much memory there is and could be saved, and
    which models there are.
    """
    return re.sub(r"\(.*\)|`--[^`]*` would|[\d.]+ [kMGT]?B\b|give one of tiny, .*, a folder", "()", row)
