"""One safetensors file in the original Stable Diffusion layout, and files that are something else."""

import re
from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from undertow.backbones import load, published
from undertow.backbones.cards import card_file
from undertow.backbones.published import ARCHITECTURES, Architecture
from undertow.backbones.weights import single_file
from undertow.backbones.weights.single_file import (
    CLIP,
    OPEN_CLIP,
    TEXT_ENCODERS,
    UNET,
    VAE,
    EmptyTextTokenizer,
    TextEncoder,
)
from undertow.base import SettingsError, WeightsUnavailable

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def original_unet_name(name, layers, attending):
    """Returns what the original code calls a weight of the denoiser; `attending` are decoder blocks with attention."""
    for ours, theirs in ENDS.items():
        if name.startswith(f"{ours}."):
            return name.replace(ours, theirs, 1)
    part, block, kind, index, rest = re.fullmatch(
        r"(down_blocks|up_blocks|mid_block)\.?(\d*)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)", name
    ).groups()
    block, index = int(block or 0), int(index)
    if kind == "resnets":
        rest = re.sub(r"^\w+", lambda match: RESNET[match[0]], rest)
    slot = {"resnets": 0, "attentions": 1}.get(kind)
    if part == "mid_block":
        return f"middle_block.{2 * index if kind == 'resnets' else 1}.{rest}"
    if kind == "downsamplers":
        return f"input_blocks.{(block + 1) * (layers + 1)}.0.{rest.replace('conv', 'op')}"
    if kind == "upsamplers":
        return f"output_blocks.{block * (layers + 1) + layers}.{2 if block in attending else 1}.{rest}"
    if part == "down_blocks":
        return f"input_blocks.{1 + block * (layers + 1) + index}.{slot}.{rest}"
    return f"output_blocks.{block * (layers + 1) + index}.{slot}.{rest}"


def original_vae(state, blocks):
    """Returns the autoencoder's weights as the original code names and shapes them."""
    named = {}
    for name, weight in state.items():
        name = re.sub(r"down_blocks\.(\d+)\.resnets", r"down.\1.block", name)
        name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
        name = re.sub(r"up_blocks\.(\d+)\.resnets", lambda found: f"up.{blocks - 1 - int(found[1])}.block", name)
        name = re.sub(
            r"up_blocks\.(\d+)\.upsamplers\.0", lambda found: f"up.{blocks - 1 - int(found[1])}.upsample", name
        )
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
        name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
        if "mid_block.attentions.0" in name:
            name = name.replace("mid_block.attentions.0", "mid.attn_1").replace("group_norm", "norm")
            name = re.sub(r"to_([qkv])\.", r"\1.", name).replace("to_out.0", "proj_out")
            weight = weight[:, :, None, None] if weight.ndim == 2 else weight
        named[f"{VAE}{name}"] = weight
    return named


def original_clip(state):
    return {f"{CLIP}text_model.{name.removeprefix('text_model.')}": weight for name, weight in state.items()}


def original_open_clip(state):
    """Returns the text encoder's weights as OpenCLIP names them, with q, k and v in one matrix."""
    state = {name.removeprefix("text_model."): weight for name, weight in state.items()}
    renamed = {
        "embeddings.position_embedding.weight": "positional_embedding",
        "embeddings.token_embedding.": "token_embedding.",
        "final_layer_norm.": "ln_final.",
        "encoder.layers.": "transformer.resblocks.",
        "layer_norm": "ln_",
        "mlp.fc1.": "mlp.c_fc.",
        "mlp.fc2.": "mlp.c_proj.",
        "self_attn.": "attn.",
    }
    named = {}
    for name, weight in state.items():
        if ".q_proj." in name:
            kind = name.rpartition(".")[2]
            stem = name.partition(".q_proj.")[0]
            weight = torch.cat([state[f"{stem}.{part}_proj.{kind}"] for part in "qkv"])
            name = f"{stem}.in_proj_{kind}"
        elif ".k_proj." in name or ".v_proj." in name:
            continue
        for ours, theirs in renamed.items():
            name = name.replace(ours, theirs)
        named[f"{OPEN_CLIP}{name}"] = weight
    return named


def original(model, encoder, layout=CLIP):
    """Returns a model's weights the way one file in the original layout holds them."""
    unet = {
        UNET + original_unet_name(name, 1, attending={0, 1}): weight
        for name, weight in model.denoiser.state_dict().items()
    }
    text = {CLIP: original_clip, OPEN_CLIP: original_open_clip}[layout](encoder.state_dict())
    whole = unet | original_vae(model.autoencoder.module.state_dict(), 2) | text
    return {name: weight.clone().contiguous() for name, weight in whole.items()}


@pytest.fixture
def known(request, model, card, saved, monkeypatch):
    """Makes the small test model a published one called `small`, and returns its weights in the original layout."""
    from diffusers import DDIMScheduler

    layout = getattr(request, "param", CLIP)
    tokenizer, encoder = model._load_text()
    architecture = Architecture(
        ("UNet2DConditionModel", dict(model.denoiser.config)),
        ("AutoencoderKL", dict(model.autoencoder.module.config)),
        DDIMScheduler.load_config(saved / "scheduler"),
        (tokenizer.model_max_length, 32),
    )
    config = encoder.config.to_dict()
    config.pop("max_position_embeddings")
    monkeypatch.setitem(card_file._CARDS, "small", replace(card, name="small"))
    monkeypatch.setitem(published.ARCHITECTURES, "small", architecture)
    monkeypatch.setitem(single_file.TEXT_ENCODERS, "small", TextEncoder(config, tokenizer.pad_token_id, layout=layout))
    return original(model, encoder, layout)


@pytest.mark.parametrize(("known", "named"), [(CLIP, True), (OPEN_CLIP, False)], indirect=["known"])
def test_a_file_is_the_model_it_was_made_from(known, model, latents, sites, tmp_path, named):
    path = tmp_path / "my.model.safetensors"
    save_file(known, path)
    loaded = load(f"small={path}" if named else path, device="cpu", dtype="float32")
    assert loaded.card.name == ("small" if named else "my.model")
    assert torch.equal(loaded.condition("").tensor, model.condition("").tensor)
    assert torch.equal(loaded.denoise(latents, 41), model.denoise(latents, 41))
    found = loaded.autoencoder.module.state_dict()
    for name, weight in model.autoencoder.module.state_dict().items():
        assert torch.equal(found[name], weight), name
    path = sites[0].path
    assert torch.equal(loaded.observe(latents, 41, sites).keys[path], model.observe(latents, 41, sites).keys[path])


def test_other_texts_need_a_tokenizer_beside_the_file(known, model, saved, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(known, path)
    with pytest.raises(
        SettingsError, match=f"to use 'a dog', put the model's tokenizer folder beside it, as {tmp_path}"
    ):
        load(path, device="cpu").condition("a dog")
    (tmp_path / "tokenizer").symlink_to(saved / "tokenizer")
    assert torch.equal(load(path, device="cpu").condition("a dog").tensor, model.condition("a dog").tensor)


@pytest.mark.parametrize("prefix", [UNET, VAE, "cond_stage_model."])
def test_missing_and_broken_weights_are_named(known, tmp_path, prefix):
    path = tmp_path / "model.safetensors"
    name = max(each for each in known if each.startswith(prefix) and known[each].is_floating_point())
    save_file({each: weight for each, weight in known.items() if each != name}, path)
    with pytest.raises(WeightsUnavailable, match=r"lacks [123] of its weights"):
        load(path, device="cpu").condition("")
    save_file({**known, name: torch.full_like(known[name], torch.nan)}, path)
    with pytest.raises(WeightsUnavailable, match="NaN or infinite"):
        load(path, device="cpu").condition("")
    save_file({**known, name: torch.zeros(3, 3, 3)}, path)
    with pytest.raises(WeightsUnavailable, match="do not load"):
        load(path, device="cpu").condition("")


def outline(path, width, channels=4):
    """Writes a file with the few weights that tell which model it is."""
    names = {
        f"{UNET}input_blocks.0.0.weight": (2, channels, 3, 3),
        f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (2, width),
        f"{VAE}encoder.conv_in.weight": (2, 3, 3, 3),
        f"{CLIP}text_model.final_layer_norm.weight": (2,),
    }
    save_file({name: torch.zeros(shape) for name, shape in names.items()}, path)
    return path


def test_shapes_tell_stable_diffusion_1_but_not_which_2(tmp_path):
    path = outline(tmp_path / "two.safetensors", 1024)
    with pytest.raises(
        SettingsError, match=f"fit sd-2.1 and sd-2.1-base, .* --model sd-2.1={path} or --model sd-2.1-b"
    ):
        load(path)
    with pytest.raises(SettingsError, match=r"fit sd-2\.1 and sd-2\.1-base, not 'sd-1\.5'"):
        load(f"sd-1.5={path}")
    with pytest.raises(WeightsUnavailable, match=r"two\.safetensors \(autoencoder\) lacks 1\d\d of its weights"):
        load(f"sd-2.1={path}")
    with pytest.raises(WeightsUnavailable, match=r"one\.safetensors \(autoencoder\) lacks 1\d\d of its weights"):
        load(outline(tmp_path / "one.safetensors", 768))
    with pytest.raises(SettingsError, match="a shape that is not known here"):
        load(outline(tmp_path / "strange.safetensors", 99))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["lora_unet_down_blocks_0.lora_down.weight"], "a LoRA"),
        (["unet.down_blocks.0.attentions.0.to_q.lora_A.weight"], "a LoRA"),
        (["control_model.input_blocks.0.0.weight"], "a ControlNet"),
        ([f"{UNET}input_blocks.0.0.weight", "conditioner.embedders.0.x", f"{VAE}x"], "Stable Diffusion XL"),
        (["model.diffusion_model.joint_blocks.0.x"], "Stable Diffusion 3"),
        (["double_blocks.0.img_attn.qkv.weight"], "a Flux model"),
        (["conv_in.weight", "down_blocks.0.attentions.0.proj_in.weight"], "a denoiser without its autoencoder"),
        ([f"{UNET}input_blocks.0.0.weight"], "a denoiser without its autoencoder"),
        (["encoder.down.0.block.0.conv1.weight", "decoder.conv_in.weight"], "an autoencoder alone"),
        (["text_model.embeddings.token_embedding.weight"], "a text encoder alone"),
        (["emb_params"], "a textual inversion"),
        (["fc.weight"], "no model that is known here (its first weight is called fc.weight)"),
        ([], "empty"),
    ],
)
def test_other_files_are_said_for_what_they_are(tmp_path, names, words):
    path = tmp_path / "some.safetensors"
    save_file({name: torch.zeros(2, 2) for name in names}, path)
    with pytest.raises(WeightsUnavailable) as caught:
        load(path)
    assert f"some.safetensors seems to be {words}" in str(caught.value)
    assert str(caught.value).endswith("as one safetensors file or as a folder")


def test_models_with_other_inputs_are_refused(tmp_path):
    more = load_file(outline(tmp_path / "unclip.safetensors", 1024)) | {f"{UNET}label_emb.0.0.weight": torch.zeros(2)}
    save_file(more, tmp_path / "unclip.safetensors")
    with pytest.raises(WeightsUnavailable, match="needs more than a text"):
        load(f"sd-2.1={tmp_path / 'unclip.safetensors'}")
    with pytest.raises(WeightsUnavailable, match="reads 9 channels and not 4"):
        load(outline(tmp_path / "inpainting.safetensors", 768, channels=9))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model.ckpt", b"PK", "is a pickle, which undertow never opens"),
        ("model.gguf", b"GGUF", "is not a safetensors file"),
        ("cut.safetensors", b"\x10\x00\x00\x00\x00\x00\x00\x00{", "is not a whole safetensors file"),
        ("nothing.safetensors", b"", "is not a whole safetensors file"),
        ("page.safetensors", b"<!DOCTYPE html><html>", "is not a whole safetensors file"),
    ],
)
def test_files_that_cannot_be_opened(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsUnavailable, match=words):
        load(tmp_path / name)


def test_a_file_that_was_cut_off_is_named(tmp_path):
    path = outline(tmp_path / "half.safetensors", 768)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(WeightsUnavailable, match=r"half\.safetensors is not a whole safetensors file"):
        load(path)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(WeightsUnavailable, match=r"there is no file .*gone\.safetensors"):
        load(tmp_path / "gone.safetensors")
    with pytest.raises(WeightsUnavailable, match=r"there is no file .*gone\.safetensors"):
        load(f"sd-1.5={tmp_path / 'gone.safetensors'}")


@pytest.mark.parametrize(
    ("name", "denoiser", "text"),
    [("sd-1.5", 859_520_964, 123_060_480), ("sd-2.1", 865_910_724, 340_387_840)],
)
def test_published_shapes_have_the_published_number_of_weights(name, denoiser, text):
    def count(network):
        return sum(weight.numel() for weight in network.parameters())

    architecture = ARCHITECTURES[name]
    with torch.device("meta"):
        assert count(UNet2DConditionModel(**architecture.denoiser[1])) == denoiser
        assert count(AutoencoderKL(**architecture.vae[1])) == 83_653_863
        config = CLIPTextConfig(**TEXT_ENCODERS[name].config, max_position_embeddings=architecture.text[0])
        assert count(CLIPTextModel(config)) == text


@pytest.mark.parametrize(("name", "padding"), [("sd-1.5", 49407), ("sd-2.1", 0)])
def test_the_empty_text_has_the_published_tokens(name, padding, tmp_path):
    text = TEXT_ENCODERS[name]
    config = CLIPTextConfig(**text.config)
    tokenizer = EmptyTextTokenizer((config.bos_token_id, config.eos_token_id), text.padding, 77, tmp_path / "file")
    assert tokenizer("").input_ids.tolist() == [[49406, 49407, *[padding] * 75]]


@pytest.mark.parametrize("name", list(TEXT_ENCODERS))
def test_every_published_weight_finds_its_place(name):
    """The full-size networks without memory: each of their weights comes back from its name in the original layout."""
    architecture = ARCHITECTURES[name]
    with torch.device("meta"):
        unet, vae = UNet2DConditionModel(**architecture.denoiser[1]), AutoencoderKL(**architecture.vae[1])
    state = {UNET + original_unet_name(each, 2, {1, 2, 3}): weight for each, weight in unet.state_dict().items()}
    back = convert_ldm_unet_checkpoint(state, unet.config)
    assert {each: weight.shape for each, weight in back.items()} == {k: v.shape for k, v in unet.state_dict().items()}
    back = convert_ldm_vae_checkpoint(original_vae(vae.state_dict(), 4), vae.config)
    assert {each: weight.shape for each, weight in back.items()} == {k: v.shape for k, v in vae.state_dict().items()}
