"""The maps of a run's surest mistakes, kept in the run, where its report shows them."""

from collections.abc import Sequence

from handlens.evaluate.predictions import Predictions
from handlens.evaluate.results import judged_side
from handlens.explain.chosen import Subject, its_mistakes
from handlens.explain.layer import NoMap
from handlens.explain.looking import Looking, Pixels, readable
from handlens.explain.maps import Heat
from handlens.explain.network import Trained
from handlens.explain.overlay import laid_over_with_words
from handlens.explain.page import jpeg_of
from handlens.explain.spec import ExplainSpec
from handlens.report.html import write_report
from handlens.report.mistakes import map_name, maps_of, mistakes_of
from handlens.run import RunFolder


def map_mistakes(trained: Trained, spec: ExplainSpec | None = None) -> int:
    """Draw what spoke for the wrong class on each mistake, and write the report again; gives how many.

    Where there is no mistake, no picture any more or no map in the network, the report stays as it is, and
    so it does where it has its maps already.
    """
    run = trained.folder
    mistakes = mistakes_of(Predictions.read(run.predictions_path(judged_side(trained.metrics))))
    if len(maps_of(run, mistakes)) == len(mistakes):
        return 0
    subjects, _ = readable(trained, its_mistakes(trained).subjects)
    if not subjects:
        return 0
    looking = Looking(trained, subjects, spec or ExplainSpec())
    try:
        heat = looking.heat(looking.said)
    except NoMap:
        return 0
    keep(run, subjects, looking.pixels, heat)
    return len(subjects)


def keep(run: RunFolder, subjects: Sequence[Subject], pixels: Pixels, heat: Heat) -> None:
    """Put maps of what the run said of its mistakes into its folder, and write its report again."""
    for subject, seen, each in zip(subjects, pixels, heat, strict=True):
        run.write_figure(map_name(subject.id), jpeg_of(laid_over_with_words(seen, each)))
    write_report(run)
