"""A page on this machine in which a person sees, corrects and exports; see `docs/app.md`.

Everything done in it is a run folder: the app writes down what a person draws, gives it to `undertow.runs.execute`, and
shows what comes. Nothing of a method is here.
"""

from undertow.app.project import Project, Workspace
from undertow.app.server import create_app, listen, serve

__all__ = ["Project", "Workspace", "create_app", "listen", "serve"]
