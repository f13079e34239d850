"""Expansion: the training side and nothing else, so many of each class, and the same bytes every time."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from handlens.base.errors import HandlensError
from handlens.base.spec import read_yaml
from handlens.data.check import DataSpec, check
from handlens.data.derived import PAPER_PROTOCOL
from handlens.data.expand import expand
from handlens.data.expand_plan import ExpandSpec, expand_recipes
from handlens.data.groups import GroupSpec
from handlens.data.operations import OPERATIONS, chance_of
from handlens.data.samples import Samples
from handlens.data.split import SplitSpec, split

FIXED = "[flip_vertical, flip_horizontal, rotate90]"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HANDLENS_CACHE", str(tmp_path / "cache"))


def draw_photos(root, counts, specimens=4, size=(30, 20)):
    """Class folders with folders of specimens, JPEG and PNG in turn, every picture its own."""
    for label, count in counts.items():
        for number in range(count):
            ending = ("jpg", "png", "JPEG")[number % 3]
            path = root / label / f"part {number % specimens}" / f"IMG {number:03}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            rng = np.random.default_rng([number, *label.encode()])
            pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)
    return root


@pytest.fixture
def photos(tmp_path):
    return draw_photos(tmp_path / "photos", {"石墨 ore": 16, "rock": 32, "ash": 20})


def spec_of(operations="[affine, crop]", **settings):
    return ExpandSpec.parse({"operations": read_yaml(operations, "test"), **settings}, "The test")


def expanded(data, out, spec=None, **how):
    return expand(Samples.read(data), data, out, spec or spec_of(), **how)


def hashes(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def taken(samples):
    return samples.table.filter(pl.col("made_by").is_null())


def made(samples):
    return samples.table.filter(pl.col("made_by") == "expand")


def per_class(table, side=None):
    return Counter(table.filter(pl.col("split") == side)["label"] if side else table["label"])


# what is made, and of what


def test_the_training_side_is_expanded_and_nothing_else(photos, tmp_path):
    spec = GroupSpec(level=1)
    done = expanded(photos, tmp_path / "out", spec_of(factor=3), group=spec)
    checked = check(Samples.read(photos), DataSpec(group=spec)).samples
    alone, _ = split(checked, SplitSpec())
    # The originals are told as a split without any expansion tells them.
    same = ["id", "path", "label", "group", "split"]
    assert taken(done.samples).select(same).equals(alone.table.select(same))
    assert set(made(done.samples)["split"]) == {"train"}
    train = alone.table.filter(pl.col("split") == "train")
    assert set(made(done.samples)["parent"]) == set(train["id"])
    assert Counter(made(done.samples)["parent"]) == dict.fromkeys(train["id"], 2)
    assert done.num_made == 2 * train.height


def test_what_is_made_has_the_label_and_the_group_of_its_parent(photos, tmp_path):
    done = expanded(photos, tmp_path / "out", group=GroupSpec(level=1))
    parents = {row["id"]: row for row in taken(done.samples).to_dicts()}
    for row in made(done.samples).to_dicts():
        parent = parents[row["parent"]]
        assert (row["label"], row["group"]) == (parent["label"], parent["group"])
        assert Path(row["path"]).is_file()
        assert Path(row["path"]).parent.name == Path(parent["path"]).parent.name


def test_originals_are_left_as_they_are_and_where_they_are(photos, tmp_path):
    before = hashes(photos)
    done = expanded(photos, tmp_path / "out")
    assert hashes(photos) == before
    assert {Path(path) for path in taken(done.samples)["path"]} == {photos / name for name in before}
    in_out = {path for path in hashes(tmp_path / "out") if not path.endswith((".csv", ".json"))}
    assert in_out == {
        Path(path).relative_to(tmp_path / "out").as_posix() for path in made(done.samples)["path"]
    }


def test_the_manifest_alone_tells_how_to_make_each_picture_again(photos, tmp_path):
    spec = spec_of(f"[{', '.join(OPERATIONS)}]", factor=9, seed=3, format="png")
    done = expanded(photos, tmp_path / "out", spec)
    paths = dict(taken(done.samples).select("id", "path").iter_rows())
    for row in made(done.samples).sample(40, seed=1).to_dicts():
        operation = OPERATIONS[row["operation"]]()
        generator = chance_of(row["operation"], row["parent_digest"], row["number"], row["seed"])
        operation.draw(generator)
        original = Image.open(paths[row["parent"]]).convert("RGB")
        again = operation.apply(original, json.loads(row["parameters"]), generator)
        assert np.array_equal(np.asarray(again), np.asarray(Image.open(row["path"])))
    assert set(made(done.samples)["operation"]) == set(OPERATIONS)


def test_a_manifest_reads_back_and_trains_by_the_same_sides(photos, tmp_path):
    done = expanded(photos, tmp_path / "out")
    read = Samples.read(tmp_path / "out")
    assert read == done.samples
    again, report = split(check(read, DataSpec()).samples, SplitSpec())
    assert report.given
    assert again.table["split"].to_list() == read.table["split"].to_list()
    assert report.n_derived == done.num_made


def test_a_manifest_may_be_split_anew_and_what_would_leak_is_left_out(photos, tmp_path):
    done = expanded(photos, tmp_path / "out", group=GroupSpec(level=1))
    checked = check(Samples.read(tmp_path / "out"), DataSpec(group=GroupSpec(level=1)))
    again, report = split(checked.samples, SplitSpec(seed=9, keep_given=False))
    held_out = set(again.table.filter(pl.col("split") == "test")["group"])
    assert set(made(again)["split"]) == {"train"}
    assert not set(made(again)["group"]) & held_out
    assert report.n_derived + report.n_derived_left_out == done.num_made
    assert report.n_derived_left_out > 0


def test_groups_told_anew_take_the_expansions_along(photos, tmp_path):
    expanded(photos, tmp_path / "out")
    grouped = check(Samples.read(tmp_path / "out"), DataSpec(group=GroupSpec(pattern=r"part (\d)"))).samples
    group_of = dict(taken(grouped).select("id", "group").iter_rows())
    assert [group_of[parent] for parent in made(grouped)["parent"]] == made(grouped)["group"].to_list()
    assert set(group_of.values()) == set("0123")


def test_a_given_split_is_kept(tmp_path, photos):
    names = sorted(photos.rglob("*.*"))
    rows = [
        f"{path.relative_to(photos)},{path.parts[-3]},{('train', 'val', 'test', 'train', 'train')[n % 5]}"
        for n, path in enumerate(names)
    ]
    table = tmp_path / "photos" / "table.csv"
    table.write_text("path,label,split\n" + "\n".join(rows))
    done = expanded(table, tmp_path / "out", division=SplitSpec(ratios=(1, 1)))
    assert taken(done.samples)["split"].to_list() == [row.rpartition(",")[2] for row in rows]
    assert set(made(done.samples)["split"]) == {"train"}


def test_other_columns_are_inherited_and_ours_have_room(tmp_path, photos):
    names = sorted(photos.rglob("*.*"))
    rows = [f"{path.relative_to(photos)},{path.parts[-3]},{n % 7},s{n % 2}" for n, path in enumerate(names)]
    table = tmp_path / "photos" / "table.csv"
    table.write_text("path,label,wear,seed\n" + "\n".join(rows))
    done = expanded(table, tmp_path / "out")
    parents = {row["id"]: row for row in taken(done.samples).to_dicts()}
    for row in made(done.samples).to_dicts():
        assert row["wear"] == parents[row["parent"]]["wear"]
        assert row["table_seed"] == parents[row["parent"]]["table_seed"]
        assert row["seed"] == 0
    assert any("'seed'" in note and "'table_seed'" in note for note in done.samples.notes)


def test_expansions_can_be_expanded_and_stay_in_their_groups(photos, tmp_path):
    expanded(photos, tmp_path / "first", group=GroupSpec(level=1))
    done = expanded(tmp_path / "first", tmp_path / "second")
    assert done.num_made == 2 * taken(done.samples).filter(pl.col("split") == "train").height
    again = check(Samples.read(tmp_path / "second"), DataSpec(group=GroupSpec(pattern=r"part (\d)"))).samples
    part = again.table["id"].str.extract(r"part (\d)")
    assert again.table["group"].equals(part.alias("group"))


def test_unreadable_pictures_are_left_out_and_told(tmp_path):
    photos = draw_photos(tmp_path / "photos", {"a": 120, "b": 120})
    (photos / "a" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    done = expanded(photos, tmp_path / "out")
    assert [name for name, _ in done.bad] == ["a/broken.jpg"]
    assert "a/broken.jpg" not in done.samples.table["id"]


# how many


@pytest.mark.parametrize(("factor", "times"), [(1.5, 1.5), (2, 2), (4, 4), (4.25, 4.25)])
def test_a_factor_is_that_of_every_class(photos, tmp_path, factor, times):
    done = expanded(photos, tmp_path / "out", spec_of(factor=factor))
    before = per_class(taken(done.samples), "train")
    after = per_class(done.samples.table, "train")
    assert {label: round(n * times) for label, n in before.items()} == after
    # No picture gives two more than another of its class.
    for label in before:
        rows = made(done.samples).filter(pl.col("label") == label)
        given = Counter(rows["parent"])
        all_given = [
            given[parent]
            for parent in taken(done.samples).filter(
                (pl.col("label") == label) & (pl.col("split") == "train")
            )["id"]
        ]
        assert max(all_given) - min(all_given) <= 1


def test_a_class_may_have_its_own_factor(photos, tmp_path):
    spec = spec_of(factor=1).changed(["石墨 ore=5", "ash=2"])
    done = expanded(photos, tmp_path / "out", spec)
    before, after = per_class(taken(done.samples), "train"), per_class(done.samples.table, "train")
    assert after == {"石墨 ore": 5 * before["石墨 ore"], "ash": 2 * before["ash"], "rock": before["rock"]}


def test_balance_brings_classes_level(photos, tmp_path):
    done = expanded(photos, tmp_path / "out", spec_of(factor=1).changed(balance=True))
    before, after = per_class(taken(done.samples), "train"), per_class(done.samples.table, "train")
    assert set(after.values()) == {before["rock"]}
    done = expanded(photos, tmp_path / "twice", spec_of(factor=2.5, balance=True))
    assert set(per_class(done.samples.table, "train").values()) == {round(2.5 * before["rock"])}


def test_balance_stops_at_the_largest_factor(photos, tmp_path):
    (photos / "rare" / "part 0").mkdir(parents=True)
    draw_photos(photos, {"rare": 3}, specimens=3)
    spec = spec_of(factor=2, balance=True, most=4)
    done = expanded(photos, tmp_path / "out", spec)
    before, after = per_class(taken(done.samples), "train"), per_class(done.samples.table, "train")
    assert after["rare"] == 4 * before["rare"] < after["rock"] == 2 * before["rock"]
    # Asked for by the option, it goes all the way, and says what to think of that.
    done = expanded(photos, tmp_path / "level", spec.changed(balance=True))
    assert len(set(per_class(done.samples.table, "train").values())) == 1
    assert any("rare was expanded" in sentence for sentence in done.sentences)


def test_every_operation_is_used_once_before_any_is_used_again(photos, tmp_path):
    done = expanded(photos, tmp_path / "out", ExpandSpec.load("graphite"))
    rows = made(done.samples)
    graphite = {"flip_vertical", "flip_horizontal", "rotate90", "affine"}
    of_parent = rows.group_by("parent").agg("operation", "number")
    assert {frozenset(names) for names in of_parent["operation"]} == {frozenset(graphite)}
    assert all(sorted(numbers) == [1, 2, 3, 4] for numbers in of_parent["number"])
    # Beyond that only those that draw something else each time.
    more = expanded(photos, tmp_path / "more", ExpandSpec.load("graphite").changed(["8"]))
    for names in made(more.samples).group_by("parent").agg("operation")["operation"]:
        assert Counter(names) == {**dict.fromkeys(graphite, 1), "affine": 4}


def test_few_expansions_are_not_all_of_the_first_operation(photos, tmp_path):
    done = expanded(photos, tmp_path / "out", spec_of(FIXED, factor=2))
    assert set(made(done.samples)["operation"]) == {"flip_vertical", "flip_horizontal", "rotate90"}


def test_no_two_pictures_made_of_one_are_the_same(photos, tmp_path):
    done = expanded(photos, tmp_path / "out", ExpandSpec.load("minerals").changed(["9"]))
    contents = [Path(path).read_bytes() for path in made(done.samples)["path"]]
    assert len(set(contents)) == len(contents) == done.num_made


def test_operations_that_draw_nothing_have_an_end(photos, tmp_path):
    assert expanded(photos, tmp_path / "out", spec_of(FIXED, factor=4)).num_made > 0
    with pytest.raises(HandlensError, match=r"needs 4 new pictures of one.*always make the same 3.*affine"):
        expanded(photos, tmp_path / "out 2", spec_of(FIXED, factor=5))
    assert not (tmp_path / "out 2").exists()


def test_a_factor_of_one_makes_nothing_and_says_so(photos, tmp_path):
    with pytest.raises(HandlensError, match="makes nothing"):
        expanded(photos, tmp_path / "out", spec_of(factor=1))


def test_the_mirrored_border_of_the_minerals_is_never_black(tmp_path):
    for label in ("a", "b"):
        for number in range(6):
            path = tmp_path / "photos" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 30), (255, 255, 255 - number)).save(path)
    spec = spec_of("[rotate, affine, {operation: rotate, border: crop}]", factor=7)
    for path in made(expanded(tmp_path / "photos", tmp_path / "out", spec).samples)["path"]:
        assert np.asarray(Image.open(path)).min() >= 249


# files


def test_formats(photos, tmp_path):
    like = made(expanded(photos, tmp_path / "like").samples)
    for parent, path in like.select("parent", "path").iter_rows():
        assert Image.open(path).format == ("PNG" if parent.endswith("png") else "JPEG")
    for format_, told in (("jpg", "JPEG"), ("png", "PNG")):
        done = expanded(photos, tmp_path / format_, spec_of(format=format_))
        assert {Image.open(path).format for path in made(done.samples)["path"]} == {told}


def test_upright_as_the_original_is_seen(tmp_path):
    draw_photos(tmp_path / "photos", {"a": 4, "b": 4})
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:, :10] = 255
    for label in ("a", "b"):
        for number in range(4):
            name = tmp_path / "photos" / label / f"turned {number}.png"
            shade = np.where(pixels, 255 - number, number).astype(np.uint8)
            Image.fromarray(shade).save(name, exif=exif)
    done = expanded(tmp_path / "photos", tmp_path / "out", spec_of("[flip_horizontal]"))
    for parent, path in made(done.samples).select("parent", "path").iter_rows():
        if "turned" in parent:
            with Image.open(path) as picture:
                assert picture.size == (20, 30)
                assert 0x0112 not in picture.getexif()
                assert np.asarray(picture)[:9].mean() > 200 > 50 > np.asarray(picture)[11:].mean()


def test_names_that_would_be_one_file_stay_two(tmp_path):
    for label in ("a", "A", "con", "x:y*"):
        for name in ("1.png", "1.jpg", "é 1.png", "e\u0301 1.png", "1"):
            path = tmp_path / "flat" / f"{label.replace(':', '_').replace('*', '_')}-{name}"
            path.parent.mkdir(exist_ok=True)
            seed = [*label.encode(), *name.encode()]
            pixels = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path, "PNG")
    rows = []
    for label in ("a", "A", "con", "x:y*"):
        prefix = label.replace(":", "_").replace("*", "_")
        rows += [f"{prefix}-{name},{label}" for name in ("1.png", "1.jpg", "é 1.png", "e\u0301 1.png", "1")]
    table = tmp_path / "flat" / "table.csv"
    table.write_text("path,label\n" + "\n".join(rows), encoding="utf-8")
    done = expanded(table, tmp_path / "out", spec_of(FIXED, factor=3))
    names = [Path(path).relative_to(tmp_path / "out").as_posix() for path in made(done.samples)["path"]]
    assert len({name.casefold() for name in names}) == len(names) == done.num_made
    assert not any(set(':*"<>|?') & set(name) for name in names)
    assert all(Path(path).is_file() for path in made(done.samples)["path"])


# again, and after a stop


def test_given_again_it_ends_with_the_same_bytes_here_and_elsewhere(photos, tmp_path):
    spec = ExpandSpec.load("minerals")
    expanded(photos, tmp_path / "out", spec)
    before = hashes(tmp_path / "out")
    expanded(photos, tmp_path / "out", spec)
    assert hashes(tmp_path / "out") == before
    expanded(photos, tmp_path / "out 2", spec)
    assert hashes(tmp_path / "out 2") == before


def test_another_seed_makes_other_pictures_of_the_same_originals(photos, tmp_path):
    one = expanded(photos, tmp_path / "one", spec_of(format="png"))
    other = expanded(photos, tmp_path / "other", spec_of(format="png", seed=1))
    assert taken(one.samples).equals(taken(other.samples))
    assert set(hashes(tmp_path / "one").values()).isdisjoint(hashes(tmp_path / "other").values())


def test_what_is_made_of_a_picture_does_not_depend_on_the_others(photos, tmp_path):
    one = expanded(photos, tmp_path / "one", spec_of(factor=3))
    train = set(made(one.samples)["parent"])
    gone = sorted(photos / name for name in train)[0]
    rows = [row for row in taken(one.samples).to_dicts() if row["path"] != str(gone)]
    table = pl.DataFrame(rows).select(path=pl.col("path"), label="label", split="split")
    table.write_csv(tmp_path / "table.csv")
    other = expanded(tmp_path / "table.csv", tmp_path / "other", spec_of(factor=3))
    of = lambda done: {  # noqa: E731
        (row["parent_digest"], row["number"]): Path(row["path"]).read_bytes()
        for row in made(done.samples).to_dicts()
    }
    first, second = of(one), of(other)
    assert len(second) == len(first) - 2
    assert all(first[key] == content for key, content in second.items())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"spec": spec_of(factor=3)}, "different: its settings"),
        ({"paper_protocol": True}, "different: its settings, what is read"),
        ({"division": SplitSpec(seed=1)}, "different: what is read"),
        ({"group": GroupSpec(level=1)}, "different: what is read"),
    ],
)
def test_another_command_is_refused_in_the_same_folder(photos, tmp_path, change, told):
    expanded(photos, tmp_path / "out")
    before = hashes(tmp_path / "out")
    with pytest.raises(HandlensError) as caught:
        expanded(photos, tmp_path / "out", **change)
    assert told in str(caught.value)
    assert hashes(tmp_path / "out") == before


def test_other_pictures_are_refused_in_the_same_folder(photos, tmp_path):
    expanded(photos, tmp_path / "out")
    changed = next(photos.rglob("*.png"))
    Image.new("RGB", (9, 9), "red").save(changed)
    with pytest.raises(HandlensError, match="different: what is read"):
        expanded(photos, tmp_path / "out")


KILLED = """
import sys
from handlens.data.expand import expand
from handlens.data.expand_plan import ExpandSpec
from handlens.data.samples import Samples
data, out = sys.argv[1:]
expand(Samples.read(data), data, __import__("pathlib").Path(out), ExpandSpec.load("minerals"))
"""


def test_killed_and_given_again_it_ends_with_the_same_bytes(tmp_path):
    photos = draw_photos(tmp_path / "photos", {"a": 24, "b": 30}, size=(300, 200))
    expanded(photos, tmp_path / "whole", ExpandSpec.load("minerals"))
    out = tmp_path / "killed"
    command = [sys.executable, "-c", KILLED, str(photos), str(out)]
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 60
    while process.poll() is None and len(list(out.rglob("*.*g"))) < 20 and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (out / "samples.csv").exists()
    with pytest.raises(HandlensError, match="not finished"):
        Samples.read(out)
    expanded(photos, out, ExpandSpec.load("minerals"))
    assert hashes(out) == hashes(tmp_path / "whole")


# where


@pytest.mark.parametrize("out", ["photos", "photos/more", "photos/rock/more"])
def test_nothing_is_written_among_what_is_read(photos, tmp_path, out):
    before = hashes(photos)
    with pytest.raises(HandlensError, match="--out"):
        expanded(photos, tmp_path / out)
    assert hashes(photos) == before


def test_nor_among_the_class_folders_that_a_manifest_names(photos, tmp_path):
    done, _ = split(Samples.read(photos), SplitSpec())
    done.save(tmp_path / "split.csv")
    with pytest.raises(HandlensError, match="would be read as one more class"):
        expanded(tmp_path / "split.csv", photos / "more")
    expanded(tmp_path / "split.csv", tmp_path / "more")


# the papers' protocol


def test_the_papers_protocol_expands_everything_before_any_split_and_is_marked(photos, tmp_path):
    done = expanded(
        photos, tmp_path / "out", spec_of(factor=3), group=GroupSpec(level=1), paper_protocol=True
    )
    read = Samples.read(tmp_path / "out")
    assert read == done.samples
    assert read.marks == (PAPER_PROTOCOL,)
    assert not read.is_split
    assert per_class(read.table) == {"石墨 ore": 48, "rock": 96, "ash": 60}
    assert read.table["group"].n_unique() == len(read)
    # What they really came from is kept beside.
    assert set(read.table["came_from"]) == {
        f"{label}/part {n}" for label in ("石墨 ore", "rock", "ash") for n in range(4)
    }
    again, report = split(check(read, DataSpec()).samples, SplitSpec())
    assert again.marks == (PAPER_PROTOCOL,)
    assert report.n_derived_left_out == 0
    assert len(again) == 204
    side_of = dict(again.table.select("id", "split").iter_rows())
    apart = [side_of[row["parent"]] != row["split"] for row in made(again).to_dicts()]
    assert any(apart), "that it leaks is the point of it"


def test_the_papers_protocol_forgets_a_given_split(photos, tmp_path):
    done, _ = split(Samples.read(photos), SplitSpec())
    done.save(tmp_path / "split.csv")
    assert not expanded(tmp_path / "split.csv", tmp_path / "out", paper_protocol=True).samples.is_split


def test_a_mark_stays_whatever_is_done_with_the_manifest(photos, tmp_path):
    expanded(photos, tmp_path / "out", paper_protocol=True)
    divided, _ = split(check(Samples.read(tmp_path / "out"), DataSpec()).samples, SplitSpec())
    for name in ("m.csv", "m.parquet"):
        divided.save(tmp_path / name)
        assert Samples.read(tmp_path / name).marks == (PAPER_PROTOCOL,)
    assert Samples.read(tmp_path / "m.csv", label="label").marks == (PAPER_PROTOCOL,)
    assert expanded(tmp_path / "m.csv", tmp_path / "again").samples.marks == (PAPER_PROTOCOL,)


def test_without_the_option_nothing_is_marked(photos, tmp_path):
    assert expanded(photos, tmp_path / "out").samples.marks == ()


# recipes


def test_the_papers_recipes_are_there():
    assert expand_recipes() == ["graphite", "minerals"]
    graphite, minerals = map(ExpandSpec.load, expand_recipes())
    # 715 pictures became 3,575.
    assert 715 * graphite.factor == 3575
    assert [each.operation for each in graphite.operations if each.fixed] == [
        "flip_vertical",
        "rotate90",
        "flip_horizontal",
    ]
    assert (minerals.factor, minerals.most, minerals.balance) == (4, 8, True)
    assert [each.operation for each in minerals.operations] == ["crop", "rotate", "brightness", "noise"]
    assert graphite.description and minerals.description


def test_a_recipe_may_be_a_file(tmp_path, photos):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "operations: [{operation: rotate, degrees: [1, 2], border: crop}]\nfactor: 2\nseed: 1e1\n"
    )
    spec = ExpandSpec.load(path)
    assert spec.seed == 10
    done = expanded(photos, tmp_path / "out", spec)
    assert all(1 <= abs(json.loads(text)["degrees"]) <= 2 for text in made(done.samples)["parameters"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("operations: []", "operations"),
        ("factor: 2", "operations: this key is missing"),
        ("operations: [crop]\nfactor: 0.5", "factor"),
        ("operations: [crop]\nfactors: {rock: 0.5}", "factors count the originals too"),
        ("operations: [crop]\nmost: 3", "most limits balance"),
        ("operations: [flip_vertical, flip_vertical]", "always makes the same of a picture"),
        ("operations: [crop]\nfactr: 2", "factr: there is no such key. Did you mean 'factor'"),
        ("- crop", "is not a recipe"),
        ("operations: [crop", "not valid YAML"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_told(tmp_path, text, told):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(HandlensError) as caught:
        ExpandSpec.load(tmp_path / "r.yaml")
    assert told in str(caught.value)


def test_a_recipe_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(HandlensError, match="Did you mean 'graphite'"):
        ExpandSpec.load("grafite")


@pytest.mark.parametrize("text", ["many", "rock=", "=3x", "rock=many"])
def test_a_factor_that_is_none_is_told(text):
    with pytest.raises(HandlensError, match="pyrite=8"):
        spec_of().changed([text])


def test_a_factor_for_a_class_that_is_not_there_is_told(photos, tmp_path):
    with pytest.raises(HandlensError, match=r"no such class in training\. Did you mean 'rock'"):
        expanded(photos, tmp_path / "out", spec_of().changed(["rok=3"]))


def test_changes_of_the_command_line():
    spec = ExpandSpec.load("minerals").changed(["5", "a=b=6", "rock=7"], seed=4, format="png")
    assert (spec.factor, spec.factors, spec.seed, spec.format) == (5, {"a=b": 6, "rock": 7}, 4, "png")
    assert (spec.balance, spec.most) == (True, 8)
    assert ExpandSpec.load("minerals").changed() == ExpandSpec.load("minerals")
