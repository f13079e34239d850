"""The story of one run, read from top to bottom: pictures in, a run folder with its report out."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from handlens import __version__, provenance
from handlens.base.errors import HandlensError
from handlens.base.files import digest
from handlens.base.progress import progress, say
from handlens.data.check import Checked, check
from handlens.data.samples import Samples
from handlens.data.sides import Sides
from handlens.data.split import SplitReport, split
from handlens.evaluate.predict import judge_rows, predictions_of
from handlens.evaluate.predictions import Predictions
from handlens.evaluate.summary import summarise
from handlens.models import backbones
from handlens.models.heads import Head
from handlens.provenance import DataFacts, Problem, Provenance, WeightsFacts
from handlens.recipe import Recipe, refuse_other_recipe
from handlens.report.html import write_report
from handlens.report.views import write_views
from handlens.run import RunFolder
from handlens.training.checkpoint import HeadFacts, load_state, save_head, save_state
from handlens.training.choose import Choice, Folds, choose, validation_folds
from handlens.training.device import a_core_a_batch, choose_device, on_one_core
from handlens.training.extract import Extractor
from handlens.training.fit import Progress, fit_head
from handlens.training.table import FeatureTable

if TYPE_CHECKING:
    from torch import Tensor

IDENTITY = ("id", "digest", "label", "group", "split")
"""The columns that make a picture's part in a run."""

LOOK_EVERY_S = 0.2
"""How often the progress bar learns how far a training in another thread has come."""


def run_recipe(recipe: Recipe, samples: Samples, folder: Path, command: str = "") -> RunFolder:
    """Train, judge and report. Given again after a stop, it goes on and ends with the same bytes."""
    run = RunFolder(folder)
    with run.only_writer():
        refuse_other_recipe(recipe, run)
        if run.done:
            say(f"{run.path} is complete: nothing to do.")
            return run
        started, clock = datetime.now(UTC), Clock()
        with clock.step("checking files"):
            checked = check(samples, recipe.data)
        with clock.step("splitting"):
            divided, split_report = split(checked.samples, recipe.split)
            start(run, recipe, divided)
        sides = Sides.of(divided)
        learning = sides.only("train", "val")
        device = choose_device(recipe.train.precision)
        extractor = Extractor(recipe.model, recipe.views, device, recipe.data.pixel_limit)
        with clock.step("features"):
            extractor.fill(sides.shots)
            tables = {kind: extractor.table(learning.shots, kind) for kind in recipe.views.kinds}
        with clock.step("training"), a_core_a_batch():
            folds, judged_by = validation_folds(learning, recipe.train.folds, recipe.split.seed)
            choice, head = validate_and_train(recipe, run, learning, tables, folds)
            facts = HeadFacts(
                sides.classes, head.num_features, choice.kind, choice.average, extractor.weights_digest
            )
            save_head(run.best_path, head.state_dict(), facts)
            save_head(run.last_path, last_weights(run), facts)
        with clock.step("judging"):
            judged = judge(sides, learning, extractor, head, choice)
            for side, predictions in judged.items():
                predictions.write(run.predictions_path(side))
            metrics = summarise(judged, judged.get("val"), judged_by)
            run.write_metrics(metrics.model_dump(mode="json"))
        with clock.step("report"):
            write_views(run, sides, recipe.views, choice.kind)
            run.write_provenance(
                Provenance(
                    handlens=__version__,
                    command=command,
                    started=started.isoformat(timespec="seconds"),
                    seconds=clock.seconds,
                    versions=provenance.versions(),
                    machine=provenance.machine(device.words),
                    precision=str(device.dtype).removeprefix("torch."),
                    commit=provenance.commit(),
                    data=data_facts(checked, divided, split_report),
                    weights=weights_facts(extractor),
                    choices=choice.sentences,
                ).model_dump(mode="json")
            )
            write_report(run)
        run.mark_done()
    return run


@dataclass
class Clock:
    """How long each step of the story took."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time the block."""
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 2)


def start(run: RunFolder, recipe: Recipe, divided: Samples) -> None:
    """Write what the run is about, or make sure that the pictures are those that it was begun with."""
    if run.samples_path.is_file():
        refuse_other_pictures(run, divided)
    run.write_recipe(recipe.resolved())
    divided.save(run.samples_path)


def refuse_other_pictures(run: RunFolder, divided: Samples) -> None:
    """A run that goes on must go on with the same pictures."""
    before = Samples.from_manifest(run.samples_path).table.select(IDENTITY)
    now = divided.table.select(IDENTITY)
    changed = now.join(before, on=list(IDENTITY), how="anti", nulls_equal=True)["id"].to_list()
    gone = before.join(now, on="id", how="anti")["id"].to_list()
    if changed or gone:
        raise HandlensError(
            f"The pictures have changed since {run.path} was begun: {len(changed)} are new or different "
            f"{changed[:3]}, {len(gone)} are gone {gone[:3]}. Restore them, or choose another --out."
        )


def validate_and_train(
    recipe: Recipe, run: RunFolder, learning: Sides, tables: Mapping[str, FeatureTable], folds: Folds
) -> tuple[Choice, Head]:
    """What validation decides, and the head trained on the whole training side.

    Where only one kind of views is to be had, the head does not wait for the decision, which is then
    about judging alone: it trains beside the folds, on a core that would be idle in their last round.
    """
    epochs: list[int] = [0]
    beside = ThreadPoolExecutor(1, "head", on_one_core)

    def begin(kind: str) -> Future[Head]:
        return beside.submit(train_head, recipe, run, learning, tables[kind], epochs.append)

    try:
        early = begin(next(iter(tables))) if len(tables) == 1 else None
        choice = choose(tables, learning, folds, recipe.model.head, recipe.train, recipe.views.averages)
        training = early or begin(choice.kind)
        with progress("Training", recipe.train.epochs, "epochs") as advance:
            shown = 0
            while wait([training], LOOK_EVERY_S).not_done:
                advance(epochs[-1] - shown)
                shown = epochs[-1]
        head = training.result()
    finally:
        # Ctrl-C does not wait for the rest of the training; what was saved is gone on with.
        beside.shutdown(wait=False, cancel_futures=True)
    return choice, head


def train_head(
    recipe: Recipe,
    run: RunFolder,
    learning: Sides,
    table: FeatureTable,
    epoch_done: Callable[[int], None],
) -> Head:
    """Train the head on the whole training side, from where an earlier process stopped."""
    head = Head(recipe.model.head, table.width, len(learning.classes), recipe.train.seed)
    state = load_state(run.state_path)

    def save(reached: Progress) -> None:
        save_state(run.state_path, reached.as_state())
        run.write_history(reached.history)

    val = learning.places("val")
    fit_head(
        head,
        table,
        learning.targets,
        learning.places("train"),
        val if len(val) else None,
        recipe.train,
        Progress.from_state(state) if state else None,
        save,
        epoch_done,
    )
    return head


def last_weights(run: RunFolder) -> "dict[str, Tensor]":
    """The head as it was after the last epoch, which need not be the best one."""
    state = load_state(run.state_path)
    return dict(state["head"]) if state else {}


def judge(
    sides: Sides, learning: Sides, extractor: Extractor, head: Head, choice: Choice
) -> Mapping[str, Predictions]:
    """The predictions for held-out pictures of the learning sides, and for the test side: its one look."""
    judged = {}
    if len(choice.held_out):
        judged["val"] = predictions_of(learning, choice.held_out, choice.probabilities)
    test = sides.only("test")
    if test.ids:
        table = extractor.table(test.shots, choice.kind, all_views=choice.average)
        probabilities = judge_rows(head, table, test.places("test"), choice.average)
        judged["test"] = predictions_of(test, test.places("test"), probabilities)
    return judged


def data_facts(checked: Checked, divided: Samples, report: SplitReport) -> DataFacts:
    """What the run was fed."""
    placed = divided.table.select("id", "split").sort("id").rows()
    return DataFacts(
        root=str(divided.root),
        num_pictures=len(divided),
        digest=checked.digest,
        split_digest=digest(*("\t".join(row) for row in placed)),
        split_given=report.given,
        split_sentences=tuple(report.sentences()),
        conflicts=checked.conflicts,
        leaks=report.leaks,
        problems=tuple(Problem(path=name, reason=reason) for name, reason in checked.bad),
        notes=checked.notes,
    )


def weights_facts(extractor: Extractor) -> WeightsFacts:
    """Which network, and where its weights came from."""
    found = backbones.locate(extractor.model.backbone, extractor.model.weights)
    source, pretrained = (
        (found.source, True) if found else (extractor.backbone.source, extractor.backbone.pretrained)
    )
    return WeightsFacts(
        backbone=extractor.model.backbone,
        source=source,
        digest=extractor.weights_digest,
        pretrained=pretrained,
    )
