"""Across sites: what is left out, what is never looked at, and what may be said."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from studied import TINY

from handlens.base.errors import HandlensError
from handlens.data.check import check
from handlens.data.samples import Samples
from handlens.data.sides import Sides
from handlens.evaluate.results import Figure
from handlens.recipe import Recipe
from handlens.study import sites as story
from handlens.study.ledger import Ledger
from handlens.study.sites import Work, across_sites, left_out_sites, thinned, with_sites
from handlens.study.sites_page import table_of
from handlens.study.sites_results import Beside, SiteSaid, SitesSpec, _of_adapting, measured

RECIPE = Recipe.parse({**TINY, "name": "tiny"}, "The recipe")
SPEC = SitesSpec(column="camera", seeds=2, folds=2)
CAMERAS = {"A": (1.0, 0.0), "B": (0.5, 0.0), "C": (0.6, 90.0)}


def draw_sites(folder: Path, num: int = 6, extra: list[tuple[str, str, str]] | None = None) -> Path:
    """Stripes that lie or stand, seen by cameras of other brightness and contrast."""
    rows = []
    for at, (camera, (contrast, light)) in enumerate(CAMERAS.items()):
        for kind, label in enumerate(("lying", "standing")):
            for number in range(num):
                rng = np.random.default_rng([at, kind, number])
                stripes = 120 + 100 * np.sin(np.arange(40) / rng.uniform(1.5, 3) + rng.uniform(0, 6))
                pixels = np.broadcast_to(stripes, (40, 40)) + rng.normal(0, 30, (40, 40))
                pixels = pixels.T if kind == 0 else pixels
                shown = np.clip(pixels * contrast + light, 0, 255).astype(np.uint8)
                name = f"{label}/{camera}{number}.png"
                (folder / label).mkdir(parents=True, exist_ok=True)
                Image.fromarray(shown).convert("RGB").save(folder / name)
                rows.append((name, label, camera, f"{camera}{label}{number // 2}"))
    rows += [(*row, row[0]) for row in extra or []]
    with (folder / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "camera", "group"), *rows])
    return folder / "table.csv"


@pytest.fixture
def photos(tmp_path: Path) -> Samples:
    return Samples.read(draw_sites(tmp_path / "photos"))


def placed(samples: Samples) -> tuple[Sides, list[str]]:
    table, _ = with_sites(check(samples, RECIPE.data), "camera", RECIPE.data.pixel_limit)
    return Sides.of(table), table.table["camera"].to_list()


def test_no_group_is_learned_from_and_judged(photos: Samples) -> None:
    # One specimen was at two sites.
    table = photos.table
    groups = table["group"].to_list()
    groups[groups.index("Blying0")] = "Alying0"
    sides, names = placed(photos.with_table(table.with_columns(group=pl.Series(groups))))
    for site in left_out_sites(sides, names, "camera"):
        judged = {sides.groups[place] for place in site.judged}
        assert judged.isdisjoint(sides.groups[place] for place in site.others)
        assert {names[place] for place in site.judged} == {site.name}
        assert site.name not in {names[place] for place in site.others}
    by_name = {site.name: site for site in left_out_sites(sides, names, "camera")}
    assert (len(by_name["A"].others), len(by_name["B"].others), len(by_name["C"].others)) == (23, 22, 24)


def test_where_the_site_was_seen_groups_stay_whole_and_no_more_is_learned(photos: Samples) -> None:
    sides, names = placed(photos)
    work = Work(RECIPE, sides, names, SPEC)
    for site in left_out_sites(sides, names, "camera"):
        parts = work._of_seen_site(site)
        assert sorted(np.concatenate([part.asked for part in parts]).tolist()) == site.judged.tolist()
        for part in parts:
            asked = {sides.groups[place] for place in part.asked}
            assert asked.isdisjoint(sides.groups[place] for place in part.learned)
            assert len(part.learned) == len(site.others)
            assert site.name in {names[place] for place in part.learned}


def test_thinning_takes_group_after_group() -> None:
    groups = np.array([str(number // 5) for number in range(40)])
    kept = thinned(np.arange(40), groups, 20, seed=0)
    assert len(kept) == 20 and len({groups[place] for place in kept}) == 4


@pytest.mark.parametrize("way", ["plain", "batch_norm", "aligned"])
def test_no_label_of_the_judged_site_is_looked_at(photos: Samples, way: str, tmp_path: Path) -> None:
    sides, names = placed(photos)
    said = []
    for turned in (False, True):
        targets = sides.targets.copy()
        here = np.array(names) == "B"
        # All wrong, which any look at them would show.
        targets[here] = 1 - targets[here] if turned else targets[here]
        work = Work(RECIPE, replace(sides, targets=targets), names, SPEC)
        site = next(each for each in left_out_sites(work.sides, names, "camera") if each.name == "B")
        lessons = work._lessons(site, way)
        said.append((lessons[0].table.rows(np.arange(len(names)), 0).numpy(), work._said(site, lessons, 0)))
    np.testing.assert_array_equal(said[0][0], said[1][0])
    np.testing.assert_array_equal(said[0][1], said[1][1])


def test_adapting_leaves_the_kept_features_alone(photos: Samples) -> None:
    sides, names = placed(photos)
    work = Work(RECIPE, sides, names, SPEC)
    before = work.table.rows(np.arange(len(names)), 0).numpy()
    site = left_out_sites(sides, names, "camera")[1]
    renormed, moved = work._renormed(site), work._aligned(site)
    after = Work(RECIPE, sides, names, SPEC).table.rows(np.arange(len(names)), 0).numpy()
    np.testing.assert_array_equal(before, after)
    # Batch norms change how the judged site is seen, alignment what is learned from.
    np.testing.assert_array_equal(renormed.rows(site.others, 0).numpy(), before[site.others])
    assert not np.allclose(renormed.rows(site.judged, 0).numpy(), before[site.judged], atol=1e-2)
    np.testing.assert_array_equal(moved.rows(site.judged, 0).numpy(), before[site.judged])
    np.testing.assert_allclose(
        moved.rows(site.others, 0).numpy().mean(0), before[site.unlabelled].mean(0), atol=2e-3
    )


def said_of(right: dict[str, float], name: str, n: int = 200, seed: int = 0) -> SiteSaid:
    rng = np.random.default_rng([seed, n])
    targets = rng.integers(0, 2, n)
    said = {}
    for way, share in right.items():
        hit = rng.random((2, n)) < share
        said[way] = np.where(hit, targets, 1 - targets)
    return SiteSaid(name, targets, tuple(f"{name}{number}" for number in range(n)), 400, said)


def test_the_sentences_follow_the_intervals() -> None:
    right = {"plain": 0.6, "seen": 0.9, "batch_norm": 0.8, "aligned": 0.3}
    told = measured([said_of(right, name, seed=at) for at, name in enumerate("ABC")], SPEC)
    assert told.answer[0].startswith("A site that was never seen costs ")
    assert told.answer[1].startswith("Batch norms adapted: it gains ")
    assert told.answer[2].startswith("Features aligned: it loses ")
    assert "3 sites tell of the mean" in told.answer[3]
    assert (told.together.n_groups, told.elsewhere.n_groups) == (600, 3)

    level = measured([said_of(dict.fromkeys(right, 0.7), name, 30, at) for at, name in enumerate("AB")], SPEC)
    assert level.answer[0].startswith("These pictures show no loss at a site that was never seen: ")
    assert "no difference that these pictures can show" in level.answer[1]
    # Two sites say next to nothing of a third.
    plain = level.elsewhere["plain"].figure
    assert plain.high - plain.low > 0.3


def test_a_difference_that_only_the_correction_takes_back_is_told_as_that() -> None:
    figure = Figure(value=0.06, low=0.007, high=0.113, method="", n=9, n_groups=9)
    each = Beside(way="aligned", figure=figure, difference=figure, p_corrected=0.06, standing="tie")
    assert _of_adapting("Features aligned", each, []) == (
        "Features aligned: a difference that may be chance, since several ways were looked at "
        "(+0.7 to +11.3 points)."
    )


def test_networks_without_batch_norms_go_without_that_way() -> None:
    right = {"plain": 0.6, "seen": 0.9, "aligned": 0.7}
    told = measured([said_of(right, name, seed=at) for at, name in enumerate("AB")], SPEC)
    assert told.together.way("batch_norm") is None
    assert len(told.answer) == 3


def test_from_pictures_to_page_and_again(photos: Samples, tmp_path: Path, monkeypatch) -> None:
    told = across_sites(RECIPE, photos, tmp_path / "out", SPEC, "handlens sites table.csv --column camera")
    assert [site.name for site in told.sites] == ["A", "B", "C"]
    assert [each.way for each in told.together.ways] == ["plain", "seen", "batch_norm", "aligned"]
    assert (told.together.n, told.together.n_groups) == (36, 18)
    page = (tmp_path / "out" / "sites.html").read_bytes()
    assert b"http" not in page.replace(b"http-equiv", b"") and page.count(b"<svg") == 2
    assert [row[0] for row in table_of(told)[1]] == ["A", "B", "C", "all sites", "a site like these"]
    monkeypatch.setattr(story, "by_head", None)
    again = across_sites(RECIPE, photos, tmp_path / "out", SPEC, "handlens sites table.csv --column camera")
    assert again == told and (tmp_path / "out" / "sites.html").read_bytes() == page


def test_pictures_without_a_site_and_classes_of_one_site_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    table = draw_sites(folder, num=4)
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 40, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"extra{number}.png")
    text = table.read_text() + "extra0.png,lying,,x0\nextra1.png,odd,A,x1\nextra2.png,odd,A,x2\n"
    table.write_text(text)
    told = across_sites(RECIPE, Samples.read(table), tmp_path / "out", SPEC)
    assert told.together.n == 24
    assert "1 picture without a site were left out." in told.notes
    assert "2 pictures of classes that no other site has were not judged." in told.notes


@pytest.mark.parametrize(
    ("column", "words"),
    [("kamera", "Did you mean 'camera'"), ("label", "There is no column 'label' to take sites from")],
)
def test_a_column_that_names_no_sites(photos: Samples, tmp_path: Path, column: str, words: str) -> None:
    with pytest.raises(HandlensError, match=words):
        across_sites(RECIPE, photos, tmp_path / "out", SPEC.model_copy(update={"column": column}))


def test_one_site_is_too_few(photos: Samples, tmp_path: Path) -> None:
    one = photos.with_table(photos.table.with_columns(camera=pl.lit("A")))
    with pytest.raises(HandlensError, match="names 1 site, and two are needed"):
        across_sites(RECIPE, one, tmp_path / "out", SPEC)


def test_a_site_is_known_by_the_ledger(tmp_path: Path) -> None:
    Ledger(tmp_path / "cells.jsonl", {"sites": "x"})
    with pytest.raises(HandlensError, match="other settings"):
        Ledger(tmp_path / "cells.jsonl", {"sites": "y"})
