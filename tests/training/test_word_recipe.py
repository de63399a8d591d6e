"""Training `tiny-words`: what captions say, and that a run in slices ends in the same model, which diffusers loads."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from safetensors.torch import load_file

from undertow.base import SettingsError
from undertow.training.video_architecture import load_tiny_parts
from undertow.training.word_architecture import WordShape, build_word_encoders, build_word_transformer, read_captions
from undertow.training.word_captions import Mention, caption_of, mentions_of
from undertow.training.word_denoiser import POOL, WordDenoiserSettings, WordStage, draw_batch, padded
from undertow.training.word_recipe import TinyWordsRecipe, train_tiny_words
from undertow.training.word_scenes import Lot, WordStore, make_word_shards
from undertow.training.word_validation import WordValidation, expression_states, word_maps
from undertow.world.calm import calm_scene
from undertow.world.captions import vocabulary_words

RECIPE = TinyWordsRecipe(
    lots=(Lot("calm", 1, (32, 32)), Lot("worlds", 1, (32, 48), worlds=1.0)),
    shape=WordShape(layers=2, heads=2, head_dim=16, tokens=16),
    denoiser=WordDenoiserSettings(stages=(WordStage("calm", 2, 2, pool=2), WordStage("calm+worlds", 2, 1))),
    validation=WordValidation(calm=2, worlds=1, families=("plain",), size=(48, 64), sigmas=(0.5,)),
    validate_every=2,
)


@pytest.fixture(scope="module", autouse=True)
def few_scenes():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("undertow.training.word_scenes.SCENES_PER_SHARD", 4)
        yield


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    list(make_word_shards(folder, RECIPE.lots, None, load_tiny_parts().vae))
    return folder


def test_captions_say_what_is_true_in_known_words():
    known = set(vocabulary_words())
    random = np.random.default_rng(0)
    red = Mention("striped", "red", "disc", 0.2, 0.5, 0.3)
    blue = Mention("plain", "blue", "star", 0.8, 0.5, 0.1)
    said = {caption_of(random, [red, blue], 0.5) for _ in range(2000)}
    phrases = {phrase for caption in said for phrase in caption.split(", ")}
    assert all(set(phrase.split()) <= known for phrase in phrases)
    of_red = {phrase.split(" to the ")[0] for phrase in phrases if "disc" in phrase.split(" to the ")[0]}
    assert "a large striped red disc on the left" in of_red
    assert any(phrase.startswith("the largest") for phrase in of_red)
    assert not any(word in phrase for phrase in of_red for word in ("blue", "small", "right", "plain", "star"))
    assert any(phrase.endswith("disc to the left of the blue star") for phrase in phrases)
    assert any("," not in caption for caption in said) and any("," in caption for caption in said)
    assert red.mirrored().x == 0.8 and red.mirrored().noun == "disc"
    assert caption_of(random, []) == ""


def test_mentions_are_of_what_is_seen():
    scene = calm_scene(3, (64, 96))
    mentions, labels = mentions_of(scene), scene.labels(0.0)
    assert len(mentions) == len(scene.things)
    for number, (mention, thing) in enumerate(zip(mentions, scene.things, strict=True), 1):
        row, column = np.argwhere(labels == number).mean(axis=0)
        assert (mention.x, mention.y) == pytest.approx(((column + 0.5) / 96, (row + 0.5) / 64))
        assert mention.noun == thing.shape.kind and mention.texture in {"", thing.materials[0].kind, "grainy", "cloudy"}


def test_batches_are_functions_of_the_step_and_captions_of_alike_lengths(work):
    tokenizer, _ = build_word_encoders(0)
    stores = {"calm": WordStore(work / "calm", 1.0)}
    settings = WordDenoiserSettings(stages=(WordStage("calm", 8, 100, most=3),))
    batches = [draw_batch(stores, tokenizer, settings, step) for step in range(POOL)]
    latents, tokens = draw_batch(stores, tokenizer, settings, 2)
    assert torch.equal(latents, batches[2][0]) and torch.equal(tokens, batches[2][1])
    lengths = [[int((row != tokenizer.eos_token_id).sum()) for row in tokens] for _, tokens in batches]
    # Sorted together and cut: batches overlap at one length at most.
    spans = sorted((min(each), max(each)) for each in lengths)
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    assert padded([[1, 2], [3]], tokenizer).tolist() == [[1, 2], [3, tokenizer.eos_token_id]]


def test_maps_of_words_are_the_attention_of_a_stock_forward():
    tokenizer, encoders = build_word_encoders(1)
    transformer = build_word_transformer(0, RECIPE.shape)
    states, words = expression_states(encoders, tokenizer, "the red disc", magnets=2)
    # Begin, three words and an end; then a magnet with its own end, twice.
    assert states.shape == (1, 5 + 2 * 2, 128) and words == [[2], [3]]
    plain = read_captions(encoders, torch.tensor([tokenizer("the red disc")["input_ids"]]))
    assert torch.equal(states[:, :5], plain)
    maps = word_maps(transformer, torch.randn(1, 4, 8, 12), states, 0.5)
    assert len(maps) == 2 * 3 and maps[1, "B"].shares.shape == (9, 24)
    assert torch.allclose(maps[1, "B"].shares.sum(0), torch.ones(24))
    share = maps[1, "A"].shares
    assert (share < maps[1, "B"].shares).all() and (share.sum(0) < 1).all()


def test_a_run_cut_into_slices_equals_one_run_and_loads_in_diffusers(work, tmp_path):
    sliced = tmp_path / "sliced"
    assert train_tiny_words(work, tmp_path / "a", RECIPE, device="cpu")
    slices = 0
    while not train_tiny_words(sliced, tmp_path / "b", RECIPE, device="cpu", minutes=1e-9):
        slices += 1
        assert slices < 20
    name = "transformer/diffusion_pytorch_model.safetensors"
    one, other = (load_file(tmp_path / out / name) for out in ("a", "b"))
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    facts = json.loads((tmp_path / "a" / "training.json").read_text())
    assert facts["step"] == 3 and {"calm 0.5 1 B", "error, own caption"} <= facts["validation"].keys()
    lines = [json.loads(line) for line in (work / "validation.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 3]

    pipeline = StableDiffusion3Pipeline.from_pretrained(
        tmp_path / "a", text_encoder_3=None, tokenizer_3=None, dtype=torch.float32
    )
    assert isinstance(pipeline.transformer, SD3Transformer2DModel) and pipeline.vae.config.shift_factor == 0
    states, _, pooled, _ = pipeline.encode_prompt("the red disc", None, None, do_classifier_free_guidance=False)
    assert states.shape[2] == 128 and not pooled.any()
    with pytest.raises(SettingsError, match="other settings"):
        train_tiny_words(work, tmp_path / "c", replace(RECIPE, seed=1), device="cpu")
