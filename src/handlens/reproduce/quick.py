"""Pictures for trying a reproduction out in minutes: drawn materials in the place of the paper's."""

from pathlib import Path

import polars as pl

from handlens.base.files import write_text
from handlens.data.derived import MADE_BY
from handlens.data.expand import expand
from handlens.data.expand_plan import ExpandSpec
from handlens.data.groups import GroupSpec
from handlens.data.samples import Samples
from handlens.data.split import SplitSpec
from handlens.data.surfaces import draw_samples
from handlens.reproduce.paper import PaperSpec

NUM_SPECIMENS, SHOTS, SIZE = 6, 3, 96
GROUP = GroupSpec(level=1)
"""Several pictures show one specimen, which is the folder below the class."""
KINDS = {
    "foliated": "layered",
    "fibrous": "layered",
    "granular": "grainy",
    "crystalline": "grainy",
    "dendritic": "grainy",
}
"""Coarser names of the materials: where a paper has kinds of classes, or a second task."""
KIND, CATEGORY, SITE = "kind", "category", "line"
SPECIMENS_A_LINE = 2
"""Specimens of one number have the same colours in every class, so each line has colours of its own."""
GENERATED = 1.25
"""So many times as many pictures in training, where a paper has generated ones."""


def quick_samples(folder: Path, paper: PaperSpec) -> Samples:
    """Draw the pictures into `folder`, once, and read them with the columns that papers ask for."""
    pictures, drawn = folder / "pictures", folder / ".pictures-are-complete"
    if not drawn.is_file():
        draw_samples(pictures, NUM_SPECIMENS, SHOTS, SIZE)
        write_text(drawn, "")
    samples = Samples.from_folder(pictures)
    kinds = pl.col("label").replace_strict(KINDS)
    number = pl.col("id").str.extract(r"specimen-(\d+)").cast(pl.Int64)
    line = pl.format("line {}", number // SPECIMENS_A_LINE + 1)
    samples = samples.with_table(
        samples.table.with_columns(kinds.alias(KIND), kinds.alias(CATEGORY), line.alias(SITE))
    )
    if paper.quick_expand is None:
        return samples
    # Turned and noisy pictures stand in for those of an image-generation model.
    spec = ExpandSpec.load(paper.quick_expand).changed([str(GENERATED)])
    spec = spec.model_copy(update={"balance": False, "most": None})
    division = SplitSpec.parse({"ratios": paper.ratios}, "The split")
    made = expand(samples, pictures, folder / "generated", spec, division=division, group=GROUP).samples
    assert MADE_BY in made.table.columns
    return made
