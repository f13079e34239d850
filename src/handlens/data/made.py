"""Pictures that are made from others: a folder of them beside a manifest that says from what and how.

Frames of a video, expansions and synthetic pictures all end here. Nothing is written but into the folder,
each picture whole or not at all, so that the same command goes on after a stop and ends with the same bytes.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image

from handlens.base.errors import HandlensError
from handlens.base.files import digest, only_writer, whole_file, write_json
from handlens.base.parallel import in_order
from handlens.base.progress import progress
from handlens.base.spec import Spec
from handlens.data.derived import MADE_BY
from handlens.data.png import WRITTEN_MODES, write_png
from handlens.data.samples import COLUMNS, Samples, identities
from handlens.data.walk import absolute

MANIFEST = "samples.csv"
"""The manifest of a folder of made pictures; the folder is read by it."""

MADE = "made.json"

JPEG_QUALITY = 95

Fact = str | int | float | bool | None


class Made(Spec):
    """The shape of made.json: what a folder's pictures were made by."""

    step: str
    """The command: frames, expand, synthesize or convert."""
    settings: dict[str, Any]
    """All that decides what is made."""
    sources: tuple[str, ...]
    """What was read, where it lay; it may have moved since."""
    source_digest: str
    """Hash of what was read."""


@dataclass(frozen=True)
class Making:
    """One picture to be made."""

    name: str
    """Where it goes below the folder, its class first: `pyrite/video12-00031.png`."""
    label: str
    group: str
    """What it came from: never another group than that of its parent."""
    split: str | None
    """Its side, where its parent has one: a picture that is made can only be in training."""
    facts: Mapping[str, Fact]
    """Further columns: its parent, the time in a video, the operation, the seed. `made_by` is the step unless
    it stands among them."""


class MadeFolder:
    """A folder that pictures are made into, now or in several goes."""

    def __init__(self, out: Path, made: Made) -> None:
        """Open a folder, or refuse one that holds something else."""
        self.path = absolute(out)
        self.made = made
        if self.path.exists() and not self.path.is_dir():
            raise HandlensError(f"{self.path} is a file. Choose a folder with --out.")
        for source in made.sources:
            _refuse_inside(self.path, Path(source))
        # Before anything is touched there.
        self._refuse_foreign()
        with self.writing():
            pass

    @property
    def manifest(self) -> Path:
        """The table of what was made."""
        return self.path / MANIFEST

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only process that writes the folder, under a record that says what is made in it.

        Another process may have opened it since, and left a record of its own.
        """
        with only_writer(self.path):
            self._refuse_foreign()
            write_json(self.path / MADE, self.made.model_dump(mode="json"))
            yield

    def _refuse_foreign(self) -> None:
        entries = self.path.iterdir() if self.path.is_dir() else ()
        there = {entry.name for entry in entries if not entry.name.startswith(".")}
        # Where nothing was made yet, the record holds nobody to anything.
        if there > {MADE}:
            _refuse_other(self.path / MADE, self.made)
        elif there and MADE not in there:
            raise HandlensError(
                f"{self.path} holds other files, and nothing is written among them. Choose a new folder."
            )

    def make(
        self, makings: Sequence[Making], draw: Callable[[Making], Image.Image], what: str = "Making pictures"
    ) -> None:
        """Draw every picture that is not there yet, several at a time; the order does not matter."""
        self.make_together(
            [[making] for making in makings], lambda wanted: (draw(making) for making in wanted), what
        )

    def make_together(
        self,
        sets: Sequence[Sequence[Making]],
        draw: Callable[[Sequence[Making]], Iterable[Image.Image]],
        what: str = "Making pictures",
    ) -> None:
        """The same for pictures that share work: `draw` gets those of a set that are not there yet."""
        _require_own_names(making for makings in sets for making in makings)

        def made(makings: Sequence[Making]) -> int:
            wanted = [making for making in makings if not (self.path / making.name).is_file()]
            if wanted:
                for making, picture in zip(wanted, draw(wanted), strict=True):
                    write_picture(picture, self.path / making.name)
            return len(makings)

        with self.writing(), progress(what, sum(map(len, sets))) as advance:
            for count in in_order(made, sets):
                advance(count)

    def finish(
        self,
        makings: Sequence[Making],
        *notes: str,
        beside: Samples | None = None,
        copied: Samples | None = None,
        marks: Sequence[str] = (),
    ) -> Samples:
        """Write the manifest of all that was made; without it the folder is not finished.

        `beside` are pictures that the manifest tells first, as they are and where they are; `copied`
        are those that all of these are, only in another place. What is known of either stays.
        """
        _require_own_names(makings)
        if beside is None:
            samples = Samples(self._table(makings, self.path), self.path, notes)
        else:
            table, gone = _for_csv(beside.table)
            told = [
                f"The column {name!r} ({dtype}) was left out of the manifest." for name, dtype in gone.items()
            ]
            own = self._table(makings, beside.root).drop(gone, strict=False)
            both = pl.concat([table, own], how="diagonal_relaxed")
            samples = beside.with_table(both, *told, *notes)
        if copied is not None:
            samples = replace(
                samples, label_name=copied.label_name, split_made=copied.split_made, marks=copied.marks
            )
        samples = replace(samples, marks=tuple(dict.fromkeys([*samples.marks, *marks])))
        samples.save(self.manifest, together=True)
        return samples

    def _table(self, makings: Sequence[Making], root: Path) -> pl.DataFrame:
        """A row a picture, with the columns that say how it was made."""
        paths = [str(self.path / making.name) for making in makings]
        columns = dict.fromkeys(name for making in makings for name in making.facts)
        assert not set(COLUMNS) & set(columns), columns
        facts: dict[str, list[Fact]] = {
            MADE_BY: [making.facts.get(MADE_BY, self.made.step) for making in makings],
            **{name: [making.facts.get(name) for making in makings] for name in columns if name != MADE_BY},
        }
        table = pl.DataFrame(
            {
                "id": identities(paths, root),
                "path": paths,
                "label": [making.label for making in makings],
                "group": [making.group for making in makings],
                "split": [making.split for making in makings],
            },
            schema=dict.fromkeys(COLUMNS, pl.String),
        )
        return table.with_columns(column_of(name, values) for name, values in facts.items())


def column_of(name: str, values: Sequence[Fact]) -> pl.Series:
    """Values of mixed kinds as one column that a .csv file can hold: text if any of them is text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pl.Series(name, values, dtype=pl.Boolean)
    if kinds == {int}:
        return pl.Series(name, values, dtype=pl.Int64)
    if kinds and kinds <= {int, float}:
        return pl.Series(
            name, [None if value is None else float(value) for value in values], dtype=pl.Float64
        )
    return pl.Series(name, [None if value is None else str(value) for value in values], dtype=pl.String)


def write_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture, whole or not at all: .png exactly, .jpg almost."""
    with whole_file(path) as partial:
        if path.suffix.lower() == ".png" and picture.mode in WRITTEN_MODES:
            write_png(picture, partial)
        elif path.suffix.lower() == ".png":
            picture.save(partial, "PNG")
        else:
            picture.save(partial, "JPEG", quality=JPEG_QUALITY, subsampling=0)


def digest_of_files(paths: Sequence[Path]) -> str:
    """Hash of what files are by name, size and time, wherever they lie: videos are too large to be read."""
    parts = []
    for path in sorted(paths):
        told = path.stat()
        parts.append(f"{path.name}\t{told.st_size}\t{told.st_mtime_ns}")
    return digest(*parts)


def digest_of_pictures(samples: Samples, contents: Sequence[str]) -> str:
    """Hash of the pictures with their labels, groups and sides, in whatever order and place."""
    table = samples.table.select("id", "label", "group", "split").with_columns(digest=pl.Series(contents))
    return digest(*("\t".join(map(str, row)) for row in table.sort("id").iter_rows()))


def refuse_among_classes(out: Path, samples: Samples) -> None:
    """A folder among class folders would be one more class to whoever reads them."""
    out = absolute(out)
    tops = set()
    for id_, label in samples.table.select("id", "label").iter_rows():
        above, found, _ = f"/{id_}".partition(f"/{label}/")
        if found:
            tops.add(above.removeprefix("/"))
    among = [absolute(samples.root / top) for top in tops if out.is_relative_to(absolute(samples.root / top))]
    if among:
        raise HandlensError(
            f"{out} lies among the class folders in {among[0]} and would be read as one more class. "
            "Choose a folder elsewhere with --out."
        )


def _for_csv(table: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, str]]:
    """The table with dates and the like as text, and the columns that a .csv file cannot hold at all."""
    other = {
        name: dtype
        for name, dtype in table.schema.items()
        if not (dtype.is_numeric() or dtype in (pl.String, pl.Boolean))
    }
    gone = {name: str(dtype) for name, dtype in other.items() if dtype.is_nested() or dtype == pl.Binary}
    as_text = [pl.col(name).cast(pl.String) for name in other if name not in gone]
    return table.drop(gone).with_columns(as_text), gone


def _require_own_names(makings: Iterable[Making]) -> None:
    """Of two pictures of one name only the first would be made."""
    times = Counter(making.name for making in makings)
    twice = [name for name, count in times.items() if count > 1]
    assert not twice, twice[:3]


def _refuse_inside(out: Path, source: Path) -> None:
    """A folder among its own sources would be read as one of them the next time."""
    # Both as they are called and as they lie on the disk, which links can make differ.
    for folder, read in ((out, absolute(source)), (out.resolve(), source.resolve())):
        if folder == read:
            raise HandlensError(f"{out} is what is read. Choose a folder elsewhere with --out.")
        if folder.is_relative_to(read):
            raise HandlensError(
                f"{out} lies in {source}, which is read. Choose a folder elsewhere with --out."
            )


def _refuse_other(record: Path, made: Made) -> None:
    """Pictures that other settings made must not be taken for those of these."""
    try:
        other = Made.parse(json.loads(record.read_text(encoding="utf-8")), str(record))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        raise HandlensError(
            f"{record} is missing or damaged, so nothing is known of the other files there. "
            "Choose a new folder with --out, or delete that one."
        ) from None
    changed = [
        words
        for name, words in (
            ("step", "the command"),
            ("settings", "its settings"),
            ("source_digest", "what is read"),
        )
        if getattr(other, name) != getattr(made, name)
    ]
    if changed:
        raise HandlensError(
            f"{record.parent} was made by another command (different: {', '.join(changed)}). "
            "Choose a new folder with --out, or delete that one."
        )
