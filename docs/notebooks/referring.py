# %% [markdown]
# # Referring to an object by a sentence
#
# `tiny-words` is a text-to-image model of a few million parameters that ships with undertow. It has seen pictures like
# the one below and little else: it finds many colours and some shapes in plain scenes, and it cannot read most
# sentences. This page shows both. [Referring](../referring.md#tiny-words) has the measurements; a published model takes
# the same calls.

# %%
from dataclasses import replace

import numpy as np
from PIL import Image

import undertow as ut
from undertow.drawing import contact_sheet, heat, overlay
from undertow.grounding import Grounder, make_proposer
from undertow.world.calm import calm_scene

scene = calm_scene(513, (192, 256))
drift = (1.5, -0.5, 0, 0, 0)  # x and y in pixels per frame; size, angle and sway stay
things = tuple(replace(thing, path=replace(thing.path, velocity=drift)) for thing in scene.things)
pictures = list(replace(scene, things=things).clip(frames=10))
frames = [picture.image for picture in pictures]  # uint8 (h, w, 3)
truth = [picture.labels for picture in pictures]  # uint16 (h, w), 0 for the background
print(scene.caption)
Image.fromarray(contact_sheet(frames[::3], columns=4, width=200))

# %% [markdown]
# ## From a word to a mask
#
# A `Grounder` runs the model once per sentence on the noised picture. Every word has an attention map over the picture.
# Stop words are dropped, and the maps of the other words are added. The segmenter, here GrabCut, cuts a mask out around
# the peak.

# %%
model = ut.load("tiny-words")
grounder = Grounder(model, scene.size, propose=make_proposer(None, model.device))


def look(*texts: str) -> Image.Image:
    """Draws the heat map and the mask of each sentence."""
    panels, captions = [], []
    for sight in grounder.look(frames[0], *texts):
        panels += [heat(sight.heat.numpy()), overlay(frames[0], sight.mask.astype(np.uint16))]
        captions += [sight.expression.text, f"its mask (contrast {sight.contrast:.1f})"]
    return Image.fromarray(contact_sheet(panels, 2, captions, width=320))


look("the green square")

# %% [markdown]
# Each word has a map of its own; `fate` is why it counts or not. "green" also lights up the teal object: the two words
# together find the square.

# %%
(sight,) = grounder.look(frames[0], "the green square")
tokens = [token for token in sight.tokens if token.text and token.fate != "magnet"]
captions = [f"{token.text}: {token.fate}" for token in tokens]
Image.fromarray(contact_sheet([heat(token.map.numpy()) for token in tokens], 4, captions, width=200))

# %% [markdown]
# ## A sentence that fails
#
# "rightmost" and "largest" are words about all objects at once, and the model does not understand them. It still answers,
# with the wrong object and a higher contrast than before. So contrast does not tell right from wrong here: with
# `tiny-words`, always look at the mask.

# %%
look("the rightmost object", "the largest object")

# %% [markdown]
# ## Through the clip
#
# `ut.refer` looks at a few frames of the clip, keeps the mask of the clearest one, and tracks it in both directions.
# Here `tiny-refer`, which was [fine-tuned to answer](../referring-trained.md#tiny-refer), reads the sentence and `tiny` tracks.

# %%
results = list(ut.refer(frames, ["the green square", "the purple object"], model="tiny"))
Image.fromarray(contact_sheet([overlay(f, r.labels) for f, r in zip(frames, results)][::3], columns=4, width=240))

# %% [markdown]
# Intersection over union with the object that the sentence means, in the last frame:


# %%
def iou(found: np.ndarray, true: np.ndarray) -> float:
    return float((found & true).sum() / max((found | true).sum(), 1))


for number, text in enumerate(("the green square", "the purple object"), 1):
    best = max(iou(results[-1].labels == number, truth[-1] == each) for each in np.unique(truth[-1]) if each)
    print(f"{text}: {best:.2f} with the object that fits best")
