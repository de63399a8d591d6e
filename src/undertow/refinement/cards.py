"""What undertow knows of each promptable segmenter: the embedded `tiny-sam`, and the published SAM and SAM 2.1."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from undertow.base import SettingsError
from undertow.refinement.sam import SamSettings


@dataclass(frozen=True)
class SegmenterCard:
    """What is known of one segmenter before any weight is read.

    Attributes:
        name: what users call it.
        hub_ids: Hugging Face repositories that hold it, best first, each OWNER/NAME or, pinned, OWNER/NAME@COMMIT;
            empty if it ships with the package.
        family: which of transformers' classes runs it.
        licence: of the weights.
        parameters: number of them, in millions.
        revision: commit, branch or tag of the repositories that are not pinned; `None` for the newest.
        sha256: digest of weight files by name. If one is listed, no other weights are ever loaded.
        settings: how refinement prompts it.
        embedded: folder of this package that holds the weights; empty if they are not shipped.
        notes: anything else worth printing.
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
            notes="trained on procedural scenes, for refinement first of all",
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
