"""The gallery of mistakes: pictures judged wrong most surely, and maps of what misled the network.

Maps are made by `handlens explain RUN --mistakes`, since a report is written without the network: they lie in
the run folder, a file a picture, and the report shows those that are there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from handlens.base.files import digest
from handlens.evaluate.predictions import Predictions
from handlens.report.thumbnails import data_uri
from handlens.run import RunFolder

MOST_MISTAKES = 24


@dataclass(frozen=True)
class Mistake:
    """A picture that was judged wrong, and how surely."""

    id: str
    group: str
    true: str
    said: str
    confidence: float


def mistakes_of(predictions: Predictions) -> list[Mistake]:
    """The pictures that were judged wrong with the highest confidence."""
    if predictions.targets is None:
        return []
    wrong = np.flatnonzero(predictions.known & ~predictions.correct)
    surest = wrong[np.argsort(-predictions.confidence[wrong], kind="stable")][:MOST_MISTAKES]
    return [
        Mistake(
            id=predictions.ids[row],
            group=predictions.groups[row],
            true=predictions.classes[predictions.targets[row]],
            said=predictions.classes[predictions.predicted[row]],
            confidence=float(predictions.confidence[row]),
        )
        for row in surest.tolist()
    ]


def map_name(id_: str) -> str:
    """The name of a picture's map among the run's figures; a picture's own name may hold anything."""
    return f"mistakes/{digest(id_, length=8)}.jpg"


def maps_of(run: RunFolder, mistakes: Sequence[Mistake]) -> dict[str, str]:
    """The maps that are there, by the names of the pictures, as something that an <img> can show."""
    paths = {mistake.id: run.figures_path / map_name(mistake.id) for mistake in mistakes}
    return {id_: data_uri(path.read_bytes()) for id_, path in paths.items() if path.is_file()}
