"""What a comparison across sites shows: each site, all of them, and the sentences that may be said of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from handlens.base.spec import Spec
from handlens.data.samples import join_names
from handlens.evaluate.results import Figure
from handlens.evaluate.significance import PairedDifference, Repeated, holm
from handlens.report.words import count, percent, points_interval
from handlens.study.hits import HitFigure, Said, Standing, Truth, differences_by_training, standing_of

Way = Literal["seen", "plain", "batch_norm", "aligned"]
WAYS: tuple[Way, ...] = ("plain", "seen", "batch_norm", "aligned")
ADAPTED: tuple[Way, ...] = ("batch_norm", "aligned")
WORDS: dict[str, str] = {
    "plain": "site never seen",
    "seen": "site seen in training",
    "batch_norm": "batch norms adapted",
    "aligned": "features aligned",
}


class SitesSpec(Spec):
    """How sites are left out."""

    column: str
    """The column that names the site of each picture."""
    seeds: int = Field(default=3, ge=1)
    """Trainings of each way."""
    folds: int = Field(default=3, ge=2)
    """Into how many parts a site is divided where its other groups are learned from."""
    figure: HitFigure = "accuracy"
    """What is measured: the share of all pictures that is right, or the mean of that over the classes."""
    seed: int = Field(default=0, ge=0)
    """Another seed divides otherwise, and starts heads otherwise."""


class Beside(Spec):
    """One way of judging some pictures, beside the plain one."""

    way: str
    figure: Figure
    difference: Figure | None
    """To the plain way on the same pictures."""
    p_corrected: float | None
    standing: Standing


class Site(Spec):
    """One site that was left out, or all of them."""

    name: str
    n: int
    """Pictures judged."""
    n_groups: int
    learned: int
    """Pictures of the other sites that were learned from."""
    ways: tuple[Beside, ...]

    def __getitem__(self, name: str) -> Beside:
        found = self.way(name)
        assert found is not None
        return found

    def way(self, name: str) -> Beside | None:
        """One way of judging; none where it is not to be had."""
        return next((each for each in self.ways if each.way == name), None)


class Sited(Spec):
    """The shape of sites.json."""

    data: str
    recipe: str
    backbone: str
    spec: SitesSpec
    classes: tuple[str, ...]
    sites: tuple[Site, ...]
    together: Site
    """All sites, with intervals over groups: how it is at these sites."""
    elsewhere: Site
    """All sites, with intervals over sites: how it is at a site like these."""
    answer: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class SiteSaid:
    """What every way said of one site's pictures."""

    name: str
    targets: NDArray[np.int64]
    groups: tuple[str, ...]
    learned: int
    """Pictures of the other sites that were learned from."""
    said: Mapping[Way, Said]


@dataclass(frozen=True)
class Told:
    """What follows from the judgments."""

    sites: tuple[Site, ...]
    together: Site
    elsewhere: Site
    answer: tuple[str, ...]


def measured(sites: Sequence[SiteSaid], spec: SitesSpec) -> Told:
    """All figures and differences, and the answer."""
    each = tuple(_measured([site], site.name, spec) for site in sites)
    together = _measured(sites, "all sites", spec)
    elsewhere = _measured(sites, "a site like these", spec, by_site=True)
    return Told(each, together, elsewhere, tuple(answered(each, together, elsewhere)))


def _measured(some: Sequence[SiteSaid], name: str, spec: SitesSpec, by_site: bool = False) -> Site:
    """Some sites as one, with intervals over their groups or over the sites themselves."""
    groups = [site.name if by_site else group for site in some for group in site.groups]
    truth = Truth(np.concatenate([site.targets for site in some]), tuple(groups), spec.figure)
    ways = list(some[0].said)
    said = [np.concatenate([site.said[way] for site in some], axis=1) for way in ways]
    found = dict(zip(ways, truth.measured(said, spec.seed), strict=True))
    return Site(
        name=name,
        n=truth.basis.n,
        n_groups=truth.basis.n_groups,
        learned=round(float(np.mean([site.learned for site in some]))),
        ways=beside(truth, found),
    )


def beside(truth: Truth, found: Mapping[Way, Repeated]) -> tuple[Beside, ...]:
    """Every way with its difference to the plain one, corrected for how many ways there are."""
    others: list[Way] = [way for way in found if way != "plain"]
    apart = differences_by_training([found[way] for way in others], found["plain"], truth.basis)
    differences: dict[Way, PairedDifference] = dict(zip(others, apart, strict=True))
    corrected: dict[Way, float] = dict(
        zip(others, holm([each.p for each in differences.values()]), strict=True)
    )
    made = []
    for way, row in found.items():
        difference = truth.difference(differences[way]) if way in differences else None
        made.append(
            Beside(
                way=way,
                figure=truth.figure_of(row),
                difference=difference,
                p_corrected=corrected.get(way),
                standing=standing_of(difference, corrected.get(way)),
            )
        )
    return tuple(made)


def answered(sites: Sequence[Site], together: Site, elsewhere: Site) -> list[str]:
    """What a person asks: is it as good at another site, and does adapting help?"""
    return [
        _of_the_loss(together["plain"].figure, together["seen"]),
        *(
            _of_adapting(WORDS[way].capitalize(), each, sites)
            for way in ADAPTED
            if (each := together.way(way)) is not None
        ),
        _of_other_sites(sites, elsewhere),
    ]


def _of_the_loss(plain: Figure, seen: Beside) -> str:
    with_it, without = percent(seen.figure.value), percent(plain.value)
    assert seen.difference is not None
    if seen.standing == "better":
        return (
            f"A site that was never seen costs {_points(seen.difference)}: {without} right in the place of "
            f"{with_it} where the site was seen in training."
        )
    if seen.standing == "worse":
        return f"Having seen the site does not help: {with_it} right with it, and {without} without."
    return (
        f"These pictures show no loss at a site that was never seen: {without} right, and {with_it} "
        f"where the site was seen (difference {points_interval(seen.difference)})."
    )


def _of_adapting(words: str, each: Beside, sites: Sequence[Site]) -> str:
    assert each.difference is not None
    if each.standing == "tie":
        change = points_interval(each.difference)
        if each.difference.low <= 0 <= each.difference.high:
            return f"{words}: no difference that these pictures can show ({change})."
        return f"{words}: a difference that may be chance, since several ways were looked at ({change})."
    verb = "gains" if each.standing == "better" else "loses"
    return f"{words}: it {verb} {_points(each.difference)} at these sites{_where(sites, each.way)}."


def _of_other_sites(sites: Sequence[Site], elsewhere: Site) -> str:
    ordered = sorted(sites, key=lambda site: site["plain"].figure.value)
    worst, best = (
        f"{percent(site['plain'].figure.value)} ({site.name})" for site in (ordered[0], ordered[-1])
    )
    further = elsewhere["plain"].figure
    return (
        f"Sites differ: from {worst} to {best}. {count(len(sites), 'site')} tell of the mean over sites like "
        f"these that it lies between {percent(further.low)} and {percent(further.high)}."
    )


def _where(sites: Sequence[Site], way: str) -> str:
    """Whether single sites show the other sign."""
    there = {site.name: site.way(way) for site in sites}
    worse = [name for name, each in there.items() if each is not None and each.standing == "worse"]
    better = [name for name, each in there.items() if each is not None and each.standing == "better"]
    if worse and better:
        return f"; better at {join_names(better, 3)}, worse at {join_names(worse, 3)}"
    return ""


def _points(figure: Figure) -> str:
    """A difference whose direction the sentence tells, as '4.1 points (2.0 to 6.3)'."""
    low, high = sorted((abs(100 * figure.low), abs(100 * figure.high)))
    return f"{abs(100 * figure.value):.1f} points ({low:.1f} to {high:.1f})"
