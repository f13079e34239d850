"""What a surface is made of, continued: structures drawn with strokes, branches and fibres."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from handlens.data.relief import Field, Relief, cloud, rubble, soft

Points = NDArray[np.float64]

# A stroke is laid down as ever narrower ones, each higher than the last: a half-round thread.
RINGS = ((1.0, 0.35), (0.68, 0.73), (0.35, 0.97))


def dendritic(rng: np.random.Generator, side: int, unit: float) -> Relief:
    """Branches that grow and branch again on a rough ground, as in manganese oxide or cast metal."""
    width = rng.uniform(4, 8.5) * unit
    inside, profile = _tree(_grown(rng, side, unit), width, side)
    ground = rubble(rng, side, rng.uniform(8, 40) * unit) * rng.uniform(0.4, 1.5) * unit
    # Native metal stands out of the rock, an oxide is a film on it, some are etched into it.
    rise = rng.choice([0.2, 0.8, 0.8, -0.6]) * width
    height = ground * (1 - 0.6 * inside) + profile * rise
    mottle = rubble(rng, side, 30 * unit)
    tint = np.clip(0.12 + 0.1 * mottle + 0.85 * inside, 0, 1)
    shade = 1 + 0.07 * mottle + inside * rng.choice([-0.55, -0.35, 0.2])
    gloss = 0.12 + inside * rng.uniform(0.1, 0.7)
    return Relief(*(part.astype(np.float32) for part in (height, tint, shade, gloss)))


def fibrous(rng: np.random.Generator, side: int, unit: float) -> Relief:
    """Bundles of bent fibres lying over one another, as in asbestos, satin spar, wood and glass mat."""
    width = rng.uniform(2.6, 6.5) * unit
    paths = _bundles(rng, side, unit, width)
    widths = width * rng.uniform(0.6, 1.25, len(paths))
    inside, profile, owner = _weave(paths, widths, side)
    num_fibres = len(paths) + 1
    tints = rng.beta(0.8, 0.8, num_fibres).astype(np.float32)
    shades = rng.normal(1, 0.12, num_fibres).astype(np.float32)
    glossy = rng.beta(1.6, 2.2, num_fibres).astype(np.float32)
    rough = rubble(rng, side, 10 * unit)
    height = profile * width * 0.8 + rough * (1.2 - inside) * unit
    shade = (shades[owner] + rough * 0.03) * (0.5 + 0.5 * inside)
    gloss = glossy[owner] * inside
    return Relief(height.astype(np.float32), soft(tints[owner]), shade.astype(np.float32), gloss)


def _grown(rng: np.random.Generator, side: int, unit: float) -> list[tuple[Points, float]]:
    """The paths and relative widths of the pieces of trees that keep out of each other's way.

    All tips take a step at once. A tip that comes upon another branch stops, which is what spaces the
    branches of a real dendrite: each has used up what the next would have grown from.
    """
    step = 3.0 * unit
    # From the straight, regular arms of metal to the loose, crooked ones of an oxide.
    crooked = rng.choice([0.0, 0.05, 0.16, 0.28])
    opening = (
        rng.uniform(math.radians(32), math.radians(62)) if crooked else math.radians(rng.choice([60, 90]))
    )
    every = int(rng.integers(3, 6))
    alternate = rng.random() < 0.5
    shrink = rng.uniform(0.45, 0.75)
    num_cells = int(side / step) + 1
    taken = np.full((num_cells, num_cells), -1)
    at, heading, left = _nuclei(rng, side)
    left = (left / step).astype(int)
    order = np.zeros(len(at), dtype=int)
    age = np.zeros(len(at), dtype=int)
    name = np.arange(len(at))
    num_named = len(at)
    steps: list[tuple[NDArray[np.int64], Points, Points, Points]] = []
    while len(at):
        heading = heading + rng.normal(0, crooked, len(at)) if crooked else heading
        way = np.stack([np.cos(heading), np.sin(heading)], axis=1) * step
        end = at + way
        ahead = ((at + 1.5 * way) / step).astype(int).clip(0, num_cells - 1)
        owner = taken[ahead[:, 1], ahead[:, 0]]
        # Young arms must get clear of the branch that they leave.
        free = ((owner < 0) | (owner == name) | (age < 2)) & (left > 0)
        at, heading, left, order, age, name, end = (
            part[free] for part in (at, heading, left, order, age, name, end)
        )
        steps.append(
            (
                name * 1000 + age // 6,
                at,
                end,
                ((left + 3) / 60) ** 0.4 * 0.8**order * np.where(order, 1, np.minimum((age + 2) / 6, 1)),
            )
        )
        cells = (end / step).astype(int).clip(0, num_cells - 1)
        taken[cells[:, 1], cells[:, 0]] = name
        # The corner too, or thin slanting branches would let others through.
        here = (at / step).astype(int).clip(0, num_cells - 1)
        taken[here[:, 1], cells[:, 0]] = name
        at, left, age = end, left - 1, age + 1
        splits = (age % every == 0) & (order < 3) & (left > 3)
        if crooked:
            splits &= rng.random(len(at)) < 0.8
        side_of = np.where((age // every) % 2 == 0, 1.0, -1.0)
        for sign in (1.0, -1.0):
            born = splits & ((side_of == sign) | (not alternate))
            count = int(born.sum())
            at = np.concatenate([at, at[: len(born)][born]])
            heading = np.concatenate([heading, heading[: len(born)][born] + sign * opening])
            spans = left[: len(born)][born] * shrink * rng.uniform(0.5, 1, count)
            left = np.concatenate([left, spans.astype(int)])
            order = np.concatenate([order, order[: len(born)][born] + 1])
            age = np.concatenate([age, np.zeros(count, dtype=int)])
            name = np.concatenate([name, num_named + np.arange(count)])
            num_named += count
    pieces, starts, ends, widths = (np.concatenate(part) for part in zip(*steps, strict=True))
    return _joined(pieces, starts, ends, widths.clip(0.15, 1))


def _joined(
    pieces: NDArray[np.int64], starts: Points, ends: Points, widths: Points
) -> list[tuple[Points, float]]:
    """Put the steps of each piece together to one path, which is much quicker to draw."""
    order = np.argsort(pieces, kind="stable")
    cuts = np.flatnonzero(np.diff(pieces[order])) + 1
    return [
        (np.concatenate([starts[steps[:1]], ends[steps]]), float(widths[steps[0]]))
        for steps in np.split(order, cuts)
    ]


def _nuclei(rng: np.random.Generator, side: int) -> tuple[Points, Points, Points]:
    """Where the trunks begin, which way they go, and how far they would go in pixels."""
    layout = rng.choice(["stars", "crack", "front"])
    if layout == "stars":
        num_stars, num_arms = int(rng.integers(12, 26)), int(rng.choice([4, 6, 6]))
        at = np.repeat(rng.uniform(0, side, (num_stars, 2)), num_arms, axis=0)
        first = np.repeat(rng.uniform(0, np.pi, num_stars), num_arms)
        heading = first + np.tile(np.arange(num_arms) * 2 * np.pi / num_arms, num_stars)
        reach = side * rng.uniform(0.2, 0.4, len(at))
        return at, heading, reach
    # Trees that feed on cracks in the rock, or columns that all grow from a cold wall.
    num_lines, gap = (4, 0.05) if layout == "crack" else (5, 0.04)
    num_trunks = int(1 / gap)
    across = np.tile((np.arange(num_trunks) + rng.uniform(0.1, 0.9, num_trunks)) * gap, num_lines)
    line = np.repeat((np.arange(num_lines) + rng.uniform(0, 0.6, num_lines)) / num_lines, num_trunks)
    wander = 0.03 * np.sin(across * rng.uniform(4, 12) + line * 9)
    at = np.stack([across, line + wander], axis=1) * side
    up = rng.choice([-1.0, 1.0], len(at)) if layout == "crack" else np.ones(len(at))
    heading = up * math.pi / 2 + rng.normal(0, 0.25 if layout == "crack" else 0.03, len(at))
    return at, heading, side * rng.uniform(0.12, 0.4, len(at))


def _bundles(rng: np.random.Generator, side: int, unit: float, width: float) -> list[Points]:
    """The paths of the fibres, the lowest first."""
    # From threads that all run one way to a felt that runs every way.
    disorder = rng.choice([0.06, 0.2, 0.6, 1.5])
    curl = rng.uniform(0.0005, 0.006) / unit
    num_in_bundle = int(rng.integers(2, 12))
    length = rng.uniform(110, 420) * unit
    step = 9 * unit
    num_steps = int(length / step)
    margin = length / 2
    num_bundles = int(3.3 * (side + length) ** 2 / (width * length * num_in_bundle)) + 1
    drift = cloud(rng, side, side * 0.5) * 0.3
    paths: list[Points] = []
    for _ in range(num_bundles):
        middle = rng.uniform(-margin, side + margin, 2)
        column, row = middle.clip(0, side - 1).astype(int)
        heading = rng.normal(0, disorder) + float(drift[row, column])
        turning = np.cumsum(rng.normal(0, curl) + rng.normal(0, curl * 0.3, num_steps)) * step
        along = heading + turning - turning.mean()
        aside = np.array([-math.sin(heading), math.cos(heading)])
        for _ in range(num_in_bundle):
            # The fibres of a bundle run side by side and splay a little.
            own = along + rng.normal(0, 0.035) + np.cumsum(rng.normal(0, 0.012, num_steps))
            moves = np.stack([np.cos(own), np.sin(own)], axis=1) * step * rng.uniform(0.55, 1)
            begin = middle + aside * rng.normal(0, 0.33 * num_in_bundle) * width - moves.sum(axis=0) / 2
            paths.append(begin + np.cumsum(moves, axis=0))
    return paths


def _tree(branches: list[tuple[Points, float]], width: float, side: int) -> tuple[Field, Field]:
    """Paint branches that melt into each other: where they are, and how high they stand."""
    # Twice as large and reduced: Pillow's lines have jagged edges and whole widths.
    canvas = Image.new("F", (2 * side, 2 * side))
    draw = ImageDraw.Draw(canvas)
    lines = [((path * 2).ravel().tolist(), share) for path, share in sorted(branches, key=lambda b: b[1])]
    for narrowing, level in RINGS:
        for line, share in lines:
            thickness = max(round(2 * width * share * narrowing), 1)
            draw.line(line, fill=level * (0.5 + 0.5 * share), width=thickness)
    profile = _smooth(canvas)
    return np.clip(profile * 4, 0, 1), profile


def _weave(paths: list[Points], widths: Points, side: int) -> tuple[Field, Field, NDArray[np.int32]]:
    """Paint threads over one another: where they are, how high they lie, and which lies on top."""
    canvas, names = Image.new("F", (2 * side, 2 * side)), Image.new("I", (side, side))
    draw, label = ImageDraw.Draw(canvas), ImageDraw.Draw(names)
    for number, (path, width) in enumerate(zip(paths, widths.tolist(), strict=True), start=1):
        lift = 1.5 * number / len(paths)
        line = (path * 2).ravel().tolist()
        for trim, (share, level) in zip((4, 2, 0), RINGS, strict=True):
            # Narrow strokes reach further than wide ones, so that fibres end in points.
            inner = line[trim : len(line) - trim]
            draw.line(inner, fill=lift + level, width=max(round(2 * width * share), 1))
        label.line(path.ravel().tolist(), fill=number, width=max(round(width), 1))
    profile = _smooth(canvas)
    owner = np.asarray(names, dtype=np.int32)
    return np.clip(profile * 4, 0, 1), profile, owner


def _smooth(canvas: Image.Image) -> Field:
    """Bring a canvas of twice the size back to its own, without jagged edges."""
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(np.asarray(canvas.reduce(2)), 0.7), dtype=np.float32)
