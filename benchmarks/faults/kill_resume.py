"""Kills runs at random moments: does the same command end as one that was left alone, and another without harm?

    python benchmarks/faults/kill_resume.py --task track --runs 100

Tasks are `track`, `both` (`track` with masks of later frames, which are carried both ways), `parse`, `points`,
`correct` (a mask added to a finished run of `track`), `add` (a point added to a finished run of `points`), `bench`, and
`train` (`undertow train rem`).
Two thirds of the runs are killed (SIGKILL) at a step of writing: before or after
data reach the disk, a file is renamed, removed or made, or in the middle of a line of the journal. The others are
killed at a random time. Half are killed twice. Then

* half of them are continued by the same command, and have to hold what a run holds that was left alone;
* of the others the same folder is given to another command (other cues, settings or task, or `--overwrite`), which has
  to end as it does in a folder of its own, or with a refusal, after which the first command has to get its result.

Files are compared by SHA-256, videos by their decoded frames. Needs fork (Linux or macOS).
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from undertow.backbones import Backbone, load
from undertow.base import UndertowError
from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.core.methods import make_methods
from undertow.benchmarks.core.runner import run_benchmark
from undertow.benchmarks.core.sample import EvaluationProtocol
from undertow.masks import write_label_map
from undertow.parsing import ParseSettings
from undertow.points import PointSettings
from undertow.runs import Folder, execute, read_cue
from undertow.tasks import TASKS
from undertow.tracking import TrackSettings, backward
from undertow.training.rem.recipe import train_rem
from undertow.training.rem.settings import RemSettings
from undertow.training.rem.worlds import World
from undertow.video import Clip, Video, write_video
from undertow.world import crossing_scene

FRAMES, SIZE = 6, (32, 48)
REFUSED, WRONG = 2, 1


@cache
def tiny() -> Backbone:
    """Returns the model, which forked processes share."""
    return load("tiny")


@dataclass(frozen=True)
class Command:
    """One call of a task's command.

    Attributes:
        task: Its name.
        cues: Kinds and texts.
        settings: Of the task.
        overwrite: Whether to replace what is there.
    """

    task: str
    cues: tuple[tuple[str, str], ...]
    settings: Any
    overwrite: bool = False

    def __call__(self, out: Path) -> None:
        """Runs it in this process, with the clip of the working directory."""
        task = TASKS[self.task]
        with Video("clip.mp4") as video:
            clip, backbone = Clip(video), tiny()
            given = task.gather([read_cue(*cue, clip) for cue in self.cues], clip, lambda: backbone, self.settings)
            execute(
                task, out, clip, given, backbone, self.settings,
                views=task.views[:1], overwrite=self.overwrite, state_seconds=0,
            )  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """One call of `undertow bench run`."""

    baselines: tuple[str, ...] = ("copy",)
    stride: int = 1
    overwrite: bool = False

    def __call__(self, out: Path) -> None:
        """Runs it in this process, with the dataset of the working directory."""
        methods = make_methods(["tiny"], baselines=self.baselines, device="cpu")
        protocol = EvaluationProtocol("small", stride=self.stride, tokens=60)
        samples = open_dataset("mask-folders", "data")
        run_benchmark(samples, methods, out, protocol, keep=True, overwrite=self.overwrite, threads=1)


@dataclass(frozen=True)
class Train:
    """One call of `undertow train rem`, with the folder of checkpoints beside the model."""

    steps: int = 6
    overwrite: bool = False

    def __call__(self, out: Path) -> None:
        """Runs it in this process."""
        if self.overwrite:
            shutil.rmtree(out, ignore_errors=True)
        settings = RemSettings(
            steps=self.steps, batch=2, image_batch=2, frames=3, size=(SIZE[1], SIZE[0]), rate=1e-3, warmup=1,
            bfloat16=False,
        )  # fmt: skip
        source = World(count=3, frames=3, size=SIZE)
        train_rem("tiny-video", [source], out / "work", out / "model", settings, save_every=2, device="cpu")


FIRST = ("mask", "0.png")
TRACK = Command("track", (FIRST,), TrackSettings(tokens=60, batch=2))
CORRECT = replace(TRACK, cues=(FIRST, ("mask", "2.png@2")))
BOTH = replace(TRACK, cues=(("mask", "2.png@2"), ("mask", "4.png@4")))
PARSE = Command("parse", (("anchor", "0.png"),), ParseSettings(tokens=60, batch=2))
POINTS = Command("points", (("grid", "2"), ("point", "20,20@3")), PointSettings(tokens=60, batch=2))
ADD = replace(POINTS, cues=(*POINTS.cues, ("point", "30,9@5")))
# Of each task: what was there before, what is killed, and what else the folder is given to.
PLANS: dict[str, tuple[Any, Any, tuple[Any, ...]]] = {
    "track": (None, TRACK, (CORRECT, replace(TRACK, settings=TrackSettings(tokens=96)), POINTS)),
    "both": (None, BOTH, (replace(BOTH, cues=(*BOTH.cues, FIRST)), replace(BOTH, overwrite=True), POINTS)),
    "parse": (None, PARSE, (replace(PARSE, cues=(("anchor", "2.png@2"),)), replace(PARSE, cues=()), TRACK)),
    "points": (None, POINTS, (ADD, replace(POINTS, cues=(("grid", "3"),)), PARSE)),
    "correct": (TRACK, CORRECT, (TRACK, replace(TRACK, cues=(FIRST, ("mask", "4.png@4"))), PARSE)),
    "add": (POINTS, ADD, (POINTS, replace(POINTS, cues=(*POINTS.cues, ("point", "9,9@4"))), TRACK)),
    "bench": (None, Bench(), (Bench(("copy", "farneback")), Bench(stride=2))),
    "train": (None, Train(), (Train(steps=4),)),
}


def write_inputs(folder: Path) -> None:
    """Writes a clip, masks of some frames, and two sequences with all masks."""
    scene = crossing_scene(height=SIZE[0], width=SIZE[1], frames=24)
    pictures = [scene.picture(float(index)) for index in range(FRAMES)]
    write_video(folder / "clip.mp4", [picture.image for picture in pictures], fps=24)
    for index in (0, 2, 4):
        write_label_map(folder / f"{index}.png", pictures[index].labels)
    for name, chosen in {"one": pictures[:3], "two": pictures[3:]}.items():
        (folder / "data" / name / "frames").mkdir(parents=True)
        for index, picture in enumerate(chosen):
            Image.fromarray(picture.image).save(folder / "data" / name / "frames" / f"{index:05d}.png")
            write_label_map(folder / "data" / name / "masks" / f"{index:05d}.png", picture.labels)


def die() -> None:
    """Ends this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_write(number: int) -> None:
    """Makes this process kill itself at its n-th step of writing."""
    left = [number]

    def step() -> None:
        left[0] -= 1
        if left[0] == 0:
            die()

    def stepped(function: Callable[..., Any]) -> Callable[..., Any]:
        def around(*words: Any, **options: Any) -> Any:
            step()
            done = function(*words, **options)
            step()
            return done

        return around

    for name in ("fsync", "replace", "unlink", "mkdir", "rmdir"):
        setattr(os, name, stepped(getattr(os, name)))
    note = Folder.note

    def stepped_note(self: Folder, result: Any, line: Any) -> None:
        journal = self._journal
        assert journal is not None

        class HalfLine:
            """A journal that may die with half a line written."""

            def write(self, line: str) -> int:
                left[0] -= 1
                if left[0] == 0:
                    journal.write(line[: len(line) // 2])
                    journal.flush()
                    die()
                return journal.write(line)

            def __getattr__(self, name: str) -> Any:
                return getattr(journal, name)

        self._journal = HalfLine()  # type: ignore[assignment]
        try:
            note(self, result, line)
        finally:
            self._journal = journal

    Folder.note = stepped_note  # type: ignore[method-assign]


def in_child(command: Callable[[Path], None], out: Path, kill_after: float | None = None, kill_at: int = 0) -> int:
    """Runs a command in a forked process, perhaps killing it, and returns its exit code, or the signal below zero."""
    child = os.fork()
    if child == 0:
        code = WRONG
        try:
            if kill_at:
                die_at_write(kill_at)
            command(out)
            code = 0
        except UndertowError as error:
            code = REFUSED if "\n" not in str(error) else WRONG
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def contents(out: Path) -> dict[str, str]:
    """Returns what a folder holds: digests by name, without the times and history of benchmarks and trainings."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_dir() or name == "manifest.json":
            continue
        data = path.read_bytes()
        if path.suffix == ".mp4":
            with Video(path) as video:
                data = b"".join(frame.image.tobytes() for frame in video)
        elif b'"undertow benchmark outcome' in data:
            data = json.dumps(json.loads(data) | {"seconds": []}).encode()
        elif path.name == "steps.jsonl":
            data = json.dumps([json.loads(line) | {"seconds": 0} for line in data.splitlines()]).encode()
        found[name] = hashlib.sha256(data).hexdigest()
    return found


class Sweep:
    """Kills of one task's command, in a folder of inputs that is the working directory."""

    def __init__(self, task: str, chance: random.Random) -> None:
        self.before, self.command, others = PLANS[task]
        self.others = [replace(each, overwrite=o) for each in (self.command, *others) for o in (False, True)][1:]
        self.chance, self.ends, self.kills = chance, Counter[str](), Counter[str]()
        begun = time.monotonic()
        self.expected = [self.alone(self.command)]
        self.seconds = time.monotonic() - begun
        self.known = {each: [self.alone(each, self.before), self.alone(each, None)] for each in self.others}
        # A folder that the killed command had completed is amended by some of the others.
        for each in self.others:
            self.known[each].append(self.alone(each, self.before, self.command))

    def alone(self, command: Any, *before: Any) -> dict[str, str] | None:
        """Returns what a command leaves behind in a folder of its own; `None` if it refuses."""
        with tempfile.TemporaryDirectory() as place:
            out = Path(place) / "out"
            for each in before or (self.before,):
                assert each is None or in_child(each, out) == 0
            code = in_child(command, out)
            assert code in (0, REFUSED), f"{command} ended with {code}"
            return None if code else contents(out)

    def run(self, out: Path, original: Path | None) -> str:
        """Returns how one killed run ended."""
        if original is not None:
            shutil.copytree(original, out)
        for _ in range(self.chance.choice((1, 2))):
            if self.chance.random() < 2 / 3:
                code = in_child(self.command, out, kill_at=self.chance.randrange(1, 200))
            else:
                code = in_child(self.command, out, kill_after=self.chance.uniform(0, self.seconds))
            self.kills["killed" if code == -signal.SIGKILL else "ended before"] += 1
        if self.chance.random() < 0.5:
            return self.compared(self.command, out, self.expected, "the same command")
        other = self.chance.choice(self.others)
        code = in_child(other, out)
        if code == REFUSED:
            return self.compared(self.command, out, self.expected, "the same command after a refusal of another")
        return self.compared(other, out, self.known[other], "another command", code)

    def compared(self, command: Any, out: Path, allowed: list[dict[str, str] | None], what: str, code: int = 0) -> str:
        """Returns what came of a command, "equal" at the end if it is what is allowed."""
        code = code or in_child(command, out)
        found = contents(out)
        if code == 0 and found in allowed:
            return f"{what}: equal"
        nearest: dict[str, str] = next((each for each in allowed if each is not None), {})
        unlike = [name for name in {**nearest, **found} if nearest.get(name) != found.get(name)]
        print(f"{out.name}: {command} exit {code}, differs in {unlike}", file=sys.stderr, flush=True)
        return f"{what}: WRONG"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=PLANS, default="track")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    # As often as possible, like the states of runs.
    backward.STATE_SECONDS = 0
    tiny()
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        write_inputs(Path())
        sweep = Sweep(asked.task, random.Random(asked.seed))
        original = None
        if sweep.before is not None:
            original = Path("original").absolute()
            assert in_child(partial(sweep.before), original) == 0
        for number in range(asked.runs):
            out = Path(f"run-{number}").absolute()
            sweep.ends[sweep.run(out, original)] += 1
            shutil.rmtree(out, ignore_errors=True)
    print(f"{asked.task}: {asked.runs} runs, kills: {dict(sweep.kills)}; {dict(sweep.ends)}")
    sys.exit(any("WRONG" in end for end in sweep.ends))


if __name__ == "__main__":
    main()
