"""What undertow knows of each promptable segmenter, and the way from a name or a folder to a running one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from undertow.backbones.weights.locating import find_problem, resolve, weights_state
from undertow.base import SettingsError, WeightsUnavailable, resolve_device
from undertow.refinement.segmenter import Sam2Segmenter, SamSegmenter, TransformersSegmenter
from undertow.refinement.settings import SamSettings


@dataclass(frozen=True)
class SegmenterCard:
    """What is known of one segmenter before any weight is read.

    Attributes:
        name: What users call it.
        hub_ids: Hugging Face repositories that hold it, best first, each OWNER/NAME or, pinned, OWNER/NAME@COMMIT;
            empty if it ships with the package.
        family: Which of transformers' classes runs it.
        licence: Of the weights.
        parameters: Number of them, in millions.
        revision: Commit, branch or tag of the repositories that are not pinned; `None` for the newest.
        sha256: Digest of weight files by name. If one is listed, no other weights are ever loaded.
        settings: How refinement prompts it.
        embedded: Folder of this package that holds the weights; empty if they are not shipped.
        cuts_out: Whether it makes masks of boxes and points; if not, GrabCut does so, and it only refines masks.
        notes: Anything else worth printing.
    """

    name: str
    hub_ids: tuple[str, ...]
    family: Literal["sam", "sam2"]
    licence: str
    parameters: float
    revision: str | None = None
    sha256: Mapping[str, str] = field(default_factory=dict)
    settings: SamSettings = field(default_factory=SamSettings)
    embedded: str = ""
    cuts_out: bool = True
    notes: str = ""

    @property
    def sources(self) -> tuple[tuple[str, str | None], ...]:
        """The (repository, revision) pairs that hold the weights, best first; revision `None` is the newest."""
        parts = (hub_id.partition("@") for hub_id in self.hub_ids)
        return tuple((repository, commit or self.revision) for repository, _, commit in parts)


def _sam(size: str, repository: str, parameters: float, notes: str = "") -> SegmenterCard:
    return SegmenterCard(f"sam-vit-{size}", (f"facebook/{repository}",), "sam", "Apache-2.0", parameters, notes=notes)


def _sam2(size: str, parameters: float) -> SegmenterCard:
    notes = "on single frames; its memory is not used"
    repository = f"facebook/sam2.1-hiera-{size}"
    return SegmenterCard(f"sam2.1-{size}", (repository,), "sam2", "Apache-2.0", parameters, notes=notes)


_CARDS = {
    card.name: card
    for card in (
        SegmenterCard(
            "tiny-sam",
            (),
            "sam",
            "Apache-2.0",
            2.9,
            # It makes poor masks better and good ones worse (docs/segmenter.md); the gate of 1 lets only the former in.
            settings=SamSettings(prompts=8, mask_prompt=True, minimum_score=1.0),
            embedded="tiny-sam",
            # Boxes on real first frames have a J of 0.32, GrabCut 0.66 (docs/segmenter.md).
            cuts_out=False,
            notes="trained on procedural scenes, to refine masks; boxes and points go to GrabCut",
        ),
        _sam("b", "sam-vit-base", 94),
        _sam("l", "sam-vit-large", 312),
        _sam("h", "sam-vit-huge", 641, "the one that DRIFT refines with"),
        _sam2("tiny", 39),
        _sam2("small", 46),
        _sam2("base-plus", 81),
        _sam2("large", 224),
    )
}


def get_segmenter_card(name: str) -> SegmenterCard:
    """Returns the card of the segmenter called `name`.

    Raises:
        SettingsError: if there is none.
    """
    if name not in _CARDS:
        raise SettingsError(f"no segmenter is called '{name}'; known are {', '.join(_CARDS)}")
    return _CARDS[name]


def list_segmenter_cards() -> list[SegmenterCard]:
    """Returns the card of every known segmenter, in the order they are listed in."""
    return list(_CARDS.values())


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
        model: The name of a card (`sam-vit-h`, `sam2.1-tiny`, ...); a local folder with config.json and
            model.safetensors, as transformers writes it; or NAME=FOLDER, which says that the folder holds the model
            called NAME, so that its digests are checked.
        device: Where to run; `None` or "auto" for the best there is.
        dtype: Number type of the weights. float32 by default: masks are thresholded, and edges move in bfloat16.
        cache: Hugging Face cache folder; `None` for the user's.
        offline: Whether to leave the network alone; `None` follows HF_HUB_OFFLINE.
        endpoint: Address of the hub; `None` for the user's (HF_ENDPOINT).

    Raises:
        WeightsUnavailable: if the weights are absent, incomplete, damaged, or not those that the card pins.
        SettingsError: if the name is unknown, or the model is of a kind that undertow does not read.
    """
    import transformers

    from undertow.backbones.weights.networks import read_network

    card, path = _located(model, cache=cache, offline=offline, endpoint=endpoint)
    kind = _model_type(path)
    if kind not in _KINDS:
        raise SettingsError(f"{path} holds a model of type '{kind}'; give a SAM or SAM 2 model of transformers")
    if card is not None and kind.removesuffix("_video") != card.family:
        raise SettingsError(f"{path} holds a model of type '{kind}', where '{card.name}' is of type '{card.family}'")
    network, adapter = _KINDS[kind]
    where = device if isinstance(device, torch.device) else resolve_device(device)
    found = read_network(getattr(transformers, network), path, "", dtype)
    return adapter(found.to(where), card.name if card else path.name)


def locate_segmenter(model: str | Path) -> Path:
    """Returns the folder with a segmenter's weights, which are downloaded if need be.

    Args:
        model: What `load_segmenter` takes.

    Raises:
        WeightsUnavailable: if there are none.
        SettingsError: if no segmenter has the name.
    """
    return _located(model)[1]


def refinement_settings(model: str | Path) -> SamSettings:
    """Returns how refinement prompts a segmenter, by its card; as the paper does where nothing else is known.

    Args:
        model: What `load_segmenter` takes.

    Raises:
        SettingsError: if no segmenter has the name.
    """
    card, _ = _named(str(model))
    return card.settings if card else SamSettings()


def cuts_out(model: str | Path) -> bool:
    """Returns whether boxes and points are a segmenter's to answer; otherwise GrabCut is better at them.

    Args:
        model: What `load_segmenter` takes.

    Raises:
        SettingsError: if no segmenter has the name.
    """
    card, _ = _named(str(model))
    return card is None or card.cuts_out


def segmenter_at_hand(model: str | Path) -> bool:
    """Returns whether the weights of a segmenter are on this machine, without reading or downloading any.

    Args:
        model: What `load_segmenter` takes.

    Raises:
        SettingsError: if no segmenter has the name.
    """
    card, folder = _named(str(model))
    if folder is None:
        return weights_state(card or get_segmenter_card(str(model)), layout="transformers") != "not here"
    return find_problem(folder, "transformers") is None


def _located(model: str | Path, **options: Any) -> tuple[SegmenterCard | None, Path]:
    """Returns the card of a segmenter, if it has one, and the folder with its weights; `options` are `resolve`'s."""
    card, folder = _named(str(model))
    if folder is None and card is None:
        raise SettingsError(
            f"no segmenter is called '{model}'; give one of {', '.join(each.name for each in list_segmenter_cards())}, "
            "or a folder with config.json and model.safetensors"
        )
    origin = card or SegmenterCard(str(folder), (), "sam", "unknown", 0)
    return card, resolve(origin, folder, layout="transformers", **options)


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
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise WeightsUnavailable(f"{path} is not the config of a model; download the model again") from error
