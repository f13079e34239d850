"""What a row costs: the size and arithmetic of its network, the time for a picture, what training took."""

from collections.abc import Sequence

import numpy as np

from handlens.base.spec import Spec
from handlens.provenance import Provenance


class Cost(Spec):
    """What a network takes."""

    num_parameters: int
    """Numbers that are learned, or were."""
    size_mib: float
    """Of the weights as float32."""
    multiply_adds: int
    """Of one picture, all views that it is judged by together."""
    size: int
    """The side of the pictures that this is for."""
    views: int
    """Views that a picture is judged by."""
    precision: str
    """The arithmetic that was timed."""
    median_ms: float | None = None
    """Half of all single pictures took no longer; none where nothing was timed."""
    p95_ms: float | None = None
    """95 of 100 single pictures took no longer."""
    pictures_a_second: float | None = None
    """In batches."""


class Session(Spec):
    """Under what conditions the times were taken."""

    processor: str
    """Its name."""
    cores: int
    """How many the machine has."""
    threads: int
    """How many each network used."""
    batch: int
    """Pictures at once, for the pictures a second."""
    rounds: int
    """Times that each network judged a single picture."""
    load_before: float | None
    """Processes that were running or waiting for a core, on average over the minute before."""
    load_after: float | None
    """The same over the last minute of the session."""

    @property
    def sentence(self) -> str:
        """For people."""
        busy = (
            f" Load of the machine {self.load_before:.1f} before and {self.load_after:.1f} after."
            if self.load_before is not None and self.load_after is not None
            else ""
        )
        crowded = (
            " It was busy: the times are longer than on a quiet machine, for all rows alike."
            if (self.load_before or 0) > self.cores
            else ""
        )
        return (
            f"Timed on {self.processor} ({self.cores} cores), {self.threads} "
            f"thread{'s' * (self.threads > 1)}, all rows in turn, {self.rounds} rounds.{busy}{crowded}"
        )


class Training(Spec):
    """What training took, as far as the run folders tell."""

    minutes: float | None = None
    """Features and training, mean over the trainings."""
    peak_mib: float | None = None
    """The most memory that a training held, of those whose process did nothing else; none if none did."""


def training_of(runs: Sequence[Provenance]) -> Training:
    """What training took: the frozen pass, as far as it was made anew, and the learning itself.

    A run that went on after a stop tells only of its last part.
    """
    told = [
        (run.seconds.get("features", 0.0) + run.seconds["training"]) / 60
        for run in runs
        if "training" in run.seconds
    ]
    peaks = [run.peak_mib for run in runs if run.peak_mib is not None]
    return Training(minutes=float(np.mean(told)) if told else None, peak_mib=max(peaks, default=None))
