# %% [markdown]
# # Where does a pixel look?
#
# Everything in undertow stands on one thing: the queries and keys of a frozen model say which places belong together.
# Here they are looked at directly.

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
# A pixel of frame 0, on the first object, asks frame 8: where is what I am? One map per head of the attention, and what
# the kernels of DRIFT, DIFT and raw colour keep of it.

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
