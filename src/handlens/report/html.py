"""The report of a run: one page that opens anywhere, and the figures for papers."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from markupsafe import Markup
from PIL import Image

from handlens.base.files import write_text
from handlens.base.spec import write_yaml
from handlens.data.samples import SIDES, Samples
from handlens.evaluate.beside import Compared
from handlens.evaluate.leaked import Leaked
from handlens.evaluate.predictions import Predictions
from handlens.evaluate.results import Metrics, SideResult, judged_side
from handlens.provenance import Provenance
from handlens.report import figures
from handlens.report.cards import cards
from handlens.report.doubts import SamplesSummary
from handlens.report.mistakes import Mistake, maps_of, mistakes_of
from handlens.report.pages import page_template
from handlens.report.parts import Part, cells, part_of_kinds, parts_of_tasks, summary_of
from handlens.report.thumbnails import data_uri, thumbnails
from handlens.report.transfer import Transfer, transfer_of
from handlens.report.verdict import Verdict, judge, rests_on
from handlens.run import RunFolder, file_word

SIDE_TITLES = {"train": "Training", "val": "Validation", "test": "Test"}
# Thumbnails cost time and room: three a class for a few classes, one for many, none beyond.
MOST_THUMBNAILS = 60
THUMBNAILS_PER_CLASS = 3


def write_report(run: RunFolder) -> Path:
    """Write the page and the figures of a run from what its folder holds."""
    metrics = Metrics.parse(run.read_json(run.metrics_path), str(run.metrics_path))
    provenance = Provenance.parse(run.read_provenance(), str(run.provenance_path))
    # Read as a manifest, so that pictures that moved together with the run are found again.
    samples = Samples.from_manifest(run.samples_path).table
    history = run.read_history()
    compared = _compared(run)
    summary = summary_of(samples)
    name = judged_side(metrics)
    side = metrics.sides[name]

    mistakes = mistakes_of(Predictions.read(run.predictions_path(name)))
    shown = _shown_of_each_class(samples, summary)
    tasks, kinds = parts_of_tasks(metrics, samples), part_of_kinds(metrics, samples)
    _draw_parts(run, tasks, kinds)
    page = page_template("report.html")
    text = page.render(
        run_name=run.name,
        verdict=judge(metrics, provenance, summary, history, compared, _leaked(run)),
        transfer=transfer_of(metrics, provenance, compared) if compared else None,
        side=side,
        side_name=name,
        side_titles=SIDE_TITLES,
        accuracy=side.figures["accuracy"],
        rests_on=rests_on(side, summary),
        guess=summary.most_frequent(),
        guessed=side.share_of(summary.most_frequent()),
        cards=[card for card in cards(metrics) if card.headline],
        more_cards=[card for card in cards(metrics) if not card.headline],
        metrics=metrics,
        tasks=tasks,
        kinds=kinds,
        unlabelled=samples["label"].null_count(),
        provenance=provenance,
        summary=summary,
        splits=[split for split in SIDES if any(split in row for row in summary.pictures.values())],
        shown=shown,
        thumbnails=_thumbnails_by_id(samples, shown, mistakes),
        views=_views(run),
        drawn=_draw(run, metrics, side, history),
        confusion=cells(side.confusion),
        mistakes=mistakes,
        maps=maps_of(run, mistakes),
        recipe=write_yaml(run.read_recipe()),
    )
    write_text(run.report_path, text)
    return run.report_path


def verdict_of(run: RunFolder) -> Verdict:
    """What the top of the report says, for those who do not open it."""
    metrics = Metrics.parse(run.read_json(run.metrics_path), str(run.metrics_path))
    provenance = Provenance.parse(run.read_provenance(), str(run.provenance_path))
    samples = Samples.from_manifest(run.samples_path).table
    history, compared = run.read_history(), _compared(run)
    return judge(metrics, provenance, summary_of(samples), history, compared, _leaked(run))


def transfer_in(run: RunFolder) -> Transfer | None:
    """What a run's weights were worth; none where there is no other run to compare with."""
    compared = _compared(run)
    if compared is None:
        return None
    metrics = Metrics.parse(run.read_json(run.metrics_path), str(run.metrics_path))
    provenance = Provenance.parse(run.read_provenance(), str(run.provenance_path))
    return transfer_of(metrics, provenance, compared)


def _compared(run: RunFolder) -> Compared | None:
    values = run.read_compared()
    return None if values is None else Compared.parse(values, str(run.compared_path))


def _leaked(run: RunFolder) -> Leaked | None:
    values = run.read_leak()
    return None if values is None else Leaked.parse(values, str(run.leak_path))


def _shown_of_each_class(samples: pl.DataFrame, summary: SamplesSummary) -> dict[str, list[str]]:
    """A few pictures of each class by id: of different groups and from all over the table."""
    most = min(THUMBNAILS_PER_CLASS, MOST_THUMBNAILS // max(1, len(summary.pictures)))
    shown: dict[str, list[str]] = {label: [] for label in summary.pictures}
    if most == 0:
        return shown
    of_groups = samples.drop_nulls(["split", "label"]).unique(
        ["label", "group"], keep="first", maintain_order=True
    )
    for (label,), rows in of_groups.partition_by("label", as_dict=True).items():
        places = np.unique(np.linspace(0, rows.height - 1, most).round().astype(int))
        shown[str(label)] = [str(rows["id"][int(place)]) for place in places]
    return shown


def _thumbnails_by_id(
    samples: pl.DataFrame, shown: Mapping[str, Sequence[str]], mistakes: Sequence[Mistake]
) -> dict[str, str]:
    """The thumbnails that the page needs; a picture that is gone has none."""
    wanted = {id_ for ids in shown.values() for id_ in ids} | {mistake.id for mistake in mistakes}
    rows = samples.filter(pl.col("id").is_in(wanted)).select("id", "path").iter_rows()
    paths = {id_: Path(path) for id_, path in rows}
    made = thumbnails(paths.values())
    return {id_: made[path] for id_, path in paths.items() if path in made}


def _draw(
    run: RunFolder, metrics: Metrics, side: SideResult, history: Sequence[Mapping[str, Any]]
) -> dict[str, Markup]:
    """Write the figures for papers, and give those that the page shows too."""
    drawn = {
        "confusion": figures.draw_confusion(metrics.classes, side.confusion),
        "classes": figures.draw_classes(side.per_class),
        "reliability": figures.draw_reliability(side.reliability, side.reliability_calibrated),
    }
    curves = figures.draw_curves(history)
    if curves is not None:
        drawn["curves"] = curves
    for name, svg in drawn.items():
        run.write_figure(f"{name}.svg", svg)
    told = {
        "curves": "Loss and accuracy epoch by epoch, on training and validation pictures.",
        "reliability": "Confidence against the share of pictures that is right.",
    }
    return {name: figures.for_page(drawn[name], alt) for name, alt in told.items() if name in drawn}


def _draw_parts(run: RunFolder, tasks: Sequence[Part], kinds: Part | None) -> None:
    """Write the figures for papers of the further tasks and of the kinds."""
    for part in tasks:
        word = file_word(part.name)
        _write_pair(run, part, f".{word}")
        side = part.side
        reliability = figures.draw_reliability(side.reliability, side.reliability_calibrated)
        run.write_figure(f"reliability.{word}.svg", reliability)
    if kinds:
        _write_pair(run, kinds, "-kinds")


def _write_pair(run: RunFolder, part: Part, ending: str) -> None:
    run.write_figure(f"confusion{ending}.svg", figures.draw_confusion(part.classes, part.side.confusion))
    run.write_figure(f"classes{ending}.svg", figures.draw_classes(part.side.per_class))


def _views(run: RunFolder) -> tuple[str, int] | None:
    """The strip of what the network sees, and its width; none where the run has none."""
    path = run.figures_path / "views.jpg"
    if not path.is_file():
        return None
    jpeg = path.read_bytes()
    with Image.open(io.BytesIO(jpeg)) as strip:
        return data_uri(jpeg), strip.width
