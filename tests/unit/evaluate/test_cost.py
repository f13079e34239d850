"""What networks cost: counted by hand, and timed in turn."""

import numpy as np
import pytest
import torch
from torch import nn

from handlens.data.image import normalise
from handlens.evaluate import measuring
from handlens.evaluate.cost import Session, training_of
from handlens.evaluate.measuring import Contender, counted, judging, measure
from handlens.models.heads import Head, HeadSpec
from handlens.provenance import Provenance


def contender(width: int = 8, views: int = 1, precision: str = "float32") -> Contender:
    torch.manual_seed(0)
    trunk = nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)
    )
    spec = HeadSpec(kind="linear", standardise=False, dropout=0, input_dropout=0)
    return Contender(trunk.eval(), Head(spec, width, [4]).eval(), "average", "imagenet", 16, views, precision)


def test_parameters_size_and_arithmetic_by_hand() -> None:
    found = counted(contender())
    # 3 x 3 weights for 3 x 8 channels, scale and shift of 8, and a head of 8 x 4 with 4 biases.
    assert found.num_parameters == 9 * 3 * 8 + 2 * 8 + 8 * 4 + 4
    assert found.size_mib == pytest.approx(found.num_parameters * 4 / 2**20)
    assert found.multiply_adds == 9 * 3 * 8 * 16 * 16 + 8 * 4
    assert found.median_ms is None
    assert counted(contender(views=3)).multiply_adds == 3 * found.multiply_adds


def test_what_is_timed_are_the_probabilities() -> None:
    own = contender(views=2)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    with torch.inference_mode():
        rows = own.trunk(torch.from_numpy(normalise(pixels, "imagenet"))).mean((2, 3))
        expected = own.head(rows).softmax(1).numpy()
    assert judging(own)(pixels) == pytest.approx(2 * expected, abs=1e-5)


def test_all_are_timed_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, int, int]] = []

    def judging(each: Contender):
        return lambda pixels: calls.append(
            (str(each.head.num_features), len(pixels), torch.get_num_threads())
        )

    monkeypatch.setattr(measuring, "judging", judging)
    threads = torch.get_num_threads()
    costs, session = measure({"small": contender(4), "large": contender(8)}, threads=3, batch=6)
    assert torch.get_num_threads() == threads
    assert session is not None
    assert (session.threads, session.batch) == (3, 6)
    assert {used for *_, used in calls} == {3}
    # Before anything is timed, both networks are warmed up with one picture and with many.
    warm = [(name, count) for name, count, _ in calls[: 4 * measuring.WARM_UP]]
    assert {each: warm.count(each) for each in warm} == {
        (name, count): measuring.WARM_UP for name in ("4", "8") for count in (1, 6)
    }
    timed = calls[4 * measuring.WARM_UP :]
    # Two calls are a round: both networks once, at the same number of pictures, in an order that changes.
    rounds = [timed[at : at + 2] for at in range(0, len(timed), 2)]
    assert all({name for name, *_ in each} == {"4", "8"} for each in rounds)
    assert all(len({count for _, count, _ in each}) == 1 for each in rounds)
    assert {each[0][0] for each in rounds} == {"4", "8"}
    assert sum(each[0][1] == 6 for each in rounds) == measuring.BATCH_ROUNDS
    assert session.rounds == len(rounds) - measuring.BATCH_ROUNDS
    for each in costs.values():
        assert each.median_ms is not None and each.p95_ms is not None and each.pictures_a_second is not None
        assert 0 < each.median_ms <= each.p95_ms


def test_each_row_has_its_own_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that stands still but while a network judges: as long as it is wide, or a hundredfold."""
    now, calls = [0.0], [0]

    def judging(each: Contender):
        def judge(pixels: np.ndarray) -> None:
            calls[0] += 1
            # Batches of two take three times as long; one passage in a hundred is held up.
            late = 100 if calls[0] % 101 == 100 else 1
            now[0] += each.head.num_features / 1000 * (3 if len(pixels) == 2 else 1) * late

        return judge

    monkeypatch.setattr(measuring, "judging", judging)
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: now[0])
    both = {"large": contender(8), "small": contender(4)}
    found, session = measure(both, batch=2, seconds_a_row=0.01)
    for name, width in (("small", 4), ("large", 8)):
        assert found[name].median_ms == pytest.approx(width)
        assert found[name].p95_ms == pytest.approx(width)
        assert found[name].pictures_a_second == pytest.approx(2 * 1000 / (3 * width))
    assert session is not None and session.rounds == measuring.LEAST_ROUNDS


@pytest.mark.parametrize(
    ("milliseconds", "rounds"), [(1, 100), (40, 75), (100, 60), (500, 60), (1000, 30), (5000, 20)]
)
def test_slow_networks_are_timed_often_enough_for_a_percentile(
    monkeypatch: pytest.MonkeyPatch, milliseconds: float, rounds: int
) -> None:
    """Sixty times, unless that takes more than half a minute, by a clock that only judging moves."""
    now = [0.0]

    def judging(each: Contender):
        def judge(pixels: np.ndarray) -> None:
            now[0] += milliseconds / 1000

        return judge

    monkeypatch.setattr(measuring, "judging", judging)
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: now[0])
    _, session = measure({"one": contender(4)}, batch=2)
    assert session is not None
    assert session.rounds == pytest.approx(rounds, abs=1)
    assert f"{session.rounds} rounds" in session.sentence


def test_without_times_only_what_can_be_counted() -> None:
    found, session = measure({"one": contender()}, timed=False)
    assert session is None
    assert found["one"] == counted(contender())
    assert measure({}) == ({}, None)


def test_precision_is_that_of_this_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    for able, words in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr("handlens.evaluate.measuring.cpu_has_bfloat16", lambda able=able: able)
        assert counted(contender(precision="auto")).precision == words
        assert counted(contender(precision="float16")).precision == "float32"


def provenance(**seconds: float) -> Provenance:
    data = {"root": "/", "num_pictures": 1, "digest": "d", "split_digest": "s", "split_given": False}
    weights = {"backbone": "nano", "source": "bundled", "digest": "w", "pretrained": True}
    values = {"handlens": "0", "command": "", "started": "", "versions": {}, "machine": {}, "commit": None}
    return Provenance.parse(
        {**values, "precision": "float32", "data": data, "weights": weights, "seconds": seconds}, "provenance"
    )


def test_training_takes_features_and_learning() -> None:
    runs = [provenance(features=30, training=60, judging=99), provenance(training=30)]
    assert training_of(runs).minutes == pytest.approx((1.5 + 0.5) / 2)
    assert training_of([provenance(judging=3)]).minutes is None
    assert training_of(runs).peak_mib is None
    first, again = (
        run.model_copy(update={"peak_mib": most}) for run, most in zip(runs, (812, 790), strict=True)
    )
    assert training_of([first, *runs]).peak_mib == 812
    assert training_of([again, first]).peak_mib == 812


def test_a_busy_machine_is_told() -> None:
    told = Session(
        processor="chip", cores=2, threads=1, batch=16, rounds=50, load_before=5.04, load_after=1.0
    )
    assert told.sentence.startswith("Timed on chip (2 cores), 1 thread, all rows in turn, 50 rounds.")
    assert "Load of the machine 5.0 before and 1.0 after. It was busy" in told.sentence
    assert "busy" not in told.model_copy(update={"load_before": 1.0}).sentence
    assert "Load" not in told.model_copy(update={"load_before": None}).sentence
