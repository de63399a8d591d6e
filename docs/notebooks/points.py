# %% [markdown]
# # Following points
#
# The procedural world knows the track of every point of its surfaces, so the error can be measured in pixels.

# %%
import numpy as np
from PIL import Image

import undertow as ut
from undertow.drawing import contact_sheet
from undertow.drawing.tracks import draw_tracks, point_colours
from undertow.points import mask_points
from undertow.world import make_family_scene, point_tracks

scene = make_family_scene("crossing", seed=3, height=135, width=240)
times = range(0, 36, 3)
frames = [scene.picture(time).image for time in times]

# %% [markdown]
# Points are x, y in pixels of the first frame; here about a hundred of them lie on the objects.

# %%
points = np.asarray(mask_points(scene.labels(0)))[:, -2:]
found = ut.track_points(frames, points, model="tiny")
found.tracks.shape, found.visibility.shape

# %%
size = frames[0].shape[:2]
colours = point_colours(points, size)
drawn = [draw_tracks(f, found.tracks, found.visibility, t, colours) for t, f in enumerate(frames)]
Image.fromarray(contact_sheet(drawn[::5], columns=3, width=260))

# %%
true, visible = point_tracks(scene, points, times=times)
error = np.linalg.norm(found.tracks - true, axis=-1)[visible]
print(f"median error {np.median(error):.1f} px; within 4 px: {(error < 4).mean():.0%}")
still = np.linalg.norm(points[:, None] - true, axis=-1)[visible]
print(f"standing still would have {np.median(still):.1f} px; {(still < 4).mean():.0%}")
