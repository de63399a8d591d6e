"""constraints-lowest.txt has the floors that pyproject.toml names, and nothing else."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
# What makes the documentation, workers over several machines, and tools that work on the code and do not run it.
EXTRAS, TOOLS = {"docs", "scale"}, {"httpx2", "mypy", "playwright", "ruff"}


def named(requirements):
    """The floor of each package."""
    parts = (re.fullmatch(r"([\w.-]+)>=([\w.]+)(,<\w+)?", each) for each in requirements)
    return {part[1]: part[2] for part in parts if part}


def test_the_lowest_versions_are_the_floors():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [each for name, extra in project["optional-dependencies"].items() if name not in EXTRAS for each in extra]
    floors = named([*project["dependencies"], *extras])
    assert all(each.split(">=")[0] in floors or each.startswith("undertow[") for each in extras)
    assert len(named(project["dependencies"])) == len(project["dependencies"])
    lines = (ROOT / "constraints-lowest.txt").read_text().splitlines()
    lowest = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert lowest.keys() == floors.keys() - TOOLS
    # With zeros, or the only release of that number, behind it.
    wrong = [name for name, pinned in lowest.items() if not f"{pinned}.".startswith(f"{floors[name]}.")]
    assert not wrong
