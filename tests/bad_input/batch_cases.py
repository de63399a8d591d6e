"""Bad tables of `undertow batch`; nothing is begun with any of them."""

from .kitchen import Case, Kitchen


def batch(kitchen: Kitchen, table: str | bytes, *more: object, name: str = "clips.csv") -> list[object]:
    path = kitchen.at(name, table)
    return ["batch", path, "--out", kitchen.out, *more]


BATCH = [
    Case("a table that does not exist", lambda k: ["batch", k.folder / "no.csv", "--out", k.out], "is not a file"),
    Case("an empty table", lambda k: batch(k, ""), "has no rows"),
    Case("a table that is a video", lambda k: ["batch", k.clip, "--out", k.out], "clip.mp4"),
    Case("a table with a NUL", lambda k: batch(k, b"clip\na\0b\n"), "holds a NUL"),
    Case("a column that is none", lambda k: batch(k, "clip,maks\na,b\n"), "the nearest is 'mask'"),
    Case("a column that is for all clips", lambda k: batch(k, "clip,cache\na,b\n"), "give --set cache=... instead"),
    Case("two rows with one folder", lambda k: batch(k, "clip,out\na,x\nb,x\n"), "both write to 'x'"),
    Case("a folder in the folder of another row", lambda k: batch(k, "clip,out\na,x\nb,x/y\n"), "inside the run of"),
    Case("a folder outside --out", lambda k: batch(k, "clip,out\na,../x\n"), "leads out of"),
    Case("a clip outside the table's folder", lambda k: batch(k, "clip\n/etc/passwd\n"), "give --root"),
    Case("a setting that is no number", lambda k: batch(k, "clip,tokens\na,few\n"), "tokens is 'few'"),
    Case("a line that is no JSON", lambda k: batch(k, '{"clip": "a"}\n{"clip": \n', name="c.jsonl"), "line 2"),
    Case("--retry where nothing has run", lambda k: batch(k, "clip\na\n", "--retry"), "nothing has failed in"),
    Case("--shard 3/2", lambda k: batch(k, "clip\na\n", "--shard", "3/2"), "shard is 3/2"),
]  # fmt: skip
