"""Input that looks odd and is good: it works, at most with a warning."""

import json
import logging
import os
import shutil

import numpy as np
import pytest

from undertow.masks import VOID, object_ids, read_written_map

from .kitchen import labels


def masks_in(out) -> list[str]:
    return sorted(path.name for path in (out / "masks").iterdir())


@pytest.mark.parametrize("count", [1, 2, 3])
def test_videos_of_few_frames(kitchen, run, count):
    code, _, err = run(*kitchen.track(video=kitchen.film("short.mp4", count)))
    assert code == 0, err
    assert masks_in(kitchen.out) == [f"{number:05d}.png" for number in range(count)]


@pytest.mark.parametrize(
    "name",
    [
        "Клип с пробелами — 日本語 🎬.mp4",
        "[bold]brackets[red] :smile: $HOME `x`.mp4",
        "quotes'\" & semicolon;.mp4",
        "line\nbreak\x1b[31m.mp4",
        "@5.mp4",
        "CLIP.MP4",
        "no suffix",
    ],
)
def test_names_of_any_kind(kitchen, run, name):
    folder = kitchen.folder / f"folder of {name}"
    folder.mkdir()
    shutil.copy(kitchen.clip, folder / name)
    shutil.copy(kitchen.mask, folder / f"{name}.png")
    code, _, err = run(*kitchen.track(video=folder / name, mask=f"{folder / name}.png@0", out=folder / "out"))
    assert code == 0, err
    assert len(masks_in(folder / "out")) == 3
    cue = json.loads((folder / "out" / "run.json").read_text(encoding="utf-8"))["cues"][0]["mask"]
    assert cue == f"{folder / name}.png@0"


@pytest.mark.skipif(os.name != "posix", reason="names of bytes are a matter of POSIX")
def test_a_name_that_is_not_unicode(kitchen, run):
    folder = kitchen.folder / os.fsdecode(b"caf\xe9")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes only Unicode names")
    shutil.copy(kitchen.clip, folder / "clip.mp4")
    shutil.copy(kitchen.mask, folder / "first.png")
    code, _, err = run(*kitchen.track(video=folder / "clip.mp4", mask=folder / "first.png", out=folder / "out"))
    assert code == 0, err
    record = json.loads((folder / "out" / "run.json").read_text(encoding="utf-8"))
    assert record["cues"][0]["mask"] == str(folder / "first.png")


def test_a_control_character_in_an_error_is_shown_and_not_obeyed(kitchen, run):
    code, _, err = run(*kitchen.track(video=kitchen.folder / "red\x1b[31m\nline.mp4"))
    assert code == 2 and err.count("\n") == 1
    assert "\x1b" not in err and r"red\x1b[31m" in err


def test_a_folder_with_gaps_is_tracked_with_a_warning(kitchen, run, caplog):
    folder = kitchen.frames(count=4)
    (folder / "00002.png").unlink()
    with caplog.at_level(logging.WARNING):
        code, _, err = run(*kitchen.track(video=folder))
    assert code == 0, err
    assert masks_in(kitchen.out) == ["00000.png", "00001.png", "00003.png"]
    assert any("00002" in record.getMessage() for record in caplog.records)


def test_one_image_is_a_video_of_one_frame(kitchen, run):
    code, _, err = run(*kitchen.track(video=kitchen.frames() / "00001.png"))
    assert code == 0, err
    assert masks_in(kitchen.out) == ["00001.png"]


def test_links_are_followed(kitchen, run):
    (kitchen.folder / "link.mp4").symlink_to(kitchen.clip)
    (kitchen.folder / "link.png").symlink_to(kitchen.mask)
    (kitchen.folder / "real").mkdir()
    (kitchen.folder / "out").symlink_to(kitchen.folder / "real")
    code, _, err = run(*kitchen.track(video=kitchen.folder / "link.mp4", mask=kitchen.folder / "link.png"))
    assert code == 0, err
    assert len(masks_in(kitchen.folder / "real")) == 3


@pytest.mark.slow
def test_three_hundred_objects(kitchen, run):
    rows, columns = np.mgrid[:120, :160]
    ids = (1 + rows // 8 * 20 + columns // 8).astype(np.uint16)
    video = kitchen.film("wide.mp4", 3, 160, 120)
    code, _, err = run(*kitchen.track(video=video, mask=kitchen.labelled("many.png", ids)))
    assert code == 0, err
    assert np.array_equal(read_written_map(kitchen.out / "masks" / "00000.png"), ids)
    assert len(object_ids(ids)) == 300
    with (kitchen.out / "scores.csv").open() as table:
        assert sum(1 for _ in table) == 1 + 3 * 300


def test_sixteen_bit_ids_and_void_are_written_as_given(kitchen, run):
    ids = labels() * np.uint16(20000)
    ids[:4] = VOID
    code, _, err = run(*kitchen.track(mask=kitchen.labelled("wide.png", ids)))
    assert code == 0, err
    assert np.array_equal(read_written_map(kitchen.out / "masks" / "00000.png"), ids)
    assert set(object_ids(read_written_map(kitchen.out / "masks" / "00002.png"))) <= {20000, 40000}


def test_a_mask_of_the_last_frame_only(kitchen, run):
    code, _, err = run(*kitchen.track(mask=f"{kitchen.mask}@2"))
    assert code == 0, err
    assert read_written_map(kitchen.out / "masks" / "00001.png").any()  # carried back
    assert np.array_equal(read_written_map(kitchen.out / "masks" / "00002.png"), labels())


def test_new_and_nested_and_empty_places_for_results(kitchen, run):
    (kitchen.folder / "empty").mkdir()
    for place in ("empty", "some/where/new"):
        code, _, err = run(*kitchen.track(out=kitchen.folder / place))
        assert code == 0, err
        assert len(masks_in(kitchen.folder / place)) == 3


def test_an_object_smaller_than_a_cell_is_kept_where_it_was_painted_and_warned_of(kitchen, run, caplog):
    ids = labels()
    ids[2, 30] = 7
    with caplog.at_level(logging.WARNING):
        code, _, err = run(*kitchen.track("--size", "tokens=48", mask=kitchen.labelled("dot.png", ids)))
    assert code == 0, err
    assert np.array_equal(read_written_map(kitchen.out / "masks" / "00000.png"), ids)
    assert 7 not in object_ids(read_written_map(kitchen.out / "masks" / "00001.png"))
    rows = [line.split(",") for line in (kitchen.out / "scores.csv").read_text().splitlines()]
    assert [row[rows[0].index("lost")] for row in rows if row[2] == "7"] == ["0", "1", "1"]
    assert any("object 7 is smaller than a cell" in record.getMessage() for record in caplog.records)
