"""The story of other sites: train here, test there.

Each site of a column (factory, line, camera, day) is left out in turn. What was learned from the others
judges it: as it is, through batch norms that were told of every site what its pictures look like, and from
features that were brought to its look. None of these three sees a label of the site that is judged.

Beside them stands what a mixed split would have claimed for the very same pictures: a head that had other
groups of the site to learn from. It learns from no more pictures than the others do, so that the difference
is the site's alone and not that of having more to learn from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from handlens.base.choices import suggestion
from handlens.base.errors import HandlensError
from handlens.base.files import digest, only_writer, write_json
from handlens.base.parallel import in_order
from handlens.base.progress import progress
from handlens.data.check import Checked, check
from handlens.data.groups import GroupSpec, assign_groups
from handlens.data.leak import copies_among
from handlens.data.made import refuse_among_classes
from handlens.data.samples import Samples, join_names
from handlens.data.sides import Rows, Shot, Sides
from handlens.recipe import Recipe
from handlens.report.words import count
from handlens.study.adapt import (
    HeldTable,
    Look,
    Moments,
    adapted_extractor,
    adapted_rows,
    aligned,
    batch_norms,
    usual_moments,
)
from handlens.study.curve import PARTS, refuse_training_networks, told_of
from handlens.study.fewshot import Lesson, by_head
from handlens.study.ledger import Key, Ledger
from handlens.study.sites_page import write_page
from handlens.study.sites_results import WAYS, WORDS, Sited, SiteSaid, SitesSpec, Way, measured
from handlens.training.device import a_core_a_batch, choose_device, on_one_core
from handlens.training.extract import FEATURES_VERSION, Extractor
from handlens.training.table import FeatureTable

PAGE, RECORD, CELLS = "sites.html", "sites.json", "cells.jsonl"
NO_SITES = ("id", "path", "label", "split", "digest")
"""Columns that name no sites."""
ADAPTED_VERSION = 3
"""Raise it when adapting the same pictures would give other features than before."""
MOST_SITES = 50
"""With more values a column hardly names sites."""


@dataclass(frozen=True, eq=False)
class LeftOut:
    """A site that is judged, and what may be learned from."""

    name: str
    judged: Rows
    """The pictures of the site whose class the other sites have."""
    unlabelled: Rows
    """All its pictures, whose labels nothing looks at."""
    others: Rows
    """Pictures of the other sites that share no group with it and show nothing of other pictures."""


def across_sites(
    recipe: Recipe, samples: Samples, folder: Path, spec: SitesSpec, command: str = "", data: str = ""
) -> Sited:
    """Leave each site out in turn. Given again after a stop, it goes on.

    `data` is what the pictures are called, else as the folder that they are in.
    """
    refuse_training_networks(recipe, "A comparison across sites")
    refuse_among_classes(folder, samples)
    with only_writer(folder):
        checked = check(samples, recipe.data)
        placed, homeless = with_sites(checked, spec.column, recipe.data.pixel_limit)
        sides = Sides.of(placed)
        names = placed.table[spec.column].cast(pl.String).to_list()
        sites = left_out_sites(sides, names, spec.column)
        about = {
            "pictures": checked.digest,
            "sites": digest(*sorted(map("\t".join, zip(sides.ids, names, strict=True)))),
            "recipe": digest(*(str(recipe.resolved()[part]) for part in PARTS)),
            "folds": str(spec.folds),
            "seed": str(spec.seed),
            "features": str(FEATURES_VERSION),
            "adapted": str(ADAPTED_VERSION),
        }
        work = Work(recipe, sides, names, spec)
        ledger = Ledger(folder / CELLS, about)
        for site in sites:
            work.judge(site, ledger)
        found = measured([work.told(site, ledger) for site in sites], spec)
        told = Sited(
            data=data or samples.root.name,
            recipe=recipe.name,
            backbone=recipe.model.backbone,
            spec=spec,
            classes=sides.classes,
            notes=(*told_of(checked, placed.marks), *_notes(work, sites, homeless)),
            sites=found.sites,
            together=found.together,
            elsewhere=found.elsewhere,
            answer=found.answer,
        )
        write_json(folder / RECORD, told.model_dump(mode="json"))
        write_page(told, folder / PAGE, command)
    return told


def refuse_no_sites(samples: Samples, column: str) -> None:
    """A column that cannot name sites is told before anything is read or run."""
    if column in ("label", samples.label_name):
        raise HandlensError(
            f"The column {column!r} is what is judged, and no site. Name the one that says where a picture "
            "was taken: factory, line, camera or day."
        )
    columns = [name for name in samples.table.columns if name not in NO_SITES]
    if column not in columns:
        have = f"They have {', '.join(columns)}." if columns else "They have none besides class and path."
        raise HandlensError(
            f"The pictures have no column {column!r} to take sites from.{suggestion(column, columns)} {have} "
            "Give a table or a manifest with a column that names the site of each picture."
        )


def with_sites(checked: Checked, column: str, pixel_limit: int) -> tuple[Samples, int]:
    """The pictures that have a site, copies in one group, and how many have none."""
    samples = checked.samples
    refuse_no_sites(samples, column)
    row_of = {id_: row for row, id_ in enumerate(samples.table["id"])}
    same = [[row_of[id_] for id_ in ids] for ids in copies_among(checked, pixel_limit)]
    grouped = assign_groups(samples, GroupSpec(), same)
    table = grouped.table.with_columns(split=pl.lit("train"))
    kept = table.filter(pl.col(column).is_not_null() & (pl.col(column).cast(pl.String) != ""))
    return grouped.with_table(kept), len(table) - len(kept)


def left_out_sites(sides: Sides, names: Sequence[str], column: str) -> list[LeftOut]:
    """Each site with what may be learned for it."""
    site = np.array(names, dtype=np.str_)
    known = sorted(set(names))
    if not 2 <= len(known) <= MOST_SITES:
        needed = f"at most {MOST_SITES} make sense" if known[1:] else "two are needed"
        raise HandlensError(
            f"The column {column!r} names {count(len(known), 'site')}, and {needed}. Choose a column such as "
            "factory, line, camera or day."
        )
    groups = np.array(sides.groups, dtype=np.str_)
    found = []
    for name in known:
        here = np.flatnonzero(site == name)
        # A group that is at two sites would be learned from and judged.
        others = np.flatnonzero((site != name) & ~np.isin(groups, groups[here]) & (sides.targets >= 0))
        # What was mixed or drawn from several may show what is judged, whatever its group says.
        others = sides.unmixed(others)
        taken = sides.taken(here)
        judged = taken[np.isin(sides.targets[taken], np.unique(sides.targets[others]))]
        if len(judged) and len(np.unique(sides.targets[others])) > 1:
            found.append(LeftOut(name, judged, taken, others))
    if len(found) < 2:
        raise HandlensError(
            f"Sites of the column {column!r} share too few classes to learn at one and judge at another. "
            "Choose a column whose sites each have several classes."
        )
    return found


@dataclass(frozen=True, eq=False)
class Work:
    """What judging a site takes; the network is made when something is missing."""

    recipe: Recipe
    sides: Sides
    names: Sequence[str]
    spec: SitesSpec

    @cached_property
    def extractor(self) -> Extractor:
        """The frozen network."""
        recipe = self.recipe
        device = choose_device(recipe.train.precision)
        return Extractor(recipe.model, recipe.views, device, recipe.data.pixel_limit)

    @cached_property
    def table(self) -> FeatureTable:
        """The features of all pictures, as they are."""
        return self.extractor.table(self.sides.shots, next(iter(self.recipe.views.kinds)))

    @cached_property
    def has_batch_norms(self) -> bool:
        """Whether there is anything to adapt."""
        return bool(batch_norms(self.extractor.trunk))

    @cached_property
    def looks(self) -> dict[str, Look]:
        """How the features of each site lie; no label is asked."""
        site = np.array(self.names)
        rows = {name: np.flatnonzero(site == name) for name in sorted(set(self.names))}
        return {name: Look.of(self.table.rows(places, 0).numpy()) for name, places in rows.items()}

    @cached_property
    def shots_by_site(self) -> dict[str, list[Shot]]:
        """The pictures of each site that its batch norms are told of.

        A site may have nothing but pictures that were made from those of others; it is not among them.
        """
        site = np.array(self.names)
        places = {name: self.sides.taken(np.flatnonzero(site == name)) for name in sorted(set(self.names))}
        return {name: [self.sides.shots[at] for at in here] for name, here in places.items() if len(here)}

    @cached_property
    def usual(self) -> list[Moments]:
        """What reaches the batch norms of the network as it is, over all sites; no label is asked."""
        return usual_moments(self.extractor, self.shots_by_site.values())

    @cached_property
    def renormed(self) -> FeatureTable:
        """The features of each site from a network whose batch norms bring its look to the usual one.

        Which site is judged makes no difference to them, so that all turns share them.
        """
        values = self._values()
        site = np.array(self.names)
        for name, told in self.shots_by_site.items():
            here = np.flatnonzero(site == name)
            adapted = adapted_extractor(self.extractor, told, self.usual)
            shots = [self.sides.shots[place] for place in here]
            values[:, here] = adapted_rows(adapted, shots, f"{name}, batch norms adapted")
        return HeldTable(values)

    @property
    def ways(self) -> tuple[Way, ...]:
        """The ways that this network allows."""
        return tuple(way for way in WAYS if way != "batch_norm" or self.has_batch_norms)

    def judge(self, site: LeftOut, ledger: Ledger) -> None:
        """Train and judge what is missing of a site, by every way."""
        for way in self.ways:
            missing = ledger.missing([(site.name, way, seed) for seed in range(self.spec.seeds)])
            if not missing:
                continue
            lessons = self._lessons(site, way)

            def said(key: Key, lessons: "list[_Taught]" = lessons, site: LeftOut = site) -> NDArray[np.int64]:
                return self._said(site, lessons, int(key[2]))

            what = f"{site.name}: {WORDS[way]}"
            with a_core_a_batch(), progress(what, len(missing), "trainings") as advance:
                for key, judged in zip(missing, in_order(said, missing, on_one_core), strict=True):
                    ledger.add(key, judged)
                    advance(1)

    def told(self, site: LeftOut, ledger: Ledger) -> SiteSaid:
        """What every way said of a site."""
        said = {
            way: np.stack([ledger[site.name, way, seed] for seed in range(self.spec.seeds)])
            for way in self.ways
        }
        groups = tuple(self.sides.groups[place] for place in site.judged)
        return SiteSaid(site.name, self.sides.targets[site.judged], groups, len(site.others), said)

    def _said(self, site: LeftOut, lessons: "list[_Taught]", seed: int) -> NDArray[np.int64]:
        """What the site's pictures are called, in their order; each is judged by one lesson."""
        called = np.full(len(self.sides.ids), -1, dtype=np.int64)
        seed += self.recipe.train.seed + self.spec.seed
        for taught in lessons:
            called[taught.asked] = by_head(self.lesson(taught.table, taught.learned, taught.asked, seed))
        return called[site.judged]

    def lesson(self, table: FeatureTable, learned: Rows, asked: Rows, seed: int) -> Lesson:
        """What the recipe's head is to learn from some pictures, and to say of others."""
        return Lesson(
            table=table,
            classes=self.sides.targets,
            num_classes=len(self.sides.classes),
            learned=learned,
            asked=asked,
            head=self.recipe.model.head,
            fit=self.recipe.train,
            average=self.recipe.views.averages[0],
            seed=seed,
        )

    def _lessons(self, site: LeftOut, way: Way) -> "list[_Taught]":
        if way == "seen":
            return self._of_seen_site(site)
        if way == "plain":
            table = self.table
        else:
            table = self.renormed if way == "batch_norm" else self._aligned(site)
        return [_Taught(table, site.others, site.judged)]

    def _of_seen_site(self, site: LeftOut) -> "list[_Taught]":
        """In turn a part of the site's groups is judged, and the others are learned from too."""
        groups = np.array(self.sides.groups, dtype=np.str_)
        ordered = sorted(
            np.unique(groups[site.judged]).tolist(), key=lambda name: digest(str(self.spec.seed), name)
        )
        fold_of = {name: at % self.spec.folds for at, name in enumerate(ordered)}
        fold = np.array([fold_of[groups[place]] for place in site.judged])
        found = []
        for number in range(min(self.spec.folds, len(ordered))):
            own = site.judged[fold != number]
            learned = thinned(np.concatenate([site.others, own]), groups, len(site.others), self.spec.seed)
            learned = with_all_classes(learned, site.others, self.sides.targets)
            found.append(_Taught(self.table, learned, site.judged[fold == number]))
        return found

    def _values(self) -> NDArray[np.float32]:
        """The features of all pictures under all views, to be changed."""
        everything = np.arange(len(self.sides.ids))
        return np.stack([self.table.rows(everything, view).numpy() for view in range(self.table.num_views)])

    def _aligned(self, site: LeftOut) -> FeatureTable:
        """The features with those of each other site brought to the look of this one."""
        values = self._values()
        wanted = self.looks[site.name]
        site_of = np.array(self.names)
        for name, look in self.looks.items():
            if name != site.name:
                here = np.flatnonzero(site_of == name)
                for view in values:
                    view[here] = aligned(view[here], look, wanted)
        return HeldTable(values)


@dataclass(frozen=True, eq=False)
class _Taught:
    """A training and what it judges."""

    table: FeatureTable
    learned: Rows
    asked: Rows


def thinned(places: Rows, groups: NDArray[np.str_], most: int, seed: int) -> Rows:
    """So many of some pictures, group after group in the order of a hash; the last group may be cut."""
    order = sorted(places.tolist(), key=lambda place: (digest(str(seed), str(groups[place])), place))
    return np.sort(np.array(order[:most], dtype=np.int64))


def with_all_classes(learned: Rows, spare: Rows, targets: NDArray[np.int64]) -> Rows:
    """The pictures, and one of each class that thinning took away."""
    lacking = np.setdiff1d(targets[spare], targets[learned])
    added = [spare[targets[spare] == each][0] for each in lacking]
    return np.sort(np.concatenate([learned, np.array(added, dtype=np.int64)]))


def _notes(work: Work, sites: Sequence[LeftOut], homeless: int) -> list[str]:
    sides, spec = work.sides, work.spec
    told = [
        "Batch norms and features are adapted to the pictures that are then judged, without looking at a "
        "label of theirs.",
        f"Where the site was seen, the head learned from other groups of it ({spec.folds} parts in turn) and "
        "from no more pictures than where it was not.",
        "Intervals are over groups and trainings, and hold for these sites; those over sites are wide where "
        "sites are few.",
    ]
    if not work.has_batch_norms:
        told.append("This network has no batch norms, so there are none to adapt.")
    if homeless:
        told.append(f"{count(homeless, 'picture')} without a site were left out.")
    unknown = sum(len(site.unlabelled) - len(site.judged) for site in sites)
    if unknown:
        told.append(f"{count(unknown, 'picture')} of classes that no other site has were not judged.")
    missed = sorted(set(work.names) - {site.name for site in sites})
    if missed:
        told.append(f"Not judged: {join_names(missed, 5)}, which share no classes with the others.")
    uneven = [sides.targets[site.judged] for site in sites]
    shares = np.stack([np.bincount(each, minlength=len(sides.classes)) / len(each) for each in uneven])
    if float((shares.max(axis=0) - shares.min(axis=0)).max()) > 0.2:
        told.append(
            "The sites have the classes in different proportions. Adapting takes that for a difference of "
            "looks, and may then do harm."
        )
    return told
