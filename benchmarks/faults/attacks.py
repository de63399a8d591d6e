"""Files of strangers, given to the command line: names that lead elsewhere and numbers that are far too large.

    python benchmarks/faults/attacks.py names     # does anything appear or change outside --out?
    python benchmarks/faults/attacks.py counts    # does all end within 20 s and 1 GB more than an idle undertow?

Every command runs in a process of its own, in a folder of its own that also holds what names point at. It has to
succeed or to end with one sentence. Exits with 1 if one does not.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import pickle
import resource
import shutil
import struct
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from pkgutil import walk_packages

import numpy as np
from PIL import Image

import undertow
from undertow import cli
from undertow.masks import write_label_map
from undertow.video import write_video

# Of the processor, and on the clock, where the machine may be busy: whoever waits that long waits for good.
SECONDS, WAITING = 20, 900
MEMORY = 1 << 30
HEIGHT, WIDTH = 32, 48
NAMES = [
    "../evil", "../../evil", "a/../../evil", "/tmp/undertow-evil", "..", ".", "", "a/", "./a", "evil\0", "..\\evil",
    "C:\\evil", "\\\\host\\evil",
    "a" * 256, "é" * 200, "．．/evil", "‥", "․․/evil", "$HOME", "$(touch evil)", "`touch evil`",
    "|touch evil", "a;touch evil", "<script>alert(1)</script>", "~/evil", "-rf", "--out", "evil\n", "\x1b[31mevil",
    "\u202eevil", "%2e%2e/evil", ".hidden", ".lock", "run.json", "CON", "a\u0000/evil", "\ud800", "a\udcff",
]  # fmt: skip


@dataclass(frozen=True)
class Attack:
    """One command with hostile input.

    Attributes:
        name: What it is.
        prepare: Makes the input in a folder and returns the command's words; OUT stands for the folder to write to.
    """

    name: str
    prepare: Callable[[Path], list[str]]


def sequence(folder: Path, *, named: str = "a", frames: int = 3) -> Path:
    """Writes frames and masks of a video as DAVIS has them, under a name if the file system takes it."""
    for index in range(frames):
        image = np.random.default_rng(index).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        labels = np.zeros((HEIGHT, WIDTH), np.uint16)
        labels[4:20, 4 + index : 20 + index] = 1
        for kind, suffix in (("JPEGImages/480p", ".png"), ("Annotations/480p", ".png")):
            path = folder / kind / "a" / f"{index:05d}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind.startswith("J"):
                Image.fromarray(image).save(path)
            else:
                write_label_map(path, labels)
    for kind in ("JPEGImages", "Annotations"):
        if named != "a" and not named.startswith("/"):
            try:
                shutil.copytree(folder / kind / "480p" / "a", os.path.join(folder / kind / "480p", named))
            except (OSError, ValueError):
                continue
    return folder


def clip(folder: Path, frames: int = 4) -> list[str]:
    """Writes a clip and the mask of its first frame; returns the words that track it."""
    pictures = [np.random.default_rng(9).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)] * frames
    write_video(folder / "clip.mp4", pictures, fps=8)
    labels = np.zeros((HEIGHT, WIDTH), np.uint16)
    labels[4:20, 4:20] = 1
    write_label_map(folder / "first.png", labels)
    return ["track", "clip.mp4", "--mask", "first.png", "--size", "tokens=60", "--out", "OUT"]


def text(path: Path, value: str) -> None:
    """Writes text, half of a surrogate pair as UTF-8 has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(value.encode("utf-8", "surrogatepass"))


@cache
def template(task: str) -> tuple[tempfile.TemporaryDirectory[str], list[str]]:
    """Makes a complete run once, in a folder that is deleted at the end; returns the words that made it, too."""
    place = tempfile.TemporaryDirectory()
    folder = Path(place.name) / "work"
    folder.mkdir()
    words = clip(folder)
    if task == "parse":
        words = ["parse", "clip.mp4", "--anchor", "first.png", "--size", "tokens=60", "--out", "OUT"]
    code, said = attempt(words, folder)
    assert code == 0, said
    return place, words


def complete_run(folder: Path, task: str) -> list[str]:
    """Copies a complete run to OUT and returns the words that made it."""
    place, words = template(task)
    shutil.copytree(Path(place.name) / "work", folder, dirs_exist_ok=True)
    return list(words)


def name_attacks() -> Iterator[Attack]:
    """Yields names in lists, tables, run folders and folders of frames, and links in run folders."""
    bench = ["--models", "", "--baselines", "copy", "--keep", "--out", "OUT"]

    def in_list(name: str) -> Callable[[Path], list[str]]:
        def prepare(folder: Path) -> list[str]:
            text(sequence(folder / "data", named=name) / "ImageSets/2017/val.txt", f"a\n{name}\n")
            return ["bench", "run", "davis-2017", "--root", "data", *bench]

        return prepare

    def in_meta(name: str) -> Callable[[Path], list[str]]:
        def prepare(folder: Path) -> list[str]:
            split = folder / "data" / "valid"
            sequence(split, named=name)
            for kind in ("JPEGImages", "Annotations"):
                for each in (split / kind / "480p").iterdir():
                    each.rename(split / kind / each.name)
            facts = {"objects": {"1": {"category": name, "frames": ["00000", "00001", "00002"]}}}
            text(split / "meta.json", json.dumps({"videos": {"a": facts, name: facts}}))
            return ["bench", "run", "youtube-vos-2018", "--root", "data", *bench]

        return prepare

    def as_frame(name: str) -> Callable[[Path], list[str]]:
        def prepare(folder: Path) -> list[str]:
            words = clip(folder)
            source = sequence(folder / "data") / "JPEGImages/480p/a"
            try:
                os.rename(source / "00001.png", f"{source}/{name}.png")
            except (OSError, ValueError):
                return ["--version"]
            return ["track", str(source), *words[2:]]

        return prepare

    def in_labels(name: str) -> Callable[[Path], list[str]]:
        def prepare(folder: Path) -> list[str]:
            complete_run(folder, "parse")
            path = folder / "out" / "labels.json"
            labels = json.loads(path.read_text())
            labels["frames"][1]["name"] = name
            text(path, json.dumps(labels))
            ids = [row["id"] for row in labels["source"]]
            rows = [{"id": number, "name": name, "merge": ids[:1]} for number in ids]
            text(folder / "names.json", json.dumps({"format": "undertow names", "classes": rows}))
            return ["parse", "clip.mp4", "--out", "OUT", "--render"]

        return prepare

    def in_record(name: str) -> Callable[[Path], list[str]]:
        def prepare(folder: Path) -> list[str]:
            words = complete_run(folder, "track")
            path = folder / "out" / "run.json"
            record = json.loads(path.read_text())
            text(path, json.dumps(record | {"files": [*record["files"], name, f"{name}/*.png"]}))
            return [*words, "--overwrite"]

        return prepare

    def amended(name: str) -> Callable[[Path], list[str]]:
        def prepare(folder: Path) -> list[str]:
            words = complete_run(folder, "track")
            staging = folder / "out" / ".amendment"
            staging.mkdir()
            shutil.copyfile(folder / "out" / "run.json", staging / "run.json")
            text(staging / "ready.json", json.dumps({"outdated": [name, "overlay.mp4"]}))
            return words

        return prepare

    def linked(name: str, *, finished: bool, to_folder: bool) -> Callable[[Path], list[str]]:
        def prepare(folder: Path) -> list[str]:
            words = complete_run(folder, "track")
            path = folder / "out" / name
            if not finished:
                record = json.loads((folder / "out" / "run.json").read_text())
                text(folder / "out" / "run.json", json.dumps(record | {"complete": None}))
            if path.is_dir():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
            path.symlink_to(folder / ("elsewhere" if to_folder else "evil"))
            return [*words, "--mask", "first.png@2"] if finished else words

        return prepare

    for name in NAMES:
        shown = ascii(name)[:30]
        yield Attack(f"list of sequences: {shown}", in_list(name))
        yield Attack(f"meta.json: {shown}", in_meta(name))
        if "/" not in name and "\0" not in name and name not in ("", ".", ".."):
            yield Attack(f"frame: {shown}", as_frame(name))
        yield Attack(f"labels.json: {shown}", in_labels(name))
        yield Attack(f"run.json: {shown}", in_record(name))
        yield Attack(f"amendment: {shown}", amended(name))
    for name in ("masks", ".lock", ".journal.jsonl", "state.safetensors", "scores.csv", "overlay.mp4", ".amendment"):
        for finished in (False, True):
            for to_folder in (False, True):
                state, target = "finished" if finished else "unfinished", "folder" if to_folder else "file"
                kind = f"{state} run, {name} a link to a {target}"
                yield Attack(kind, linked(name, finished=finished, to_folder=to_folder))


def png_of(width: int, height: int) -> bytes:
    """Returns a PNG that says it is of a size, and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")
    )


class Evil:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch evil-by-pickle",)


def count_attacks() -> Iterator[Attack]:
    """Yields numbers without measure in names, cards, masks, points, pickles, JSON, options and model folders."""
    huge = (10**9, 10**18, 10**400, -1, 1e308)

    def names(field: str, value: object) -> Callable[[Path], list[str]]:
        def prepare(folder: Path) -> list[str]:
            clip(folder)
            row = {"id": 1, "name": "a", "colour": "#ff0000", field: value}
            text(folder / "names.json", json.dumps({"format": "undertow names", "classes": [row]}))
            text(folder / "bare.json", json.dumps([row]))
            return ["parse", "clip.mp4", "--names", "names.json", "--size", "tokens=60", "--out", "OUT"]

        return prepare

    def model(file: str, field: str, value: object) -> Callable[[Path], list[str]]:
        def prepare(folder: Path) -> list[str]:
            from undertow.backbones import locate

            words = clip(folder)
            shutil.copytree(locate("tiny").path, folder / "model")
            path = folder / "model" / file
            text(path, json.dumps(json.loads(path.read_text()) | {field: value}))
            return [*words, "--model", "model"]

        return prepare

    def mask(width: int, height: int) -> Callable[[Path], list[str]]:
        def prepare(folder: Path) -> list[str]:
            words = clip(folder)
            (folder / "first.png").write_bytes(png_of(width, height))
            return words

        return prepare

    def option(*words: str) -> Callable[[Path], list[str]]:
        return lambda folder: [*clip(folder), *words]

    def points(*words: str) -> Callable[[Path], list[str]]:
        def prepare(folder: Path) -> list[str]:
            clip(folder)
            return ["points", "clip.mp4", "--size", "tokens=60", "--out", "OUT", *words]

        return prepare

    def pickled(data: bytes) -> Callable[[Path], list[str]]:
        def prepare(folder: Path) -> list[str]:
            (folder / "data").mkdir()
            (folder / "data" / "tapvid_davis.pkl").write_bytes(data)
            return [
                "bench",
                "run",
                "tapvid-davis",
                "--root",
                "data",
                "--models",
                "",
                "--baselines",
                "stay",
                "--out",
                "OUT",
            ]

        return prepare

    def deep(name: str, opening: str) -> Callable[[Path], list[str]]:
        def prepare(folder: Path) -> list[str]:
            words = clip(folder)
            text(folder / name, opening * 200_000)
            if name == "names.json":
                return ["parse", "clip.mp4", "--names", name, "--size", "tokens=60", "--out", "OUT"]
            if name == "out/run.json":
                return words
            if name == "card.json":
                return [*words, "--model", name]
            sequence(folder / "data" / "valid")
            return [
                "bench",
                "run",
                "youtube-vos-2018",
                "--root",
                "data",
                "--models",
                "",
                "--baselines",
                "copy",
                "--out",
                "OUT",
            ]

        return prepare

    for value in huge:
        shown = "1e400" if value == 10**400 else f"{value:.3g}"
        yield Attack(f"names.json: split {shown}", names("split", value))
        for file, field in (
            ("unet/config.json", "layers_per_block"),
            ("unet/config.json", "cross_attention_dim"),
            ("scheduler/scheduler_config.json", "num_train_timesteps"),
            ("text_encoder/config.json", "vocab_size"),
            ("vae/config.json", "layers_per_block"),
        ):
            yield Attack(f"{file}: {field} {shown}", model(file, field, value))
    for width, height in ((1 << 30, 1 << 30), (60_000, 60_000), ((1 << 31) - 1, 1), (1, (1 << 31) - 1)):
        yield Attack(f"mask of {width}x{height}", mask(width, height))
    for words in (
        ("--size", "tokens=1000000000"), ("--size", "9999999x9999999"), ("--mask", "first.png@999999999999999999"),
        ("--start", "99999999999"), ("--every", "1000000000"), ("--batch", "1000000000"),
        ("--set", "kernel.topk=999999999"),
    ):  # fmt: skip
        yield Attack(f"track {' '.join(words)}", option(*words))
    for words in (("--grid", "99999"), ("--grid", "99999999"), ("--point", "1e999,5"), ("--point", f"{'9' * 400},5")):
        yield Attack(f"points {' '.join(words)[:30]}", points(*words))
    bombs = {
        "that runs a command": pickle.dumps({"a": Evil()}),
        "of memo bombs": b"\x80\x04" + b"]\x94" + b"h\x00a" * 50_000 + b".",
        "of a huge length": b"\x80\x04B\xff\xff\xff\x7f.",
        "of a long integer": b"\x80\x04\x8b\xff\xff\xff\x7f.",
        "of deep lists": b"\x80\x04" + b"]" * 200_000 + b"a" * 199_999 + b".",
        "cut short": pickle.dumps({"a": list(range(9999))})[:500],
        "of nothing": b"",
        "of a frame that lies": b"\x80\x04\x95" + b"\xff" * 8 + b".",
    }
    for kind, data in bombs.items():
        yield Attack(f"pickle {kind}", pickled(data))
    for name in ("names.json", "out/run.json", "card.json", "data/valid/meta.json"):
        for opening in ("[", '{"a":'):
            yield Attack(f"{name} {opening * 3}...", deep(name, opening))


# Every process is a fork of one that has imported everything and done nothing else: starting takes no time, and nothing
# is passed from one command to the next. That one is a program of its own, without threads, which forks would lose.
FORKS = multiprocessing.get_context("forkserver")
MODULES = [module.name for module in walk_packages(undertow.__path__, "undertow.") if "__" not in module.name]
LIBRARIES = ["diffusers.models.unets.unet_2d_condition", "transformers.models.clip.modeling_clip", "scipy.sparse"]
FORKS.set_forkserver_preload(["__main__", *LIBRARIES, *MODULES])


def command(words: list[str], folder: Path, limited: bool) -> None:
    """Runs the command line in this process, which gets so much time and, if limited, so much memory more."""
    output = os.open(folder.parent / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    if limited:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    sys.argv = ["undertow", *words]
    cli.main()


def attempt(words: list[str], folder: Path, limited: bool = False) -> tuple[int, str]:
    """Returns exit code and output of a command in a folder; a code below zero if it was killed, say by a limit."""
    typed = [str(folder / "out") if word == "OUT" else word for word in words]
    child = FORKS.Process(target=command, args=(typed, folder, limited))
    child.start()
    child.join(WAITING)
    if child.is_alive():
        child.kill()
        child.join()
    said = folder.parent / "said"
    text = said.read_text(errors="replace") if said.exists() else ""
    said.unlink(missing_ok=True)
    return child.exitcode or 0, text[-3000:]


def outside(folder: Path) -> dict[str, str]:
    """Returns everything in a folder but OUT, and what names could point at beside it."""
    found = {}
    for root, folders, files in os.walk(folder.parent):
        folders[:] = [each for each in folders if os.path.join(root, each) != str(folder / "out")]
        for name in (*folders, *files):
            path = os.path.join(root, name)
            data = b"" if not os.path.isfile(path) else Path(path).read_bytes()
            found[path] = hashlib.sha256(data).hexdigest()
    found |= {str(path): "there" for path in Path("/tmp").glob("undertow-evil*")}
    return found


def result(attack: Attack, limited: bool) -> str:
    """Returns how an attack ended: "succeeded" or "refused", or what is wrong."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "work"
        (folder / "elsewhere").mkdir(parents=True)
        text(folder / "evil", "mine")
        text(folder / "elsewhere" / "00000.png", "mine")
        words = attack.prepare(folder)
        before = outside(folder)
        code, said = attempt(words, folder, limited)
        after = outside(folder)
    changed = [path.replace(place, "") for path in {**before, **after} if before.get(path) != after.get(path)]
    if changed:
        return f"CHANGED {changed[:3]}"
    if "Traceback" in said or "itself failed" in said or code not in (0, 2, 3, 4):
        return f"EXIT {code}: {said[-200:]}"
    errors = [line for line in said.splitlines() if line.startswith("error:")]
    if code and len(errors) != 1:
        return f"SAID {said[-200:]}"
    return "refused" if code else "succeeded"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("names", "counts"))
    parser.add_argument("--every", type=int, default=1, help="only every n-th")
    parser.add_argument("--only", default="", help="only those whose description has this text")
    parser.add_argument("--start", type=int, default=0, help="number of the first")
    parser.add_argument("--list", action="store_true")
    asked = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    attacks = list(name_attacks() if asked.kind == "names" else count_attacks())
    attacks = [each for each in attacks[asked.start :: asked.every] if asked.only in each.name]
    ends = Counter[str]()
    for attack in attacks:
        end = result(attack, limited=asked.kind == "counts")
        ends[end if end in ("succeeded", "refused") else "wrong"] += 1
        if asked.list or end not in ("succeeded", "refused"):
            print(f"{attack.name}: {end}", flush=True)
    print(f"{asked.kind}: {len(attacks)} attacks: {', '.join(f'{count} {end}' for end, count in ends.items())}")
    sys.exit(ends["wrong"] > 0)


if __name__ == "__main__":
    main()
