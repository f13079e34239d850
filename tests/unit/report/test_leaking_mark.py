"""A run that leaks by intent says so before anything else; near copies over a split made here are a doubt."""

import re

import pytest
from test_html import Page

from handlens.data.derived import PAPER_PROTOCOL
from handlens.data.leak import Copied
from handlens.evaluate.leaked import leaked
from handlens.evaluate.predictions import Predictions
from handlens.report.html import verdict_of, write_report
from handlens.terminal import print_verdict

LEAKS = "This run leaks: its pictures were expanded before they were split."


@pytest.fixture
def marked(make_run):
    def make(*marks, **data):
        run = make_run()
        told = run.read_provenance()
        run.write_provenance(told | {"data": told["data"] | {"marks": marks} | data})
        return run

    return make


def test_the_first_line_of_the_report_says_it(marked):
    page = Page(write_report(marked(PAPER_PROTOCOL)).read_text("utf-8"))
    body = page.elements.index(("body", {}))
    shown = [element for element in page.elements[body:] if element[0] not in ("body", "header")]
    assert shown[0] == ("p", {"class": "alarm serious"})
    texts = [text.strip() for text in page.texts if text.strip()]
    # Behind the title of the window and the styles, which nobody reads.
    after_styles = next(place for place, text in enumerate(texts) if text == LEAKS)
    assert "Handlens" in texts[after_styles + 1]
    assert not any("right on" in text.casefold() for text in texts[:after_styles])


def test_the_headline_and_the_first_doubt_say_it(marked):
    verdict = verdict_of(marked(PAPER_PROTOCOL, leaks=["drill core 7"], split_given=True))
    assert verdict.alarm == LEAKS
    assert verdict.headline.startswith(f"{LEAKS} Right on ")
    assert "do not quote this figure" in verdict.claim
    assert "never seen" not in verdict.headline
    first = verdict.warnings[0]
    assert (first.severity, f"{first.title}.") == ("serious", LEAKS)
    assert "--paper-protocol" in first.detail


def test_the_terminal_says_it_first(marked, capsys):
    print_verdict(verdict_of(marked(PAPER_PROTOCOL)))
    assert re.sub(r"\s+", " ", capsys.readouterr().out).startswith(LEAKS)


def test_other_runs_have_no_such_line(marked, make_run):
    run = marked()
    assert verdict_of(run).alarm is None
    assert verdict_of(run).headline.startswith("Right on ")
    text = write_report(run).read_text("utf-8")
    assert 'class="alarm' not in text
    assert "leaks" not in text


def test_a_run_from_before_there_were_marks_still_has_its_report(make_run):
    run = make_run()
    told = run.read_provenance()
    del told["data"]["marks"]
    run.write_provenance(told)
    assert verdict_of(run).alarm is None


# near copies that a split made here tears apart


@pytest.mark.parametrize(("number", "severity"), [(1, "caution"), (2, "serious")])
def test_near_copies_are_counted_named_and_left_out_of_a_figure(make_run, number, severity):
    run = make_run()
    test = Predictions.read(run.predictions_path("test"))
    copied = [Copied(id=name, copies=("photo 0.jpg",)) for name in test.ids[:number]]
    found = leaked(test, copied)
    assert found is not None
    run.write_leak(found.model_dump(mode="json"))
    verdict = verdict_of(run)
    assert verdict.alarm is None
    have = "1 has a near copy" if number == 1 else "2 have near copies"
    assert verdict.claim.endswith(f"of its test pictures, of which {have} in training")
    (doubt,) = [each for each in verdict.warnings if "near copies" in each.title]
    assert doubt.severity == severity
    assert test.ids[0] in doubt.detail
    assert "handlens audit DATA --apply grouped.csv" in doubt.detail
    assert 'class="alarm' not in write_report(run).read_text("utf-8")
