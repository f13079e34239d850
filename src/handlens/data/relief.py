"""What a surface is made of, drawn as maps of height, tint, shade and gloss: sheets, grains and crystals.

A structure is never a colour: colours come with the lamp in `photograph`, and every structure wears the
same ones.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.float32]


@dataclass(frozen=True)
class Relief:
    """A piece of surface seen from above, as square maps of one side."""

    height: Field
    """In pixels, so that slopes are true."""
    tint: Field
    """0 is the specimen's first colour, 1 its second."""
    shade: Field
    """How much light the material gives back, around 1."""
    gloss: Field
    """0 is chalk, 1 a mirror."""


Draw = Callable[[np.random.Generator, int, float], Relief]
"""Draws a relief of so many pixels a side; lengths are multiples of the unit, so sizes look alike."""


def cloud(rng: np.random.Generator, side: int, across: float, down: float | None = None) -> Field:
    """Smooth noise of about unit spread whose bumps are so many pixels wide (and high)."""
    width, height = max(across, 1.0), max(down or across, 1.0)
    columns, rows = math.ceil(side / width) + 3, math.ceil(side / height) + 3
    coarse = Image.fromarray(rng.standard_normal((rows, columns), dtype=np.float32))
    left, top = rng.uniform(0, 1, 2)
    box = (left, top, left + side / width, top + side / height)
    # Bicubic interpolation between the grid points takes away about a sixth of the spread.
    fine = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC, box))
    return np.asarray(fine * 1.2, dtype=np.float32)


def rubble(rng: np.random.Generator, side: int, across: float) -> Field:
    """Noise at several sizes at once, as on any broken or weathered face."""
    octaves = [cloud(rng, side, across / 2**k) * 0.55**k for k in range(4)]
    return np.asarray(np.sum(octaves, axis=0), dtype=np.float32)


def foliated(rng: np.random.Generator, side: int, unit: float) -> Relief:
    """Sheets on sheets, as in schist, slate, mica and flake graphite: seen edge-on, or flaking off."""
    thickness = rng.uniform(5, 13) * unit
    # A steep stack shows its edges as bands; a flat one shows terraces with wavy outlines.
    steepness = float(rng.choice([1.0, 0.55, 0.22]))
    down = np.arange(side, dtype=np.float32)[:, None] * steepness
    bend = cloud(rng, side, side * 0.45) * rng.uniform(6, 24) * unit
    if rng.random() < 0.4:
        # Crenulation: a second squeezing folds the sheets into small regular waves.
        wave = rng.uniform(35, 90) * unit
        along = np.arange(side, dtype=np.float32) + cloud(rng, side, 120 * unit) * 12 * unit
        bend += np.sin(along * (2 * np.pi / wave)) * rng.uniform(2, 6) * unit
    swell = cloud(rng, side, 130 * unit, 28 * unit) * thickness * 0.45
    ragged = cloud(rng, side, 22 * unit, 7 * unit) * thickness * rng.uniform(0.06, 0.2)
    ragged += cloud(rng, side, 6 * unit, 3 * unit) * thickness * rng.uniform(0.01, 0.05)
    depth = down + bend + swell + ragged

    low, high = float(depth.min()), float(depth.max())
    num_sheets = int((high - low) / thickness * 2.5) + 8
    edges = low + np.cumsum(thickness * rng.lognormal(-0.3, rng.uniform(0.35, 0.75), num_sheets))
    sheet = np.minimum(np.searchsorted(edges, depth), num_sheets - 1)
    starts = np.concatenate([[low], edges[:-1]])
    within = ((depth - starts[sheet]) / (edges - starts)[sheet]).astype(np.float32)

    stands_out = (rng.normal(0, 1, num_sheets) * thickness * 0.3).astype(np.float32)
    step = thickness * rng.uniform(0.35, 0.8)
    # Every sheet rises to its broken edge, where it stops with a small cliff.
    height = stands_out[sheet] + step * within**2 + rubble(rng, side, 40 * unit) * 0.5 * unit
    height += sheet.astype(np.float32) * np.float32(step * (1 - steepness) * 0.8)
    silky = cloud(rng, side, 60 * unit, 2.2 * unit)
    height += silky * 0.22 * unit
    colours = rng.beta(0.8, 0.8, num_sheets).astype(np.float32)
    shades = rng.normal(1, 0.16, num_sheets).astype(np.float32)
    glossy = rng.beta(1.2, 1.5, num_sheets).astype(np.float32)
    gloss = glossy[sheet] * np.clip(0.6 + 0.5 * cloud(rng, side, 30 * unit, 9 * unit), 0, 1)
    return Relief(soft(height), soft(colours[sheet]), shades[sheet] + silky * 0.04, gloss.astype(np.float32))


def granular(rng: np.random.Generator, side: int, unit: float) -> Relief:
    """Rounded grains packed side by side, as in sandstone, oolite, gravel and pressed powder."""
    radius = rng.uniform(6, 17) * unit
    spread = rng.uniform(0.08, 0.5)
    num_tries = int(9 * side**2 / (math.pi * radius**2))
    # Large grains lie first, small ones fill the gaps between them.
    radii = np.sort(radius * np.exp(rng.normal(0, spread, num_tries)))[::-1].clip(3 * unit, 40 * unit)
    roundness = rng.uniform(0.35, 0.8)
    oval = rng.uniform(0.05, 0.4)
    lumps = rng.uniform(0.03, 0.2)
    tightness = rng.uniform(0.02, 0.22)

    grid = np.arange(side, dtype=np.float32)
    warp = cloud(rng, side, radius * 1.1) * radius * lumps
    xs = grid[None, :] + warp
    ys = grid[:, None] + cloud(rng, side, radius * 1.1) * radius * lumps
    cement = rng.uniform(-0.2, 0.35) * radius
    height = cement + rubble(rng, side, 12 * unit) * 0.6 * unit
    owner = np.zeros((side, side), dtype=np.int32)
    covered = np.zeros((side, side), dtype=np.float32)
    centres = rng.uniform(0, side, (num_tries, 2))
    turns = rng.uniform(0, np.pi, num_tries)
    lifts = rng.normal(0, 0.12, num_tries)
    for grain, ((x, y), full) in enumerate(zip(centres.tolist(), radii.tolist(), strict=True), start=1):
        shelter = float(covered[int(y), int(x)])
        if shelter > tightness:
            continue
        # A grain set where there is only a little room is as large as that room.
        r = full * (1 - shelter)
        box = _box(x, y, r * (1.1 + oval) + 2 * r * lumps, side)
        dx, dy = xs[box] - x, ys[box] - y
        cos, sin = math.cos(turns[grain - 1]) / r, math.sin(turns[grain - 1]) / r
        inside = 1 - (dx * cos + dy * sin) ** 2 * (1 + oval) - (dy * cos - dx * sin) ** 2 * (1 - oval)
        dome = np.maximum(inside, 0) ** roundness * r + lifts[grain - 1] * r
        covered[box] = np.maximum(covered[box], inside)
        better = (inside > 0) & (dome > height[box])
        height[box] = np.where(better, dome, height[box])
        owner[box] = np.where(better, grain, owner[box])

    num_grains = num_tries + 1
    tints = rng.beta(0.7, 0.9, num_grains).astype(np.float32)
    shades = rng.normal(1, rng.uniform(0.06, 0.22), num_grains).astype(np.float32)
    glossy = rng.beta(1, 2.5, num_grains).astype(np.float32)
    shades[0] *= rng.uniform(0.6, 1.1)
    pits = rubble(rng, side, 7 * unit)
    return Relief(height + pits * 0.25 * unit, soft(tints[owner]), shades[owner] + pits * 0.04, glossy[owner])


def crystalline(rng: np.random.Generator, side: int, unit: float) -> Relief:
    """Crystals grown into each other, with flat faces and sharp edges, as in pyrite, quartz or garnet."""
    normals, distances, reach = _habit(rng)
    radius = rng.uniform(13, 34) * unit
    spread = rng.uniform(0.1, 0.45)
    num_crystals = int(3.4 * side**2 / (math.pi * radius**2))
    radii = (radius * np.exp(rng.normal(0, spread, num_crystals))).clip(7 * unit, 60 * unit)
    # The crystals of some crusts stand alike, those of others anyhow.
    turns = np.linalg.qr(rng.normal(size=(num_crystals, 3, 3))).Q
    alike = rng.random(num_crystals) < rng.choice([0.75, 0.0, 0.0])
    turned = (normals @ np.where(alike[:, None, None], turns[:1], turns)).astype(np.float32)
    height = np.full((side, side), -radius, dtype=np.float32) + rubble(rng, side, 14 * unit) * unit
    face = np.zeros((side, side), dtype=np.int32)
    grid = np.arange(side, dtype=np.float32)
    for crystal, (x, y) in enumerate(rng.uniform(0, side, (num_crystals, 2)).tolist()):
        r = float(radii[crystal])
        box = _box(x, y, r * reach, side)
        # Above the point (dx, dy) a face lies at (distance - a dx - b dy) / c.
        a, b, c = turned[crystal].T
        across, down = (
            np.outer(a / c, grid[box[1]] - x),
            np.outer(b / c, grid[box[0]] - y) - (distances * r / c)[:, None],
        )
        sunk = (down[:, :, None] + across[:, None, :]).astype(np.float32)
        # A convex solid is below all its upper faces and above all its lower ones.
        upper = sunk[c > 0]
        top = -upper.max(axis=0)
        top_height = top + np.float32(rng.normal(0, 0.25) * r)
        better = (top > -sunk[c < 0].min(axis=0)) & (top_height > height[box])
        height[box] = np.where(better, top_height, height[box])
        facing = upper.argmax(axis=0) + crystal * len(normals) + 1
        face[box] = np.where(better, facing, face[box])

    num_faces = num_crystals * len(normals) + 1
    whole = np.repeat(rng.beta(0.8, 0.8, num_crystals), len(normals))
    tints = np.concatenate([[0.5], whole]).astype(np.float32)
    shades = rng.normal(1, 0.13, num_faces).astype(np.float32)
    glossy = rng.beta(2, 1.6, num_faces).astype(np.float32)
    growth = cloud(rng, side, 40 * unit, 2.5 * unit) * 0.05 * unit + rubble(rng, side, 9 * unit) * 0.06 * unit
    return Relief(soft(height + growth), soft(tints[face]), shades[face], glossy[face])


def soft(steps: Field) -> Field:
    """Take the jagged edge off a map of flat patches."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(steps, 0.8), dtype=np.float32)


def _box(x: float, y: float, reach: float, side: int) -> tuple[slice, slice]:
    """The rows and columns that something of this reach can touch."""
    top, bottom = max(int(y - reach), 0), min(int(y + reach) + 2, side)
    left, right = max(int(x - reach), 0), min(int(x + reach) + 2, side)
    return slice(top, bottom), slice(left, right)


def _habit(rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """A mineral's crystals: the faces' normals, how far out each lies, and the farthest corner."""
    axes = np.concatenate([np.eye(3), -np.eye(3)])
    corners = np.array(list(product((-1.0, 1.0), repeat=3))) / math.sqrt(3)
    edges = np.array([v for v in product((-1.0, 0.0, 1.0), repeat=3) if sum(map(abs, v)) == 2]) / math.sqrt(2)
    around = np.arange(6) * (math.pi / 3)
    sides = np.stack([np.cos(around), np.sin(around), np.zeros(6)], axis=1)
    tips = np.concatenate([(sides + np.array([0, 0, z])) / math.hypot(1, z) for z in (0.8, -0.8)])
    length = rng.uniform(1.1, 1.9)
    prism = np.concatenate([sides, tips])
    habits = [
        (axes, [0.75] * 6, 1.3),  # cubes: pyrite, galena, fluorite
        (axes, [0.3, 0.75, 1.3] * 2, 1.54),  # tablets: baryte, feldspar
        (corners, [0.75] * 8, 1.3),  # octahedra: magnetite, spinel
        (np.concatenate([axes, corners]), [0.85] * 6 + [0.95] * 8, 1.3),  # cubes with cut corners
        (edges, [0.85] * 12, 1.21),  # dodecahedra: garnet
        (prism, [0.55] * 6 + [0.62 * length] * 12, length),  # prisms with pointed ends: quartz
    ]
    normals, distances, reach = habits[rng.integers(len(habits))]
    return normals.astype(np.float32), np.array(distances, dtype=np.float32), reach
