"""The page of a reproduction: what must be known stands first, and words and numbers keep their sides."""

import re
from pathlib import Path
from types import SimpleNamespace

from handlens.report.tables import Table
from handlens.reproduce.page import write_reproduced

LINES = (("VGG16", "paper", "92.93"), ("", "ours, honest", "13.33 (2.39 to 49.17)"))
TABLES = (
    Table("Nine rows", ("row", "whose", "accuracy, %"), LINES),
    Table("The leakage gap", ("row", "claimed, %", "gap"), (("VGG16", "57.78", "+44.4 points"),)),
)


def page(folder: Path) -> str:
    paper = SimpleNamespace(name="a <b>paper", spec=SimpleNamespace(title="Four materials"))
    path, beside = folder / "out" / "reproduced.html", folder / "out" / "honest.html"
    notes = ["The pictures are drawn: 100 % of them.", "ours, honest: divided first"]
    write_reproduced(path, paper, TABLES, notes, [beside], "handlens reproduce it")
    return path.read_text(encoding="utf-8")


def test_what_to_know_stands_before_the_tables_and_links_behind_them(tmp_path: Path) -> None:
    text = page(tmp_path)
    order = [
        "The pictures are drawn: 100\u00a0% of them.",
        "Nine rows",
        "The leakage gap",
        'href="honest.html"',
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert "a &lt;b&gt;paper" in text and "<b>paper" not in text


def test_further_pages_are_called_by_what_they_show(tmp_path: Path) -> None:
    told = dict(re.findall(r'<a href="(.+?)">(.+?)</a>', page(tmp_path)))
    assert told == {"honest.html": "All rows beside each other: divided first, by what pictures came from"}


def test_numbers_stand_to_the_right_and_words_do_not(tmp_path: Path) -> None:
    kinds = {words: kind for kind, words in re.findall(r'<td class="(num|whose)">(.+?)</td>', page(tmp_path))}
    assert {words for words, kind in kinds.items() if kind == "whose"} == {"paper", "ours, honest"}
    assert kinds["57.78"] == kinds["+44.4 points"] == kinds["92.93"] == "num"
