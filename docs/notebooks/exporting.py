# %% [markdown]
# # From a run to other tools
#
# A finished run is a folder. undertow reads it frame by frame and exports it to the formats of other tools.

# %%
import tempfile
from pathlib import Path

from PIL import Image

import undertow as ut
from undertow.benchmarks.demo import run_demo
from undertow.drawing import contact_sheet, overlay

folder = Path(tempfile.mkdtemp())
print(run_demo(folder / "demo", frames=10).report)

# %%
run = ut.open_run(folder / "demo" / "run")
print(run.task, run.size, run.fps, len(run.frames))
video = ut.Video(folder / "demo" / "crossing.mp4")
Image.fromarray(contact_sheet([overlay(video[n], run.masks(n)) for n in (0, 4, 8)], columns=3, width=260))

# %% [markdown]
# Scores by frame and object, as rows of a table:

# %%
for row in list(run.scores())[:4]:
    print(row)

# %% [markdown]
# As COCO, checked by reading it back. The same is `undertow export demo/run --to coco --out coco --check`.

# %%
from undertow.export import export

print(export(run, "coco", folder / "coco", check=True))
sorted(path.relative_to(folder).as_posix() for path in (folder / "coco").rglob("*") if path.is_file())
