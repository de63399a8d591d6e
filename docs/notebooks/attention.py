# %% [markdown]
# # What does a pixel attend to?
#
# Everything in undertow rests on one fact: the queries and keys of a frozen model show which places belong together.
# This page draws them.

# %%
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import undertow as ut
from undertow.drawing import inspection_sheet
from undertow.masks import resize_nearest
from undertow.tracking import TrackSettings, inspect
from undertow.world import crossing_scene

folder = Path(tempfile.mkdtemp())
pictures = list(crossing_scene().clip(frames=9))
height, width = pictures[0].labels.shape
with ut.VideoWriter(folder / "clip.mp4", fps=24, width=width, height=height) as writer:
    for picture in pictures:
        writer.write(picture.image)

# %% [markdown]
# A pixel on the first object in frame 0 is matched with frame 8: one map per head of the attention, and the weights that
# the kernels of DRIFT, DIFT and raw colour keep.

# %%
video = ut.Video(folder / "clip.mp4")
backbone = ut.load("tiny", sites="track")
seen = inspect(video, (88.0, 168.0), 0, 8, backbone, TrackSettings(tokens=900))
Image.fromarray(inspection_sheet(seen.source, seen.target, seen.at, seen.maps, titles=("frame 0", "frame 8")))

# %% [markdown]
# The same as numbers: the share of each map that falls on the object itself, in the true mask of frame 8.

# %%
truth = pictures[8].labels
for title, weights in seen.maps:
    inside = resize_nearest(truth, weights.shape) == 1
    print(f"{float(weights[inside].sum() / np.maximum(weights.sum(), 1e-9)):5.0%}  {title}")
