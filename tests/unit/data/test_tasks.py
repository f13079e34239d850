"""Several columns of labels at once: which are there, who lacks one, and how such pictures are divided."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from handlens.base.errors import HandlensError, Problems
from handlens.data.check import DataSpec, check
from handlens.data.samples import Samples
from handlens.data.sides import Sides
from handlens.data.split import SplitSpec, fold_sides, split
from handlens.data.tasks import TaskLabels, columns_of_tasks, task_columns, with_tasks


def samples_of(labels, *, groups=None, sides=None, **columns):
    ids = [f"{number}.png" for number in range(len(labels))]
    table = pl.DataFrame(
        {
            "id": ids,
            "path": [f"/p/{id_}" for id_ in ids],
            "label": labels,
            "group": groups or ids,
            "split": sides or [None] * len(ids),
            **columns,
            "digest": ids,
        },
        schema_overrides={"label": pl.String, "split": pl.String},
    )
    return Samples(table, Path("/p"))


@pytest.fixture
def pictures(tmp_path):
    """A table of eight different pictures; the last two are the same."""

    def write(text):
        for number in range(8):
            grey = 30 * min(number, 6)
            Image.new("RGB", (4, 4), (grey, 90, 90)).save(tmp_path / f"{number}.png")
        table = tmp_path / "table.csv"
        table.write_text(text, encoding="utf-8")
        return table

    return write


ROWS = """path,label,Wear
0.png,ore,new
1.png,ore,
2.png,ore,
3.png,rock,old
4.png,rock,new
5.png,,old
6.png,rock,new
7.png,,old
"""


class TestLabels:
    def test_targets_count_the_sorted_labels_and_leave_out_what_is_missing(self):
        samples = samples_of(["a"] * 5, wear=["old", None, " ", "new ", "old"])
        task = TaskLabels.of(samples, "wear")
        assert task.classes == ("new", "old")
        assert task.targets.tolist() == [1, -1, -1, 0, 1]
        assert task.known.tolist() == [True, False, False, True, True]
        assert task.only(np.array([4, 1])).targets.tolist() == [1, -1]

    def test_numbers_are_labels_and_nan_is_none(self):
        samples = samples_of(["a"] * 3, wear=[2.0, float("nan"), None], lot=[7, 10, None])
        assert TaskLabels.of(samples, "wear").targets.tolist() == [0, -1, -1]
        assert TaskLabels.of(samples, "lot").classes == ("10", "7")

    def test_the_classes_of_a_run_are_kept_and_others_refused(self):
        samples = samples_of(["a"] * 2, wear=["old", None])
        assert TaskLabels.of(samples, "wear", ("new", "old")).targets.tolist() == [1, -1]
        with pytest.raises(
            HandlensError, match=r"does not know 'old' of the column 'wear'\. Did you mean 'oldd'"
        ):
            TaskLabels.of(samples, "wear", ("new", "oldd"))

    def test_scores_of_all_tasks_stand_side_by_side(self):
        tasks = [
            TaskLabels("a", tuple("xyz"), np.zeros(1, np.int64)),
            TaskLabels("b", tuple("xy"), np.zeros(1, np.int64)),
        ]
        assert columns_of_tasks(tasks) == (slice(0, 3), slice(3, 5))


class TestColumns:
    def test_any_case_is_found_and_made_labels(self):
        samples = samples_of(["a", "b"], Wear=[" old", ""])
        assert task_columns(samples, ["wear"]) == ("Wear",)
        assert with_tasks(samples, ["wear"]).table["Wear"].to_list() == ["old", None]

    def test_all_that_does_not_fit_is_told_at_once(self):
        samples = samples_of(["a", "b"], wear=["x", "y"], lot=["1", "2"])
        with pytest.raises(Problems) as told:
            task_columns(samples, ["waer", "label", "group", "lot", "LOT"])
        problems = " ".join(told.value.problems)
        assert len(told.value.problems) == 4
        assert (
            "no column 'waer' with labels. Did you mean 'wear'? Its other columns are wear, lot." in problems
        )
        assert "'label' is the main task already" in problems
        assert "no column 'group' with labels" in problems
        assert "'lot' is named 2 times" in problems


class TestReading:
    def test_without_tasks_a_missing_label_is_an_error(self, pictures):
        with pytest.raises(Problems, match="rows 7, 9: there is no label"):
            Samples.read(pictures(ROWS))

    def test_another_tasks_label_is_enough(self, pictures):
        samples = Samples.read(pictures(ROWS), tasks=["wear"])
        assert samples.classes == ("ore", "rock")
        assert samples.counts() == {"ore": 3, "rock": 3}
        assert samples.table["label"].null_count() == 2

    def test_a_picture_without_any_label_is_named_by_its_row(self, pictures):
        with pytest.raises(Problems, match="row 3: there is no label"):
            Samples.read(pictures(ROWS.replace("1.png,ore,", "1.png,,")), tasks=["wear"])

    @pytest.mark.parametrize("ending", ["csv", "parquet"])
    def test_a_manifest_keeps_them_and_the_check_asks_for_the_task(self, pictures, tmp_path, ending):
        manifest = tmp_path / f"manifest.{ending}"
        Samples.read(pictures(ROWS), tasks=["wear"]).save(manifest)
        back = Samples.read(manifest)
        assert back.table["label"].null_count() == 2
        assert check(back, DataSpec(tasks=("wear",))).tasks == ("Wear",)
        with pytest.raises(HandlensError, match=r"2 of 8 pictures have no label \(5.png, 7.png\)"):
            check(back, DataSpec())

    def test_a_manifest_judged_by_another_column_may_lack_some_of_it(self, pictures, tmp_path):
        lots = [f"{line},{'xy'[number % 2]}" for number, line in enumerate(ROWS.splitlines()[1:])]
        manifest = tmp_path / "manifest.csv"
        table = pictures("\n".join(["path,label,Wear,lot", *lots]))
        Samples.read(table, tasks=["lot"]).save(manifest)
        judged = Samples.read(manifest, label="wear", tasks=["lot"])
        assert (judged.label_name, judged.classes) == ("Wear", ("new", "old"))
        with pytest.raises(HandlensError, match="2 pictures have no label in the column 'Wear'"):
            Samples.read(manifest, label="wear")


class TestChecking:
    def test_a_missing_label_contradicts_none_but_another_one_does(self, pictures):
        table = pictures(ROWS)
        checked = check(Samples.read(table, tasks=["wear"]), DataSpec(tasks=("wear",)))
        assert checked.conflicts == (
            "Wear: The same picture has different labels: 6.png (new), 7.png (old).",
        )

    def test_the_hash_of_the_data_sees_every_task(self, pictures):
        def hashed(text, tasks):
            return check(Samples.read(pictures(text), tasks=tasks), DataSpec(tasks=tasks)).digest

        full = ROWS.replace("5.png,,", "5.png,ore,").replace("7.png,,", "7.png,rock,")
        other = full.replace("0.png,ore,new", "0.png,ore,old")
        assert hashed(full, ()) == hashed(other, ())
        assert hashed(full, ("Wear",)) != hashed(other, ("Wear",))


class TestDividing:
    def test_pictures_without_the_main_label_are_spread_like_a_class(self):
        labels = ["a"] * 50 + ["b"] * 30 + [None] * 20
        done, report = split(samples_of(labels, wear=["x"] * 100), SplitSpec())
        counts = done.table.group_by("label", "split").len().rows()
        assert {(label, side): count for label, side, count in counts} == {
            ("a", "train"): 40,
            ("a", "test"): 10,
            ("b", "train"): 24,
            ("b", "test"): 6,
            (None, "train"): 16,
            (None, "test"): 4,
        }
        assert [side.counts for side in report.sides] == [{"a": 40, "b": 24}, {"a": 10, "b": 6}]

    def test_groups_stay_whole_and_a_single_one_without_a_label_is_no_error(self):
        labels = ["a", None, "a", "b", "b", "a", "b", "a", "b", "a", "b"]
        groups = ["g", "g", *(str(number) for number in range(9))]
        done, _ = split(samples_of(labels, groups=groups), SplitSpec(ratios="1:1"))
        assert done.table.filter(pl.col("group") == "g")["split"].n_unique() == 1

    def test_labels_that_are_all_there_are_divided_as_ever(self):
        labels = ["a", "b", "c"] * 20
        groups = [str(number // 2) for number in range(60)]
        named = fold_sides(labels, groups, 5, 3)
        holed = fold_sides([None if label == "c" else label for label in labels], groups, 5, 3)
        # A name is only a name: the third class may as well be none.
        assert [np.bincount(part[2::3], minlength=5).tolist() for part in (named, holed)] == [[4] * 5] * 2


SIDES = ["train"] * 4 + ["val"] + ["test"] * 3


class TestSides:
    def test_all_tasks_are_there_and_the_main_one_is_first(self):
        wear = ["x", "y", None, "x", None, "y", None, "x"]
        samples = samples_of(["a", "b", None, "a", "b", "a", None, "b"], sides=SIDES, wear=wear)
        sides = Sides.of(samples, ("wear",))
        assert [task.name for task in sides.tasks] == ["label", "wear"]
        assert sides.classes == ("a", "b")
        assert sides.targets.tolist() == [0, 1, -1, 0, 1, 0, -1, 1]
        test = sides.only("test")
        assert [task.targets.tolist() for task in test.tasks] == [[0, -1, 1], [1, -1, 0]]
        assert len(Sides.of(samples).tasks) == 1

    def test_what_cannot_be_learned_or_judged_is_told_together(self):
        samples = samples_of(
            ["a", "b"] * 4, sides=SIDES, one=["x"] * 8, none=["x", "y", "x", "y"] + [None] * 4
        )
        with pytest.raises(Problems) as told:
            Sides.of(samples, ("one", "none"))
        assert told.value.problems == (
            "'one' has only one class, 'x': there is nothing to tell apart.",
            "'none' has no label on the test side.",
        )
        with pytest.raises(Problems, match="Did you mean 'none'"):
            Sides.of(samples, ("nome",))
