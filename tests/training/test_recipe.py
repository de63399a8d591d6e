import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from undertow.backbones import load
from undertow.base import SettingsError
from undertow.training.architecture import build_denoiser, build_scheduler, build_tokenizer
from undertow.training.autoencoder import AutoencoderSettings
from undertow.training.denoiser import DenoiserSettings, Grid, draw_timesteps
from undertow.training.directions import DirectionSettings
from undertow.training.learner import Learner
from undertow.training.pictures import (
    PhotoSettings,
    PictureSettings,
    make_photo_shard,
    make_photo_shards,
    make_shard,
    open_shard,
)
from undertow.training.recipe import TinyRecipe, train_tiny
from undertow.world import FIRST_VALIDATION_SEED, WorldSettings
from undertow.world.photographs import COLUMNS, list_photographs
from undertow.world.view_pairs import PairSettings

RECIPE = TinyRecipe(
    PictureSettings(shards=1, world=WorldSettings(height=32, width=32, leaves=2, objects=(1, 1), copies=0.0)),
    AutoencoderSettings(steps=4, batch=2, crop=16),
    DenoiserSettings(steps=4, grids=(Grid(8, 8, 2, 0.5), Grid(8, 4, 2, 0.5))),
    photos=PhotoSettings(shards=1, photographs=4, pairs=PairSettings(size=32)),
    directions=DirectionSettings(count=8, pictures=3, shorter=32, tokens=64),
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    make_shard(folder / "pictures", 0, RECIPE.pictures)
    return folder / "pictures"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twenty pictures with their sources; some of them are held out."""
    folder = tmp_path_factory.mktemp("photos")
    rows = [",".join(COLUMNS)]
    for number in range(20):
        pixels = np.random.default_rng(number).integers(0, 255, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((80, 60), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
        rows.append(f"{number}.png,set,1,{number}.png,Ann,CC-BY-4.0,https://example.org/{number}")
    (folder / "SOURCES.csv").write_text("\n".join(rows) + "\n")
    return folder


def work_with(pictures, folder):
    (folder / "pictures").mkdir(parents=True)
    for path in pictures.iterdir():
        (folder / "pictures" / path.name).write_bytes(path.read_bytes())
    return folder


def test_shards_are_a_function_of_their_number(pictures, tmp_path):
    make_shard(tmp_path, 0, RECIPE.pictures)
    first, again = open_shard(pictures, 0), open_shard(tmp_path, 0)
    assert np.array_equal(first.images, again.images) and first.captions == again.captions
    assert len(first.images) == len(first.captions) == 400
    assert set(np.unique(first.masks)) <= {0, 255}


def test_a_run_cut_into_slices_equals_one_run(pictures, tmp_path):
    whole, sliced = work_with(pictures, tmp_path / "whole"), work_with(pictures, tmp_path / "sliced")
    assert train_tiny(whole, tmp_path / "a", RECIPE, processes=1, device="cpu", snapshots=(2, 4))
    # A slice of no time stops after the first step of the stage it reaches, so it takes several to get through.
    slices = 0
    while not train_tiny(sliced, tmp_path / "b", RECIPE, processes=1, device="cpu", minutes=0.0):
        slices += 1
        assert slices < 30
    assert slices >= 4
    for part in ("unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"):
        a, b = (load_file(tmp_path / out / f"{part}.safetensors") for out in ("a", "b"))
        assert a.keys() == b.keys()
        for name in a:
            assert torch.equal(a[name], b[name]), (part, name)

    # A snapshot does not disturb training: the whole run took two, the sliced one none. The last one is the model.
    early, last, final = (
        load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
        for folder in (whole / "snapshots" / "000002", whole / "snapshots" / "000004", tmp_path / "a")
    )
    assert all(torch.equal(last[name], final[name]) for name in final)
    assert any(not torch.equal(early[name], final[name]) for name in final)
    assert json.loads((whole / "snapshots" / "000002" / "training.json").read_text())["step"] == 2

    backbone = load(tmp_path / "a", device="cpu", dtype="float32")
    assert backbone.projection is not None and backbone.projection.shape == (128, 8)
    latents = backbone.encode(np.zeros((1, 32, 64, 3), np.uint8))
    assert latents.shape == (1, 4, 8, 16)
    facts = json.loads((tmp_path / "a" / "training.json").read_text())
    assert facts["recipe"]["denoiser"]["steps"] == 4 and 0 <= facts["autoencoder"]["pictures"]["mask_miou"] <= 1

    with pytest.raises(SettingsError, match="other settings"):
        train_tiny(whole, tmp_path / "c", replace(RECIPE, seed=1), processes=1, device="cpu")


def test_learner_goes_on_exactly(tmp_path):
    def steps(learner, count):
        for _ in range(count):
            x = torch.randn(4, 3, generator=torch.Generator().manual_seed(learner.step))
            learner.update(learner.modules["m"](x).square().mean(), total_steps=10, warmup=2)

    def fresh():
        torch.manual_seed(0)
        return Learner({"m": torch.nn.Linear(3, 2)}, rate=0.1)

    one = fresh()
    steps(one, 6)
    first = fresh()
    steps(first, 3)
    first.save(tmp_path / "half.safetensors")
    second = fresh()
    second.load(tmp_path / "half.safetensors")
    steps(second, 3)
    for name, parameter in one.parameters.items():
        assert torch.equal(parameter, second.parameters[name])
        assert torch.equal(one.average[name], second.average[name])
    with pytest.raises(SettingsError, match="not a checkpoint of this model"):
        Learner({"m": torch.nn.Linear(4, 2)}, rate=0.1).load(tmp_path / "half.safetensors")


def test_average_follows_the_weights():
    torch.manual_seed(0)
    learner = Learner({"m": torch.nn.Linear(3, 2)}, rate=0.1)
    for _ in range(20):
        learner.update(learner.modules["m"](torch.ones(1, 3)).square().mean(), total_steps=100)
    name = "m.weight"
    gap = (learner.average[name] - learner.parameters[name]).abs().max()
    assert 0 < gap < 1.0
    trained = learner.parameters[name].clone()
    with learner.averaged():
        assert torch.equal(learner.parameters[name], learner.average[name])
    assert torch.equal(learner.parameters[name], trained)
    learner.use_average()
    assert torch.equal(learner.parameters[name], learner.average[name])


def test_self_attention_starts_as_a_matcher():
    unet = build_denoiser(seed=0)
    pairs = [m for n, m in unet.named_modules() if n.endswith("attn1")]
    assert len(pairs) == 7
    for attention in pairs:
        assert torch.equal(attention.to_q.weight, attention.to_k.weight)
        assert attention.heads == 1 and attention.to_q.weight.shape == (128, 128)


def test_tokenizer_keeps_words_and_marks_apart():
    tokenizer = build_tokenizer()
    caption = "a large striped red disc to the left of a small dotted blue blob."
    assert [t.removesuffix("</w>") for t in tokenizer.tokenize(caption)] == caption.replace(".", " .").split()
    ids = tokenizer("", padding="max_length", max_length=32)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id and ids[1] == tokenizer.eos_token_id and len(ids) == 32
    assert tokenizer.unk_token_id not in tokenizer("an unknown zebra!", add_special_tokens=False)["input_ids"]


def test_tokenizer_is_the_same_in_every_process():
    code = "from undertow.training.architecture import build_tokenizer as b; print(sorted(b().get_vocab().items()))"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1 and len(runs.pop()) > 1000


def test_timesteps_follow_the_law():
    drawn = torch.cat([draw_timesteps(DenoiserSettings(), 1000, step) for step in range(20)])
    assert int(drawn.min()) >= 0 and int(drawn.max()) <= 999
    expected_low = 0.15 + 0.25 * 0.12 + 0.6 * 0.0626
    assert abs(float((drawn < 120).float().mean()) - expected_low) < 0.02
    assert abs(float(((drawn > 200) & (drawn < 500)).float().mean()) - (0.6 * 0.683 + 0.25 * 0.3)) < 0.02
    assert torch.equal(draw_timesteps(DenoiserSettings(), 8, 3), draw_timesteps(DenoiserSettings(), 8, 3))


def test_denoiser_target_is_diffusers_velocity():
    scheduler = build_scheduler()
    latents, noise = torch.randn(2, 4, 4, 4), torch.randn(2, 4, 4, 4)
    timesteps = torch.tensor([41, 700])
    alpha = scheduler.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    ours = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
    torch.testing.assert_close(ours, scheduler.get_velocity(latents, noise, timesteps))


def test_held_out_seeds_are_never_drawn(tmp_path):
    with pytest.raises(ValueError, match="held-out"):
        make_shard(tmp_path, FIRST_VALIDATION_SEED // 200, RECIPE.pictures)


def test_views_of_photographs_are_a_function_of_their_shard(photos, tmp_path):
    listed = list_photographs(photos)
    for folder in ("a", "b"):
        for number in (0, 1):
            make_photo_shard(tmp_path / folder, number, RECIPE.photos, listed)
    first, again, other = (open_shard(tmp_path / f, n) for f, n in (("a", 0), ("b", 0), ("a", 1)))
    assert first.images.shape == (400, 32, 32, 3) and first.captions == [""] * 400
    assert np.array_equal(first.images, again.images) and not np.array_equal(first.images, other.images)
    assert set(np.unique(first.masks)) == {0, 255}


def test_held_out_photographs_are_never_read(photos, tmp_path):
    kept = [photograph for photograph in list_photographs(photos) if photograph.held_out]
    assert kept
    for path in photos.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for photograph in kept:
        (tmp_path / photograph.path.name).write_text("not read")
    settings = replace(RECIPE.photos, photographs=20)
    assert list(make_photo_shards(tmp_path / "views", settings, list_photographs(tmp_path), processes=1)) == [0]


@pytest.mark.slow
def test_a_finished_model_is_trained_further_on_photographs(pictures, photos, tmp_path):
    # From nothing, with photographs: the autoencoder learns from them too.
    work = work_with(pictures, tmp_path / "work")
    assert train_tiny(work, tmp_path / "a", RECIPE, photos=photos, processes=1, device="cpu")
    facts = json.loads((tmp_path / "a" / "training.json").read_text())
    assert facts["photographs"] == 20 and not facts["further"] and set(facts["autoencoder"]) == {"pictures", "views"}
    assert "https://example.org/19" in (tmp_path / "a" / "PHOTOGRAPHS.md").read_text()

    # From that model: its autoencoder stays, its denoiser goes on.
    work = work_with(pictures, tmp_path / "more")
    arguments = {"photos": photos, "start": tmp_path / "a", "processes": 1, "device": "cpu"}
    assert train_tiny(work, tmp_path / "b", RECIPE, **arguments)
    before, after = (load_file(tmp_path / n / "vae" / "diffusion_pytorch_model.safetensors") for n in ("a", "b"))
    assert all(torch.equal(before[name], after[name]) for name in before)
    before, after = (load_file(tmp_path / n / "unet" / "diffusion_pytorch_model.safetensors") for n in ("a", "b"))
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert len(moved) > len(before) / 2
    with pytest.raises(SettingsError, match="other settings"):
        train_tiny(work, tmp_path / "c", RECIPE, processes=1, device="cpu")
    with pytest.raises(SettingsError, match="does not hold a model like tiny"):
        train_tiny(tmp_path / "none", tmp_path / "c", RECIPE, **(arguments | {"start": photos}))
