"""What the guides tell people to type: every option is there, every picture, and the slow test types all of it.

Pages are followed in order, each in a folder of its own, on a short clip: `undertow demo` is done once for all, with
fewer frames than people get. Blocks of `text` need a camera, a download or a cluster; their commands are only parsed.
"""

import re
import shlex
import sys
from pathlib import Path

import click
import pytest
import typer

from undertow import cli
from undertow.benchmarks.demo import run_demo

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs/start.md", *sorted((ROOT / "docs/guides").glob("*.md"))]
BLOCK = re.compile(r"^```(bash|python|text)\n(.*?)^```$", re.M | re.S)
# The demonstration is there; a page in the browser waits for a person, and what it answers is tested in tests/app.
NOT_RUN = {"demo", "app"}


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("guides") / "demo"
    run_demo(folder, frames=8)
    return folder


@pytest.fixture
def folder(demonstration, tmp_path, monkeypatch) -> Path:
    """Where a reader is after `undertow demo --out demo`."""
    (tmp_path / "demo").symlink_to(demonstration)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(block: str) -> list[list[str]]:
    """Returns the commands of undertow in a block, each as its words: what a pipe feeds, and comments, are left out."""
    lines = block.replace("\\\n", " ").splitlines()
    found = [re.search(r"(?:^|[|$] ?|srun )(undertow .*)", line) for line in lines]
    return [shlex.split(each[1], comments=True)[1:] for each in found if each]


def parsed(words: list[str]) -> None:
    """Raises a usage error if there is no such command or option."""
    command = typer.main.get_command(cli.app)
    context = click.Context(command, info_name="undertow")
    while words and hasattr(command, "resolve_command"):
        _, command, words = command.resolve_command(context, words)
        context = click.Context(command, info_name=command.name, parent=context)
    command.make_parser(context).parse_args(args=[word for word in words if not word.startswith("$")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_of_a_guide_exist_with_their_options(page):
    found = [words for kind, block in BLOCK.findall(page.read_text(encoding="utf-8")) for words in commands(block)]
    assert found, "a guide without a command"
    for words in found:
        parsed(words)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_guide_does_what_it_says(page, folder, monkeypatch, capsys):
    for kind, block in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "python":
            exec(compile(block, f"{page.name}", "exec"), {"__name__": "guide"})
            continue
        for words in commands(block):
            if kind == "bash" and words[0] not in NOT_RUN:
                monkeypatch.setattr(sys, "argv", ["undertow", *words])
                code = 0
                try:
                    cli.main()
                except SystemExit as stop:
                    code = stop.code
                assert not code, f"undertow {shlex.join(words)}\n{capsys.readouterr().err}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_guide_ends_in_a_picture_that_is_there(page):
    last = page.read_text(encoding="utf-8").strip().splitlines()[-1]
    picture = re.fullmatch(r"!\[(.{10,})\]\((.+)\)", last)
    assert picture, f"{page.name} ends in no picture with a text"
    assert (page.parent / picture[2]).exists(), picture[2]


def test_commands_are_found_in_blocks():
    block = "$ id=$(sbatch x)\nffmpeg -i a - | undertow track - --out 'a b'  # why\nundertow models\n"
    assert commands(block) == [["track", "-", "--out", "a b"], ["models"]]
    with pytest.raises(Exception, match="No such option"):
        parsed(["track", "clip.mp4", "--no-such-option"])
