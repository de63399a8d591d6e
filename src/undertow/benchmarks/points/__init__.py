"""Tracks of points: sample, task, methods and datasets."""

#: The datasets by the module that describes them.
DATASETS = {
    "badja": ("badja", "badja-folders"),
    "photographs": ("photo-pairs",),
    "tapvid": ("tapvid-davis", "tapvid-rgb-stacking", "tapvid-kinetics", "robotap"),
    "worlds": ("world-easy-points", "world-hard-points"),
}
