"""Pictures of five made-up materials, for trying everything out before there are pictures of one's own.

The classes differ in structure alone. Specimens of every class come in the same colours, exposure is
automatic as in a camera, and some specimens are dusty, dim or out of focus. Several pictures show one
specimen, so that a split that tears specimens apart is seen to flatter.
"""

from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from PIL import Image

from handlens.base.choices import look_up
from handlens.base.files import whole_file
from handlens.base.progress import progress
from handlens.data.photograph import Look, draw_look, photograph
from handlens.data.relief import Draw, Relief, crystalline, foliated, granular
from handlens.data.strands import dendritic, fibrous

# A specimen is so many pictures wide: its pictures overlap in part, as they do under a microscope.
PICTURES_ACROSS = 2.25


@dataclass(frozen=True)
class Specimen:
    """One piece of a material, of which any number of pictures can be taken."""

    relief: Relief
    look: Look
    size: int
    chance: tuple[int, ...]

    def picture(self, shot: int) -> Image.Image:
        """The picture of this number; place, turn, lamp and camera are its own."""
        return photograph(self.relief, self.look, np.random.default_rng([*self.chance, shot + 1]), self.size)


def draw_specimen(material: str, specimen: int, size: int = 256, seed: int = 0) -> Specimen:
    """The specimen of this number, for pictures of so many pixels a side."""
    draw = look_up(MATERIALS, material, "material")
    # Not Python's own hash of the name, which differs from run to run.
    chance = (seed, crc32(material.encode()), specimen)
    rng = np.random.default_rng(chance)
    # The palette goes by the specimen's number alone, so that each serves every material alike.
    look = draw_look(seed + specimen, rng)
    return Specimen(draw(rng, round(size * PICTURES_ACROSS), size / 256), look, size, chance)


def draw_picture(material: str, specimen: int, shot: int, size: int = 256, seed: int = 0) -> Image.Image:
    """One picture of a specimen; the same numbers always give the same picture."""
    return draw_specimen(material, specimen, size, seed).picture(shot)


def draw_samples(
    folder: Path, num_specimens: int = 12, shots: int = 6, size: int = 256, seed: int = 0
) -> None:
    """Write `<material>/specimen-03/shot-2.jpg` for every material, specimen and shot."""
    with progress("Drawing pictures", len(MATERIALS) * num_specimens * shots) as advance:
        for material in MATERIALS:
            for number in range(num_specimens):
                specimen = draw_specimen(material, number, size, seed)
                for shot in range(shots):
                    path = folder / material / f"specimen-{number:02d}" / f"shot-{shot}.jpg"
                    with whole_file(path) as partial:
                        specimen.picture(shot).save(partial, format="JPEG", quality=90)
                    advance(1)


MATERIALS: dict[str, Draw] = {
    "foliated": foliated,
    "granular": granular,
    "crystalline": crystalline,
    "dendritic": dendritic,
    "fibrous": fibrous,
}
