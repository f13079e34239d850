"""What the papers ask besides their tables, in sentences: time, generated pictures, further tasks."""

from collections.abc import Mapping
from statistics import fmean

from handlens.evaluate.comparison import Comparison, Entry, compare
from handlens.evaluate.cost import Cost
from handlens.report.words import percent, percent_interval
from handlens.reproduce.paper import Paper
from handlens.reproduce.protocols import HONEST, WITHOUT
from handlens.reproduce.tables import RowsOf


def of_the_limit(paper: Paper, costs: Mapping[str, Cost]) -> list[str]:
    """Which networks are too slow, where the paper names a limit."""
    limit = paper.spec.most_ms
    timed = {name: cost.median_ms for name, cost in costs.items() if cost.median_ms is not None}
    if limit is None or not timed:
        return []
    slow = [f"{name} ({median:.1f} ms)" for name, median in timed.items() if median > limit]
    if not slow:
        return [
            f"No network takes more than {limit:g} ms a picture on this processor, of those that were timed."
        ]
    return [f"Slower than the paper's limit of {limit:g} ms a picture on this processor: {', '.join(slow)}."]


def of_generated(rows: RowsOf) -> list[str]:
    """What generated pictures in training are worth, on the same test pictures."""
    told = []
    for name, plain in rows.get(WITHOUT, {}).items():
        more = rows.get(HONEST, {}).get(name)
        if more is None:
            continue
        entries = [Entry("without", plain.trainings), Entry("with", more.trainings)]
        found: Comparison = compare(entries, also=(), common=True)
        difference = found.row("with").difference
        assert difference is not None
        value, low, high = (100 * each for each in (difference.value, difference.low, difference.high))
        words = f"{value:+.1f} points ({low:+.1f} to {high:+.1f})".replace("-", "\N{MINUS SIGN}")
        clear = "" if low > 0 or high < 0 else ", not to be told from none"
        told.append(f"Generated pictures in training, {name}: accuracy {words}{clear}.")
    return told


def of_further_tasks(rows: RowsOf) -> list[str]:
    """How good rows that learn several tasks are at the further ones, which the tables do not tell."""
    told = []
    for name, row in rows.get(HONEST, {}).items():
        for task in row.metrics[0].tasks:
            sides = [metrics.tasks[task].sides for metrics in row.metrics]
            accuracies = [side["test"].figures["accuracy"] for side in sides if "test" in side]
            if not accuracies:
                continue
            words = percent(fmean(each.value for each in accuracies))
            # Several trainings have no common interval here.
            also = f" ({percent_interval(accuracies[0])})" if len(accuracies) == 1 else ""
            told.append(f"“{name}” learns “{task}” besides: {words} right{also}.")
    return told
