"""The results of an analysis as files: the table, its ranking, pictures, and a card that reads the best site."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image

from undertow.analysis.analyze import Analysis
from undertow.analysis.table import Row, to_csv, to_markdown
from undertow.backbones import Card, Noising, inversion_steps, list_cards
from undertow.backbones.cards.card_file import write_card_file
from undertow.base import SettingsError, atomic_path, write_json, write_text
from undertow.drawing.heat import curves, heat_table

FILES = ("table.csv", "table.md", "analysis.json", "card.json")
_SHOWN = 40


def write_analysis(
    analysis: Analysis, card: Card, out: Path, *, name: str | None = None, folder: Path | None = None
) -> list[Path]:
    """Writes an analysis into a folder, and returns the files.

    `table.csv` holds all rows, `table.md` the ranking, `card.json` the card for `--model`, `analysis.json` what it
    rests on; the pictures are accuracy by layer and timestep, by layer and head at the best timestep, and curves over
    timesteps of the best layers. Without matplotlib there are no pictures.

    Args:
        analysis: What was found.
        card: Of the model that was looked into.
        out: The folder; made if it does not exist, and files of these names in it are replaced.
        name: What to call the new card; by default the model's name and "-analysed".
        folder: Where the model's weights are, if its card does not know.
    """
    best, head, features = analysis.best, analysis.best_head, analysis.best_features
    write_text(out / "table.csv", to_csv(analysis.rows))
    write_text(out / "table.md", report(analysis))
    facts = {
        "model": analysis.model,
        "fingerprint": analysis.fingerprint,
        "clips": analysis.clips,
        "noising": analysis.noising,
        "settings": asdict(analysis.settings),
        "still": analysis.still,
        "best": asdict(best),
        "best head": None if head is None else asdict(head),
        "best features": None if features is None else asdict(features),
    }
    write_json(out / "analysis.json", _plain(facts))
    own = best_card(analysis, card, name)
    like = next((each for each in list_cards() if each.name == card.name), None)
    measured = {"accuracy": best.accuracy, "clips": len(analysis.clips), "noising": analysis.noising}
    if head is not None:
        measured["best single head"] = head.head
    extra: dict[str, Any] = {"measured": _plain(measured)}
    if folder is not None:
        extra["folder"] = str(folder.resolve())
    write_card_file(out / "card.json", own, like=like, **extra)
    written = [out / file for file in FILES]
    try:
        for file, picture in pictures(analysis).items():
            with atomic_path(out / file) as path:
                Image.fromarray(picture).save(path)
            written.append(out / file)
    except SettingsError:
        # There is no matplotlib, and the tables say the same.
        pass
    return written


def best_card(analysis: Analysis, card: Card, name: str | None = None) -> Card:
    """Returns a card that reads points, and masks, at the best site and timestep.

    The budget of tokens is adapted so that frames are shown as large as before; temperatures and presets measured at
    another site are skipped.
    """
    best = analysis.best
    site = next(site for site in analysis.sites if site.path == best.site)
    before = card.sites.get("track", (site,))[0]
    same = site == before
    ratio = (before.stride / site.stride) ** 2
    kind: Any = card.noising.kind if analysis.noising == "generated" else analysis.noising
    steps = inversion_steps(best.timestep) if best.timestep > 1 else (best.timestep,)
    return replace(
        card,
        name=name or f"{card.name}-analysed",
        sites={**card.sites, "points": (site,), "track": (site,)},
        noising=Noising(kind, best.timestep, steps, card.noising.label),
        token_budget=card.token_budget if same else max(16, round(card.token_budget * ratio)),
        budgets=card.budgets if same else {},
        temperatures=card.temperatures if same else {},
        calibrated=(),
        notes=f"layer {best.layer}, of {len(analysis.sites)} the best in {analysis.settings.rank}",
    )


def report(analysis: Analysis) -> str:
    """Returns what was found as markdown: the best site, queries and keys against features, and the ranking."""
    best, head, features = analysis.best, analysis.best_head, analysis.best_features
    count = len(analysis.clips)
    lines = [
        f"# Which layer of {analysis.model} carries motion\n",
        f"{count} clip{'s' if count > 1 else ''}, {len(analysis.sites)} sites, frames {analysis.noising}; points that "
        f"never move would have {analysis.still:.1f} % accuracy.\n",
        f"* Best site: layer {best.layer}, `{best.site}`, at timestep {best.timestep}: {best.accuracy:.1f} % by "
        "queries and keys, all heads.",
    ]
    if head is not None:
        lines.append(
            f"* Best single head: head {head.head} of layer {head.layer} at timestep {head.timestep}: "
            f"{head.accuracy:.1f} %."
        )
    if features is not None:
        lines.append(
            f"* Best {features.compared}: layer {features.layer} at timestep {features.timestep}: "
            f"{features.accuracy:.1f} %; queries and keys are {best.accuracy - features.accuracy:+.1f} points against "
            "them."
        )
    every = analysis.ranked(lambda row: True)
    shown = every[:_SHOWN]
    rest = f"\nThe best {len(shown)} of {len(every)} rows; all are in table.csv.\n" if len(every) > len(shown) else ""
    return "\n".join(lines) + "\n\n" + to_markdown(shown) + rest


def pictures(analysis: Analysis) -> dict[str, UInt8[np.ndarray, "h w 3"]]:
    """Returns the pictures of an analysis by file name.

    Raises:
        SettingsError: if matplotlib is not installed.
    """
    rows = [row for row in analysis.rows if row.compared == "query-key"]
    together = [row for row in rows if row.head is None]
    timesteps = sorted({row.timestep for row in together})
    layers = range(len(analysis.sites))
    best = analysis.best
    names = [f"{number} {_short(site.path)}" for number, site in enumerate(analysis.sites)]
    by_time = {(row.layer, row.timestep): row for row in together}
    drawn = {}
    for file, measure, unit, digits in (
        ("layers-timesteps.png", "accuracy", "matching accuracy in %", 0),
        ("layers-timesteps-harmonic.png", "harmonic", "harmonic mean", 2),
    ):
        table = _table(by_time, layers, timesteps, measure)
        drawn[file] = heat_table(
            table, names, list(map(str, timesteps)), title=f"{analysis.model}: queries and keys, all heads",
            axes=("layer", "timestep"), unit=unit, marked=_peak(table), digits=digits,
        )  # fmt: skip
    most = max(site.heads for site in analysis.sites)
    if most > 1:
        by_head = {
            (row.layer, -1 if row.head is None else row.head): row for row in rows if row.timestep == best.timestep
        }
        table = _table(by_head, layers, [*range(most), -1], "accuracy")
        drawn["layers-heads.png"] = heat_table(
            table, names, [*map(str, range(most)), "all"], title=f"{analysis.model}: at timestep {best.timestep}",
            axes=("layer", "head"), unit="matching accuracy in %", marked=_peak(table),
        )  # fmt: skip
    drawn["timesteps.png"] = curves(
        _curves(analysis),
        title=f"{analysis.model}: the best layers over timesteps",
        axes=("timestep", "matching accuracy in %"),
        level=("points that never move", analysis.still),
    )
    return drawn


def _curves(analysis: Analysis) -> dict[str, tuple[list[float], list[float]]]:
    """Returns accuracy over timesteps of the best three layers, and of the best one's features."""
    ranking = analysis.ranked(lambda row: row.head is None and row.compared == "query-key")
    chosen = list(dict.fromkeys(row.layer for row in ranking))[:3]
    series = {}
    kinds = [("query-key", layer) for layer in chosen]
    for compared in ("features", "features (cosine)"):
        own = [row for row in analysis.rows if row.compared == compared and row.head is None]
        if own:
            kinds.append((compared, max(own, key=lambda row: row.accuracy).layer))
    for compared, layer in kinds:
        own = sorted(
            (row for row in analysis.rows if (row.compared, row.layer, row.head) == (compared, layer, None)),
            key=lambda row: row.timestep,
        )
        name = f"{compared}, layer {layer}"
        series[name] = ([float(row.timestep) for row in own], [row.accuracy for row in own])
    return series


def _table(
    rows: dict[tuple[int, int], Row], layers: range, columns: list[int], measure: str
) -> Float64[np.ndarray, "layers columns"]:
    table = np.full((len(layers), len(columns)), np.nan)
    for place, column in enumerate(columns):
        for layer in layers:
            if (layer, column) in rows:
                table[layer, place] = getattr(rows[layer, column], measure)
    return table


def _peak(table: Float64[np.ndarray, "layers columns"]) -> tuple[int, int] | None:
    if not np.isfinite(table).any():
        return None
    row, column = np.unravel_index(np.nanargmax(table), table.shape)
    return int(row), int(column)


def _short(path: str) -> str:
    """Returns a module path without what all of its kind share."""
    for part in (".transformer_blocks.0.attn1", ".attn1", ".attn"):
        path = path.removesuffix(part)
    return path.replace("attentions", "att").replace("transformer_blocks", "blocks")


def _plain(value: Any) -> Any:
    """Returns a value that JSON has: NaN as null."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and np.isnan(value) else value
