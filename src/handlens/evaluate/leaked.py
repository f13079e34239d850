"""What copies in training are worth: the accuracy on test pictures with and without those that have one."""

from collections.abc import Collection

import numpy as np

from handlens.base.spec import Spec
from handlens.data.leak import Copied
from handlens.evaluate.predictions import Predictions
from handlens.evaluate.results import Figure
from handlens.evaluate.summary import judge


class Leaked(Spec):
    """The shape of leak.json: which judged pictures have copies in training, and what comes of it."""

    side: str
    """The side of the split that was judged."""
    copied: tuple[Copied, ...]
    """The judged pictures that have copies in training."""
    with_copies: Figure
    """The accuracy on all pictures of the side."""
    without_copies: Figure | None
    """The accuracy on those that have no copy in training; none where there are none."""
    on_copies: Figure
    """The accuracy on those that have."""


def leaked(predictions: Predictions, copied: Collection[Copied], side: str = "test") -> Leaked | None:
    """The accuracy with and without copies; none where no picture with a known label has one."""
    labelled = predictions.labelled()
    among = {each.id for each in copied}
    has_copy = np.array([name in among for name in labelled.ids], dtype=np.bool_)
    if not has_copy.any():
        return None
    return Leaked(
        side=side,
        copied=tuple(sorted(copied, key=lambda each: each.id)),
        with_copies=_accuracy(labelled),
        without_copies=None if has_copy.all() else _accuracy(labelled.only(np.flatnonzero(~has_copy))),
        on_copies=_accuracy(labelled.only(np.flatnonzero(has_copy))),
    )


def _accuracy(predictions: Predictions) -> Figure:
    return judge("these pictures", predictions, None, seed=0).figures["accuracy"]
