"""What came of explaining, as explain.json holds it."""

from typing import Literal

from pydantic import Field

from handlens.base.spec import Spec
from handlens.evaluate.results import Figure
from handlens.explain.spec import ExplainSpec

Verdict = Literal["passes", "undecided", "too_few", "fails"]


class Check(Spec):
    """One reason to believe the maps, or not to."""

    name: Literal["deletion", "insertion", "random_networks"]
    """What was tried."""
    title: str
    """The outcome in a few words."""
    sentence: str
    """The outcome with its figures, and what it means."""
    figure: Figure
    """How much smaller or larger the area is than under random maps; or the rank correlation."""
    verdict: Verdict
    """Whether the maps pass, by the 95 % interval of the figure; with `too_few` pictures nobody can say."""


class Belief(Spec):
    """Whether the maps of one run deserve belief."""

    checks: tuple[Check, ...]
    """Deletion, insertion, and networks with random weights."""
    pictures: int
    """How many pictures were tried."""
    deletion: tuple[float, ...]
    """The mean probability of the class as what the maps mark is deleted, in equal steps from none to all."""
    deletion_random: tuple[float, ...]
    """The same for random maps."""
    insertion: tuple[float, ...]
    """The mean probability as what the maps mark is inserted into the blurred picture."""
    insertion_random: tuple[float, ...]
    """The same for random maps."""
    random_networks: tuple[tuple[float, float], ...]
    """Shares of the network, from its end on, with random weights, and the mean rank correlation then."""

    @property
    def doubts(self) -> tuple[Check, ...]:
        """What the maps did not pass, the gravest first."""
        return tuple(
            check
            for verdict in ("fails", "undecided", "too_few")
            for check in self.checks
            if check.verdict == verdict
        )


class PictureResult(Spec):
    """One picture as one network sees it."""

    said: str
    """The class that the network says."""
    confidence: float
    """Its probability, as the network says it."""
    explained: str
    """The class whose evidence the map shows."""
    probability: float
    """The probability of that class."""
    empty: bool
    """Whether nothing at the map spoke for the class."""
    inside: float | None = None
    """The share of the heat inside the picture's mask, where it has one."""
    of_picture: float | None = None
    """The share of the picture that the mask covers: what a map without any aim would come to."""


class RunResult(Spec):
    """One network and what it sees in all pictures."""

    run: str
    """The run folder's name."""
    backbone: str
    """The network's name."""
    place: str | None
    """Where the maps were taken, in words; none for methods that work on pixels."""
    side: int
    """Pixels a side of the judging view that was explained."""
    pictures: tuple[PictureResult, ...]
    """In the order of the pictures."""
    belief: Belief | None = None
    """Whether the maps deserve belief; none where it was not checked."""
    inside: Figure | None = None
    """The mean share of the heat inside the masks, less the share of the picture that these cover."""


class PictureName(Spec):
    """Which picture it is."""

    id: str
    """What it is called."""
    path: str
    """Where it lies."""
    group: str
    """What it came from."""
    true: str | None
    """Its true class, where it is known."""


class Explanation(Spec):
    """The shape of explain.json."""

    handlens: str
    """The version that made it."""
    command: str
    """How it was asked for; empty where that is not known."""
    settings: ExplainSpec
    """How the maps were made."""
    pictures: tuple[PictureName, ...] = Field(min_length=1)
    """In the order of the page, and of the rows of maps.npz."""
    runs: tuple[RunResult, ...] = Field(min_length=1)
    """The networks, in the order of the page."""
    bad: tuple[tuple[str, str], ...] = ()
    """Pictures that could not be read, with the reason."""
    notes: tuple[str, ...] = ()
    """What is to be known of these maps."""
