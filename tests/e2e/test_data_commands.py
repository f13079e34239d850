"""The commands between a lab's pictures and training: converting and expanding them."""

import json
from pathlib import Path

import polars as pl
from drawn import Command
from PIL import Image

from handlens.data.samples import Samples


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_expanded_pictures_and_their_manifest(handlens: Command, pictures: Path, tmp_path: Path) -> None:
    before = files_below(pictures)
    words = ("expand", pictures, "--recipe", "graphite", "--factor", "3", "--seed", "4", "--ratios", "6:2:2")
    done = handlens(*words, "--out", tmp_path / "one", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    table = Samples.read(tmp_path / "one").table
    taken, made = table.filter(pl.col("made_by").is_null()), table.filter(pl.col("made_by") == "expand")
    assert told["made"] == len(made) and told["pictures"] == len(table)
    assert len(taken) == len(before)
    assert set(made["split"]) == {"train"}
    assert len(made) == 2 * len(taken.filter(pl.col("split") == "train"))
    # Whatever is done to them, all are whole pictures, and the originals are as they were.
    for path in made["path"].to_list():
        with Image.open(path) as picture:
            picture.load()
    assert files_below(pictures) == before

    again = handlens(*words, "--out", tmp_path / "two")
    assert again.returncode == 0, again.stderr
    assert f"Made {len(made)} pictures; the manifest names the {len(taken)} originals" in again.stdout
    one, two = (
        {name: content for name, content in files_below(tmp_path / name_).items() if name.endswith(".png")}
        for name_ in ("one", "two")
    )
    assert one == two and len(one) == len(made)

    other = handlens(*words, "--balance", "--out", tmp_path / "one")
    assert other.returncode == 2
    assert "made by another command (different: its settings)" in other.stderr


def test_wrong_words_for_expanding(handlens: Command, pictures: Path, tmp_path: Path) -> None:
    wrong = {
        ("--recipe", "mineral"): "Did you mean",
        ("--factor", "much"): "write a number, or a class and a number",
        ("--factor", "nobody=3"): "nobody",
        ("--ratios", "8"): "ratios",
    }
    for words, sentence in wrong.items():
        done = handlens("expand", pictures, *words, "--out", tmp_path / "out")
        assert done.returncode == 2, words
        assert sentence in done.stderr, (words, done.stderr)
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "out" / "samples.csv").exists()
    inside = handlens("expand", pictures, "--out", pictures / "more")
    assert inside.returncode == 2
    assert not (pictures / "more").exists()


def test_a_collection_as_class_folders_and_as_a_table(
    handlens: Command, pictures: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "split.csv"
    assert handlens("split", pictures, "--out", manifest).returncode == 0
    done = handlens("convert", manifest, "--to", "folder", "--link", "--out", tmp_path / "folder")
    assert done.returncode == 0, done.stderr
    table = Samples.read(manifest).table
    for path, label, side in table.select("path", "label", "split").iter_rows():
        link = tmp_path / "folder" / side / label / Path(path).name
        assert link.resolve() == Path(path).resolve()

    done = handlens("convert", tmp_path / "folder", "--to", "table", "--out", tmp_path / "t.csv", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pictures"] == len(table)
    plain = pl.read_csv(tmp_path / "t.csv")
    assert sorted(plain["label"]) == sorted(table["label"])
    assert plain["split"].value_counts(sort=True).equals(table["split"].value_counts(sort=True))

    refused = handlens("convert", pictures, "--to", "table", "--out", tmp_path / "t.csv")
    assert refused.returncode == 2
    assert "nothing is written over it" in refused.stderr


def test_a_form_by_its_name_and_one_that_it_is_not(handlens: Command, pictures: Path, tmp_path: Path) -> None:
    done = handlens("split", pictures, "--format", "folder", "--out", tmp_path / "a.csv")
    assert done.returncode == 0, done.stderr
    for form, sentence in {"mvtec": "mvtec", "folders": "Did you mean"}.items():
        done = handlens("split", pictures, "--format", form, "--out", tmp_path / "b.csv")
        assert done.returncode == 2
        assert sentence in done.stderr.replace("MVTec", "mvtec"), done.stderr
