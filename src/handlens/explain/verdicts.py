"""The checks of belief in words: what passes, what does not, and what is not known for sure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from handlens.evaluate.results import Figure
from handlens.explain.belief import Cuts, mean_with_interval
from handlens.explain.looking import Trial
from handlens.explain.randomised import PARTS
from handlens.explain.results import Belief, Check, Verdict
from handlens.report.words import count, points, points_interval

ALIKE = 0.5
"""Maps of networks that know nothing may agree so far with the network's own, in rank correlation."""
LEAST_COMPARED = 0.5
"""Where a smaller share of the maps can be compared, nothing is certain: the others are empty or even."""


def belief_of(trial: Trial, groups: Sequence[str]) -> Belief:
    """The verdicts; `groups` are what the tried pictures came from."""
    deletion = mean_with_interval([each.gain_of_deletion for each in trial.against], groups)
    insertion = mean_with_interval([each.gain_of_insertion for each in trial.against], groups)
    alike = trial.random_networks[:, -1]
    own = [each.own for each in trial.against]
    random = [cuts for each in trial.against for cuts in each.random]
    return Belief(
        checks=(_deletion(deletion), _insertion(insertion), _random_networks(alike, groups)),
        pictures=len(trial.rows),
        deletion=_mean(own, "deletion"),
        deletion_random=_mean(random, "deletion"),
        insertion=_mean(own, "insertion"),
        insertion_random=_mean(random, "insertion"),
        random_networks=tuple(
            (share, float(np.nanmean(column)))
            for share, column in zip(PARTS, trial.random_networks.T, strict=True)
            if np.isfinite(column).any()
        ),
    )


def _mean(cuts: Sequence[Cuts], name: str) -> tuple[float, ...]:
    return tuple(np.mean([getattr(each, name) for each in cuts], axis=0).round(6).tolist())


def _above_zero(figure: Figure) -> Verdict:
    if figure.low > 0:
        return "passes"
    return "fails" if figure.value <= 0 else "undecided"


def _deletion(figure: Figure) -> Check:
    verdict = _above_zero(figure)
    titles = {
        "passes": "What the maps mark matters more than what random maps mark",
        "undecided": "Whether what the maps mark matters is not certain",
        "fails": "What the maps mark matters no more than what random maps mark",
    }
    sentence = (
        f"As what the maps mark is deleted, the probability of the class lies {points(abs(figure.value))} "
        f"{'lower' if figure.value >= 0 else 'higher'} than under random maps "
        f"({points_interval(figure)}; {count(figure.n, 'picture')})."
    )
    return Check(
        name="deletion",
        title=titles[verdict],
        sentence=sentence + _advice(verdict),
        figure=figure,
        verdict=verdict,
    )


def _insertion(figure: Figure) -> Check:
    verdict = _above_zero(figure)
    titles = {
        "passes": "What the maps mark is enough sooner than what random maps mark",
        "undecided": "Whether what the maps mark is enough is not certain",
        "fails": "What the maps mark is no sooner enough than what random maps mark",
    }
    sentence = (
        f"As what the maps mark is put into the blurred picture, the probability of the class lies "
        f"{points(abs(figure.value))} {'higher' if figure.value >= 0 else 'lower'} than under random maps "
        f"({points_interval(figure)}; "
        f"{count(figure.n, 'picture')})."
    )
    return Check(
        name="insertion",
        title=titles[verdict],
        sentence=sentence + _advice(verdict),
        figure=figure,
        verdict=verdict,
    )


def _advice(verdict: Verdict) -> str:
    return {
        "passes": "",
        "undecided": " The interval reaches to none at all: more pictures may tell.",
        "fails": " Do not read reasons out of these maps: the evidence may lie all over the picture, as in a "
        "texture, or the method does not suit this network. Try another --method.",
    }[verdict]


def _random_networks(alike: NDArray[np.float64], groups: Sequence[str]) -> Check:
    compared = np.isfinite(alike)
    left_out = int((~compared).sum())
    if compared.any():
        kept = [group for group, there in zip(groups, compared, strict=True) if there]
        figure = mean_with_interval(alike[compared].tolist(), kept)
    else:
        figure = Figure(value=0, low=-1, high=1, method="none: nothing to compare", n=0, n_groups=0)
    verdict: Verdict = "undecided"
    if compared.mean() >= LEAST_COMPARED:
        if figure.high < ALIKE:
            verdict = "passes"
        elif figure.value >= ALIKE:
            verdict = "fails"
    titles = {
        "passes": "The maps depend on what the network has learned",
        "undecided": "Whether the maps depend on what the network has learned is not certain",
        "fails": "The maps hardly depend on what the network has learned",
    }
    advice = {
        "passes": "",
        "undecided": " More pictures may tell.",
        "fails": " They show the picture, its edges or its middle, rather than what the network knows.",
    }
    sentence = (
        f"With random weights the maps agree with these in rank correlation by {figure.value:.2f} "
        f"({figure.low:.2f} to {figure.high:.2f}; {count(figure.n, 'picture')}); 1 is the same map, and "
        f"up to {ALIKE} passes."
    ).replace("-", "\N{MINUS SIGN}")
    if not figure.n:
        sentence = "No map could be compared with those of networks with random weights."
    if left_out:
        sentence += f" Left out: {count(left_out, 'picture')} of which one of the two maps is empty."
    return Check(
        name="random_networks",
        title=titles[verdict],
        sentence=sentence + advice[verdict],
        figure=figure,
        verdict=verdict,
    )
