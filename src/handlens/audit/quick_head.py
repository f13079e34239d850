"""A small head on frozen features: what a network makes of pictures, in a second."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handlens.data.copies import Features
from handlens.data.image import judge
from handlens.data.orientations import turn
from handlens.data.samples import Samples
from handlens.data.sides import Rows, Shot
from handlens.evaluate.predict import judge_rows
from handlens.models.heads import Head, HeadSpec
from handlens.training.extract import PICTURES_AT_ONCE, Extractor
from handlens.training.optim import OptimiserSpec
from handlens.training.spec import FitSpec
from handlens.training.table import FeatureTable
from handlens.training.train_head import fit_head

HEAD = HeadSpec(kind="linear", input_dropout=0.5)
FIT = FitSpec(epochs=10, batch_size=128, optimiser=OptimiserSpec(learning_rate=5e-3))
"""As in the recipe `quick`."""


def shots_of(samples: Samples) -> list[Shot]:
    """The pictures of checked samples, in the order of their table."""
    return [Shot(Path(path), name) for path, name in samples.table.select("path", "digest").iter_rows()]


def features_of(samples: Samples, extractor: Extractor) -> FeatureTable:
    """The judging view of every picture through the frozen network; what is known already is not computed."""
    return extractor.table(shots_of(samples), next(iter(extractor.views.kinds)), all_views=False)


def judged_by_head(
    table: FeatureTable, targets: NDArray[np.int64], num_classes: int, learned: Rows, asked: Rows, seed: int
) -> NDArray[np.float32]:
    """The probabilities (asked, classes) of some pictures by a head that learned from others."""
    head = Head(HEAD, table.width, num_classes, seed)
    fit_head(head, table, targets, learned, None, FIT, seed=seed)
    return judge_rows(head, table, asked, average=False)


def turned_features(samples: Samples, extractor: Extractor) -> Features:
    """What the network makes of pictures in any orientation, to decide in doubt which are copies."""
    shots = shots_of(samples)

    def features(asked: Sequence[tuple[int, int]]) -> NDArray[np.float32]:
        upright = sorted({row for row, orientation in asked if orientation == 1})
        kept = features_of(samples.with_table(samples.table[upright]), extractor)
        rows = kept.rows(np.arange(len(upright)), 0).numpy()
        made = {(row, 1): rows[place] for place, row in enumerate(upright)}
        others = [each for each in asked if each[1] != 1]
        for start in range(0, len(others), PICTURES_AT_ONCE):
            some = others[start : start + PICTURES_AT_ONCE]
            pixels = [_turned(shots[row].path, orientation, extractor) for row, orientation in some]
            made |= zip(some, extractor.frozen.rows(np.stack(pixels), PICTURES_AT_ONCE), strict=True)
        return np.stack([made[each] for each in asked])

    return features


def _turned(path: Path, orientation: int, extractor: Extractor) -> NDArray[np.uint8]:
    pixels = judge(path, extractor.views.judge, extractor.pixel_limit)
    return turn(pixels.transpose(2, 0, 1), orientation).transpose(1, 2, 0)
