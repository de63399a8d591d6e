"""The results of `analyze --words` as files: the table, its ranking, and a card that reads words at the best place."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from undertow.analysis.words import ALL, WordAnalysis, WordRow
from undertow.backbones import Backbone, Card, Noising, list_cards
from undertow.backbones.cards.card_file import write_card_file
from undertow.base import write_json, write_text

_SHOWN = 30


def write_word_analysis(
    analysis: WordAnalysis, backbone: Backbone, out: Path, *, name: str | None = None, folder: Path | None = None
) -> list[Path]:
    """Writes an analysis into a folder, and returns the files.

    `table.csv` holds all rows, `table.md` the ranking, `card.json` the card for `--model`, and `analysis.json` what it
    rests on.

    Args:
        analysis: What was found.
        backbone: The model that was looked into.
        out: The folder; made if it does not exist, and files of these names in it are replaced.
        name: What to call the new card; by default the model's name and "-words".
        folder: Where the model's weights are, if its card does not know.
    """
    best, card = analysis.best, backbone.card
    columns = list(asdict(best))
    lines = [",".join(columns), *(",".join(str(value) for value in asdict(row).values()) for row in analysis.rows)]
    write_text(out / "table.csv", "\n".join(lines) + "\n")
    write_text(out / "table.md", word_report(analysis))
    facts = {**asdict(analysis), "rows": len(analysis.rows), "best": asdict(best)}
    write_json(out / "analysis.json", facts)
    extra: dict[str, Any] = {"measured": {"accuracy": best.accuracy, "presence": best.presence}}
    if folder is not None:
        extra["folder"] = str(folder.resolve())
    like = next((each for each in list_cards() if each.name == card.name), None)
    write_card_file(out / "card.json", word_card(best, backbone, name), like=like, **extra)
    return [out / file for file in ("table.csv", "table.md", "analysis.json", "card.json")]


def word_card(best: WordRow, backbone: Backbone, name: str | None = None) -> Card:
    """Returns a card that reads words at a site, noise level and reading."""
    card = backbone.card
    site = next(each for each in (*backbone.sites("cross"), *backbone.sites("joint")) if each.path == best.site)
    level = Noising(kind="noise", timestep=best.timestep, steps_grid=(best.timestep,))
    return replace(
        card,
        name=name or f"{card.name}-words",
        sites={**card.sites, "refer": (site,)},
        levels={**card.levels, "refer": level},
        word_reading=best.reading,
        word_contrast=round(best.least, 2),
        notes=f"words are read in {best.site}, the best on worlds",
    )


def word_report(analysis: WordAnalysis) -> str:
    """Returns what was found as markdown: the best place, and the ranking."""
    best = analysis.best
    together = next(row for row in analysis.rows if row.site == ALL)
    lines = [
        f"# Where {analysis.model} grounds words\n",
        f"{analysis.pictures} pictures, {analysis.expressions} expressions; an object chosen at random is right in "
        f"{analysis.chance:.1f} %.\n",
        f"* Best site: `{best.site}` at timestep {best.timestep}, reading {best.reading}: {best.accuracy:.1f} % of "
        "points are inside what was named.",
        f"* The mean of all sites: at best {together.accuracy:.1f} %, at timestep {together.timestep}, reading "
        f"{together.reading}.",
        f"* Contrast tells what is shown from what is not with an area under the ROC curve of {best.presence:.2f}; the "
        f"best threshold is {best.least:.2f}.\n",
        "| site | timestep | reading | points inside, % | AUROC of presence | threshold |",
        "|---|---:|---|---:|---:|---:|",
    ]
    for row in analysis.rows[:_SHOWN]:
        place, figures = f"{row.site} | {row.timestep} | {row.reading}", (row.accuracy, row.presence, row.least)
        lines.append(f"| {place} | {figures[0]:.1f} | {figures[1]:.2f} | {figures[2]:.2f} |")
    if len(analysis.rows) > _SHOWN:
        lines.append(f"\nThe best {_SHOWN} of {len(analysis.rows)} rows; all are in table.csv.")
    return "\n".join(lines) + "\n"
