"""Mattes: nothing lost on the way out, edges nearer to true alpha than the masks', files that others open."""

import json
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from PIL import Image

from exported import hard_maps, write_run
from undertow.base import SettingsError
from undertow.export import ExportSettings, SoftMasks, export
from undertow.export.mattes import rgba, soft_mattes
from undertow.masks import upsample_argmax
from undertow.world.families import make_family_scene

HARD = ExportSettings(edges="hard")
EXACT = ["png", "tiff", "ffv1", "apng", "exr"]


@pytest.mark.parametrize("to", [*EXACT, "prores"])
@pytest.mark.parametrize("edges", ["hard", "soft"])
@pytest.mark.parametrize("fill", ["matte", "straight"])
def test_alpha_is_kept(filmed, tmp_path, to, edges, fill):
    if to == "exr":
        pytest.importorskip("OpenEXR")
    run, video = filmed
    done = export(run, to, tmp_path / "out", ExportSettings(edges=edges, fill=fill, video=video), check=True)
    assert done.levels <= (1 if to == "prores" else 0)
    assert len([each for each in (tmp_path / "out").rglob("*") if each.is_file()]) == {
        "png": 36, "tiff": 36, "exr": 6
    }.get(to, 8)  # fmt: skip


def test_films_have_the_rate_and_all_frames(filmed, tmp_path):
    run, _ = filmed
    for to, suffix in (("prores", "mov"), ("ffv1", "mkv")):
        settings = ExportSettings(edges="hard", fps="24000/1001", objects=(1, 4), name="{clip} {object}")
        export(run, to, tmp_path / to, settings)
        names = sorted(each.name for each in (tmp_path / to).glob(f"*.{suffix}"))
        assert names == [f"café ☕ clip {n}.{suffix}" for n in (1, 4)]
        with av.open(str(tmp_path / to / names[0])) as container:
            stream = container.streams.video[0]
            frames = list(container.decode(stream))
            assert len(frames) == 5 and stream.average_rate == Fraction(24000, 1001)
            assert (stream.width, stream.height) == (53, 37)
            assert stream.codec_context.name == to and "a" in stream.codec_context.pix_fmt


def test_without_an_object_in_the_name_all_are_one(filmed, tmp_path):
    run, _ = filmed
    export(run, "png", tmp_path / "out", ExportSettings(edges="hard", name="all.{frame:04d}", frame_offset=1001))
    with Image.open(tmp_path / "out" / "all.1003.png") as image:
        assert np.array_equal(np.asarray(image) == 255, hard_maps()[2] > 0)
    with pytest.raises(SettingsError, match="called alike"):
        export(run, "png", tmp_path / "alike", ExportSettings(edges="hard", labels="1=dog,2=dog"))


def test_a_rate_is_said_to_be_wrong_where_frames_are_not_evenly_spaced(tmp_path):
    uneven = [Fraction(each, 100) for each in (0, 4, 5, 20, 150)]
    run = write_run(tmp_path / "run", hard_maps(), times=uneven)
    even = write_run(tmp_path / "even", hard_maps(), times=[Fraction(each, 100) for each in (0, 4, 9, 13, 17)])
    for to, said in (("ffv1", True), ("apng", True), ("png", False), ("cvat", False)):
        for again in range(2):
            done = export(run, to, tmp_path / to, HARD, check=bool(again))
            assert ("not evenly spaced in time" in done.note) is said
    assert export(even, "ffv1", tmp_path / "rated", HARD).note == ""


def test_vp9_says_what_becomes_of_its_alpha(filmed, tmp_path):
    settings = ExportSettings(edges="hard", objects=(5,))
    done = export(filmed[0], "vp9", tmp_path / "out", settings, check=True)
    assert "drop it" in done.note and done.levels is not None


def test_premultiplied_colours_are_times_alpha():
    image = np.full((2, 3, 3), 200, np.uint8)
    alpha = np.array([[0, 0.5, 1], [0.25, 0, 1]], np.float32)
    assert rgba(alpha, image, premultiplied=True)[0, :, 0].tolist() == [0, 100, 200]
    assert rgba(alpha, image)[0, :, 0].tolist() == [200] * 3
    assert rgba(alpha)[..., 3].tolist() == [[0, 128, 255], [64, 0, 255]]


def test_soft_edges_need_the_run_s_own_video(filmed, tmp_path):
    run, video = filmed
    with pytest.raises(SettingsError, match="add --video FILE, or --edges hard"):
        export(run, "png", tmp_path / "out")
    export(run, "png", tmp_path / "out", ExportSettings(video=video))
    Image.fromarray(np.zeros((37, 53, 3), np.uint8)).save(video / "00001.png")
    with pytest.raises(SettingsError, match="is not the video that the run is of"):
        export(run, "png", tmp_path / "other", ExportSettings(video=video))


@pytest.mark.parametrize("seed", [1_000_000_011, 1_000_000_012, 1_000_000_013])
def test_soft_edges_are_nearer_to_true_alpha_than_the_masks(seed):
    scene = make_family_scene("plain", seed, 270, 480)
    picture, alpha = scene.picture(3.0), scene.alpha(3.0)
    ids = [n for n in range(1, len(alpha) + 1) if (picture.labels == n).any()]
    # As a tracker's masks are: off by less than a cell of its grid, which is six pixels.
    labels = np.roll(picture.labels, (1, 2), (0, 1))
    mattes = soft_mattes(labels, ids, picture.image, (46, 80))
    for power in (1, 2):
        soft = sum((np.abs(mattes[n] - alpha[n - 1]) ** power).sum() for n in ids)
        hard = sum((np.abs((labels == n) - alpha[n - 1]) ** power).sum() for n in ids)
        assert soft < 0.65 * hard
    assert max(map(np.max, mattes.values())) <= 1 and sum(mattes.values()).max() <= 1 + 1e-5


def test_kept_soft_masks_are_nearer_still(tmp_path, video):
    scene = make_family_scene("plain", 1_000_000_012, 135, 240)
    picture, alpha = scene.picture(3.0), scene.alpha(3.0)
    ids = [n for n in range(1, len(alpha) + 1) if (picture.labels == n).any()]
    # As a tracker has them: shares of the cells of its grid.
    shares = torch.from_numpy(alpha[[n - 1 for n in ids]].astype(np.float32))
    maps = torch.nn.functional.adaptive_avg_pool2d(shares, (30, 53)).numpy()
    maps = np.concatenate([1 - maps.sum(0, keepdims=True), maps])
    soft = SoftMasks(np.array([0, *ids], np.uint16), maps)
    decided = upsample_argmax(torch.from_numpy(maps), ids, (135, 240)).labels

    def error(mattes):
        return sum(((mattes[n] - alpha[n - 1]) ** 2).sum() for n in ids)

    kept = soft_mattes(decided, ids, picture.image, (30, 53), soft)
    hard = {n: (decided == n).astype(np.float32) for n in ids}
    assert error(kept) < 0.97 * error(soft_mattes(decided, ids, picture.image, (30, 53))) < 0.6 * error(hard)
    # An export takes them from the run, but where a mask was given.
    folder, fingerprint = video([picture.image] * 2)
    cues = ({"frame": 1, "sha256": "s"},)
    run = write_run(
        tmp_path / "run", [decided] * 2, soft=soft, video=fingerprint, settings={"grid": [30, 53]}, cues=cues
    )
    export(run, "png", tmp_path / "out", ExportSettings(video=folder, name="{object} {frame}"))
    first, second = (np.asarray(Image.open(tmp_path / "out" / f"{ids[0]} {frame}.png")) / 255 for frame in (0, 1))
    assert np.abs(first - kept[ids[0]]).max() < 0.02 < np.abs(second - kept[ids[0]]).max()


def test_exr_has_layers_and_cryptomatte(filmed, tmp_path):
    openexr = pytest.importorskip("OpenEXR")
    from undertow.export.exr import float_id, murmur3

    assert [murmur3(each) for each in (b"", b"hello", b"hello, world")] == [0, 0x248BFA47, 0x149BBB7F]
    run, _ = filmed
    export(run, "exr", tmp_path / "out", ExportSettings(edges="hard", labels="1=dög,2=v1.2"))
    with openexr.File(str(tmp_path / "out" / "café ☕ clip.0002.exr"), separate_channels=True) as file:
        header, channels = dict(file.header()), {name: each.pixels for name, each in file.channels().items()}
    labels = hard_maps()[2]
    assert header["framesPerSecond"] == Fraction(30000, 1001)
    assert channels["dög.A"].dtype == np.float16 and np.array_equal(channels["dög.A"] == 1, labels == 1)
    assert "v1_2.A" in channels
    entries = {name.split("/")[-1]: value for name, value in header.items() if name.startswith("cryptomatte/")}
    ids = json.loads(entries["manifest"])
    assert entries["name"] == "CryptoObject" and entries["hash"] == "MurmurHash3_32" and len(ids) == 7
    for number, (name, text) in enumerate(ids.items(), start=1):
        as_float = np.array(int(text, 16), np.uint32).view(np.float32)
        assert float_id(name) == as_float and np.isfinite(as_float)
        picked = (channels["CryptoObject00.R"] == as_float) * channels["CryptoObject00.G"]
        assert np.array_equal(picked == 1, labels == number)
