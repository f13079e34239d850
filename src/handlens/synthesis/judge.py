"""Copies: the training picture that each synthetic one is nearest to, and whether it is that one again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handlens.data.fingerprints import SIDE, thumbnails
from handlens.data.orientations import ORIENTATIONS, turn
from handlens.data.scan import FileFacts, scan
from handlens.data.sides import Shot
from handlens.synthesis.material import Material

Rows = NDArray[np.float32]
Features = Callable[[Sequence[Shot]], Rows]
"""From pictures to the rows of a frozen network."""

NEARER = 0.5
"""A copy is nearer to one training picture than this share of its mean distance to others, or than is usual.

Carlini et al. 2023, "Extracting training data from diffusion models", equation 1."""
OTHERS = 50
"""The mean is over so many of the next nearest pictures."""
LEAST_OTHERS = 3
"""With fewer, their mean distance says nothing."""
ALIKE = 0.95
"""From this correlation of pixels on, in any orientation, pictures are the same; real ones may raise it."""
USUAL = 0.9
"""The bounds let so large a share of the real pictures pass, of which none is a copy of another group's."""


@dataclass(frozen=True)
class Nearest:
    """What a synthetic picture is nearest to."""

    row: int
    """The training picture with the nearest features."""
    distance: float
    """To it, as a share of the mean distance to the pictures that come next; 0 is the same picture."""
    like: int
    """The training picture whose pixels are most alike, in some orientation."""
    correlation: float
    """Of these pixels: 1 is the same picture, however bright."""
    copy: str = ""
    """Why it is a copy, in words; empty where it is none."""

    @property
    def nearest(self) -> int:
        """The one to be seen beside it: that which it is a copy of by its pixels, else by its features."""
        return self.like if self.copy.startswith("pixels") else self.row


class Judge:
    """Compares synthetic pictures with the training pictures of the class."""

    def __init__(self, material: Material, features: Features, seen: Mapping[int, Path]) -> None:
        """`seen` are training pictures by their rows, as the makers of the synthetic pictures saw them."""
        self._material = material
        self._features = features
        self._rows = tuple(sorted(seen))
        self._facts = scan([seen[row] for row in self._rows], material.pixel_limit)
        self._groups = np.array([material.groups[row] for row in self._rows])
        self._own = np.array([material.labels[row] == material.label for row in self._rows])

    def nearest(self, paths: Sequence[Path]) -> list[Nearest]:
        """What each of some pictures is nearest to."""
        facts = scan(paths, self._material.pixel_limit)
        distances = _distances(self._unit_rows(facts), self._reference)
        likes = alike(_grey(facts, self._material.pixel_limit), self._own_greys)
        own_rows = np.flatnonzero(self._own)
        found = []
        for away, like in zip(distances, likes, strict=True):
            row, share = self._by_features(away)
            place = int(like.argmax())
            is_like, is_near = like[place] >= self.most_alike, share < self.nearest_share
            why = "pixels are the same" if is_like else "features are nearly the same" if is_near else ""
            found.append(
                Nearest(
                    self._rows[row],
                    round(share, 4),
                    self._rows[own_rows[place]],
                    round(float(like[place]), 4),
                    why,
                )
            )
        return found

    @cached_property
    def most_alike(self) -> float:
        """The correlation from which on pixels are the same: more than real pictures of the class have."""
        greys, groups = self._own_greys, self._groups[self._own]
        likes = alike(greys, greys)
        likes[groups[:, None] == groups[None, :]] = -1
        best = likes.max(axis=1)
        best = best[best > -1]
        return max(ALIKE, float(np.quantile(best, USUAL))) if len(best) else ALIKE

    @cached_property
    def nearest_share(self) -> float:
        """The distance below which features are the same: less than real pictures of the class have."""
        rows = np.flatnonzero(self._own)
        distances = _distances(self._reference[rows], self._reference)
        shares = [
            self._by_features(away, group)[1]
            for away, group in zip(distances, self._groups[rows], strict=True)
            if len(set(self._groups)) > 1
        ]
        return min(NEARER, float(np.quantile(shares, 1 - USUAL))) if shares else NEARER

    @cached_property
    def _reference(self) -> Rows:
        return self._unit_rows(self._facts)

    @cached_property
    def _own_greys(self) -> NDArray[np.uint8]:
        own = [fact for fact, own in zip(self._facts, self._own, strict=True) if own]
        return _grey(own, self._material.pixel_limit)

    def _unit_rows(self, facts: Sequence[FileFacts]) -> Rows:
        rows = self._features(_shots(facts))
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float32)

    def _by_features(self, away: Rows, group: str | None = None) -> tuple[int, float]:
        """The nearest picture, and how near as a share; not of the group that the asked one is of itself."""
        away = np.where(self._groups == group, np.float32(np.inf), away)
        nearest = int(away.argmin())
        # Other pictures of what the nearest one came from are as near as it is, and no measure.
        others = self._own & (self._groups != self._groups[nearest]) & np.isfinite(away)
        next_ones = np.sort(away[others])[:OTHERS]
        if len(next_ones) < LEAST_OTHERS:
            return nearest, 1.0
        return nearest, float(away[nearest] / max(float(next_ones.mean()), 1e-12))


def rows_of(paths: Sequence[Path], features: Features, pixel_limit: int) -> Rows:
    """The features of pictures, as they are."""
    return features(_shots(scan(paths, pixel_limit)))


def alike(some: NDArray[np.uint8], others: NDArray[np.uint8]) -> Rows:
    """The correlation of each thumbnail with each other one, in the orientation in which it is largest."""
    to = _standard(others)
    best = np.full((len(some), len(others)), -1, np.float32)
    for orientation in ORIENTATIONS:
        np.maximum(best, _standard(turn(some, orientation)) @ to.T, out=best)
    return best


def _standard(greys: NDArray[np.uint8]) -> Rows:
    """Each thumbnail as a row of mean 0 and length 1; of plain ones all is 0."""
    rows = np.ascontiguousarray(greys, np.float32).reshape(len(greys), -1)
    rows -= rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.where(length > 1e-3 * SIDE, rows / np.maximum(length, 1e-6), 0), np.float32)


def _distances(some: Rows, others: Rows) -> Rows:
    """Euclidean distances of rows of length 1."""
    return np.asarray(np.sqrt(np.maximum(2 - 2 * (some @ others.T), 0)), np.float32)


def _grey(facts: Sequence[FileFacts], pixel_limit: int) -> NDArray[np.uint8]:
    return thumbnails(facts, pixel_limit).levels


def _shots(facts: Sequence[FileFacts]) -> list[Shot]:
    return [Shot(fact.path, fact.digest) for fact in facts]
