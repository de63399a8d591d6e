"""Runs as they were: each that was completed is kept by links to its files, so that it can be put back.

The files of a run are replaced and never rewritten, so that a link keeps what was there at no cost.
"""

import os
import shutil
from pathlib import Path


def keep(run: Path, folder: Path) -> None:
    """Keeps a run as it is in a folder of its own."""
    temporary = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(run, temporary, copy_function=_link, ignore=shutil.ignore_patterns(".*"))
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def put_back(folder: Path | None, run: Path) -> None:
    """Makes a run what it was when it was kept in a folder; without one, nothing stays of it."""
    old = run.with_name(f".{run.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder is not None:
        new = run.with_name(f".{run.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        shutil.copytree(folder, new, copy_function=_link)
    if run.exists():
        run.rename(old)
    if folder is not None:
        new.rename(run)
    shutil.rmtree(old, ignore_errors=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
