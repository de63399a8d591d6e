"""Parsing runs that are interrupted and go on, are named, edited and drawn anew, and are estimated."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from undertow.base import CueError, MaskError, SettingsError, SilentProgress
from undertow.masks import VOID, read_written_map
from undertow.parsing import ParseSettings, parse
from undertow.parsing.anchors import gather, given_anchors
from undertow.parsing.job import ParseJob, render_again
from undertow.parsing.naming import ClassEntry, NameTable
from undertow.parsing.settings import resolve_parse
from undertow.parsing.task import TASK
from undertow.runs import execute, read_cue
from undertow.runs.estimate import estimate
from undertow.video import Clip, Video
from undertow.world import crossing_scene

FRAMES = 7
FAST = ParseSettings(method="vidseg", tokens=240, batch=2, clusters=4)


@pytest.fixture(scope="module")
def scene():
    """Images of a short clip, and the class map of its first frame: class 0 is the ground, 300 an object."""
    drawn = crossing_scene(height=48, width=80, frames=24)
    pictures = [drawn.picture(float(index)) for index in range(FRAMES)]
    labels = pictures[0].labels.copy()
    labels[labels == 2] = 300
    labels[:4, :4] = VOID
    return np.stack([picture.image for picture in pictures]), labels


def parse_into(out, video, anchors, backbone, settings, views=TASK.views[:1], **options):
    """Parses into a folder with an overlay; returns the folder."""
    return execute(TASK, out, video, given_anchors(video, anchors), backbone, settings, views=views, **options).path


class StopAt(SilentProgress):
    """Interrupts when a frame is done, or when a stage begins."""

    def __init__(self, frame=None, stage=None):
        self.at, self.stage = frame, stage

    def start(self, stage, total):
        if stage == self.stage:
            raise KeyboardInterrupt

    def advance(self, units=1, **facts):
        if self.at is not None and facts.get("frame") == self.at:
            raise KeyboardInterrupt


def contents(out):
    """Everything a run holds, with videos by their frames."""
    found = {}
    for path in sorted(out.rglob("*")):
        if path.suffix == ".mp4":
            with Video(path) as video:
                found[path.name] = [(frame.time, frame.image.tobytes()) for frame in video]
        elif path.is_file():
            found[str(path.relative_to(out))] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def whole(scene, tiny_like, tmp_path_factory):
    images, labels = scene
    out = tmp_path_factory.mktemp("whole") / "out"
    parse_into(out, Video(images, fps=24), {0: labels}, tiny_like, FAST)
    return out


def test_a_run_holds_what_parsing_yields(scene, tiny_like, whole):
    images, labels = scene
    results = list(parse(Video(images, fps=24), {0: labels}, tiny_like, FAST))
    table = json.loads((whole / "labels.json").read_text())
    assert [row["name"] for row in table["frames"]] == [result.name for result in results]
    for result in results:
        np.testing.assert_array_equal(read_written_map(whole / "masks" / f"{result.name}.png"), result.labels)
    for row in table["classes"]:
        assert row["areas"] == [int((result.labels == row["id"]).sum()) for result in results]
        assert row["pixels"] == sum(row["areas"])
        sure = [result.confidence.get(row["id"], 0.0) for result in results]
        np.testing.assert_allclose(row["confidences"], sure, atol=1e-6)
        assert row["confidence"] == pytest.approx(np.average(sure, weights=row["areas"]), abs=2e-6)
    assert [(row["id"], row["name"]) for row in table["classes"]] == [
        (0, "class 0"),
        (1, "class 1"),
        (300, "class 300"),
    ]
    # More than 255 ids need 16 bits.
    with Image.open(whole / "masks" / "00000.png") as image:
        assert image.mode.startswith("I;16")
    with Video(whole / "overlay.mp4") as overlay:
        assert len(overlay) == FRAMES and overlay.height > images.shape[1]


@pytest.mark.parametrize("stop", [StopAt(frame=1), StopAt(frame=4), StopAt(stage="draw")], ids=["1", "4", "draw"])
def test_an_interrupted_run_becomes_what_it_would_have_been(scene, tiny_like, tmp_path, whole, stop):
    images, labels = scene
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        parse_into(out, Video(images, fps=24), {0: labels}, tiny_like, FAST, progress=stop, state_seconds=0)
    assert (out / ".journal.jsonl").exists() and not (out / "overlay.mp4").exists()
    parse_into(out, Video(images, fps=24), {0: labels}, tiny_like, FAST)
    assert contents(out) == contents(whole)


def test_a_complete_run_is_left_alone_and_another_is_refused(scene, tiny_like, tmp_path, whole):
    images, labels = scene
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.is_file()}
    parse_into(whole, Video(images, fps=24), {0: labels}, tiny_like, FAST)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for changed, words in (({0: np.roll(labels, 1, 1)}, "cues.frame 0 was"), ({}, "cues.frame 0 was")):
        with pytest.raises(SettingsError, match=words):
            parse_into(whole, Video(images, fps=24), changed, tiny_like, FAST)


def test_names_are_edited_and_drawn_without_the_model(scene, tiny_like, tmp_path):
    images, labels = scene
    video, out = Video(images, fps=24), tmp_path / "out"
    given = NameTable((ClassEntry(300, "ball", "#ff0000"),))
    given.write(tmp_path / "given.json")
    parse_into(out, video, {0: labels}, tiny_like, replace(FAST, names=tmp_path / "given.json"))
    masks = {path.name: path.read_bytes() for path in (out / "masks").iterdir()}
    assert NameTable.read(out / "names.json").names == {0: "class 0", 1: "class 1", 300: "ball"}
    first = contents(out)["overlay.mp4"]

    table = [{"id": 0, "name": "ground"}, {"id": 1, "name": "other", "merge": 300}, {"id": 300, "name": "ball"}]
    (out / "names.json").write_text(json.dumps(table))
    render_again(out, video, ("contours.mp4",))
    assert not (out / "overlay.mp4").exists() and (out / "contours.mp4").exists()
    assert {path.name: path.read_bytes() for path in (out / "masks").iterdir()} == masks
    for name in masks:
        before, after = read_written_map(out / "masks" / name), read_written_map(out / "edited" / name)
        np.testing.assert_array_equal(after, np.where(before == 1, 300, before))
    rows = {row["id"]: row for row in json.loads((out / "labels.json").read_text())["classes"]}
    assert {number: row["name"] for number, row in rows.items()} == {0: "ground", 300: "ball"}
    # Merged, the confidence is the mean over the pixels of both.
    source = {row["id"]: row for row in json.loads((out / "labels.json").read_text())["source"]}
    pixels = source[1]["pixels"] + source[300]["pixels"]
    sure = sum(source[n]["pixels"] * source[n]["confidence"] for n in (1, 300)) / pixels
    assert rows[300]["pixels"] == pixels and rows[300]["confidence"] == pytest.approx(sure, abs=1e-5)

    # Nothing is lost: with the first names it is the first run again.
    render_again(out, video, names=NameTable((*given.entries, *NameTable.of([0, 1], "class").entries)))
    assert contents(out)["overlay.mp4"] == first and not list((out / "edited").iterdir())


def test_what_cannot_be_drawn_anew_is_refused(scene, tiny_like, tmp_path, whole):
    images, labels = scene
    with pytest.raises(SettingsError, match="holds no run of parse"):
        render_again(tmp_path, Video(images, fps=24))
    with pytest.raises(SettingsError, match="is of another video"):
        render_again(whole, Video(images[:, ::-1].copy(), fps=24))
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        parse_into(out, Video(images, fps=24), {0: labels}, tiny_like, FAST, progress=StopAt(frame=2))
    with pytest.raises(SettingsError, match="is not finished"):
        render_again(out, Video(images, fps=24))


def test_clusters_soft_maps_and_clips(scene, tiny_like, tmp_path):
    images, _ = scene
    settings = ParseSettings(method="vidseg", tokens=240, batch=2, clusters=3, keep_soft=True)
    out = parse_into(tmp_path / "out", Clip(Video(images), 1, 6, 2), {}, tiny_like, settings, views=("sidebyside.mp4",))
    assert sorted(path.name for path in (out / "masks").iterdir()) == ["00001.png", "00003.png", "00005.png"]
    assert NameTable.read(out / "names.json").names[2] == "cluster 2"
    with np.load(out / "soft" / "00003.npz") as soft:
        assert soft["probabilities"].dtype == np.float16 and len(soft["ids"]) == len(soft["probabilities"])
        np.testing.assert_allclose(soft["probabilities"].astype(float).sum(0), 1, atol=5e-3)
        winners = soft["ids"][soft["probabilities"].argmax(0)]
    assert (winners == read_written_map(out / "masks" / "00003.png")).mean() > 0.99
    with Image.open(out / "masks" / "00003.png") as image:
        assert image.mode == "P"


def test_a_stream_is_parsed_but_not_drawn(scene, tiny_like, tmp_path, caplog):
    images, labels = scene
    out = parse_into(tmp_path / "out", Video(iter(images)), {0: labels}, tiny_like, FAST)
    assert len(list((out / "masks").iterdir())) == FRAMES and not (out / "overlay.mp4").exists()
    assert "overlay.mp4 cannot be drawn while frames come" in caplog.text


def test_anchors_are_read_as_classes(scene, tmp_path):
    images, labels = scene
    clip = Clip(Video(images, fps=24))

    def read(texts):
        cues = [read_cue("anchor", text, clip) for text in texts]
        return gather(cues, clip, lambda: pytest.fail("loaded"), FAST).value

    for name, values, wanted in (
        (
            "grey.png",
            np.where(labels == VOID, 255, labels % 200).astype(np.uint8),
            np.where(labels == VOID, VOID, labels % 200),
        ),
        ("deep.png", labels, labels),
    ):
        Image.fromarray(values).save(tmp_path / name)
        anchors = read([f"{tmp_path / name}@3"])
        assert list(anchors) == [3]
        np.testing.assert_array_equal(anchors[3], wanted)
    with pytest.raises(CueError, match="frame 0 has two anchors"):
        read([str(tmp_path / "deep.png")] * 2)
    Image.fromarray(labels[::2]).save(tmp_path / "small.png")
    with pytest.raises(MaskError, match="is 80x24 but the video is 80x48"):
        read([str(tmp_path / "small.png")])
    Image.fromarray(images[0]).save(tmp_path / "picture.png")
    with pytest.raises(MaskError, match="is RGB-coded"):
        read([str(tmp_path / "picture.png")])


def test_passes_are_counted(scene, tiny_like):
    images, labels = scene
    passes = []
    clip = Clip(Video(images))
    hook = tiny_like.denoiser.conv_in.register_forward_hook(lambda module, given, out: passes.append(len(given[0])))
    list(parse(clip, {0: labels}, tiny_like, FAST))
    hook.remove()
    found = estimate(TASK, clip, given_anchors(clip, {0: labels}), tiny_like, FAST, trial=False)
    assert (found.frames, found.labels) == (FRAMES, 3)
    assert found.passes_per_frame == sum(passes) / FRAMES == 1 and found.passes == FRAMES


def test_clusters_that_anchors_leave_unused_are_told_and_decide_nothing(scene, tiny_like, tmp_path, caplog):
    images, labels = scene
    asked = ParseSettings(tokens=240, clusters=6)
    assert resolve_parse(asked, tiny_like, 48, 80).settings.method == "propagate"
    assert resolve_parse(replace(asked, anchor_grid=False), tiny_like, 48, 80).settings.method == "vidseg"
    for settings, told in [(asked, 1), (replace(asked, anchor_grid=False), 0), (replace(asked, method="emerdiff"), 0)]:
        caplog.clear()
        ParseJob(settings, tiny_like, Clip(Video(images)), {0: labels})
        assert [record.getMessage()[:29] for record in caplog.records] == ["clusters is 6 and not used: t"] * told
    parse_into(tmp_path / "out", Video(images), {}, tiny_like, asked, ())
    with pytest.raises(SettingsError, match=r"another run \(clusters was 6 and is 7\)"):
        parse_into(tmp_path / "out", Video(images), {}, tiny_like, replace(asked, clusters=7), ())
