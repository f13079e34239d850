"""The predictions table goes to disk and back, and says in a sentence when it is none."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from handlens.base.errors import HandlensError
from handlens.evaluate.predictions import Predictions


@pytest.fixture
def predictions() -> Predictions:
    return Predictions(
        ids=("a.jpg", "b.jpg", "ç/d.jpg"),
        groups=("s1", "s1", "s2"),
        targets=np.array([1, -1, 0]),
        classes=("pyrite", "p:odd name"),
        probabilities=np.array([[0.25, 0.75], [0.5, 0.5], [0.1, 0.9]], dtype=np.float32),
    )


def same(one: Predictions, other: Predictions) -> bool:
    assert (one.targets is None) == (other.targets is None)
    return (
        (one.ids, one.groups, one.classes) == (other.ids, other.groups, other.classes)
        and (one.targets is None or np.array_equal(one.targets, other.targets))
        and np.array_equal(one.probabilities, other.probabilities)
        and one.probabilities.dtype == other.probabilities.dtype == np.float32
    )


def test_what_is_said_of_each_picture(predictions: Predictions) -> None:
    assert predictions.predicted.tolist() == [1, 0, 1]
    assert predictions.confidence.tolist() == pytest.approx([0.75, 0.5, 0.9])
    assert predictions.correct.tolist() == [True, False, False]
    assert predictions.known.tolist() == [True, False, True]
    assert predictions.labelled().ids == ("a.jpg", "ç/d.jpg")
    assert predictions.labelled().targets.tolist() == [1, 0]


def test_there_and_back(predictions: Predictions, tmp_path: Path) -> None:
    predictions.write(tmp_path / "deep" / "test.parquet")
    assert same(Predictions.read(tmp_path / "deep" / "test.parquet"), predictions)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["test.parquet"]


def test_columns_are_what_others_may_rely_on(predictions: Predictions) -> None:
    table = predictions.to_table()
    assert dict(table.schema) == {
        "id": pl.String,
        "group": pl.String,
        "target": pl.String,
        "p:pyrite": pl.Float32,
        "p:p:odd name": pl.Float32,
    }
    assert table["target"].to_list() == ["p:odd name", None, "pyrite"]


def test_pictures_without_classes(predictions: Predictions) -> None:
    unlabelled = Predictions(
        predictions.ids, predictions.groups, None, predictions.classes, predictions.probabilities
    )
    assert same(Predictions.from_table(unlabelled.to_table()), unlabelled)
    assert not unlabelled.correct.any()
    assert unlabelled.labelled().ids == ()


def test_same_content_same_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    content = rng.dirichlet(np.ones(7), 5000).astype(np.float32)
    targets = rng.integers(7, size=5000)
    for name in ("one", "two"):
        Predictions(
            tuple(f"{row}.jpg" for row in range(5000)),
            tuple(f"s{row // 9}" for row in range(5000)),
            targets.copy(),
            tuple("abcdefg"),
            # Another memory layout is the same content.
            np.asfortranarray(content) if name == "two" else content,
        ).write(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda table: table.drop("group"), "no column group"),
        (lambda table: table.select("id", "target"), "no column group and p:<class>"),
        (lambda table: table.with_columns(id=pl.lit("a.jpg")), "names a picture twice"),
        (lambda table: table.with_columns(group=pl.lit(None)), "empty group in row 1"),
        (lambda table: table.with_columns(target=pl.lit("gold")), "targets without a column.*gold"),
        (lambda table: table.with_columns(pl.col("p:pyrite") * 9), "do not add up to one in 3 of 3 rows"),
        (lambda table: table.with_columns(pl.lit(float("nan")).alias("p:pyrite")), "do not add up to one"),
        (lambda table: table.with_columns(pl.lit("high").alias("p:pyrite")), "not numbers"),
    ],
)
def test_a_table_that_is_none_says_so(predictions: Predictions, change, sentence: str) -> None:
    with pytest.raises(HandlensError, match=sentence):
        Predictions.from_table(change(predictions.to_table()), "x.parquet")


def test_a_file_that_is_none_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("not parquet")
    for name in ("x.parquet", "missing.parquet"):
        with pytest.raises(HandlensError, match=f"{name} cannot be read as a predictions table"):
            Predictions.read(tmp_path / name)


def test_parts_that_do_not_fit() -> None:
    with pytest.raises(HandlensError, match="do not fit"):
        Predictions(("a",), ("g",), None, ("x", "y"), np.ones((2, 2), dtype=np.float32))
