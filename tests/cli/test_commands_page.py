"""docs/commands.md is the help of all commands: `UNDERTOW_WRITE_DOCS=1` writes it, otherwise this checks it."""

import os
import sys
from pathlib import Path

import pytest
import typer

from undertow import cli
from undertow.base import write_text
from undertow.tasks import TASKS

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
INTRODUCTION = """# Commands

The help of every command, as `undertow COMMAND --help` prints it; for tasks `--help-all`, because their `--help` shows
only the common options. The options of a task are the fields of its settings: `softmax_scope` in Python is
`--softmax-scope` here, or `--set softmax_scope=window`; `--set` also reaches nested settings, such as
`--set crf.steps=10`.
"""


def names() -> list[tuple[str, ...]]:
    """Every command but most of those of `estimate`, which are the tasks' once more."""
    found: list[tuple[str, ...]] = []
    root = typer.main.get_command(cli.app)
    for name in root.list_commands(None):
        found.append((name,))
        _, command, _ = root.resolve_command(None, [name])
        if name == "estimate":
            found.append((name, "train", "rem"))
        elif hasattr(command, "list_commands"):
            found += [(name, each) for each in command.list_commands(None)]
    return found


@pytest.fixture
def page(monkeypatch, capsys) -> str:
    monkeypatch.setenv("COLUMNS", "100")
    parts = [INTRODUCTION]
    for name in names():
        option = "--help-all" if name[0] in TASKS else "--help"
        monkeypatch.setattr(sys, "argv", ["undertow", *name, option])
        cli.main()
        shown = "\n".join(line.rstrip() for line in capsys.readouterr().out.strip().splitlines())
        parts.append(f"\n## undertow {' '.join(name)}\n\n```text\n{shown}\n```\n")
    return "".join(parts)


def test_the_page_says_what_the_commands_say(page):
    if os.environ.get("UNDERTOW_WRITE_DOCS") == "1":
        write_text(PAGE, page)
    assert PAGE.read_text(encoding="utf-8") == page, "docs/commands.md is stale: run this with UNDERTOW_WRITE_DOCS=1"
