"""The whole story on a toy: pictures in a folder, a rare class, new pictures and a judgment."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from spotted import PLAIN, SPOTTED, draw_folder

from handlens.base.errors import HandlensError
from handlens.data.check import DataSpec, check
from handlens.data.operations import is_grey
from handlens.data.samples import Samples
from handlens.data.scan import scan
from handlens.data.sides import Sides
from handlens.data.split import SplitSpec, split
from handlens.recipe import Recipe
from handlens.synthesis.material import Material, Told
from handlens.synthesis.spec import SynthesisSpec
from handlens.synthesis.synthesize import synthesize
from handlens.training.choose import validation_folds

RECIPE = Recipe.parse(
    {
        "name": "toy",
        "views": {"judge": {"size": 32}},
        "model": {"backbone": "handlens/nano", "weights": "bundled"},
        "train": {"epochs": 3, "folds": 0, "precision": "float32"},
    },
    "The recipe",
)
TINY = {"size": 16, "width": 16, "steps": 4, "batch_size": 4, "sampler_steps": 3, "precision": "float32"}


def spec(**values) -> SynthesisSpec:
    return SynthesisSpec.parse({"diffusion": TINY, "repeats": 1, **values}, "The synthesis")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A manifest with a split of its own, and a column beside."""
    samples = draw_folder(tmp_path / "my pictures", num_spotted=6, num_plain=8)
    lots = pl.when(pl.col("label") == SPOTTED).then(pl.lit("lot 7")).otherwise(pl.lit("lot 8"))
    path = tmp_path / "samples.parquet"
    samples.with_table(samples.table.with_columns(lot=lots)).save(path)
    return path


def content(folder: Path) -> dict[str, bytes]:
    """All files that have to be the same again; the runs tell when they were begun."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "worth" not in path.relative_to(folder).parts
    }


def test_a_toy_from_pictures_to_verdict(table, tmp_path) -> None:
    pytest.importorskip("diffusers")
    originals = {path: path.read_bytes() for path in (tmp_path / "my pictures").rglob("*.png")}
    done = synthesize(table, tmp_path / "out", SPOTTED, 5, spec(), RECIPE)
    result = done.result
    assert list(result.ways) == ["diffusion", "blend", "augment"]
    assert (result.num_training, result.num_held_out, result.num_test) == (6, 4, 4)
    for way, found in result.ways.items():
        folder = tmp_path / "out" / found.folder
        made = sorted(folder.glob(f"{SPOTTED}/{way}-*.png"))
        assert len(made) == found.num_made == 5
        assert found.num_drafts == found.num_made + found.num_copies
        assert found.worth.trainings == 1
        assert found.worth.outcome in ("helps", "unclear", "harms")
        assert found.worth.difference.n == 8
        assert found.kid.low <= found.kid.value <= found.kid.high
        # Each folder is samples by itself: the originals where they are, the new ones in training.
        samples = Samples.read(folder)
        new = samples.table.filter(pl.col("made_by") == "synthesize")
        assert len(samples) == 22 + 5 and len(new) == 5
        assert set(new["split"]) == {"train"} and set(new["operation"]) == {way}
        assert set(new["lot"]) == {"lot 7"}
        parents = samples.table.filter(pl.col("made_by").is_null() & (pl.col("split") == "train"))
        own = parents.filter(pl.col("label") == SPOTTED)
        assert set(new["parent"]) <= set(own["id"]) and set(new["group"]) <= set(own["group"])
        assert all(json.loads(text) for text in new["parameters"])
        digest_of = {fact.path: fact.digest for fact in scan([Path(path) for path in parents["path"]])}
        path_of = dict(parents.select("id", "path").iter_rows())
        for parent, content in new.select("parent", "parent_digest").iter_rows():
            assert digest_of[Path(path_of[parent])] == content
    assert {path: path.read_bytes() for path in originals} == originals
    assert not list((tmp_path / "out").rglob("drafts"))
    assert Image.open(tmp_path / "out" / "grid.png").size == (5 * 132 - 4, 128)
    page = (tmp_path / "out" / "synthesis.html").read_text()
    assert result.verdict.partition("(")[0] in page
    assert page.count('class="pair"') >= 15 and "picture not found" not in page
    assert any(words in result.verdict for words in ("Helps clearly", "Does not help"))
    # Given again there is nothing to do; anything else is refused.
    assert synthesize(table, tmp_path / "out", SPOTTED, 5, spec(), RECIPE).result == result
    with pytest.raises(HandlensError, match="made by another command"):
        synthesize(table, tmp_path / "out", SPOTTED, 6, spec(), RECIPE)


def test_repeated_it_has_the_same_bytes_and_a_stop_changes_nothing(table, tmp_path, monkeypatch) -> None:
    from handlens.synthesis import make

    chosen = spec(way="blend", beside=["augment"], repeats=0)
    synthesize(table, tmp_path / "one", SPOTTED, 4, chosen, RECIPE)
    write, written = make.write_picture, []

    def stopping(picture, path) -> None:
        write(picture, path)
        written.append(path)
        if len(written) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(make, "write_picture", stopping)
    with pytest.raises(KeyboardInterrupt):
        synthesize(table, tmp_path / "two", SPOTTED, 4, chosen, RECIPE)
    monkeypatch.setattr(make, "write_picture", write)
    assert not (tmp_path / "two" / "samples.csv").exists()
    synthesize(table, tmp_path / "two", SPOTTED, 4, chosen, RECIPE)
    one, two = content(tmp_path / "one"), content(tmp_path / "two")
    assert one.keys() == two.keys()
    # The page bears the folder's name.
    assert [name for name in one if one[name] != two[name]] == ["synthesis.html"]


def test_what_was_not_measured_is_not_claimed(table, tmp_path) -> None:
    done = synthesize(table, tmp_path / "out", SPOTTED, 2, spec(way="augment", beside=[], repeats=0), RECIPE)
    assert done.result.verdict.endswith("What they are worth was not measured.")
    assert not (tmp_path / "out" / "worth").exists()
    assert "It was not measured" in (tmp_path / "out" / "synthesis.html").read_text()


def test_a_way_that_cannot_be_taken_is_told_and_the_others_go_on(table, tmp_path) -> None:
    done = synthesize(
        table, tmp_path / "out", PLAIN, 2, spec(way="augment", beside=["blend"], repeats=0), RECIPE
    )
    assert list(done.result.ways) == ["augment"]
    assert any("no pictures by cut-and-blend" in told for told in done.result.sentences())
    with pytest.raises(HandlensError, match="In none of the 8 training pictures"):
        synthesize(
            table, tmp_path / "other", PLAIN, 2, spec(way="blend", beside=["augment"], repeats=0), RECIPE
        )


def test_what_went_wrong_is_told_and_tried_again(table, tmp_path, monkeypatch) -> None:
    from handlens.synthesis import make

    def full(*_):
        raise HandlensError("The disk is full. Make room.")

    chosen = spec(way="augment", beside=["blend"], repeats=0)
    synthesize(table, tmp_path / "one", SPOTTED, 3, chosen, RECIPE)
    with monkeypatch.context() as patched:
        patched.setitem(make.MAKERS, "blend", full)
        first = synthesize(table, tmp_path / "two", SPOTTED, 3, chosen, RECIPE)
    assert list(first.result.ways) == ["augment"]
    told = "There are no pictures by cut-and-blend of defects: The disk is full. Make room. Given again"
    assert any(sentence.startswith(told) for sentence in first.result.sentences())
    assert told in first.page.read_text(encoding="utf-8")
    # With room on the disk it ends as if nothing had happened.
    again = synthesize(table, tmp_path / "two", SPOTTED, 3, chosen, RECIPE)
    assert list(again.result.ways) == ["augment", "blend"] and not again.result.ways_failed
    one, two = content(tmp_path / "one"), content(tmp_path / "two")
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == ["synthesis.html"]


def test_what_cannot_be_made_is_not_tried_again(table, tmp_path, monkeypatch) -> None:
    from handlens.synthesis import make
    from handlens.synthesis.augment import Augmenter

    tried = []

    class Parrot(Augmenter):
        """Gives the same training picture again and again."""

        seeks_copies = True

        def told(self, number):
            return Told()

        def pictures(self, numbers):
            tried.extend(numbers)
            return (self._material.open(self._parents[0]) for _ in numbers)

    monkeypatch.setitem(make.MAKERS, "blend", lambda material, spec, _: Parrot(material, spec))
    chosen = spec(way="augment", beside=["blend"], repeats=0)
    first = synthesize(table, tmp_path / "out", SPOTTED, 2, chosen, RECIPE)
    assert "All 8 drawn pictures" in "".join(first.result.ways_left_out)
    assert tried and not first.result.ways_failed and not list((tmp_path / "out").glob("drafts"))
    tried.clear()
    assert synthesize(table, tmp_path / "out", SPOTTED, 2, chosen, RECIPE).result == first.result
    assert not tried


@pytest.mark.parametrize("way", ["blend", "augment"])
def test_no_fold_learns_from_a_picture_that_shows_something_of_what_it_judges(way, table, tmp_path) -> None:
    synthesize(table, tmp_path / "out", SPOTTED, 6, spec(way=way, beside=[], repeats=0), RECIPE)
    samples, _ = split(check(Samples.read(tmp_path / "out"), DataSpec()).samples, SplitSpec())
    rows = {row["id"]: row for row in samples.table.iter_rows(named=True)}
    learning = Sides.of(samples).only("train")
    folds, _ = validation_folds(learning, 3, seed=0)
    num_learned = 0
    for learned, held in folds:
        judged = {learning.ids[place] for place in held}
        for row in (rows[learning.ids[place]] for place in learned):
            if row["made_by"]:
                num_learned += 1
                assert not {row["parent"], json.loads(row["parameters"]).get("donor")} & judged
    # Of six changed pictures two are of parents that a fold judges; a blend is learned from in the end alone.
    assert num_learned == {"blend": 0, "augment": 12}[way]


def test_copies_are_dropped_and_others_drawn(table, tmp_path, monkeypatch) -> None:
    from handlens.synthesis import make
    from handlens.synthesis.augment import Augmenter

    class Parrot(Augmenter):
        """Gives training pictures again, every second time."""

        seeks_copies = True

        def told(self, number):
            return Told()

        def pictures(self, numbers):
            for number in numbers:
                if number % 2:
                    yield from super().pictures([number])
                else:
                    parent = self._parents[number % len(self._parents)]
                    yield self._material.open(parent).transpose(Image.Transpose.FLIP_LEFT_RIGHT)

    monkeypatch.setitem(make.MAKERS, "augment", lambda material, spec, _: Parrot(material, spec))
    chosen = spec(way="augment", beside=[], repeats=0)
    found = synthesize(table, tmp_path / "out", SPOTTED, 3, chosen, RECIPE).result.chosen
    assert found.num_made == 3
    assert {each.copy_because for each in found.dropped} == {"pixels are the same"}
    assert {each.picture for each in found.dropped} >= {"draft 0", "draft 2"}
    assert all(int(Path(each.picture).stem.rpartition("-")[2]) % 2 for each in found.neighbours)
    monkeypatch.setattr(
        Parrot, "pictures", lambda self, numbers: (self._material.open(self._parents[0]) for _ in numbers)
    )
    with pytest.raises(HandlensError, match=r"All 12 drawn pictures .* Ask for fewer steps"):
        synthesize(table, tmp_path / "other", SPOTTED, 3, chosen, RECIPE)


def test_the_folder_goes_where_pictures_go_and_keeps_its_split(table, tmp_path) -> None:
    chosen = spec(way="augment", beside=[], repeats=0)
    synthesize(table, tmp_path / "out", SPOTTED, 4, chosen, RECIPE)
    moved = tmp_path / "elsewhere"
    shutil.move(tmp_path / "out", moved)
    samples = check(Samples.read(moved), DataSpec()).samples
    kept, report = split(samples, SplitSpec())
    assert report.given and report.n_derived == 4 and not report.leaks
    # Split anew, a picture goes only where its parent is trained with.
    anew, report = split(samples, SplitSpec(seed=1, keep_given=False))
    side_of = dict(anew.table.select("id", "split").iter_rows())
    for parent, side, by in anew.table.select("parent", "split", "made_by").iter_rows():
        if by == "synthesize":
            assert side == "train" and side_of[parent] == "train"
    assert report.n_derived + report.n_derived_left_out == 4
    assert len(kept) == 26


@pytest.mark.parametrize(
    ("label", "count", "words"),
    [("spot", 3, "There is no class 'spot'"), (SPOTTED, 0, "--count is how many pictures")],
)
def test_wrong_wishes(label, count, words, table, tmp_path) -> None:
    with pytest.raises(HandlensError, match=words):
        synthesize(table, tmp_path / "out", label, count, spec(way="augment"), RECIPE)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_left_alone(table, tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(HandlensError, match="holds other files"):
        synthesize(table, tmp_path / "out", SPOTTED, 3, spec(way="augment"), RECIPE)
    with pytest.raises(HandlensError, match="among the class folders"):
        synthesize(
            tmp_path / "my pictures",
            tmp_path / "my pictures" / "new",
            SPOTTED,
            3,
            spec(way="augment"),
            RECIPE,
        )


def test_without_a_split_one_is_made_and_kept(table, tmp_path) -> None:
    recipe = Recipe.parse(
        {**RECIPE.resolved(), "split": {"ratios": "2:1", "seed": 5}, "name": "split"}, "The recipe"
    )
    chosen = spec(way="augment", beside=[], repeats=1)
    done = synthesize(tmp_path / "my pictures", tmp_path / "out", SPOTTED, 3, chosen, recipe)
    sides = done.samples.table.filter(pl.col("made_by").is_null())["split"]
    assert np.isclose((sides == "test").mean(), 1 / 3, atol=0.06)
    assert Samples.read(tmp_path / "out").is_split
    assert done.result.chosen.worth is not None


def test_of_too_many_pictures_the_model_learns_all_of_the_class(material_of) -> None:
    from handlens.synthesis.diffusion import learned

    material = material_of(num_spotted=3, num_plain=9)
    assert learned(material, 12) == material.learned
    some = learned(material, 5)
    assert len(some) == 5 and set(material.own) < set(some) < set(material.learned)
    assert learned(material, 5) == some == tuple(sorted(some))
    assert learned(material, 2) == material.own


def test_a_model_of_grey_pictures_draws_grey_ones_of_their_shape(material_of, tmp_path) -> None:
    pytest.importorskip("diffusers")
    from handlens.synthesis.diffusion import Diffuser

    drawn = material_of()
    for path in drawn.paths:
        Image.open(path).getchannel(0).convert("RGB").resize((48, 32)).save(path)
    material = Material.of(drawn.samples, drawn.contents, drawn.label)
    pictures = list(Diffuser(material, spec(), tmp_path / "generator").pictures(range(2)))
    assert [picture.size for picture in pictures] == [(24, 16)] * 2
    assert all(is_grey(np.asarray(picture)) for picture in pictures)
