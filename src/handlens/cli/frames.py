"""Pictures out of videos."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from handlens.base.writable import require_folder
from handlens.cli.app import app
from handlens.cli.options import Json

if TYPE_CHECKING:
    from handlens.data.frames import Cut
    from handlens.data.screening import ScreeningSpec

_PASSING = ("keep", "drop", "as_json")
"""Options that the sheet's command leaves out: decisions are remembered, and the sheet adds new ones."""


@app.command()
def frames(
    context: typer.Context,
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO|DIR", help="Videos, or folders of them.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A new folder for the pictures, beside their manifest.")
    ],
    every: Annotated[
        str | None,
        typer.Option(
            "--every",
            metavar="STEP",
            help="A step of 1s, 0.5s, 200ms, 2min, or 10f for frames; without it 1s.",
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option("--count", metavar="N", help="Instead, so many from each video, evenly spread."),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Where to begin: 12.5, 1:30 or 1:02:03.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Where to end, which is itself not taken.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="The class of all videos; without it, their folders.")
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            "--keep", metavar="ID", help="Keep this frame in spite of its figures; may be repeated."
        ),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option("--drop", metavar="ID", help="Leave this frame out in spite of them; may be repeated."),
    ] = None,
    least_sharp: Annotated[
        float | None,
        typer.Option(
            "--least-sharp",
            help="Blurred: below this share of the sharpness usual in its video; without it 0.4, 0 for none.",
        ),
    ] = None,
    most_dark: Annotated[
        float | None,
        typer.Option(
            "--most-dark",
            help="Under-exposed: beyond this share of dark pixels; without it 0.98, 1 for none.",
        ),
    ] = None,
    most_bright: Annotated[
        float | None,
        typer.Option(
            "--most-bright",
            help="Over-exposed: beyond this share of burnt-out pixels; without it 0.5, 1 for none.",
        ),
    ] = None,
    most_alike: Annotated[
        float | None,
        typer.Option(
            "--most-alike",
            help="Near-identical: beyond this share that looks as in the last kept frame; without it 0.97, "
            "1 for none.",
        ),
    ] = None,
    no_screening: Annotated[
        bool, typer.Option("--no-screening", help="Keep all frames; their figures are told all the same.")
    ] = False,
    picture_format: Annotated[
        Literal["jpg", "png"],
        typer.Option(
            "--picture-format", help="png holds every pixel as it is; jpg takes a fifth of the room."
        ),
    ] = "jpg",
    as_json: Json = False,
) -> None:
    """Cut pictures out of videos, without the blurred, badly exposed and near-identical ones.

    The group of a picture is its video. A contact sheet shows every frame, kept or not, and how to decide
    otherwise. Given again after a stop, the same command goes on.
    """
    require_folder(out)
    from handlens import terminal
    from handlens.data.footage import FramesSpec
    from handlens.data.frames import cut_frames
    from handlens.data.moments import MomentsSpec
    from handlens.report.contact_sheet import headline, sentences, write_contact_sheet

    moments = {"every": every, "count": count, "start": start, "end": end}
    limits = {
        "least_sharp": least_sharp,
        "most_dark": most_dark,
        "most_bright": most_bright,
        "most_alike": most_alike,
    }
    spec = FramesSpec(
        moments=MomentsSpec.parse(moments, "The choice of frames"),
        screening=_screening(no_screening, limits),
        label=label,
        format=picture_format,
    )
    cut = cut_frames(videos, out, spec, keep or (), drop or ())
    sheet = write_contact_sheet(cut, _again(context))
    if as_json:
        terminal.print_json(_told(cut, sheet))
        return
    classes = ", ".join(f"{name} {number:,}" for name, number in cut.samples.counts().items())
    for sentence in (f"{headline(cut)}: {classes or 'none'}.", *sentences(cut), *cut.samples.notes):
        terminal.print_line(sentence)
    terminal.print_line(f"Look them through: {sheet}")
    if len(cut.samples):
        terminal.print_line(f"Train on them: handlens train {cut.path}")


def _screening(off: bool, limits: dict[str, float | None]) -> "ScreeningSpec | None":
    """What is left out; none where nothing is."""
    from handlens.base.errors import HandlensError
    from handlens.data.screening import ScreeningSpec

    given = {name: value for name, value in limits.items() if value is not None}
    if off and given:
        words = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise HandlensError(
            f"With --no-screening nothing is left out, so {words} says nothing. Keep one of them."
        )
    return None if off else ScreeningSpec.parse(given, "The screening")


def _again(context: typer.Context) -> list[str]:
    """The words of the command to be given again, to which decisions can be added at the end."""
    words = ["handlens", "frames"]
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        value: Any = context.params.get(parameter.name or "")
        if parameter.name in _PASSING or source is None or source.name != "COMMANDLINE":
            continue
        if parameter.param_type_name == "argument":
            # With a folder before it, no name begins like an option.
            words += [path.as_posix() if not str(path).startswith("-") else f"./{path}" for path in value]
        elif value is True:
            words.append(parameter.opts[0])
        else:
            words += [parameter.opts[0], value.as_posix() if isinstance(value, Path) else str(value)]
    return words


def _told(cut: "Cut", sheet: Path) -> dict[str, Any]:
    """The outcome for programs; what was found of each frame stands in the tables."""
    from handlens.data.made import MANIFEST

    return {
        "folder": str(cut.path),
        "manifest": str(cut.path / MANIFEST),
        "contact_sheet": str(sheet),
        "looked_at": len(cut.rows),
        "kept": len(cut.samples),
        "dropped": cut.dropped,
        "videos": [
            {
                **video.model_dump(mode="json", exclude={"rows", "made"}),
                "looked_at": len(video.rows),
                "kept": sum(row.kept for row in video.rows),
            }
            for video in cut.videos
        ],
        "unreadable": dict(cut.unreadable),
        "notes": list(cut.samples.notes),
    }
