"""Commands show the options that say how pictures are read, and pass on what was said."""

from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from handlens.cli.reading import AS_FOUND, ReadingOptions, reading_options

ALL = {"group", "group_level", "group_column", "label", "class_names", "form"}


def program(groups: bool, heard: list[ReadingOptions]) -> typer.Typer:
    """A program of one command, which writes down what it hears."""
    app = typer.Typer(add_completion=False)

    @app.command()
    @reading_options(groups=groups)
    def look(data: str, reading: ReadingOptions = AS_FOUND, as_json: bool = False) -> None:
        """Look at pictures."""
        assert data == "pictures"
        assert not as_json
        heard.append(reading)

    return app


@pytest.mark.parametrize("groups", [True, False])
def test_options_stand_in_the_place_of_the_parameter(groups: bool) -> None:
    command = typer.main.get_command(program(groups, []))
    shown = [parameter.name for parameter in command.params]
    assert shown[0] == "data"
    assert shown[-1] == "as_json"
    assert set(shown[1:-1]) == (ALL if groups else {"label", "class_names", "form"})
    assert command.help == "Look at pictures."


def test_what_was_said_arrives() -> None:
    heard: list[ReadingOptions] = []
    words = "pictures --group video(.) --group-level 2 --group-column lot --label kind --class-names a.txt"
    result = CliRunner().invoke(program(True, heard), [*words.split(), "--format", "coco"])
    assert result.exit_code == 0, result.output
    assert heard == [ReadingOptions("video(.)", 2, "lot", "kind", Path("a.txt"), "coco")]
    assert heard[0].given


@pytest.mark.parametrize("groups", [True, False])
def test_nothing_said(groups: bool) -> None:
    heard: list[ReadingOptions] = []
    result = CliRunner().invoke(program(groups, heard), ["pictures"])
    assert result.exit_code == 0, result.output
    assert heard == [AS_FOUND]
    assert not heard[0].given
    assert heard[0].group_settings() == []
    assert heard[0].group_spec() is None
