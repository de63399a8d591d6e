"""Semantic classes: sample, task, methods, scoring and datasets."""

#: The datasets by the module that describes them.
DATASETS = {
    "streets": ("camvid", "camvid-32", "cityscapes"),
    "posed": (
        *("davis-2016-parse", "davis-2017-parse", "davis-folders-parse", "clvos-parse"),
        *("world-easy-classes", "world-hard-classes", "world-late-classes"),
    ),
    "vspw": ("vspw", "vspw-stuff"),
}
