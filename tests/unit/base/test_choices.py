"""A name that is not there names those that are."""

import pytest

from handlens.base.choices import look_up, nearest, suggestion
from handlens.base.errors import HandlensError

MINERALS = {"galena": 1, "pyrite": 2, "Chalcopyrite": 3, "quartz": 4}


def test_what_is_there_is_found() -> None:
    assert look_up(MINERALS, "pyrite", "mineral") == 2


def test_what_is_not_there_names_the_nearest_and_all() -> None:
    with pytest.raises(HandlensError) as caught:
        look_up(MINERALS, "pyrit", "mineral")
    assert str(caught.value) == (
        "There is no mineral called 'pyrit'. Did you mean 'pyrite'? "
        "There are: Chalcopyrite, galena, pyrite, quartz."
    )


def test_nothing_near_suggests_nothing() -> None:
    with pytest.raises(HandlensError, match=r"^There is no mineral called 'zzz'\. There are: "):
        look_up(MINERALS, "zzz", "mineral")
    assert suggestion("zzz", MINERALS) == ""


def test_case_does_not_matter_to_what_is_near() -> None:
    assert nearest("CHALCOPYRITE", MINERALS)[0] == "Chalcopyrite"


def test_the_best_comes_first_and_the_count_is_kept() -> None:
    names = ["resnet50", "resnet18", "resnet101", "resnext50", "vgg16"]
    assert nearest("resnet5", names)[0] == "resnet50"
    assert len(nearest("resnet", names, count=2)) == 2
    assert suggestion("resnet5", ["resnet50", "resnet18"]) == " Did you mean 'resnet50' or 'resnet18'?"
