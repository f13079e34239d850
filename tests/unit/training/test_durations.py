"""Durations: what a person may write, what it means, and that it is written back."""

import pytest

from handlens.base.errors import Problems
from handlens.base.spec import Spec, read_yaml, write_yaml
from handlens.training.durations import Duration


class CaseSpec(Spec):
    """A spec with a duration."""

    length: Duration = Duration(0.1)
    """How long."""


@pytest.mark.parametrize(
    ("text", "expected", "share"),
    [
        ("0.1", Duration(0.1), 0.1),
        ("0", Duration(0.0), 0.0),
        ("10%", Duration(0.1), 0.1),
        ("2.5 %", Duration(0.025), 0.025),
        ("100%", Duration(1.0), 1.0),
        ("2 epochs", Duration(2.0, "epochs"), 2 * 40 / 400),
        ("1 epoch", Duration(1.0, "epochs"), 0.1),
        ("0.5 epochs", Duration(0.5, "epochs"), 0.05),
        ("500 steps", Duration(500.0, "steps"), 1.25),
        ("1step", Duration(1.0, "steps"), 1 / 400),
        ("0.00001 epochs", Duration(1e-5, "epochs"), 1e-6),
    ],
)
def test_what_is_written_in_a_recipe_is_understood_and_written_back(text, expected, share):
    case = CaseSpec.parse(read_yaml(f"length: {text}", "case"), "The case")
    assert case.length == expected
    assert case.length.as_share(total_steps=400, steps_per_epoch=40) == pytest.approx(share, rel=1e-15)
    written = write_yaml(case.model_dump(mode="json"))
    assert CaseSpec.parse(read_yaml(written, "case"), "The case") == case


def test_a_share_is_the_number_itself_and_dumped_as_one():
    assert Duration.of(0.3).as_share(7, 3) == 0.3
    assert CaseSpec().model_dump(mode="json") == {"length": 0.1}
    assert str(Duration(0.1)) == "10%"
    assert str(Duration(3.0, "epochs")) == "3 epochs"


@pytest.mark.parametrize(
    ("value", "part"),
    [
        (5, "2 epochs"),
        (1.0, "2 epochs"),
        (-0.1, "2 epochs"),
        (float("nan"), "2 epochs"),
        (True, "2 epochs"),
        (None, "2 epochs"),
        ("two epochs", "2 epochs"),
        ("2 weeks", "500 steps"),
        ("-2 epochs", "500 steps"),
        ("120%", "100%"),
        ("2.5 steps", "whole"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(value, part):
    with pytest.raises(Problems) as caught:
        CaseSpec.parse({"length": value}, "The case")
    (told,) = caught.value.problems
    assert told.startswith("length: ")
    assert part in told
