"""Every error a user can cause, each carrying the exit code the command line ends with.

A message says what was found and what to do about it, in one sentence.
"""


class UndertowError(Exception):
    """Base class of all errors of undertow; `exit_code` is the exit code of the command line."""

    exit_code = 2


class VideoError(UndertowError):
    """A video cannot be read, written or indexed as requested."""


class MaskError(UndertowError):
    """A mask file or array is not a valid label map for its video."""


class CueError(UndertowError):
    """A cue (mask, box, point or text) cannot be used as given."""


class SettingsError(UndertowError):
    """A setting is unknown, out of range, or contradicts another."""


class WeightsUnavailable(UndertowError):
    """A model's weights are not on this machine and could not be fetched."""

    exit_code = 3


class MemoryBudgetError(UndertowError):
    """The run would not fit in the allowed memory."""

    exit_code = 4
