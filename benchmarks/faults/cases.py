"""Runs small inputs on which the right behaviour is known, and prints case / expected / got / ok.

    python benchmarks/faults/cases.py FOLDER [NAME...]

FOLDER holds a folder per case. Exits with 1 if one fails. Cases that this script does not know are listed as such.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from undertow.backbones import locate
from undertow.base import VideoError
from undertow.masks import object_ids, read_label_map
from undertow.video import Video, open_stream

SECONDS = 240


@dataclass(frozen=True)
class Case:
    """What to do with a case's folder (and an empty one), and what has to come of it.

    Attributes:
        expected: In words.
        run: Returns what came, or raises AssertionError with it.
    """

    expected: str
    run: Callable[[Path, Path], str]


def program(*words: object, cwd: Path | None = None) -> tuple[int, str]:
    """Returns exit code and output of a program, which may take `SECONDS`; a traceback is a failure."""
    try:
        done = subprocess.run(
            [str(word) for word in words], capture_output=True, text=True, timeout=SECONDS, cwd=cwd, check=False
        )
    except subprocess.TimeoutExpired:
        raise AssertionError(f"no end after {SECONDS} s") from None
    said = (done.stdout + done.stderr).strip()
    assert "Traceback" not in said and "itself failed" not in said, said[-300:]
    return done.returncode, said


def undertow(*words: object) -> tuple[int, str]:
    """Returns exit code and output of the command line."""
    return program(sys.executable, "-m", "undertow", *words)


def refused(code: int, *words: str) -> Callable[[tuple[int, str]], str]:
    """Returns a check that a command ended with a code and a sentence with these words."""

    def check(result: tuple[int, str]) -> str:
        assert result[0] == code and all(word in result[1] for word in words), f"{result[0]}: {result[1][-300:]}"
        return f"{result[0]}: {result[1][-90:]}"

    return check


def bits(image: np.ndarray) -> int:
    """Returns the number that a frame shows in its top quarter."""
    height, block = image.shape[0] // 4, image.shape[1] // 10
    columns = [image[2 : height - 2, block * (k + 1) + block // 4 : block * (k + 2) - block // 4] for k in range(8)]
    return sum(int(column.mean() > 128) << k for k, column in enumerate(columns))


def shows(numbers: range | None, *names: str, count: int | None = None) -> Callable[[Path, Path], str]:
    """Returns a check that files show these numbers, in order, by number and through a pipe."""

    def run(case: Path, out: Path) -> str:
        for name in names:
            with Video(case / name) as video:
                frames = list(video)
                found = [bits(frame.image) for frame in frames]
                wanted = list(numbers) if numbers is not None else sorted(found)
                assert found == wanted, f"{name}: {found}"
                assert count is None or len(found) == count, f"{name}: {len(found)} frames"
                times = [frame.time for frame in frames]
                assert times == sorted(set(times)), f"{name}: times {times}"
            with Video(case / name, cache_frames=1) as video:
                for frame in reversed(frames):
                    assert np.array_equal(video[frame.index], frame.image), f"{name}: frame {frame.index} differs"
            try:
                with open_stream(case / name) as stream:
                    piped = [(frame.index, frame.time, bits(frame.image)) for frame in stream]
            except VideoError as error:
                assert "index at the end" in str(error), error
            else:
                assert piped == [(f.index, f.time, n) for f, n in zip(frames, found, strict=True)], f"{name}: pipe"
        return f"{len(found)} frames"

    return run


def chain(*checks: Callable[[Path, Path], str]) -> Callable[[Path, Path], str]:
    """Returns all checks as one."""
    return lambda case, out: "; ".join(check(case, out) for check in checks)


def mask(name: str, ids: list[int], pixels: int | None = None, **options: bool) -> Callable[[Path, Path], str]:
    """Returns a check of the objects in a mask."""

    def run(case: Path, out: Path) -> str:
        labels = read_label_map(case / name, **options)
        found = object_ids(labels)
        assert found == ids and pixels in (None, np.count_nonzero(labels)), (found, np.count_nonzero(labels))
        return f"objects {found[:3]}"

    return run


def damaged(case: Path, out: Path) -> str:
    """Stops at the damaged frame and says how to go on; with the option, goes on."""
    square = np.zeros((64, 96), np.uint16)
    square[20:36, 20:36] = 1
    with Video(case / "bad_h.mp4") as video:
        try:
            list(video)
        except VideoError as error:
            assert "frame 10" in str(error) and "--skip-damaged" in str(error), error
        else:
            raise AssertionError("went on")
    with Video(case / "bad_h.mp4", skip_damaged=True) as video:
        found = [frame.index for frame in video]
    assert found == [number for number in range(24) if number != 10], found
    return "stops at 10; 23 with --skip-damaged"


def fork(case: Path, out: Path) -> str:
    """A forked worker answers."""
    script = (case / "frk.py").read_text().replace("CLIP.mp4", str(case / "plain.mp4"))
    (out / "frk.py").write_text(script)
    _, said = program(sys.executable, out / "frk.py")
    assert "(64, 96, 3)" in said or "process" in said, said
    return said


def given(case: Path, out: Path) -> str:
    """Masks as tensor and Pillow image are taken by the tracker's check."""
    import torch
    from PIL import Image

    from undertow.tracking.sequence import check_masks

    image = Image.open(case / "first.png")
    with Video(case / "plain.mp4") as video:
        for each in (image, torch.from_numpy(np.array(image))):
            assert object_ids(check_masks(video, {0: each})[0]) == [1]
    return "both are read"


def command(code: int, *words: object, says: tuple[str, ...] = ()) -> Callable[[Path, Path], str]:
    """Returns a check of a command in which CASE and OUT stand for the two folders."""

    def run(case: Path, out: Path) -> str:
        filled = [str(word).replace("CASE", str(case)).replace("OUT", str(out / "run")) for word in words]
        clip = case.parent / "tensor-or-pillow-as-mask"
        return refused(code, *says)(undertow(*[each.replace("CLIP", str(clip)) for each in filled]))

    return run


def in_a_copy(code: int, *words: object, says: tuple[str, ...] = ()) -> Callable[[Path, Path], str]:
    """Returns a check of a command that works in a copy of the case, of which nothing but the run may change."""

    def run(case: Path, out: Path) -> str:
        copy = out / case.name
        shutil.copytree(case, copy)
        for root, folders, files in os.walk(copy):
            for name in [*folders, *files]:
                os.chmod(os.path.join(root, name), 0o755)
        os.chmod(copy, 0o755)
        before = {path: path.read_bytes() for path in copy.iterdir() if path.is_file()}
        clip = case.parent / "tensor-or-pillow-as-mask"
        filled = [str(word).replace("CASE", str(copy)).replace("CLIP", str(clip)) for word in words]
        got = refused(code, *says)(undertow(*[each.replace("OUT", str(out / "out")) for each in filled]))
        assert all(path.read_bytes() == data for path, data in before.items()), "a file outside the run changed"
        return got

    return run


def model_with(case: Path, out: Path) -> Path:
    """Returns a folder with the embedded `tiny` in which the case's files have taken the place of its own."""
    model = out / "model"
    shutil.copytree(locate("tiny").path, model)
    for path in case.rglob("*"):
        if path.is_file() and path.name != "EXPECT.txt":
            shutil.copyfile(path, model / path.relative_to(case))
    return model


def with_model(code: int, *words: object, says: tuple[str, ...] = ()) -> Callable[[Path, Path], str]:
    """Returns a check of a command with such a model."""
    return lambda case, out: command(code, *words, "--model", model_with(case, out), says=says)(case, out)


def traversal(case: Path, out: Path) -> str:
    """A list of videos that leads out of its folder is refused, and nothing but the case is there afterwards."""
    tree = out / "tree" / "vspw"
    (tree / "data").mkdir(parents=True)
    shutil.copyfile(case / "val.txt", tree / "val.txt")
    shutil.copytree(case / "evilv", out / "evilv")
    before = sorted(out.rglob("*"))
    got = refused(2)(undertow("bench", "run", "vspw", "--root", tree, "--models", "", "--out", out / "run"))
    strays = [
        path for path in sorted(out.rglob("*")) if path not in before and out / "run" not in (path, *path.parents)
    ]
    assert not strays, strays
    return got


def odd_frame_name(case: Path, out: Path) -> str:
    """A frame whose file name is not UTF-8 is read or refused in a sentence."""
    frames = out / "frames"
    frames.mkdir()
    for index in range(3):
        Image.new("RGB", (96, 64), (index, 9, 9)).save(frames / f"{index}.png")
    os.rename(frames / "0.png", os.fsencode(frames) + b"/\xff0.png")
    words = ("track", frames, "--mask", case.parent / "tensor-or-pillow-as-mask" / "first.png", "--out", out / "run")
    code, said = undertow(*words)
    assert code in (0, 2), said[-300:]
    return f"{code}: {said[-90:]}"


TRACK = ("track", "CLIP/plain.mp4", "--mask", "CLIP/first.png", "--out", "OUT")
CASES = {
    "b-frames-without-offsets": Case(
        "24 frames in order (22 in mp4)",
        chain(shows(range(24), "ptsdts.mkv", "ptsdts.ts"), shows(None, "ptsdts.mp4", count=22)),
    ),
    "field-pair-ts": Case("16 frames in order", shows(range(16), "paff.h264", "paff_pes.ts")),
    "high-speed-webm": Case("24 frames in order", shows(range(24), "dup.webm", "hs.webm")),
    "joined-ts-same-times": Case("48 frames in order", shows(range(48), "cat.ts")),
    "size-changes-midway": Case("24 frames of one size", shows(range(24), "resize.ts", "resize.webm")),
    "raw-dv-m2v-m4v": Case("24 frames each", shows(range(24), "x.m2v", "x.m4v")),
    "one-damaged-picture": Case("an option goes on past frame 10", damaged),
    "open-video-in-forked-worker": Case("an answer at once", fork),
    "network-address-as-video": Case(
        "the ffmpeg pipe to use",
        command(
            2, "track", "rtsp://127.0.0.1:9/x", "--mask", "CLIP/first.png", "--out", "OUT",
            says=("'rtsp://127.0.0.1:9/x' is an address", "ffmpeg"),
        ),
    ),
    "indexed-mask-white-first": Case("the square is the object", mask("quant_bw.png", [1], 256)),
    "grey-ids-saved-as-rgb": Case(
        "objects 3 and 5", chain(mask("grey3ch53.png", [3, 5]), mask("grey3ch53.png", [3, 5], mask_colors=True))
    ),
    "three-hundred-small-objects": Case("ids 1 to 300", mask("n300.png", list(range(1, 301)))),
    "tensor-or-pillow-as-mask": Case("both work", given),
    "card-recent-minus-1": Case("exit 2", command(2, *TRACK, "--model", "CASE/card.json", says=("recent",))),
    "model-scheduler-timesteps--1": Case(
        "exit 3, names the file", with_model(3, *TRACK, says=("scheduler_config.json",))
    ),
    "model-tokenizer-files-not-JSON": Case(
        "exit 3, names the file", with_model(3, *TRACK[:2], *TRACK[4:], "--text", "dog", says=("tokenizer",))
    ),
    "names-split-1e9": Case(
        "exit 2", command(2, "parse", "CLIP/plain.mp4", "--names", "CASE/names.json", "--out", "OUT")
    ),
    "render-labels-json-traversal": Case(
        "exit 2, nothing outside the run",
        in_a_copy(2, "parse", "CASE/clip.mp4", "--out", "CASE/pr", "--render", "--views", "none"),
    ),
    "run-json-cues-null": Case(
        "exit 2, names run.json",
        in_a_copy(2, "track", "CLIP/plain.mp4", "--mask", "CLIP/first.png", "--out", "CASE/run", says=("run.json",)),
    ),
    "sequence-name-dollar": Case(
        "exit 0",
        command(
            0, "bench", "run", "davis-folders", "--root", "CASE/h1", "--models", "", "--baselines", "copy",
            "--out", "OUT",
        ),
    ),
    "path-traversal-vspw-val-txt": Case("exit 2, nothing outside --out", traversal),
    "frame-name-not-utf8.txt": Case("exit 0 or a sentence", odd_frame_name),
}  # fmt: skip


def main() -> int:
    """Runs the cases; returns the exit code."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    folder, *names = sys.argv[1:]
    failed = 0
    for case in sorted(path for path in Path(folder).iterdir() if path.name != "README.md"):
        if names and case.name not in names:
            continue
        if case.name not in CASES:
            print(f"{case.name} | - | not known to this script | -", flush=True)
            continue
        with tempfile.TemporaryDirectory() as out:
            try:
                got, ok = CASES[case.name].run(case, Path(out)), True
            except Exception as error:
                got, ok = f"{type(error).__name__}: {error}", False
        failed += not ok
        print(f"{case.name} | {CASES[case.name].expected} | {json.dumps(got)} | {'ok' if ok else 'FAILS'}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
