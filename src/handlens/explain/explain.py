"""The story: pictures and runs in; maps, whether they deserve belief, and a page out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handlens import __version__
from handlens.base.errors import HandlensError
from handlens.base.files import whole_file, write_json
from handlens.data.made import refuse_among_classes
from handlens.data.samples import Samples
from handlens.data.scan import none_readable
from handlens.explain.belief import mean_with_interval
from handlens.explain.chosen import Chosen, Subject, further
from handlens.explain.gallery import keep
from handlens.explain.inside import share_inside
from handlens.explain.looking import Looking, num_checked, readable
from handlens.explain.maps import METHODS, Heat
from handlens.explain.network import Trained
from handlens.explain.page import PAGE, Drawn, headline, write_grid, write_page
from handlens.explain.results import Check, Explanation, PictureName, PictureResult, RunResult
from handlens.explain.spec import ExplainSpec
from handlens.explain.verdicts import belief_of
from handlens.report.words import count, points, points_interval

RESULT = "explain.json"
MAPS = "maps.npz"

Targets = NDArray[np.int64]


@dataclass(frozen=True)
class Made:
    """Where all of it lies, and what came of it."""

    folder: Path
    result: Explanation

    @property
    def page(self) -> Path:
        """The page for people."""
        return self.folder / PAGE

    def lines(self) -> list[str]:
        """What is said on the terminal: whether the maps deserve belief, and where they are."""
        lines = [f"{headline(self.result)}."]
        for run in self.result.runs:
            whose = f"{run.run}: " if len(self.result.runs) > 1 else ""
            lines += [f"  - {whose}{check.title}. {check.sentence}" for check in _checks(run)]
            if run.inside:
                lines.append(
                    f"  - {whose}The share of the heat inside the masks is {points(run.inside.value)} above "
                    f"their share of the picture ({points_interval(run.inside)})."
                )
        return [*lines, f"Page: {self.page}"]


def _checks(run: RunResult) -> tuple[Check, ...]:
    return run.belief.checks if run.belief else ()


def explain(
    runs: Sequence[Trained], chosen: Chosen, folder: Path, spec: ExplainSpec, command: str = ""
) -> Made:
    """Make the maps of all runs for the pictures, check them, and write the page; the first run leads."""
    refuse_the_same(runs)
    refuse_unfinished(runs)
    refuse_among_classes(folder, Samples.from_manifest(runs[0].folder.samples_path))
    subjects, gone = readable(runs[0], chosen.subjects)
    if not subjects:
        raise none_readable(
            gone, "Bring back what was moved or deleted, or give other pictures.", when=" any more"
        )
    # A few pictures cannot tell whether maps deserve belief; the run has others.
    missing = num_checked(spec) - len(subjects)
    more = readable(runs[0], further(runs[0], subjects, missing))[0] if missing > 0 else ()
    num = len(subjects)
    found, drawn = [], []
    leading: Targets | None = None
    for trained in runs:
        looking = Looking(trained, (*subjects, *more), spec)
        targets = _targets(looking, leading, runs[0], compared=len(runs) > 1)
        heat = looking.heat(targets)
        if leading is None:
            leading = targets
            if chosen.mistakes:
                of_said = heat if (targets == looking.said).all() else looking.heat(looking.said)
                keep(trained.folder, subjects, looking.pixels[:num], of_said[:num])
        found.append(_result(looking, targets, heat, num))
        drawn.append(
            Drawn(found[-1], looking.pixels[:num], heat[:num], *_of_the_truth(looking, targets, num))
        )
    result = Explanation(
        handlens=__version__,
        command=command,
        settings=spec,
        pictures=tuple(_name(subject) for subject in subjects),
        runs=tuple(found),
        bad=(*chosen.bad, *gone),
        notes=_notes(runs, found, spec, len(more)),
    )
    write_json(folder / RESULT, result.model_dump(mode="json"))
    _write_maps(folder / MAPS, result, drawn)
    write_grid(folder, result, drawn)
    write_page(folder, result, drawn, chosen.words)
    return Made(folder, result)


def refuse_the_same(runs: Sequence[Trained]) -> None:
    """A run beside itself shows nothing."""
    paths = [trained.folder.path.resolve() for trained in runs]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise HandlensError(f"{twice} was given twice. Give other runs with --against.")


def refuse_unfinished(runs: Sequence[Trained]) -> None:
    """A run that still trains may have a network already, but not the one that it will be judged by."""
    for trained in runs:
        if not trained.folder.done:
            raise HandlensError(
                f"The run {trained.folder.path} is not finished. Give its 'handlens train' command again and "
                "it goes on, or explain without it."
            )


def _targets(looking: Looking, leading: Targets | None, first: Trained, compared: bool) -> Targets:
    """The class whose evidence is shown: what the run says; beside others, the same class for all.

    That is the true one where it is known, else what the first run says; a run that does not know the class
    is shown for what it says itself.
    """
    targets = looking.said.copy()
    if not compared:
        return targets
    for row, subject in enumerate(looking.subjects):
        label = subject.true
        if label not in first.facts.classes and leading is not None:
            label = first.facts.classes[leading[row]]
        number = looking.number_of(label)
        if number is not None:
            targets[row] = number
    return targets


def _of_the_truth(looking: Looking, targets: Targets, num: int) -> tuple[dict[int, Heat], dict[int, str]]:
    """The maps of the true class, for pictures whose map is of another one."""
    wanted = {
        row: number
        for row, subject in enumerate(looking.subjects[:num])
        if (number := looking.number_of(subject.true)) is not None and number != targets[row]
    }
    if not wanted:
        return {}, {}
    rows = list(wanted)
    heat = looking.heat(np.array(list(wanted.values()), np.int64), rows)
    return dict(zip(rows, heat, strict=True)), {row: looking.classes[at] for row, at in wanted.items()}


def _result(looking: Looking, targets: Targets, heat: Heat, num: int) -> RunResult:
    """What a run says of the first `num` pictures, and what its maps are worth, by these and the others."""
    facts = looking.trained.facts
    pictures, gains, groups = [], [], []
    for row, subject in enumerate(looking.subjects[:num]):
        said = looking.probabilities[row]
        mask = looking.masks[row]
        inside = of_picture = None
        if mask is not None:
            inside, of_picture = share_inside(heat[row], mask), float(mask.mean())
            gains.append(inside - of_picture)
            groups.append(subject.group)
        pictures.append(
            PictureResult(
                said=facts.classes[looking.said[row]],
                confidence=float(said.max()),
                explained=facts.classes[targets[row]],
                probability=float(said[targets[row]]),
                empty=not heat[row].any(),
                inside=inside,
                of_picture=of_picture,
            )
        )
    trial = looking.tried(heat, targets)
    return RunResult(
        run=looking.name,
        backbone=looking.trained.recipe.model.backbone,
        place=looking.network.place.words if METHODS[looking.spec.method].at_map else None,
        side=looking.network.side,
        pictures=tuple(pictures),
        belief=belief_of(trial, [looking.subjects[row].group for row in trial.rows]) if trial else None,
        inside=mean_with_interval(gains, groups) if gains else None,
    )


def _name(subject: Subject) -> PictureName:
    return PictureName(id=subject.id, path=str(subject.shot.path), group=subject.group, true=subject.true)


def _notes(
    runs: Sequence[Trained], found: Sequence[RunResult], spec: ExplainSpec, num_more: int
) -> tuple[str, ...]:
    """What a reader of the maps has to know."""
    notes = []
    if num_more:
        notes.append(
            f"Belief was checked on these pictures and {num_more} more that {found[0].run} was tested on, "
            "because a few pictures cannot tell."
        )
    for trained, result in zip(runs, found, strict=True):
        if trained.facts.average:
            notes.append(
                f"{result.run} judges by the mean over {trained.extractor.views.count} views of a picture. "
                "The maps are of the first, which shows the picture as it is."
            )
        if trained.facts.further:
            names = ", ".join(name for name, _ in trained.facts.further)
            notes.append(f"The maps of {result.run} are of its first task, not of {names}.")
        empty = sum(picture.empty for picture in result.pictures)
        if empty:
            notes.append(
                f"{count(empty, 'map')} of {result.run} {'is' if empty == 1 else 'are'} empty: no place in "
                "the picture raised the score of the class. The network may say it all the same, where the "
                "scores of the other classes are lower still."
            )
        tried = result.belief.pictures if result.belief else 0
        if tried and num_checked(spec) < spec.checked:
            notes.append(
                f"Belief in the maps of {result.run} was checked on {count(tried, 'picture')} alone, because "
                "this method is slow."
            )
    return tuple(dict.fromkeys(notes))


def _write_maps(path: Path, result: Explanation, drawn: Sequence[Drawn]) -> None:
    """The heat of each run as numbers: heat_0 (pictures, side, side), heat_1, ..., and what is what."""
    heats = {f"heat_{at}": each.heat for at, each in enumerate(drawn)}
    named: dict[str, Any] = heats | {
        "pictures": np.array([picture.id for picture in result.pictures]),
        "runs": np.array([run.run for run in result.runs]),
        "classes": np.array([[picture.explained for picture in run.pictures] for run in result.runs]),
    }
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **named)
