# %% [markdown]
# # Benchmark a method of your own
#
# A method is a function from frames and first masks to masks. Anything that can be written so is measured like
# undertow's own: the official figures, resumable, with paired intervals.

# %%
import tempfile
from pathlib import Path

import numpy as np

from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.core.methods import Method, baseline_method
from undertow.benchmarks.core.runner import run_benchmark

# %% [markdown]
# The method: every pixel goes to the object with the nearest mean colour; a poor idea in a few lines.


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

# %%
folder = Path(tempfile.mkdtemp())
samples = open_dataset("world-easy", folder / "worlds")
outcomes = run_benchmark(samples[:1], [mine, baseline_method("copy")], folder / "out", "lab")
for outcome in outcomes:
    print(f"{outcome.method:15} {outcome.sequence}: J&F {100 * outcome.combined:.1f}")
