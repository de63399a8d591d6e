"""The known cases of videos and masks; those of all rooms are run by benchmarks/faults/cases.py."""

import os
from pathlib import Path

import pytest
from cases import CASES

FOLDER = Path(os.environ.get("UNDERTOW_CASES", Path(__file__).parents[3] / "shared" / "cases"))
ELSEWHERE = (
    "card-recent-minus-1", "model-scheduler-timesteps--1", "model-tokenizer-files-not-JSON", "names-split-1e9",
    "render-labels-json-traversal", "run-json-cues-null", "sequence-name-dollar",
)  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_known_case(tmp_path, name):
    if not (FOLDER / name).is_dir():
        pytest.skip(f"{FOLDER / name} is not there; set UNDERTOW_CASES")
    if name in ELSEWHERE:
        pytest.skip("run by benchmarks/faults/cases.py")
    CASES[name].run(FOLDER / name, tmp_path)
