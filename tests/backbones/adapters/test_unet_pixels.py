"""Guided diffusion: its weights in diffusers' class, against a short forward of its own; and what tracking reads."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as functional
from diffusers import DDPMScheduler, UNet2DModel
from safetensors.torch import save_file

from undertow.backbones import Noising, Site, get_card, load, random_backbone
from undertow.backbones.adapters.pixels import Pixels
from undertow.backbones.adapters.unet_pixels import PixelUNet
from undertow.backbones.weights import guided_diffusion
from undertow.backbones.weights.guided_diffusion import GUIDED, GuidedShape, guided_network, guided_shape
from undertow.base import SettingsError

SMALL = GuidedShape(channels=16, factors=(1, 2, 2), blocks=1, attended=(1, 2), head_dim=8, groups=4)
# Like the model of 512 pixels: with classes, and a time that is written in more numbers than it has channels.
WIDE = replace(SMALL, time=24, classes=7)
PARITY = {"rtol": 1e-5, "atol": 1e-5}


class Plain:
    """ADM in few lines, as its paper describes it (Dhariwal and Nichol 2021), over weights of any values by name."""

    def __init__(self, weights, shape):
        self.weights, self.shape, self.outputs = weights, shape, {}

    def apply(self, kind, name, values, **options):
        return kind(values, *(self.weights.get(f"{name}.{each}") for each in ("weight", "bias")), **options)

    def norm(self, name, values):
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return functional.group_norm(values, self.shape.groups, weight, bias, 1e-5)

    def residual(self, name, values, time, resized=None):
        hidden = functional.silu(self.norm(f"{name}.in_layers.0", values))
        if resized is not None:
            hidden, values = resized(hidden), resized(values)
        hidden = self.apply(functional.conv2d, f"{name}.in_layers.2", hidden, padding=1)
        scale, shift = self.apply(functional.linear, f"{name}.emb_layers.1", functional.silu(time))[
            :, :, None, None
        ].chunk(2, 1)
        hidden = functional.silu(self.norm(f"{name}.out_layers.0", hidden) * (1 + scale) + shift)
        hidden = self.apply(functional.conv2d, f"{name}.out_layers.3", hidden, padding=1)
        if f"{name}.skip_connection.weight" in self.weights:
            values = self.apply(functional.conv2d, f"{name}.skip_connection", values)
        return values + hidden

    def attention(self, name, values):
        frames, channels, height, width = values.shape
        mixed = self.apply(functional.conv1d, f"{name}.qkv", self.norm(f"{name}.norm", values).flatten(2))
        query, key, value = mixed.reshape(frames, -1, 3, self.shape.head_dim, height * width).unbind(2)
        weights = torch.softmax(query.mT @ key / math.sqrt(self.shape.head_dim), dim=-1)
        self.outputs[f"{name}.query"] = query.mT
        joined = (value @ weights.mT).reshape(frames, channels, -1)
        return values + self.apply(functional.conv1d, f"{name}.proj_out", joined).reshape(values.shape)

    def __call__(self, pixels, timestep):
        half = (self.shape.time or self.shape.channels) // 2
        angles = timestep * torch.exp(-math.log(10000) * torch.arange(half) / half)
        time = self.apply(functional.linear, "time_embed.0", torch.cat([angles.cos(), angles.sin()])[None])
        time = self.apply(functional.linear, "time_embed.2", functional.silu(time))
        if self.shape.classes:
            time = time + self.weights["label_emb.weight"].mean(0)
        hidden = self.apply(functional.conv2d, "input_blocks.0.0", pixels, padding=1)
        kept, number, levels = [hidden], 1, len(self.shape.factors)
        for level in range(levels):
            for _ in range(self.shape.blocks):
                hidden = self.residual(f"input_blocks.{number}.0", hidden, time)
                if level in self.shape.attended:
                    hidden = self.attention(f"input_blocks.{number}.1", hidden)
                kept.append(hidden)
                number += 1
            if level < levels - 1:
                hidden = self.residual(f"input_blocks.{number}.0", hidden, time, lambda x: functional.avg_pool2d(x, 2))
                kept.append(hidden)
                number += 1
        hidden = self.residual("middle_block.0", hidden, time)
        hidden = self.residual("middle_block.2", self.attention("middle_block.1", hidden), time)
        number = 0
        for level in reversed(range(levels)):
            for block in range(self.shape.blocks + 1):
                name = f"output_blocks.{number}"
                hidden = self.residual(f"{name}.0", torch.cat([hidden, kept.pop()], 1), time)
                if level in self.shape.attended:
                    hidden = self.attention(f"{name}.1", hidden)
                self.outputs[name] = hidden
                if level and block == self.shape.blocks:
                    inner = f"{name}.{1 + (level in self.shape.attended)}"
                    hidden = self.residual(inner, hidden, time, lambda x: functional.interpolate(x, scale_factor=2))
                number += 1
        hidden = functional.silu(self.norm("out.0", hidden))
        return self.apply(functional.conv2d, "out.2", hidden, padding=1)


@pytest.fixture(scope="module", params=[SMALL, WIDE], ids=["256", "512"])
def shape(request):
    return request.param


@pytest.fixture(scope="module")
def weights(shape):
    """Random weights under the layout's own names, whose shapes follow from the network they end up in."""
    with torch.device("meta"):
        shapes = {name: each.shape for name, each in guided_network(shape.arguments).state_dict().items()}
    draw, found = torch.Generator().manual_seed(0), {}
    for own, theirs in guided_diffusion._modules(shape):
        for kind in ("weight", "bias"):
            name = f"{own.removesuffix('qkv')}to_q.{kind}" if own.endswith(".qkv") else f"{own}.{kind}"
            if name not in shapes:
                continue
            shape = list(shapes[name])
            if own.endswith(".qkv"):
                shape[0] *= 3
            if own.endswith((".qkv", "to_out.0")) and kind == "weight":
                shape.append(1)
            drawn = torch.randn(shape, generator=draw)
            found[f"{theirs}.{kind}"] = 1 + 0.2 * drawn if "norm" in own and kind == "weight" else 0.2 * drawn
    return found


@pytest.fixture(scope="module")
def model(shape, weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("adm") / "adm.safetensors"
    save_file(weights, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("undertow.backbones.loading.guided_shape", lambda shapes: shape)
        patch.setattr("undertow.backbones.loading.get_card", lambda name: small_card())
        loaded = load(path, device="cpu", dtype="float32")
    assert isinstance(loaded, PixelUNet)
    return loaded


def small_card():
    place = "up_blocks.1.attentions.1"
    sites = {"track": (Site(place, "self", 4, 8, 2),), "features": (Site(place, "block", 1, 32, 2),)}
    return replace(get_card("adm-256"), sites=sites)


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(1))


def test_converted_weights_predict_what_the_layout_predicts(model, shape, weights, pixels):
    expected = torch.cat([Plain(weights, shape)(each[None], 37) for each in pixels])
    assert expected.shape == (2, 6, 16, 24) and expected.std() > 0.1
    torch.testing.assert_close(model.denoise(pixels, 37), expected[:, :3], **PARITY)


def test_sites_are_the_blocks_and_queries_of_the_layout(model, shape, weights, pixels):
    plain = Plain(weights, shape)
    plain(pixels[:1], 37)
    both = model.card.places("features", "track")
    seen = [model.observe(pixels, 37, [site], features=site.kind == "block") for site in both]
    hidden, queries = seen[0].features[both[0].path], seen[1].queries[both[1].path]
    # Two blocks on each of the decoder's levels.
    expected = plain.outputs["output_blocks.3"].flatten(2).mT
    torch.testing.assert_close(hidden[:1] / expected.std(), expected / expected.std(), **PARITY)
    torch.testing.assert_close(queries[:1], plain.outputs["output_blocks.3.1.query"], **PARITY)
    entering = model.observe(pixels, 37, both[1:], features=True).features[both[1].path]
    assert entering.shape == hidden.shape and not torch.equal(entering, hidden)


def test_pixels_are_noised_and_come_back(model):
    images = np.random.default_rng(0).integers(0, 256, (1, 16, 24, 3), dtype=np.uint8)
    latents = model.encode(images)
    assert latents.abs().max() <= 1 and np.array_equal(model.decode(latents), images)
    level = model.schedule.level(51)
    noisy = model.noise(latents, Noising(kind="noise", timestep=51, steps_grid=(51,)), [0])
    left = (noisy - level**0.5 * latents) / (1 - level) ** 0.5
    assert abs(left.std() - 1) < 0.1
    with pytest.raises(SettingsError, match="reads pictures and no text"):
        model.condition("a kite")


def test_the_published_shape_has_the_site_that_dift_reads():
    card = get_card("adm-256")
    whole = random_backbone(card, device="meta")
    millions = sum(each.numel() for each in whole.denoiser.parameters()) / 1e6
    assert round(millions) == 553, "as its paper's table says, with the variance"
    assert whole.multiple == 32
    names = dict(guided_diffusion._modules(GuidedShape()))
    assert names["up_blocks.2.attentions.1.qkv"] == "output_blocks.7.1.qkv"


def test_the_published_shape_of_512_pixels():
    whole = random_backbone(get_card("adm-512"), device="meta")
    assert round(sum(each.numel() for each in whole.denoiser.parameters()) / 1e6) == 559
    assert whole.multiple == 64
    shapes = {"input_blocks.0.0.weight": (128, 3, 3, 3)}
    assert guided_shape(shapes).classes == 0 and guided_shape(shapes).time == 256
    assert guided_shape({**shapes, "label_emb.weight": (1000, 1024)}) == GUIDED[512]


def test_a_folder_of_diffusers_is_read(tmp_path):
    network = UNet2DModel(**{**SMALL.arguments, "out_channels": 3, "sample_size": 32})
    network.save_pretrained(tmp_path / "mine/unet")
    DDPMScheduler().save_pretrained(tmp_path / "mine/scheduler")
    loaded = load(tmp_path / "mine", device="cpu", dtype="float32")
    values = torch.randn(1, 3, 16, 16)
    torch.testing.assert_close(loaded.denoise(values, 5), network.eval()(values, 5).sample.detach())
    assert loaded.card.sites["track"][0].kind == "self"


def test_pixels_of_a_clip_are_those_of_its_frames():
    pixels, clip = Pixels(torch.device("cpu")), torch.rand(4, 3, 8, 8)
    assert pixels.frames_per_latent == 1 and torch.equal(pixels.encode_clip(clip), pixels.encode(clip))
    torch.testing.assert_close(pixels.decode_clip(pixels.encode_clip(clip)), clip)
