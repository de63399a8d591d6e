"""Executes the notebooks and writes a page of each, with its pictures: `python docs/notebooks/build.py [NAME ...]`.

A notebook is a Python file in jupytext's percent format. Its page and pictures are written beside it and are not
committed; `jupytext --to ipynb NAME.py` makes a notebook for Jupyter.
"""

import os
import sys
from pathlib import Path

import jupytext
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

FOLDER = Path(__file__).parent
SECONDS = 600


def build(source: Path) -> Path:
    """Returns the page of a notebook; raises the error of a cell."""
    notebook = jupytext.read(source)
    # Warnings of libraries would show this machine's paths on the page.
    os.environ["PYTHONWARNINGS"] = "ignore"
    client = NotebookClient(notebook, timeout=SECONDS, startup_timeout=SECONDS, kernel_name="python3")
    client.resources = {"metadata": {"path": str(FOLDER)}}
    client.execute()
    page, resources = MarkdownExporter().from_notebook_node(
        notebook, resources={"output_files_dir": f"{source.stem}_files", "unique_key": source.stem}
    )
    (FOLDER / f"{source.stem}_files").mkdir(exist_ok=True)
    for name, content in resources["outputs"].items():
        (FOLDER / name).write_bytes(content)
    made = source.with_suffix(".md")
    link = f"\n\nThis page is the notebook `docs/notebooks/{source.name}`, executed.\n"
    made.write_text(page.replace("![png]", "![what the cell above draws]").rstrip() + link, encoding="utf-8")
    return made


if __name__ == "__main__":
    names = sys.argv[1:]
    for source in sorted(FOLDER.glob("*.py")):
        if source.name != "build.py" and (not names or source.stem in names):
            print(build(source).relative_to(FOLDER.parents[1]), flush=True)
