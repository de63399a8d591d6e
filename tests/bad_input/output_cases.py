"""Places where results cannot go, and results that must not be overwritten."""

from .kitchen import Case, Kitchen

ABOUT = '"task": "track", "video": "0123", "model": "tiny", "settings": {}, "cues": [], "files": ["masks/*.png"]'
RUN = f'{{"format": "undertow run", "version": 2, {ABOUT}, "complete": {{"masks/*.png": 1}}}}'


def finished(kitchen: Kitchen) -> Kitchen:
    """A folder that looks like a finished run."""
    kitchen.at("out/run.json", RUN)
    kitchen.at("out/masks/00000.png", kitchen.mask.read_bytes())
    kitchen.at("out/masks.json", "[]")
    kitchen.at("out/scores.csv", "frame,time,object,area,margin,mass\n")
    return kitchen


def holiday(kitchen: Kitchen) -> Kitchen:
    """A folder of the user's own."""
    kitchen.at("out/holiday.jpg", b"precious")
    return kitchen


def link_to_nowhere(kitchen: Kitchen) -> Kitchen:
    (kitchen.folder / "out").symlink_to(kitchen.folder / "gone" / "further")
    return kitchen


def bad_then_overwrite(kitchen: Kitchen) -> list[object]:
    return finished(kitchen).track("--overwrite", mask=kitchen.folder / "no.png")


def earlier_run(kitchen: Kitchen) -> Kitchen:
    kitchen.at("out/run.json", RUN.replace('"version": 2', '"version": 1').replace('"cues": []', '"cues": null'))
    return kitchen


def damaged_run(kitchen: Kitchen) -> Kitchen:
    kitchen.at("out/run.json", RUN.replace('"cues": []', '"cues": null'))
    return kitchen


def foreign_run(kitchen: Kitchen) -> Kitchen:
    kitchen.at("out/run.json", '{"format": "a run of something else"}')
    return kitchen


def broken_run(kitchen: Kitchen) -> Kitchen:
    kitchen.at("out/run.json", b"\xff\xfe{")
    return kitchen


CASES = [
    Case("--out is a file", lambda k: k.track(out=k.at("out", "a file")), "is a file"),
    Case("--out under a file", lambda k: k.track(out=k.at("file", "a file") / "out"), "file"),
    Case("--out holds other files", lambda k: holiday(k).track(), "holds files that are not a run"),
    Case("--out holds other files, --overwrite", lambda k: holiday(k).track("--overwrite"), "are not a run"),
    Case("--out holds a finished run", lambda k: finished(k).track(), "already holds another run"),
    Case("--out holds a run of an earlier version", lambda k: earlier_run(k).track(), "in its run.json"),
    Case("--out holds a run with a damaged run.json", lambda k: damaged_run(k).track(), "run.json' is damaged"),
    Case("--out holds a run of another program", lambda k: foreign_run(k).track("--overwrite"), "are not a run"),
    Case("--out holds a broken run.json", lambda k: broken_run(k).track("--overwrite"), "are not a run"),
    Case("a finished run, --overwrite, but no mask", bad_then_overwrite, "no.png'"),
    Case(
        "a finished run, --overwrite, but no such preset",
        lambda k: finished(k).track("--overwrite", "--preset", "foo"),
        "foo",
    ),
    Case("--out where the system makes no folders", lambda k: k.track(out="/proc/undertow"), "'/proc/undertow'"),
    Case("--out is a device", lambda k: k.track(out="/dev/full"), "'/dev/full'"),
    Case("--out on /sys", lambda k: k.track(out="/sys/undertow"), "'/sys/undertow'"),
    Case("--out is a link to nowhere", lambda k: link_to_nowhere(k).track(), "out'"),
    Case("--out with a name of 300 letters", lambda k: k.track(out=k.folder / ("o" * 300)), "the name is too long"),
    Case("--out with a zero byte", lambda k: k.track(out=k.folder / "o\0o"), ""),
]
