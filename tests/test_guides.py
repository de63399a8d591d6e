"""The commands and Python of README and guides: options exist, pictures are there, and the slow test runs every block.

Each page runs in order in a folder of its own, on a short clip: `undertow demo` runs once for all pages, with fewer
frames than by default. Blocks of `text` need a camera, a download or a cluster; their commands are only parsed.
"""

import ast
import re
import shlex
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
import typer

import undertow
from undertow import cli
from undertow.benchmarks.demo import run_demo

ROOT = Path(__file__).parents[1]
GUIDES = [ROOT / "docs/start.md", *sorted((ROOT / "docs/guides").glob("*.md"))]
PAGES = [ROOT / "README.md", *GUIDES]
BLOCK = re.compile(r"^```(bash|python|text)\n(.*?)^```$", re.M | re.S)
# The demonstration exists already; the app waits for a person, and tests/app tests it.
NOT_RUN = {"demo", "app"}


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("guides") / "demo"
    run_demo(folder, frames=8)
    return folder


@pytest.fixture
def folder(demonstration, tmp_path, monkeypatch) -> Path:
    """Returns the folder after `undertow demo --out demo`, with the reader's own files that the README names."""
    (tmp_path / "demo").symlink_to(demonstration)
    for name, target in {"clip.mp4": "crossing.mp4", "first.png": "first.png", "labels.png": "first.png"}.items():
        (tmp_path / name).symlink_to(demonstration / target)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(block: str) -> list[list[str]]:
    """Returns the undertow commands of a block, each as its words, without pipes and comments."""
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
def test_blocks_of_a_page_are_commands_and_python_that_exist(page):
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    found = [words for kind, block in blocks if kind != "python" for words in commands(block)]
    assert found, "a page without a command"
    for words in found:
        parsed(words)
    for kind, block in blocks:
        if kind == "python":
            names_exist(ast.parse(block))


def names_exist(block: ast.Module) -> None:
    """Raises if a block takes a name from undertow that it does not have."""
    for node in ast.walk(block):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("undertow"):
            module = import_module(node.module)
            assert all(hasattr(module, each.name) for each in node.names), ast.unparse(node)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ut":
            assert hasattr(undertow, node.attr), f"ut.{node.attr}"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(page, folder, monkeypatch, capsys):
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


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_a_guide_ends_in_a_picture_and_the_command_that_drew_it(page):
    drawn, last = page.read_text(encoding="utf-8").strip().splitlines()[-2:]
    picture = re.fullmatch(r"!\[(.{10,})\]\((.+)\)", last)
    assert picture, f"{page.name} ends in no picture with a text"
    assert (page.parent / picture[2]).exists(), picture[2]
    assert (page.parent / picture[2]).stat().st_size < 2e6
    command = re.fullmatch(r"<!-- (?:python (\S+)|undertow) .*-->", drawn)
    assert command, f"{page.name} does not say how its picture was drawn"
    assert command[1] is None or (ROOT / command[1]).exists(), command[1]


def test_commands_are_found_in_blocks():
    block = "$ id=$(sbatch x)\nffmpeg -i a - | undertow track - --out 'a b'  # why\nundertow models\n"
    assert commands(block) == [["track", "-", "--out", "a b"], ["models"]]
    with pytest.raises(Exception, match="No such option"):
        parsed(["track", "clip.mp4", "--no-such-option"])
