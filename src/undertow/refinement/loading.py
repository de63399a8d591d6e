"""From a name or a folder to a running segmenter."""

import json
from pathlib import Path

import torch

from undertow.backbones.weights.locating import find_problem, resolve, weights_state
from undertow.base import SettingsError, WeightsUnavailable, resolve_device
from undertow.refinement.cards import SegmenterCard, get_segmenter_card, list_segmenter_cards
from undertow.refinement.sam import SamSettings
from undertow.refinement.segmenter import Sam2Segmenter, SamSegmenter, TransformersSegmenter

# What config.json calls the networks; SAM 2 is published as its video model, of which the image model is a part.
_KINDS: dict[str, tuple[str, type[TransformersSegmenter]]] = {
    "sam": ("SamModel", SamSegmenter),
    "sam2": ("Sam2Model", Sam2Segmenter),
    "sam2_video": ("Sam2Model", Sam2Segmenter),
}


def load_segmenter(
    model: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    cache: Path | str | None = None,
    offline: bool | None = None,
    endpoint: str | None = None,
) -> TransformersSegmenter:
    """Returns a running segmenter.

    Args:
        model: the name of a card (`sam-vit-h`, `sam2.1-tiny`, ...); a local folder with config.json and
            model.safetensors, as transformers writes it; or NAME=FOLDER, which says that the folder holds the model
            called NAME, so that its digests are checked.
        device: where to run; `None` or "auto" for the best there is.
        dtype: number type of the weights. float32 by default: masks are thresholded, and edges move in bfloat16.
        cache: Hugging Face cache folder; `None` for the user's.
        offline: whether to leave the network alone; `None` follows HF_HUB_OFFLINE.
        endpoint: address of the hub; `None` for the user's (HF_ENDPOINT).

    Raises:
        WeightsUnavailable: if the weights are absent, incomplete, damaged, or not those that the card pins.
        SettingsError: if the name is unknown, or the model is of a kind that undertow does not read.
    """
    import transformers

    from undertow.backbones.weights.networks import read_network

    card, folder = _named(str(model))
    if folder is None and card is None:
        raise SettingsError(
            f"no segmenter is called '{model}'; give one of {', '.join(each.name for each in list_segmenter_cards())}, "
            "or a folder with config.json and model.safetensors"
        )
    origin = card or SegmenterCard(str(folder), (), "sam", "unknown", 0)
    path = resolve(origin, folder, layout="transformers", cache=cache, offline=offline, endpoint=endpoint)
    kind = _model_type(path)
    if kind not in _KINDS:
        raise SettingsError(f"{path} holds a model of type '{kind}'; give a SAM or SAM 2 model of transformers")
    if card is not None and kind.removesuffix("_video") != card.family:
        raise SettingsError(f"{path} holds a model of type '{kind}', where '{card.name}' is of type '{card.family}'")
    network, adapter = _KINDS[kind]
    where = device if isinstance(device, torch.device) else resolve_device(device)
    found = read_network(getattr(transformers, network), path, "", dtype)
    return adapter(found.to(where), card.name if card else path.name)


def refinement_settings(model: str | Path) -> SamSettings:
    """Returns how refinement prompts a segmenter, by its card; as the paper does where nothing else is known.

    Args:
        model: what `load_segmenter` takes.

    Raises:
        SettingsError: if no segmenter has the name.
    """
    card, _ = _named(str(model))
    return card.settings if card else SamSettings()


def segmenter_at_hand(model: str | Path) -> bool:
    """Returns whether the weights of a segmenter are on this machine, without reading or downloading any.

    Args:
        model: what `load_segmenter` takes.

    Raises:
        SettingsError: if no segmenter has the name.
    """
    card, folder = _named(str(model))
    if folder is None:
        return weights_state(card or get_segmenter_card(str(model)), layout="transformers") != "not here"
    return find_problem(folder, "transformers") is None


def _named(text: str) -> tuple[SegmenterCard | None, Path | None]:
    """Returns the card and the folder that `text` names; neither if it is no name and no folder."""
    if text in {card.name for card in list_segmenter_cards()}:
        return get_segmenter_card(text), None
    path = Path(text).expanduser()
    name, equals, rest = text.partition("=")
    if equals and not path.exists() and "/" not in name:
        return get_segmenter_card(name), Path(rest)
    return None, path if path.exists() or len(path.parts) > 1 else None


def _model_type(folder: Path) -> str:
    """Returns what config.json says the model is.

    Raises:
        WeightsUnavailable: if it is not JSON, or says nothing.
    """
    path = folder / "config.json"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["model_type"])
    except (ValueError, TypeError, KeyError) as error:
        raise WeightsUnavailable(f"{path} is not the config of a model; download the model again") from error
