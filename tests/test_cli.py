"""The command line as a user meets it: one sentence and an exit code for bad input, files for good input."""

import csv
import json
import os
import threading

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from undertow import cli
from undertow.masks import read_written_map, write_label_map
from undertow.video import write_video
from undertow.world import crossing_scene

FRAMES = 5


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip with spaces")
    scene = crossing_scene(height=96, width=160, frames=24)
    pictures = [scene.picture(float(t)) for t in range(FRAMES)]
    write_video(folder / "clip.mp4", [p.image for p in pictures], fps=24)
    write_label_map(folder / "first.png", pictures[0].labels)
    write_label_map(folder / "third.png", pictures[2].labels)
    return folder


def run(capsys, *arguments):
    """Runs the command line in this process, and returns exit code, standard output and standard error."""
    import sys

    before = sys.argv
    sys.argv = ["undertow", *map(str, arguments)]
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = stop.code or 0
    finally:
        sys.argv = before
    captured = capsys.readouterr()
    return code, captured.out, captured.err


FAST = ("--size", "tokens=960", "--preset", "pixels", "--threads", "2")


def test_track_leaves_a_run_folder(clip, tmp_path, capsys):
    out = tmp_path / "out"
    code, _, _ = run(capsys, "track", clip / "clip.mp4", "--mask", clip / "first.png", "--out", out, *FAST)
    assert code == 0
    assert sorted(p.name for p in out.iterdir()) == [
        "frames.json",
        "masks",
        "masks.json",
        "overlay.mp4",
        "run.json",
        "scores.csv",
    ]
    assert sorted(p.name for p in (out / "masks").iterdir()) == [f"{i:05d}.png" for i in range(FRAMES)]
    first = read_written_map(out / "masks" / "00000.png")
    assert np.array_equal(first, read_written_map(clip / "first.png"))
    with (out / "scores.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 2 * FRAMES and set(rows[0]) == {
        "frame", "time", "object", "area", "margin", "mass", "presence", "lost",
    }  # fmt: skip
    record = json.loads((out / "run.json").read_text())
    assert record["settings"]["preset"]["name"] == "pixels" and record["cues"][0]["mask"].endswith("first.png")
    assert len(record["video"]) == 64

    # The same again changes nothing, and something else is refused with what differs.
    arguments = ("track", clip / "clip.mp4", "--mask", clip / "first.png", "--out", out, *FAST)
    written = (out / "scores.csv").stat().st_mtime_ns
    assert run(capsys, *arguments)[0] == 0 and (out / "scores.csv").stat().st_mtime_ns == written
    code, _, err = run(capsys, *arguments, "--end", "3")
    assert code == 2 and "frames.end was null and is 3" in err and "--overwrite" in err
    assert run(capsys, *arguments, "--end", "3", "--overwrite")[0] == 0
    assert len(list((out / "masks").iterdir())) == 3


def test_a_part_of_a_video_read_through_a_pipe(clip, tmp_path, capsys):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    thread = threading.Thread(target=pipe.write_bytes, args=((clip / "clip.mp4").read_bytes(),))
    thread.start()
    code, _, err = run(
        capsys, "track", pipe, "--mask", clip / "third.png", "--start", "2", "--every", "2", "--out", tmp_path / "o",
        "--size", "tokens=960", "--preset", "pixels",
    )  # fmt: skip
    thread.join()
    assert code == 0 and "2 frames in " in err and " per second" in err
    assert sorted(path.name for path in (tmp_path / "o" / "masks").iterdir()) == ["00002.png", "00004.png"]
    assert (tmp_path / "o" / "overlay.mp4").exists()


def test_points_of_a_pipe_are_refused(clip, tmp_path, capsys):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    thread = threading.Thread(target=pipe.write_bytes, args=((clip / "clip.mp4").read_bytes(),))
    thread.start()
    code, _, err = run(capsys, "points", pipe, "--grid", "2", "--out", tmp_path / "o")
    thread.join()
    assert code == 2 and "comes once; record it to a file" in err and not (tmp_path / "o").exists()


def test_a_run_that_would_not_fit_is_refused(clip, tmp_path, capsys):
    arguments = ("track", clip / "clip.mp4", "--mask", clip / "first.png", "--out", tmp_path / "o")
    code, _, err = run(capsys, *arguments, "--max-memory", "100MB")
    assert code == 4 and "--max-memory allows 100" in err and not (tmp_path / "o").exists()
    code, _, err = run(capsys, *arguments, "--max-memory", "much")
    assert code == 2 and "much" in err


def test_masks_at_frames_and_json_events(clip, tmp_path, capsys):
    mask_at = f"{clip / 'third.png'}@2"
    code, out, _ = run(
        capsys, "track", clip / "clip.mp4", "--mask", clip / "first.png", "--mask", mask_at,
        "--out", tmp_path / "o", "--no-overlay", "--json", *FAST,
    )  # fmt: skip
    assert code == 0
    events = [json.loads(line) for line in out.splitlines()]
    assert events[0] == {"event": "start", "stage": "track", "total": FRAMES}
    assert events[-1]["done"] == FRAMES
    assert np.array_equal(
        read_written_map(tmp_path / "o" / "masks" / "00002.png"), read_written_map(clip / "third.png")
    )
    assert not (tmp_path / "o" / "overlay.mp4").exists()


def test_one_file_per_object(clip, tmp_path, capsys):
    labels = read_written_map(clip / "first.png")
    for number in (1, 2):
        Image.fromarray(((labels == number) * 255).astype(np.uint8)).save(tmp_path / f"thing-{number}.png")
    code, _, _ = run(
        capsys, "track", clip / "clip.mp4", "--mask", tmp_path / "thing-1.png", "--mask", tmp_path / "thing-2.png",
        "--out", tmp_path / "o", "--no-overlay", *FAST,
    )  # fmt: skip
    assert code == 0
    assert np.array_equal(read_written_map(tmp_path / "o" / "masks" / "00000.png"), labels)


def test_rgb_masks_only_on_request_and_the_table_is_printed(clip, tmp_path, capsys):
    labels = read_written_map(clip / "first.png")
    colours = np.array([[0, 0, 0], [10, 200, 30], [250, 20, 20]], np.uint8)
    Image.fromarray(colours[labels]).save(tmp_path / "rgb.png")
    arguments = ("track", clip / "clip.mp4", "--mask", tmp_path / "rgb.png", "--out", tmp_path / "o", "--no-overlay")
    code, _, err = run(capsys, *arguments, *FAST)
    assert code == 2 and "--mask-colors" in err
    code, _, err = run(capsys, *arguments, "--mask-colors", *FAST)
    assert code == 0 and "(10, 200, 30)" in err and "object 1" in err


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda a, d: a.__setitem__(1, d / "absent.mp4"), 2, ["absent.mp4"]),
        (lambda a, d: a.__setitem__(3, d / "absent.png"), 2, ["absent.png"]),
        (lambda a, d: a.__setitem__(3, d / "small.png"), 2, ["small.png", "160x96"]),
        (lambda a, d: a.__setitem__(3, d / "soft.png"), 2, ["soft.png"]),
        (lambda a, d: a.__setitem__(3, f"{d / 'small.png'}@77"), 2, ["77", "0 to 4"]),
        (lambda a, d: a.extend(["--model", "no-such-model"]), 2, ["no-such-model", "tiny"]),
        (lambda a, d: a.extend(["--model", "sd-2.1"]), 3, ["sd-2.1"]),
        (lambda a, d: a.extend(["--size", "huge"]), 2, ["huge", "tokens=N"]),
        (lambda a, d: a.extend(["--size", "101x97"]), 2, ["101x97", "16"]),
        (lambda a, d: a.extend(["--preset", "magic"]), 2, ["magic", "drift"]),
        (lambda a, d: a.extend(["--device", "warp"]), 2, ["warp", "cpu"]),
        (lambda a, d: a.extend(["--threads", "0"]), 2, ["threads"]),
    ],
)
def test_bad_input_is_one_sentence(clip, tmp_path, capsys, monkeypatch, change, code, words):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    Image.fromarray(np.zeros((10, 10), np.uint8)).save(tmp_path / "small.png")
    ramp = np.tile(np.linspace(0, 255, 160).astype(np.uint8), (96, 1))
    Image.fromarray(ramp).save(tmp_path / "soft.png")
    arguments = ["track", clip / "clip.mp4", "--mask", clip / "first.png", "--out", tmp_path / "out"]
    change(arguments, tmp_path)
    got, out, err = run(capsys, *arguments)
    assert got == code, err
    assert out == "" and "Traceback" not in err
    text = " ".join(err.split())
    assert text.startswith("error: ") and all(word in text for word in words), text
    assert not (tmp_path / "out" / "masks").exists()


def test_a_clip_of_one_frame_is_one_and_looks_at_itself(tmp_path, capsys):
    write_video(tmp_path / "one.mp4", [np.full((48, 64, 3), 90, np.uint8)], fps=24)
    words = ("inspect", tmp_path / "one.mp4", "--at", "20,10", "--out", tmp_path / "seen.png", "--size", "tokens=48")
    assert run(capsys, *words)[0] == 0 and (tmp_path / "seen.png").exists()
    code, _, err = run(capsys, *words, "--to", "1")
    assert code == 2 and "has no frame 1; it has 1 frame, number 0" in err
    parse = ("parse", tmp_path / "one.mp4", "--out", tmp_path / "out", "--size", "tokens=48", "--clusters", "2")
    code, _, err = run(capsys, *parse, "--views", "none")
    assert code == 0 and "1 frame in " in err


def test_models_are_listed(capsys):
    code, out, _ = run(capsys, "models")
    assert code == 0 and all(name in out for name in ("tiny", "sd-2.1", "sd-1.5"))


def test_snapshots_are_whole_numbers(tmp_path, capsys):
    arguments = ("train", "embedded", "tiny", "--work", tmp_path / "work", "--out", tmp_path / "out")
    code, _, err = run(capsys, *arguments, "--snapshots", "10,many")
    assert code == 2 and "10,many" in err and "500,1000" in err
    assert not (tmp_path / "work").exists()


def test_help_names_every_command():
    result = CliRunner().invoke(cli.app, ["--help"])
    assert result.exit_code == 0
    for name in ("track", "demo", "inspect", "estimate", "models", "doctor", "bench", "train"):
        assert name in result.output


def test_help_shows_square_brackets():
    # Rich takes [@F] for a style and leaves it out.
    for command, shown in (("track", "FILE[@F]"), ("parse", "FILE[@F]"), ("points", "N[@F]")):
        assert shown in CliRunner().invoke(cli.app, [command, "--help"]).output


def test_interruption_has_its_own_code(monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.entry, "app", stop)
    code, _, err = run(capsys, "models")
    assert code == 130 and "interrupted" in err
