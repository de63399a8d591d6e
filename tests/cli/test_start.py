"""Starting is cheap: what shows help or a version imports none of the large libraries."""

import subprocess
import sys

import pytest
import typer

from undertow import __version__
from undertow.cli.entry import COMMANDS, app
from undertow.tasks import TASKS

LARGE = {"torch", "diffusers", "transformers", "numpy", "PIL", "av", "huggingface_hub", "rich"}


def started(*arguments: str) -> tuple[int, str, set[str]]:
    """Runs the command line in a fresh process; returns its exit code, its output and the large libraries it has."""
    code = (
        "import sys, atexit; sys.argv = ['undertow', *sys.argv[1:]]\n"
        f"atexit.register(lambda: print(sorted({LARGE!r} & sys.modules.keys()), file=sys.stderr))\n"
        "from undertow.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, set(eval(done.stderr.splitlines()[-1]))


def test_the_version_is_shown_without_any_large_library():
    assert started("--version") == (0, f"undertow {__version__}\n", set())


@pytest.mark.parametrize(
    "arguments",
    ["--help", "-h", "models -h", "bench run -h", "demo --help", "estimate -h", "estimate track -h", "inspect -h",
     *(f"{task} --help" for task in TASKS), *(f"{task} --help-all" for task in TASKS)],
)  # fmt: skip
def test_help_is_shown_without_any_large_library(arguments):
    code, shown, large = started(*arguments.split())
    assert code == 0 and "Usage: undertow" in shown and not large


def test_help_lists_all_commands_and_each_is_there():
    _, shown, _ = started("--help")
    for name, line in COMMANDS.items():
        assert f"  {name} " in shown and line in shown
        _, command, _ = typer.main.get_command(app).resolve_command(None, [name])
        assert command.name == name and command.help


def test_the_module_can_be_run():
    done = subprocess.run([sys.executable, "-m", "undertow", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"undertow {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_options(shell, monkeypatch):
    monkeypatch.setenv("_UNDERTOW_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    for line, wanted in (("undertow mod", "models"), ("undertow models fetch --rev", "--revision")):
        monkeypatch.setenv("COMP_WORDS" if shell == "bash" else "_TYPER_COMPLETE_ARGS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - 1))
        done = subprocess.run([sys.executable, "-m", "undertow"], capture_output=True, text=True, check=False)
        assert wanted in done.stdout, done
