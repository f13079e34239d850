import pytest

from handlens.evaluate.results import ClassResult, Figure, Metrics, SideResult
from handlens.provenance import Provenance
from handlens.report.doubts import SamplesSummary
from handlens.report.verdict import Verdict, judge

PROVENANCE = {
    "handlens": "0.1.0",
    "command": "handlens train photos",
    "started": "2026-11-21T10:42:13+00:00",
    "versions": {},
    "machine": {},
    "precision": "float32",
    "commit": None,
}
DATA = {"root": "/p", "num_pictures": 2500, "digest": "d", "split_digest": "s", "split_given": False}
WEIGHTS = {"backbone": "nano", "source": "bundled", "digest": "w", "pretrained": True}
SUMMARY = SamplesSummary(
    pictures={"ore": {"train": 300, "test": 250}, "rock": {"train": 290, "test": 250}},
    groups={"ore": {"train": 60, "test": 50}, "rock": {"train": 58, "test": 50}},
    each_its_own_group=False,
)


def figure(value: float, low: float, high: float) -> Figure:
    return Figure(value=value, low=low, high=high, method="by hand", n=500, n_groups=100)


def side(
    accuracy: tuple[float, float, float] = (0.914, 0.889, 0.936),
    recalls: tuple[float, float] = (0.92, 0.908),
    confusion: tuple[tuple[int, int], ...] = ((230, 20), (23, 227)),
    n_groups: int = 100,
    class_groups: int = 50,
    ece: tuple[float, float, float] = (0.02, 0.01, 0.04),
) -> SideResult:
    n = sum(map(sum, confusion))
    return SideResult(
        n=n,
        n_groups=n_groups,
        figures={"accuracy": figure(*accuracy), "ece": figure(0.3, 0.2, 0.4), "ece_calibrated": figure(*ece)},
        per_class={
            name: ClassResult(
                n=sum(row),
                n_groups=class_groups,
                precision=figure(recall, recall - 0.05, recall + 0.04),
                recall=figure(recall, recall - 0.05, recall + 0.04),
                f1=figure(recall, recall - 0.05, recall + 0.04),
            )
            for name, row, recall in zip(("ore", "rock"), confusion, recalls, strict=True)
            if sum(row)
        },
        confusion=confusion,
        reliability=(),
    )


def verdict(
    result: SideResult | None = None,
    *,
    name: str = "test",
    data: dict[str, object] | None = None,
    weights: dict[str, object] | None = None,
    summary: SamplesSummary = SUMMARY,
    temperature: float | None = 1.2,
    history: tuple[dict[str, float], ...] = (),
) -> Verdict:
    metrics = Metrics(classes=("ore", "rock"), sides={name: result or side()}, temperature=temperature)
    told = PROVENANCE | {"data": DATA | (data or {}), "weights": WEIGHTS | (weights or {})}
    return judge(metrics, Provenance.parse(told, "it"), summary, history)


def titles(found: Verdict, severity: str) -> list[str]:
    return [doubt.title for doubt in found.warnings if doubt.severity == severity]


def test_a_good_run_is_told_with_its_interval_and_what_it_rests_on() -> None:
    found = verdict()
    assert found.headline == (
        "Right on 91.4 % of pictures it had never seen "
        "(95 % interval 88.9 to 93.6 %, 500 pictures from 100 groups)."
    )
    assert "“ore”" in found.sentences[0]
    assert "50.0 %" in found.sentences[0]
    assert "the model is better than that" in found.sentences[0]
    assert titles(found, "serious") == []
    assert titles(found, "caution") == []


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [
        ((0.55, 0.48, 0.62), "not shown to be better than guessing"),
        ((0.50, 0.50, 0.62), "not shown to be better than guessing"),
        ((0.40, 0.35, 0.45), "the model is worse than that"),
    ],
)
def test_better_is_only_said_where_the_whole_interval_is(
    accuracy: tuple[float, float, float], words: str
) -> None:
    sentence = verdict(side(accuracy)).sentences[0]
    assert words in sentence
    assert "is better than that" not in sentence


def test_a_leaking_split_is_the_first_thing_said() -> None:
    found = verdict(side(n_groups=12), data={"split_given": True, "leaks": ["drill core 7"]})
    assert "leaks" in found.claim
    assert "never seen" not in found.claim
    assert found.warnings[0].severity == "serious"
    assert "leaks" in found.warnings[0].title
    assert "drill core 7" in found.warnings[0].detail


@pytest.mark.parametrize(
    ("found", "severity", "title"),
    [
        (verdict(side(n_groups=29)), "serious", "Judged on only 29 groups"),
        (verdict(side((0.9, 0.65, 0.97))), "serious", "The interval is wide: 32 points"),
        (verdict(side((0.9, 0.82, 0.95))), "caution", "The interval is wide: 13 points"),
        (verdict(side(confusion=((20, 2), (2, 20)))), "caution", "Judged on only 44 pictures"),
        (verdict(side(recalls=(0.9, 0.4))), "serious", "Weakest class: “rock”"),
        (verdict(side(recalls=(0.9, 0.52))), "caution", "Weakest class: “rock”"),
        (verdict(), "note", "Weakest class: “rock”"),
        (verdict(), "note", "Most frequent confusion: “rock” taken for “ore”"),
        (verdict(side(confusion=((250, 0), (0, 0)))), "serious", "1 class has no picture to be judged on"),
        (verdict(side(class_groups=9)), "caution", "2 classes rest on fewer than 10 groups"),
        (
            verdict(data={"conflicts": ["a.jpg = b.jpg"]}),
            "caution",
            "1 picture stands under different labels",
        ),
        (verdict(data={"problems": [{"path": "a", "reason": "r"}]}), "note", "1 picture was left out"),
        (verdict(side(ece=(0.09, 0.06, 0.12))), "caution", "The confidences are off"),
        (verdict(weights={"pretrained": False}), "serious", "The network started from random weights"),
        (verdict(temperature=None), "caution", "The probabilities are not calibrated"),
        (verdict(name="val"), "serious", "There is no test side"),
        (
            verdict(history=({"train_accuracy": 0.99, "val_accuracy": 0.8}, {"train_accuracy": 0.99})),
            "caution",
            "It knows its training pictures better than new ones",
        ),
        (
            verdict(summary=SamplesSummary(SUMMARY.pictures, SUMMARY.groups, each_its_own_group=True)),
            "caution",
            "Every picture counts as independent",
        ),
    ],
)
def test_what_deserves_distrust_is_named(found: Verdict, severity: str, title: str) -> None:
    assert title in titles(found, severity)


def test_the_worst_comes_first() -> None:
    found = verdict(side(n_groups=5, recalls=(0.9, 0.52)), data={"conflicts": ["a = b"]})
    order = [doubt.severity for doubt in found.warnings]
    assert order == sorted(order, key=["serious", "caution", "note"].index)
    assert len(set(order)) == 3


def test_no_mistake_is_not_called_perfect() -> None:
    found = verdict(side((1.0, 0.985, 1.0), (1.0, 1.0), ((250, 0), (0, 250))))
    assert "up to 1.5 % mistakes" in found.sentences[-1]
    assert not any("Weakest" in doubt.title or "confusion" in doubt.title for doubt in found.warnings)


def test_validation_is_never_called_unseen() -> None:
    assert "never seen" not in verdict(name="val").headline


def test_pictures_without_told_groups_are_not_passed_off_as_groups() -> None:
    alone = SamplesSummary(SUMMARY.pictures, SUMMARY.groups, each_its_own_group=True)
    assert "500 pictures, each its own group" in verdict(side(n_groups=500), summary=alone).basis
