# %% [markdown]
# # Tracking a mask, in Python
#
# A clip is drawn by the procedural world, so that the truth is known; the mask of its first frame is carried to the others.

# %%
import numpy as np
from PIL import Image

import undertow as ut
from undertow.drawing import contact_sheet, overlay
from undertow.world import make_family_scene

pictures = list(make_family_scene("crossing", seed=3, height=135, width=240).clip(frames=12))
frames = [picture.image for picture in pictures]  # uint8 (h, w, 3)
truth = [picture.labels for picture in pictures]  # uint16 (h, w), 0 for the background

# %% [markdown]
# `track` takes any iterable of images and yields a result for each, as it comes.

# %%
results = list(ut.track(frames, mask=truth[0], model="tiny"))
Image.fromarray(contact_sheet([overlay(f, r.labels) for f, r in zip(frames, results)][::3], columns=2, width=360))


# %% [markdown]
# How good it is: intersection over union of each object with the truth.


# %%
def iou(found: np.ndarray, true: np.ndarray) -> float:
    return float((found & true).sum() / max((found | true).sum(), 1))


for result, true in zip(results[::3], truth[::3], strict=True):
    print(result.index, [f"{iou(result.labels == i, true == i):.2f}" for i in np.unique(true) if i])

# %% [markdown]
# What the tracker itself says of a frame: area in pixels, `margin` (how much better the best answer is than the next),
# `presence` (the probability that the object is where the mask says) and `lost`.

# %%
for object_id, score in results[-1].scores.items():
    print(object_id, score)

# %% [markdown]
# Frames that come one at a time are given to a `MaskTracker`. A mask at a later step corrects an object or adds one.

# %%
tracker = ut.MaskTracker("tiny")
for number, frame in enumerate(frames[:6]):
    result = tracker.step(frame, mask={0: truth[0], 4: truth[4]}.get(number))
    print(number, result.scores[1])
