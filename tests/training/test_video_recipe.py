import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, CogVideoXDDIMScheduler, CogVideoXTransformer3DModel
from diffusers.models.embeddings import apply_rotary_emb, get_3d_rotary_pos_embed
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizerFast

from undertow.base import SettingsError
from undertow.training.denoiser import (
    Stage,
    VideoDenoiserSettings,
    draw_clean,
    draw_rotary,
    draw_timesteps,
)
from undertow.training.latents import ClipStore, Cut
from undertow.training.video_architecture import (
    VideoShape,
    blocks,
    build_transformer,
    load_tiny_parts,
    read_video,
    rotary,
    untied,
)
from undertow.training.video_clips import (
    FIRST_CLIP_SEED,
    ClipSettings,
    PhotoClipSettings,
    draw_scene,
    make_clip_shard,
    make_photo_clip_shard,
)
from undertow.training.video_recipe import TinyVideoRecipe, train_tiny_video
from undertow.training.video_validation import (
    Compared,
    VideoValidation,
    compared,
    control_scores,
    delta_average,
    match,
    photograph_clips,
    validate_video,
    validation_clips,
)
from undertow.world import FIRST_VALIDATION_SEED
from undertow.world.photographs import COLUMNS, list_photographs
from undertow.world.view_clips import ViewClipSettings
from undertow.world.view_pairs import PairSettings

SHAPE = VideoShape(layers=2, heads=2, head_dim=16, time_width=16, lookers=1)
PHOTOS = PhotoClipSettings(
    shards=1, clips=3, photographs=2, views=ViewClipSettings(frames=5, views=PairSettings(size=32))
)
RECIPE = TinyVideoRecipe(
    ClipSettings(shards=2, scenes=2, frames=5, size=(32, 40), masks=0.5),
    PHOTOS,
    SHAPE,
    VideoDenoiserSettings(stages=(Stage(1, 4, 8, 3, 1), Stage(3, 8, 6, 2, 2))),
    VideoValidation(families=("plain",), frames=2, size=(32, 32), points=9, photographs=2, block=1),
    validate_every=2,
)


@pytest.fixture(scope="module")
def parts():
    return load_tiny_parts()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of sixty small photographs, some of which are held out."""
    folder, rows = tmp_path_factory.mktemp("photos"), [",".join(COLUMNS)]
    for number in range(60):
        pixels = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((80, 60)).save(folder / f"{number:04d}.png")
        rows.append(f"{number:04d}.png,made,1,here,Ann,CC0-1.0,")
    (folder / "SOURCES.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("clips")
    for number in range(RECIPE.clips.shards):
        assert make_clip_shard(folder, number, RECIPE.clips, parts.vae)
    return folder


def work_with(clips, folder):
    (folder / "clips").mkdir(parents=True)
    for path in clips.iterdir():
        (folder / "clips" / path.name).write_bytes(path.read_bytes())
    return folder


def test_shards_are_a_function_of_their_number(clips, parts, tmp_path):
    assert make_clip_shard(tmp_path, 1, RECIPE.clips, parts.vae)
    assert not make_clip_shard(tmp_path, 1, RECIPE.clips, parts.vae)
    for name in ("00001.latents.npy", "00001.json"):
        assert (tmp_path / name).read_bytes() == (clips / name).read_bytes()
    latents, captions = np.load(clips / "00001.latents.npy"), json.loads((clips / "00001.json").read_text())
    assert latents.shape[1:] == (5, 4, 8, 10) and latents.dtype == np.float16
    assert len(latents) == len(captions) and all(1 <= len(each) <= 6 for each in captions)


def test_masks_are_clips_of_their_own(parts, tmp_path):
    # All scenes give masks: every second clip decodes to black and white, and shares the captions of the one before.
    settings = replace(RECIPE.clips, masks=1.0)
    make_clip_shard(tmp_path, 0, settings, parts.vae)
    latents = torch.from_numpy(np.load(tmp_path / "00000.latents.npy")).float()
    captions = json.loads((tmp_path / "00000.json").read_text())
    assert len(latents) == 4 and captions[0] == captions[1] and captions[2] == captions[3]
    with torch.no_grad():
        back = parts.vae.decode(latents[1]).sample
    truth = draw_scene(0, settings)
    for frame, decoded in enumerate(back):
        mask = truth.scene.labels(truth.spacing * frame) > 0
        assert ((decoded.mean(dim=0).numpy() > 0) == mask).mean() > 0.97


def test_shards_of_photographs_are_a_function_of_their_number(photos, parts, tmp_path):
    seen = [photograph for photograph in list_photographs(photos) if not photograph.held_out]
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        assert make_photo_clip_shard(folder, 4, PHOTOS, seen, parts.vae)
        assert not make_photo_clip_shard(folder, 4, PHOTOS, seen, parts.vae)
    latents, again = (np.load(tmp_path / name / "00004.latents.npy") for name in "ab")
    assert np.array_equal(latents, again) and latents.shape == (3, 5, 4, 8, 8)
    assert json.loads((tmp_path / "a" / "00004.json").read_text()) == [[""]] * 3


def test_training_seeds_stay_below_the_held_out_ones():
    draw_scene(0, RECIPE.clips)
    with pytest.raises(ValueError, match="below the held-out ones"):
        draw_scene(FIRST_VALIDATION_SEED - FIRST_CLIP_SEED, RECIPE.clips)


def test_batches_are_a_function_of_the_seed(clips, parts):
    store = ClipStore({clips: 1.0}, parts.tokenizer, 0.5)
    cut = Cut(3, 4, 6, 5)
    latents, tokens = store.batch(cut, (0, 7, 1))
    again, other = store.batch(cut, (0, 7, 1)), store.batch(cut, (0, 8, 1))
    assert latents.shape in ((5, 3, 4, 4, 6), (5, 3, 4, 6, 4)) and tokens.shape == (5, 32)
    assert torch.equal(latents, again[0]) and torch.equal(tokens, again[1])
    assert not torch.equal(tokens, other[1]) or not torch.equal(latents.flatten(), other[0].flatten())


def test_an_undrifting_window_is_a_piece_of_the_clip(clips, parts):
    store = ClipStore({clips: 1.0}, parts.tokenizer, 0.5)
    latents, _ = store.batch(Cut(2, 8, 10, 4, strides=(3,), drifting=0.0, empty=0.0), (0, 1))
    if latents.shape[3] != 8:
        latents, _ = store.batch(Cut(2, 10, 8, 4, strides=(3,), drifting=0.0, empty=0.0), (0, 1))
    whole = [torch.from_numpy(np.array(clip)).float() * 0.5 for shard in store.latents for clip in shard]
    for example in latents:
        # Five frames, three apart: the pair begins at frame 0 or 1.
        assert any(torch.equal(example, clip[first : first + 4 : 3]) for clip in whole for first in (0, 1))


def test_empty_captions_are_the_null_text(clips, parts):
    store = ClipStore({clips: 1.0}, parts.tokenizer, 1.0)
    _, tokens = store.batch(Cut(1, 4, 4, 3, empty=1.0), (0,))
    expected = parts.tokenizer([""], padding="max_length", max_length=32)["input_ids"][0]
    assert tokens.tolist() == [expected] * 3


def test_rotation_equals_the_published_one():
    ours = rotary(torch.arange(3.0), torch.arange(4.0), torch.arange(5.0), 32)
    theirs = get_3d_rotary_pos_embed(32, ((0, 0), (4, 5)), (4, 5), 3)
    for own, other in zip(ours, theirs, strict=True):
        assert torch.equal(own, other)


def test_matchers_share_one_metric_and_untie_for_files():
    transformer = build_transformer(0, SHAPE)
    names = [name for name, _ in transformer.named_parameters()]
    assert [name for name in names if "to_k" in name or "norm_k.weight" in name] == [
        "transformer_blocks.0.attn1.norm_k.weight",
        "transformer_blocks.0.attn1.to_k.weight",
        "transformer_blocks.0.attn1.to_k.bias",
        "transformer_blocks.1.attn1.to_k.bias",
    ]
    tied, free = (list(blocks(each))[1].attn1 for each in (transformer, untied(transformer)))
    assert tied.to_k.weight is tied.to_q.weight and tied.norm_k.weight is tied.norm_q.weight
    assert free.to_k.weight is not free.to_q.weight and free.norm_k.weight is not free.norm_q.weight
    assert torch.equal(free.to_k.weight, free.to_q.weight) and torch.equal(free.norm_k.weight, free.norm_q.weight)
    # Nothing is constant in what matchers compare, and it is not learnt either.
    for module in (tied.to_q, tied.to_k, tied.norm_q, tied.norm_k):
        assert not module.bias.any() and not module.bias.requires_grad


def test_a_token_matches_itself_with_the_starting_logit():
    transformer = build_transformer(0, replace(SHAPE, matcher_logit=7.0)).eval()
    torch.manual_seed(0)
    seen = compared(transformer, torch.randn(2, 4, 8, 8), torch.zeros(1, 32, 64), 100)
    logits = (seen[1].queries * seen[1].keys).unflatten(-1, (2, 16)).sum(-1) / 4
    assert torch.allclose(logits, torch.full_like(logits, 7.0), rtol=0.02)


def test_heads_of_the_first_blocks_begin_by_looking_at_their_neighbours():
    transformer = build_transformer(0, VideoShape(layers=2, heads=4, head_dim=64, time_width=16, lookers=2))
    ways = [(0, 1), (0, -1), (1, 0), (-1, 0)], [(-1.5, -1.5), (-1.5, 1.5), (1.5, -1.5), (1.5, 1.5)]
    waves = rotary(torch.arange(3.0), torch.arange(15.0), torch.arange(15.0), 64)
    for block, expected in zip(blocks(transformer), ways, strict=True):
        attention = block.attn1
        # Tokens that show nothing: what is left of queries and keys is constant but for the rotation.
        query, key = (
            attention.norm_q(attention.to_q.bias.view(4, 64)),
            attention.norm_k(attention.to_k.bias.view(4, 64)),
        )
        turned = [apply_rotary_emb(each[None, :, None].expand(1, 4, 675, 64), waves)[0] for each in (query, key)]
        logits = torch.einsum("ad,asd->as", turned[0].view(4, 3, 15, 15, 64)[:, 1, 7, 7], turned[1]) / 8
        attended = logits.softmax(1).view(4, 3, 15, 15)[:, 1]
        # Little goes to other frames or far away, and the mean place is the neighbour.
        assert attended[:, 3:12, 3:12].sum((1, 2)).min() > 0.8
        where = torch.arange(15.0) - 7
        for head, (down, right) in enumerate(expected):
            total = attended[head].sum()
            assert abs((attended[head].sum(1) @ where) / total - down) < 0.3
            assert abs((attended[head].sum(0) @ where) / total - right) < 0.3


def test_the_start_predicts_nothing_and_depends_on_the_seed_alone():
    first, again, other = build_transformer(3, SHAPE), build_transformer(3, SHAPE), build_transformer(4, SHAPE)
    states = [each.state_dict() for each in (first, again, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])
    waves = rotary(torch.arange(2.0), torch.arange(2.0), torch.arange(2.0), 16)
    sample = first(torch.randn(1, 2, 4, 4, 4), torch.zeros(1, 32, 64), torch.tensor([5]), image_rotary_emb=waves).sample
    assert sample.shape == (1, 2, 4, 4, 4) and not sample.any()


def test_stages_follow_one_another():
    settings = RECIPE.denoiser
    assert settings.steps == 3
    assert [settings.cut(step).frames for step in range(3)] == [1, 3, 3]


def test_some_frames_are_clean_and_one_never_is():
    settings = VideoDenoiserSettings(clean=0.5, also_clean=0.5)
    clean = torch.cat([draw_clean(settings, 64, 3, step) for step in range(20)])
    with_clean = clean.any(dim=1)
    assert 0.4 < with_clean.float().mean() < 0.6
    # Whichever clip has a clean frame has a clean first one; no clip is all clean.
    assert torch.equal(with_clean, clean[:, 0]) and not clean.all(dim=1).any()
    assert clean[with_clean, 1].float().mean() > 0.3
    # A picture alone is never clean: there would be nothing to learn.
    assert not draw_clean(settings, 64, 1, 0).any()


def test_timesteps_and_rotation_are_functions_of_seed_and_step():
    settings = VideoDenoiserSettings()
    timesteps = draw_timesteps(settings, 4000, 3)
    assert torch.equal(timesteps, draw_timesteps(settings, 4000, 3))
    assert 0.2 < (timesteps < 120).float().mean() < 0.32 and timesteps.min() >= 0 and timesteps.max() <= 999
    for step in range(4):
        first, again = (draw_rotary(settings, (2, 3, 4), 16, step) for _ in range(2))
        assert torch.equal(first[0], again[0]) and first[0].shape == (24, 16)
    assert not torch.equal(draw_rotary(settings, (2, 3, 4), 16, 0)[0], draw_rotary(settings, (2, 3, 4), 16, 1)[0])


def test_a_run_cut_into_slices_equals_one_run_and_loads_in_diffusers(clips, tmp_path):
    whole, sliced = work_with(clips, tmp_path / "whole"), work_with(clips, tmp_path / "sliced")
    assert train_tiny_video(whole, tmp_path / "a", RECIPE, device="cpu", snapshots=(1,))
    slices = 0
    while not train_tiny_video(sliced, tmp_path / "b", RECIPE, device="cpu", minutes=0.0):
        slices += 1
        assert slices < 20
    assert slices == 2
    files = ("transformer/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors")
    for name in files:
        a, b = (load_file(tmp_path / out / name) for out in ("a", "b"))
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
        early = load_file(whole / "snapshots" / "000001" / name)
        assert any(not torch.equal(a[key], early[key]) for key in a)
    facts = json.loads((tmp_path / "a" / "training.json").read_text())
    assert facts["step"] == 3 and len(facts["validation"]["worlds"]) == 2
    assert facts["score"] == facts["validation"]["worlds"][1]
    scores = [json.loads(line) for line in (whole / "validation.jsonl").read_text().splitlines()]
    assert [each["step"] for each in scores] == [1, 2, 3] and scores[-1]["validation"] == facts["validation"]

    out = tmp_path / "a"
    transformer = CogVideoXTransformer3DModel.from_pretrained(out / "transformer", low_cpu_mem_usage=False)
    assert transformer.config.patch_size_t is None and transformer.config.max_text_seq_length == 32
    looker, matcher = (block.attn1 for block in transformer.transformer_blocks)
    assert torch.equal(matcher.to_q.weight, matcher.to_k.weight) and not matcher.to_q.bias.any()
    assert torch.equal(matcher.norm_q.weight, matcher.norm_k.weight) and not matcher.norm_q.bias.any()
    assert not torch.equal(looker.to_q.weight, looker.to_k.weight)
    text_encoder = CLIPTextModel.from_pretrained(out / "text_encoder")
    tokenizer = CLIPTokenizerFast.from_pretrained(out / "tokenizer")
    ids = tokenizer("a red disc moves down.", padding="max_length", return_tensors="pt")["input_ids"]
    states = text_encoder(ids).last_hidden_state.to(transformer.dtype)
    waves = get_3d_rotary_pos_embed(16, ((0, 0), (4, 5)), (4, 5), 3)
    velocity = transformer(
        torch.zeros(1, 3, 4, 8, 10, dtype=transformer.dtype), states, torch.tensor([7]), image_rotary_emb=waves
    )
    assert velocity.sample.shape == (1, 3, 4, 8, 10)
    scheduler = CogVideoXDDIMScheduler.from_pretrained(out / "scheduler")
    assert scheduler.config.prediction_type == "v_prediction"
    assert scheduler.alphas_cumprod[-1] == 0 and scheduler.alphas_cumprod[0] > 0.99
    assert str(tmp_path) not in "".join(path.read_text() for path in out.rglob("*.json"))
    assert "_name_or_path" not in json.loads((out / "vae" / "config.json").read_text())
    vae = load_file(out / "vae" / "diffusion_pytorch_model.safetensors")
    theirs = load_tiny_parts().vae.state_dict()
    assert all(torch.equal(vae[name], theirs[name].half()) for name in theirs)
    assert AutoencoderKL.from_pretrained(out / "vae", low_cpu_mem_usage=False).config.latent_channels == 4

    with pytest.raises(SettingsError, match="other settings"):
        train_tiny_video(whole, tmp_path / "c", replace(RECIPE, seed=1), device="cpu")


def test_a_finished_model_is_trained_further_on_photographs(clips, photos, tmp_path):
    assert train_tiny_video(work_with(clips, tmp_path / "first"), tmp_path / "a", RECIPE, device="cpu")
    work, further = (
        work_with(clips, tmp_path / "second"),
        replace(RECIPE, denoiser=VideoDenoiserSettings(stages=(Stage(2, 4, 4, 2, 2),), rate=1e-3, seed=1)),
    )
    options = {"photos": photos, "start": tmp_path / "a", "device": "cpu"}
    while not train_tiny_video(work, tmp_path / "b", further, minutes=0.0, **options):
        pass
    scores = [json.loads(line) for line in (work / "validation.jsonl").read_text().splitlines()]
    first = json.loads((tmp_path / "a" / "training.json").read_text())
    # It begins with what the first model ended with, up to float16, and counts its own steps.
    assert [each["step"] for each in scores] == [0, 2, 2]
    assert scores[0]["validation"]["worlds"] == pytest.approx(first["validation"]["worlds"], abs=0.1)
    for each in scores:
        assert each["score"] == pytest.approx(
            (each["validation"]["worlds"][1] + each["validation"]["photographs"][1]) / 2
        )
    name = "transformer/diffusion_pytorch_model.safetensors"
    before, after = (load_file(tmp_path / out / name) for out in "ab")
    block = "transformer_blocks.{}.attn1.{}.weight"
    assert not torch.equal(before[block.format(1, "to_q")], after[block.format(1, "to_q")])
    assert torch.equal(after[block.format(1, "to_q")], after[block.format(1, "to_k")])
    assert "| 0000.png | Ann | CC0-1.0 |" in (tmp_path / "b" / "PHOTOGRAPHS.md").read_text()
    assert not (tmp_path / "a" / "PHOTOGRAPHS.md").exists()
    with pytest.raises(SettingsError, match="queries and keys differ"):
        read_video(tmp_path / "a", lookers=0)
    with pytest.raises(SettingsError, match="does not hold a model like tiny-video"):
        read_video(photos, lookers=1)


def test_photographs_that_validate_have_exact_points(photos):
    photographs = list_photographs(photos)
    kept = {photograph.path.stem for photograph in photographs if photograph.held_out}
    clips = photograph_clips(photographs, RECIPE.validation)
    assert len(clips) == 2 and {clip.name for clip in clips} <= kept
    for clip in clips:
        assert clip.frames.shape == (2, 32, 32, 3) and clip.tracks.shape == (9, 2, 2)
        assert clip.visible[:, 0].all() and delta_average(clip.tracks, clip) == 1.0


def test_matching_finds_a_shifted_pattern():
    torch.manual_seed(0)
    first = torch.nn.functional.normalize(torch.randn(6, 8, 32), dim=-1)
    shifted = torch.roll(first, (1, 2), dims=(0, 1))
    points = np.array([[20.0, 12.0], [28.0, 28.0]])
    tokens = torch.stack([first, shifted])
    found = match(Compared(tokens, tokens), points, (48, 64), 50.0)
    # Tokens are 8 pixels wide and the points are centres of tokens: two columns to the right, one row down.
    assert np.allclose(found[:, 0], points, atol=0.1)
    assert np.allclose(found[:, 1] - found[:, 0], (16, 8), atol=0.1)


def test_the_score_is_one_for_the_truth_and_falls_by_thresholds(parts):
    clip = validation_clips(RECIPE.validation)[0]
    assert delta_average(clip.tracks, clip) == 1.0
    # Three pixels of a picture of 32 are 24 of the raster's 256: beyond every threshold; 0.7 are 5.6: beyond three.
    assert delta_average(clip.tracks + np.array((3.0, 0.0)), clip) == 0.0
    assert delta_average(clip.tracks + np.array((0.7, 0.0)), clip) == pytest.approx(0.4)
    controls = control_scores(parts.vae, [clip])
    still = np.repeat(clip.tracks[:, :1], 2, axis=1)
    assert controls["still"] == delta_average(still, clip) and 0 <= controls["latents"] <= 1


def test_validation_scores_every_block(parts):
    clips = validation_clips(RECIPE.validation)
    transformer = build_transformer(0, SHAPE)
    text = torch.zeros(1, 32, 64)
    rotated = validate_video(transformer, parts.vae, text, clips, RECIPE.validation)
    plain = validate_video(transformer, parts.vae, text, clips, RECIPE.validation, rotated=False)
    assert len(rotated) == len(plain) == 2 and all(0 <= score <= 1 for score in (*rotated, *plain))
