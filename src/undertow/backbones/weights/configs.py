"""Configuration files of a model, which anyone may have written: JSON objects whose counts are within bounds.

What a configuration states decides how much is built, so that every number in one is looked at here, before anything
is made of it.
"""

import json
import re
from pathlib import Path
from typing import Any

from undertow.base import SettingsError, WeightsUnavailable, whole

# How many times something is built: layers, blocks and heads.
_COUNTS = re.compile(r"layers|num_\w*(blocks|heads)")
# How large the layers of a text encoder are; its other numbers may be anything.
_SIZES = re.compile(r"size|dim|positions|^d_")
MOST_COUNT, MOST_NUMBER, MOST_LEVELS, MOST_TIMESTEPS = 256, 1 << 20, 16, 100_000


def read_config(path: Path, *, text: bool = False) -> dict[str, Any]:
    """Returns the configuration in a JSON file.

    Args:
        path: Of the file.
        text: Whether it is that of a text or image encoder, which has numbers of other kinds too.

    Raises:
        WeightsUnavailable: if it is absent, no JSON object, or has a number that is out of bounds.
        SettingsError: if it is of quantised weights.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsUnavailable(f"{path} cannot be read ({error.strerror}); download the model again") from error
    except (ValueError, RecursionError) as error:
        raise WeightsUnavailable(f"{path} is not valid JSON ({error}); download the model again") from error
    if not isinstance(config, dict):
        raise WeightsUnavailable(f"{path} holds no JSON object; download the model again")
    if config.get("quantization_config"):
        raise SettingsError(f"{path} is of quantised weights, which undertow does not read; give a plain model")
    try:
        for name, value in config.items():
            _check(name, value, path, text)
    except SettingsError as error:
        raise WeightsUnavailable(f"{error}, or download the model again") from error
    return config


def _check(name: str, value: Any, path: Path, text: bool) -> None:
    """Refuses a number that is out of bounds, or a list that is too long."""
    if isinstance(value, list):
        if "block" in name and len(value) > MOST_LEVELS:
            raise SettingsError(f"{path} has {len(value)} levels in {name}; give a model with {MOST_LEVELS} or fewer")
        for each in value:
            _check(name, each, path, text)
    elif name == "num_train_timesteps":
        whole(value, name, least=1, most=MOST_TIMESTEPS, source=path)
    elif value is not None and _COUNTS.search(name):
        whole(value, name, most=MOST_COUNT, source=path)
    elif isinstance(value, int | float) and not isinstance(value, bool) and (not text or _SIZES.search(name)):
        if isinstance(value, int):
            whole(value, name, least=int("patch_size" in name), most=MOST_NUMBER, source=path)
        elif not abs(value) <= MOST_NUMBER:
            raise SettingsError(f"in '{path}' {name} is {value:g}, which is no number to build with; correct it")
