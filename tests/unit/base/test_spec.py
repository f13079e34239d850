"""Specs refuse what they do not know, and YAML says what people mean."""

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from handlens.base.errors import HandlensError, Problems
from handlens.base.spec import Spec, read_yaml, read_yaml_file, write_yaml


class LensSpec(Spec):
    """A lens."""

    power: float = Field(10.0, gt=0)
    """How much it enlarges."""
    kind: Literal["single", "doublet", "triplet"] = "triplet"
    """How many glasses it has."""


class CaseSpec(Spec):
    """A case of lenses."""

    label: str
    """What is written on it."""
    main: LensSpec = LensSpec()
    """The lens that is used most."""
    spare: LensSpec | None = None
    """The lens that is not."""
    others: tuple[LensSpec, ...] = ()
    """All other lenses."""
    count: int = Field(1, ge=1)
    """How many are in it."""

    @model_validator(mode="after")
    def _fits(self) -> "CaseSpec":
        if len(self.others) > self.count:
            raise ValueError("there are more lenses than it holds")
        return self


def problems(values: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(Problems) as caught:
        CaseSpec.parse(values, "The case")
    return caught.value.problems


def test_all_problems_are_told_at_once_each_with_its_place() -> None:
    values = {
        "main": {"powr": 3, "kind": "dublet"},
        "spare": {"power": 0},
        "others": [{}, {"power": "much"}],
        "count": 1.5,
    }
    with pytest.raises(Problems) as caught:
        CaseSpec.parse(values, "The case")
    told = str(caught.value).splitlines()
    assert told[0] == "The case has 6 problems:"
    assert all(line.startswith("  - ") for line in told[1:])
    places = {line.removeprefix("  - ").partition(":")[0] for line in told[1:]}
    assert places == {"label", "main.powr", "main.kind", "spare.power", "others.1.power", "count"}


def test_one_problem_is_one() -> None:
    with pytest.raises(Problems, match=r"^The case has 1 problem:"):
        CaseSpec.parse({}, "The case")


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"main": {"powr": 3}}, "main.powr"),
        ({"spare": {"powr": 3}}, "spare.powr"),
        ({"others": [{}, {"powr": 3}]}, "others.1.powr"),
    ],
)
def test_an_unknown_key_names_the_nearest_and_the_known_ones(values: dict[str, Any], place: str) -> None:
    assert problems({"label": "a", **values}) == (
        f"{place}: there is no such key. Did you mean 'power'? Known keys there: power, kind.",
    )


def test_an_unknown_choice_names_the_nearest() -> None:
    assert problems({"label": "a", "main": {"kind": "dublet"}}) == (
        "main.kind: 'dublet' is not one of single, doublet, triplet. Did you mean 'doublet'?",
    )


def test_a_missing_key_and_a_bad_value_are_sentences() -> None:
    assert problems({}) == ("label: this key is missing.",)
    assert problems({"label": "a", "main": {"power": -2}}) == (
        "main.power: should be greater than 0 (it is -2).",
    )


def test_a_problem_of_the_whole_says_so() -> None:
    (told,) = problems({"label": "a", "others": [{}, {}]})
    assert told.startswith("as a whole: there are more lenses than it holds")


def test_a_spec_is_frozen_and_carries_its_docstrings() -> None:
    lens = LensSpec()
    with pytest.raises(ValidationError):
        lens.power = 3.0  # type: ignore[misc]
    assert LensSpec.model_fields["power"].description == "How much it enlarges."


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E6", 1e6),
        ("-2.5e+3", -2500.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("+7", 7),
        ("-0", 0),
        ("0", 0),
        (".inf", float("inf")),
        ("true", True),
        ("False", False),
        ("8:2", "8:2"),
        ("1:30", "1:30"),
        ("190:20:30", "190:20:30"),
        ("no", "no"),
        ("No", "No"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("n", "n"),
        ("010", "010"),
        ("0o17", "0o17"),
        ("0x1f", "0x1f"),
        ("1_000", "1_000"),
        ("2024-01-31", "2024-01-31"),
        ("2024-01-31T10:00:00Z", "2024-01-31T10:00:00Z"),
        ("1.2.3", "1.2.3"),
        ("e5", "e5"),
        (".", "."),
        ("null", None),
        ("~", None),
        ("", None),
    ],
)
def test_yaml_says_what_people_mean(text: str, value: object) -> None:
    found = read_yaml(f"key: {text}", "here")["key"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        *(1e-4, 1e20, 1e-300, 0.1, 3, True, None),
        *("no", "on", "true", "null", "8:2", "010", "0.5", "2024-01-31", "矿石", "1e-4", ""),
    ],
)
def test_what_is_written_is_read_again(value: object) -> None:
    found = read_yaml(write_yaml({"key": value}), "here")["key"]
    assert found == value
    assert type(found) is type(value)


def test_words_in_any_script_stay_readable_and_the_order_stays() -> None:
    assert write_yaml({"b": "石墨", "a": 1}) == "b: 石墨\na: 1\n"


def test_a_mistake_in_yaml_is_told_with_its_line() -> None:
    with pytest.raises(HandlensError, match=r"^recipe x, line 3: this is not valid YAML \("):
        read_yaml("a: 1\nb: [1, 2\nc: 3\n", "recipe x")


def test_yaml_makes_plain_data_only() -> None:
    with pytest.raises(HandlensError, match="not valid YAML"):
        read_yaml("a: !!python/object/apply:os.getcwd []", "here")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(HandlensError, match=r"absent\.yaml cannot be read as a text file"):
        read_yaml_file(tmp_path / "absent.yaml")
    picture = tmp_path / "picture.yaml"
    picture.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(HandlensError, match=r"picture\.yaml cannot be read as a text file"):
        read_yaml_file(picture)
    good = tmp_path / "good.yaml"
    good.write_text("split: {ratios: 8:2}\n", encoding="utf-8")
    assert read_yaml_file(good) == {"split": {"ratios": "8:2"}}
