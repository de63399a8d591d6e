"""Finding a model's weights: what the user gives, the package, the Hugging Face cache, then the hub, in this order."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import constants

from undertow.backbones.cards.card import Card
from undertow.backbones.cards.card_file import folder_of, get_card, list_cards, read_card_file, user_cards
from undertow.backbones.fine_tuning import WEIGHTS, is_fine_tuning, read_fine_tuning
from undertow.backbones.weights import hub
from undertow.backbones.weights.digests import ModelSource, digests_of, find_mismatch
from undertow.backbones.weights.layout import Layout, layout_of, weight_files
from undertow.backbones.weights.layout import find_problem as find_problem
from undertow.backbones.weights.layout import weight_variant as weight_variant
from undertow.backbones.weights.single_file import find_file_problem
from undertow.base import SettingsError, WeightsUnavailable

_REINSTALL = "reinstall undertow with `pip install --force-reinstall undertow`"


@dataclass(frozen=True)
class Located:
    """A model whose weights are on this machine, whole and with the right digests.

    Attributes:
        path: A folder in the diffusers layout, or one safetensors file of a whole model.
        card: Of the model, or `None` if only a path was given and nothing is known of it.
        learned: Folder of weights that take the place of some of these, if it is a model that was fine-tuned.
    """

    path: Path
    card: Card | None = None
    learned: Path | None = None


def locate(model: str | Path) -> Located:
    """Returns where the weights of `model` are, after fetching them if need be.

    Args:
        model: The name of a card (`tiny`, `sd-2.1`, ...); a folder in the diffusers layout; one safetensors file; a
            card file (see `undertow.backbones.cards.card_file`); NAME=PATH, which says that the folder or file holds
            the model that the card describes; or a folder that `undertow train rem` made.

    Raises:
        SettingsError: if no card has the name.
        WeightsUnavailable: if the weights are absent, incomplete, or not those that the card pins.
    """
    text = str(model)
    known = [card.name for card in list_cards()]
    path = Path(model).expanduser()
    folder = embedded_folder(get_card(text)) if text in known else path
    if is_fine_tuning(folder):
        base = read_fine_tuning(folder).backbone
        if is_fine_tuning(Path(base).expanduser()):
            raise SettingsError(f"'{folder}' was fine-tuned from '{base}', which was fine-tuned itself; correct it")
        located = replace(locate(base), learned=folder)
        return replace(located, card=get_card(text)) if text in known else located
    if text in known:
        card = get_card(text)
        return Located(resolve(card, folder_of(card), layout=card.layout), card)
    if path.suffix == ".json":
        user = read_card_file(path)
        return Located(resolve(user.card, user.folder, layout=user.card.layout), user.card)
    name, equals, rest = text.partition("=")
    if equals and not path.exists() and "/" not in name:
        if not rest:
            raise SettingsError(f"model '{text}' names no path; give {name}=FOLDER or {name}=FILE.safetensors")
        card = get_card(name)
        return Located(resolve(card, rest, layout=card.layout), card)
    # Versions are part of names: "sd-2.2" has no suffix that a file would have.
    if not path.exists() and len(path.parts) == 1 and not any(map(str.isalpha, path.suffix)):
        raise SettingsError(
            f"no model is called '{text}'; give one of {', '.join(known)}, a folder in the diffusers layout, "
            "or a safetensors file"
        )
    _require_whole(path, layout_of(path))
    return Located(path)


def models_in(model: str | Path) -> list[str]:
    """Returns the models of a fusion, such as tiny+tiny-video, and one alone otherwise."""
    names = [card.name for card in list_cards()]
    parts = str(model).split("+")
    known = all(part.partition("=")[0] in names or Path(part).expanduser().exists() for part in parts)
    return parts if known and not Path(model).expanduser().exists() else [str(model)]


def embedded_folder(card: ModelSource) -> Path:
    """Returns where the package keeps the weights of an embedded `card`."""
    return Path(__file__).parents[1] / "embedded" / card.embedded


def resolve(
    card: ModelSource,
    path: Path | str | None = None,
    *,
    layout: Layout = "diffusers",
    cache: Path | str | None = None,
    offline: bool | None = None,
    endpoint: str | None = None,
) -> Path:
    """Returns a local folder in `layout`, or the one file given, that holds the weights of `card`.

    Looked for in this order: `path` if given (and nowhere else), the package for embedded models, the Hugging Face
    cache under each hub id, and last the hub itself under each id. Wherever they are found, they are used only if
    their digests are those of the card and of the hub.

    Args:
        card: Names hub ids, revision and digests.
        path: A local folder in `layout`, or one safetensors file.
        layout: How the model is kept as a folder.
        cache: Hugging Face cache folder; `None` for the user's.
        offline: Whether to leave the network alone; `None` follows HF_HUB_OFFLINE.
        endpoint: Address of the hub; `None` for the user's (HF_ENDPOINT).

    Raises:
        WeightsUnavailable: if they are nowhere, are incomplete, or differ from the digests.
    """
    if path is not None or card.embedded:
        folder = embedded_folder(card) if path is None else Path(path).expanduser()
        return _given(card, folder, layout, shipped=path is None)
    offline = constants.HF_HUB_OFFLINE if offline is None else offline
    failures: list[hub.FetchError] = []
    # What an interrupted download left is no news where downloading goes on.
    incomplete: list[hub.FetchError] = []
    for hub_id, revision in card.sources:
        for snapshot in hub.cached(hub_id, revision, cache):
            if problem := find_problem(snapshot, layout):
                incomplete.append(hub.FetchError(hub_id, "content", problem))
            elif mismatch := find_mismatch(card, snapshot, layout=layout):
                failures.append(hub.FetchError(hub_id, "content", mismatch.reason))
            else:
                return snapshot
    if offline:
        failures += incomplete
    else:
        for hub_id, revision in card.sources:
            try:
                return hub.fetch(card, hub_id, revision, layout=layout, cache=cache, endpoint=endpoint)
            except hub.FetchError as failure:
                failures.append(failure)
    raise WeightsUnavailable(_unavailable(card, failures, hub.cache_folder(cache) if offline else None))


def weights_state(card: ModelSource, cache: Path | str | None = None, layout: Layout = "diffusers") -> str:
    """Returns where the weights of `card` are: "embedded", "cached", "given" (by a card file) or "not here".

    Files are not read, so that damage is not noticed.
    """
    if card.name in user_cards() and (folder := user_cards()[card.name].folder):
        return "given" if find_problem(folder, layout) is None else "not here"
    if card.embedded:
        folder = embedded_folder(card)
        whole = (folder / WEIGHTS).is_file() if is_fine_tuning(folder) else find_problem(folder, layout) is None
        return "embedded" if whole else "not here"
    snapshots = (each for source in card.sources for each in hub.cached(*source, cache))
    return "cached" if any(find_problem(each, layout) is None for each in snapshots) else "not here"


def pins(folder: Path, layout: Layout = "diffusers") -> str:
    """Returns the text that pins a card to the files of `folder`: the commit if the cache knows it, and the digests."""
    lines = []
    if folder.parent.name == "snapshots":
        owner_and_name = folder.parent.parent.name.removeprefix("models--").replace("--", "/", 1)
        lines.append(f'hub_ids=("{owner_and_name}@{folder.name}",),')
    digests = digests_of(folder, weight_files(folder, layout))
    return "\n".join([*lines, "sha256={", *(f'    "{name}": "{digest}",' for name, digest in digests.items()), "},"])


def _given(card: ModelSource, path: Path, layout: Layout, *, shipped: bool) -> Path:
    """Returns `path` if it holds what `card` says; what to do if not depends on whether the package brought it."""
    if not shipped:
        _require_whole(path, layout)
    elif problem := find_problem(path, layout):
        raise WeightsUnavailable(f"{problem}; {_REINSTALL}")
    if mismatch := find_mismatch(card, path, layout=layout):
        anew = f"download the model again, or leave out '{card.name}=' if it is another model"
        raise WeightsUnavailable(f"{mismatch.reason}; {_REINSTALL if shipped else anew}")
    return path


def _require_whole(path: Path, layout: Layout = "diffusers") -> None:
    """Raises WeightsUnavailable unless `path` is a folder in `layout`, or a file, that holds a whole model."""
    if path.is_file() and layout == "transformers":
        raise WeightsUnavailable(f"{path} is a file; give the folder that holds it and its config.json")
    if path.is_file():
        if problem := find_file_problem(path):
            raise WeightsUnavailable(
                f"{problem}; give a whole Stable Diffusion 1 or 2 model as one safetensors file or as a folder"
            )
    elif path.suffix == ".safetensors" and not path.exists():
        raise WeightsUnavailable(f"there is no file {path}; check the path")
    elif problem := find_problem(path, layout):
        raise WeightsUnavailable(f"{problem}; give a folder in the {layout} layout with safetensors weights")


def _unavailable(card: ModelSource, failures: Sequence[hub.FetchError], copy_to: Path | None) -> str:
    """Returns the sentence that says why there are no weights, and which command helps.

    It is given why each repository, or each copy of one, is of no use, and the cache folder if nothing may be fetched
    into it.
    """
    kinds = {failure.kind: failure.hub_id for failure in reversed(failures)}
    fetch = f"`undertow models fetch {card.name}`"
    given = f"--model {card.name}=FOLDER"
    problem = "could not be fetched"
    if copy_to is not None:
        problem = "HF_HUB_OFFLINE forbids fetching them"
        remedy = f"run {fetch} where there is a network and copy its cache to {copy_to}, or pass {given}"
    elif "disk" in kinds:
        remedy = f"free some space, or set HF_HOME to a folder on another disk, and run {fetch}"
    elif "passing" in kinds or "network" in kinds:
        remedy = f"run {fetch} when the network is back (what arrived whole is kept), or pass {given}"
    elif "account" in kinds:
        page = f"https://huggingface.co/{kinds['account']}"
        remedy = f"accept the licence at {page}, run `hf auth login`, and then {fetch}"
    else:
        remedy = f"get the model elsewhere and pass {given}, or run `hf auth login` if the repository is private"
    reasons = "; ".join(str(failure) for failure in failures)
    details = f" ({reasons})" if reasons else ""
    return f"the weights of '{card.name}' are not on this machine and {problem}{details}; {remedy}"
