# %% [markdown]
# # Tracking a mask, in Python
#
# The procedural world draws a clip with ground truth, and the tracker carries the mask of the first frame to the others.

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
# `track` takes any iterable of images and yields a result for each.

# %%
results = list(ut.track(frames, mask=truth[0], model="tiny"))
Image.fromarray(contact_sheet([overlay(f, r.labels) for f, r in zip(frames, results)][::3], columns=2, width=360))


# %% [markdown]
# Intersection over union of each object with the ground truth:


# %%
def iou(found: np.ndarray, true: np.ndarray) -> float:
    return float((found & true).sum() / max((found | true).sum(), 1))


for result, true in zip(results[::3], truth[::3], strict=True):
    print(result.index, [f"{iou(result.labels == i, true == i):.2f}" for i in np.unique(true) if i])

# %% [markdown]
# The tracker's own scores of a frame: area in pixels, `margin` (how much better the best label is than the next),
# `presence` (the probability that the object is where its mask is) and `lost`.

# %%
for object_id, score in results[-1].scores.items():
    print(object_id, score)

# %% [markdown]
# A `MaskTracker` takes one frame at a time. A mask at a later step corrects an object or adds one.

# %%
tracker = ut.MaskTracker("tiny")
for number, frame in enumerate(frames[:6]):
    result = tracker.step(frame, mask={0: truth[0], 4: truth[4]}.get(number))
    print(number, result.scores[1])
