"""docs/commands.md is what the commands say of themselves; `UNDERTOW_WRITE_DOCS=1` writes it, without it must be so."""

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

What every command says of itself: `undertow COMMAND --help`, or `--help-all` of tasks, whose `--help` shows what is
used every day. Options of a task are the fields of its settings: `softmax_scope` in Python is `--softmax-scope` here,
or `--set softmax_scope=window`; `--set` also reaches settings within settings, such as `--set crf.steps=10`.
"""


def names() -> list[tuple[str, ...]]:
    """Every command but those of `estimate`, which are the tasks' once more."""
    found: list[tuple[str, ...]] = []
    root = typer.main.get_command(cli.app)
    for name in root.list_commands(None):
        found.append((name,))
        _, command, _ = root.resolve_command(None, [name])
        if name != "estimate" and hasattr(command, "list_commands"):
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
