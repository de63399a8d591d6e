"""Finding a model's weights: a folder the user gives, the Hugging Face cache, then the hub, in the card's order."""

import hashlib
from pathlib import Path

import huggingface_hub

# The client library differs between versions of the hub's package, which names its base error in all of them.
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

from undertow.backbones.card import Card
from undertow.base import WeightsUnavailable

# Each component of the diffusers layout that holds weights, with the stem of its weight file.
WEIGHT_STEMS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
_PLAIN_FILES = (
    *(f"{component}/config.json" for component in WEIGHT_STEMS),
    "scheduler/scheduler_config.json",
    "tokenizer/tokenizer_config.json",
)
_WEIGHT_ENDINGS = (".safetensors", ".safetensors.index.json", "-*-of-*.safetensors")
# Only these are fetched: never pickles, nor the half-precision and non-EMA copies beside the weights.
_PATTERNS = [
    "scheduler/*.json",
    "tokenizer/*.json",
    "tokenizer/merges.txt",
    *(
        f"{component}/{name}"
        for component, stem in WEIGHT_STEMS.items()
        for name in (
            "config.json",
            f"{stem}.safetensors",
            f"{stem}-*-of-*.safetensors",
            f"{stem}.safetensors.index.json",
        )
    ),
]


def embedded_folder(card: Card) -> Path:
    """Returns where the package keeps the weights of an embedded `card`."""
    return Path(__file__).parent / "embedded" / card.embedded


def resolve(
    card: Card, folder: Path | str | None = None, *, cache: Path | str | None = None, offline: bool | None = None
) -> Path:
    """Returns a local folder in the diffusers layout that holds the weights of `card`.

    Looked for in this order: `folder` if given (and nowhere else), the package for embedded models, the Hugging Face
    cache under each hub id, and last the hub itself under each id.

    Args:
        card: names hub ids, revision and digests.
        folder: a local folder in the diffusers layout.
        cache: Hugging Face cache folder; `None` for the user's.
        offline: whether to leave the network alone; `None` follows HF_HUB_OFFLINE.

    Raises:
        WeightsUnavailable: if they are nowhere, are incomplete, or differ from the card's digests.
    """
    if folder is not None or card.embedded:
        path = Path(folder) if folder is not None else embedded_folder(card)
        if problem := find_problem(path):
            remedy = (
                "give a folder in the diffusers layout with safetensors weights"
                if folder is not None
                else "reinstall undertow with `pip install --force-reinstall undertow`"
            )
            raise WeightsUnavailable(f"{problem}; {remedy}")
        return _checked(card, path)

    offline = huggingface_hub.is_offline_mode() if offline is None else offline
    for local in [True] if offline else [True, False]:
        for hub_id in card.hub_ids:
            try:
                path = Path(
                    huggingface_hub.snapshot_download(
                        hub_id,
                        revision=card.revision,
                        cache_dir=cache,
                        allow_patterns=_PATTERNS,
                        local_files_only=local,
                    )
                )
            except (HTTPError, OSError, ValueError):  # a lost connection, the hub's refusals, a malformed id
                continue
            if find_problem(path) is None:
                return _checked(card, path)
    # No name resolves without a hub id: such a card is embedded, and was handled above.
    first = card.hub_ids[0]
    pinned = f" --revision {card.revision}" if card.revision else ""
    raise WeightsUnavailable(
        f"the weights of '{card.name}' are not on this machine"
        f"{' and HF_HUB_OFFLINE forbids fetching them' if offline else ' and could not be fetched'}; run "
        f"`hf download {first}{pinned}` where there is a network, or pass --model a folder in the diffusers layout"
    )


def find_problem(folder: Path) -> str | None:
    """Returns what keeps `folder` from being a model in the diffusers layout, as half a sentence, or `None`."""
    if not folder.is_dir():
        return f"{folder} is not a folder"
    for name in _PLAIN_FILES:
        if not (folder / name).is_file():
            return f"{folder} has no {name}"
    vocabulary = folder / "tokenizer"
    if not (vocabulary / "tokenizer.json").is_file() and not (vocabulary / "vocab.json").is_file():
        return f"{vocabulary} has neither tokenizer.json nor vocab.json"
    for component, stem in WEIGHT_STEMS.items():
        if weight_variant(folder, component) is None:
            pickles = [file.name for file in sorted((folder / component).glob("*.bin"))]
            found = f"only the pickle {pickles[0]}" if pickles else "no weights"
            return f"{folder / component} holds {found}, not {stem}.safetensors"
    return None


def weight_variant(folder: Path, component: str) -> str | None:
    """Returns which copy of its weights `component` has.

    Returns:
        "" for plain safetensors (one file or shards), "fp16" if there is only a half-precision copy, `None` if neither.
    """
    stem = folder / component / WEIGHT_STEMS[component]
    for variant, endings in {
        "": (".safetensors", ".safetensors.index.json"),
        "fp16": (".fp16.safetensors", ".safetensors.index.fp16.json"),
    }.items():
        if any(Path(f"{stem}{ending}").is_file() for ending in endings):
            return variant
    return None


def _checked(card: Card, folder: Path) -> Path:
    """Returns `folder` after comparing the files that `card` pins with their digests."""
    for name, expected in card.sha256.items():
        if not (folder / name).is_file():
            raise WeightsUnavailable(f"{folder} has no {name}, which '{card.name}' pins; download the model again")
        with (folder / name).open("rb") as handle:
            found = hashlib.file_digest(handle, "sha256").hexdigest()
        if found != expected:
            raise WeightsUnavailable(
                f"{folder / name} has sha256 {found[:12]}… where '{card.name}' pins {expected[:12]}…; "
                "delete it and download the model again"
            )
    return folder
