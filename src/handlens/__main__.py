"""`python -m handlens` is the command."""

from handlens.cli import main

main()
