"""One command for the table of all models: what would be downloaded, then scores of those whose weights are here."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from undertow.backbones import Card, get_card, list_cards, weights_state
from undertow.backbones.cards.features import MODELS
from undertow.base import Progress, UndertowError, write_text
from undertow.benchmarks.core.jobs import named
from undertow.benchmarks.core.outcomes import Outcome, by_method
from undertow.benchmarks.core.runner import run_benchmark
from undertow.benchmarks.core.sample import Sample, get_protocol
from undertow.benchmarks.masks.methods import model_method
from undertow.benchmarks.report.tables import Table, difference_table, percent
from undertow.benchmarks.rivals.costs import Cost, shipped_costs, ways
from undertow.benchmarks.sweep import measured
from undertow.tracking import TrackSettings

REPORT = "rivals.md"
# J&F on DAVIS-2017 val, without a segmenter, as papers print it.
PRINTED = {
    ("sd-2.1", "drift"): "71.8",
    ("sd-1.5", "drift"): "68.9 (tuned)",
    ("sd-2.1", "dift"): "70.0",
    ("adm-256", "adm"): "75.7",
    **{(name, "dino" if kind == "vit" else "dinov3"): score for name, kind, *_, score in MODELS if score},
}


@dataclass(frozen=True)
class Rival:
    """One model and one way to track with it.

    Attributes:
        card: Of the model.
        preset: Way to propagate.
        published: Whether by the numbers of the preset's paper, or else by the card's.
        state: Where its weights are, see `weights_state`.
        cost: What a frame takes, `None` if it was not counted.
    """

    card: Card
    preset: str
    published: bool
    state: str
    cost: Cost | None

    @property
    def here(self) -> bool:
        """Whether its weights are on this machine."""
        return self.state != "not here"

    @property
    def name(self) -> str:
        """Names its folder and its rows."""
        return "+".join((self.card.name, self.preset, *(["published"] if self.published else [])))


def rivals(models: Sequence[str] = ()) -> list[Rival]:
    """Returns every way to track with some models, or with all that are known.

    Raises:
        SettingsError: if no model has such a name.
    """
    costs = {(each.model, each.preset, each.published): each for each in shipped_costs()}
    cards = [get_card(name) for name in models] or list_cards()
    return [
        Rival(card, preset, published, state, costs.get((card.name, preset, published)))
        for card in cards
        for state in [weights_state(card, layout=card.layout)]
        for preset, published in ways(card)
    ]


def plan_table(found: Iterable[Rival]) -> Table:
    """Returns what each model is, and what has to be downloaded for it; sizes are of float32 weights."""
    rows = []
    for card, own in {each.card.name: (each.card, each) for each in found}.values():
        size = f"{4 * own.cost.weights / 1000:.2f}" if own.cost else "-"
        gate = "to be accepted on the hub" if card.gated else "none"
        rows.append(
            (
                card.name,
                own.state,
                (*card.hub_ids, "the package" if card.embedded else "see its notes")[0],
                size,
                card.licence,
                gate,
            )
        )
    return Table(("model", "weights", "from", "GB in float32", "licence", "gate"), tuple(rows))


def cost_table(found: Iterable[Rival]) -> Table:
    """Returns what a frame of 854x480 takes each way."""
    rows = []
    for each in found:
        if (cost := each.cost) is not None:
            how = "published" if each.published else "ours"
            numbers = (f"{cost.width}x{cost.height}", str(cost.tokens), f"{cost.weights:.1f}", f"{cost.read:.1f}")
            spent = f"{cost.teraflops:.3g}", f"{cost.kilobytes / 1000:.1f}"
            rows.append((each.card.name, each.preset, how, *numbers, *spent))
    head = ("model", "preset", "settings", "input", "tokens", "weights, M", "read, M", "TFLOP/frame", "MB/frame kept")
    return Table(head, tuple(rows))


def score_table(
    found: Sequence[Rival],
    outcomes: Sequence[Outcome],
    assignments: Sequence[str] = (),
    failed: Collection[str] = (),
) -> Table:
    """Returns our scores and seconds beside what papers print on DAVIS-2017.

    Args:
        found: The ways to track, a row each.
        outcomes: What was measured so far.
        assignments: Settings that were changed.
        failed: Names of the ways that could not be measured.
    """
    methods = by_method(outcomes)
    compared = {}
    if methods:
        compared = {row[0]: row[1:3] for row in difference_table(outcomes, next(iter(methods))).rows}
    rows = []
    for each in found:
        score, seconds = "failed" if each.name in failed else "not yet" if each.here else "needs weights", "-"
        name = named(each.name, assignments=assignments)
        if name in methods:
            measures = measured(methods[name])
            score, seconds = percent(measures[0]), f"{measures[1]:.2f}"
        printed = PRINTED.get((each.card.name, each.preset), "-") if each.published else "-"
        how = "published" if each.published else "ours"
        rows.append((each.card.name, each.preset, how, score, *compared.get(name, ("", "")), seconds, printed))
    head = ("model", "preset", "settings", "J&F", "difference", "95 % interval", "s/frame", "the paper, DAVIS-2017")
    return Table(head, tuple(rows))


def run_rivals(
    samples: Sequence[Sample],
    found: Sequence[Rival],
    out: Path,
    protocol: str,
    progress: Progress,
    *,
    assignments: Sequence[str] = (),
    **options: Any,
) -> str:
    """Measures every way whose weights are here, and returns `rivals.md`, which is written after each of them.

    The protocol chooses frames; sizes are the settings' own, or one for all if the `assignments` say so, such as
    tokens=1600. `options` are those of `run_benchmark`, and `device` and `dtype` of the models.

    Raises:
        UndertowError: the first of those by which ways could not be measured, once all others were.
    """
    place = {name: options.pop(name, None) for name in ("device", "dtype")}
    shown = replace(get_protocol(protocol), tokens=None)
    outcomes: list[Outcome] = []
    failed: dict[str, UndertowError] = {}
    about = f"Protocol {shown.describe()}{''.join(f', {each}' for each in assignments)}. Differences are from the first"
    head = [f"# Every model on {samples[0].dataset}", f"{about} measured, seconds by the clock of this machine."]
    rest = ["## A frame of 854x480", cost_table(found).markdown(), "## Weights", plan_table(found).markdown()]

    def written() -> str:
        text = "\n\n".join([*head, score_table(found, outcomes, assignments, failed).markdown(), *rest]) + "\n"
        write_text(out / REPORT, text)
        return text

    for each in found:
        if each.here:
            label = named(each.name, assignments=assignments)
            try:
                method = model_method(
                    each.card.name, each.preset, TrackSettings(published=each.published), label=label,
                    assignments=assignments, **place,
                )  # fmt: skip
                outcomes += run_benchmark(samples, [method], out, shown, progress, **options)
            except UndertowError as error:
                failed[each.name] = error
            written()
    if failed:
        name, first = next(iter(failed.items()))
        more = f"; also failed: {', '.join(list(failed)[1:])}" if len(failed) > 1 else ""
        raise type(first)(f"{name} could not be measured: {first}{more}") from first
    return written()
