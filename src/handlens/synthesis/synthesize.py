"""The story of a synthesis, read from top to bottom: pictures in, more of a rare class out, a judgment."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handlens.base.errors import HandlensError
from handlens.base.files import write_json
from handlens.base.progress import say
from handlens.data.addresses import without_secrets
from handlens.data.check import check
from handlens.data.derived import own_columns_aside
from handlens.data.leak import split_without_leak
from handlens.data.made import MANIFEST, Made, MadeFolder, digest_of_pictures, refuse_among_classes
from handlens.data.samples import Samples
from handlens.data.sides import Shot
from handlens.data.walk import absolute
from handlens.evaluate.predictions import Predictions
from handlens.recipe import Recipe
from handlens.synthesis.judge import Features
from handlens.synthesis.kid import kid
from handlens.synthesis.make import DRAFTS, GENERATOR, MadeWay, cloud_of, make
from handlens.synthesis.material import CannotMake, Material
from handlens.synthesis.page import GRID, PAGE, write_page
from handlens.synthesis.results import Synthesis
from handlens.synthesis.spec import WAYS, SynthesisSpec, WayName
from handlens.synthesis.worth import trained, worth_of
from handlens.training.device import choose_device
from handlens.training.extract import Extractor

RESULT = "synthesis.json"
"""Written last: the synthesis is complete."""
BESIDE = "beside"
"""The folder of the other ways, each with a manifest of its own."""
WORTH = "worth"
"""The folder of the runs with and without the pictures."""
WITHOUT = "without"
LOSSES = "losses.json"

_LEAKS = (
    "The figures are a little too good for that. Better mend it first: 'handlens audit DATA --apply "
    "mended.csv', and make pictures from mended.csv."
)

_AGAIN = "Given again, the same command tries once more."


@dataclass(frozen=True)
class Synthesized:
    """What came of it."""

    folder: Path
    samples: Samples
    """What the manifest tells: the pictures on their sides, and those that were made."""
    result: Synthesis
    bad: tuple[tuple[str, str], ...]
    """Pictures that could not be read: id and reason."""
    notes: tuple[str, ...]
    """How the pictures were read and split."""

    @property
    def page(self) -> Path:
        """The page that shows it all."""
        return self.folder / PAGE

    def as_json(self) -> dict[str, Any]:
        """The outcome for programs."""
        places = {"folder": self.folder, "manifest": self.folder / MANIFEST, "page": self.page}
        places["grid"] = self.folder / GRID
        return {
            **{name: str(path) for name, path in places.items()},
            "verdict": self.result.verdict,
            **self.result.model_dump(mode="json"),
            "unreadable": dict(self.bad),
            "notes": list(self.notes),
        }


def synthesize(
    data: Path | str,
    out: Path,
    label: str,
    count: int,
    spec: SynthesisSpec,
    recipe: Recipe,
    *,
    label_column: str | None = None,
    class_names: Path | None = None,
    form: str | None = None,
) -> Synthesized:
    """Make `count` pictures of the class `label` from the training side of `data`, and judge them.

    The recipe says how pictures are grouped and split, whose features they are compared by, and what their
    worth is measured with. Given again after a stop, it goes on and ends with the same bytes.
    """
    if count < 1:
        raise HandlensError("--count is how many pictures to make: 1 or more.")
    if spec.way == "diffusion":
        _require_library()
    tasks = recipe.data.tasks
    samples = Samples.read(data, format=form, label=label_column, class_names=class_names, tasks=tasks)
    source = str(absolute(Path(data))) if Path(data).exists() else without_secrets(str(data))
    asked = _asked(samples, source, out, label, count, spec, recipe)
    folder = asked.folder_of(spec.way)
    result_path = folder.path / RESULT
    if result_path.is_file() and folder.manifest.is_file():
        result = Synthesis.parse(json.loads(result_path.read_text(encoding="utf-8")), str(result_path))
        if not result.ways_failed:
            say(f"{folder.path} is complete: nothing to do.")
            samples = Samples.from_manifest(folder.manifest)
            return Synthesized(folder.path, samples, result, asked.bad, asked.notes)

    features = features_of(recipe)
    # First what may fail at once, before hours of training: a recipe whose weights are not at hand.
    without = asked.trained(WITHOUT, asked.material.samples)
    ways, left_out, failed = _made(asked, features)
    if spec.repeats:
        for way, made in ways.items():
            worth = worth_of(asked.trained(way, made.samples), without, label)
            ways[way] = replace(made, result=made.result.model_copy(update={"worth": worth}))
    found = _result(asked, ways, left_out, failed, features)
    write_page(folder.path, found, {way: made.shown for way, made in ways.items()}, asked.notes)
    write_json(result_path, found.model_dump(mode="json"))
    if not failed:
        for made in ways.values():
            shutil.rmtree(made.folder / DRAFTS, ignore_errors=True)
    return Synthesized(folder.path, ways[spec.way].samples, found, asked.bad, asked.notes)


@dataclass(frozen=True)
class _Asked:
    """What is to be made, from what, and where."""

    out: Path
    made: Made
    """What the chosen way's folder is made by."""
    material: Material
    count: int
    spec: SynthesisSpec
    recipe: Recipe
    leak: str
    """What the split leaks, in words; empty if nothing."""
    bad: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    def below(self, way: WayName) -> str:
        """Where the pictures of a way go, from the folder on."""
        return "" if way == self.spec.way else f"{BESIDE}/{way}"

    def folder_of(self, way: WayName) -> MadeFolder:
        """The folder of a way, or the refusal of one that holds something else."""
        made = self.made.model_copy(update={"settings": {**self.made.settings, "way": way}})
        return MadeFolder(self.out / self.below(way), made)

    def trained(self, name: str, samples: Samples) -> list[Predictions]:
        """What the recipe says of the test side after training on samples, in runs of this name."""
        folder = absolute(self.out) / WORTH / name
        return trained(self.recipe, samples, folder, self.spec.repeats)


def _asked(
    samples: Samples, source: str, out: Path, label: str, count: int, spec: SynthesisSpec, recipe: Recipe
) -> _Asked:
    """The pictures checked and split, and the class that is to be made; nothing is written yet."""
    refuse_among_classes(out, samples)
    checked = check(samples, recipe.data)
    checked = replace(checked, samples=own_columns_aside(checked.samples))
    basis, report, leak = split_without_leak(checked, recipe.split, recipe.data.pixel_limit)
    contents = basis.table["digest"].to_list()
    # It changes with the file, and is looked at anew whenever pictures are checked.
    basis = basis.with_table(basis.table.drop("digest"))
    settings = {"class": label, "count": count, "way": spec.way}
    settings |= {"synthesis": spec.model_dump(mode="json"), "recipe": recipe.resolved()}
    return _Asked(
        out=out,
        made=Made(
            step="synthesize",
            settings=settings,
            sources=(source,),
            source_digest=digest_of_pictures(basis, contents),
        ),
        material=Material.of(basis, contents, label, recipe.data.pixel_limit),
        count=count,
        spec=spec,
        recipe=recipe,
        bad=checked.bad,
        leak=f"{leak.sentence()} {_LEAKS}" if leak.copied else "",
        notes=(*report.sentences(), *checked.conflicts, *checked.notes),
    )


def _made(asked: _Asked, features: Features) -> tuple[dict[WayName, MadeWay], list[str], list[str]]:
    """The pictures of all ways, the chosen one first; why there can be none of some; what else went wrong."""
    ways: dict[WayName, MadeWay] = {}
    left_out: list[str] = []
    failed: list[str] = []
    for way in asked.spec.ways:
        try:
            ways[way] = make(
                way,
                asked.folder_of(way),
                asked.below(way),
                asked.material,
                asked.count,
                asked.spec,
                features,
            )
        except HandlensError as error:
            if way == asked.spec.way:
                raise
            told = f"There are no pictures by {WAYS[way]}: {error}"
            if isinstance(error, CannotMake):
                left_out.append(told)
            else:
                failed.append(f"{told} {_AGAIN}")
    return ways, left_out, failed


def _require_library() -> None:
    """What the chosen way needs is looked for before anything is read or trained."""
    from handlens.synthesis.unet import library

    library()


def features_of(recipe: Recipe) -> Features:
    """The recipe's network, frozen, on pictures as they are judged; what it says is kept."""
    device = choose_device(recipe.train.precision)
    extractor = Extractor(recipe.model, recipe.views, device, recipe.data.pixel_limit)

    def rows(shots: Sequence[Shot]) -> NDArray[np.float32]:
        if not shots:
            return np.empty((0, 1), np.float32)
        store = extractor.filled_store(None, 0, shots)
        return np.asarray(store.gather(store.positions([shot.digest for shot in shots])), np.float32)

    return rows


def _result(
    asked: _Asked,
    ways: dict[WayName, MadeWay],
    left_out: Sequence[str],
    failed: Sequence[str],
    features: Features,
) -> Synthesis:
    material, spec = asked.material, asked.spec
    held_out, own = (cloud_of(material, rows, features) for rows in (material.held_out, material.own))
    sides = material.samples.table["split"].to_list()
    generator = ways["diffusion"].folder / GENERATOR if "diffusion" in ways else None
    return Synthesis(
        label=material.label,
        asked=asked.count,
        way=spec.way,
        num_training=len(material.own),
        num_held_out=len(material.held_out),
        num_test=sum(sides[row] == "test" for row in material.held_out),
        features=asked.recipe.model.backbone,
        kid_of_real=kid(held_out, own),
        ways={way: made.result for way, made in ways.items()},
        ways_left_out=tuple(left_out),
        ways_failed=tuple(failed),
        leak=asked.leak,
        losses=_losses(generator / LOSSES) if generator else (),
        settings=spec.model_dump(mode="json"),
    )


def _losses(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else ()
