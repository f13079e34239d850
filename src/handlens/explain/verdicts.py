"""The checks of belief in words: what passes, what does not, and what is not known for sure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from handlens.evaluate.results import Figure
from handlens.explain.belief import Cuts, mean_with_interval
from handlens.explain.looking import Trial
from handlens.explain.randomised import PARTS
from handlens.explain.results import Belief, Check, Verdict
from handlens.report.words import count, points

ALIKE = 0.5
"""Maps of networks that know nothing may agree so far with the network's own, in rank correlation."""
LEAST_COMPARED = 0.5
"""Where a smaller share of the maps can be compared, nothing is certain: the others are empty or even."""
LEAST_GROUPS = 5
"""Of pictures from fewer groups the interval is as wide as all that could be: it says nothing."""
MORE_NEEDED = f" Pictures from at least {LEAST_GROUPS} groups are needed: ask for more with --check."


def belief_of(trial: Trial, groups: Sequence[str]) -> Belief:
    """The verdicts; `groups` are what the tried pictures came from."""
    own = [each.own for each in trial.against]
    random = [cuts for each in trial.against for cuts in each.random]
    return Belief(
        checks=(
            _against_random(DELETION, [each.gain_of_deletion for each in trial.against], groups),
            _against_random(INSERTION, [each.gain_of_insertion for each in trial.against], groups),
            _random_networks(trial.random_networks[:, -1], groups),
        ),
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


@dataclass(frozen=True)
class Trying:
    """What deletion or insertion does to the pictures, in the words of its check."""

    name: Literal["deletion", "insertion"]
    titles: Mapping[Verdict, str]
    done: str
    """What is done to what the maps mark."""
    better: str
    """Where the probability goes if the maps mark what matters."""
    worse: str


DELETION = Trying(
    "deletion",
    {
        "passes": "What the maps mark matters more than what random maps mark",
        "undecided": "Whether what the maps mark matters is not certain",
        "too_few": "Too few pictures to say whether what the maps mark matters",
        "fails": "What the maps mark matters no more than what random maps mark",
    },
    done="deleted",
    better="lower",
    worse="higher",
)
INSERTION = Trying(
    "insertion",
    {
        "passes": "What the maps mark is enough sooner than what random maps mark",
        "undecided": "Whether what the maps mark is enough is not certain",
        "too_few": "Too few pictures to say whether what the maps mark is enough",
        "fails": "What the maps mark is no sooner enough than what random maps mark",
    },
    done="put into the blurred picture",
    better="higher",
    worse="lower",
)


def _against_random(trying: Trying, gains: Sequence[float], groups: Sequence[str]) -> Check:
    """How deletion or insertion came out; `gains` are above 0 where a map is better than random ones."""
    figure = mean_with_interval(gains, groups)
    verdict: Verdict = "undecided"
    if figure.n_groups < LEAST_GROUPS:
        verdict = "too_few"
    elif figure.low > 0:
        verdict = "passes"
    elif figure.value <= 0:
        verdict = "fails"

    def moved(gain: float) -> str:
        return f"{points(abs(gain))} {trying.better if gain >= 0 else trying.worse}"

    advice = {
        "passes": "",
        "undecided": " The interval reaches to both sides: more pictures may tell.",
        "too_few": MORE_NEEDED,
        "fails": " Do not read reasons out of these maps: the evidence may lie all over the picture, as in a "
        "texture, or the method does not suit this network. Try another --method.",
    }
    interval = f"95 % interval {moved(figure.low)} to {moved(figure.high)}; "
    return Check(
        name=trying.name,
        title=trying.titles[verdict],
        sentence=f"As what the maps mark is {trying.done}, the probability of the class lies "
        f"{moved(figure.value)} than under random maps "
        f"({'' if verdict == 'too_few' else interval}{count(figure.n, 'picture')})." + advice[verdict],
        figure=figure,
        verdict=verdict,
    )


def _random_networks(alike: NDArray[np.float64], groups: Sequence[str]) -> Check:
    """Whether the maps stay as they were where the network knows nothing; NaN cannot be compared."""
    compared = np.isfinite(alike)
    left_out = int((~compared).sum())
    if compared.any():
        kept = [group for group, there in zip(groups, compared, strict=True) if there]
        figure = mean_with_interval(alike[compared].tolist(), kept)
    else:
        figure = Figure(value=0, low=-1, high=1, method="none: nothing to compare", n=0, n_groups=0)
    verdict: Verdict = "undecided"
    if compared.mean() >= LEAST_COMPARED:
        if figure.n_groups < LEAST_GROUPS:
            verdict = "too_few"
        elif figure.high < ALIKE:
            verdict = "passes"
        elif figure.value >= ALIKE:
            verdict = "fails"
    titles = {
        "passes": "The maps depend on what the network has learned",
        "undecided": "Whether the maps depend on what the network has learned is not certain",
        "too_few": "Too few pictures to say whether the maps depend on what the network has learned",
        "fails": "The maps hardly depend on what the network has learned",
    }
    advice = {
        "passes": "",
        "undecided": " More pictures may tell.",
        "too_few": MORE_NEEDED,
        "fails": " They show the picture, its edges or its middle, rather than what the network knows.",
    }
    interval = f"95 % interval {figure.low:.2f} to {figure.high:.2f}; "
    sentence = (
        f"With random weights the maps agree with these in rank correlation by {figure.value:.2f} "
        f"({'' if verdict == 'too_few' else interval}{count(figure.n, 'picture')}); 1 is the same map, and "
        f"less than {ALIKE} passes."
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
