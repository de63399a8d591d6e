# %% [markdown]
# # Benchmark a method of your own
#
# A method is a function from frames and first masks to masks. undertow measures any such function like its own methods:
# with the official metrics, resumable, with paired intervals.

# %%
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from undertow import write_label_map
from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.core.methods import Method, baseline_method
from undertow.benchmarks.core.runner import run_benchmark
from undertow.world import make_family_scene

# %% [markdown]
# The method: every pixel goes to the object with the nearest mean colour, a poor method in a few lines.


# %%
def nearest_colour(images, cues):
    """Yields for every image the object of the nearest mean colour, pixel by pixel."""
    labels, means = None, {}
    for place, image in enumerate(images):
        if place in cues:
            labels = cues[place]
            means = {i: image[labels == i].mean(axis=0) for i in np.unique(labels)}
        else:
            distance = np.stack([((image - mean) ** 2).sum(axis=-1) for mean in means.values()])
            labels = np.array(list(means), np.uint16)[distance.argmin(axis=0)]
        yield labels


mine = Method("nearest-colour", lambda protocol: nearest_colour, {"version": 1})

# %% [markdown]
# The data: two clips in the layout of `mask-folders`, a folder of frames and one of masks each. Real datasets, and the
# twelve clips of `world-easy`, are opened by name in the same way.

# %%
folder = Path(tempfile.mkdtemp())
for family in ("crossing", "fast"):
    for part in ("frames", "masks"):
        (folder / "clips" / family / part).mkdir(parents=True)
    for number, picture in enumerate(make_family_scene(family, seed=1, height=135, width=240).clip(frames=10)):
        Image.fromarray(picture.image).save(folder / "clips" / family / "frames" / f"{number:05d}.png")
        write_label_map(folder / "clips" / family / "masks" / f"{number:05d}.png", picture.labels)

# %%
samples = open_dataset("mask-folders", folder / "clips")
outcomes = run_benchmark(samples, [mine, baseline_method("copy"), baseline_method("dis")], folder / "out")
for outcome in outcomes:
    print(f"{outcome.method:15} {outcome.sequence:12} J&F {100 * outcome.combined:.1f}")
