"""Masks of objects: sample, task, methods and datasets."""

#: The datasets by the module that describes them.
DATASETS = {
    "davis": ("davis-2016", "davis-2017", "davis-folders", "davis-2017-unsupervised"),
    "folders": ("mask-folders", "pumavos", "long-videos", "clvos", "world-easy", "world-hard"),
    "youtube_vos": ("youtube-vos-2018", "youtube-vos-2019"),
}
