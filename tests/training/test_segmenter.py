"""The recipe of tiny-sam at a very small size, and its parts one by one."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from undertow.base import SettingsError
from undertow.refinement import load_segmenter
from undertow.training.pictures import (
    SegmentPhotoSettings,
    SegmentPictureSettings,
    make_composite_shards,
    make_segment_shard,
    open_segment_shard,
    part_map,
)
from undertow.training.segmenter_examples import clicks, corrections, damaged_logits, loose_boxes
from undertow.training.segmenter_network import SegmenterShape, build_segmenter
from undertow.training.segmenter_recipe import TinySamRecipe, train_tiny_sam
from undertow.training.segmenter_steps import (
    SegmenterSettings,
    balanced_loss,
    decode,
    dice_loss,
    embed_crops,
    focal_loss,
    mask_losses,
    overlaps,
)
from undertow.training.segmenter_validation import PHOTO, SCORES, SegmenterValidation, choice, middle
from undertow.world import FIRST_VALIDATION_SEED, WorldSettings, make_scene
from undertow.world.composites import CompositeSettings
from undertow.world.photographs import COLUMNS, list_photographs

WORLD = WorldSettings(height=64, width=64, leaves=5, objects=(2, 3), radius=(0.2, 0.3))
COMPOSITES = CompositeSettings(height=64, width=64, radius=(0.2, 0.3))
RECIPE = TinySamRecipe(
    pictures=SegmentPictureSettings(shards=1, world=WORLD),
    photos=SegmentPhotoSettings(shards=1, photographs=4, composites=COMPOSITES),
    shape=SegmenterShape(
        image_size=64, patch_size=8, width=20, layers=2, heads=1, everywhere=(1,), window=2, channels=16
    ),
    segmenter=SegmenterSettings(steps=4, small_steps=2, small_side=32, small_crops=2, crops=2, balanced_steps=3),
    validation=SegmenterValidation(
        scenes=1, smallest=50, world=replace(WORLD, height=54, width=96), composites=COMPOSITES
    ),
)


@pytest.fixture(scope="module")
def work(tmp_path_factory, monkeypatch_module):
    """A folder in which the pictures have been drawn."""
    monkeypatch_module.setattr("undertow.training.pictures.SEGMENT_SCENES", 4)
    folder = tmp_path_factory.mktemp("work")
    make_segment_shard(folder / "pictures", 0, RECIPE.pictures)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of twelve photographs that may be used, of which two are held out."""
    folder, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    names = [f"{number:02d}.png" for number in range(12)]
    rows = [(name, "set", "1234", name, "Ann", "CC-BY-4.0", "") for name in names]
    for name in names:
        coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize((120, 96), Image.Resampling.BICUBIC).save(folder / name)
    with (folder / "SOURCES.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows([COLUMNS, *rows])
    assert any(each.held_out for each in list_photographs(folder))
    return folder


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_slices_add_up_to_one_run(work, tmp_path, monkeypatch):
    """One run, and one that is cut after two steps and goes on, give the same weights; what comes out can be loaded."""
    import shutil

    whole, cut = (shutil.copytree(work, tmp_path / name) for name in ("whole", "cut"))
    assert train_tiny_sam(whole, tmp_path / "a", RECIPE, processes=1, device="cpu")

    class Clock:
        """Lets two steps pass before the time is over."""

        def __init__(self):
            self.calls = 0

        def monotonic(self):
            self.calls += 1
            return 0.0 if self.calls <= 2 else float("inf")

    monkeypatch.setattr("undertow.training.learner.time", Clock())
    assert not train_tiny_sam(cut, tmp_path / "b", RECIPE, minutes=1, processes=1, device="cpu")
    monkeypatch.undo()
    assert not (tmp_path / "b").exists()
    assert train_tiny_sam(cut, tmp_path / "b", RECIPE, processes=1, device="cpu")
    one, two = (load_segmenter(tmp_path / name, device="cpu") for name in "ab")
    state = two.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in one.model.state_dict().items())
    start = build_segmenter(RECIPE.seed, RECIPE.shape).state_dict()
    assert any(not torch.equal(value.half(), state[name].half()) for name, value in start.items())

    facts = json.loads((tmp_path / "a" / "training.json").read_text())
    assert facts["step"] == 4 and tuple(facts["validation"]) == SCORES
    (row,) = (json.loads(line) for line in (whole / "validation.jsonl").read_text().splitlines())
    assert row == {"step": 4, **facts["validation"]}
    embedding = one.embed(np.zeros((1, 54, 96, 3), np.uint8))[0]
    assert one.predict(embedding, points=torch.tensor([[[3.0, 4.0]]]), multimask=True).logits.shape == (1, 3, 18, 32)
    with pytest.raises(SettingsError, match="other settings"):
        train_tiny_sam(whole, tmp_path / "c", replace(RECIPE, seed=1), processes=1, device="cpu")


def test_a_finished_segmenter_learns_further_from_photographs(work, photos, tmp_path):
    import shutil

    first, further = (shutil.copytree(work, tmp_path / name) for name in ("first", "further"))
    assert train_tiny_sam(first, tmp_path / "a", RECIPE, processes=1, device="cpu")
    how = {"photos": photos, "start": tmp_path / "a", "processes": 1, "device": "cpu"}
    recipe = replace(RECIPE, segmenter=replace(RECIPE.segmenter, steps=1))
    assert train_tiny_sam(further, tmp_path / "b", recipe, **how)
    one, two = (load_segmenter(tmp_path / name, device="cpu").model.state_dict() for name in "ab")
    steps = [(one[name] - two[name]).abs().max() for name in one]
    # The first step of the warm-up moves each weight by a hundredth of the rate.
    assert 0 < max(steps) < 1e-3
    facts = json.loads((tmp_path / "b" / "training.json").read_text())
    assert facts["photographs"] == 12 and facts["further"]
    assert tuple(facts["validation"]) == (*SCORES, *(f"{PHOTO}{name}" for name in SCORES))
    parts = [facts["validation"][name] for name in ("box", "click", "photo_box", "photo_click")]
    assert choice(facts["validation"]) == pytest.approx(np.mean(parts))
    assert "| 00.png | Ann |" in (tmp_path / "b" / "PHOTOGRAPHS.md").read_text()
    with pytest.raises(SettingsError, match="other settings"):
        train_tiny_sam(further, tmp_path / "c", recipe, processes=1, device="cpu")


def test_held_out_photographs_are_in_no_composite(work, photos, tmp_path):
    for each in list_photographs(photos):
        if each.held_out:
            (tmp_path / each.path.name).write_text("not read")
        else:
            (tmp_path / each.path.name).symlink_to(each.path)
    (tmp_path / "SOURCES.csv").symlink_to(photos / "SOURCES.csv")
    settings = replace(RECIPE.photos, photographs=20)
    assert list(make_composite_shards(tmp_path / "made", settings, list_photographs(tmp_path), processes=1)) == [0]
    shard = open_segment_shard(tmp_path / "made", 0)
    assert shard.images.shape == (8, 64, 64, 3) and np.array_equal(shard.objects > 0, shard.parts > 0)


def test_a_start_of_another_shape_is_refused(tmp_path):
    build_segmenter(0, RECIPE.shape).save_pretrained(tmp_path / "other")
    with pytest.raises(SettingsError, match="another shape"):
        build_segmenter(0, replace(RECIPE.shape, layers=1, everywhere=()), tmp_path / "other")


def test_parts_are_what_is_painted():
    """Objects are where labels say, parts follow the materials, and covered objects lose what is covered."""
    scene = make_scene(3, WORLD)
    parts, picture = part_map(scene), scene.picture()
    assert ((parts > 0) == (picture.labels > 0)).all()
    for number, thing in enumerate(scene.things, start=1):
        seen = np.unique(parts[picture.labels == number])
        assert seen.size == 0 or seen.max() <= len(thing.materials)
    assert len(np.unique(parts)) > 2


def test_held_out_seeds_are_never_drawn(tmp_path):
    with pytest.raises(ValueError, match="held-out"):
        make_segment_shard(tmp_path, FIRST_VALIDATION_SEED // 4, RECIPE.pictures)


def test_batches_depend_on_the_generator_alone(work):
    from undertow.training.segmenter_examples import ExampleSettings, draw_batch

    shards = [open_segment_shard(work / "pictures", 0)]
    one, two, other = (draw_batch(shards, np.random.default_rng(s), 3, 32, ExampleSettings()) for s in (0, 0, 1))
    assert torch.equal(one.pixels, two.pixels) and torch.equal(one.masks, two.masks)
    assert not torch.equal(one.pixels, other.pixels)
    assert one.pixels.shape == (3, 3, 32, 32) and one.masks.shape == (3, 5, 16, 16)
    assert set(one.masks.unique().tolist()) == {0.0, 1.0} and one.masks.sum((2, 3)).min() >= 24


def test_a_crop_is_a_window_of_the_full_input():
    """With windows only, tokens of a crop are those of the whole picture, and so are masks but for what is cut off."""
    shape = replace(RECIPE.shape, everywhere=())
    model = build_segmenter(0, shape).eval()
    picture = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = embed_crops(model, picture, (0, 0))
        direct = model.vision_encoder(picture).last_hidden_state
        torch.testing.assert_close(whole.features, direct)
        crop = embed_crops(model, picture[:, :, 16:48, 32:64], (32, 16))
        # Away from the crop's border, where the neck's convolution looks outside.
        torch.testing.assert_close(crop.features[..., 1:3, 1:3], direct[..., 3:5, 5:7], rtol=1e-4, atol=1e-4)
        assert torch.equal(crop.positions, model.get_image_wide_positional_embeddings()[:, :, 2:6, 4:8])
        points = torch.tensor([[[10.0, 12.0]]])
        here = model.prompt_encoder(
            (points + torch.tensor([32.0, 16.0]) - 0.5)[:, None], torch.ones(1, 1, 1), None, None
        )
        logits, scores = decode(model, crop, points=points, labels=torch.ones(1, 1).long())
        wanted = model.mask_decoder(
            crop.features, crop.positions, here[0], here[1][..., :4, :4], multimask_output=False
        )
        torch.testing.assert_close(logits, wanted[0][:, 0])
        assert logits.shape == (1, 1, 16, 16) and scores.shape == (1, 1)


def masks():
    found = torch.zeros(2, 16, 16)
    found[0, 2:5, 3:11] = 1
    found[1, 8:16, 0:4] = 1
    return found


def test_prompts_say_what_the_mask_says():
    random = torch.Generator().manual_seed(0)
    wanted = masks() > 0
    places = clicks(wanted, 50, random)
    column, row = (places / 2).long().unbind(-1)
    assert all(bool(wanted[i, row[i], column[i]].all()) for i in range(2)) and places.shape == (2, 50, 2)
    assert torch.equal(loose_boxes(wanted, 0.0, random), torch.tensor([[6.0, 4, 22, 10], [0, 16, 8, 32]]))
    jittered = loose_boxes(wanted, 0.1, random)
    assert (jittered[:, :2] < jittered[:, 2:]).all() and jittered.min() >= 0 and jittered.max() <= 32
    missed, added = torch.zeros_like(wanted), torch.ones_like(wanted)
    assert corrections(wanted, missed, random)[1].tolist() == [[1], [1]]
    places, labels = corrections(wanted, added, random)
    column, row = (places[:, 0] / 2).long().unbind(-1)
    assert labels.tolist() == [[0], [0]] and not wanted[torch.arange(2), row, column].any()
    assert corrections(wanted, wanted, random)[1].tolist() == [[1], [1]]


def test_damage_leaves_most_of_a_mask():
    large = torch.zeros(4, 64, 64)
    large[:, 10:50, 20:60] = 1
    damaged = damaged_logits(large, torch.Generator().manual_seed(0))
    quality = overlaps(damaged, large)
    assert damaged.abs().max() <= 8 and (quality > 0.6).all() and (quality < 1).all()


def test_losses_by_hand():
    logits, targets = torch.tensor([[[2.0, -1.0], [0.5, -3.0]]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    p = logits.sigmoid()
    right = torch.where(targets > 0, p, 1 - p)
    torch.testing.assert_close(focal_loss(logits, targets), (-((1 - right) ** 2) * right.log()).mean((1, 2)))
    torch.testing.assert_close(dice_loss(logits, targets), 1 - (2 * (p * targets).sum() + 1)[None] / (p.sum() + 2 + 1))
    inside, outside = -right.log()[targets > 0].mean(), -right.log()[targets == 0].mean()
    torch.testing.assert_close(balanced_loss(logits, targets), (inside + outside)[None] / 2)
    assert overlaps(logits, targets).tolist() == [pytest.approx(1 / 3)]
    assert overlaps(-torch.ones(1, 2, 2), torch.zeros(1, 2, 2)).tolist() == [1]


def test_of_several_masks_only_the_best_is_taught():
    targets = masks()[:1, :8, :8]
    logits = torch.stack([6 * targets - 3, 3 - 6 * targets], 1).requires_grad_()
    loss, quality = mask_losses(logits, torch.tensor([[1.0, 0.0]]), targets)
    assert quality.tolist() == [[1, 0]]
    loss.sum().backward()
    assert logits.grad[:, 0].abs().max() > 0 and logits.grad[:, 1].abs().max() == 0
    worse, _ = mask_losses(logits, torch.tensor([[0.0, 1.0]]), targets)
    torch.testing.assert_close(worse - loss, torch.ones(1))


def test_the_middle_is_farthest_from_the_border():
    region = torch.zeros(20, 30, dtype=torch.bool)
    region[4:13, 10:21] = True
    assert middle(region).tolist() in [[x + 0.5, 8.5] for x in (14, 15, 16)]
    region[:] = False
    region[0:3, 0:9] = True
    x, y = middle(region).tolist()
    assert y == 1.5 and 1 < x < 8
    region[:] = False
    region[7, 9] = True
    assert middle(region).tolist() == [9.5, 7.5]


def test_clicks_find_their_surroundings_before_training():
    """The start as a matcher: attention between a click and the picture is strongest at the click."""
    model = build_segmenter(0)
    attention = model.mask_decoder.transformer.layers[0].cross_attn_token_to_image
    positions = model.get_image_wide_positional_embeddings()[0].flatten(1).T
    place = torch.tensor([[[[100.0, 60.0]]]])
    with torch.no_grad():
        click = model.prompt_encoder(place, torch.ones(1, 1, 1), None, None)[0][0, 0, 0]
        scores = (attention.k_proj(positions) * attention.q_proj(click)).sum(1).reshape(32, 32)
    row, column = divmod(int(scores.argmax()), 32)
    assert abs(row - 7) <= 2 and abs(column - 12) <= 2
