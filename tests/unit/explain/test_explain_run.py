"""Explaining a run: which pictures, what is written, what is told, and where known defects are."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from marked import DEFECT, GOOD, RECIPE, draw_folder
from torch import Tensor
from typer.testing import CliRunner, Result

from handlens import cli
from handlens.base.errors import HandlensError
from handlens.cli import explain as command
from handlens.evaluate.predict import judge_shots
from handlens.evaluate.predictions import Predictions
from handlens.explain.chosen import choose
from handlens.explain.explain import explain
from handlens.explain.gallery import map_mistakes
from handlens.explain.inside import mask_in_view, share_inside
from handlens.explain.layer import NoMap
from handlens.explain.looking import Looking
from handlens.explain.maps import heat_of
from handlens.explain.network import Explained
from handlens.explain.spec import ExplainSpec
from handlens.pipeline import run_recipe
from handlens.recipe import Recipe
from handlens.report.html import write_report
from handlens.trained import TrainedRun

QUICK = ExplainSpec(checked=2, cuts=4, random_maps=1, random_networks=1)


@pytest.fixture
def mistaken(trained: TrainedRun, tmp_path: Path) -> TrainedRun:
    """The same run, as if it had taken two test pictures for the other class."""
    folder = tmp_path / "lauf 2"
    shutil.copytree(trained.folder.path, folder)
    run = TrainedRun(folder)
    said = run.predictions("test")
    wrong = said.probabilities.copy()
    wrong[[1, 12]] = wrong[[1, 12], ::-1]
    replace(said, probabilities=wrong).write(run.folder.predictions_path("test"))
    return run


class Page(HTMLParser):
    """What is on a page, and whether all that is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in {"meta", "img", "br", "input"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def images(self) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag == "img"]


def sound(path: Path) -> Page:
    """A page that is well formed, accessible and stands alone."""
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert all(image["alt"] and image["src"].startswith("data:image/jpeg;base64,") for image in page.images())
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {attributes["href"] for tag, attributes in page.elements if tag == "a"}
    assert links <= {f"#{name}" for name in ids}
    assert not re.search(r"@import|url\(|https?://", text)
    return page


def test_heat_gathers_in_the_known_defects(trained: TrainedRun) -> None:
    subjects = [s for s in choose(trained, [], False, 8).subjects if s.true == DEFECT]
    assert len(subjects) == 8 and all(subject.mask for subject in subjects)
    looking = Looking(trained, subjects, ExplainSpec())
    heat = looking.heat(np.full(8, looking.number_of(DEFECT)))
    masks = [mask for mask in looking.masks if mask is not None]
    inside = [share_inside(each, mask) for each, mask in zip(heat, masks, strict=True)]
    covered = [mask.mean() for mask in masks]
    # Coarse as a map of 5 x 5 places is, three times as much as without any aim; and its middle is there.
    assert np.mean(inside) > 3 * np.mean(covered)
    hottest = [np.unravel_index(each.argmax(), each.shape) for each in heat]
    middles = [np.argwhere(mask).mean(axis=0) for mask in masks]
    assert np.median([np.hypot(*(np.array(a) - b)) for a, b in zip(hottest, middles, strict=True)]) < 32


def test_a_mask_goes_through_the_judging_view(trained: TrainedRun, tmp_path: Path) -> None:
    from PIL import Image

    marks = np.zeros((60, 120), np.uint8)
    marks[:, :60] = 1
    Image.fromarray(marks).save(tmp_path / "mask.png")
    view = trained.recipe.views.judge
    mask = mask_in_view(tmp_path / "mask.png", view, 10**6)
    assert mask.shape == (view.size, view.size)
    assert mask.mean() == pytest.approx(0.5, abs=0.01) and mask[:, : view.size // 2 - 2].all()
    assert share_inside(np.where(mask, 3.0, 1.0).astype(np.float32), mask) == pytest.approx(0.75, abs=0.01)
    assert share_inside(np.zeros(mask.shape, np.float32), mask) == 0


def test_what_is_explained_is_what_judges(trained: TrainedRun) -> None:
    subjects = choose(trained, [], False, 3).subjects
    looking = Looking(trained, subjects, ExplainSpec())
    x = looking.network.as_input(looking.pixels)
    facts = trained.facts
    judged = judge_shots(
        trained.extractor, trained.head, [s.shot for s in subjects], facts.kind, facts.average
    )
    for network in (Explained.of(trained), Explained.of(trained, quick=True)):
        np.testing.assert_allclose(network.probabilities(x).numpy(), judged, atol=1e-4)
    np.testing.assert_array_equal(looking.network(x).argmax(1).numpy(), judged.argmax(1))
    np.testing.assert_array_equal(looking.probabilities, judged)


def test_some_of_each_class_come_from_all_over_the_test_side(trained: TrainedRun) -> None:
    chosen = choose(trained, [], False, 3)
    assert [subject.true for subject in chosen.subjects] == [*[GOOD] * 3, *[DEFECT] * 3] or [
        subject.true for subject in chosen.subjects
    ] == [*[DEFECT] * 3, *[GOOD] * 3]
    assert len({subject.group for subject in chosen.subjects}) == 6
    test = set(trained.predictions("test").ids)
    assert all(subject.id in test for subject in chosen.subjects)
    # More than there are: all of them.
    assert len(choose(trained, [], False, 100).subjects) == len(test)


def test_pictures_from_anywhere_and_known_ones(trained: TrainedRun, pictures: Path, tmp_path: Path) -> None:
    known = pictures / DEFECT / "bild 30.png"
    copied = tmp_path / "moved <b>.png"
    shutil.copy(known, copied)
    other = tmp_path / "other.png"
    from PIL import Image

    Image.new("RGB", (50, 80), "grey").save(other)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    chosen = choose(trained, [copied, other, tmp_path / "broken.jpg"], False, None)
    assert [subject.true for subject in chosen.subjects] == [DEFECT, None]
    made = explain([trained], chosen, tmp_path / "aus", QUICK, "handlens explain x")
    assert made.result.bad[0][0].endswith("broken.jpg")
    page = sound(made.page)
    assert "moved <b>.png" in page.text and "handlens explain x" in page.text


def test_wishes_that_cannot_be_met_are_told(trained: TrainedRun, tmp_path: Path) -> None:
    for asked, told in (
        (([], False, None), "--per-class 2"),
        (([tmp_path], True, None), "exclude each other"),
        (([], False, 0), "1 or more"),
        (([], True, None), "made no mistake"),
        (([tmp_path / str(at) for at in range(300)], False, None), "240 at most"),
    ):
        with pytest.raises(HandlensError, match=told):
            choose(trained, *asked)
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(HandlensError, match=r"^\S*a.jpg cannot be read: this is not a picture. Give other"):
        choose(trained, [tmp_path / "a.jpg"], False, None)
    with pytest.raises(HandlensError, match=r"^None of the 2 pictures can be read. \S*a.jpg: .*Give other"):
        choose(trained, [tmp_path / "a.jpg", tmp_path / "b.jpg"], False, None)
    chosen = choose(trained, [], False, 1)
    with pytest.raises(HandlensError, match="given twice"):
        explain([trained, TrainedRun(trained.folder.path)], chosen, tmp_path / "aus", QUICK)
    gone = replace(chosen.subjects[0], shot=replace(chosen.subjects[0].shot, path=tmp_path / "gone.png"))
    with pytest.raises(HandlensError, match="any more"):
        explain([trained], replace(chosen, subjects=(gone,)), tmp_path / "aus", QUICK)


def test_a_run_that_still_trains_is_not_explained(
    trained: TrainedRun, mistaken: TrainedRun, tmp_path: Path
) -> None:
    # It has a network and judgments, which may be those of an earlier epoch.
    mistaken.folder.done_path.unlink()
    chosen = choose(trained, [], False, 1)
    for runs in ([trained, mistaken], [mistaken]):
        with pytest.raises(HandlensError, match=r"lauf 2 is not finished\. .*'handlens train'.*without it"):
            explain(runs, chosen, tmp_path / "aus", QUICK)
    assert not (tmp_path / "aus").exists()


def test_an_empty_map_says_so_wherever_it_is_shown(
    trained: TrainedRun, mistaken: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    def nothing(network: Explained, x: Tensor, targets: Tensor, spec: ExplainSpec) -> np.ndarray:
        return np.zeros((len(x), network.side, network.side), np.float32)

    monkeypatch.setattr("handlens.explain.looking.heat_of", nothing)
    unchecked = QUICK.model_copy(update={"checked": 0})
    chosen = choose(mistaken, [], True, None)
    # The network itself is right: so that it is wrong, the truth is turned.
    turned = [replace(each, true=GOOD if each.true == DEFECT else DEFECT) for each in chosen.subjects]
    chosen = replace(chosen, subjects=tuple(turned))
    single = sound(explain([mistaken], chosen, tmp_path / "aus", unchecked).page)
    # One map of what was said and one of the truth, of a picture of each class.
    for name in (GOOD, DEFECT):
        assert single.text.count(f"nothing spoke for {name}") == 2
    assert single.text.count("An empty map: no place in the picture spoke for") == 2
    beside = explain([mistaken, trained], chosen, tmp_path / "neben", unchecked)
    assert sound(beside.page).text.count("An empty map: no place in the picture spoke for") == 4
    with Image.open(tmp_path / "neben" / "grid.png") as grid:
        _, own, other = (np.asarray(grid.crop((left, 18, left + 224, 242))) for left in (0, 230, 460))
    maps = sorted((mistaken.folder.figures_path / "mistakes").iterdir())
    kept = [np.asarray(Image.open(path).convert("RGB")) for path in maps]
    assert len(kept) == 2
    for shown in (own, other, *kept):
        foot = shown[-len(shown) // 9 :].astype(float)
        # White words on black, and the picture above them.
        assert np.median(foot) < 20 and foot.max() > 200 and (foot > 128).mean() > 0.02


def test_the_folder_holds_page_table_numbers_and_grid(trained: TrainedRun, tmp_path: Path) -> None:
    chosen = choose(trained, [], False, 2)
    made = explain([trained], chosen, tmp_path / "aus", QUICK)
    names = {path.name for path in made.folder.iterdir()}
    assert names == {"explain.html", "explain.json", "maps.npz", "grid.png"}
    page = sound(made.page)
    assert "5 × 5 places" in page.text
    assert len(page.images()) == 4 * 3
    with np.load(made.folder / "maps.npz") as maps:
        assert maps["heat_0"].shape == (4, 160, 160)
        assert list(maps["classes"][0]) == [picture.explained for picture in made.result.runs[0].pictures]
    (run,) = made.result.runs
    assert run.inside is not None and run.inside.n == 2
    assert [picture.inside is None for picture in run.pictures].count(True) == 2
    assert run.belief is not None and run.belief.pictures == 2
    first = {path.name: path.read_bytes() for path in made.folder.iterdir() if path.suffix != ".npz"}
    explain([trained], chosen, tmp_path / "aus", QUICK)
    assert first == {path.name: path.read_bytes() for path in made.folder.iterdir() if path.suffix != ".npz"}


def test_networks_stand_beside_each_other(trained: TrainedRun, mistaken: TrainedRun, tmp_path: Path) -> None:
    chosen = choose(trained, [], False, 1)
    made = explain([trained, mistaken], chosen, tmp_path / "aus", QUICK)
    page = sound(made.page)
    assert {"lauf 1", "lauf 2"} <= set(re.findall(r"lauf \d", page.text))
    # All maps of a row are of the true class.
    for run in made.result.runs:
        assert [each.explained for each in run.pictures] == [each.true for each in made.result.pictures]
    with np.load(made.folder / "maps.npz") as maps:
        np.testing.assert_array_equal(maps["heat_0"], maps["heat_1"])


def at_random(network: Explained, x: Tensor, targets: Tensor, spec: ExplainSpec) -> np.ndarray:
    """Maps of nothing: other ones each time that they are asked for."""
    side = network.side // 8
    blocks = CHANCE.random((len(x), side, side), dtype=np.float32)
    return np.kron(blocks, np.ones((8, 8), np.float32))


def edges(network: Explained, x: Tensor, targets: Tensor, spec: ExplainSpec) -> np.ndarray:
    """Maps of the picture alone: how much it changes from place to place, whatever the network."""
    grey = x.mean(1).numpy()
    down, across = np.gradient(grey, axis=(1, 2))
    return np.hypot(down, across).astype(np.float32)


def even(network: Explained, x: Tensor, targets: Tensor, spec: ExplainSpec) -> np.ndarray:
    return np.ones((len(x), network.side, network.side), np.float32)


CHANCE = np.random.default_rng(0)
DEPENDS = {
    "passes": "The maps depend on what the network has learned",
    "undecided": "Whether the maps depend on what the network has learned is not certain",
    "fails": "The maps hardly depend on what the network has learned",
}


@pytest.mark.parametrize(
    ("own", "random_networks", "first", "depends"),
    [
        # A map that does not know the network fails by name.
        (edges, edges, "These maps do not deserve belief: they fail a check.", "fails"),
        (even, even, "These maps do not deserve belief: they fail a check.", "fails"),
        # Nothing can be said of empty maps beside others: that is no pass.
        (even, heat_of, None, "undecided"),
        # What is drawn at random is never the same again, but shows nothing that matters either.
        (at_random, at_random, None, "passes"),
    ],
)
def test_the_page_warns_where_belief_fails(
    own: Callable[..., np.ndarray],
    random_networks: Callable[..., np.ndarray],
    first: str | None,
    depends: str,
    trained: TrainedRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("handlens.explain.looking.heat_of", own)
    monkeypatch.setattr("handlens.explain.randomised.heat_of", random_networks)
    spec = QUICK.model_copy(update={"checked": 8})
    made = explain([trained], choose(trained, [], False, 4), tmp_path / "aus", spec)
    belief = made.result.runs[0].belief
    assert belief is not None and belief.pictures == 8
    verdicts = {check.name: check.verdict for check in belief.checks}
    assert verdicts["random_networks"] == depends
    if own is not edges:
        # The spot that tells the classes has edges; the other maps do not know where it is.
        assert "passes" not in {verdicts["deletion"], verdicts["insertion"]}
    assert first in (None, made.lines()[0])
    page = sound(made.page)
    assert DEPENDS[depends] in page.text
    assert "stand the checks" not in page.text and "stand the checks" not in made.lines()[0]
    assert {"fails": "Fails", "undecided": "Not certain"}[belief.doubts[0].verdict] in page.text


def test_the_page_says_where_belief_was_not_checked(trained: TrainedRun, tmp_path: Path) -> None:
    unchecked = explain(
        [trained], choose(trained, [], False, 1), tmp_path / "aus 2", QUICK.model_copy(update={"checked": 0})
    )
    assert "was not checked" in sound(unchecked.page).text


def test_mistakes_come_into_the_report(mistaken: TrainedRun, tmp_path: Path) -> None:
    before = write_report(mistaken.folder).read_text(encoding="utf-8")
    assert 'class="gallery"' in before
    made = explain([mistaken], choose(mistaken, [], True, None), tmp_path / "aus", QUICK)
    assert len(made.result.pictures) == 2
    report = mistaken.report_path.read_text(encoding="utf-8")
    assert 'class="gallery mapped"' in report
    assert sum("Where it saw" in image["alt"] for image in Page(report).images()) == 2
    assert len(list((mistaken.folder.figures_path / "mistakes").iterdir())) == 2
    # It has them already.
    assert map_mistakes(mistaken) == 0
    shutil.rmtree(mistaken.folder.figures_path / "mistakes")
    # A network that has no map, and pictures that are gone, leave it as it is.
    with mock.patch("handlens.explain.network.last_map", side_effect=NoMap("none")):
        assert map_mistakes(TrainedRun(mistaken.folder.path)) == 0
    with mock.patch("handlens.explain.gallery.readable", return_value=((), ())):
        assert map_mistakes(TrainedRun(mistaken.folder.path)) == 0
    assert mistaken.report_path.read_text(encoding="utf-8") == report
    assert map_mistakes(TrainedRun(mistaken.folder.path)) == 2
    assert mistaken.report_path.read_text(encoding="utf-8") == report


def test_a_run_without_mistakes_keeps_its_report(trained: TrainedRun) -> None:
    before = trained.report_path.read_bytes()
    assert map_mistakes(trained) == 0
    assert trained.report_path.read_bytes() == before


def given(*words: object) -> Result:
    return CliRunner().invoke(cli.app, ["explain", *map(str, words)])


def test_the_command(trained: TrainedRun, pictures: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = trained.folder.path
    result = given(run, pictures / DEFECT / "bild 30.png", "--check", 1)
    assert result.exception is None, result.exception
    assert Path("explanations/lauf 1/explain.html").is_file()
    assert "Page: explanations/lauf 1/explain.html" in result.stdout
    assert result.stdout.startswith("Too few pictures to say whether these maps deserve belief.")
    page = sound(Path("explanations/lauf 1/explain.html"))
    assert page.text.count("Too few pictures to say whether") == 4 and "Not certain" not in page.text
    result = given(run, "--per-class", 1, "--method", "gradcam++", "--check", 0, "--json", "-o", "aus")
    assert result.exception is None, result.exception
    told = json.loads(result.stdout)
    assert told["page"] == "aus/explain.html" and told["settings"]["method"] == "gradcam++"
    assert told["runs"][0]["belief"] is None
    assert command.__name__ == "handlens.cli.explain"
    wrong = given(run, "--per-class", 1, "--method", "grad-cam")
    assert isinstance(wrong.exception, HandlensError) and "Did you mean 'gradcam'" in str(wrong.exception)


def test_predictions_are_told_as_the_network_says_them(trained: TrainedRun, tmp_path: Path) -> None:
    made = explain([trained], choose(trained, [], False, 2), tmp_path / "aus", QUICK)
    table = Predictions.read(trained.folder.predictions_path("test"))
    for name, picture in zip(made.result.pictures, made.result.runs[0].pictures, strict=True):
        row = table.ids.index(name.id)
        assert picture.confidence == pytest.approx(float(table.confidence[row]), abs=1e-4)
        assert picture.said == table.classes[table.predicted[row]]


WHOLE = [
    # A network that trained as a whole, with an attention in it; judged by its own file.
    {"model": {"freeze": "none", "edits": [{"insert": "eca", "after": "blocks"}]}},
    # One beside itself as it was.
    {"model": {"freeze": {"stages": 3}}, "train": {"beside_head": "always", "head_first": {"epochs": 1}}},
    # A head that judges by the mean over several views.
    {"views": {"count": 3, "average": "always", "train": [{"name": "turned", "flip_vertical": True}]}},
]


@pytest.mark.parametrize("changes", WHOLE)
def test_runs_of_every_make_are_explained(changes: dict[str, dict[str, object]], tmp_path: Path) -> None:
    values = {
        key: {**part, **changes.get(key, {})} if isinstance(part, dict) else part
        for key, part in RECIPE.items()
    }
    values["views"] = {**values["views"], "judge": {"size": 96}}
    values["train"] = {**values["train"], "epochs": 1}
    samples = draw_folder(tmp_path / "bilder", num=4, num_test=2)
    run = TrainedRun(run_recipe(Recipe.parse(values, "The recipe"), samples, tmp_path / "lauf").path)
    subjects = choose(run, [], False, 2).subjects
    looking = Looking(run, subjects, ExplainSpec())
    x = looking.network.as_input(looking.pixels)
    if not run.facts.average:
        np.testing.assert_allclose(looking.network.probabilities(x).numpy(), looking.probabilities, atol=1e-4)
        np.testing.assert_allclose(looking.quick.probabilities(x).numpy(), looking.probabilities, atol=1e-4)
    made = explain([run], choose(run, [], False, 2), tmp_path / "aus", QUICK)
    assert any(not picture.empty for picture in made.result.runs[0].pictures)
    assert any("mean over 3 views" in note for note in made.result.notes) == run.facts.average
