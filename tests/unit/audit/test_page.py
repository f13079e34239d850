"""The page of an audit: it stands alone, shows pictures side by side, and takes names for text alone."""

import base64
import io
import re
import shlex
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from soft_noise import noise

from handlens.audit.audit import Audited
from handlens.audit.balance import ClassCount
from handlens.audit.finding import Finding, Row
from handlens.audit.page import MOST_PICTURES, MOST_SETS, whole_thumbnails, write_page
from handlens.audit.trials import Known, Shortcut
from handlens.data.check import Checked
from handlens.data.samples import Samples
from handlens.evaluate.results import Figure

HOSTILE = '<script>alert("1")</script> & 石墨 \' {{ 7 * 7 }}'
NAMES = tuple(f"{HOSTILE}/{number} 图.png" for number in range(4))
FIGURE = Figure(value=0.91, low=0.85, high=0.95, method="", n=10, n_groups=10)


class Tags(HTMLParser):
    """All tags with their attributes, and all text, of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def page_of(
    folder: Path,
    findings: Sequence[Finding] = (),
    command: str = "",
    *,
    quick: bool = True,
    sides: Sequence[str | None] = (None,) * 4,
    tried: bool = True,
    names: Sequence[str] = NAMES,
    groups: Sequence[int] = (4,),
) -> Tags:
    paths = [folder / f"{at}.png" for at in range(len(names))]
    for at, path in enumerate(paths):
        if at != 3:
            noise(at).save(path)
    table = pl.DataFrame(
        {"id": names, "path": map(str, paths), "label": HOSTILE, "group": names, "split": sides},
        schema_overrides={"split": pl.String},
    )
    samples = Samples(table, Path("/") / HOSTILE.replace("/", "-"), ("read as <b>",))
    shortcut = Shortcut(
        *("class", "frame", "plain frame", True, False, FIGURE, 0.5, 0.5, True, "plain frame", 0.9, ()),
        known=Known(HOSTILE, FIGURE, 1.0, 0.0),
    )
    by_side = {"train": 4} if sides[0] else {}
    counted = tuple(ClassCount(HOSTILE, 4, num, 4.0, 0.25, by_side, {}, 0.8, 1.0) for num in groups)
    checked = Checked(samples, ((f"{HOSTILE}/bad.png", "empty"),), (), samples.notes)
    audited = Audited(folder / "audit", checked, tuple(findings), (shortcut,) * tried, counted, quick)
    write_page(audited, command)
    text = audited.page.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "49" not in re.sub(r"data:image/jpeg;base64,[^\"]*", "", text).replace("{{ 7 * 7 }}", "")
    return Tags(text)


def found(*rows: Row, check: str = "copies", title: str = f"about {HOSTILE}") -> Finding:
    return Finding(check, "must", title, f"It is {HOSTILE}, 50 % of it.", rows)


def test_the_page_stands_alone_and_names_are_text(tmp_path: Path) -> None:
    rows = (
        Row(NAMES[0], "relabel?", HOSTILE, (NAMES[1],), 0.1, f"looks like {HOSTILE}"),
        Row(NAMES[2], "drop", why=HOSTILE),
    )
    page = page_of(tmp_path, [found(*rows)], shlex.join(["handlens", "audit", HOSTILE]))
    asked = [
        (tag, name, value)
        for tag, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "srcset", "action", "data")
    ]
    assert all((value or "").startswith(("data:image/jpeg;base64,", "#")) for _, _, value in asked), asked
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object", "embed", "base", "form")]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    policy = next(attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert f"about {HOSTILE}" in page.words
    assert page.words.count(f"{HOSTILE}/0 图.png") == 1
    # No line ends between the number and its sign.
    assert "50\u00a0% of it" in page.words


def test_pictures_are_inside_whole_and_side_by_side(tmp_path: Path) -> None:
    page = page_of(
        tmp_path,
        [
            found(
                Row(NAMES[0], "group together", "g", (NAMES[1],)),
                Row(NAMES[1], "group together", "g", NAMES[:1]),
            )
        ],
    )
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [each["title"] for each in pictures] == [NAMES[0], NAMES[1]]
    shown = Image.open(io.BytesIO(base64.b64decode(str(pictures[0]["src"]).partition(",")[2])))
    # As it is, neither cut nor blown up.
    assert shown.size == (72, 64)
    # What is proposed for all of a set stands there once.
    assert page.words.count("group together") == 2


def test_pictures_that_are_gone_have_an_empty_place(tmp_path: Path) -> None:
    page = page_of(tmp_path, [found(Row(NAMES[3], "drop")), found(Row("nobody", why="empty"), check="files")])
    assert page.words.count("cannot be shown") == 2
    assert whole_thumbnails({"gone": tmp_path / "gone.png"}) == {}


def test_large_pictures_become_small_ones(tmp_path: Path) -> None:
    noise(1, 900, 300).save(tmp_path / "large.png")
    (uri,) = whole_thumbnails({"large": tmp_path / "large.png"}).values()
    assert Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).size == (208, 69)


def test_only_so_many_are_shown_and_the_rest_is_counted(tmp_path: Path) -> None:
    names = [f"p{number}.png" for number in range(3)]
    alone = [Row(f"other {number}", why="x") for number in range(MOST_PICTURES + 7)]
    pairs = [Row(f"a {number}", beside=(f"b {number}",)) for number in range(MOST_SETS + 1)]
    page = page_of(
        tmp_path, [found(*alone, title="one"), found(*pairs, title="two")], names=names, sides=(None,) * 3
    )
    assert "7 more pictures in actions.csv" in page.words
    assert "1 more picture in actions.csv" in page.words
    assert len([1 for tag, _ in page.tags if tag == "figure"]) == MOST_PICTURES + 2 * MOST_SETS


def test_every_check_says_something(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert "Nothing stands out" in page.words
    assert "read as <b>" in page.words
    for sentence in (
        "Every file can be read",
        "No picture is there twice",
        "There is no split that could leak",
        "Not looked for in a quick audit",
        "Nothing tells by more than the margin",
        "No class is too small",
        "A quick audit:",
    ):
        assert sentence in page.words, sentence
    sections = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links == [f"#{section}" for section in sections]
    assert "None was sought: fewer than two classes have 5 groups" in page_of(tmp_path, tried=False).words
    undrawn = page_of(tmp_path, tried=False, groups=(5, 6)).words
    assert "None was sought: of fewer than two classes groups could be drawn" in undrawn
    slow = page_of(tmp_path, quick=False, sides=("train", "train", "test", "test"))
    assert "No picture of the test or the validation side" in slow.words
    assert "A quick audit" not in slow.words


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("", None),
        ("handlens audit data", "handlens audit data --apply mended.csv"),
        (
            "handlens audit 'my data' --json --apply old.csv --relabel --actions=t.csv --quick",
            "handlens audit 'my data' --quick --apply mended.csv",
        ),
    ],
)
def test_the_command_that_mends_can_be_copied(tmp_path: Path, command: str, shown: str | None) -> None:
    page = page_of(tmp_path, [found(Row(NAMES[0], "drop"))], command)
    # A script that looks for a button which is not there would end in an error.
    assert ("navigator.clipboard" in page.words) == (shown is not None)
    codes = [attributes for tag, attributes in page.tags if attributes.get("id") == "command"]
    assert len(codes) == (shown is not None)
    assert shown is None or shown in page.words
    assert "1 × drop" in page.words
