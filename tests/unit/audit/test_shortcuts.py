"""Shortcuts that were planted are found, and where none was planted none is."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageOps
from sklearn.metrics import balanced_accuracy_score
from soft_noise import noise

from handlens.audit import balance, shortcuts, trials
from handlens.audit.clues import Clue, Family, forbidden_words, jpeg_quality, name_words, shape
from handlens.audit.drawn import drawn
from handlens.audit.finding import Finding, Subject
from handlens.audit.looks import Look
from handlens.audit.spec import BalanceSpec, ShortcutsSpec
from handlens.audit.trials import Shortcut, measure
from handlens.data.samples import Samples
from handlens.evaluate.results import Figure

SPEC = ShortcutsSpec()
Draw = Callable[..., Samples]
LookAt = Callable[..., tuple[Subject, list[Look | None]]]


@pytest.fixture(autouse=True)
def a_small_forest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few trees: what is planted here is plain."""
    monkeypatch.setattr(trials, "TREES", 4)
    monkeypatch.setattr(trials, "ROUNDS", 1)


def findings(subject: Subject, looks: Sequence[Look | None]) -> list[Finding]:
    return shortcuts.find(measure(subject, looks, SPEC), SPEC)


def titles(found: Sequence[Finding]) -> list[str]:
    return [f"{each.severity}: {each.title}" for each in found]


def test_noise_tells_nothing(draw: Draw, look_at: LookAt) -> None:
    subject, looks = look_at(draw(("a", "b", "c"), num=30))
    measured = measure(subject, looks, SPEC)
    assert shortcuts.find(measured, SPEC) == []
    assert {each.of for each in measured} == {"class"}
    assert all(abs(each.figure.value - 1 / 3) < 0.2 for each in measured), measured
    assert {each.key for each in measured if not each.varies} == {
        *("size", "format", "mode", "compression", "frame", "origin")
    } - {each.key for each in measured if each.varies}


def taller(picture: Image.Image, label: str, number: int) -> Image.Image:
    return picture.resize((picture.width, picture.height + 4 * (label == "ore")))


def framed(picture: Image.Image, label: str, number: int) -> Image.Image:
    if label == "waste":
        return picture
    return ImageOps.expand(picture.crop((3, 3, picture.width - 3, picture.height - 3)), 3, "black")


def grey(picture: Image.Image, label: str, number: int) -> Image.Image:
    return picture.convert("L") if label == "ore" else picture


def tinted(picture: Image.Image, label: str, number: int) -> Image.Image:
    if label == "waste":
        return picture
    red, green, blue = picture.split()
    return Image.merge("RGB", (red.point(lambda level: min(255, level + 60)), green, blue))


@pytest.mark.parametrize(
    ("change", "title", "best"),
    [
        (taller, "must: The class can be told from the size alone", "height"),
        (framed, "must: The class can be told from the plain frame alone", "plain frame"),
        (grey, "must: The class can be told from the mode alone", "mode"),
        (tinted, "note: The class can be told from the brightness and mean colour alone", ""),
    ],
)
def test_what_a_picture_shows_is_found(
    draw: Draw, look_at: LookAt, change: object, title: str, best: str
) -> None:
    subject, looks = look_at(draw(change=change))
    found = findings(subject, looks)
    assert title in titles(found)
    told = next(each for each in found if title.endswith(each.title))
    assert f"Most telling is the {best}" in told.sentence
    assert "95 % interval" in told.sentence
    assert "chance is 50.0 %" in told.sentence
    ids = set(subject.samples.table["id"])
    assert len(told.rows) == 2 * 2
    assert {row.id for row in told.rows} <= ids
    assert {PurePosixPath(row.id).parts[0] for row in told.rows} == {"ore", "waste"}
    assert not any(row.action for row in told.rows)


def as_jpeg(picture: Image.Image, label: str, path: Path) -> None:
    if label == "ore":
        picture.save(path.with_suffix(".jpg"), quality=95, subsampling=0)
    else:
        picture.save(path)


def more_compressed(picture: Image.Image, label: str, path: Path) -> None:
    picture.save(path.with_suffix(".jpg"), quality=92 if label == "ore" else 85)


def once_a_jpeg(picture: Image.Image, label: str, path: Path) -> None:
    if label == "ore":
        once = path.with_suffix(".once")
        picture.save(once, "JPEG", quality=30, subsampling=0)
        picture = Image.open(once)
        picture.load()
        once.unlink()
    picture.save(path)


@pytest.mark.parametrize(
    ("save", "family"),
    [(as_jpeg, "file format"), (more_compressed, "compression"), (once_a_jpeg, "compression")],
)
def test_how_a_picture_was_saved_is_found(draw: Draw, look_at: LookAt, save: object, family: str) -> None:
    def large(picture: Image.Image, label: str, number: int) -> Image.Image:
        return noise(number + 500 * (label == "ore"), 160, 128)

    subject, looks = look_at(draw(save=save, change=large, num=20))
    assert f"The class can be told from the {family} alone" in [
        each.title for each in findings(subject, looks)
    ]


def test_names_are_a_shortcut_but_not_a_grave_one(draw: Draw, look_at: LookAt) -> None:
    subject, looks = look_at(
        draw(name=lambda label, number: f"{'DSC' if label == 'ore' else 'P'}{number:04d}")
    )
    assert titles(findings(subject, looks)) == ["should: The class can be told from the file name alone"]


def test_names_may_hold_the_names_of_classes(draw: Draw, look_at: LookAt) -> None:
    subject, looks = look_at(draw(("iron ore", "waste"), name=lambda label, number: f"{label}_{number // 2}"))
    assert findings(subject, looks) == []
    words = name_words(
        ["x/Iron-ore_12.png", "x/wasted7.png", "x/IO3-w.jpg", "x/train_4 好.png", "x/²٣.png"],
        forbidden_words(("iron ore", "waste")),
    )
    assert words == [["12"], ["7"], ["3"], ["4", "好"], ["²", "٣"]]
    assert shape("img-0042-b") == "a-0-a"


def test_a_group_is_never_learned_from_and_judged(draw: Draw, look_at: LookAt) -> None:
    # Each group has a size of its own, and a class by lot: knowing the group would be knowing the class.
    def by_group(picture: Image.Image, label: str, number: int) -> Image.Image:
        return picture.resize((40 + 2 * (number % 6) + (label == "ore"), 64))

    samples = draw(num=40, change=by_group)
    grouped = samples.with_table(
        samples.table.with_columns(
            group=pl.Series([f"{Image.open(path).width}" for path in samples.table["path"]], dtype=pl.String)
        )
    )
    (alone, together) = (
        next(each for each in measure(*look_at(given), SPEC) if each.key == "size")
        for given in (samples, grouped)
    )
    assert alone.figure.value > 0.9
    assert together.figure.value < 0.6
    assert together.figure.n_groups == 12


def test_the_split_is_told_too(draw: Draw, look_at: LookAt) -> None:
    samples = draw(change=lambda picture, label, number: picture.resize((60 + 8 * (number % 3 == 0), 64)))
    sides = pl.Series(["test" if Image.open(path).width == 68 else "train" for path in samples.table["path"]])
    subject, looks = look_at(samples.with_table(samples.table.with_columns(split=sides)))
    found = findings(subject, looks)
    assert (
        "should: Whether a picture is for training or for testing can be told from the size alone"
        in titles(found)
    )
    assert not any(each.title.startswith("The class") for each in found)


def test_what_can_only_be_in_training_does_not_tell_the_split(draw: Draw, look_at: LookAt) -> None:
    samples = draw(change=lambda picture, label, number: picture.resize((60 + 8 * (number % 3 == 0), 64)))
    wide = [Image.open(path).width == 68 for path in samples.table["path"]]
    table = samples.table.with_columns(
        split=pl.Series(["train" if made or at % 2 else "test" for at, made in enumerate(wide)]),
        made_by=pl.Series(["expand" if made else None for made in wide], dtype=pl.String),
    )
    subject, looks = look_at(samples.with_table(table))
    assert findings(subject, looks) == []


def test_classes_of_few_groups_take_no_part(draw: Draw, look_at: LookAt) -> None:
    samples = draw(("a", "b", "c"), num=12)
    table = samples.table.with_columns(
        group=pl.when(pl.col("label") == "c").then(pl.lit("one")).otherwise(pl.col("id"))
    )
    subject, looks = look_at(samples.with_table(table))
    measured = measure(subject, looks, SPEC)
    assert {each.chance for each in measured} == {0.5}
    few = subject.samples.with_table(subject.samples.table.with_columns(group=pl.lit("one")))
    assert measure(replace(subject, samples=few), looks, SPEC) == []


def test_large_sets_are_drawn_from_by_whole_groups() -> None:
    groups = [f"g{row // 3}" for row in range(900)]
    told = ["one"] * 900
    rows = drawn(range(900), told, groups, 100, 0)
    assert len(rows) == 99
    taken = {groups[row] for row in rows}
    assert rows == [row for row in range(900) if groups[row] in taken]
    assert rows == drawn(range(900), told, groups, 100, 0)
    assert rows != drawn(range(900), told, groups, 100, 1)


def test_of_a_large_set_a_rare_class_is_drawn_too() -> None:
    told = ["rare" if row % 200 == 0 else "often" if row % 2 else "seldom" for row in range(10_000)]
    groups = [f"g{row}" for row in range(10_000)]
    rows = drawn(range(10_000), told, groups, 1000, 0)
    assert len(rows) == 1000
    # All of the fifty rare ones, and of the others as many as there is room for.
    assert Counter(told[row] for row in rows) == {"rare": 50, "often": 475, "seldom": 475}


def test_a_rare_class_does_not_end_the_check_of_a_large_set(draw: Draw, look_at: LookAt) -> None:
    subject, looks = look_at(draw(("a", "b"), num=60, change=taller))
    labels = ["rare" if at % 20 == 0 else label for at, label in enumerate(subject.samples.table["label"])]
    table = subject.samples.table.with_columns(label=pl.Series(labels))
    subject = replace(subject, samples=subject.samples.with_table(table))
    spec = ShortcutsSpec.model_construct(**SPEC.model_dump() | {"most_pictures": 30})
    for seed in range(5):
        question = trials._about_class(replace(subject, seed=seed), looks, spec)
        assert question is not None
        assert question.names == ("a", "b", "rare")
        assert (len(question.rows), question.not_drawn) == (30, 90)
        assert Counter(question.targets.tolist()) == {0: 12, 1: 12, 2: 6}


def test_a_class_of_groups_that_are_too_large_to_be_drawn_is_left_out_and_told(
    draw: Draw, look_at: LookAt
) -> None:
    subject, looks = look_at(draw(("a", "b", "c"), num=40, change=taller))
    group = pl.when(pl.col("label") == "c").then(pl.format("c{}", pl.int_range(pl.len()) % 5))
    table = subject.samples.table.with_columns(group=group.otherwise("id"))
    subject = replace(subject, samples=subject.samples.with_table(table))
    counted = balance.counts(subject, BalanceSpec())
    assert shortcuts.left_out(counted, measure(subject, looks, SPEC)) == ""
    # A group of c has eight pictures: of two there is no room.
    spec = ShortcutsSpec.model_construct(**SPEC.model_dump() | {"most_pictures": 13})
    measured = measure(subject, looks, spec)
    assert {each.names for each in measured} == {("a", "b")}
    told = shortcuts.left_out(counted, measured)
    assert told.startswith("“c” took no part: of groups so large, fewer than 2 are among the pictures")
    (num,) = {each.figure.n for each in measured}
    assert f"To tell the class, {num} of 80 pictures were drawn" in told
    assert shortcuts.left_out(counted, []).startswith("“a”, “b” and “c” took no part: of groups so large")


def test_the_figure_is_that_of_scikit_learn_and_its_interval_covers(draw: Draw, look_at: LookAt) -> None:
    subject, looks = look_at(draw(("a", "b", "c"), num=20))
    question = trials._about_class(subject, looks, SPEC)
    assert question is not None
    rng = np.random.default_rng(0)
    said = rng.dirichlet(np.ones(3), len(question.targets)) + 0.5 * np.eye(3)[question.targets]
    figure = trials._figure(question, said, 0)
    assert figure.value == pytest.approx(balanced_accuracy_score(question.targets, said.argmax(1)))
    assert figure.low < figure.value < figure.high
    for learned, judged in question.folds:
        assert not set(question.groups[learned]) & set(question.groups[judged])
    assert sorted(np.concatenate([judged for _, judged in question.folds])) == [*range(60)]


def test_labels_by_lot_give_no_alarm() -> None:
    """Over many draws of meaningless clues and labels, the bar is never reached."""
    reached = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        targets = rng.integers(0, 2, 60)
        question = trials.Question(
            "class",
            np.arange(60),
            ("a", "b"),
            targets,
            np.arange(60),
            tuple(trials._folds(targets, np.arange(60), 5, 0)),
        )
        clue = Clue("noise", rng.normal(size=(60, 4)), lambda row: "")
        shortcut, _ = trials._tried(question, Family("noise", "noise", (clue,), seen=True), 0, 1)
        reached.append(shortcut.sure)
    assert max(reached) < SPEC.margin


def made(key: str, low: float, *, seen: bool = True, of_subject: bool = False, of: str = "class") -> Shortcut:
    figure = Figure(value=min(1.0, low + 0.05), low=low, high=1.0, method="", n=10, n_groups=10)
    return Shortcut(of, key, key, seen, of_subject, figure, 0.5, 0.5, True, "clue", 0.9, ())


@pytest.mark.parametrize(
    ("shortcut", "severities"),
    [
        (made("size", 0.59), []),
        # Above the margin alone, but not with all the other trials.
        (made("size", 0.61), []),
        (made("size", 0.64), ["should"]),
        (made("size", 0.91), ["must"]),
        (made("name", 0.99, seen=False), ["should"]),
        (made("colour", 0.99, of_subject=True), ["note"]),
        (made("size", 0.99, of="split"), ["should"]),
        (made("name", 0.99, seen=False, of="split"), ["note"]),
        (replace(made("border", 0.7), control=0.75), []),
    ],
)
def test_how_grave_a_shortcut_is(shortcut: Shortcut, severities: list[str]) -> None:
    assert [each.severity for each in shortcuts.find([shortcut], SPEC)] == severities


def test_of_frame_and_border_the_graver_one_is_told() -> None:
    both = [made("frame", 0.75), made("border", 0.95)]
    assert titles(shortcuts.find(both, SPEC)) == ["must: The class can be told from the border alone"]
    both = [made("frame", 0.95), made("border", 0.99), made("size", 0.8)]
    assert titles(shortcuts.find(both, SPEC)) == [
        "must: The class can be told from the frame alone",
        "should: The class can be told from the size alone",
    ]


def test_together_is_told_only_where_nothing_alone_is() -> None:
    together = made(trials.TOGETHER, 0.8)
    assert len(shortcuts.find([together], SPEC)) == 1
    assert len(shortcuts.find([made("colour", 0.8, of_subject=True), together], SPEC)) == 2
    assert [each.title for each in shortcuts.find([made("size", 0.8), together], SPEC)] == [
        "The class can be told from the size alone"
    ]


def test_the_same_figures_come_again(draw: Draw, look_at: LookAt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "ROUNDS", 3)
    subject, looks = look_at(draw(change=taller, num=15))
    assert measure(subject, looks, SPEC) == measure(subject, looks, SPEC)


def test_qualities_stay_within_their_range() -> None:
    assert jpeg_quality(0.5) == 100
    assert jpeg_quality(255) in range(1, 15)


def test_one_class_of_several_that_is_framed_is_named(draw: Draw, look_at: LookAt) -> None:
    def some(picture: Image.Image, label: str, number: int) -> Image.Image:
        return framed(picture, "ore" if label == "c" else "waste", number)

    subject, looks = look_at(draw(("a", "b", "c"), num=24, change=some))
    found = [each for each in findings(subject, looks) if "frame" in each.title]
    assert titles(found) == ["must: The class can be told from the plain frame alone"]
    assert "It knows “c” best: 100.0 % of its pictures, and 0.0 % of the others" in found[0].sentence
