"""The verdict says what the interval allows, and the recipe that measures it is the one that was given."""

import numpy as np
import pytest

from handlens.base.errors import HandlensError
from handlens.evaluate.predictions import Predictions
from handlens.evaluate.results import Figure
from handlens.recipe import Recipe
from handlens.synthesis.results import Synthesis, WayResult, Worth
from handlens.synthesis.spec import SynthesisSpec
from handlens.synthesis.worth import for_samples, worth_of


def judged(right, num=200, seed=0) -> Predictions:
    """Three classes, the last one rare; of each picture it is drawn whether it is right."""
    rng = np.random.default_rng(seed)
    targets = np.array([0, 1] * (num // 2) + [2] * 20)
    correct = rng.random(len(targets)) < np.array(right)[targets]
    said = np.where(correct, targets, (targets + 1) % 3)
    ids = tuple(f"picture {number}" for number in range(len(targets)))
    return Predictions(ids, ids, targets, ("a", "b", "rare"), np.eye(3, dtype=np.float32)[said])


def figure(value, low, high) -> Figure:
    return Figure(value=value, low=low, high=high, method="by hand", n=120, n_groups=40)


def worth(value, low, high) -> Worth:
    return Worth(
        macro_f1=0.8 + value,
        macro_f1_without=0.8,
        difference=figure(value, low, high),
        class_f1=0.5,
        class_f1_without=0.5,
        class_difference=figure(0, -0.1, 0.1),
        trainings=3,
    )


def way(found: Worth | None, folder="", **values) -> WayResult:
    return WayResult(
        **{
            "folder": folder,
            "num_made": 30,
            "num_drafts": 30,
            "num_copies": 0,
            "has_parents": False,
            "other_class": 0.0,
            "kid": None,
            "worth": found,
            "sentences": (),
            "neighbours": (),
            "dropped": (),
            **values,
        }
    )


def synthesis(ways, **values) -> Synthesis:
    return Synthesis(
        **{
            "label": "crack",
            "asked": 30,
            "way": "diffusion",
            "num_training": 12,
            "num_held_out": 20,
            "num_test": 20,
            "features": "handlens/nano",
            "kid_of_real": None,
            "ways": ways,
            "settings": SynthesisSpec().model_dump(mode="json"),
            **values,
        }
    )


def test_a_clear_gain_is_found_and_measured_as_scikit_learn_does() -> None:
    from sklearn.metrics import f1_score

    own = [judged((0.95, 0.95, 0.9), seed=seed) for seed in (1, 2, 3)]
    without = [judged((0.95, 0.95, 0.2), seed=seed) for seed in (4, 5, 6)]
    found = worth_of(own, without, "rare")
    macro = [
        np.mean([f1_score(p.targets, p.predicted, average="macro") for p in kind]) for kind in (own, without)
    ]
    rare = [
        np.mean([f1_score(p.targets, p.predicted, average=None)[2] for p in kind]) for kind in (own, without)
    ]
    assert (found.macro_f1, found.macro_f1_without) == pytest.approx(macro)
    assert (found.class_f1, found.class_f1_without) == pytest.approx(rare)
    assert found.difference.value == pytest.approx(macro[0] - macro[1])
    assert found.class_difference.value == pytest.approx(rare[0] - rare[1])
    assert found.outcome == "helps" and found.class_difference.low > 0
    assert worth_of(without, own, "rare").outcome == "harms"


def test_no_gain_is_no_gain_and_trainings_that_disagree_widen_the_interval() -> None:
    own, without = ([judged((0.9, 0.9, 0.5), seed=seed)] for seed in (1, 2))
    assert worth_of(own, without, "rare").outcome == "unclear"
    steady = [judged((0.9, 0.9, 0.6), seed=3)] * 3
    swaying = [judged((0.9, 0.9, share), seed=3) for share in (0.3, 0.6, 0.9)]
    calm = worth_of(steady, without * 3, "rare").difference
    wide = worth_of(swaying, without * 3, "rare").difference
    assert wide.high - wide.low > 1.5 * (calm.high - calm.low)
    assert wide.method.endswith("and 3 and 3 trainings")


def test_a_class_that_is_not_tested_has_no_say() -> None:
    own, without = judged((0.9, 0.9, 0.5), seed=1), judged((0.9, 0.9, 0.5), seed=2)
    rows = np.flatnonzero(own.targets < 2)
    found = worth_of([own.only(rows)], [without.only(rows)], "rare")
    assert -1 <= found.class_difference.low <= found.class_difference.high <= 1


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            worth(0.05, 0.01, 0.09),
            "Helps clearly: with 30 pictures of crack by a generative model in training",
        ),
        (worth(0.05, -0.01, 0.11), "Does not help, as far as can be told"),
        (worth(-0.05, -0.09, -0.01), "Does not help but harm"),
        (worth(0.0, -0.02, 0.02), "is the same"),
    ],
)
def test_the_verdict(found, words) -> None:
    assert words in synthesis({"diffusion": way(found)}).verdict


def test_where_it_does_not_help_it_says_what_does() -> None:
    unclear, helps = worth(0.0, -0.02, 0.02), worth(0.04, 0.01, 0.07)
    both = synthesis({"diffusion": way(unclear), "blend": way(helps, "beside/blend")})
    assert "Take cut-and-blend of defects instead: its pictures are in beside/blend." in both.sentences()
    none = synthesis({"diffusion": way(unclear), "blend": way(unclear, "beside/blend")})
    assert "None of the ways is shown to help: more real pictures of the class would." in none.sentences()
    alone = synthesis({"diffusion": way(helps)})
    assert not any("instead" in sentence or "None" in sentence for sentence in alone.sentences())


def test_few_and_missing_pictures_are_told() -> None:
    found = way(worth(0.05, 0.01, 0.09), num_made=10, num_drafts=120, num_copies=110, other_class=0.4)
    told = " ".join(synthesis({"diffusion": found}, num_test=3).sentences())
    assert "Only 10 of 30 were made: of 120 drawn ones 110 are training pictures again" in told
    assert "Only 3 test pictures of crack" in told
    assert "40.0 % of the pictures look more like another class" in told
    assert "No test picture is of crack" in " ".join(synthesis({"diffusion": found}, num_test=0).sentences())


def test_the_recipe_keeps_everything_but_what_the_table_says() -> None:
    recipe = Recipe.load(
        "quick", ["data.group.level=1", "split.folds=5", "train.seed=7", "data.kind_folders=true"]
    )
    own = for_samples(recipe, 2)
    assert own.train.seed == 9 and own.split.keep_given and not own.split.allow_leak
    assert own.split.folds is None and own.data.group.level is None
    assert own.data.kind_column is not None and not own.data.kind_folders
    assert (own.views, own.model) == (recipe.views, recipe.model)


def test_the_terminal_gets_a_row_for_each_way() -> None:
    both = synthesis({"diffusion": way(worth(-0.02, -0.05, 0.01)), "blend": way(None, "beside/blend")})
    columns, (alone, diffusion, blend) = both.table()
    assert columns[3] == "F1 of crack" and {len(alone), len(diffusion), len(blend)} == {len(columns)}
    assert alone[:4] == ("real alone", "80.0 %", "", "50.0 %")
    assert diffusion[:4] == ("and diffusion", "78.0 %", "−2.0 (−5.0 to +1.0)", "50.0 %")
    assert blend == ("and blend", "-", "-", "-", "too few to say")
    assert both.discouraged and not synthesis({"diffusion": way(None)}).discouraged


def test_runs_on_other_pictures_are_not_compared() -> None:
    own = judged((0.9, 0.9, 0.5), seed=1)
    with pytest.raises(HandlensError, match="on the same pictures"):
        worth_of([own], [own.only(np.arange(100, 220))], "rare")
