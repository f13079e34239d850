"""Tables for a terminal: where they are broken."""

import pytest

from handlens.terminal import print_table

FIGURES = ("train accuracy, %", "accuracy, %", "train loss", "test loss", "seconds an epoch")
PAPER = [
    ["GoogLeNet", "paper", "73.91", "72.41", "0.85", "0.92", "680.00"],
    ["", "ours, honest", *["not measured"] * 5],
    ["handlens/nano", "ours, honest", "65.65", "66.73 (62.50 to 70.71)", "0.94", "0.95", "2.63"],
]
PATH = "/a/folder/with/a/long/name/that/no/terminal/has/room/for/beside/anything/else/picture.jpg"


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


@pytest.fixture(autouse=True)
def eighty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_words_stay_whole_as_long_as_there_is_room_for_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("row", "whose", *FIGURES), PAPER)
    lines = printed(capsys)
    shown = " ".join(lines).split()
    for text in ("row", "whose", *FIGURES, *(cell for row in PAPER for cell in row)):
        assert set(text.split()) <= set(shown)
    # Nothing else is there than these words and the line below the head: none was broken or lost.
    words = [word for row in (FIGURES, ("row", "whose"), *PAPER) for cell in row for word in cell.split()]
    assert sorted(word for word in shown if set(word) != {"─"}) == sorted(words)
    assert max(map(len, lines)) <= 80


def test_a_table_that_fits_is_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("what", "state"), [["[red] and a name", "good"]])
    assert " [red] and a name  good  " in printed(capsys)


def test_of_a_path_all_is_shown_and_the_words_beside_it_stay_whole(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = "Give a folder that is there, and then give the command again as it stands."
    print_table(("picture", "kind", "how to mend it"), [[PATH, "unreadable", words]])
    lines = printed(capsys)
    starts = [lines[1].index(name) for name in ("picture", "kind", "how")]
    columns = [
        [line[start:end].strip() for line in lines[3:]]
        for start, end in zip(starts, [*starts[1:], None], strict=True)
    ]
    assert "".join(columns[0]) == PATH
    assert " ".join(columns[2]).split() == words.split()
    # It is not the words alone that give way.
    assert max(map(len, columns[2])) > 20
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("width", ["20", "44"])
def test_names_are_broken_last(
    width: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    name = "stage1.conv1"
    print_table(("module", "kind"), [[name, "Conv2dNormActivation of another network"]], names=True)
    lines = printed(capsys)
    assert name in " ".join(lines).split()
    assert max(map(len, lines)) <= int(width)
