"""What is looked for in an audit, and from where on it is told: every threshold in one place."""

import json
from collections.abc import Iterable
from typing import Any, Self

from pydantic import Field

from handlens.base.spec import Spec
from handlens.data.check import DataSpec
from handlens.data.image import JudgingView
from handlens.models.build import ModelSpec
from handlens.recipe import Recipe, lay_over

NANO = "handlens/nano"


class FilesSpec(Spec):
    """When a file is suspicious by itself, or beside the other pictures of its set."""

    most_broken: float = Field(default=0.01, ge=0, le=1)
    """Share of pictures that cannot be read, or show nothing, above which the set has to be mended."""
    least_side: int = Field(default=64, ge=1)
    """Pictures with a shorter side have to be blown up for any network."""
    most_stretched: float = Field(default=4.0, gt=1)
    """Pictures whose long side is more than so many times the short one are squashed beyond recognition."""
    rare: float = Field(default=0.05, ge=0, le=0.5)
    """Modes that at most this share of the pictures have stand out; the others are a mixture."""
    most_blurred: float = Field(default=0.6, gt=0, lt=1)
    """Blur (0: none, 1: nothing but) from which on a picture counts as blurred, if it also stands out."""
    most_dark: float = Field(default=0.98, gt=0, le=1)
    """Share of dark pixels (below 40 of 255) from which on a picture is too dark, if it also stands out."""
    most_bright: float = Field(default=0.9, gt=0, le=1)
    """Share of burnt-out pixels (250 or more of 255) that is too much, if it also stands out."""
    standing_out: float = Field(default=4.0, gt=0)
    """How many standard deviations, estimated robustly, from its class and from the set stand out."""


class ShortcutsSpec(Spec):
    """When something beside the subject is said to tell the class, or the split."""

    margin: float = Field(default=0.2, gt=0, le=1)
    """How far, on the way from chance (0) to certainty (1), the interval must lie above chance."""
    nearly_certain: float = Field(default=0.8, gt=0, le=1)
    """How far on that way, for all or for the best known class, what a network sees has to be mended."""
    folds: int = Field(default=5, ge=2)
    """Parts of the cross-validation; fewer where a class has fewer groups."""
    most_pictures: int = Field(default=4000, ge=100)
    """Of larger sets, so many pictures are drawn at random, whole groups of each class in turn."""


class BalanceSpec(Spec):
    """When a class has too little to be judged by."""

    most_uneven: float = Field(default=10.0, gt=1)
    """How many times as many pictures the largest class may have as the smallest."""
    test_share: float = Field(default=0.2, gt=0, lt=1)
    """The share of the groups that is for testing, where the pictures have no split yet."""
    widest: float = Field(default=0.2, gt=0, lt=1)
    """How far, at most, the truth may lie from a class's recall on the test side (half its interval)."""


class AuditSpec(Spec):
    """How pictures are audited."""

    data: DataSpec = DataSpec()
    """How the pictures are read and grouped."""
    seed: int = Field(default=0, ge=0)
    """What is drawn at random depends on this."""
    quick: bool = False
    """Whether to leave out all that needs a network."""
    model: ModelSpec = ModelSpec(backbone=NANO, weights="bundled")
    """The network whose frozen features tell which pictures look alike."""
    view: JudgingView = JudgingView()
    """What it sees of a picture."""
    files: FilesSpec = FilesSpec()
    """Broken, odd, blurred and dark pictures."""
    shortcuts: ShortcutsSpec = ShortcutsSpec()
    """What tells the class or the split without looking at the subject."""
    balance: BalanceSpec = BalanceSpec()
    """Classes and groups."""

    @classmethod
    def load(cls, recipe: str | None = None, settings: Iterable[str] = ()) -> Self:
        """The defaults, or the labels, the network and the view of a recipe, with `a.b=c` laid over them."""
        values: dict[str, Any] = {}
        if recipe is not None:
            chosen = Recipe.load(recipe)
            # Before they are trained, edits see no better than the network that they change.
            model = chosen.model.model_copy(update={"edits": ()})
            values = {"data": chosen.data, "model": model, "view": chosen.views.judge}
            values = {key: spec.model_dump(mode="json", by_alias=True) for key, spec in values.items()}
        for setting in settings:
            lay_over(values, setting)
        return cls.parse(values, "The audit")


def backbone_settings(backbone: str | None) -> list[str]:
    """Another network as settings, with the weights that it comes with."""
    if backbone is None:
        return []
    weights = "bundled" if backbone == NANO else "pretrained"
    return [f"model.backbone={json.dumps(backbone)}", f"model.weights={weights}"]
