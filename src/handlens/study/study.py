"""The story of a study: what is finished stays, what is not is run, and every cell says how it fared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from handlens.base.choices import look_up
from handlens.base.errors import HandlensError
from handlens.base.progress import tell
from handlens.data.check import Checked, check
from handlens.data.made import refuse_among_classes
from handlens.data.samples import Samples
from handlens.data.split import split
from handlens.evaluate.results import Figure, Metrics, judged_side
from handlens.recipe import refuse_other_recipe
from handlens.report.words import count, percent
from handlens.run import RunFolder
from handlens.study.cells import Cell, cells_of, named_cells
from handlens.study.folder import StudyFolder
from handlens.study.order import is_alone, next_cell
from handlens.study.places import PLACES, Place
from handlens.study.spec import StudySpec
from handlens.study.work import Outcome, Task

Reading = Callable[[Sequence[str]], Samples]
"""The pictures, with the labels of these further tasks."""


@dataclass(frozen=True)
class Study:
    """A study as far as it has come."""

    spec: StudySpec
    folder: StudyFolder
    cells: tuple[Cell, ...]
    outcomes: Mapping[str, Outcome]
    """How each cell fared, by its name."""

    def run(self, cell: Cell) -> RunFolder:
        """The run folder of a cell."""
        return self.folder.run(cell.word)

    def outcome(self, cell: Cell) -> Outcome:
        """How a cell fared."""
        return self.outcomes.get(cell.name, Outcome("waiting"))

    def num(self, state: str) -> int:
        """How many cells are done, failed or waiting."""
        return sum(self.outcome(cell).state == state for cell in self.cells)


def open_study(path: Path) -> Study:
    """A study from its folder, finished or not."""
    folder = StudyFolder.open(path)
    spec = folder.read_study()
    told = {row["cell"]: row for row in folder.read_cells()}
    cells = tuple(named_cells(spec))
    outcomes = {}
    for cell in cells:
        row = told.get(cell.name)
        if row is not None:
            outcomes[cell.name] = Outcome(row["state"], row["why"], row["seconds"])
        # One that ended after the last word about it, because the study was killed.
        if folder.run(cell.word).done and (row is None or row["state"] == "waiting"):
            outcomes[cell.name] = Outcome("done")
    return Study(spec, folder, cells, outcomes)


def run_study(
    spec: StudySpec,
    read: Reading,
    out: Path,
    *,
    on: str = "here",
    processes: int = 1,
    settings: Sequence[str] = (),
    command: str = "",
) -> Study:
    """Run what is not finished, `on` one of `PLACES` with so many cells at once.

    `settings` are laid over the recipe of every cell. Given again, it goes on where it stopped.
    """
    place = look_up(PLACES, on, "place for runs")
    cells = tuple(cells_of(spec, settings))
    folder = StudyFolder(out)
    # Pictures that cannot be taken are told before anything is written.
    tasks = tasks_of(cells, read, folder, command)
    with folder.only_writer():
        pictures: dict[str, Checked] = {}
        outcomes = found_already(cells, tasks, pictures)
        study = Study(spec, folder, cells, outcomes)
        if not study.num("done"):
            refuse_what_none_can_learn([tasks[cell.name] for cell in cells], pictures)
        folder.begin(spec)
        keep(study)
        if study.num("waiting"):
            tell(f"{count(study.num('waiting'), 'run')} to do, {study.num('done')} done already.")
            with place(processes) as somewhere:
                try:
                    run_waiting(study, tasks, somewhere, outcomes)
                except KeyboardInterrupt:
                    tell("\nStopping what runs; what it has saved stays.")
                    raise
    return study


def run_waiting(study: Study, tasks: Mapping[str, Task], place: Place, outcomes: dict[str, Outcome]) -> None:
    """Hand out what waits, a cell to every free slot, and write down how each fared once it has ended."""
    waiting = [cell for cell in study.cells if study.outcome(cell).state == "waiting"]
    known = {cell.features for cell in study.cells if study.outcome(cell).state == "done" and cell.features}
    running: dict[str, Cell] = {}
    while waiting or running:
        while len(running) < place.slots:
            cell = next_cell(waiting, running.values(), known)
            if cell is None:
                break
            alone = is_alone(cell, waiting, running.values(), known)
            waiting.remove(cell)
            running[cell.name] = cell
            tell(f"{cell.name}: begun")
            place.begin(tasks[cell.name], alone)
        name, outcome = place.ended()
        cell, outcomes[name] = running.pop(name), outcome
        if outcome.state == "done" and cell.features:
            known.add(cell.features)
        keep(study)
        tell(line_of(study, cell))


def tasks_of(cells: Sequence[Cell], read: Reading, folder: StudyFolder, command: str) -> dict[str, Task]:
    """What each cell needs to run; pictures are read again only where other labels of them are wanted."""
    pictures: dict[tuple[str, ...], Samples] = {}
    tasks = {}
    for cell in cells:
        assert cell.recipe is not None
        wanted = cell.recipe.data.tasks
        if wanted not in pictures:
            pictures[wanted] = read(wanted)
            refuse_among_classes(folder.path, pictures[wanted])
        samples, path = pictures[wanted], folder.run(cell.word).path
        tasks[cell.name] = Task(cell.name, cell.recipe, samples, path, folder.log_path.resolve(), command)
    return tasks


def found_already(
    cells: Sequence[Cell], tasks: Mapping[str, Task], pictures: dict[str, Checked]
) -> dict[str, Outcome]:
    """How those cells fared that need not run: they are done, or were begun as something else."""
    outcomes = {}
    for cell in cells:
        task = tasks[cell.name]
        run = RunFolder(task.folder)
        try:
            refuse_other_recipe(task.recipe, run)
            if run.done:
                refuse_other_pictures(run, task, pictures)
                outcomes[cell.name] = Outcome("done", seconds=_seconds(run))
        except HandlensError as error:
            outcomes[cell.name] = Outcome("failed", str(error))
    return outcomes


def refuse_other_pictures(run: RunFolder, task: Task, pictures: dict[str, Checked]) -> None:
    """A finished run counts only if it saw these pictures."""
    if run.read_provenance()["data"]["digest"] != checked(task, pictures).digest:
        raise HandlensError(
            f"{run.path} was trained on other pictures, or they have changed since. Restore them, or choose "
            "another --out."
        )


def refuse_what_none_can_learn(tasks: Sequence[Task], pictures: dict[str, Checked]) -> None:
    """What is wrong with the pictures of every cell, as with a class of one group, is told once and first."""
    problems: dict[tuple[str, str], HandlensError] = {}
    for task in tasks:
        data, division = task.recipe.data, task.recipe.split
        key = data.model_dump_json(), division.model_dump_json()
        if key in problems:
            continue
        try:
            split(checked(task, pictures).samples, division)
        except HandlensError as error:
            problems[key] = error
        else:
            return
    raise next(iter(problems.values()))


def checked(task: Task, pictures: dict[str, Checked]) -> Checked:
    """The pictures of a cell, looked at once for all cells that read them alike."""
    key = task.recipe.data.model_dump_json()
    if key not in pictures:
        pictures[key] = check(task.samples, task.recipe.data)
    return pictures[key]


def keep(study: Study) -> None:
    """Write down how each cell fared."""
    study.folder.write_cells(
        {
            "cell": cell.name,
            "row": cell.row,
            "values": dict(cell.values),
            "seed": cell.seed,
            "fold": cell.fold,
            "run": study.run(cell).path.relative_to(study.folder.path).as_posix(),
            **asdict(study.outcome(cell)),
        }
        for cell in study.cells
    )


def line_of(study: Study, cell: Cell) -> str:
    """How a cell fared, for the person who waits."""
    outcome, run = study.outcome(cell), study.run(cell)
    fared = f"{outcome.state}. {outcome.first_reason}" if outcome.why else outcome.state
    # On a disk that nodes share, what another one wrote may be seen a little later.
    if outcome.state == "done" and run.done:
        fared = f"accuracy {percent(judged_figures(run)['accuracy'].value)}"
    took = "" if outcome.seconds is None else f" in {outcome.seconds:,.0f} s"
    ended = len(study.cells) - study.num("waiting")
    return f"{ended} of {len(study.cells)}: {cell.name}: {fared}{took}"


def judged_figures(run: RunFolder) -> Mapping[str, Figure]:
    """The figures of the side that a finished run is judged by."""
    metrics = Metrics.parse(run.read_json(run.metrics_path), str(run.metrics_path))
    return metrics.sides[judged_side(metrics)].figures


def _seconds(run: RunFolder) -> float:
    return float(round(sum(run.read_provenance()["seconds"].values()), 2))
