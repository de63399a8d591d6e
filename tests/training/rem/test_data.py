"""What is learned from: procedural clips, datasets on disk, clips of images, and the order in which they come."""

import json

import numpy as np
import pytest
from PIL import Image

from undertow.base import SettingsError
from undertow.training.rem.data import Item
from undertow.training.rem.datasets import read_sources
from undertow.training.rem.pseudo import pseudo_clip
from undertow.training.rem.settings import RemSettings
from undertow.training.rem.steps import Order
from undertow.training.rem.worlds import Calm, World
from undertow.world import scene_facts

SETTINGS = RemSettings(frames=3, size=(48, 32), batch=4, image_batch=6, images=0.4)


@pytest.fixture(scope="module")
def world():
    return World(count=3, frames=3, size=(40, 60))


def dog(root, frames=5):
    """A clip whose object moves two pixels a frame, and two expressions."""
    for index in range(frames):
        for kind in ("frames", "masks"):
            (root / "davis-dog" / kind).mkdir(parents=True, exist_ok=True)
        mask = np.zeros((40, 60), np.uint8)
        mask[10:20, 4 + 2 * index : 20 + 2 * index] = 2
        Image.fromarray(mask).save(root / f"davis-dog/masks/{index:05d}.png")
        Image.fromarray(np.full((40, 60, 3), 40 * index, np.uint8)).save(root / f"davis-dog/frames/{index:05d}.jpg")
    said = {"object": 2, "expressions": ["The  dog", "the brown one"]}
    (root / "davis-dog/expressions.json").write_text(json.dumps(said))
    return root


def test_worlds_say_what_their_masks_show(world):
    kinds = set()
    for number in range(len(world)):
        item, (scene, times, chosen) = world.item(number), world.scene(number)
        assert item.images.shape == (3, 40, 60, 3) and item.masks.shape == (len(chosen), 3, 40, 60)
        for expression, masks in zip(chosen, item.masks, strict=True):
            kinds |= set(expression.kinds)
            assert masks.any() == bool(expression.labels) or expression.labels
            if not expression.labels:
                shapes = {each.looks.kind for each in scene_facts(scene, int(times[-1]) + 1)}
                assert expression.text.split()[-1] not in shapes
        assert np.array_equal(item.images, world.item(number).images)
    assert kinds & {"motion", "entrance", "relation", "group"}


def test_calm_pictures_are_images_with_what_they_show(tmp_path):
    [calm] = read_sources(["calm:4"], SETTINGS)
    assert isinstance(calm, Calm) and len(calm) == 4 and not calm.clips
    for number in range(len(calm)):
        item, (scene, chosen) = calm.item(number), calm.scene(number)
        assert item.images.shape == (1, 32, 48, 3) and item.masks.shape == (len(chosen), 1, 32, 48)
        for expression, mask in zip(chosen, item.masks, strict=True):
            assert np.array_equal(mask[0], np.isin(scene.picture(0.0).labels, expression.labels))
    [clips] = read_sources(["calm-clips:2"], SETTINGS)
    assert clips.clips and clips.name == "calm-clips" and clips.item(0, 0).images.shape == (3, 32, 48, 3)
    # The same scenes in front of photographs look otherwise.
    shades = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    Image.fromarray(shades).save(tmp_path / "a.png")
    shown = {"count": 8, "size": (32, 48), "photographs": (tmp_path / "a.png",)}
    moving = {"frames": 2, "families": ("calm",)}
    for kind, options in ((Calm, {}), (World, moving)):
        behind, plain = kind(**shown, **options), kind(**{**shown, "photographs": ()}, **options)
        differ = [not np.array_equal(behind.item(n).images[0], plain.item(n).images[0]) for n in range(8)]
        assert any(differ), kind
    behind, plain = Calm(**shown), Calm(8, (32, 48))
    assert not all(not np.array_equal(behind.item(n).images, plain.item(n).images) for n in range(8))


def test_a_dataset_gives_frames_in_order_with_their_masks(tmp_path):
    [source] = read_sources([f"davis-expressions:{dog(tmp_path)}"], SETTINGS)
    assert len(source) == 1 and source.clips and list(source.problems()) == []
    first, other = source.item(0, 0), source.item(0, 1)
    assert first.texts == ("the dog", "the brown one") and first.images.shape == (3, 32, 48, 3)
    shades = [int(image[0, 0, 0]) for image in first.images]
    assert shades == sorted(shades) and not np.array_equal(first.images, other.images)
    for image, mask in zip(first.images, first.masks[0], strict=True):
        index = round(int(image[0, 0, 0]) / 40)
        assert abs(int(np.flatnonzero(mask.any(0))[0]) - (4 + 2 * index) * 48 / 60) < 1
    long = read_sources([f"davis-expressions:{tmp_path}"], RemSettings(frames=7, size=(48, 32)))[0].item(0, 0)
    assert len(long.images) == 7


def test_ref_youtube_vos_is_learned_from_its_training_split(tmp_path):
    said = {"exp": "The dog", "obj_id": "2"}
    videos = {"videos": {"0a": {"expressions": {"0": said, "1": said | {"obj_id": "1"}}, "frames": ["00000", "00005"]}}}
    (tmp_path / "meta_expressions/train").mkdir(parents=True)
    (tmp_path / "meta_expressions/train/meta_expressions.json").write_text(json.dumps(videos))
    for kind in ("JPEGImages", "Annotations"):
        (tmp_path / "train" / kind / "0a").mkdir(parents=True)
    mask = np.zeros((32, 48), np.uint8)
    mask[4:9, 5:20], mask[20:30, 5:20] = 2, 1
    for frame in ("00000", "00005"):
        Image.fromarray(mask).save(tmp_path / f"train/Annotations/0a/{frame}.png")
        Image.fromarray(np.zeros((32, 48, 3), np.uint8)).save(tmp_path / f"train/JPEGImages/0a/{frame}.jpg")
    [source] = read_sources([f"ref-youtube-vos:{tmp_path}"], SETTINGS)
    item = source.item(0, 0)
    assert len(source) == 1 and item.texts == ("the dog", "the dog")
    assert np.array_equal(item.masks[0, 0], mask == 2) and np.array_equal(item.masks[1, 2], mask == 1)


def test_bad_data_are_found_before_the_first_step(tmp_path):
    root = dog(tmp_path)
    frame = root / "davis-dog/frames/00003.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)).save(frame)
    frame.write_bytes(frame.read_bytes()[:-200])
    [source] = read_sources([f"davis-expressions:{root}"], SETTINGS)
    assert any("00003" in problem for problem in source.problems())
    for typed, reason in (
        ("world:none", "give world:COUNT"),
        ("calm:0", "give world:COUNT"),
        ("world:3:photos", "give world:COUNT"),
        ("davis-expressions", "give NAME:FOLDER"),
        (f"davis-folders:{root}", "has no expressions"),
        ("refkoko:x", "is not one of"),
    ):
        with pytest.raises(SettingsError, match=reason):
            read_sources([typed], SETTINGS)


def test_masks_move_with_the_pixels_of_a_clip_of_an_image():
    image = np.zeros((60, 80, 3), np.uint8)
    image[20:40, 30:55] = 255
    item = Item(image[None], ("the box",), (image[..., 0] > 0)[None, None], (True,))
    clip = pseudo_clip(item, 6, np.random.default_rng(2))
    assert clip.images.shape == (6, 60, 80, 3) and clip.masks.shape == (1, 6, 60, 80)
    for moved, mask in zip(clip.images, clip.masks[0], strict=True):
        # Light and blur leave the box the brightest part.
        bright = moved.mean(2) > 110
        assert (bright & mask).sum() / (bright | mask).sum() > 0.75
    assert sum(np.array_equal(each, image) for each in clip.images) == 1


def test_every_item_comes_once_an_epoch_and_processes_share_a_batch(world):
    order = Order(SETTINGS, [world, World(count=4, frames=3, first=1000, name="more")])
    steps = range(45)
    assert sum(order.of_images(step) for step in steps) == 18
    clips = [each for step in steps if not order.of_images(step) for each in order.batch(step)]
    for epoch in range(len(clips) // 7):
        seen = {(each.source, each.number) for each in clips[7 * epoch : 7 * (epoch + 1)]}
        assert len(seen) == 7
    for step in steps:
        whole = order.batch(step)
        parts = [order.batch(step, rank, 2) for rank in range(2)]
        assert parts[0] + parts[1] == whole and len(parts[0]) == len(whole) // 2
    with pytest.raises(SettingsError, match="images alone"):
        Order(SETTINGS, [World(count=4, clips=False)])
