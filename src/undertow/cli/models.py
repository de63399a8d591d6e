"""`undertow models`: which models there are, and fetching their weights."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from undertow.cli.showing import say, show_table

if TYPE_CHECKING:
    from undertow.backbones import Card
    from undertow.backbones.weights.digests import ModelSource

models = typer.Typer(help="List the models undertow knows, and fetch their weights.")

Name = Annotated[str, typer.Argument(help="Model name, as `undertow models` lists it.")]


@models.callback(invoke_without_command=True)
def list_models(context: typer.Context) -> None:
    """List the models undertow knows, and where their weights are."""
    from undertow.backbones import list_cards, weights_state
    from undertow.refinement import list_segmenter_cards

    if context.invoked_subcommand is not None:
        return
    shown = [
        (
            card.name,
            _weights(card, weights_state(card, layout=card.layout)),
            card.licence,
            str(card.budget("track")),
            _megabytes(card),
        )
        for card in list_cards()
    ]
    show_table(shown, "name", "weights", "licence", "tokens", "MB/frame")
    segmenters = [
        (card.name, _weights(card, weights_state(card, layout="transformers")), card.licence, f"{card.parameters:g} M")
        for card in list_segmenter_cards()
    ]
    show_table(segmenters, "segmenter", "weights", "licence", "parameters")


def _weights(card: "ModelSource", state: str) -> str:
    return f"{state}, pinned" if card.sha256 else state


def _megabytes(card: "Card") -> str:
    return f"{card.memory_per_frame / 1e6:.1f}"


@models.command()
def show(name: Name) -> None:
    """Show where the weights of a model come from, and how it is read."""
    from undertow.backbones import get_card, weights_state
    from undertow.refinement import list_segmenter_cards

    segmenter = next((each for each in list_segmenter_cards() if each.name == name), None)
    if segmenter is not None:
        show_table(
            {
                "name": segmenter.name,
                "weights": weights_state(segmenter, layout="transformers"),
                **_origin(segmenter),
                "licence": segmenter.licence,
                "parameters": f"{segmenter.parameters:g} M",
                "used by": "--segmenter, for boxes, points and --refine sam",
                "notes": segmenter.notes,
            }.items()
        )
        return
    card = get_card(name)
    facts = {
        "name": card.name,
        "weights": weights_state(card, layout=card.layout),
        **_origin(card),
        "licence": card.licence + (" (to be accepted on the hub)" if card.gated else ""),
        "prediction": card.prediction,
        "read at": "\n".join(f"{site.path} ({kind})" for kind, sites in card.sites.items() for site in sites),
        "tokens": str(card.budget("track")),
        "noising": f"{card.noising.kind} to timestep {card.noising.timestep}",
        "preset": card.preset,
        "memory": f"{_megabytes(card)} MB per frame",
        "notes": card.notes,
    }
    show_table(facts.items())


def _origin(card: "ModelSource") -> dict[str, str]:
    """Returns where weights come from, in words."""
    sources = "\n".join(f"{hub_id} at {commit or 'its newest'}" for hub_id, commit in card.sources)
    digests = "\n".join(f"{file} {digest}" for file, digest in card.sha256.items())
    return {
        "from": sources or ("the package" if card.embedded else "no repository that is known"),
        "sha256": digests or "not pinned",
    }


@models.command()
def fetch(
    name: Name,
    revision: Annotated[str | None, typer.Option(help="Commit, branch or tag instead of the card's.")] = None,
    pin: Annotated[bool, typer.Option("--pin", help="Print what to write into the card to pin these files.")] = False,
) -> None:
    """Download the weights of a model, check them, and print the folder they are in."""
    from undertow.backbones import get_card, pins, resolve
    from undertow.refinement import list_segmenter_cards

    segmenter = next((each for each in list_segmenter_cards() if each.name == name), None)
    card: Any = segmenter or get_card(name)
    layout: Literal["diffusers", "transformers"] = "transformers" if segmenter else card.layout
    if revision is not None:
        card = replace(card, hub_ids=tuple(hub_id for hub_id, _ in card.sources), revision=revision)
    folder = resolve(card, layout=layout)
    say(f"{name} is complete and has the right digests")
    print(folder)
    if pin:
        print(pins(folder, layout))


@models.command()
def convert(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of REM's authors (.pt, .pth).")],
    base: Annotated[str, typer.Option("--base", help="The base model of the checkpoint: a name, a folder or a file.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write, for --model of refer --method rem.")],
) -> None:
    """Convert a published checkpoint of a fine-tuned generator to a folder of safetensors; no pickle is run."""
    from undertow.training.rem.checkpoints import convert_checkpoint

    about = convert_checkpoint(checkpoint, base, out)
    say(f"{out} holds '{base}' fine-tuned: target {about.target}, masks {about.mask_range}, {about.pad_tokens} tokens")
