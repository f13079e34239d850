"""Learning curves: what is drawn, what may be said of it, and going on after a stop."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from studied import TINY, draw_photos
from typer.testing import CliRunner

import handlens.cli.curve  # noqa: F401 (the command is known once its file is imported)
from handlens.base.errors import HandlensError
from handlens.cli.app import app
from handlens.data.samples import Samples
from handlens.data.sides import Shot, Sides
from handlens.evaluate.beside import accuracy_difference
from handlens.evaluate.predictions import Predictions
from handlens.evaluate.results import Figure
from handlens.recipe import Recipe
from handlens.study import curve as story
from handlens.study.curve import Pool, draw_curve
from handlens.study.curve_page import table_of
from handlens.study.curve_results import CurveSpec, Gain, Step, answered
from handlens.study.fewshot import prototypes
from handlens.study.hits import Truth, difference_by_training
from handlens.study.ledger import Ledger

RECIPE = Recipe.parse({**TINY, "name": "tiny"}, "The recipe")
SPEC = CurveSpec(steps=(1, 2), draws=2, methods=("ridge", "prototypes", "head"))


def sides_of(per_class: int = 24, of_group: int = 4) -> Sides:
    """Two classes with groups of so many pictures; every third group is for testing."""
    rows = [(kind, number) for kind in range(2) for number in range(per_class)]
    groups = tuple(f"{kind}-{number // of_group}" for kind, number in rows)
    return Sides(
        classes=("a", "b"),
        ids=tuple(f"{kind}/{number}.png" for kind, number in rows),
        groups=groups,
        shots=tuple(Shot(Path(f"{kind}/{number}.png"), f"{kind}{number}") for kind, number in rows),
        targets=np.array([kind for kind, _ in rows]),
        names=tuple("test" if number // of_group % 3 == 2 else "train" for _, number in rows),
    )


def test_draws_are_nested_and_of_the_training_side() -> None:
    sides = sides_of()
    pool = Pool.of(sides, 3, 0)
    steps = pool.steps((1, 2, 5))
    assert steps == {"1": [1, 1], "2": [2, 2], "5": [5, 5], "half": [8, 8], "all": [16, 16]}
    for draw in range(3):
        drawn = [set(pool.drawn(draw, taken).tolist()) for taken in steps.values()]
        assert all(few < more for few, more in pairwise(drawn))
        assert drawn[-1] == set(sides.places("train").tolist())
        assert [len(each) for each in drawn] == [2, 4, 10, 16, 32]
    assert not np.array_equal(pool.drawn(0, [8, 8]), pool.drawn(1, [8, 8]))


def test_whole_groups_are_drawn_one_after_the_other() -> None:
    sides = sides_of()
    pool = Pool.of(sides, 2, 0)
    groups = [sides.groups[place] for place in pool.drawn(0, [8, 8])]
    assert sorted(groups.count(name) for name in set(groups)) == [4, 4, 4, 4]
    assert pool.step("half", [8, 8]).groups == 4
    assert pool.step("5", [5, 5]).groups == 4


def test_draws_do_not_depend_on_the_order_of_the_table() -> None:
    sides = sides_of()
    order = np.random.default_rng(0).permutation(len(sides.ids))
    mixed = replace(
        sides,
        **{
            name: tuple(getattr(sides, name)[place] for place in order)
            for name in ("ids", "groups", "shots", "names")
        },
        targets=sides.targets[order],
    )
    first, second = (Pool.of(each, 2, 5).drawn(1, [5, 3]) for each in (sides, mixed))
    assert {sides.ids[place] for place in first} == {mixed.ids[place] for place in second}


def test_a_class_with_few_pictures_gives_what_it_has() -> None:
    sides = sides_of()
    names = tuple(
        "val" if kind == 1 and name == "train" and place % 24 > 2 else name
        for place, (kind, name) in enumerate(zip(sides.targets, sides.names, strict=True))
    )
    steps = Pool.of(replace(sides, names=names), 2, 0).steps((1, 2, 5, 10))
    assert steps == {"1": [1, 1], "2": [2, 2], "5": [5, 3], "half": [8, 2], "all": [16, 3]}


def told(value: float, low: float, high: float, n_groups: int = 100) -> str:
    figure = Figure(value=value, low=low, high=high, method="", n=100, n_groups=n_groups)
    steps = {
        "10": Step(name="10", fewest=10, most=10, pictures=20, groups=20),
        "20": Step(name="20", fewest=20, most=20, pictures=40, groups=40),
    }
    gain = Gain(method="head", before="10", after="20", figure=figure)
    return answered(gain, steps, 0.9)[1]


def test_the_answer_follows_the_interval() -> None:
    assert told(0.041, 0.020, 0.063) == (
        "More pictures would help: from 10 a class to 20 a class it still gained 4.1 points (2.0 to 6.3)."
    )
    assert told(0.006, 0.002, 0.009).startswith("More pictures would hardly help: ")
    assert told(0.001, -0.004, 0.006).startswith("More pictures would hardly help: ")
    assert told(-0.03, -0.05, -0.01).startswith("More pictures of this kind do not help: ")


def test_no_answer_where_the_interval_allows_none() -> None:
    said = told(0.02, -0.01, 0.05, n_groups=7)
    assert said == (
        "These pictures cannot tell whether more would help: from 10 a class to 20 a class it changed by "
        "+2.0 points (−1.0 to +5.0), which may be chance on 7 test groups."
    )
    assert answered(None, {}, 0.9)[0] == "unclear"


def test_accuracy_and_its_paired_difference_are_those_of_two_runs() -> None:
    rng = np.random.default_rng(3)
    targets, groups = rng.integers(0, 3, 60), tuple(str(number // 3) for number in range(60))
    said = [np.where(rng.random(60) < share, targets, (targets + 1) % 3) for share in (0.9, 0.6)]
    truth = Truth(targets, groups)
    own, other = truth.measured([each[None] for each in said])
    runs = [
        Predictions(
            tuple(map(str, range(60))), groups, targets, ("a", "b", "c"), np.eye(3, dtype=np.float32)[each]
        )
        for each in said
    ]
    wanted = accuracy_difference(*runs)
    found = truth.difference(difference_by_training(own, other, truth.basis))
    assert own.value == pytest.approx((said[0] == targets).mean())
    assert (found.value, found.low, found.high) == pytest.approx(
        (wanted.value, wanted.low, wanted.high), abs=2e-3
    )


def test_balanced_accuracy_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import balanced_accuracy_score

    rng = np.random.default_rng(0)
    targets, said = rng.choice(3, 80, p=[0.7, 0.2, 0.1]), rng.integers(0, 3, 80)
    truth = Truth(targets, tuple(map(str, range(80))), "balanced_accuracy")
    (row,) = truth.measured([said[None]])
    assert row.value == pytest.approx(balanced_accuracy_score(targets, said))


def test_more_draws_that_differ_widen_and_draws_that_agree_do_not() -> None:
    rng = np.random.default_rng(1)
    targets = np.zeros(200, np.int64)
    truth = Truth(targets, tuple(map(str, range(200))))
    base = (rng.random(200) < 0.4).astype(np.int64)
    steady = np.stack([base] * 4)
    shaken = np.stack([np.where(rng.random(200) < share, 1 - base, base) for share in (0.0, 0.3, 0.0, 0.3)])
    zero = np.zeros((4, 200), np.int64)
    same, apart, none = truth.measured([steady, shaken, zero])
    narrow, wide = (
        truth.difference(difference_by_training(each, none, truth.basis)) for each in (same, apart)
    )
    assert wide.high - wide.low > narrow.high - narrow.low


def test_a_curve_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = Samples.read(draw_photos(tmp_path / "photos", num=15))
    whole = draw_curve(RECIPE, photos, tmp_path / "whole", SPEC)
    assert [step.name for step in whole.steps] == ["1", "2", "half", "all"]
    assert (whole.n, len(whole.points), len(whole.gains)) == (6, 12, 9)

    methods, asked = dict(story.METHODS), []

    def counting(name: str, most: int = 1000):
        def judge(lesson):
            asked.append(name)
            if len(asked) > most:
                raise KeyboardInterrupt
            return methods[name](lesson)

        return judge

    with monkeypatch.context() as patch:
        patch.setattr(story, "METHODS", {name: counting(name, 7) for name in methods})
        with pytest.raises(KeyboardInterrupt):
            draw_curve(RECIPE, photos, tmp_path / "stopped", SPEC)
    with (tmp_path / "stopped" / "cells.jsonl").open("a") as file:
        file.write('{"cell":["ridge","1 1",')
    draw_curve(RECIPE, photos, tmp_path / "stopped", SPEC)
    for name in ("curve.json", "curve.html"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert json.loads((tmp_path / "whole" / "curve.json").read_text())["answer"] == whole.answer

    # More draws need only what is new, and another recipe is refused.
    asked.clear()
    with monkeypatch.context() as patch:
        patch.setattr(story, "METHODS", {name: counting(name) for name in methods})
        draw_curve(RECIPE, photos, tmp_path / "whole", SPEC.model_copy(update={"draws": 3}))
    assert sorted(asked) == ["head"] * 4 + ["prototypes"] * 3 + ["ridge"] * 3
    other = Recipe.parse({**TINY, "train": {"epochs": 3, "folds": 0}}, "The recipe")
    with pytest.raises(HandlensError, match=r"begun with other settings \(recipe\)"):
        draw_curve(other, photos, tmp_path / "whole", SPEC)
    columns, rows = table_of(whole)
    assert columns[2:] == ["ridge", "prototypes", "the recipe's head"]
    assert [row[0] for row in rows] == ["1", "2", "half, 6", "all, 12"]


def test_the_page_escapes_names_and_needs_nothing(tmp_path: Path) -> None:
    photos = draw_photos(tmp_path / "<b>&", num=15)
    spec = SPEC.model_copy(update={"methods": ("ridge",)})
    draw_curve(RECIPE, Samples.read(photos), tmp_path / "out", spec, "handlens curve '<b>&'")
    page = (tmp_path / "out" / "curve.html").read_text()
    assert "<b>&" not in page and "&lt;b&gt;&amp;" in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<svg") == 2


def test_tables_in_one_folder_have_curves_of_their_own(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    photos = Samples.read(draw_photos(tmp_path / "lab", num=15))
    table = photos.table.select(path="id", label="label")
    table.write_csv(tmp_path / "lab" / "monday.csv")
    table.gather_every(2).write_csv(tmp_path / "lab" / "tuesday.csv")
    words = ["--steps", "1", "--draws", "2", "--methods", "ridge", "--set", "views.judge.size=32"]
    words += ["--set", "model.backbone=handlens/nano", "--set", "model.weights=bundled"]
    for day in ("monday", "tuesday"):
        shown = CliRunner().invoke(app, ["curve", f"lab/{day}.csv", *words])
        assert shown.exit_code == 0, (shown.output, shown.exception)
        folder = tmp_path / "curves" / f"{day}-quick"
        assert json.loads((folder / "curve.json").read_text())["data"] == day
        assert f"<title>{day}: more pictures?" in (folder / "curve.html").read_text()


def test_a_network_that_trains_is_refused(tmp_path: Path, photos: Samples) -> None:
    recipe = Recipe.load("quick", ["model.freeze=none"])
    with pytest.raises(HandlensError, match="more than the head trains"):
        draw_curve(recipe, photos, tmp_path / "out", SPEC)


def test_a_ledger_keeps_what_was_said(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "a" / "cells.jsonl", {"pictures": "x"})
    ledger.add(("ridge", 3), np.array([0, 2, 1]))
    again = Ledger(tmp_path / "a" / "cells.jsonl", {"pictures": "x"})
    assert again["ridge", 3].tolist() == [0, 2, 1]
    assert again.missing([("ridge", 3), ("ridge", 4)]) == [("ridge", 4)]


def test_the_intervals_of_gains_hold() -> None:
    """Simulated collections and test sides; the gain is known from many of them and a large test side."""
    classes, width, size, draws = 3, 8, 12, 4
    means = np.random.default_rng(7).normal(size=(classes, width)) * 0.6

    def clouds(rng: np.random.Generator, number: int) -> np.ndarray:
        return means[:, None] + rng.normal(size=(classes, number, width)) * 1.2

    def said(pool: np.ndarray, orders: list[np.ndarray], number: int, asked: np.ndarray) -> np.ndarray:
        rows = np.concatenate([own[order[:number]] for own, order in zip(pool, orders, strict=True)])
        found = prototypes(rows, np.repeat(np.arange(classes), number), classes)
        return (2 * asked @ found.T - (found**2).sum(axis=1)).argmax(axis=1)

    def gains(rng: np.random.Generator, num_draws: int, asked: np.ndarray) -> list[np.ndarray]:
        pool = clouds(rng, size)
        orders = [[rng.permutation(size) for _ in range(classes)] for _ in range(num_draws)]
        return [np.stack([said(pool, each, number, asked) for each in orders]) for number in (6, 12)]

    many = clouds(np.random.default_rng(1), 2000).reshape(-1, width)
    answers = np.repeat(np.arange(classes), 2000)
    known = [gains(np.random.default_rng([5, at]), 1, many) for at in range(200)]
    gain = np.mean([(more == answers).mean() - (few == answers).mean() for few, more in known])
    held = 0
    for at in range(120):
        rng = np.random.default_rng([9, at])
        few, more = gains(rng, draws, (asked := clouds(rng, 30).reshape(-1, width)))
        truth = Truth(np.repeat(np.arange(classes), 30), tuple(map(str, range(len(asked)))))
        low, high = truth.measured([few, more])
        within = truth.difference(difference_by_training(high, low, truth.basis))
        held += within.low <= gain <= within.high
    assert 0.89 <= held / 120 <= 0.99
