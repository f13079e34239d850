"""All pages are made alike: one frame, one list of what a page may load, one way to copy a command."""

import re
from pathlib import Path

import pytest

import handlens.report
from handlens.report.pages import page_template

TEMPLATES = Path(handlens.report.__file__).parent / "templates"
PAGES = sorted(
    path.name
    for path in TEMPLATES.glob("*.html")
    if path.name != "page.html" and re.search(r"<body|block body", path.read_text(encoding="utf-8"))
)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_stands_in_the_one_frame(page: str) -> None:
    text = (TEMPLATES / page).read_text(encoding="utf-8")
    assert text.startswith('{% extends "page.html" %}')
    assert not re.search(r"<head>|<meta|Content-Security-Policy|macro name", text)
    # A button that no script shows stays hidden.
    assert 'id="copy"' not in text
    assert ('from "command.html"' in text) == ('{% include "copy.js" %}' in text)
    allowed = re.search(r"block allowed %}(.+?){%", text)
    if allowed:
        # What a page has must be allowed: pictures from within itself, and scripts.
        assert "<img" not in text or "img-src data:" in allowed[1]
        assert ("script-src" in allowed[1]) == ("<script" in text)


def test_a_page_has_filters_of_its_own() -> None:
    template = page_template("comparison.html", place=lambda cell: f"at {cell}")
    assert template.environment.filters["place"]("x") == "at x"
    assert "place" not in page_template("sites.html", signed=str).environment.filters


def luminance(colour: str) -> float:
    """Of a colour of sRGB, as WCAG 2 defines it."""
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    parts = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


@pytest.mark.parametrize("name", ["ink", "muted", "accent", "better", "worse", "serious", "caution"])
def test_words_stand_out_from_the_paper_by_day_and_by_night(name: str) -> None:
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    values = {key: re.findall(rf"--{key}: (#[0-9a-f]{{6}});", css) for key in (name, "paper", "soft")}
    assert len(values[name]) == 2
    for paper in ("paper", "soft"):
        for word, ground in zip(values[name], values[paper], strict=True):
            dark, light = sorted([luminance(word), luminance(ground)])
            assert (light + 0.05) / (dark + 0.05) >= 4.5
