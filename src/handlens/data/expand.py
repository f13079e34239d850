"""Offline expansion: more pictures from those that there are, of the training side and of nothing else.

What is made of a picture depends on its content, the operation, its number and the seed, so that another
order, another machine or a stop changes nothing. Originals stay where they are; the manifest names them too.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from handlens.data.addresses import without_secrets
from handlens.data.check import DataSpec, check
from handlens.data.derived import CAME_FROM, FACTS, PAPER_PROTOCOL, PARENT_DIGEST, own_columns_aside
from handlens.data.expand_plan import ExpandSpec, Expansion, plan
from handlens.data.groups import GroupSpec
from handlens.data.image import open_picture
from handlens.data.made import Made, MadeFolder, Making, digest_of_pictures, refuse_among_classes
from handlens.data.names import distinct, safe_name, safe_part
from handlens.data.operations import chance_of
from handlens.data.samples import COLUMNS, Samples
from handlens.data.split import SplitSpec, split
from handlens.data.walk import absolute


@dataclass(frozen=True)
class Expanded:
    """What came of it."""

    folder: Path
    samples: Samples
    """What the manifest tells: the originals on their sides, and what was made of them."""
    num_made: int
    bad: tuple[tuple[str, str], ...]
    """Pictures that could not be read: id and reason."""
    sentences: tuple[str, ...]
    """How it came out, for people."""


def expand(
    samples: Samples,
    source: Path | str,
    out: Path,
    spec: ExpandSpec,
    *,
    division: SplitSpec | None = None,
    group: GroupSpec | None = None,
    paper_protocol: bool = False,
) -> Expanded:
    """Expand the training side of samples, which were read from `source`, into the folder `out`.

    Pictures without sides are first split by `division`. Given again after a stop, it goes on and ends with
    the same bytes. The papers' protocol expands everything before any split; runs on that are marked.
    """
    refuse_among_classes(out, samples)
    checked = check(samples, DataSpec(group=group or GroupSpec()))
    basis, told = own_columns_aside(checked.samples), []
    if paper_protocol:
        basis = before_any_split(basis)
        rows = list(range(len(basis)))
    else:
        basis, report = split(basis, division or SplitSpec())
        told = report.sentences()
        rows = np.flatnonzero((basis.table["split"] == "train").to_numpy()).tolist()
    contents = basis.table["digest"].to_list()
    # It changes with the file, and is looked at anew whenever pictures are checked.
    basis = basis.with_table(basis.table.drop("digest"))
    planned, notes = plan(basis.table["label"].to_list(), contents, rows, spec)
    settings = spec.model_dump(mode="json", exclude={"description"})
    made = Made(
        step="expand",
        settings={**settings, "paper_protocol": paper_protocol},
        sources=(str(absolute(Path(source))) if Path(source).exists() else without_secrets(str(source)),),
        source_digest=digest_of_pictures(basis, contents),
    )
    folder = MadeFolder(out, made)
    makings = _makings(basis, contents, planned, spec, paper_protocol)
    _make(folder, basis, contents, planned, makings, spec.seed)
    marks = (PAPER_PROTOCOL,) if paper_protocol else ()
    samples = folder.finish(makings, *notes, beside=basis, marks=marks)
    sentences = (*told, *notes, *checked.conflicts, *checked.notes)
    return Expanded(folder.path, samples, len(makings), checked.bad, sentences)


def before_any_split(samples: Samples) -> Samples:
    """Pictures as the papers expand them: without sides, and each as if it had nothing to do with another."""
    kept = [] if CAME_FROM in samples.table.columns else [pl.col("group").alias(CAME_FROM)]
    table = samples.table.with_columns(*kept, group="id", split=pl.lit(None, dtype=pl.String))
    return samples.with_table(table)


def _names(samples: Samples, planned: Sequence[Expansion], format: str) -> list[str]:  # noqa: A002
    """Where each new picture goes: in the folders of its original, whose name it begins with."""
    ids, labels = samples.table["id"].to_list(), samples.table["label"].to_list()
    names = []
    for each in planned:
        *folders, last = ids[each.row].split("/")
        label = labels[each.row]
        folders = folders[folders.index(label) :] if label in folders else [safe_part(label)]
        stem, _, suffix = last.rpartition(".")
        is_jpeg = suffix.casefold() in ("jpg", "jpeg", "jpe", "jfif")
        ending = ("jpg" if is_jpeg else "png") if format == "like" else format
        name = f"{safe_part(stem or last)}-{each.number}-{each.operation.operation}.{ending}"
        names.append(safe_name("/".join([*folders, name])))
    return distinct(names)


def _makings(
    samples: Samples,
    contents: Sequence[str],
    planned: Sequence[Expansion],
    spec: ExpandSpec,
    paper_protocol: bool,
) -> list[Making]:
    """The new pictures, with all that their originals are known by and how they are made."""
    names = _names(samples, planned, spec.format)
    parents = samples.table.rows(named=True)
    inherited = [name for name in samples.table.columns if name not in (*COLUMNS, *FACTS)]
    return [
        Making(
            name=name,
            label=parents[each.row]["label"],
            # Its own, and told without the folder that it happens to lie in.
            group=name if paper_protocol else parents[each.row]["group"],
            split=parents[each.row]["split"],
            facts={
                **{column: parents[each.row][column] for column in inherited},
                "parent": parents[each.row]["id"],
                PARENT_DIGEST: contents[each.row],
                "operation": each.operation.operation,
                "parameters": json.dumps(each.drawn),
                "number": each.number,
                "seed": spec.seed,
            },
        )
        for each, name in zip(planned, names, strict=True)
    ]


def _make(
    folder: MadeFolder,
    samples: Samples,
    contents: Sequence[str],
    planned: Sequence[Expansion],
    makings: Sequence[Making],
    seed: int,
) -> None:
    """Make what is not there yet; a picture is read once for all that is made of it."""
    paths = samples.table["path"].to_list()
    expansion_of = {making.name: each for making, each in zip(makings, planned, strict=True)}
    of_row: defaultdict[int, list[Making]] = defaultdict(list)
    for making, each in zip(makings, planned, strict=True):
        of_row[each.row].append(making)

    def draw(wanted: Sequence[Making]) -> Iterator[Image.Image]:
        expansions = [expansion_of[making.name] for making in wanted]
        row = expansions[0].row
        original = open_picture(Path(paths[row]))
        for each in expansions:
            generator = chance_of(each.operation.operation, contents[row], each.number, seed)
            yield each.operation.apply(original, each.operation.draw(generator), generator)

    folder.make_together(list(of_row.values()), draw, "Expanding")
