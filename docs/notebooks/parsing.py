# %% [markdown]
# # Classes for every pixel
#
# One frame is labelled; its classes are carried to all others. Then the same without any labels.

# %%
from PIL import Image

import undertow as ut
from undertow.drawing import contact_sheet, overlay
from undertow.world import make_family_scene

pictures = list(make_family_scene("plain", seed=5, height=135, width=240).clip(frames=9))
frames = [picture.image for picture in pictures]
anchor = pictures[0].labels  # uint16 (h, w): in an anchor, 0 is a class like any other

# %%
parsed = list(ut.parse(frames, anchors={0: anchor}, model="tiny"))
Image.fromarray(contact_sheet([overlay(f, p.labels) for f, p in zip(frames, parsed)][::4], columns=3, width=260))

# %% [markdown]
# The number of pixels of each class, and its confidence: best minus second-best probability.

# %%
for result in parsed[::4]:
    print(result.index, result.areas, {name: round(value, 2) for name, value in result.confidence.items()})

# %% [markdown]
# Without an anchor the model's features are clustered, and clusters keep their ids through the clip.

# %%
clustered = list(ut.parse(frames, model="tiny", settings=ut.ParseSettings(clusters=5)))
Image.fromarray(contact_sheet([overlay(f, p.labels + 1) for f, p in zip(frames, clustered)][::4], columns=3, width=260))
