"""The story of an audit: what is planted is found, what is mended is gone, nothing is written elsewhere."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from PIL import Image, ImageOps
from soft_noise import noise

from handlens.audit import trials
from handlens.audit.actions import proposed, read_actions
from handlens.audit.audit import Audited, audit_folder, changed_table, run_audit
from handlens.audit.given_split import with_split_of
from handlens.audit.mend import audit_or_mend, mend
from handlens.audit.spec import AuditSpec, backbone_settings
from handlens.base.errors import HandlensError
from handlens.data.samples import Samples

Draw = Callable[..., Samples]
QUICK = AuditSpec(quick=True)
UNTOLD = "note: Nothing was told about what the pictures came from"


@pytest.fixture(autouse=True)
def a_small_forest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few trees: what is planted here is plain."""
    monkeypatch.setattr(trials, "TREES", 2)


@pytest.fixture
def without_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortcuts take the most time, and nothing depends on them here."""
    monkeypatch.setattr(trials, "measure", lambda *_: [])


def titles(audited: Audited) -> list[str]:
    return [f"{found.severity}: {found.title}" for found in audited.findings]


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("seed", range(3))
def test_in_a_clean_set_drawn_by_chance_nothing_is_found(draw: Draw, tmp_path: Path, seed: int) -> None:
    samples = draw(num=36, seed=seed)
    sides = ["test" if number % 2 == seed % 2 else "train" for number in range(len(samples))]
    table = samples.table.with_columns(split=pl.Series(sides))
    audited = run_audit(samples.with_table(table), QUICK, tmp_path / "audit")
    assert titles(audited) == [UNTOLD]
    assert audited.headline() == "Nothing stands out"
    assert not audited.must


def framed(picture: Image.Image, label: str, number: int) -> Image.Image:
    """A black border in one class."""
    if label == "waste":
        return picture
    return ImageOps.expand(picture.crop((3, 3, picture.width - 3, picture.height - 3)), 3, "black")


@dataclass(frozen=True)
class Trouble:
    """A set with trouble planted in it."""

    samples: Samples
    bad: str = "ore/坏 <b>.png"
    plain: str = "waste/plain.png"
    first: str = "waste/first.png"
    again: str = "waste/z again.png"
    smaller: str = "waste/smaller.jpg"


@pytest.fixture
def trouble(draw: Draw) -> Trouble:
    root = draw(num=24, change=framed).root
    made = Trouble(Samples.from_folder(root))
    (root / made.bad).write_bytes(b"no picture")
    Image.new("L", (72, 64), 200).save(root / made.plain)
    large = noise(777, 144, 128)
    large.save(root / made.first)
    shutil.copy(root / made.first, root / made.again)
    large.resize((108, 96)).save(root / made.smaller, quality=92)
    return Trouble(Samples.from_folder(root))


def test_planted_trouble_is_found_and_told_everywhere(trouble: Trouble, tmp_path: Path) -> None:
    audited = run_audit(trouble.samples, QUICK, tmp_path / "新 audit", "handlens audit data")
    found = titles(audited)
    assert "must: 1 file cannot be read" in found
    assert "must: 1 picture of a single colour" in found
    assert "must: The class can be told from the border alone" in found
    assert "should: 3 pictures are copies of each other, but not in one group" in found
    assert found == sorted(found, key=lambda title: ("must", "should", "note").index(title.split(":")[0]))
    assert audited.must
    assert audited.headline().startswith("3 things to mend before any figure is believed, ")
    assert set(written(audited.folder)) == {"audit.html", "audit.json", "actions.csv"}

    wanted = {(action.id, action.action) for action in read_actions(audited.actions)}
    assert {(trouble.bad, "drop"), (trouble.plain, "drop")} <= wanted
    assert {name for name, action in wanted if action == "group together"} == {
        *(trouble.first, trouble.again, trouble.smaller)
    }
    assert read_actions(audited.actions) == proposed(audited.findings)

    record = json.loads((audited.folder / "audit.json").read_text(encoding="utf-8"))
    assert record["must_be_mended"] is True
    assert record["quick"] is True
    assert record["pictures"] == len(trouble.samples) - 1
    assert [each["title"] for each in record["findings"]] == [each.title for each in audited.findings]
    frame = next(each for each in record["shortcuts"] if each["clues"] == "frame")
    assert frame["balanced_accuracy"]["low"] > 0.7
    assert frame["most_telling"] == "plain frame"
    assert [each["label"] for each in record["classes"]] == ["ore", "waste"]

    lines = audited.lines()
    assert "Mend  Files: 1 file cannot be read" in lines
    assert any("A training leaves them out" in line for line in lines)


def test_an_audit_again_gives_the_same_bytes_and_touches_no_picture(trouble: Trouble, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in trouble.samples.root.rglob("*") if path.is_file()}
    first = run_audit(trouble.samples, QUICK, tmp_path / "a")
    pages = written(first.folder)
    (first.folder / "audit.json").unlink()  # as if it had been stopped while it wrote
    (first.folder / ".DS_Store").write_bytes(b"")
    assert written(run_audit(trouble.samples, QUICK, tmp_path / "a").folder) == pages | {".DS_Store": b""}
    assert before == {path: path.read_bytes() for path in before}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "cache", "data"]


@pytest.mark.usefixtures("without_trials")
def test_what_is_mended_is_not_found_again(trouble: Trouble, tmp_path: Path) -> None:
    audited = run_audit(trouble.samples, QUICK, tmp_path / "a")
    applied = mend(trouble.samples, QUICK, proposed(audited.findings), tmp_path / "mended.csv")
    assert (applied.dropped, applied.unreadable, applied.relabelled, applied.torn) == (1, 1, 0, 0)
    samples = Samples.read(tmp_path / "mended.csv")
    ids = set(trouble.samples.table["id"])
    assert set(samples.table["id"]) == ids - {trouble.bad, trouble.plain}
    groups = dict(samples.table.select("id", "group").iter_rows())
    assert len({groups[name] for name in (trouble.first, trouble.again, trouble.smaller)}) == 1
    again = run_audit(samples, QUICK, tmp_path / "b")
    assert [title for title in titles(again) if "Files" in title or "file" in title] == []
    assert not [row for found in again.findings for row in found.rows if row.action]
    assert "note: 2 pictures are there again, in the same group" in titles(again)


@pytest.mark.usefixtures("without_trials")
def test_a_split_that_leaks_has_to_be_mended(trouble: Trouble, tmp_path: Path) -> None:
    table = trouble.samples.table
    names = table["id"].to_list()
    sides = {trouble.first: "train", trouble.again: "test", trouble.smaller: "test"}
    given = [sides.get(name, "test" if at % 4 == 0 else "train") for at, name in enumerate(names)]
    split = trouble.samples.with_table(table.with_columns(split=pl.Series(given)))
    audited = run_audit(split, QUICK, tmp_path / "a")
    num_test = sum(side == "test" for name, side in zip(names, given, strict=True) if name != trouble.bad)
    assert f"must: The split leaks: 2 of {num_test} test pictures have copies in training" in titles(audited)
    mend(split, QUICK, proposed(audited.findings), tmp_path / "mended.csv")
    again = run_audit(Samples.read(tmp_path / "mended.csv"), QUICK, tmp_path / "b")
    assert not [found for found in again.findings if found.check == "leak"]


@pytest.mark.usefixtures("without_trials")
def test_marked_samples_have_to_be_mended(draw: Draw, tmp_path: Path) -> None:
    samples = draw(num=8)
    shutil.copy(samples.table["path"][0], samples.root / "ore" / "again.png")
    drawn = Samples.from_folder(samples.root)
    marked = Samples(drawn.table, drawn.root, drawn.notes, marks=("leaking: paper-protocol",))
    audited = run_audit(marked, QUICK, tmp_path / "a")
    assert "must: The manifest itself says “leaking: paper-protocol”" in titles(audited)


# with a network


@pytest.mark.usefixtures("without_trials")
def test_wrong_labels_are_found_by_the_network_in_the_package(draw: Draw, tmp_path: Path) -> None:
    def striped(picture: Image.Image, label: str, number: int) -> Image.Image:
        if (label == "waste") == (number in (14, 15)):
            return picture
        return picture.resize((8, 64)).resize((72, 64))

    samples = draw(num=16, change=striped)
    wrong = {name for name in samples.table["id"] if name.split("/")[1][:5] in _names((14, 15))}
    audited = run_audit(samples, AuditSpec(), tmp_path / "a")
    (labels,) = [found for found in audited.findings if found.check == "labels" and found.rows]
    assert wrong <= {row.id for row in labels.rows}
    assert {row.action for row in labels.rows} == {"relabel?"}
    record = json.loads((audited.folder / "audit.json").read_text(encoding="utf-8"))
    assert record["quick"] is False
    # No label is changed that nobody has confirmed.
    applied = mend(samples, AuditSpec(), proposed(audited.findings), tmp_path / "m.csv")
    assert applied.relabelled == 0
    assert applied.unconfirmed == len(labels.rows)


def _names(numbers: tuple[int, ...]) -> set[str]:
    """What `draw` calls these pictures of both classes."""
    return {f"{(2 * number + at) * 7919 % 10007:05d}" for number in numbers for at in range(2)}


# what a person changes


@pytest.mark.usefixtures("without_trials")
def test_a_table_that_was_changed_is_followed_and_never_written_over(
    trouble: Trouble, tmp_path: Path
) -> None:
    folder = tmp_path / "a"
    audited = run_audit(trouble.samples, QUICK, folder)
    assert changed_table(folder) is None
    rows = list(csv.reader(audited.actions.read_text(encoding="utf-8-sig").splitlines()))
    # The plain picture stays after all, and a label is set that nobody had proposed.
    kept = [row for row in rows if row[0] != trouble.plain]
    with audited.actions.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file, delimiter=";").writerows([*kept, [trouble.first, "relabel", "ore"]])
    assert changed_table(folder) == audited.actions
    with pytest.raises(HandlensError, match="was changed since it was written"):
        run_audit(trouble.samples, QUICK, folder)

    done = audit_or_mend(trouble.samples, QUICK, folder, apply=tmp_path / "mended.parquet")
    assert done.audited is None
    assert not done.must
    assert done.lines()[0].startswith(f"As {audited.actions} says: 0 pictures left out, 1 with another label")
    mended = Samples.read(tmp_path / "mended.parquet")
    labels = dict(mended.table.select("id", "label").iter_rows())
    assert trouble.plain in labels
    assert labels[trouble.first] == "ore"
    assert done.as_json()["applied"]["relabelled"] == 1


def test_wrong_names_in_a_table_are_told_and_nothing_is_written(trouble: Trouble, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,action,to\nore/nobody.png,drop,\n", encoding="utf-8")
    with pytest.raises(HandlensError, match=r"are not there \(ore/nobody.png\)"):
        audit_or_mend(
            trouble.samples, QUICK, tmp_path / "a", apply=tmp_path / "m.csv", table=tmp_path / "t.csv"
        )
    assert not (tmp_path / "m.csv").exists()


def test_how_to_mend_needs_to_know_where(trouble: Trouble, tmp_path: Path) -> None:
    with pytest.raises(HandlensError, match="Say where with --apply"):
        audit_or_mend(trouble.samples, QUICK, tmp_path / "a", relabel=True)
    with pytest.raises(HandlensError, match="one of these endings"):
        audit_or_mend(trouble.samples, QUICK, tmp_path / "a", apply=tmp_path / "m.xlsx")
    assert not (tmp_path / "a").exists()


# where it goes


def test_nothing_is_written_among_other_files(draw: Draw, tmp_path: Path) -> None:
    samples = draw(num=4)
    with pytest.raises(HandlensError, match="holds other files"):
        run_audit(samples, QUICK, samples.root)
    (tmp_path / "file").write_text("")
    with pytest.raises(HandlensError, match="is a file"):
        run_audit(samples, QUICK, tmp_path / "file")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("photos", "photos"),
        ("/data/my photos/", "my photos"),
        ("lists/mended.csv", "mended"),
        ("run.2/photos.v1", "photos.v1"),
        ("s3://bucket/photos", "photos"),
        ("https://user:secret@host/photos.csv?token=secret", "photos"),
        ("/", "pictures"),
    ],
)
def test_the_folder_is_called_like_the_data(data: str, name: str) -> None:
    assert audit_folder(data) == Path("audits") / name


# a split from elsewhere


def test_the_split_of_a_manifest_is_laid_over_the_pictures(draw: Draw, tmp_path: Path) -> None:
    samples = draw(num=5)
    sides = pl.Series(["train", "test"] * 5)
    samples.with_table(samples.table.with_columns(split=sides)).save(tmp_path / "split.csv")
    link = tmp_path / "link"
    link.symlink_to(samples.root)
    linked = Samples.from_folder(link)
    given = with_split_of(linked, tmp_path / "split.csv")
    assert given.table["split"].to_list() == sides.to_list()
    assert given.table.drop("split").equals(linked.table.drop("split"))
    extra = samples.root / "ore" / "new.png"
    shutil.copy(samples.table["path"][0], extra)
    more = with_split_of(Samples.from_folder(samples.root), tmp_path / "split.csv")
    assert more.table["split"].null_count() == 1
    assert any("1 picture without a side there: ore/new.png" in note for note in more.notes)


def test_splits_of_other_pictures_are_told(draw: Draw, tmp_path: Path) -> None:
    samples, others = draw(num=3), draw(num=3, folder="others")
    others.save(tmp_path / "none.csv")
    with pytest.raises(HandlensError, match="has no sides"):
        with_split_of(samples, tmp_path / "none.csv")
    others.with_table(others.table.with_columns(split=pl.lit("test"))).save(tmp_path / "other.csv")
    with pytest.raises(HandlensError, match="None of the 6 pictures"):
        with_split_of(samples, tmp_path / "other.csv")


# what is asked for


def test_a_recipe_brings_its_network_its_view_and_its_labels(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "data: {label: kind}\nviews: {judge: {size: 96}}\nmodel: {backbone: torchvision/resnet18}\n"
    )
    spec = AuditSpec.load(str(recipe), ["files.most_blurred=0.7", "seed=3"])
    assert (spec.model.backbone, spec.model.weights) == ("torchvision/resnet18", "pretrained")
    assert (spec.data.label, spec.view.size) == ("kind", 96)
    assert (spec.files.most_blurred, spec.seed) == (0.7, 3)
    own = AuditSpec.load(settings=backbone_settings("torchvision/squeezenet1_1"))
    assert (own.model.backbone, own.model.weights) == ("torchvision/squeezenet1_1", "pretrained")
    assert AuditSpec.load(settings=backbone_settings("handlens/nano")) == AuditSpec.load() == AuditSpec()
    with pytest.raises(HandlensError, match="there is no such key"):
        AuditSpec.load(settings=["files.blur=1"])
