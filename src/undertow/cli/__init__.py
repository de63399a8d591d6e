"""The command line: every command is a few lines over the public API, one module per group of commands.

Exit codes: 0 done, 1 the demonstration failed or there is a bug, 2 bad input, 3 weights unavailable, 4 would not fit in
memory, 130 interrupted.
"""

from undertow.cli.entry import app, main

__all__ = ["app", "main"]
