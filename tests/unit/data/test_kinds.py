"""Classes in groups: told in the recipe, in a column, or by folders."""

from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from handlens.base.errors import HandlensError, Problems
from handlens.data.check import DataSpec, check, kinds_of
from handlens.data.kinds import Kinds, classes_in_kind_folders
from handlens.data.samples import Samples

CLASSES = ("bottle", "can", "peel", "tea bag")
MEMBERS = {"recyclable": ("can", "bottle"), "organic": ("tea bag", "peel")}


def samples_of(**columns):
    ids = [f"{number}.png" for number in range(len(columns["label"]))]
    return Samples(pl.DataFrame({"id": ids, **columns}), Path("/p"))


def problems_of(members, classes=CLASSES):
    with pytest.raises(Problems) as told:
        Kinds.of(classes, members, "data.kinds")
    return told.value.problems


def test_kinds_keep_their_order_and_number_the_classes():
    kinds = Kinds.of(CLASSES, MEMBERS, "data.kinds")
    assert kinds.names == ("recyclable", "organic")
    assert kinds.members == {"recyclable": ("bottle", "can"), "organic": ("peel", "tea bag")}
    assert kinds.of_class.tolist() == [0, 0, 1, 1]


def test_all_that_is_wrong_is_told_together_with_the_nearest_names():
    told = problems_of({"recyclable": ["botle", "can", "can"], "organic": ["peel", "can"], "rest": []})
    assert told == (
        "'recyclable' names the class 'can' 2 times.",
        "'rest' has no classes. Name some, or take the kind away.",
        "There is no class 'botle' (recyclable). Did you mean 'bottle'?",
        "The class 'bottle' has no kind.",
        "The class 'tea bag' has no kind.",
        "The class 'can' has several kinds: recyclable, organic. Leave it in one.",
    )
    assert problems_of({"all": CLASSES})[-1].startswith("There must be two kinds or more")


class TestColumn:
    def test_the_column_says_it_once_a_class(self):
        samples = samples_of(label=["can", "can", "peel", "bottle"], stuff=["metal ", "", "organic", "metal"])
        kinds = kinds_of(samples, DataSpec(kind_column="stuff"))
        assert kinds is not None
        assert kinds.members == {"metal": ("bottle", "can"), "organic": ("peel",)}

    def test_classes_of_several_kinds_and_of_none_are_named(self):
        samples = samples_of(label=["can", "can", "can", "peel", None], stuff=["x", "y", "x", "", "z"])
        with pytest.raises(Problems) as told:
            Kinds.from_column(samples, "stuff")
        assert told.value.problems == (
            "The class 'can' has 'x' for 2 pictures, 'y' for 1 pictures. All must have the same.",
            "The class 'peel' has no picture with a kind.",
        )
        with pytest.raises(HandlensError, match=r"no column 'stufff'.* Did you mean 'stuff'"):
            Kinds.from_column(samples, "stufff")


class TestFolders:
    @pytest.fixture
    def photos(self, tmp_path):
        for number, name in enumerate(
            ("metal/can/1.png", "metal/can/lot 1/2.png", "metal/foil/3.png", "organic/peel/4.png")
        ):
            path = tmp_path / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4), (40 * number, 80, 80)).save(path)
        return tmp_path / "photos"

    def test_the_outer_folder_is_the_kind_and_the_inner_one_the_class(self, photos):
        spec = DataSpec(kind_folders=True)
        checked = check(Samples.read(photos), spec)
        assert checked.samples.classes == ("can", "foil", "peel")
        kinds = kinds_of(checked.samples, spec)
        assert kinds is not None
        assert kinds.members == {"metal": ("can", "foil"), "organic": ("peel",)}

    def test_without_being_told_the_outer_folder_stays_the_class(self, photos):
        checked = check(Samples.read(photos), DataSpec())
        assert checked.samples.classes == ("metal", "organic")
        assert kinds_of(checked.samples, DataSpec()) is None

    def test_other_layouts_are_told(self, photos):
        Image.new("RGB", (4, 4)).save(photos / "organic" / "5.png")
        (photos / "organic" / "peel").rename(photos / "organic" / "can")
        with pytest.raises(Problems) as told:
            classes_in_kind_folders(Samples.read(photos))
        assert told.value.problems == (
            "1 pictures do not lie in a class folder in the folder of a kind (organic/5.png).",
            "The class folder 'can' is there in several kinds (metal, organic). Rename it in all but one.",
        )


def test_only_one_way_to_tell_kinds():
    with pytest.raises(Problems, match="kinds and kind_column both say which classes belong together"):
        DataSpec.parse({"kinds": MEMBERS, "kind_column": "stuff"}, "The recipe")
