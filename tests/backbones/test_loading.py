"""From a name or folder to a model, including folders that are damaged or hold something else."""

import json
import subprocess
import sys

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from undertow.backbones import ImageUNet, get_card, load, matcher_start
from undertow.backbones.cards.nearest import nearest_card
from undertow.backbones.loading import untrained_denoiser
from undertow.backbones.weights.locating import embedded_folder
from undertow.base import SettingsError, WeightsUnavailable

UNET = "unet/diffusion_pytorch_model.safetensors"


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_saved_model_comes_back_the_same(model, saved, latents, sites):
    loaded = load(saved, device="cpu", dtype="float32")
    assert loaded.card.name == "my-model" and loaded.card.prediction == "v_prediction"
    assert torch.equal(loaded.denoise(latents, 41), model.denoise(latents, 41))
    assert torch.equal(loaded.condition("a dog").tensor, model.condition("a dog").tensor)
    # No registered card has this network's heads, so its last decoder block is read.
    assert loaded.card.sites["track"] == (sites[0],)
    assert loaded.card.token_budget == 64
    seen = loaded.observe(latents, 41, sites[:1])
    assert torch.equal(seen.keys[sites[0].path], model.observe(latents, 41, sites[:1]).keys[sites[0].path])


def test_loading_says_nothing(saved, capfd):
    load(saved, device="cpu").condition("")
    assert capfd.readouterr() == ("", "")


def test_the_number_type_is_chosen_at_loading(saved, latents):
    loaded = load(str(saved), device="cpu", dtype="bfloat16")
    assert loaded.dtype == torch.bfloat16
    assert {weight.dtype for weight in [*loaded.denoiser.parameters(), *loaded.autoencoder.module.parameters()]} == {
        torch.bfloat16
    }
    assert loaded.condition("").tensor.dtype == torch.float32


def test_half_precision_and_sharded_copies_load(saved, copied, model, latents):
    model.denoiser.save_pretrained(copied / "unet", max_shard_size="300KB")
    (copied / UNET).unlink(missing_ok=True)
    assert len(list((copied / "unet").glob("*.safetensors"))) > 1
    assert torch.equal(load(copied, device="cpu", dtype="float32").denoise(latents, 41), model.denoise(latents, 41))
    for file in [*(copied / "unet").glob("*.safetensors"), *(copied / "unet").glob("*.index.json")]:
        file.unlink()
    half = {name: weight.to(torch.float16) for name, weight in load_file(saved / UNET).items()}
    save_file(half, copied / "unet" / "diffusion_pytorch_model.fp16.safetensors", metadata={"format": "pt"})
    rough = load(copied, device="cpu", dtype="float32").denoise(latents, 41)
    torch.testing.assert_close(rough, model.denoise(latents, 41), rtol=0.05, atol=0.01)


def test_a_known_network_gets_its_card(model):
    """Any folder whose network has the sites of a card is read as that card says."""
    from undertow.backbones import random_backbone

    known = random_backbone(get_card("sd-2.1"), device="meta")
    sites = known.sites("self", "cross")
    found = nearest_card("finetuned", "unet-image", "v_prediction", 8, sites)
    assert found.sites == get_card("sd-2.1").sites and found.name == "finetuned" and found.hub_ids == ()
    epsilon = nearest_card("finetuned", "unet-image", "epsilon", 8, sites)
    assert epsilon.window_grid == get_card("sd-2.1-base").window_grid


@pytest.mark.parametrize(
    ("name", "message"),
    [("sd-9", "no model is called 'sd-9'; give one of tiny"), ("tiny ", "no model is called 'tiny '")],
)
def test_unknown_names_are_refused(name, message):
    with pytest.raises(SettingsError, match=message):
        load(name)


def test_an_absent_folder_is_named(tmp_path):
    with pytest.raises(WeightsUnavailable, match="nowhere is not a folder"):
        load(tmp_path / "nowhere")


def test_nan_weights_are_named(copied):
    weights = load_file(copied / UNET)
    weights["conv_in.weight"][0, 0, 0, 0] = float("nan")
    save_file(weights, copied / UNET, metadata={"format": "pt"})
    with pytest.raises(WeightsUnavailable, match=r"NaN or infinite numbers in conv_in\.weight"):
        load(copied, device="cpu")


@pytest.mark.parametrize("component", ["unet", "vae", "text_encoder"])
def test_missing_weights_are_named(copied, component, latents):
    (file,) = (copied / component).glob("*.safetensors")
    weights = load_file(file)
    gone = sorted(weights)[0]
    del weights[gone]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(WeightsUnavailable, match=f"{component} lacks 1 of its weights, {gone}"):
        loaded = load(copied, device="cpu")
        loaded.condition("")
        loaded.decode(latents)


@pytest.mark.parametrize("component", ["unet", "text_encoder"])
def test_a_truncated_file_is_named(copied, component):
    (file,) = (copied / component).glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(WeightsUnavailable, match=f"{component} do not load"):
        load(copied, device="cpu").condition("")


def test_weights_of_another_shape_are_named(copied):
    edit(copied / "unet" / "config.json", cross_attention_dim=48)
    with pytest.raises(WeightsUnavailable, match="unet do not load"):
        load(copied, device="cpu")


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("unet/config.json", {"_class_name": "FluxTransformer2DModel"}, "holds a FluxTransformer2DModel"),
        ("unet/config.json", {"addition_embed_type": "text_image"}, "needs more than a text"),
        ("unet/config.json", {"in_channels": 9}, "reads 9 channels and its latents have 4"),
        ("scheduler/scheduler_config.json", {"prediction_type": "sample"}, "prediction_type is 'sample'"),
    ],
)
def test_models_of_another_kind_are_refused(copied, file, changes, message):
    edit(copied / file, **changes)
    with pytest.raises(SettingsError, match=message):
        load(copied, device="cpu")


def test_broken_json_is_named(copied):
    (copied / "scheduler" / "scheduler_config.json").write_text("{")
    with pytest.raises(WeightsUnavailable, match=r"scheduler_config\.json is not valid JSON"):
        load(copied, device="cpu")


def test_the_untrained_denoiser_is_a_function_of_its_shape(model):
    state = torch.random.get_rng_state()
    one, two = untrained_denoiser(model.denoiser.config), untrained_denoiser(model.denoiser.config)
    assert torch.equal(torch.random.get_rng_state(), state)
    weights = dict(two.named_parameters())
    assert all(torch.equal(weight, weights[name]) for name, weight in one.named_parameters())
    attention = one.get_submodule("mid_block.attentions.0.transformer_blocks.0.attn1")
    assert torch.equal(attention.to_q.weight, attention.to_k.weight)


@pytest.mark.skipif(not embedded_folder(get_card("tiny")).is_dir(), reason="the embedded weights are not there yet")
def test_the_embedded_model_and_its_control():
    trained, control = (
        load("tiny", device="cpu", dtype="float32"),
        load("tiny-untrained", device="cpu", dtype="float32"),
    )
    assert isinstance(trained, ImageUNet)
    sites, latents = trained.card.sites["track"], torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    path = sites[0].path
    one, two = (model.observe(latents, 41, sites).keys[path] for model in (trained, control))
    assert one.shape == two.shape and not torch.allclose(one, two)
    assert torch.equal(trained.condition("").tensor, control.condition("").tensor)
    assert trained.condition("a red disc").tensor.isfinite().all()


def test_importing_the_room_needs_no_video():
    code = (
        "import sys, undertow.backbones, undertow.backbones.loading;"
        "found = [name for name in sys.modules if name == 'av' or name.startswith('undertow.video')];"
        "sys.exit(str(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


SHAPE = {
    "sample_size": 8,
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": (1, 2),
    "cross_attention_dim": 32,
    "norm_num_groups": 8,
}


def self_attentions(unet):
    return {name: module for name, module in unet.named_modules() if name.endswith("attn1")}


@pytest.mark.parametrize("logit", [5.0, 2.0])
def test_a_token_matches_itself_with_the_logit_asked_for(logit):
    unet = UNet2DConditionModel(**SHAPE)
    matcher_start(unet, 0, logit)
    tokens = torch.nn.functional.layer_norm(torch.randn(50, 64), (64,))
    for attention in self_attentions(unet).values():
        queries, keys = (proj(tokens).view(50, 2, 32).transpose(0, 1) for proj in (attention.to_q, attention.to_k))
        logits = queries @ keys.transpose(1, 2) / 32**0.5
        # Eps in the layer norm takes a hundred-thousandth off.
        torch.testing.assert_close(logits.diagonal(dim1=1, dim2=2).mean(0), torch.full((50,), logit), rtol=1e-3, atol=0)
        off_diagonal = logits - torch.diag_embed(logits.diagonal(dim1=1, dim2=2))
        assert off_diagonal.mean().abs() < 0.1 * logit


def test_it_is_a_function_of_the_seed_and_touches_self_attention_only():
    torch.manual_seed(0)
    one = UNet2DConditionModel(**SHAPE)
    torch.manual_seed(0)
    two = UNet2DConditionModel(**SHAPE)
    before = {name: weight.clone() for name, weight in two.named_parameters()}
    matcher_start(one, 4)
    matcher_start(two, 4)
    others = dict(two.named_parameters())
    assert all(torch.equal(weight, others[name]) for name, weight in one.named_parameters())
    changed = {name for name, weight in one.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == {f"{name}.{side}.weight" for name in self_attentions(one) for side in ("to_q", "to_k")}
    matcher_start(two, 5)
    assert not torch.equal(
        one.mid_block.attentions[0].transformer_blocks[0].attn1.to_q.weight,
        two.mid_block.attentions[0].transformer_blocks[0].attn1.to_q.weight,
    )
