"""The program itself: what all commands hang on, its exit codes, and how it ends."""

import gc
import os
import sys
import traceback
from typing import Annotated

import typer

from handlens import __version__
from handlens.base.errors import HandlensError, ToldAlready

app = typer.Typer(
    name="handlens",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Transfer learning for pictures of materials and parts: a folder of photographs in, a report out.",
)

STOPPED = 130


@app.callback(invoke_without_command=True)
def handlens(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Transfer learning for pictures of materials and parts: a folder of photographs in, a report out."""
    if version:
        sys.stdout.write(f"handlens {__version__}\n")
        raise typer.Exit


def main() -> None:
    """Run a command and end the process.

    Ended at once, because PyTorch takes half a second or more to leave in good order; what was to be
    written is written by then.
    """
    # Collecting garbage while thousands of modules are imported finds none and takes a tenth of the time.
    gc.set_threshold(100_000, 50, 50)
    code = run_command()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:  # whoever read the output has gone
        code = code or 1
    os._exit(code)


def run_command() -> int:
    """The exit code: 2 with a sentence for what the user can mend, 1 for a mistake of ours."""
    debug = "--debug" in sys.argv
    sys.argv = [word for word in sys.argv if word != "--debug"]
    try:
        app()
    except HandlensError as error:
        if debug:
            traceback.print_exc()
        elif not isinstance(error, ToldAlready):
            sys.stderr.write(f"handlens: {error}\n")
        return 2
    except SystemExit as ended:
        if ended.code == STOPPED:
            sys.stderr.write("\nStopped. Give the same command again and it goes on.\n")
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception as error:
        if debug:
            traceback.print_exc()
        else:
            sys.stderr.write(
                f"handlens: this is a mistake in Handlens, not yours: {type(error).__name__}: {error}\n"
                "Give the command again with --debug to see where, and report it.\n"
            )
        return 1
    return 0
