"""The formulas: each a family of surfaces."""

from pretrain_nano.formula import Formula
from pretrain_nano.formulas.contours import CONTOURS
from pretrain_nano.formulas.cracks import CRACKS
from pretrain_nano.formulas.fibres import FIBRES
from pretrain_nano.formulas.flow import FLOW
from pretrain_nano.formulas.fractals import FRACTALS
from pretrain_nano.formulas.noise import NOISE, WAVES
from pretrain_nano.formulas.particles import PARTICLES
from pretrain_nano.formulas.pits import PITS
from pretrain_nano.formulas.reaction import REACTION
from pretrain_nano.formulas.tilings import CELLS, TILES

FORMULAS: tuple[Formula, ...] = (
    NOISE,
    WAVES,
    CELLS,
    TILES,
    PARTICLES,
    CRACKS,
    FIBRES,
    FLOW,
    FRACTALS,
    REACTION,
    CONTOURS,
    PITS,
)
