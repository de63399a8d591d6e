"""Settings as JSON: anything a settings object holds, in the plainest form that loses nothing."""

import dataclasses
import math
from collections.abc import Mapping, Sequence, Set
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import Any

import numpy as np
import torch

from undertow.base import SettingsError


def plain(value: Any) -> Any:
    """Returns `value` as JSON knows it: dataclasses become objects, fractions "30000/1001", paths and devices text.

    Raises:
        SettingsError: for a kind of value that has no plain form, rather than writing its memory address.
    """
    if value is None or (isinstance(value, bool | int | float | str) and not isinstance(value, Enum)):
        # JSON has no infinities; as text they stay readable everywhere.
        return value if not isinstance(value, float) or math.isfinite(value) else str(value)
    if isinstance(value, Enum):
        return plain(value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, Set):
        return sorted(plain(entry) for entry in value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, Fraction | PurePath | torch.device | torch.dtype):
        return str(value).removeprefix("torch.")
    raise SettingsError(f"a setting of type {type(value).__name__} cannot be written to run.json; give text or numbers")
