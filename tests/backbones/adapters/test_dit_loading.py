"""Folders of video transformers: all of one, only what will run, and what is wrong with them."""

import json
import shutil
from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import T5Config, T5EncoderModel

from undertow.backbones import Site, get_card, load, random_video_backbone
from undertow.backbones.dit_published import SMALL_ARCHITECTURES
from undertow.base import SettingsError, WeightsUnavailable

KINDS = ("joint-sine", "dual", "self")


def save(kind, folder, shard="10GB"):
    """Writes a small model as `save_pretrained` does, with a T5 encoder."""
    backbone = random_video_backbone(kind, seed=4)
    architecture = SMALL_ARCHITECTURES[kind]
    backbone.transformer.save_pretrained(folder / "transformer", max_shard_size=shard)
    backbone.vae.save_pretrained(folder / "vae")
    scheduler = dict(architecture.scheduler)
    getattr(diffusers, scheduler.pop("_class_name")).from_config(scheduler).save_pretrained(folder / "scheduler")
    width = architecture.text[1]
    config = T5Config(vocab_size=20, d_model=width, d_kv=8, d_ff=width, num_layers=1, num_heads=2)
    T5EncoderModel(config).save_pretrained(folder / "text_encoder")
    return backbone


@pytest.fixture(scope="module", params=KINDS)
def saved(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "mine"
    return save(request.param, folder, shard="6KB"), folder


@pytest.fixture
def joint(tmp_path):
    """A folder to damage."""
    return save("joint", tmp_path / "mine"), tmp_path / "mine"


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """The user's cache, so that no test meets what another left there."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "undertow" / "null-text"


def clip():
    return torch.randn(2, 4, 4, 6, generator=torch.Generator().manual_seed(0))


def close(found, expected):
    """The same but for the rounding that the alignment of memory decides."""
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def load_like(backbone, folder, **options):
    """The model in `folder`; where a token is cannot be told from files."""
    loaded = load(folder, device="cpu", dtype="float32", **options)
    loaded.card = replace(loaded.card, positions=backbone.card.positions)
    return loaded


def spoil(folder, component, part):
    """Makes the tensors whose names contain `part` not finite."""
    spoiled = 0
    for file in (folder / component).glob("*.safetensors"):
        weights = load_file(file)
        for name in weights:
            if part in name:
                weights[name] = torch.full_like(weights[name], torch.nan)
                spoiled += 1
        save_file(weights, file, {"format": "pt"})
    assert spoiled


def test_a_loaded_model_is_the_saved_one(saved):
    backbone, folder = saved
    loaded = load_like(backbone, folder)
    text = backbone.embed("a kite")
    close(loaded.denoise(clip(), 19, text), backbone.denoise(clip(), 19, text))
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    latents = backbone.encode(images)
    assert loaded.vae.decoder is None
    close(loaded.encode(images), latents)
    assert np.abs(loaded.decode(latents).astype(int) - backbone.decode(latents)).max() <= 1
    assert loaded.sites() == backbone.sites() and not loaded.partial
    assert loaded.card.name == "mine" and loaded.card.sites == backbone.card.sites
    assert loaded.fingerprint() == backbone.fingerprint()
    tensors = [*loaded.transformer.parameters(), *loaded.transformer.buffers(), *loaded.vae.parameters()]
    assert not any(tensor.is_meta or tensor.requires_grad for tensor in tensors)


def test_blocks_after_the_last_site_are_not_read(saved, tmp_path):
    backbone, folder = saved
    sites, text = backbone.sites()[:2], backbone.embed("a kite")
    folder = shutil.copytree(folder, tmp_path / "copy")
    later = backbone.sites()[2].path.rpartition(".")[0]
    spoil(folder, "transformer", f"{later}.")
    spoil(folder, "vae", "decoder.")
    with pytest.raises(WeightsUnavailable, match=rf"NaN or infinite numbers in {later}"):
        load(folder, device="cpu", dtype="float32")
    loaded = load_like(backbone, folder, sites=sites[::-1])
    assert loaded.partial and loaded.sites() == sites
    seen, whole = (each.observe(clip(), 19, sites, text, features=True) for each in (loaded, backbone))
    for site in sites:
        close(seen.queries[site.path], whole.queries[site.path])
        close(seen.keys[site.path], whole.keys[site.path])
        close(seen.features[site.path], whole.features[site.path])
    with pytest.raises(SettingsError, match="enough to observe but not to denoise"):
        loaded.denoise(clip(), 19, text)
    with pytest.raises(WeightsUnavailable, match=r"decoder.* has NaN"):
        loaded.decode(clip())
    assert loaded.fingerprint() != backbone.fingerprint()


def test_a_shard_that_is_not_needed_may_be_absent(saved, tmp_path):
    backbone, folder = saved
    folder = shutil.copytree(folder, tmp_path / "copy")
    first = backbone.sites()[0]
    index = json.loads((folder / "transformer" / "diffusion_pytorch_model.safetensors.index.json").read_text())
    last = backbone.sites()[-1].path.rpartition(".")[0]
    files = index["weight_map"]
    mine = {file for name, file in files.items() if name.startswith(f"{last}.")}
    others = {file for name, file in files.items() if not name.startswith(f"{last}.")}
    (folder / "transformer" / sorted(mine - others)[0]).unlink()
    loaded = load_like(backbone, folder, sites=[first])
    text = backbone.embed("a kite")
    seen, whole = (each.observe(clip(), 19, [first], text) for each in (loaded, backbone))
    close(seen.keys[first.path], whole.keys[first.path])
    with pytest.raises(WeightsUnavailable, match=r"lacks .* of its weights"):
        load(folder, device="cpu", dtype="float32")


def test_sites_by_purpose(joint):
    _, folder = joint
    assert len(load(folder, device="cpu", sites="points").sites()) == 2
    with pytest.raises(SettingsError, match="'mine' has no sites for 'parse'; it has some for points, track"):
        load(folder, device="cpu", sites="parse")
    with pytest.raises(SettingsError, match=r"no attention called 'blocks\.9\.attn1'"):
        load(folder, device="cpu", sites=[Site("blocks.9.attn1", "self", 2, 16, 8)])


def test_half_precision(joint):
    _, folder = joint
    loaded = load(folder, device="cpu", dtype="bfloat16")
    assert {weight.dtype for weight in loaded.transformer.parameters()} == {torch.bfloat16}
    assert loaded.encode(np.zeros((1, 16, 16, 3), np.uint8)).dtype == torch.float32
    wan = load_kind("self", folder.parent / "wan")
    assert {weight.dtype for weight in wan.vae.parameters()} == {torch.float32}
    assert wan.transformer.blocks[0].scale_shift_table.dtype == torch.float32
    assert wan.transformer.blocks[0].attn1.to_q.weight.dtype == torch.bfloat16
    assert wan.denoise(clip(), 19, random_video_backbone("self").embed("")).isfinite().all()


def load_kind(kind, folder):
    save(kind, folder)
    return load(folder, device="cpu", dtype="bfloat16")


def test_the_empty_text_is_computed_once(joint, cache, monkeypatch):
    _, folder = joint
    reads = []
    real = T5EncoderModel.from_pretrained.__func__
    monkeypatch.setattr(
        T5EncoderModel, "from_pretrained", classmethod(lambda cls, *a, **k: reads.append(a) or real(cls, *a, **k))
    )
    model = load(folder, device="cpu", dtype="float32")
    assert reads == [] and not cache.exists()
    first = model.embed("")
    assert model.embed("") is first and len(reads) == 1
    assert first.provenance == "null" and first.tensor.shape == (16, 32) and first.tensor.dtype == torch.float32
    encoder = real(T5EncoderModel, folder / "text_encoder", dtype=torch.bfloat16).eval()
    with torch.no_grad():
        expected = encoder(torch.tensor([[1] + [0] * 15])).last_hidden_state[0].float()
    torch.testing.assert_close(first.tensor, expected)
    (file,) = cache.iterdir()
    assert file.stat().st_size < 16 * 32 * 4 + 500
    # From now on the encoder need not be there, in whatever number type and however much of the model is loaded.
    shutil.rmtree(folder / "text_encoder")
    for again in (load(folder, device="cpu", sites="points"), load(folder, device="cpu", dtype="bfloat16")):
        assert torch.equal(again.embed("").tensor, first.tensor) and again.embed("").provenance == "null"
    assert len(reads) == 1
    with pytest.raises(WeightsUnavailable, match="has no text encoder and the states of this text are not kept"):
        again.embed("a kite")
    # A damaged file is no more than an absent one.
    file.write_bytes(b"nothing")
    with pytest.raises(WeightsUnavailable, match="has no text encoder"):
        load(folder, device="cpu").embed("")


def test_models_with_other_text_weights_have_other_null_texts(joint, cache, tmp_path):
    _, folder = joint
    other = shutil.copytree(folder, tmp_path / "other")
    file = next((other / "transformer").glob("*.safetensors"))
    weights = load_file(file)
    weights["patch_embed.text_proj.weight"] += 1
    save_file(weights, file, {"format": "pt"})
    for each in (folder, other):
        load(each, device="cpu").embed("")
    assert len(list(cache.iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_no_obstacle(joint, monkeypatch, tmp_path):
    _, folder = joint
    (tmp_path / "home").write_text("a file where the folder should be")
    assert load(folder, device="cpu").embed("").tensor.isfinite().all()


def test_models_that_are_not_read(joint):
    _, folder = joint
    path = folder / "transformer" / "config.json"
    config = json.loads(path.read_text())
    for change, message in (
        ({"_class_name": "MochiTransformer3DModel"}, "holds a MochiTransformer3DModel; undertow reads CogVideoX, Hun"),
        ({"patch_size_t": 2}, r"'mine' puts several latent frames into one token \(CogVideoX 1\.5\)"),
        ({"in_channels": 7}, "lacks|do not load|reads 7 channels and its latents have 4"),
    ):
        path.write_text(json.dumps(config | change))
        with pytest.raises((SettingsError, WeightsUnavailable), match=message):
            load(folder, device="cpu")
    path.write_text(json.dumps(config))
    with pytest.raises(SettingsError, match=r"latents of stride 4, where 'cogvideox-2b' has v_prediction and 8"):
        load(f"cogvideox-2b={folder}", device="cpu")
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(WeightsUnavailable, match=r"vae holds no weights"):
        load(folder, device="cpu")


def test_a_folder_is_read_like_the_card_it_fits(joint, monkeypatch):
    backbone, folder = joint
    mine = replace(
        get_card("cogvideox-2b"),
        name="known",
        latent_stride=4,
        positions="cells",
        sites={"points": (backbone.sites()[0],), "track": (backbone.sites()[0],)},
    )
    monkeypatch.setattr("undertow.backbones.adapters.dit_loading.list_cards", lambda: [get_card("cogvideox-2b"), mine])
    loaded = load(folder, device="cpu", sites="points")
    assert loaded.card.positions == "cells" and loaded.card.notes == "read like known"
    assert loaded.sites() == backbone.sites()[:1] and loaded.card.licence == "unknown"
