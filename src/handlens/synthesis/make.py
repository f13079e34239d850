"""Making pictures by one way: drafts are drawn and judged, copies dropped, the rest becomes samples."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from handlens.base.files import only_writer
from handlens.base.parallel import in_order
from handlens.base.progress import progress
from handlens.data.derived import FACTS, PARENT_DIGEST
from handlens.data.made import MadeFolder, Making, write_picture
from handlens.data.names import safe_part
from handlens.data.samples import COLUMNS, Samples
from handlens.synthesis.augment import Augmenter
from handlens.synthesis.blend import Blender
from handlens.synthesis.judge import Features, Judge, Nearest, rows_of
from handlens.synthesis.kid import Cloud, kid
from handlens.synthesis.material import CannotMake, Maker, Material, Told
from handlens.synthesis.results import Neighbour, WayResult
from handlens.synthesis.spec import SynthesisSpec, WayName

DRAFTS = "drafts"
"""The folder of pictures that are not judged yet; it goes when all is done."""
GENERATOR = "generator"
"""The folder of the generative model."""

MOST_DRAFTS = 4
"""Where copies are dropped, so many times as many pictures are drawn at most as were asked for."""


@dataclass(frozen=True)
class Draft:
    """A picture that was drawn, and what it is nearest to."""

    number: int
    path: Path
    nearest: Nearest


@dataclass(frozen=True)
class MadeWay:
    """What came of one way."""

    folder: Path
    samples: Samples
    """The pictures on their sides, and those that were made by this way."""
    result: WayResult
    shown: Mapping[str, Path]
    """Where the pictures lie that the result names: made ones, dropped ones, and those beside them."""


def make(
    way: WayName,
    folder: MadeFolder,
    below: str,
    material: Material,
    count: int,
    spec: SynthesisSpec,
    features: Features,
) -> MadeWay:
    """Make `count` pictures by one way into a folder, called `below` where it lies in another one."""
    with only_writer(folder.path / DRAFTS):
        maker = MAKERS[way](material, spec, folder.path / GENERATOR)
        judge = Judge(material, features, maker.seen())
        kept, dropped = drafts(maker, judge, folder.path / DRAFTS, count)
        if not kept:
            raise CannotMake(
                f"All {len(dropped)} drawn pictures of {material.label!r} are training pictures again, and "
                f"nothing is kept. The model has learned its {len(material.own)} pictures by heart. Ask for "
                "fewer steps (diffusion.steps), give more pictures, or take a cheaper way."
            )
        told = [maker.told(draft.number) for draft in kept]
        makings = _makings(way, material, kept, told, spec.seed)
        draft_of = {making.name: draft.path for making, draft in zip(makings, kept, strict=True)}
        folder.make(makings, lambda making: _opened(draft_of[making.name]))
    samples = folder.finish(makings, *maker.sentences, beside=material.samples)
    rows = rows_of([folder.path / making.name for making in makings], features, material.pixel_limit)
    own_groups = [
        making.name if each.parent is None else making.group
        for making, each in zip(makings, told, strict=True)
    ]
    real = cloud_of(material, material.held_out, features)
    neighbours = [
        _neighbour(material, making.name, draft, each.parent)
        for making, draft, each in zip(makings, kept, told, strict=True)
    ]
    copies = [_neighbour(material, f"draft {draft.number}", draft) for draft in dropped]
    shown = {making.name: folder.path / making.name for making in makings}
    shown |= {f"draft {draft.number}": draft.path for draft in dropped}
    beside = {each.nearest for each in (*neighbours, *copies)}
    shown |= {name: path for name, path in zip(material.ids, material.paths, strict=True) if name in beside}
    strange = sum(material.labels[draft.nearest.row] != material.label for draft in kept)
    result = WayResult(
        folder=below,
        num_made=len(makings),
        num_drafts=len(kept) + len(dropped),
        num_copies=len(dropped),
        has_parents=told[0].parent is not None,
        other_class=strange / len(kept),
        kid=kid(real, Cloud(rows, own_groups)),
        worth=None,
        sentences=maker.sentences,
        neighbours=tuple(neighbours),
        dropped=tuple(copies),
    )
    return MadeWay(folder.path, samples, result, shown)


def drafts(maker: Maker, judge: Judge, folder: Path, count: int) -> tuple[list[Draft], list[Draft]]:
    """The first `count` pictures that are no copies, and those before the last of them that are."""
    judged: list[Draft] = []
    most = count if not maker.seeks_copies else max(MOST_DRAFTS * count, maker.at_once)
    wanted = count
    while True:
        new = range(len(judged), min(wanted, most))
        paths = _drawn(maker, folder, new)
        judged += [
            Draft(number, path, nearest)
            for number, path, nearest in zip(new, paths, judge.nearest(paths), strict=True)
        ]
        good = [draft for draft in judged if not (maker.seeks_copies and draft.nearest.copy)][:count]
        if len(good) == count or len(judged) >= most:
            break
        wanted = len(judged) + max(count - len(good), maker.at_once)
    last = good[-1].number if len(good) == count else len(judged)
    kept = {draft.number for draft in good}
    return good, [draft for draft in judged if draft.number < last and draft.number not in kept]


def cloud_of(material: Material, rows: Sequence[int], features: Features) -> Cloud:
    """Real pictures by their features and groups."""
    found = rows_of([material.paths[row] for row in rows], features, material.pixel_limit)
    return Cloud(found, [material.groups[row] for row in rows])


def _drawn(maker: Maker, folder: Path, numbers: Sequence[int]) -> list[Path]:
    """The drafts of these numbers; only what is not there yet is drawn."""
    paths = {number: folder / f"{number:05d}.png" for number in numbers}
    together = sorted({number // maker.at_once for number in numbers})
    batches = [range(each * maker.at_once, (each + 1) * maker.at_once) for each in together]

    def draw(batch: Sequence[int]) -> int:
        inside = [number for number in batch if number in paths]
        if not all(paths[number].is_file() for number in inside):
            # All of it, whatever is missing: a network may round differently in batches of another size.
            for number, picture in zip(batch, maker.pictures(batch), strict=True):
                if number in paths:
                    write_picture(picture, paths[number])
        return len(inside)

    with progress("Making pictures", len(paths)) as advance:
        for done in in_order(draw, batches) if maker.at_once == 1 else map(draw, batches):
            advance(done)
    return list(paths.values())


def _makings(
    way: WayName, material: Material, kept: Sequence[Draft], told: Sequence[Told], seed: int
) -> list[Making]:
    """The pictures with all that is known of them.

    One that has no parent stands in the group of the training picture of its class that it is nearest to: it
    is out of training wherever that is judged.
    """
    table = material.samples.table
    inherited = [name for name in table.columns if name not in (*COLUMNS, *FACTS)]
    rows = table.rows(named=True)
    # What all pictures of the class have in common, such as their kind, those without a parent have too.
    common = {
        name: rows[material.own[0]][name]
        for name in inherited
        if len({rows[row][name] for row in material.own}) == 1
    }
    makings = []
    for draft, each in zip(kept, told, strict=True):
        parent = _nearest_of_class(material, draft.nearest) if each.parent is None else each.parent
        facts = common if each.parent is None else {name: rows[parent][name] for name in inherited}
        near = {"distance": draft.nearest.distance, "correlation": draft.nearest.correlation}
        parameters = near if each.parent is None else dict(each.parameters)
        makings.append(
            Making(
                name=f"{safe_part(material.label)}/{way}-{draft.number:05d}.png",
                label=material.label,
                group=material.groups[parent],
                split="train",
                facts={
                    **facts,
                    "parent": material.ids[parent],
                    PARENT_DIGEST: material.contents[parent],
                    "operation": way,
                    "parameters": json.dumps(parameters, ensure_ascii=False),
                    "number": draft.number,
                    "seed": seed,
                },
            )
        )
    return makings


def _nearest_of_class(material: Material, near: Nearest) -> int:
    return near.nearest if material.labels[near.nearest] == material.label else near.like


def _neighbour(material: Material, picture: str, draft: Draft, parent: int | None = None) -> Neighbour:
    near = draft.nearest
    return Neighbour(
        picture=picture,
        nearest=material.ids[near.nearest if parent is None else parent],
        label=str(material.labels[near.row]),
        distance=near.distance,
        correlation=near.correlation,
        # What is made from a picture is meant to be like it.
        copy_because=near.copy if parent is None else "",
    )


def _opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def _diffuser(material: Material, spec: SynthesisSpec, folder: Path) -> Maker:
    # Only this way needs PyTorch's network library, which takes seconds to import.
    from handlens.synthesis.diffusion import Diffuser

    return Diffuser(material, spec, folder)


MAKERS: dict[WayName, Callable[[Material, SynthesisSpec, Path], Maker]] = {
    "diffusion": _diffuser,
    "blend": lambda material, spec, _: Blender(material, spec),
    "augment": lambda material, spec, _: Augmenter(material, spec),
}
