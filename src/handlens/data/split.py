"""Splitting samples into train, val and test: stratified, and with every group on one side."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Annotated, Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from handlens.base.errors import HandlensError
from handlens.base.spec import Spec
from handlens.data.derived import derived_rows
from handlens.data.division import Ints, divide
from handlens.data.samples import SIDES, Samples, join_names

_NO_LABEL = "(no label)"


def _ratios(value: Any) -> Any:
    """Parts such as "8:2", "6:2:2" or [0.8, 0.2], made to sum to one."""
    if isinstance(value, int | float):
        raise ValueError(  # noqa: TRY004 (pydantic turns only ValueError into a problem of the recipe)
            "write the parts in quotes, as '8:2', or as a list, [8, 2]: YAML takes them bare for a time"
        )
    parts = value.split(":") if isinstance(value, str) else value
    try:
        numbers = [float(part) for part in parts]
    except (TypeError, ValueError):
        raise ValueError("write parts like '8:2' (train:test) or '6:2:2' (train:val:test)") from None
    if len(numbers) not in (2, 3):
        raise ValueError("there must be two parts (train:test) or three (train:val:test)")
    if not all(0 < number < float("inf") for number in numbers):
        raise ValueError("every part must be a number above zero; leave out the val part to have none")
    return tuple(number / sum(numbers) for number in numbers)


class SplitSpec(Spec):
    """How pictures are divided into sides; a split that came with the pictures is kept."""

    ratios: Annotated[
        tuple[float, ...], BeforeValidator(_ratios, json_schema_input_type=str | list[float])
    ] = (0.8, 0.2)
    """The parts of train and test, or of train, val and test, such as '8:2' or [0.6, 0.2, 0.2]."""
    seed: int = 0
    """Another seed gives another split of the same quality."""
    folds: int | None = Field(default=None, ge=2)
    """Cross-validation: into how many parts to divide, one of which is the test side."""
    fold: int = Field(default=0, ge=0)
    """Which of the folds is the test side, counted from 0."""
    keep_given: bool = True
    """Keep a split that came with the pictures; if false, it is forgotten and a new one made."""
    allow_leak: bool = False
    """Train although test pictures of a split that came with the pictures have copies in training; the run
    is marked as leaking."""

    @model_validator(mode="after")
    def _fold_exists(self) -> Self:
        if self.fold >= (self.folds or 1):
            raise ValueError(
                f"fold {self.fold} is not one of {self.folds} folds, which count from 0"
                if self.folds
                else "a fold is chosen, but the number of folds is not: set folds too"
            )
        return self


class SideReport(Spec):
    """What one side got."""

    name: str
    """Train, val or test."""
    asked: float | None
    """The asked share of all pictures; none where the split was given."""
    got: float
    """The share of all pictures that it has."""
    n: int
    """How many pictures it has."""
    n_groups: int
    """How many groups these came from."""
    counts: dict[str, int]
    """How many pictures of each class it has, zeros included."""


class SplitReport(Spec):
    """How a split came out."""

    given: bool
    """Whether the split came with the pictures."""
    sides: tuple[SideReport, ...]
    """The sides that have pictures, in the order train, val, test."""
    worst_deviation_pp: float
    """The largest difference, in percentage points, between a class's share of a side and of the whole."""
    worst_class: str
    """The class that has this difference."""
    worst_side: str
    """The side on which it has it."""
    leaks: tuple[str, ...]
    """Groups that stand on more than one side; only a given split can have them."""
    n_derived: int = 0
    """Pictures made from others that the training side has besides; nothing above counts them."""
    n_derived_left_out: int = 0
    """Those that were left out, because what they were made from stands on another side."""

    def sentences(self) -> list[str]:
        """The report for people."""
        told = ["The split came with the pictures and was kept."] if self.given else []
        for side in self.sides:
            asked = "" if side.asked is None else f", asked {side.asked:.1%}"
            told.append(f"{side.name}: {side.n} pictures of {side.n_groups} groups ({side.got:.1%}{asked}).")
            absent = [label for label, count in side.counts.items() if count == 0]
            if absent:
                told.append(f"{side.name} has no picture of {join_names(absent)}.")
        if self.n_derived:
            told.append(f"train also has {self.n_derived} pictures that were made from others.")
        if self.n_derived_left_out:
            told.append(
                f"{self.n_derived_left_out} pictures made from others were left out, because what they were "
                "made from is not in train: such pictures can only be trained with."
            )
        if self.worst_deviation_pp < 0.05:
            told.append("Every class has the same share of each side as of all pictures.")
        else:
            told.append(
                "No class's share of a side differs from its share of all pictures by more than "
                f"{self.worst_deviation_pp:.1f} percentage points ({self.worst_class} in {self.worst_side})."
            )
        if self.leaks:
            told.append(
                f"{len(self.leaks)} groups stand on more than one side, so figures will flatter: "
                f"{join_names(self.leaks)}. Set split.keep_given to false to split anew."
            )
        return told


def split(samples: Samples, spec: SplitSpec) -> tuple[Samples, SplitReport]:
    """Give every picture its side, or keep the sides that came with the pictures.

    Derived pictures have no say in it: they are in training if their group is, and otherwise left out.
    """
    derived = derived_rows(samples)
    if not derived.any():
        done, asked = _sides_given_or_made(samples, spec)
        return done, _report(done, asked)
    taken = samples.with_table(samples.table.filter(~derived))
    if len(taken) == 0:
        raise HandlensError(
            "All these pictures were made from others, which can only be trained with: there is nothing to "
            "test on. Give pictures that were taken beside them."
        )
    done, asked = _sides_given_or_made(taken, spec)
    placed = _with_derived(samples, derived, done)
    n_derived = len(placed) - len(done)
    report = _report(done, asked).model_copy(
        update={"n_derived": n_derived, "n_derived_left_out": int(derived.sum()) - n_derived}
    )
    return placed, report


def _with_derived(samples: Samples, derived: NDArray[np.bool_], done: Samples) -> Samples:
    """All pictures in their order, the derived ones in train; without those whose group is held out."""
    held_out = set(done.table.filter(pl.col("split") != "train")["group"])
    keep = ~(derived & samples.table["group"].is_in(held_out).to_numpy())
    sides = np.full(len(samples), "train", dtype=object)
    sides[~derived] = done.table["split"].to_list()
    table = samples.table.with_columns(split=pl.Series(sides.tolist(), dtype=pl.String))
    return replace(samples.with_table(table.filter(keep)), split_made=done.split_made)


def _sides_given_or_made(samples: Samples, spec: SplitSpec) -> tuple[Samples, dict[str, Fraction] | None]:
    """The pictures with their sides, and the shares that were asked for; none where sides came with them."""
    if samples.is_split and spec.keep_given:
        _require_whole(samples, spec)
        return samples, None
    labels, groups = samples.table["label"].to_list(), samples.table["group"].to_list()
    parts = _fractions(spec.ratios)
    if spec.folds is None:
        names = SIDES if len(parts) == 3 else ("train", "test")
        asked = dict(zip(names, parts, strict=True))
        sides = np.array(names)[_divide(labels, groups, parts, spec.seed)]
    else:
        test = Fraction(1, spec.folds)
        in_test = fold_sides(labels, groups, spec.folds, spec.seed) == spec.fold
        sides = np.where(in_test, "test", "train")
        asked = {"train": 1 - test, "test": test}
        if len(parts) == 3:
            # What is not tested on is divided as the first two parts say.
            train = parts[0] / (parts[0] + parts[1])
            asked = {"train": train * (1 - test), "val": (1 - train) * (1 - test), "test": test}
            rest = np.flatnonzero(~in_test)
            inner = _divide(
                [labels[i] for i in rest], [groups[i] for i in rest], (train, 1 - train), spec.seed
            )
            sides[rest[inner == 1]] = "val"
    table = samples.table.with_columns(split=pl.Series(sides.tolist(), dtype=pl.String))
    return replace(samples.with_table(table), split_made=True), asked


def fold_sides(labels: Sequence[str | None], groups: Sequence[str], folds: int, seed: int) -> Ints:
    """The fold, counted from 0, of every row: stratified, and with every group in one fold."""
    return _divide(labels, groups, (Fraction(1, folds),) * folds, seed)


def _divide(
    labels: Sequence[str | None], groups: Sequence[str], shares: Sequence[Fraction], seed: int
) -> Ints:
    """Divide rows; those without a label are spread like a class of their own."""
    known = Counter(label for label in labels if label is not None)
    lacking = {group for label, group in zip(labels, groups, strict=True) if label is None}
    # Too few to be on every side, they go where one more picture of the largest class matters least.
    stratum = _NO_LABEL if len(lacking) >= len(shares) else max(sorted(known), key=known.__getitem__)
    return divide([stratum if label is None else label for label in labels], groups, shares, seed)


def _fractions(ratios: Sequence[float]) -> tuple[Fraction, ...]:
    """Exact shares: 0.1 of 30 pictures are 3, not 3.0000000000000004."""
    parts = [Fraction(ratio).limit_denominator(10_000) for ratio in ratios]
    return tuple(part / sum(parts) for part in parts)


def _require_whole(samples: Samples, spec: SplitSpec) -> None:
    """A given split must say where every picture stands, and have something to train and to test on."""
    table = samples.table
    again = "or set split.keep_given to false, which makes a new split"
    homeless = table.filter(pl.col("split").is_null())["id"].to_list()
    if homeless:
        raise HandlensError(
            f"{len(homeless)} of {len(samples)} pictures have no split although the others have one "
            f"({join_names(homeless, 3)}). Fill it in for all, empty it for all, {again}."
        )
    present = set(table["split"].to_list())
    lacking = [side for side in ("train", "test") if side not in present]
    if lacking:
        raise HandlensError(
            f"The split that came with the pictures has no {' and no '.join(lacking)} side, only "
            f"{' and '.join(sorted(present))}. Add one, {again}."
        )
    if spec.folds is not None:
        raise HandlensError(
            f"Folds are asked for, but the pictures came with a split. Drop the folds, {again}."
        )


def _report(samples: Samples, asked: dict[str, Fraction] | None) -> SplitReport:
    classes, whole = samples.classes, samples.counts()
    sides, deviations = [], []
    for name in SIDES:
        side = samples.side(name)
        if len(side) == 0:
            continue
        counts = side.counts()
        sides.append(
            SideReport(
                name=name,
                asked=None if asked is None else float(asked[name]),
                got=len(side) / len(samples),
                n=len(side),
                n_groups=side.table["group"].n_unique(),
                counts={label: counts.get(label, 0) for label in classes},
            )
        )
        for label in classes:
            difference = abs(counts.get(label, 0) / len(side) - whole[label] / len(samples))
            deviations.append((difference * 100, label, name))
    worst, worst_class, worst_side = max(deviations)
    return SplitReport(
        given=asked is None,
        sides=tuple(sides),
        worst_deviation_pp=worst,
        worst_class=worst_class,
        worst_side=worst_side,
        leaks=_leaks(samples),
    )


def _leaks(samples: Samples) -> tuple[str, ...]:
    sides_of: defaultdict[str, set[str]] = defaultdict(set)
    for group, side in samples.table.select("group", "split").iter_rows():
        sides_of[group].add(side)
    return tuple(sorted(group for group, sides in sides_of.items() if len(sides) > 1))
