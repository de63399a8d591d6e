"""Fine-tuned generators against the paper's computation, done with diffusers alone; and what is refused."""

import json

import diffusers
import numpy as np
import pytest
import torch
from transformers import CLIPTextModel, CLIPTokenizerFast, T5TokenizerFast, UMT5EncoderModel

from families import _IMAGE_VAE, TEXT, write_clip, write_family
from undertow.backbones import ClipUNet, load
from undertow.backbones.fine_tuning import ABOUT, WEIGHTS, FineTuning, read_fine_tuning, write_fine_tuning
from undertow.base import SettingsError, WeightsUnavailable
from undertow.grounding.generator import MaskGenerator, noised

TEXTS, SIZE, FRAMES = ("a red kite", "dog"), (32, 48), 5


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (FRAMES, *SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def wan(tmp_path_factory):
    return write_family("wan2.1-1.3b", tmp_path_factory.mktemp("models") / "wan", seed=3)


@pytest.fixture(scope="module")
def modelscope(tmp_path_factory):
    """ModelScope's classes in miniature: heads of 64 channels become heads of 8."""
    folder = tmp_path_factory.mktemp("models") / "modelscope"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        unet = diffusers.UNet3DConditionModel(
            block_out_channels=(32, 32),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
            cross_attention_dim=TEXT,
            attention_head_dim=8,
        )
        for parameter in unet.parameters():
            # The temporal layers begin as the identity, in which nothing could be seen of them.
            parameter.data += 0.02 * torch.randn_like(parameter)
        unet.save_pretrained(folder / "unet")
        diffusers.AutoencoderKL(**_IMAGE_VAE).save_pretrained(folder / "vae")
        write_clip(folder, length=77)
    levels = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}
    diffusers.DDIMScheduler(**levels).save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "TextToVideoSDPipeline"}))
    return folder


def fine_tuned(base, folder, component, kind, **about):
    """Returns a folder with a denoiser of other weights than the base's, and these weights."""
    denoiser = getattr(diffusers, kind).from_pretrained(base / component)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    write_fine_tuning(folder, FineTuning(str(base), **about), denoiser.state_dict())
    return denoiser


def answered(folder, images, text):
    generator = MaskGenerator(load(folder, device="cpu", dtype="float32"), SIZE)
    masks = generator.answer(generator.encode(images), generator.read(text))
    return masks, generator.scores(masks, len(images))


@pytest.mark.parametrize(("target", "mask_range", "timestep"), [("direct", "0..1", 0), ("residual", "-1..1", 1000)])
@torch.no_grad()
def test_wan_is_the_plain_computation(target, mask_range, timestep, images, wan, tmp_path):
    options = {"target": target, "mask_range": mask_range, "timestep": timestep, "pad_tokens": 7}
    dit = fine_tuned(wan, tmp_path, "transformer", "WanTransformer3DModel", **options)
    vae = diffusers.AutoencoderKLWan.from_pretrained(wan / "vae")
    mean, std = (torch.tensor(vae.config[name]).view(1, -1, 1, 1, 1) for name in ("latents_mean", "latents_std"))
    video = torch.from_numpy(images).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    clean = (vae.encode(video).latent_dist.mode() - mean) / std
    assert clean.shape[2] == 2  # one latent of the first frame, one of the other four
    for text in TEXTS:
        ids = T5TokenizerFast.from_pretrained(wan / "tokenizer")(text, return_tensors="pt").input_ids
        # As in the pipeline, the encoder's numbers are bfloat16.
        encoder = UMT5EncoderModel.from_pretrained(wan / "text_encoder", dtype=torch.bfloat16)
        states = encoder(ids).last_hidden_state.float()
        states = torch.cat([states, torch.zeros(1, 7 - states.shape[1], TEXT)], dim=1)
        output = dit(clean, torch.tensor([float(timestep)]), states, return_dict=False)[0]
        masks = clean - output if target == "residual" else output
        pixels = vae.decode(masks * std + mean, return_dict=False)[0][0].mean(0)
        scores = pixels / 2 + 0.5 if mask_range == "-1..1" else pixels
        latents, found = answered(tmp_path, images, text)
        assert torch.allclose(latents, masks[0].movedim(1, 0), atol=1e-4)
        assert torch.allclose(found, scores, atol=1e-4) and float(scores.std()) > 1e-3


@pytest.mark.parametrize("target", ["direct", "residual"])
@torch.no_grad()
def test_modelscope_is_the_plain_computation(target, images, modelscope, tmp_path):
    unet = fine_tuned(modelscope, tmp_path, "unet", "UNet3DConditionModel", target=target, pad_tokens=77)
    vae = diffusers.AutoencoderKL.from_pretrained(modelscope / "vae")
    video = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    clean = vae.encode(video).latent_dist.mode() * 0.18215
    tokenizer = CLIPTokenizerFast.from_pretrained(modelscope / "tokenizer")
    encoder = CLIPTextModel.from_pretrained(modelscope / "text_encoder")
    for text in TEXTS:
        ids = tokenizer(text, padding="max_length", max_length=77, return_tensors="pt").input_ids
        states = encoder(ids).last_hidden_state
        output = unet(clean.movedim(0, 1)[None], 0, states).sample[0].movedim(1, 0)
        masks = clean - output if target == "residual" else output
        pixels = vae.decode(masks / 0.18215).sample
        latents, found = answered(tmp_path, images, text)
        assert torch.allclose(latents, masks, atol=1e-4)
        assert torch.allclose(found, pixels.mean(1), atol=1e-4) and float(found.std()) > 1e-3


@torch.no_grad()
def test_frames_are_pictures_to_stable_diffusion_3(images, tmp_path):
    base = write_family("sd-3-medium", tmp_path / "base", seed=4)
    dit = fine_tuned(base, tmp_path / "learned", "transformer", "SD3Transformer2DModel", pad_tokens=40)
    vae = diffusers.AutoencoderKL.from_pretrained(base / "vae")
    video = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    shift = vae.config.shift_factor or 0.0
    clean = (vae.encode(video).latent_dist.mode() - shift) * vae.config.scaling_factor
    backbone = load(base, device="cpu", dtype="float32")
    for text in TEXTS:
        states = backbone.condition(text).tensor
        states = torch.cat([states, states.new_zeros(40 - len(states), states.shape[1])])[None]
        nothing = torch.zeros(1, dit.config.pooled_projection_dim)
        masks = torch.cat(
            [dit(frame, states, nothing, torch.tensor([0]), return_dict=False)[0] for frame in clean.split(1)]
        )
        latents, found = answered(tmp_path / "learned", images, text)
        assert torch.allclose(latents, masks, atol=1e-4)
        pixels = vae.decode(masks / vae.config.scaling_factor + shift).sample
        assert torch.allclose(found, pixels.mean(1), atol=1e-4) and float(found.std()) > 1e-3


@torch.no_grad()
def test_on_a_sheet_an_image_model_sees_all_frames_as_one_picture(images, tmp_path):
    base = write_family("sd-3-medium", tmp_path / "base", seed=4)
    dit = fine_tuned(base, tmp_path / "sheet", "transformer", "SD3Transformer2DModel", sheet=True, window=FRAMES)
    generator = MaskGenerator(load(tmp_path / "sheet", device="cpu", dtype="float32"), SIZE)
    video, states = generator.encode(images), generator.read(TEXTS[0])

    def plain(frames):
        nothing, zero = torch.zeros(1, dit.config.pooled_projection_dim), torch.tensor([0])
        tall = torch.cat(list(frames), dim=1)[None]
        said = torch.cat([states] * len(frames))[None]
        return torch.stack(dit(tall, said, nothing, zero, return_dict=False)[0][0].chunk(len(frames), dim=1))

    assert torch.allclose(generator.answer(video, states), plain(video), atol=1e-4)
    assert not torch.allclose(generator.answer(video.flip(0), states).flip(0), plain(video), atol=1e-3)
    filled = torch.cat([video[:3], video[2:3], video[2:3]])
    assert torch.allclose(generator.answer(video[:3], states), plain(filled)[:3], atol=1e-4)
    assert torch.allclose(generator.answer(video[:1], states), plain(video[:1]), atol=1e-4)
    with pytest.raises(SettingsError, match="too large"):
        generator.answer(video.repeat(1, 1, 8, 8), states)


@torch.no_grad()
def test_noise_of_timestep_0_is_the_first_level_of_ddpm(images, modelscope, tmp_path):
    fine_tuned(modelscope, tmp_path, "unet", "UNet3DConditionModel", t0_noise="ddpm")
    backbone = load(tmp_path, device="cpu", dtype="float32")
    assert isinstance(backbone, ClipUNet) and backbone.card.family == "unet-clip"
    generator, again = MaskGenerator(backbone, SIZE, seed=1), MaskGenerator(backbone, SIZE, seed=1)
    video, states = generator.encode(images), generator.read("dog")
    one = generator.answer(video, states)
    assert torch.equal(one, again.answer(video, states))
    assert not torch.equal(one, MaskGenerator(backbone, SIZE, seed=2).answer(video, states))
    noise = (noised(backbone, backbone.fine_tuning, video, range(FRAMES), 1) - 0.99957 * video) / 0.02915
    assert float(noise.std()) == pytest.approx(1, abs=0.1)
    assert torch.equal(noised(backbone, FineTuning("x"), video, range(FRAMES), 1), video)


def test_pairs_are_added_and_the_rest_is_read_from_the_base(wan, tmp_path):
    base = load(wan, device="cpu", dtype="float32")
    name = "blocks.1.attn1.to_q.weight"
    low, high = torch.randn(2, 32), torch.randn(32, 2)
    about = FineTuning(str(wan), scale=0.5)
    write_fine_tuning(tmp_path, about, {f"{name}.lora_A": low, f"{name}.lora_B": high})
    learned = load(tmp_path, device="cpu", dtype="float32")
    ours, theirs = learned.denoiser.state_dict(), base.denoiser.state_dict()
    assert torch.allclose(ours[name], theirs[name] + 0.5 * high @ low, atol=1e-6)
    assert all(torch.equal(ours[each], theirs[each]) for each in theirs if each != name)
    assert learned.fine_tuning == about == read_fine_tuning(tmp_path)
    assert learned.fingerprint() != base.fingerprint()


def test_what_does_not_fit_is_refused_in_a_sentence(wan, tmp_path):
    with pytest.raises(SettingsError, match="was not fine-tuned to answer with masks"):
        MaskGenerator(load(wan, device="cpu", sites="track"), SIZE)
    write_fine_tuning(tmp_path, FineTuning(str(wan)), {"elsewhere.weight": torch.zeros(1)})
    with pytest.raises(SettingsError, match=r"weight 'elsewhere.weight' that .* does not have"):
        load(tmp_path)
    write_fine_tuning(tmp_path, FineTuning(str(wan)), {"proj_out.bias.lora_A": torch.zeros(1)})
    with pytest.raises(WeightsUnavailable, match="half of a pair"):
        load(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"\x80\x04.")
    with pytest.raises(WeightsUnavailable, match="cannot be read"):
        load(tmp_path)
    for change, reason in (
        ({"target": "sideways"}, "target is 'sideways'; give one of direct, residual"),
        ({"mask_range": "0..255"}, "mask_range is '0..255'"),
        ({"pad_tokens": 10**9}, "pad_tokens is 1000000000"),
        ({"size": [512, 10**6]}, "size is"),
        ({"threshold": 1.5}, "threshold is 1.5; give a number between 0 and 1"),
        ({"sheet": 2}, "sheet is 2; give true or false"),
        ({"backbone": None}, "it names no backbone"),
        ({"guidance": 7.5}, "it has 'guidance', which is not known"),
    ):
        (tmp_path / ABOUT).write_text(json.dumps({"backbone": "tiny-video"} | change))
        with pytest.raises(SettingsError, match="does not say how a model was fine-tuned") as caught:
            load(tmp_path)
        assert reason in str(caught.value)


def test_a_video_model_reads_whole_clips_alone(wan):
    autoencoder = load(wan, device="cpu", sites="track").autoencoder
    assert autoencoder.frames_per_latent == 4
    with pytest.raises(SettingsError, match="4 frames are no clip"):
        autoencoder.encode_clip(torch.zeros(4, 3, 32, 32))
