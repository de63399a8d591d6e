"""--published: the numbers of the papers and their code, on small models of the classes they used."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from families import small_backbone, write_family
from undertow.backbones import get_card, list_cards, load, random_backbone
from undertow.backbones.cards.card_file import read_card_file
from undertow.base import SettingsError
from undertow.masks import soft_one_hot
from undertow.tracking import MaskTracker, TrackSettings, resolve, track
from undertow.tracking.conditions import asked_refiner
from undertow.tracking.published import PUBLISHED
from undertow.tracking.settings import observer_of
from undertow.world import crossing_scene

DAVIS = 480, 854


@pytest.fixture(scope="module", params=["sd-2.1", pytest.param("sd-1.5", marks=pytest.mark.slow)])
def model(request):
    return small_backbone(request.param)


def published(preset, model, **settings):
    return resolve(TrackSettings(preset=preset, published=True, **settings), model, *DAVIS)


def common(found):
    kernel = found.kernel
    return kernel.similarity, kernel.softmax_scope, kernel.temperature, kernel.radius, kernel.topk, found.recent


def test_dift(model):
    found = published("dift", model)
    assert common(found) == ("cosine", "none", 0.2, 15, 15, 28) and found.kernel.window == "square"
    (site,) = found.sites
    assert (site.path, site.kind, site.stride) == ("up_blocks.2", "block", 8)
    noising = found.noising
    assert (noising.kind, noising.timestep, noising.ensemble, noising.shared) == ("noise", 51, 8, False)
    assert (found.input_size, found.grid) == ((480, 832), (60, 104))
    assert (found.first_labels, found.channel_norm, found.padded, found.lost) == ("nearest", "minmax", False, "keep")


def test_dino(model):
    found = published("dino", model)
    assert common(found) == ("cosine", "none", 0.1, 12, 5, 7) and found.kernel.window == "square"
    assert (found.input_size, found.first_labels, found.channel_norm) == ((480, 832), "nearest", "minmax")
    turned = resolve(TrackSettings(preset="dino", published=True), model, 1280, 720)
    assert turned.input_size == (832, 480)


def test_crw(model):
    found = published("crw", model)
    assert common(found) == ("cosine", "survivors", 0.05, 12, 10, 20)
    assert found.kernel.window == "disc" and found.kernel.first_frame_unrestricted and found.padded
    assert (found.input_size, found.grid) == ((480, 856), (60, 107))
    assert (found.first_labels, found.channel_norm) == ("bilinear", "none")


def test_drift(model):
    found = published("drift", model)
    side, sites = (96, 1) if model.card.name == "sd-2.1" else (64, 3)
    assert common(found) == ("dot", "reference", 1.0, 14, 15, 7) and found.kernel.window == "square"
    assert found.grid == (side, side) and found.input_size == (8 * side, 8 * side)
    paths = [f"up_blocks.3.attentions.{number}.transformer_blocks.0.attn1" for number in range(sites)]
    assert [site.path for site in found.sites] == paths
    noising = found.noising
    assert (noising.kind, noising.timestep, noising.steps_grid, noising.ensemble) == ("invert", 41, (1, 21, 41), 1)


def test_vision_transformers():
    """DINO's models by its code, and DINOv3's and DINOv2's by DINOv3's, in 60 rows whatever the patch."""
    shapes = {"dino-vitb8": (480, 832), "dino-vits16": (480, 832), "dinov2-b": (840, 1484), "dinov3-l": (960, 1696)}
    for name, shown in shapes.items():
        model = random_backbone(get_card(name), device="meta")
        found = published(model.card.preset, model)
        dino = name.startswith("dino-")
        assert common(found) == (("cosine", "none", 0.1, 12, 5, 7) if dino else ("cosine", "survivors", 0.2, 12, 5, 7))
        assert found.kernel.window == ("square" if dino else "disc") and not found.kernel.first_frame_unrestricted
        assert (found.input_size, found.noising.kind, found.sites[0].path) == (shown, "clean", "norm")
        assert (found.first_labels, found.channel_norm, found.padded) == ("nearest", "minmax", False)


def test_rows_of_tokens_are_those_of_the_site():
    """A UNet's pictures are multiples of more pixels than a token of it has."""
    found = published("dinov3", load("tiny", device="cpu", sites="track"))
    assert (found.input_size, found.grid) == ((480, 848), (60, 106))


def test_adm():
    found = published("adm", random_backbone(get_card("adm-256"), device="meta"))
    assert common(found) == ("cosine", "none", 0.1, 15, 10, 28) and found.kernel.window == "square"
    assert (found.input_size, found.grid) == ((480, 832), (60, 104))
    noising = found.noising
    assert (noising.kind, noising.timestep, noising.ensemble) == ("noise", 51, 4)
    assert (found.sites[0].path, found.sites[0].head_dim) == ("up_blocks.2.attentions.1", 512)


def test_what_is_set_counts_more(model):
    found = published("dift", model, topk=3, recent=2, temperature=0.5, tokens=100, lost="empty", channel_norm="none")
    assert (found.kernel.topk, found.recent, found.kernel.temperature) == (3, 2, 0.5)
    assert (found.lost, found.channel_norm, found.first_labels) == ("empty", "none", "nearest")
    assert found.input_size == model.input_size(*DAVIS, tokens=100)
    assert published("dift", model, ensemble=2).noising.ensemble == 2
    assert published("dift", model, noising="clean").noising.ensemble == 1
    with pytest.raises(SettingsError, match="an ensemble of 8 goes with noising noise"):
        published("drift", model, ensemble=8)


def test_without_it_the_card_counts(model):
    found = resolve(TrackSettings(preset="dift"), model, *DAVIS)
    assert (found.recent, found.noising.ensemble, found.first_labels) == (model.card.recent, 1, "area")


def test_a_model_that_nobody_published_is_refused():
    with pytest.raises(SettingsError, match="no published numbers of preset 'dift'; give --model tiny, sd-2"):
        TrackSettings(preset="dift", published=True).of(get_card("wan2.1-1.3b"))
    with pytest.raises(SettingsError, match="preset 'pixels'; it has those of drift, dift, dino, crw"):
        TrackSettings(preset="pixels", published=True).of(small_backbone("sd-1.5").card)
    assert set(PUBLISHED) == {preset for card in list_cards() for preset in card.published}


@pytest.mark.parametrize("size", [(64, 128), (72, 104)])
def test_features_are_what_leaves_the_block_averaged_over_eight_draws(model, size):
    """Against a stock forward with a hook; of the second size, deeper levels have no whole number of cells."""
    images = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    resolved = replace(published("dift", model, seed=5), input_size=size, grid=(size[0] // 8, size[1] // 8))
    seen = observer_of(model, resolved).see(list(images), [3, 4])

    unet, vae, kept = model.denoiser, model.autoencoder.module, []
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        latents = vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        alpha = float((1 - betas).cumprod(0)[51])
        text = model.condition("").tensor.expand(2, -1, -1)
        handle = unet.up_blocks[2].register_forward_hook(lambda _, __, output: kept.append(output))
        for seed in range(5, 13):
            draws = [np.random.default_rng([seed, number]) for number in (3, 4)]
            noise = np.stack([draw.standard_normal(latents.shape[1:], np.float32) for draw in draws])
            unet(alpha**0.5 * latents + (1 - alpha) ** 0.5 * torch.from_numpy(noise), 51, text)
        handle.remove()
    expected = torch.stack(kept).mean(0).flatten(2).mT
    for mine, theirs in zip(seen, expected, strict=True):
        torch.testing.assert_close(mine.keys[0], theirs, rtol=1e-5, atol=1e-5)
        assert mine.queries is mine.keys and len(mine.keys) == 1


def test_nothing_behind_the_block_is_run_or_read(tmp_path):
    write_family("sd-2.1", tmp_path / "mine")
    model = load(tmp_path / "mine" / "card.json", device="cpu", sites="dift")
    assert read_card_file(tmp_path / "mine" / "card.json").card.levels["dift"].ensemble == 8
    behind = model._network.module.up_blocks[3]
    assert all(parameter.is_meta for parameter in behind.parameters())
    latents, (site,) = torch.randn(1, 4, 8, 8), model.card.sites["dift"]
    assert model.observe(latents, 51, [site]).features[site.path].shape == (1, 64, site.head_dim)
    assert all(parameter.is_meta for parameter in behind.parameters())


def test_a_clip_is_tracked(model):
    scene = crossing_scene(height=64, width=96, frames=24)
    pictures = [scene.picture(float(index)) for index in range(3)]
    for preset in ("dift", "crw"):
        settings = TrackSettings(preset=preset, published=True, size=(128, 64))
        results = list(track(np.stack([each.image for each in pictures]), pictures[0].labels, model, settings))
        assert len(results) == 3 and (results[0].labels == pictures[0].labels).all()


def test_the_first_frame_stands_in_for_those_that_are_not_there_yet(tiny_like):
    scene = crossing_scene(height=48, width=80, frames=24)
    pictures = [scene.picture(float(index)) for index in range(3)]
    tracker = MaskTracker(tiny_like, TrackSettings(tokens=60, padded=True, recent=4))
    tracker.step(pictures[0].image, pictures[0].labels)
    memory = tracker._state.memory
    assert [each.index for each in memory.references()] == [0] * 5
    assert all(each.keys is memory.anchors[0].keys for each in memory.recent)
    tracker.step(pictures[1].image)
    tracker.step(pictures[2].image)
    assert [each.index for each in tracker._state.memory.references()] == [0, 0, 0, 1, 2]


def test_crw_begins_with_twenty_copies_of_the_first_frame(model):
    """Its code puts them in front of the video; only the first frame itself has no window."""
    tracker = MaskTracker(model, TrackSettings(preset="crw", published=True, size=(128, 64)))
    scene = crossing_scene(height=64, width=96, frames=24)
    for count in range(3):
        picture = scene.picture(float(count))
        tracker.step(picture.image, None if count else picture.labels)
        found = [each.index for each in tracker._state.memory.references()]
        assert found == [0] * (21 - count) + list(range(1, count + 1))
    kernel = tracker.resolved.kernel
    assert [kernel.radius_of(number) for number in range(21)] == [None] + [kernel.radius] * 20


def test_bilinear_first_labels_are_those_of_a_stock_resize():
    labels = np.random.default_rng(1).integers(0, 3, (33, 50)).astype(np.uint16)
    ours = soft_one_hot(labels, [1, 2], (8, 13), mode="bilinear")
    one_hot = functional.one_hot(torch.from_numpy(labels.astype(np.int64)), 3).permute(2, 0, 1)[None].double()
    stock = functional.interpolate(one_hot, (8, 13), mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(ours.double(), stock, rtol=0, atol=1e-6)


def test_the_gate_of_a_segmenter_is_that_of_the_paper(model):
    settings = TrackSettings(preset="drift", published=True, refine="sam", segmenter="tiny-sam")
    assert asked_refiner(settings, model).settings.minimum_score == 0
    assert asked_refiner(replace(settings, gate=0.4), model).settings.minimum_score == 0.4
    assert asked_refiner(replace(settings, published=False), model).settings.minimum_score == 1
