"""What the page and the terminal say of a run beside the same on random weights."""

import re
from collections.abc import Callable
from html import unescape

import pytest

from handlens import terminal
from handlens.evaluate.beside import Compared
from handlens.evaluate.results import Figure
from handlens.report.html import transfer_in, verdict_of, write_report
from handlens.report.transfer import outcome_of
from handlens.run import RunFolder

MakeRun = Callable[..., RunFolder]


def figure(value: float, low: float, high: float) -> Figure:
    return Figure(value=value, low=low, high=high, method="by hand", n=30, n_groups=10)


def compare(
    folder: RunFolder,
    difference: tuple[float, float, float],
    run: str = "run-0-random-weights",
    weights: str = "random (seed 0)",
) -> RunFolder:
    compared = Compared(
        pretrained=False,
        side="test",
        figures={"accuracy": figure(0.371, 0.25, 0.5), "f1_macro": figure(0.352, 0.24, 0.49)},
        difference=figure(*difference),
        run=run,
        weights=weights,
    )
    folder.write_compared(compared.model_dump(mode="json"))
    return folder


def text_of(run: RunFolder) -> str:
    page = write_report(run).read_text(encoding="utf-8")
    return " ".join(unescape(re.sub("<[^>]+>", " ", page)).split())


START = "with its weights the network's accuracy on the same pictures is"
OF = "95 % interval of the difference"
VERDICTS = {
    (0.3, 0.2, 0.4): f"Clearly better: {START} 30.0 points higher ({OF} +20.0 to +40.0 points). "
    "The transfer was worth it.",
    (-0.02, -0.1, 0.06): f"No clear difference: {START} 2.0 points lower ({OF} −10.0 to +6.0 points, "
    "which includes 0). The transfer is not shown to be worth anything here.",
    (0.0, -0.1, 0.1): f"No clear difference: {START} the same ({OF} −10.0 to +10.0 points, "
    "which includes 0). The transfer is not shown to be worth anything here.",
    (-0.2, -0.35, -0.05): f"Clearly worse: {START} 20.0 points lower ({OF} −35.0 to −5.0 points). "
    "The transfer does harm here.",
}
DOUBTS = {
    "better": [],
    "unclear": ["Random weights do about as well"],
    "worse": ["Random weights do better"],
}


@pytest.mark.parametrize("difference", VERDICTS)
def test_the_verdict_says_what_the_interval_allows(make_run: MakeRun, difference, capsys) -> None:
    run = compare(make_run(), difference)
    transfer = transfer_in(run)
    assert transfer is not None
    assert transfer.verdict == VERDICTS[difference]
    text = text_of(run)
    assert "What the transfer was worth" in text
    assert transfer.verdict in text
    for words in ("bundled", "random (seed 0)", "37.1 %", "35.2 %", "run-0-random-weights"):
        assert words in text
    doubts = [each.title for each in verdict_of(run).warnings if "Random weights" in each.title]
    assert doubts == DOUBTS[transfer.outcome]
    terminal.print_transfer(transfer)
    lines = capsys.readouterr().out.splitlines()
    assert "37.1 % right" in lines[2]
    assert transfer.verdict in lines


def test_an_end_of_the_interval_at_zero_is_not_clear() -> None:
    assert outcome_of(figure(0.1, 0.0, 0.2)) == outcome_of(figure(-0.1, -0.2, 0.0)) == "unclear"


def test_a_run_alone_has_no_such_section(make_run: MakeRun) -> None:
    run = make_run()
    assert transfer_in(run) is None
    page = write_report(run).read_text(encoding="utf-8")
    assert 'id="transfer"' not in page
    assert "#transfer" not in page


def test_names_in_it_are_escaped_and_the_page_is_the_same_twice(make_run: MakeRun) -> None:
    run = compare(make_run(), (0.3, 0.2, 0.4), run="<script>run</script>", weights="<b>石墨</b> & more")
    page = write_report(run).read_text(encoding="utf-8")
    assert "<script>run" not in page
    assert "<b>石墨" not in page
    assert "&lt;b&gt;石墨&lt;/b&gt; &amp; more" in page
    assert write_report(run).read_text(encoding="utf-8") == page
