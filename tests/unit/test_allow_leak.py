"""Copies on two sides: a split that came with the pictures is refused or marked; one made here tells them."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

from alone import nothing_at_hand, one_thread
from handlens import cli
from handlens.api import train
from handlens.base.errors import HandlensError
from handlens.base.files import cache_folder
from handlens.data import leak as module
from handlens.data.check import Checked, DataSpec, check
from handlens.data.derived import PAPER_PROTOCOL
from handlens.data.leak import ALLOWED_LEAK, copies_among, split_without_leak
from handlens.data.samples import Samples
from handlens.data.split import SplitSpec
from handlens.recipe import Recipe
from handlens.report.html import verdict_of

__all__ = ["nothing_at_hand", "one_thread"]

SMALL = [
    "model.backbone=handlens/nano",
    "model.weights=bundled",
    "views.judge.size=64",
    "train.epochs=3",
    "train.folds=2",
]
NUMBERS = {"train": 8, "test": 4}


def draw(path: Path, kind: int, seed: int) -> Path:
    """Coarse spots or fine ones; no two pictures are alike."""
    generator = np.random.default_rng(seed)
    field = gaussian_filter(generator.normal(size=(96, 128, 3)), (2 + 3 * kind, 2 + 3 * kind, 0))
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = 128 + 45 * field / field.std()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A ready-made split without copies."""
    root = tmp_path / "mes données 图"
    for side, number in NUMBERS.items():
        for kind, name in enumerate(("细 fine", "coarse")):
            for at in range(number):
                draw(root / side / name / f"photo {at}.png", kind, seed=10_000 * len(side) + 100 * kind + at)
    return root


def saved_again(source: Path, target: Path) -> None:
    """The same picture, smaller and as a JPEG: no byte and no pixel is the same."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as picture:
        picture.resize((112, 84), Image.Resampling.BICUBIC).save(target, quality=80)


def leaking(root: Path, near: bool = True) -> Path:
    """One test picture has the same file in training; a second one a near copy, in training too."""
    shutil.copyfile(root / "test/coarse/photo 1.png", root / "train/coarse/the same.png")
    if near:
        saved_again(root / "test/细 fine/photo 2.png", root / "train/细 fine/saved again.jpg")
    return root


def divide(root: Path, **spec: object) -> tuple[Samples, tuple[str, ...]]:
    checked = check(Samples.read(root), DataSpec())
    divided, _, leak = split_without_leak(checked, SplitSpec(**spec))
    return divided, tuple(each.id for each in leak.copied)


def checked_again(root: Path) -> Checked:
    return check(Samples.read(root), DataSpec())


@pytest.fixture
def comparisons(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of how many files copies were sought, each time that they were."""
    done: list[int] = []
    seek = module.find_copies

    def counted(facts, *more, **options):  # type: ignore[no-untyped-def]
        done.append(len(facts))
        return seek(facts, *more, **options)

    monkeypatch.setattr(module, "find_copies", counted)
    return done


def recipe(*more: str) -> Recipe:
    return Recipe.load("quick", [*SMALL, *more])


def test_a_split_without_copies_passes_unmarked(photos: Path) -> None:
    divided, copied = divide(photos)
    assert copied == divided.marks == ()


def test_a_leaking_split_is_refused_with_the_pictures_and_the_mend(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(HandlensError) as refused:
        train(leaking(photos), recipe(), tmp_path / "run")
    told = str(refused.value)
    assert "2 of the 8 test pictures have copies in training" in told
    assert "test/coarse/photo 1.png (a copy of train/coarse/the same.png)" in told
    assert "test/细 fine/photo 2.png (a copy of train/细 fine/saved again.jpg)" in told
    assert "--allow-leak" in told
    assert "handlens audit DATA --apply mended.csv" in told
    assert not (tmp_path / "run").exists()


def test_a_copy_in_validation_leaks_too(photos: Path) -> None:
    for kind in ("细 fine", "coarse"):
        shutil.copyfile(photos / "test" / kind / "photo 0.png", photos / "train" / kind / "x.png")
        (photos / "val" / kind).mkdir(parents=True)
        (photos / "train" / kind / "x.png").rename(photos / "val" / kind / "x.png")
    with pytest.raises(HandlensError, match="2 of the 8 test pictures have copies in training"):
        divide(photos)


def test_copies_within_one_side_are_no_leak(photos: Path) -> None:
    shutil.copyfile(photos / "test/coarse/photo 1.png", photos / "test/coarse/again.png")
    saved_again(photos / "train/coarse/photo 1.png", photos / "train/coarse/again.jpg")
    assert divide(photos)[1] == ()


def test_groups_on_two_sides_are_told_as_ever_and_not_refused(photos: Path, tmp_path: Path) -> None:
    samples = Samples.read(photos)
    table = samples.table.with_columns(group=pl.lit("one"))
    checked = check(samples.with_table(table), DataSpec())
    divided, report, leak = split_without_leak(checked, SplitSpec())
    assert report.leaks == ("one",)
    assert leak.copied == divided.marks == ()


def test_a_split_that_is_made_keeps_the_same_pixels_on_one_side(photos: Path) -> None:
    divided, copied = divide(leaking(photos, near=False), keep_given=False)
    assert copied == divided.marks == ()
    side_of = dict(divided.table.select("id", "split").iter_rows())
    assert side_of["test/coarse/photo 1.png"] == side_of["train/coarse/the same.png"]


def test_a_leak_that_is_allowed_marks_the_run_and_tells_both_accuracies(photos: Path, tmp_path: Path) -> None:
    run = train(leaking(photos), recipe("split.allow_leak=true"), tmp_path / "run")
    assert run.folder.read_provenance()["data"]["marks"] == [ALLOWED_LEAK]
    assert Samples.from_manifest(run.folder.samples_path).marks == (ALLOWED_LEAK,)

    told = json.loads((tmp_path / "run/leak.json").read_text(encoding="utf-8"))
    assert [each["id"] for each in told["copied"]] == ["test/coarse/photo 1.png", "test/细 fine/photo 2.png"]
    test = run.predictions()
    copied = np.isin(test.ids, [each["id"] for each in told["copied"]])
    assert told["with_copies"]["value"] == pytest.approx(test.correct.mean())
    assert told["without_copies"]["value"] == pytest.approx(test.correct[~copied].mean())
    assert told["on_copies"]["value"] == pytest.approx(test.correct[copied].mean())
    assert (told["with_copies"]["n"], told["without_copies"]["n"]) == (8, 6)

    verdict = verdict_of(run.folder)
    assert verdict.headline.startswith("This run leaks: 2 test pictures have copies in training. ")
    assert "do not quote this figure" in verdict.headline
    page = run.report_path.read_text(encoding="utf-8")
    header = page[page.index("<header>") :]
    first = re.search(r"<p[^>]*>(.*?)</p>", header, re.DOTALL)
    assert first and "This run leaks" in first[1]


def test_allowing_without_a_leak_marks_nothing(photos: Path, tmp_path: Path) -> None:
    run = train(photos, recipe("split.allow_leak=true"), tmp_path / "run")
    assert run.folder.read_provenance()["data"]["marks"] == []
    assert not (tmp_path / "run/leak.json").exists()
    assert verdict_of(run.folder).alarm is None


def test_the_mark_goes_with_the_split_it_was_about(photos: Path, tmp_path: Path) -> None:
    marked, _ = divide(leaking(photos), allow_leak=True)
    assert marked.marks == (ALLOWED_LEAK,)
    marked.save(tmp_path / "marked.csv")
    again, _ = divide(tmp_path / "marked.csv", keep_given=False)
    assert again.marks == ()


# a split that is made here


@pytest.fixture
def twins(photos: Path) -> Path:
    """Class folders in which every second picture is there again, smaller and as a JPEG."""
    root = photos.parent / "in pairs"
    for number, source in enumerate(sorted((photos / "train").rglob("*.png"))):
        target = root / source.parent.name / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        if number % 2:
            saved_again(source, target.with_name(f"{number} again.jpg"))
    return root


def test_near_copies_that_a_split_made_here_tears_apart_are_told_and_not_refused(
    twins: Path, tmp_path: Path
) -> None:
    run = train(twins, recipe("split.ratios=5:5"), tmp_path / "run")
    assert run.folder.read_provenance()["data"]["marks"] == []
    side_of = dict(Samples.from_manifest(run.folder.samples_path).table.select("id", "split").iter_rows())
    told = json.loads((tmp_path / "run/leak.json").read_text(encoding="utf-8"))
    assert told["copied"]
    for each in told["copied"]:
        assert side_of[each["id"]] == "test"
        assert {side_of[name] for name in each["copies"]} <= {"train", "val"}
    verdict = verdict_of(run.folder)
    assert verdict.alarm is None
    assert "do not quote" not in verdict.headline
    assert f"of which {len(told['copied'])} have near copies in training" in verdict.headline
    (doubt,) = [each for each in verdict.warnings if "near cop" in each.title]
    assert doubt.severity == "serious"
    assert doubt.title.startswith(f"{len(told['copied'])} test picture")
    assert "handlens audit DATA --apply" in doubt.detail
    assert "the figure to believe" in doubt.detail


def test_a_manifest_of_a_split_made_here_is_not_refused_for_near_copies_but_for_the_same_ones(
    twins: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "divided.csv"
    divided, _ = divide(twins, ratios="5:5")
    divided.save(manifest)
    again, copied = divide(manifest)
    assert again.split_made
    assert copied
    assert again.marks == ()
    # Somebody moves a copy of the same pixels over: then it is no split of ours any more.
    name = divided.side("train").table["id"][0]
    shutil.copyfile(twins / name, twins / name.replace(".", " the same."))
    both, _ = divide(twins, ratios="5:5")
    over = pl.when(pl.col("id") == name).then(pl.lit("test")).otherwise(pl.lit("train"))
    same = pl.col("id").is_in([name, name.replace(".", " the same.")])
    table = both.table.with_columns(split=pl.when(same).then(over).otherwise(pl.col("split")))
    both.with_table(table).save(manifest)
    with pytest.raises(HandlensError, match="leaks"):
        divide(manifest)


def test_once_they_are_in_one_group_nothing_is_left_to_tell(twins: Path) -> None:
    checked = checked_again(twins)
    group_of = {name: alike[0] for alike in copies_among(checked) for name in alike}
    assert len(group_of) == 16
    table = checked.samples.table
    names = [group_of.get(name, name) for name in table["id"]]
    apart = checked.samples.with_table(table.drop("digest").with_columns(group=pl.Series(names)))
    assert split_without_leak(check(apart, DataSpec()), SplitSpec(ratios="5:5"))[2].copied == ()


# what it costs


def test_the_same_pictures_are_compared_once_whatever_they_are_called_and_labelled(
    twins: Path, comparisons: list[int]
) -> None:
    first = copies_among(checked_again(twins))
    split_without_leak(checked_again(twins), SplitSpec(seed=3))
    assert comparisons == [24]
    (twins / "coarse" / "photo 1.png").rename(twins / "细 fine" / "又名 renamed.png")
    again = copies_among(checked_again(twins))
    assert comparisons == [24]
    assert sorted(map(len, again)) == sorted(map(len, first))
    assert any("细 fine/又名 renamed.png" in alike for alike in again)


def test_a_file_with_another_content_is_compared_anew(twins: Path, comparisons: list[int]) -> None:
    before = copies_among(checked_again(twins))
    draw(twins / "coarse" / "photo 1.png", 1, seed=77)
    after = copies_among(checked_again(twins))
    assert comparisons == [24, 24]
    assert len(after) == len(before) - 1


def test_what_cannot_be_remembered_is_compared_again(twins: Path, comparisons: list[int]) -> None:
    first = copies_among(checked_again(twins))
    (kept,) = (cache_folder() / "copies").glob("*.sqlite3")
    kept.write_bytes(b"no database" * 100)
    assert copies_among(checked_again(twins)) == first
    assert comparisons == [24, 24]


def test_under_the_papers_protocol_which_means_to_leak_nothing_is_sought(
    twins: Path, comparisons: list[int]
) -> None:
    checked = checked_again(twins)
    marked = replace(checked, samples=replace(checked.samples, marks=(PAPER_PROTOCOL,)))
    assert split_without_leak(marked, SplitSpec())[2].copied == ()
    assert comparisons == []


def test_pictures_made_from_others_go_where_those_go_and_are_not_compared(
    twins: Path, comparisons: list[int]
) -> None:
    checked = checked_again(twins)
    again = pl.col("id").str.contains("again")
    table = checked.samples.table.with_columns(made_by=pl.when(again).then(pl.lit("expand")))
    made = replace(checked, samples=checked.samples.with_table(table))
    assert copies_among(made) == []
    assert comparisons == [16]


# the command


def command(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, ["train", *map(str, words), "--recipe", "quick", *settings(*SMALL)])
    return done.exit_code, str(done.exception) if done.exception else done.output


def settings(*values: str) -> list[str]:
    return [word for value in values for word in ("--set", value)]


def test_the_command_refuses_a_leaking_split_and_trains_on_it_with_allow_leak(
    photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    told = command(leaking(photos), "--out", out)[1]
    assert "2 of the 8 test pictures have copies in training" in told
    assert not out.exists()
    code, told = command(photos, "--out", out, "--allow-leak")
    assert code == 0, told
    assert told.startswith("This run leaks: 2 test pictures have copies in training.")


def test_a_run_is_not_gone_on_with_under_another_rule(photos: Path, tmp_path: Path) -> None:
    train(photos, recipe("split.allow_leak=true"), tmp_path / "run")
    with pytest.raises(HandlensError, match="allow_leak"):
        train(photos, recipe(), tmp_path / "run")


def test_allowing_is_yes_or_no() -> None:
    with pytest.raises(HandlensError, match=r"split\.allow_leak"):
        recipe("split.allow_leak=perhaps")
