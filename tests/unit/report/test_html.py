import re
import subprocess
import sys
import time
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from handlens.report.html import write_report
from handlens.run import RunFolder

MakeRun = Callable[..., RunFolder]
VOID = {"meta", "img", "br", "input", "link", "hr"}


class Page(HTMLParser):
    """All elements, texts and whether what is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_the_page_and_the_figures_are_written_and_the_same_twice(make_run: MakeRun) -> None:
    run = make_run()
    assert write_report(run) == run.report_path
    first = run.report_path.read_bytes()
    assert {path.name for path in run.figures_path.iterdir()} == {
        "views.jpg",
        "curves.svg",
        "confusion.svg",
        "classes.svg",
        "reliability.svg",
    }
    write_report(run)
    assert run.report_path.read_bytes() == first


def test_the_page_needs_nothing_from_outside(make_run: MakeRun) -> None:
    text = write_report(make_run()).read_text(encoding="utf-8")
    for tag, attributes in Page(text).elements:
        for key in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            if key in attributes:
                assert attributes[key].startswith(("#", "data:image/jpeg;base64,")), (tag, key)
        assert tag not in {"link", "iframe", "object", "embed", "base"}
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)|https?://", text)


def test_the_page_is_sound_and_accessible(make_run: MakeRun) -> None:
    page = Page(write_report(make_run()).read_text(encoding="utf-8"))
    assert page.open == []
    assert len(page.all("h1")) == 1
    assert all(image["alt"] for image in page.all("img"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {link["href"].removeprefix("#") for link in page.all("a")}
    assert targets <= set(ids)


def test_everything_that_comes_from_the_user_is_escaped(make_run: MakeRun) -> None:
    classes = ("<script>alert(1)</script>", 'it\'s "quoted" & 石墨 {{ 7*7 }}', "حديد\u200f خام")
    text = write_report(make_run(classes, file_name="o'n\"<img src=x onerror=alert(2)> {}.jpg")).read_text(
        "utf-8"
    )
    page = Page(text)
    assert len(page.all("script")) == 1
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert all(
        set(image) <= {"class", "src", "width", "height", "alt", "title", "style"}
        for image in page.all("img")
    )
    assert "<script>alert(1)" not in text
    for name in classes:
        assert name in page.texts
    assert any("1e-4 <b>" in told for told in page.texts)


def test_pictures_that_are_gone_have_a_placeholder(make_run: MakeRun) -> None:
    run = make_run()
    for path in (run.path.parent / "pictures").iterdir():
        path.unlink()
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert "picture not found" in page.texts
    assert not any(image.get("class") == "thumb" for image in page.all("img"))


def test_a_page_without_history_or_views_leaves_them_out(make_run: MakeRun) -> None:
    run = make_run(history=False)
    (run.figures_path / "views.jpg").unlink()
    text = write_report(run).read_text(encoding="utf-8")
    assert 'id="training"' not in text
    assert 'id="views"' not in text
    assert not (run.figures_path / "curves.svg").exists()


def test_groups_that_nobody_told_are_not_counted_as_groups(make_run: MakeRun) -> None:
    text = write_report(make_run(own_groups=True)).read_text(encoding="utf-8")
    assert "each its own group" in text
    assert "Every picture counts as independent" in text


@pytest.mark.parametrize("num_classes", [2, 40])
def test_few_and_many_classes_are_quick_and_small(make_run: MakeRun, num_classes: int) -> None:
    classes = tuple(f"矿石 {number:02d} 来自第三采区的样品" for number in range(num_classes))
    run = make_run(classes, num=720)
    write_report(run)  # the first time imports what it needs
    started = time.process_time()
    path = write_report(run)
    assert time.process_time() - started < 4  # ten times what it takes
    assert path.stat().st_size < 1.5e6


def test_the_report_imports_no_torch() -> None:
    asked = "import sys, handlens.report.html, handlens.report.figures; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0
