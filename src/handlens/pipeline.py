"""The story of one run, read from top to bottom: pictures in, a run folder with its report out."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handlens import __version__, provenance
from handlens.base.errors import HandlensError
from handlens.base.files import digest
from handlens.base.memory import peak_mib
from handlens.base.progress import say
from handlens.data.check import Checked, check, kinds_of
from handlens.data.kinds import Kinds
from handlens.data.leak import Leak, split_without_leak
from handlens.data.samples import Samples
from handlens.data.sides import Rows, Sides
from handlens.data.split import SplitReport
from handlens.data.tasks import columns_of_tasks
from handlens.evaluate.beside import Compared, accuracy_difference
from handlens.evaluate.leaked import leaked
from handlens.evaluate.predict import judge_rows, judge_shots, predictions_of
from handlens.evaluate.predictions import Predictions
from handlens.evaluate.results import Metrics, judged_side
from handlens.evaluate.summary import summarise
from handlens.learn import Learned, aims_of, learn_head, learn_network
from handlens.models import backbones
from handlens.models.freeze import num_frozen_units
from handlens.models.heads import Head
from handlens.provenance import DataFacts, Problem, Provenance, WeightsFacts
from handlens.recipe import Recipe, refuse_other_recipe
from handlens.report.html import write_report
from handlens.report.views import write_views
from handlens.run import RunFolder
from handlens.training import distributed
from handlens.training.checkpoint import HeadFacts, save_head
from handlens.training.choose import validation_folds
from handlens.training.device import a_core_a_batch, choose_device
from handlens.training.extract import Extractor
from handlens.training.track import Tracking, figures_of, flattened, refuse_missing

Judgments = Mapping[str, tuple[Sides, Rows, NDArray[np.float32]]]
"""For each judged side: the pictures, the places of those that were judged, and their probabilities."""

IDENTITY = ("id", "digest", "label", "group", "split")
"""The columns that make a picture's part in a run."""


def run_recipe(
    recipe: Recipe,
    samples: Samples,
    folder: Path,
    command: str = "",
    beside: RunFolder | None = None,
    *,
    alone: bool = False,
) -> RunFolder:
    """Train, judge and report. Given again after a stop, it goes on and ends with the same bytes.

    Of several processes that a launcher started together, each trains its part; the main one writes.
    `beside` is a complete run of the same pictures and recipe on other weights, to be compared with. `alone`
    says that this process has done nothing else, so that its peak of memory is that of the run: memory that
    was let go is hardly ever given back to the system, and would count again.
    """
    run = RunFolder(folder)
    refuse_missing(recipe.train.track)
    with distributed.joined(), run.only_writer() if distributed.is_main() else nullcontext():
        refuse_other_recipe(recipe, run)
        if distributed.from_main(run.done):
            say(f"{run.path} is complete: nothing to do.")
            return run
        started, clock = datetime.now(UTC), Clock()
        with clock.step("checking files"), distributed.main_first():
            checked = check(samples, recipe.data)
            kinds = kinds_of(checked.samples, recipe.data)
        device = choose_device(recipe.train.precision)
        extractor = Extractor(recipe.model, recipe.views, device, recipe.data.pixel_limit)
        if not recipe.model.only_head_trains:
            # What does not fit the network is told before anything is written.
            num_frozen_units(extractor.trunk, recipe.model.freeze)
        with clock.step("splitting"), distributed.main_first():
            divided, split_report, leak = split_without_leak(checked, recipe.split, recipe.data.pixel_limit)
            if distributed.is_main():
                start(run, recipe, divided, checked.tasks)
        tracking = Tracking.of(
            recipe.train.track if distributed.is_main() else (),
            run.path,
            flattened(recipe),
            len(run.read_history()),
        )
        sides = Sides.of(divided, checked.tasks)
        learning = sides.only("train", "val")
        aims = aims_of(recipe, learning, kinds)
        folds, judged_by = validation_folds(learning, recipe.train.folds, recipe.split.seed)
        if recipe.model.only_head_trains:
            with clock.step("features"), distributed.main_first():
                extractor.fill(sides.shots)
                tables = {kind: extractor.table(learning.shots, kind) for kind in recipe.views.kinds}
            with clock.step("training"), a_core_a_batch():
                learned = learn_head(recipe, run, learning, tables, folds, aims, tracking)
        else:
            with clock.step("training"):
                learned = learn_network(recipe, run, learning, extractor, folds, aims, tracking)
        with clock.step("judging"):
            judged = judge(sides, learning, extractor, learned)
        with distributed.main_first():
            if distributed.is_main():
                with clock.step("writing"):
                    save_learned(run, sides, extractor, learned)
                    metrics = write_judgments(run, sides, judged, judged_by, kinds, leak)
                    if beside is not None:
                        write_comparison(run, beside, judged_side(metrics))
                with clock.step("report"):
                    write_views(run, sides, recipe.views, learned.choice.kind)
                    came_from = Provenance(
                        handlens=__version__,
                        command=command,
                        started=started.isoformat(timespec="seconds"),
                        seconds=clock.seconds,
                        peak_mib=peak_mib() if alone else None,
                        versions=provenance.versions(),
                        machine=provenance.machine(device.words),
                        precision=str(device.dtype).removeprefix("torch."),
                        commit=provenance.commit(),
                        data=data_facts(checked, divided, split_report),
                        weights=weights_facts(extractor),
                        choices=(*learned.choice.sentences, *learned.sentences),
                    )
                    run.write_provenance(came_from.model_dump(mode="json"))
                    write_report(run)
                tracking.end(figures_of(metrics))
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


def start(run: RunFolder, recipe: Recipe, divided: Samples, tasks: Sequence[str]) -> None:
    """Write what the run is about, or make sure that the pictures are those that it was begun with."""
    if run.samples_path.is_file():
        refuse_other_pictures(run, divided, tasks)
    run.write_recipe(recipe.resolved())
    divided.save(run.samples_path)


def refuse_other_pictures(run: RunFolder, divided: Samples, tasks: Sequence[str]) -> None:
    """A run that goes on must go on with the same pictures."""
    identity = [*IDENTITY, *tasks]
    before = Samples.from_manifest(run.samples_path).table.select(identity)
    now = divided.table.select(identity)
    changed = now.join(before, on=identity, how="anti", nulls_equal=True)["id"].to_list()
    gone = before.join(now, on="id", how="anti")["id"].to_list()
    if changed or gone:
        raise HandlensError(
            f"The pictures have changed since {run.path} was begun: {len(changed)} are new or different "
            f"{changed[:3]}, {len(gone)} are gone {gone[:3]}. Restore them, or choose another --out."
        )


def save_learned(run: RunFolder, sides: Sides, extractor: Extractor, learned: Learned) -> None:
    """Keep what is judged with: the head, and the rest of the network where it trained too."""
    facts = HeadFacts(
        sides.classes,
        learned.head.num_features,
        learned.choice.kind,
        learned.choice.average,
        extractor.weights_digest,
        tuple((task.name, task.classes) for task in sides.further),
        learned.network is not None,
        learned.twin_begins,
    )
    save_head(run.best_path, learned.best, facts)
    save_head(run.last_path, learned.last, facts)


def judge(sides: Sides, learning: Sides, extractor: Extractor, learned: Learned) -> Judgments:
    """The probabilities for held-out pictures of the learning sides, and for the test side: its one look."""
    choice, judged = learned.choice, {}
    trained = extractor.with_trunk(learned.network) if learned.network is not None else None
    if len(choice.held_out):
        judged["val"] = (learning, choice.held_out, choice.probabilities)
    test = sides.only("test")
    if test.ids:
        places = test.places("test")
        if trained is not None:
            probabilities = judge_shots(trained, learned.head, test.shots, choice.kind, choice.average)
        else:
            with distributed.main_first():
                table = extractor.table(test.shots, choice.kind, all_views=choice.average)
            assert isinstance(learned.head, Head)
            with a_core_a_batch():
                probabilities = judge_rows(learned.head, table, places, choice.average)
        judged["test"] = (test, places, probabilities)
    return judged


def write_judgments(
    run: RunFolder, sides: Sides, judged: Judgments, judged_by: str, kinds: Kinds | None, leak: Leak
) -> Metrics:
    """Keep the predictions of each task, and all figures, which come back."""
    columns = columns_of_tasks(sides.tasks)
    tables: list[dict[str, Predictions]] = []
    for number, (task, own) in enumerate(zip(sides.tasks, columns, strict=True)):
        tables.append({})
        for side, (there, places, probabilities) in judged.items():
            tables[-1][side] = predictions_of(there, places, probabilities[:, own], number)
            path = run.predictions_path(side, task.name if number else None)
            tables[-1][side].write(path)
    main, further = tables[0], dict(zip((task.name for task in sides.further), tables[1:], strict=True))
    metrics = summarise(main, main.get("val"), judged_by, label=sides.label_name, tasks=further, kinds=kinds)
    run.write_metrics(metrics.model_dump(mode="json"))
    told = leaked(main["test"], leak.copied) if leak.copied else None
    if told is not None:
        run.write_leak(told.model_dump(mode="json"))
    return metrics


def write_comparison(run: RunFolder, beside: RunFolder, side: str) -> None:
    """Keep what the same on other weights came to, on the same pictures."""
    other = Metrics.parse(beside.read_json(beside.metrics_path), str(beside.metrics_path))
    weights = Provenance.parse(beside.read_provenance(), str(beside.provenance_path)).weights
    own, others = (Predictions.read(each.predictions_path(side)) for each in (run, beside))
    compared = Compared(
        run=beside.name,
        weights=weights.source,
        pretrained=weights.pretrained,
        side=side,
        figures=other.sides[side].figures,
        difference=accuracy_difference(own, others),
    )
    run.write_compared(compared.model_dump(mode="json"))


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
        marks=divided.marks,
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
