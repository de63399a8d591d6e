# %% [markdown]
# # Which layer carries motion?
#
# Not every layer of a model follows motion. `analyze` measures each layer on clips with known ground truth and ranks them.

# %%
from undertow import load
from undertow.analysis.analyze import AnalysisSettings, analyze
from undertow.analysis.clips import motion_clips
from undertow.analysis.table import ranked, to_markdown

backbone = load("tiny")
clips = motion_clips(1, frames=4, size=(96, 144))
analysis = analyze(backbone, clips, AnalysisSettings(tokens=216))

# %% [markdown]
# Accuracy is the percentage of points found within 8 pixels on frames scaled to the area of 480x720.

# %%
print(to_markdown(ranked(analysis.rows)[:8]))
