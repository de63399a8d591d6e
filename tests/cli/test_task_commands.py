"""Commands of tasks: their help fits on a screen, and shows everything when asked."""

import json
import re

import pytest

from undertow import cli
from undertow.base.options import text_options
from undertow.tasks import TASKS


@pytest.fixture
def shown(monkeypatch, capsys):
    """Runs the command line at 100 columns, and returns the lines of its output."""

    def shown(*arguments):
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setattr("sys.argv", ["undertow", *arguments])
        cli.main()
        return capsys.readouterr().out.splitlines()

    return shown


@pytest.mark.parametrize("task", TASKS)
def test_the_usual_help_is_one_screen(task, shown):
    lines = shown(task, "--help")
    assert len(lines) <= 40 and max(map(len, lines)) <= 100
    assert lines == shown(task, "-h")
    words = "\n".join(lines)
    for option in ("--out", "--model", "--size", "--start", "--end", "--every", "--views", "--overwrite", "--estimate"):
        assert f"  {option} " in words
    for title in ("Input:", "Method:", "Run:"):
        assert title in lines


@pytest.mark.parametrize("task", TASKS)
def test_the_whole_help_has_every_setting(task, shown):
    words = "".join("".join(shown(task, "--help-all")).split())
    for name, option in text_options(TASKS[task].settings):
        if name not in ("tokens", "size"):
            typed = f"--set{name}=..." if "." in name else f"--{name.replace('_', '-')}"
            assert typed in words and option.help.replace(" ", "") in words
    assert "--raw" in words and "--dtype" in words


def test_cues_show_what_is_typed(shown):
    assert any(re.match(r"  --grid N\[@F\] ", line) for line in shown("points", "--help"))


def test_what_fine_tuning_takes_is_estimated(shown):
    command = ["train", "rem", "--model", "wan2.1-1.3b", "--set", "frames=17"]
    lines = shown("estimate", *command)
    assert lines == shown(*command, "--out", "out", "--estimate")
    assert any(line.split()[:2] == ["moving", "average"] for line in lines)
    [line] = shown("estimate", *command, "--processes", "8", "--json")
    kinds = json.loads(line)["kinds"]
    assert list(kinds) == ["full", "attention", "lora"]
    assert kinds["lora"]["total"] < kinds["attention"]["total"] < kinds["full"]["total"]
    assert all(kind["recomputed"]["total"] < kind["total"] for kind in kinds.values())
    assert kinds["full"]["recomputed"]["cards"] == [24, 48, 80]
