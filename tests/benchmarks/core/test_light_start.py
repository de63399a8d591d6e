"""What needs no model starts without the libraries of models."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from undertow.benchmarks.core.datasets import DATASETS
from undertow.benchmarks.core.task import TASKS, get_task

HEAVY = ("torch", "diffusers", "transformers", "scipy", "sklearn", "cv2", "huggingface_hub")
RUN = """
import json, sys
from undertow import cli
sys.argv[0] = "undertow"
try:
    cli.main()
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def loaded(*arguments: object) -> set[str]:
    """Returns the modules that a command has loaded by its end."""
    command = [sys.executable, "-c", RUN, "bench", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_the_list_of_datasets_needs_no_model() -> None:
    modules = loaded("datasets")
    assert "undertow.benchmarks.refer.refcoco" in modules and not modules.intersection(HEAVY)


def test_masks_are_scored_without_a_model(folders: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    for name in ("one", "two"):
        (results / name).mkdir(parents=True)
        for path in (folders / f"davis-{name}/masks").iterdir():
            (results / name / path.name).write_bytes(path.read_bytes())
    modules = loaded("score", "davis", "--root", folders, "--results", results, "--out", tmp_path / "out")
    assert (tmp_path / "out/report.md").is_file() and not modules.intersection(HEAVY)


@pytest.mark.parametrize("wing", TASKS)
def test_the_datasets_of_a_wing_are_those_that_it_names(wing: str) -> None:
    package = f"undertow.benchmarks.{wing}"
    for module, names in import_module(package).DATASETS.items():
        described = import_module(f"{package}.{module}").DATASETS
        assert tuple(each.name for each in described) == names
        for each in described:
            assert DATASETS[each.name] == f"{package}.{module}" and set(each.rules) <= set(get_task(each.task).rules)
