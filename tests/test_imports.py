"""Imports point one way, public names are kept on purpose, and the light rooms stay light."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import undertow

SOURCE = Path(undertow.__file__).parent
LEAF: set[str] = {"base"}
ALLOWED = {
    "base": set(),
    "video": LEAF,
    "masks": LEAF,
    "world": LEAF,
    "metrics": LEAF,
    "backbones": LEAF,
    "affinity": LEAF,
    "drawing": {"masks", "base"},
    "engines": LEAF,
}
ALLOWED["refinement"] = {"backbones", "masks", "video", "base"}
ALLOWED["observing"] = {"affinity", "backbones", "base"}
ALLOWED["runs"] = {"observing", "backbones", "masks", "video", "base"}
ALLOWED["export"] = {"runs", "refinement", "drawing", "masks", "video", "base"}
ALLOWED["grounding"] = {"observing", "refinement", "backbones", "masks", "base"}
ALLOWED["tracking"] = ALLOWED["runs"] | {"runs", "export", "affinity", "refinement", "drawing", "grounding"}
TASKS = {"tracking", "parsing", "points", "referring"}
ALLOWED["parsing"] = ALLOWED["points"] = ALLOWED["tracking"] | {"tracking"}
ALLOWED["referring"] = ALLOWED["tracking"] | {"tracking"}
ALLOWED["analysis"] = ALLOWED["points"] | {"points", "world", "metrics"}
ALLOWED["training"] = ALLOWED["tracking"] | TASKS | {"benchmarks", "world", "metrics"}
ALLOWED["batches"] = ALLOWED["tracking"] | {"tasks", "engines"}
ALLOWED["benchmarks"] = ALLOWED["tracking"] | TASKS | {"tasks", "engines", "analysis", "world", "metrics"}
ALLOWED["app"] = ALLOWED["benchmarks"] | {"benchmarks", "batches", "training", "analysis", "export"}
ALLOWED["cli"] = ALLOWED["app"] | {"app"}


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        rooms |= {name.split(".")[1] for name in names if name.startswith("undertow.")}
    return rooms


def test_every_room_is_listed():
    rooms = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    assert rooms == set(ALLOWED)


def test_runs_know_no_task():
    # What tracking takes is still estimated there.
    estimates = {"estimate.py", "budget.py", "calibration.py"}
    for path in (SOURCE / "runs").glob("*.py"):
        assert path.name in estimates or not imported_rooms(path) & TASKS, path.name


def test_tasks_are_listed_without_a_model():
    code = "import sys; from undertow.tasks import TASKS; print(*TASKS); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["track", "points", "parse", "refer"]


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_imports_point_one_way(room):
    for path in (SOURCE / room).rglob("*.py"):
        stray = imported_rooms(path) - ALLOWED[room] - {room}
        assert not stray, f"{path.relative_to(SOURCE)} imports {sorted(stray)}"


def test_names_on_demand_are_there_and_no_module_takes_their_place():
    for path in SOURCE.rglob("__init__.py"):
        if "= on_demand(" not in path.read_text():
            continue
        package = import_module(".".join(("undertow", *path.parent.relative_to(SOURCE).parts)))
        modules = {each.stem for each in path.parent.iterdir()}
        assert not modules & {*package.__all__}, path
        assert all(hasattr(package, name) and name in dir(package) for name in package.__all__), path


def test_pyav_is_imported_in_two_modules_only():
    users = {path.name for path in SOURCE.rglob("*.py") if re.search(r"^\s*(import|from) av\b", path.read_text(), re.M)}
    assert users == {"container.py", "reel.py"}


def test_no_pickle_is_ever_loaded():
    for path in SOURCE.rglob("*.py"):
        text = path.read_text()
        assert "torch.load" not in text and "import pickle" not in text and "allow_pickle=True" not in text, path


def test_public_names():
    """Removing or adding a public name needs a change here, on purpose."""
    assert undertow.__all__ == [
        "Clip",
        "CueError",
        "MaskError",
        "MaskTracker",
        "MemoryBudgetError",
        "ParseResult",
        "ParseSettings",
        "Parser",
        "PointSettings",
        "PointTracker",
        "ReferSettings",
        "SettingsError",
        "TrackResult",
        "TrackSettings",
        "Tracks",
        "UndertowError",
        "Video",
        "VideoError",
        "VideoWriter",
        "WeightsUnavailable",
        "batch",
        "list_cards",
        "load",
        "open_run",
        "open_stream",
        "parse",
        "read_label_map",
        "refer",
        "track",
        "track_points",
        "write_label_map",
    ]
    for name in undertow.__all__:
        assert getattr(undertow, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = undertow.nothing


@pytest.mark.parametrize("room", ["undertow.world", "undertow.training.recipe", "undertow.training.validation"])
def test_world_and_training_need_no_video_library(room):
    code = f"import sys; sys.modules['av'] = None; import {room}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
