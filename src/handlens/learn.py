"""What a run learns: a head on kept features, or a network, with or without a head that is trained first."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from handlens.base.errors import HandlensError
from handlens.base.progress import progress
from handlens.data.kinds import Kinds
from handlens.data.sides import Rows, Sides
from handlens.evaluate.predict import judge_rows
from handlens.models.heads import Head
from handlens.recipe import Recipe
from handlens.run import RunFolder
from handlens.training import distributed
from handlens.training.aims import Aims
from handlens.training.choose import Choice, Folds, Way, choose, decide
from handlens.training.device import a_core_a_batch, on_one_core
from handlens.training.extract import Extractor
from handlens.training.fit import Progress
from handlens.training.spec import FitSpec
from handlens.training.state import TrainingState
from handlens.training.table import FeatureTable
from handlens.training.track import Tracking
from handlens.training.train_head import fit_head

if TYPE_CHECKING:
    from torch import Tensor, nn

    from handlens.models.network import Network
    from handlens.models.twin import TwinHead
    from handlens.training.finetune import NetworkTrainer

LOOK_EVERY_S = 0.2
"""How often the progress bar learns how far a training in another thread has come."""

FINAL = "final"
"""The training on the whole training side; the others are those of the folds."""

Tables = Mapping[str, FeatureTable]


@dataclass(frozen=True)
class Learned:
    """What came out of training."""

    choice: Choice
    head: "Head | TwinHead"
    last: "Mapping[str, Tensor]"
    """What is kept of it as it was after the last epoch, which need not be the best one."""
    network: "nn.Module | None" = None
    """The trunk, where it trained too."""
    twin_begins: int | None = None
    """Where the trunk is two: how many units they have in common."""
    sentences: tuple[str, ...] = ()
    """What a person may want to know of how it went."""

    @property
    def best(self) -> "dict[str, Tensor]":
        """The weights that are judged with."""
        if self.network is None:
            return self.head.state_dict()
        return whole_state(self.network, self.head)


def whole_state(trunk: "nn.Module", head: "nn.Module") -> "dict[str, Tensor]":
    """The weights of trunk and head by names that tell them apart."""
    state = {f"trunk.{name}": value for name, value in trunk.state_dict().items()}
    return state | {f"head.{name}": value for name, value in head.state_dict().items()}


def aims_of(recipe: Recipe, learning: Sides, kinds: Kinds | None) -> Aims:
    """What is to be learned."""
    weights = recipe.train.task_weights
    names = [task.name for task in learning.tasks]
    strange = [name for name in weights if name not in names]
    if strange:
        raise HandlensError(
            f"train.task_weights: there is no task {strange[0]!r}. The tasks are {', '.join(names)}."
        )
    return Aims(
        tuple(len(task.classes) for task in learning.tasks),
        tuple(weights.get(name, 1.0) for name in names),
        tuple(kinds.of_class.tolist()) if kinds else None,
    )


# A head on kept features


def learn_head(
    recipe: Recipe,
    run: RunFolder,
    learning: Sides,
    tables: Tables,
    folds: Folds,
    aims: Aims,
    tracking: Tracking,
) -> Learned:
    """A head on kept features; the main process trains it and tells the others."""
    state = TrainingState(run.state_path)
    learned = None
    if distributed.is_main():
        reached = state.progress(FINAL)

        def keep_rows(now: Progress) -> None:
            run.write_history(now.history)
            tracking.history(now.history)

        save = state.saver(FINAL, keep_rows)
        choice, head, done = validate_and_train(
            recipe, recipe.train, learning, tables, folds, aims, reached, save
        )
        # Once more, for a process that was killed between saving its state and this.
        keep_rows(done)
        learned = Learned(choice, head, done.weights)
    found: Learned = distributed.from_main(learned)
    return found


def validate_and_train(
    recipe: Recipe,
    spec: FitSpec,
    learning: Sides,
    tables: Tables,
    folds: Folds,
    aims: Aims,
    reached: Progress | None = None,
    save: Callable[[Progress], None] = lambda _: None,
) -> tuple[Choice, Head, Progress]:
    """What validation decides, and the head trained on the whole training side.

    Where only one kind of views is to be had, the head does not wait for the decision, which is then
    about judging alone: it trains beside the folds, on a core that would be idle in their last round.
    """
    epochs: list[int] = [0]
    beside = ThreadPoolExecutor(1, "head", on_one_core)
    train, val = learning.places("train"), learning.places("val")

    def final(table: FeatureTable) -> tuple[Head, Progress]:
        def epoch_done(row: Mapping[str, Any]) -> None:
            epochs.append(row["epoch"])

        head = new_head(recipe, table, aims)
        stop_by = val if len(val) else None
        seed = recipe.train.seed
        done = fit_head(
            head, table, learning.all_targets, train, stop_by, spec, reached, save, epoch_done, seed, aims
        )
        return head, done

    def begin(kind: str) -> Future[tuple[Head, Progress]]:
        return beside.submit(final, tables[kind])

    try:
        early = begin(next(iter(tables))) if len(tables) == 1 else None
        averages, seed = recipe.views.averages, recipe.train.seed
        choice = choose(tables, learning, folds, recipe.model.head, spec, averages, seed, aims)
        training = early or begin(choice.kind)
        with progress("Training the head", spec.epochs, "epochs") as advance:
            shown = 0
            while wait([training], LOOK_EVERY_S).not_done:
                advance(epochs[-1] - shown)
                shown = epochs[-1]
        head, done = training.result()
    finally:
        # Ctrl-C does not wait for the rest of the training; what was saved is gone on with.
        beside.shutdown(wait=False, cancel_futures=True)
    return choice, head, done


def new_head(recipe: Recipe, table: FeatureTable, aims: Aims) -> Head:
    """A head that has learned nothing yet."""
    return Head(recipe.model.head, table.width, aims.widths, recipe.train.seed)


# A network


def learn_network(
    recipe: Recipe,
    run: RunFolder,
    learning: Sides,
    extractor: Extractor,
    folds: Folds,
    aims: Aims,
    tracking: Tracking,
) -> Learned:
    """A network or its upper part; where the recipe says so, from the head trained on kept features."""
    from handlens.training.finetune import NetworkTrainer, beside_itself

    tables, choice, head = begin_with_head(recipe, learning, extractor, folds, aims)
    trainer = NetworkTrainer(extractor, recipe.train, learning, aims, choice.kind)
    state = TrainingState(run.state_path)
    train, val = learning.places("train"), learning.places("val")
    if folds and not len(val):
        judged = []
        for number, (learned, held_out) in enumerate(folds, start=1):
            part = f"fold {number}"
            found = state.judgments(part)
            if found is None:
                start = head_of_fold(recipe, tables, learning, learned, aims)
                network = trainer.network(start)
                save = state.saver(part)
                fit_shown(
                    f"Validation {number} of {len(folds)}", trainer, network, learned, None, state, part, save
                )
                found = ways_judged(recipe, trainer, network, start, tables, held_out)
                state.finish(part, found)
            judged.append(found)
        choice = chosen(recipe, choice.kind, np.concatenate(judged, axis=1), folds, learning, aims)
    elif not len(val):
        # Nothing decides: judging is as the recipe says first.
        way = ways_of(recipe, choice.kind)[0]
        choice = replace(choice, average=way.average, beside=way.beside)
    network = trainer.network(head)

    def keep_rows(now: Progress) -> None:
        if distributed.is_main():
            run.write_history(now.history)
            tracking.history(now.history)

    save = state.saver(FINAL, keep_rows)
    stop_by = val if len(val) else None
    done = fit_shown("Training the network", trainer, network, train, stop_by, state, FINAL, save)
    # Once more, for a process that was killed between saving its state and this.
    keep_rows(done)
    if len(val):
        found = ways_judged(recipe, trainer, network, head, tables, val)
        choice = chosen(recipe, choice.kind, found, folds, learning, aims)
    after_last = deepcopy(network.cpu())
    after_last.load_state_dict(done.weights, strict=False)
    trained = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    weights = sum(weight.numel() for weight in network.parameters())
    sentences = (f"{trained:,} of the network's {weights:,} weights trained.", *trainer.sentences)
    if choice.beside and head is not None:
        last = whole_state(*beside_itself(trainer, after_last, head))
        trunk, both = beside_itself(trainer, network, head)
        return Learned(choice, both, last, trunk, trainer.num_frozen, sentences)
    return Learned(choice, network.head, after_last.state_dict(), network.trunk, None, sentences)


def begin_with_head(
    recipe: Recipe, learning: Sides, extractor: Extractor, folds: Folds, aims: Aims
) -> tuple[Tables, Choice, Head | None]:
    """The head that is trained first, if one is; the main process trains it and tells the others."""
    spec = recipe.train.head_first
    if spec is None:
        nothing = np.empty(0, np.int64), np.empty((0, sum(aims.widths)), np.float32)
        return {}, Choice(next(iter(recipe.views.kinds)), False, *nothing, ()), None
    with distributed.main_first():
        tables = {kind: extractor.table(learning.shots, kind) for kind in recipe.views.kinds}
    found = None
    if distributed.is_main():
        with a_core_a_batch():
            choice, head, _ = validate_and_train(recipe, spec, learning, tables, folds, aims)
        found = choice, head
    choice, head = distributed.from_main(found)
    return {choice.kind: tables[choice.kind]}, choice, head


def head_of_fold(recipe: Recipe, tables: Tables, learning: Sides, learned: Rows, aims: Aims) -> Head | None:
    """The head that a fold's network begins with."""
    spec = recipe.train.head_first
    if spec is None:
        return None
    head = None
    if distributed.is_main():
        table = next(iter(tables.values()))
        head = new_head(recipe, table, aims)
        with a_core_a_batch():
            fit_head(
                head, table, learning.all_targets, learned, None, spec, seed=recipe.train.seed, aims=aims
            )
    found: Head | None = distributed.from_main(head)
    return found


def fit_shown(
    what: str,
    trainer: "NetworkTrainer",
    network: "Network",
    learned: Rows,
    judged: Rows | None,
    state: TrainingState,
    part: str,
    save: Callable[[Progress], None],
) -> Progress:
    """Train a network, with a progress bar."""
    reached = state.progress(part)
    total = trainer.train.epochs * len(learned) * trainer.source.num_views
    with progress(what, total) as advance:
        return trainer.fit(network, learned, judged, reached, save, advance)


def ways_of(recipe: Recipe, kind: str) -> list[Way]:
    """The ways of judging with a network that validation may choose from."""
    averages = (False,) if recipe.views.fresh else recipe.views.averages
    return [Way(kind, average, beside) for beside in recipe.train.judges_beside for average in averages]


def ways_judged(
    recipe: Recipe,
    trainer: "NetworkTrainer",
    network: "Network",
    head: Head | None,
    tables: Tables,
    places: Rows,
) -> NDArray[np.float32]:
    """Held-out pictures judged in every way, (ways, pictures, classes)."""
    judged = []
    for way in ways_of(recipe, trainer.kind):
        found = trainer.judge(network, places, way.average)
        if way.beside and head is not None:
            with a_core_a_batch():
                begun = judge_rows(head, next(iter(tables.values())), places, way.average)
                found = (found + begun) / np.float32(2)
        judged.append(found)
    return np.stack(judged)


def chosen(
    recipe: Recipe, kind: str, judged: NDArray[np.float32], folds: Folds, learning: Sides, aims: Aims
) -> Choice:
    """What the judgments of held-out pictures decide."""
    return decide(dict(zip(ways_of(recipe, kind), judged, strict=True)), folds, learning, aims)
