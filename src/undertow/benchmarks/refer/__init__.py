"""Referring expressions: sample, task, methods, scoring and datasets."""

#: The datasets by the module that describes them.
DATASETS = {
    "burst": ("burst",),
    "davis": ("davis-expressions", "ref-davis17"),
    "expressions": ("mevis", "ref-vps", "ref-youtube-vos"),
    "processes": ("world-process",),
    "refcoco": ("refcoco", "refcoco+", "refcocog"),
    "worlds": ("world-refer", "world-refer-videos"),
}
