"""Across sites: what is left out, what is never looked at, and what may be said."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from studied import TINY
from typer.testing import CliRunner

import handlens.cli.sites  # noqa: F401 (the command is known once its file is imported)
from handlens.base.errors import HandlensError
from handlens.cli.app import app
from handlens.data.check import check
from handlens.data.samples import Samples
from handlens.data.sides import Sides
from handlens.evaluate.results import Figure
from handlens.recipe import Recipe
from handlens.study import sites as story
from handlens.study.hits import Truth, difference_by_training, differences_by_training
from handlens.study.ledger import Ledger
from handlens.study.sites import Work, across_sites, left_out_sites, thinned, with_sites
from handlens.study.sites_page import table_of
from handlens.study.sites_results import Beside, SiteSaid, SitesSpec, _of_adapting, measured
from handlens.training.table import FeatureTable

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
    renormed, moved = work.renormed, work._aligned(site)
    after = Work(RECIPE, sides, names, SPEC).table.rows(np.arange(len(names)), 0).numpy()
    np.testing.assert_array_equal(before, after)
    # Batch norms change how every site is seen, alignment what is learned from.
    assert not np.allclose(renormed.rows(site.others, 0).numpy(), before[site.others], atol=1e-2)
    assert not np.allclose(renormed.rows(site.judged, 0).numpy(), before[site.judged], atol=1e-2)
    np.testing.assert_array_equal(moved.rows(site.judged, 0).numpy(), before[site.judged])
    np.testing.assert_allclose(
        moved.rows(site.others, 0).numpy().mean(0), before[site.unlabelled].mean(0), atol=2e-3
    )


def test_every_site_is_seen_through_its_own_batch_norms(photos: Samples) -> None:
    views = {"judge": {"size": 32}, "train": [{}], "count": 2}
    recipe = Recipe.parse({**TINY, "name": "views", "views": views}, "The recipe")
    sides, names = placed(photos)
    work = Work(recipe, sides, names, SPEC)
    assert work.renormed.num_views == work.table.num_views == 2
    site = np.array(names)
    for name in CAMERAS:
        here = np.flatnonzero(site == name)
        # Of a table that knows of this site alone.
        alone = Work(recipe, placed_only(sides, here), [name] * len(here), SPEC)
        # The usual look is all that it is told of the others.
        alone.__dict__["usual"] = work.usual
        for view in range(2):
            found = work.renormed.rows(here, view).numpy()
            np.testing.assert_allclose(
                found, alone.renormed.rows(np.arange(len(here)), view).numpy(), rtol=1e-3, atol=1e-4
            )


def placed_only(sides: Sides, here: np.ndarray) -> Sides:
    shots, ids, groups = (
        tuple(each[place] for place in here) for each in (sides.shots, sides.ids, sides.groups)
    )
    return replace(sides, shots=shots, ids=ids, groups=groups, targets=sides.targets[here])


def by_batch_norms(tmp_path: Path, cameras: list[tuple[float, float]], few: int = 48) -> Figure:
    """What adapted batch norms change at sites that are drawn by lot.

    Which site a picture is from decides only which camera takes it: its contrast and its light. No camera but
    the first takes more than a few.
    """
    rows, rng = [], np.random.default_rng(7)
    (tmp_path / "lot").mkdir()
    for number in range(96):
        camera = number // 2 % len(cameras) if number < len(cameras) * few else 0
        contrast, light = cameras[camera]
        strength = 50 if number % 2 else 25
        stripes = 110 + strength * np.sin(np.arange(40) / rng.uniform(1.5, 3) + rng.uniform(0, 6))
        pixels = np.broadcast_to(stripes, (40, 40)) + rng.normal(0, 15, (40, 40))
        shown = np.clip(pixels * contrast + light, 0, 255).astype(np.uint8)
        Image.fromarray(shown).convert("RGB").save(tmp_path / "lot" / f"{number}.png")
        rows.append((f"{number}.png", "strong" if number % 2 else "faint", f"camera {camera}"))
    with (tmp_path / "lot" / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "camera"), *rows])
    sides, names = placed(Samples.read(tmp_path / "lot" / "table.csv"))
    work = Work(RECIPE, sides, names, SPEC)
    sites = left_out_sites(sides, names, "camera")

    def said(table: FeatureTable) -> np.ndarray:
        """The class whose mean is nearest, site after site: nothing that chance could move."""
        found = []
        for site in sites:
            learned, asked = (table.rows(each, 0).numpy() for each in (site.others, site.judged))
            means = [learned[sides.targets[site.others] == each].mean(axis=0) for each in (0, 1)]
            far = [((asked - mean) ** 2).sum(axis=1) for mean in means]
            found.append(np.argmin(far, axis=0))
        return np.concatenate(found)[None]

    judged = np.concatenate([site.judged for site in sites])
    truth = Truth(sides.targets[judged], tuple(sides.groups[place] for place in judged))
    plain, adapted = truth.measured([said(work.table), said(work.renormed)])
    return truth.difference(difference_by_training(adapted, plain, truth.basis))


def test_batch_norms_of_sites_by_lot_lose_nothing(tmp_path: Path) -> None:
    difference = by_batch_norms(tmp_path, [(1.0, 0.0), (1.0, 0.0)])
    assert difference.high >= 0 and difference.value > -0.08


def test_batch_norms_gain_back_what_a_camera_took(tmp_path: Path) -> None:
    difference = by_batch_norms(tmp_path, [(1.0, 0.0), (0.5, 0.0)])
    assert difference.low > 0.1


def test_a_site_by_lot_that_has_a_few_pictures_loses_nothing(tmp_path: Path) -> None:
    difference = by_batch_norms(tmp_path, [(1.0, 0.0), (1.0, 0.0)], few=6)
    assert difference.high >= 0 and difference.value > -0.02


def test_a_few_pictures_tell_enough_of_a_camera(tmp_path: Path) -> None:
    assert by_batch_norms(tmp_path, [(1.0, 0.0), (0.5, 0.0)], few=6).low > 0.3


def test_pictures_mixed_from_several_are_not_learned_from(photos: Samples) -> None:
    table = photos.table
    ways = {"B0lying": "blend", "B1lying": "augment"}
    made = [Path(path).stem + label for path, label in zip(table["path"], table["label"], strict=True)]
    marked = photos.with_table(
        table.with_columns(
            made_by=pl.Series(["synthesize" if each in ways else None for each in made]),
            operation=pl.Series([ways.get(each) for each in made]),
        )
    )
    sides, names = placed(marked)
    files = {row: shot.path.stem + sides.classes[sides.targets[row]] for row, shot in enumerate(sides.shots)}
    for site in left_out_sites(sides, names, "camera"):
        learned = {files[place] for place in site.others}
        assert "B0lying" not in learned
        # What shows one picture only is learned from.
        assert ("B1lying" in learned) == (site.name != "B")
        assert not {"B0lying", "B1lying"} & {files[place] for place in site.judged}


def test_differences_at_two_trainings_hold_the_truth_and_tell_something() -> None:
    """Against a truth that is known: each way is right more often by chance that another training moves."""
    rng = np.random.default_rng(3)
    held, wide, alone = [], [], []
    for number in range(120):
        picture = rng.normal(size=120)
        rows = [
            (0.5 + 0.25 * rng.normal(size=(2, 1)) + picture + rng.normal(size=(2, 120)) / 2 > 0).astype(int)
            for _ in range(4)
        ]
        truth = Truth(np.ones(120, np.int64), tuple(map(str, range(120))))
        plain, *others = truth.measured(rows, number)
        found = [each.interval() for each in differences_by_training(others, plain, truth.basis)]
        single = [difference_by_training(each, plain, truth.basis).interval() for each in others]
        # All ways are as good as each other.
        held += [each.low <= 0 <= each.high for each in found]
        wide.append(np.mean([each.high - each.low for each in found]))
        alone.append(np.mean([each.high - each.low for each in single]))
    assert 0.91 <= np.mean(held) <= 0.99
    assert np.mean(wide) < 0.6 * np.mean(alone)


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


def test_tables_in_one_folder_are_told_apart_by_their_names(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = draw_sites(tmp_path / "lab")
    second = first.rename(first.with_name("week.2.csv"))
    words = ["--column", "camera", "--seeds", "1", "--set", "views.judge.size=32", "--set", "train.epochs=1"]
    words += ["--set", "model.backbone=handlens/nano", "--set", "model.weights=bundled"]
    shown = CliRunner().invoke(app, ["sites", str(second), *words])
    assert shown.exit_code == 0, shown.output
    folder = tmp_path / "sites" / "week.2-camera"
    assert json.loads((folder / "sites.json").read_text())["data"] == "week.2"
    assert "<title>week.2: other sites" in (folder / "sites.html").read_text()


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
    [("kamera", "Did you mean 'camera'"), ("label", "The column 'label' is what is judged")],
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
