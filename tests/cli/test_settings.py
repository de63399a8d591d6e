"""Settings classes as options: every field is reached by an option or --set, and ends in the settings."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from undertow.base import Option, SettingsError, options_of
from undertow.base.options import assigned, parse_value, text_options
from undertow.cli.options import parameters
from undertow.parsing import ParseSettings
from undertow.points import PointSettings
from undertow.tracking import TrackSettings

CLASSES = (TrackSettings, PointSettings, ParseSettings)
LEAVES = [(settings, name, option) for settings in CLASSES for name, option in text_options(settings)]
IDS = [f"{settings.__name__}.{name}" for settings, name, _ in LEAVES]
# What no text stands for: settings within settings, which `--set` reaches by their fields, and a class of objects.
UNTYPED = {"guided", "modulation"}
# Each of these rules out another one.
EXCLUSIVE = {"correct_back", "soft", "keep_soft"}


# Settings that go together.
WITH = {"feed_back": {"refine": "sam"}, "namer": {"vocabulary": "words"}, "vocabulary": {"namer": "folder"}}


def another(option: Option) -> tuple[str, Any]:
    """A text that is not the option's default, and its value."""
    for text, value in (
        *((word, word) for word in option.choices), ("on", True), ("off", False), ("1", 1), ("17", 17), ("0.25", 0.25),
        ("17,19", (17, 19)), ("17,0.25", (17, 0.25)), ("other", "other"), ("other", Path("other")),
    ):  # fmt: skip
        try:
            parsed = parse_value(option, text)
        except SettingsError:
            continue
        if parsed == value and parsed != option.default and type(parsed) is not type(None):
            return text, parsed
    raise AssertionError(f"no text for {option.name}")


def value_at(settings: Any, name: str) -> Any:
    for part in name.split("."):
        settings = getattr(settings, part)
    return settings


@pytest.mark.parametrize(("settings", "name", "option"), LEAVES, ids=IDS)
def test_every_field_can_be_set(settings, name, option):
    text, value = another(option)
    made = assigned(settings(), [f"{name}={text}"], WITH.get(name))
    if isinstance(value, bool) and name == "crf":
        assert made.crf is not None
    else:
        assert value_at(made, name) == value
    # Nothing else has changed.
    outer = name.split(".")[0]
    assert replace(made, **{each: getattr(settings(), each) for each in (outer, *WITH.get(name, {}))}) == settings()


@pytest.mark.parametrize("settings", CLASSES)
def test_what_cannot_be_typed_is_known(settings):
    typed = {name.split(".")[0] for name, _ in text_options(settings)}
    assert {each.name for each in options_of(settings)} - typed <= UNTYPED
    assert all(each.help for _, each in text_options(settings))


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("topk", "give NAME=VALUE"),
        ("topq=5", "no setting is called 'topq'; the nearest is 'topk'"),
        ("=5", "no setting is called ''"),
        ("crf.steps=5", "no setting is called 'crf.steps'; `undertow TASK --help-all` lists those of the task"),
        ("topk=0", "topk is 0; give 1 or more"),
        ("topk=five", "topk is 'five'"),
        ("topk=1e3", "topk is '1e3'"),
        ("topk=" + "9" * 5000, "topk is '999"),
        ("temperature=nan", "temperature is nan"),
        ("size=64", "size is '64'"),
        ("size=64x", "size is '64x'"),
        ("size=8x8", "size is 8x8"),
        ("lost=maybe", "choose empty, keep"),
        ("topk=none ", ""),
    ],
)
def test_what_cannot_be_set_is_one_sentence(assignment, words):
    if not words:
        assert assigned(TrackSettings(), [assignment]).topk is None
        return
    with pytest.raises(SettingsError, match="(?s)" + words.replace("(", r"\(")) as caught:
        assigned(TrackSettings(), [assignment])
    assert "\n" not in str(caught.value)


def test_a_setting_given_twice_is_refused():
    with pytest.raises(SettingsError, match="lost is given twice"):
        assigned(TrackSettings(), ["lost=empty"], {"lost": "keep"})
    with pytest.raises(SettingsError, match="topk is given twice"):
        assigned(TrackSettings(), ["topk=1", "topk=2"])


def test_settings_within_settings():
    made = assigned(ParseSettings(), ["crf.steps=3", "crf.dilations=1,2", "guided.radius=1"])
    assert made.crf.steps == 3 and made.crf.dilations == (1, 2) and made.guided.radius == 1
    assert assigned(ParseSettings(), [], {"crf": True}).crf == type(made.crf)()


@pytest.mark.parametrize("settings", CLASSES)
def test_options_of_a_command_are_settings_again(settings):
    """By the real parser: each option with another value than its default."""
    found = []

    def command(**typed: Any) -> None:
        found.append(assigned(settings(), [], typed))

    from inspect import Signature

    command.__signature__ = Signature(parameters(options_of(settings), "Method"))
    app = typer.Typer()
    app.command()(command)
    words, wanted = [], {}
    for option in options_of(settings):
        if option.name in UNTYPED | EXCLUSIVE:
            continue
        text, value = ("sam", "sam") if "sam" in option.choices else another(option)
        name = option.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words.append(f"--{name}={text}")
        wanted[option.name] = value
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    (made,) = found
    for name, value in wanted.items():
        assert getattr(made, name) == value or (name == "crf" and made.crf is not None)
