"""What the tests of the audit share: pictures of nothing but noise, and a cache of their own."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image
from soft_noise import noise

from handlens.audit.finding import Subject
from handlens.audit.looks import Look, looks
from handlens.data.check import DataSpec, check
from handlens.data.samples import Samples
from handlens.data.scan import scan

Change = Callable[[Image.Image, str, int], Image.Image]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found in one test is not known in the next."""
    monkeypatch.setenv("HANDLENS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def draw(tmp_path: Path) -> Callable[..., Samples]:
    """Draw a folder of classes; `change` and `save` plant what is to be found."""

    def drawn(
        classes: Sequence[str] = ("ore", "waste"),
        num: int = 22,
        change: Change | None = None,
        save: Callable[[Image.Image, str, Path], None] | None = None,
        name: Callable[[str, int], str] = lambda label, number: f"{number * 7919 % 10007:05d}",
        folder: str = "data",
        seed: int = 0,
    ) -> Samples:
        root = tmp_path / folder
        for at, label in enumerate(classes):
            (root / label).mkdir(parents=True, exist_ok=True)
            for number in range(num):
                picture = noise(1_000_000 * seed + 1000 * at + number)
                if change:
                    picture = change(picture, label, number)
                # Every second number, so that names do not tell the class either.
                path = root / label / f"{name(label, 2 * number + at)}.png"
                if save:
                    save(picture, label, path)
                else:
                    picture.save(path)
        return Samples.from_folder(root)

    return drawn


@pytest.fixture
def look_at() -> Callable[..., tuple[Subject, list[Look | None]]]:
    """What the checks are given."""

    def looked(samples: Samples, spec: DataSpec | None = None) -> tuple[Subject, list[Look | None]]:
        checked = check(samples, (spec or DataSpec()).model_copy(update={"max_bad": 1.0}))
        facts = scan([Path(path) for path in checked.samples.table["path"]])
        return Subject(checked.samples, facts, 0), looks(facts)

    return looked
