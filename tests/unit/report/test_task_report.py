"""The page of a run with several tasks and with kinds of classes."""

from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest

from handlens.base.files import write_json
from handlens.data.kinds import Kinds
from handlens.data.samples import Samples
from handlens.evaluate.predictions import Predictions
from handlens.evaluate.summary import summarise
from handlens.report.html import verdict_of, write_report
from handlens.terminal import print_judgments, print_metrics

CLASSES = ("coarse flake", "fine flake", "gangue", "mica")
TASK = "Wear <b>&"
MEMBERS = {"graphite": CLASSES[:2], "other <i>": CLASSES[2:]}


@pytest.fixture
def run(make_run):
    """The small run of the report's tests, with a further task that half of the pictures have a label of."""
    run = make_run(CLASSES)
    rng = np.random.default_rng(2)
    samples = Samples.from_manifest(run.samples_path)
    wear = [str(rng.choice(["new", "old [red]"])) if row % 2 else None for row in range(len(samples))]
    samples = samples.with_table(samples.table.with_columns(pl.Series(TASK, wear)))
    samples.save(run.samples_path)
    main = {side: Predictions.read(run.predictions_path(side)) for side in ("val", "test")}
    further = {}
    for side in main:
        rows = samples.table.filter((pl.col("split") == side) & pl.col(TASK).is_not_null())
        sure = rng.random(len(rows)).astype(np.float32)
        further[side] = Predictions(
            tuple(rows["id"]),
            tuple(rows["group"]),
            np.array([["new", "old [red]"].index(label) for label in rows[TASK]]),
            ("new", "old [red]"),
            np.stack([sure, 1 - sure], axis=1),
        )
        further[side].write(run.predictions_path(side, TASK))
    kinds = Kinds.of(CLASSES, MEMBERS, "by hand")
    metrics = summarise(main, main["val"], "val", label="flake", tasks={TASK: further}, kinds=kinds)
    write_json(run.metrics_path, metrics.model_dump(mode="json"))
    return run, metrics


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.elements, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag, **having):
        return [each for name, each in self.elements if name == tag and having.items() <= each.items()]


def test_every_task_and_the_kinds_have_a_section_with_all_that_the_main_task_has(run):
    folder, metrics = run
    text = write_report(folder).read_text(encoding="utf-8")
    page = Page(text)
    for key, result in (("kinds", metrics.kinds), ("task-1", metrics.tasks[TASK])):
        section = text.split(f'<section id="{key}">')[1].split("</section>")[0]
        part = Page(section)
        accuracy = result.sides["test"].figures["accuracy"]
        assert f"{100 * accuracy.value:.1f} %" in part.texts
        assert f"{100 * accuracy.low:.1f} to {100 * accuracy.high:.1f} %" in part.texts
        counts = [number for row in result.sides["test"].confusion for number in row if number]
        assert section.count('<span class="n">') == len(counts)
        for name in result.classes:
            assert name in part.texts
        assert len(part.all("tr")) > 2 * len(result.classes)
    assert "coarse flake, fine flake" in page.texts


def test_the_page_stays_sound_accessible_and_escaped(run):
    page = Page(write_report(run[0]).read_text(encoding="utf-8"))
    ids = [each["id"] for _, each in page.elements if "id" in each]
    assert len(ids) == len(set(ids))
    assert {link["href"].removeprefix("#") for link in page.all("a")} <= set(ids)
    assert {label["for"] for label in page.all("label")} <= set(ids)
    assert len({each["name"] for each in page.all("input")}) == 3
    regions = [each["aria-label"] for _, each in page.elements if each.get("role") == "region"]
    assert len(regions) == len(set(regions))
    assert {TASK, "other <i>", "old [red]"} <= set(page.texts)


def test_figures_for_papers_are_written_for_each(run):
    write_report(run[0])
    names = {path.name for path in run[0].figures_path.glob("*.svg")}
    assert {"confusion-kinds.svg", "classes-kinds.svg"} <= names
    assert sum(name.startswith(("confusion.Wear", "classes.Wear", "reliability.Wear")) for name in names) == 3


def test_the_verdict_tells_of_them_by_name(run):
    folder, metrics = run
    verdict = verdict_of(folder)
    told = " ".join(verdict.sentences)
    confusion = np.array(metrics.sides["test"].confusion)
    wrong = confusion.sum() - np.trace(confusion)
    within = sum(confusion[i, j] for i, j in ((0, 1), (1, 0), (2, 3), (3, 2)))
    assert f"of {wrong} mistakes about the class, {within} stay within the kind." in told
    assert "the main task, “flake”" in told
    accuracy = metrics.tasks[TASK].sides["test"].figures["accuracy"]
    assert f"Of “{TASK}” it is right on {100 * accuracy.value:.1f} %" in told
    # Chances were drawn at random for it, on a few groups.
    assert any(doubt.title.startswith(f"“{TASK}”: Judged on only") for doubt in verdict.warnings)


def test_pictures_without_the_main_label_are_counted(run):
    folder, _ = run
    samples = Samples.from_manifest(folder.samples_path)
    some = pl.when(pl.col("split") == "train").then(None).otherwise(pl.col("label"))
    samples.with_table(samples.table.with_columns(some.alias("label"))).save(folder.samples_path)
    missing = samples.table.filter(pl.col("split") == "train").height
    assert f"{missing} pictures without a label of" in write_report(folder).read_text(encoding="utf-8")


def test_a_run_with_one_task_and_no_kinds_says_nothing_of_them(make_run):
    text = write_report(make_run()).read_text(encoding="utf-8")
    assert 'id="kinds"' not in text
    assert 'id="task-' not in text
    assert "main task" not in text


def test_the_terminal_prints_a_table_for_each(run, capsys):
    print_metrics(run[1])
    out = " ".join(capsys.readouterr().out.split())
    for title in ("flake, test", "2 kinds of classes, test", f"{TASK}, test"):
        assert title in out


def test_the_terminal_prints_the_judgments_of_every_task(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    print_judgments(
        pl.DataFrame(
            {
                "picture": ["a.jpg"],
                "prediction": ["ore"],
                "confidence": [0.5],
                "target": ["rock"],
                "prediction:[red]": ["old"],
                "confidence:wear": [0.25],
                "p:ore": [0.5],
            }
        )
    )
    head = capsys.readouterr().out.split("─")[0].split()
    assert head == ["picture", "target", "prediction", "confidence", "prediction:[red]", "confidence:wear"]
