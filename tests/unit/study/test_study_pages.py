"""The pages of curves and of sites: their numbers are those of the tables, and they can be read anywhere."""

import csv
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from studied import TINY, draw_photos

from handlens.data.samples import Samples
from handlens.evaluate.results import Figure
from handlens.recipe import Recipe
from handlens.report.svg import text_width
from handlens.study.curve import draw_curve
from handlens.study.curve_page import draw_curve_figure, draw_gains
from handlens.study.curve_results import Curve, CurveSpec
from handlens.study.pages import signed
from handlens.study.sites import across_sites
from handlens.study.sites_page import draw_differences, draw_sites
from handlens.study.sites_results import Sited, SitesSpec
from in_browser import look, needs_browser

RECIPE = Recipe.parse({**TINY, "name": "tiny"}, "The recipe")
COMMAND = "handlens curve photos " + "--set model.weights=bundled " * 9


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Curve, Sited, dict[str, str]]:
    """A curve and a comparison of sites, with their pages as text."""
    folder = tmp_path_factory.mktemp("pages")
    photos = draw_photos(folder / "photos", num=18)
    rows = [
        (path, path.parent.name, f"works {at % 3}") for at, path in enumerate(sorted(photos.rglob("*.png")))
    ]
    with (folder / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "site"), *rows])
    curve = draw_curve(RECIPE, Samples.read(photos), folder / "c", CurveSpec(steps=(1, 2), draws=2), COMMAND)
    asked = SitesSpec(column="site", seeds=2, folds=2)
    sited = across_sites(RECIPE, Samples.read(folder / "table.csv"), folder / "s", asked, COMMAND)
    paths = {"curve": folder / "c" / "curve.html", "sites": folder / "s" / "sites.html"}
    return curve, sited, {name: path.read_text(encoding="utf-8") for name, path in paths.items()}


def words_of(difference: Figure, standing: str) -> str:
    """What a cell says of a difference, from its numbers alone."""
    value, low, high = (100 * each for each in (difference.value, difference.low, difference.high))
    sign = "+" if value > 0 else ""
    told = f"{standing}, {sign}{value:.1f} points {low:+.1f} to {high:+.1f} points"
    return told.replace("-", "\N{MINUS SIGN}")


def test_each_difference_stands_with_its_value_and_its_interval(
    made: tuple[Curve, Sited, dict[str, str]],
) -> None:
    curve, sited, pages = made
    differences = {
        "curve": [(each.difference, each.standing) for each in curve.points],
        "sites": [
            (each.difference, each.standing)
            for site in (*sited.sites, sited.together, sited.elsewhere)
            for each in site.ways
        ],
    }
    for name, told in differences.items():
        shown = re.findall(r'<small class="standing">(.+?)</small><small>(.+?)</small>', pages[name])
        expected = [words_of(one, standing) for one, standing in told if one is not None]
        assert sorted(" ".join(both) for both in shown) == sorted(expected)
        assert len(expected) > 3


def test_a_curve_tells_where_its_draws_are_the_same_pictures(
    made: tuple[Curve, Sited, dict[str, str]],
) -> None:
    curve, _, pages = made
    # What learns without chance says the same in every draw of all, though not in those of fewer.
    spread = {step.name: len(set(curve.point("prototypes", step.name).by_draw)) for step in curve.steps}
    assert spread["all"] == 1 and max(spread.values()) > 1
    assert "At all, every draw is the same pictures" in pages["curve"]


def test_a_difference_says_which_way_it_went() -> None:
    assert [signed(each) for each in (0.042, -0.0151, 0.0)] == ["+4.2 points", "−1.5 points", "0.0 points"]


def test_drawings_can_be_read_where_they_are_made_small(made: tuple[Curve, Sited, dict[str, str]]) -> None:
    curve, sited, _ = made
    for svg in (draw_curve_figure(curve), draw_gains(curve), draw_sites(sited), draw_differences(sited)):
        root = ElementTree.fromstring(svg)
        width = float(root.get("viewBox", "").split()[2])
        for text in root.iter("{http://www.w3.org/2000/svg}text"):
            # A page has 358 of the 390 pixels of a telephone.
            size = float(text.get("font-size", ""))
            assert size * 358 / width >= 8.5
            if text.get("transform"):
                continue
            room = text_width(text.text or "", size)
            start = (
                float(text.get("x", ""))
                - {"end": 1.0, "middle": 0.5}.get(text.get("text-anchor", ""), 0) * room
            )
            assert start >= -1 and start + room <= width + 1, text.text


@needs_browser
def test_both_pages_fit_a_telephone(made: tuple[Curve, Sited, dict[str, str]], tmp_path: Path) -> None:
    for seen in look(tmp_path / "seen", made[2]).values():
        assert seen["content"] <= 390
        assert seen["wrong"] == []
        assert seen["copy"] is False
