"""The page of maps says whose maps are in doubt, and names them only where that tells them apart."""

from types import SimpleNamespace

import pytest

from handlens.explain.page import headline


def run(name: str, *verdicts: str) -> SimpleNamespace:
    checks = [SimpleNamespace(verdict=verdict) for verdict in verdicts]
    doubts = [check for check in checks if check.verdict != "passes"]
    return SimpleNamespace(run=name, belief=SimpleNamespace(checks=checks, doubts=doubts))


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ([run("a", "passes")], "These maps stand the checks of belief"),
        ([run("a", "undecided")], "It is not certain that these maps deserve belief"),
        ([run("a", "fails")], "These maps do not deserve belief: they fail a check"),
        (
            [run("a", "undecided"), run("b", "passes", "undecided")],
            "It is not certain that these maps deserve belief",
        ),
        (
            [run("a", "undecided"), run("b", "passes"), run("c", "undecided")],
            "It is not certain that the maps of “a” and “c” deserve belief",
        ),
        (
            [run("a", "undecided"), run("b", "fails")],
            "The maps of “b” do not deserve belief: they fail a check",
        ),
        ([run("a", "too_few", "too_few")], "Too few pictures to say whether these maps deserve belief"),
        ([run("a", "too_few", "undecided")], "It is not certain that these maps deserve belief"),
        ([run("a", "too_few", "fails")], "These maps do not deserve belief: they fail a check"),
    ],
)
def test_the_headline_names_those_in_doubt(runs: list[SimpleNamespace], said: str) -> None:
    assert headline(SimpleNamespace(runs=runs)) == said
