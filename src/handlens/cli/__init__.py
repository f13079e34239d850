"""The commands. Each is short and holds no logic; what it needs is imported when it runs."""

from handlens.cli.app import app, main

# Commands are known once their files are imported; the help lists them in this order.
from handlens.cli import runs, explain, compare, study, curve, sites, reproduce  # isort: skip
from handlens.cli import frames, expand, synthesize, audit, convert, pictures, networks, place  # isort: skip

__all__ = [
    "app",
    "audit",
    "compare",
    "convert",
    "curve",
    "expand",
    "explain",
    "frames",
    "main",
    "networks",
    "pictures",
    "place",
    "reproduce",
    "runs",
    "sites",
    "study",
    "synthesize",
]
