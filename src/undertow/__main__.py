"""`python -m undertow`, where the command is not on the path."""

from undertow.cli import main

main()
